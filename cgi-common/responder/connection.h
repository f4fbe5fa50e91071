/*
 * The connections of a process: a table by descriptor, and what is done when something happens on one of them.
 *
 * A connection that waits costs its row. Whoever is told of an event by epoll claims the connection, does all that
 * can be done without waiting, and gives it back; who comes while it is claimed leaves word, and its owner looks
 * again. The dispatcher holds one only for a moment, to take it in or to close it; a worker waits for that. Rows
 * are never freed, so an event that arrives after its connection has gone finds a closed row, or another connection
 * on which there is nothing to do.
 */
#ifndef CGI_CONNECTION_H
#define CGI_CONNECTION_H

#include "buffer.h"
#include "service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection; /* one row */

struct connections {
    const struct service *service;
    size_t max_body;
    int epoll;   /* what the workers wait on */
    int emptied; /* eventfd: told when the last one closes while draining */
    _Atomic bool draining;
    _Atomic int count;  /* open ones */
    _Atomic bool grown; /* a large body has come since the last sweep */
    bool to_trim;       /* since the last trim; for the dispatcher's thread */
    int limit;          /* rows; also the first descriptor that has none */
    int highest;        /* the highest descriptor so far; for the dispatcher's thread */
    struct connection *rows;
};

/* What a worker thread keeps between events. */
struct worker {
    struct buffer out;  /* the answer under way */
    char in[64 * 1024]; /* what was read in one go; a small request never leaves it */
};

/*
 * Make the table, with a row for each descriptor below `limit`, and its epoll. Returns 0, or -1 with errno set
 * and nothing made.
 */
int connections_open(struct connections *connections, const struct service *service, size_t max_body, int limit);

/* Free all. Only when no thread uses it any more. */
void connections_close(struct connections *connections);

/* Take in a new, non-blocking socket. Returns 0; or -1 with errno set, the socket closed. */
int connection_add(struct connections *connections, int fd);

/*
 * Do what can be done on `fd` after an event: read, answer, write, close. `events` are epoll's. For any number
 * of threads at once; blocks no longer than the service's handler.
 */
void connection_serve(struct connections *connections, int fd, uint32_t events, struct worker *worker);

/*
 * Close each connection whose time is over, and when draining each that is idle; give back memory. For the
 * dispatcher's thread, about once a second.
 */
void connections_sweep(struct connections *connections);

#endif
