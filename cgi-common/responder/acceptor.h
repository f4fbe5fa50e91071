/*
 * A listening socket and the table that its connections go to: accepting, backing off where something is short, and
 * the sweep that is due. The dispatcher and the status thread each have one; it is for their thread alone.
 */
#ifndef CGI_ACCEPTOR_H
#define CGI_ACCEPTOR_H

#include "table.h"

#include <stdbool.h>
#include <stdint.h>

struct acceptor {
    struct table *table;
    int listener;      /* listening, non-blocking */
    int epoll;         /* where its thread waits */
    int most;          /* connections at once; more wait in the backlog */
    const char *what;  /* "connections", "connections for the status": in the log */
    bool backing_off;  /* the listener is not watched for a moment */
    bool told;         /* since something was short first */
    int64_t listen_at; /* when the listener is watched again; ms, on the clock of connection_now() */
    int64_t sweep_at;  /* likewise, when the table is to be swept */
};

/* Have the acceptor's epoll watch the listener and the room that is freed. Returns 0, or -1 with errno set. */
__attribute__((warn_unused_result)) int acceptor_open(struct acceptor *acceptor);

/*
 * Wait for an event on the acceptor's epoll, and do what is the acceptor's. Returns the descriptor of an event that
 * is not, its `events` set; or -1.
 */
int acceptor_wait(struct acceptor *acceptor, uint32_t *events);

/* Accept nothing any more; what is in the backlog is left to another process. */
void acceptor_stop_accepting(struct acceptor *acceptor);

#endif
