/*
 * The dispatcher: a listening FastCGI socket served by a few worker threads, until a signal says to stop.
 */
#ifndef CGI_DISPATCHER_H
#define CGI_DISPATCHER_H

#include "service.h"
#include "settings.h"

#include <signal.h>

/*
 * Block the signals that mean "drain", in this thread and all that it starts; sets `set` to them. Called before a
 * service's start(), too, so that its own threads leave these signals to the dispatcher.
 */
void dispatcher_block_signals(sigset_t *set);

/*
 * Serve on the listening socket `listener` (Unix or TCP) until SIGTERM, SIGINT or SIGUSR1 (some supervisors' word
 * for the same), then drain: accept nothing new, finish what has begun, close what is idle, for at most 20 s. The
 * calling thread accepts, keeps time and takes the signals; `settings->threads` workers do the rest. Returns 0
 * after a drain, or -1 when it could not start, after logging why.
 */
int dispatcher_run(const struct service *service, const struct settings *settings, int listener);

#endif
