/*
 * The connections of a process, or of its status thread: a row for each descriptor, what watches them, and what is
 * common to all. One thread, the sweeper, takes connections in and keeps time; any number serve.
 */
#ifndef CGI_TABLE_H
#define CGI_TABLE_H

#include "connection.h"
#include "room.h"
#include "service.h"

#include <stdbool.h>
#include <stddef.h>

struct table {
    const struct service *service;
    size_t max_body; /* bytes */
    struct room room;
    int epoll;   /* what those who serve wait on */
    int emptied; /* eventfd: told when the last connection closes while draining */
    _Atomic bool draining;
    _Atomic int count;       /* open connections */
    _Atomic size_t released; /* bytes of buffers given back to malloc so far */
    size_t swept, trimmed;   /* of these, at the last sweep and at the last trim; for the sweeper */
    int limit;               /* rows; also the first descriptor that has none */
    int highest;             /* the highest descriptor so far; for the sweeper */
    struct connection *rows;
};

/*
 * Make a table with a row for each descriptor below `limit`, and its epoll. `room`: bytes that may be buffered.
 * Returns 0, or -1 with errno set and nothing made.
 */
__attribute__((warn_unused_result)) int table_open(struct table *table, const struct service *service,
                                                   size_t max_body, size_t room, int limit);

/* Close all connections and free all. Only when no thread uses it any more. */
void table_close(struct table *table);

/* Take in a new, non-blocking socket. Returns 0; or -1 with errno set, the socket closed. For the sweeper. */
__attribute__((warn_unused_result)) int table_add(struct table *table, int fd);

/* The connection of an event's descriptor. */
struct connection *table_connection(struct table *table, int fd);

/*
 * Close each connection whose time is over, have a worker come for each that waits for us, and when draining close
 * each that is idle; give back memory. For the sweeper, about once a second.
 */
void table_sweep(struct table *table);

/* Close the connection that has been idle for the longest time. Returns whether there was one. For the sweeper. */
__attribute__((warn_unused_result)) bool table_close_idle(struct table *table);

/* There is more room: have a worker come for each connection that waits for some. For the sweeper. */
void table_wake_waiting(struct table *table);

#endif
