/*
 * The main program of a service.
 */
#ifndef CGI_RESPONDER_H
#define CGI_RESPONDER_H

#include "service.h"

/*
 * Check the settings, start the service, then serve: as a FastCGI responder when descriptor 0 is a listening socket
 * (spawn-fcgi leaves it there), else one CGI request. With -t, only check; with --help and --version, say so.
 * Returns the exit status of the process: 0; 1 when it could not start or serve; 2 for a bad setting or call.
 */
int responder_main(int argc, char *const argv[], const struct service *service);

#endif
