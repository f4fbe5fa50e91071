/*
 * One plain CGI request (RFC 3875): meta-variables in the environment, body on descriptor 0, response on 1.
 */
#ifndef CGI_CGI_H
#define CGI_CGI_H

#include "service.h"

#include <stddef.h>

/* Answer it. Returns 0, or -1 after logging that the response could not be written. */
int cgi_run(const struct service *service, size_t max_body);

#endif
