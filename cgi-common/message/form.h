/*
 * The form of the page at / (cgi-app/page/index.html), as a browser without JavaScript sends it: text/plain, the
 * one field "message". Its text has no escapes, so it needs no decoder of its own.
 */
#ifndef CGI_FORM_H
#define CGI_FORM_H

#include "reply.h"
#include "request.h"

#include <stdbool.h>

/* Whether the body is this form. JSON never begins like that. */
bool form_is(const struct request *request);

/*
 * Set `text` to the message in a body that is this form; it lies in the body. Returns 200; or the status of the
 * problem that `reply` then holds: 400 for invalid UTF-8, 503 when memory is short.
 */
int form_read(const struct request *request, struct bytes *text, struct reply *reply);

#endif
