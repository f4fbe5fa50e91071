/*
 * The status of a process, on a socket and a thread of its own: it is told while every worker is busy.
 */
#ifndef CGI_STATUS_H
#define CGI_STATUS_H

#include "service.h"
#include "settings.h"
#include "table.h"

/*
 * Listen on the Unix socket that `settings->status_socket` names, in place of whatever is there, for the process's
 * user and group (mode 0660). `watched` are the connections that it reports; they must be there until
 * status_stop(). Returns 0, also when no status socket is set; or -1 after logging why not.
 */
int status_open(const struct service *service, const struct settings *settings, const struct table *watched);

/*
 * Answer FastCGI on that socket from a new thread, which inherits the sandbox of the caller: GET /_health as every
 * service, and GET /_status with one JSON object:
 *
 *     service, pid, uptime (s), threads, busy (threads in a handler), longest (s, for which one of them has been),
 *     connections, requests, errors (those with a status from 500), statuses (requests by status), memory (bytes,
 *     resident)
 *
 * Returns 0, also when no status socket is set; or -1 after logging why not.
 */
int status_start(const struct settings *settings);

/* End that thread, if status_start() has started one. Till then it tells of the drain, too. */
void status_stop(void);

#endif
