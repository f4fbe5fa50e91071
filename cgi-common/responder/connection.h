/*
 * One connection: its row in the table (table.h), and what is done when something happens on it.
 *
 * A connection that waits costs its row. Whoever is told of an event by epoll claims the connection, does all that
 * can be done without waiting, and gives it back (claim.h). Rows are never freed, so an event that arrives after
 * its connection has gone finds a free row, or another connection on which there is nothing to do.
 *
 * Each state has a deadline, and each deadline ends in a close or in a worker being woken: table_sweep().
 */
#ifndef CGI_CONNECTION_H
#define CGI_CONNECTION_H

#include "buffer.h"
#include "claim.h"
#include "exchange.h"
#include "record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table;

/* What a connection is doing. */
enum connection_doing {
    CONNECTION_READING,   /* a request, or it waits for one to begin */
    CONNECTION_WAITING,   /* there is no room for the rest of the request that has begun; reads nothing */
    CONNECTION_ANSWERING, /* an answer that the socket did not take at once; reads nothing */
    CONNECTION_CLOSING,   /* likewise, and is closed behind it */
    CONNECTION_ENDING,    /* likewise, and lingers behind it */
    CONNECTION_LINGERING, /* all is said, our side has ended: reads and forgets until the peer closes */
};

struct connection {
    struct table *table;
    int fd;
    struct claim claim;
    _Atomic int64_t deadline;    /* ms, on the clock of connection_now() */
    _Atomic int64_t looked;      /* when a worker last left something half done, likewise */
    _Atomic bool waits_for_room; /* it is CONNECTION_WAITING, and counted as such */
    /* all below belong to the owner */
    enum connection_doing doing;
    struct record_request request; /* what has come of it */
    struct buffer unread;          /* received, behind that; not read yet */
    struct buffer out;             /* an answer that the peer has not taken whole */
    size_t sent;                   /* bytes of it that it has taken */
    size_t charged;                /* bytes, of the table's room */
    int64_t waits_until;           /* when it has waited for room long enough, ms */
    size_t timed;                  /* bytes of the request for which the peer was given time; 0: none has begun */
};

/* What a thread that serves keeps between events. */
struct worker {
    struct exchange exchange;
    struct buffer out;           /* the answer under way */
    struct record_request spare; /* buffers for a request that comes whole */
    char in[64 * 1024];          /* what was received in one go */
};

/* Returns NULL when memory is short. */
struct worker *worker_new(void);

void worker_free(struct worker *worker);

/*
 * Do what can be done after an event: receive, answer, send, close. `events` are epoll's. For any number of threads
 * at once; blocks no longer than the service's handler.
 */
void connection_serve(struct connection *connection, uint32_t events, struct worker *worker);

/* A new connection is idle from now on. For its owner. */
void connection_start(struct connection *connection);

/* Free what it has, and close its descriptor. For its owner. */
void connection_close(struct connection *connection);

/* The events that are watched for; `more` beside them. Also wakes a worker for what has happened already. */
void connection_watch(const struct connection *connection, uint32_t more);

/* Watched for on every connection. Edge-triggered: a request costs no epoll_ctl. */
uint32_t connection_events(void);

/* ---- time, in milliseconds on a coarse clock ---- */

int64_t connection_now(void);

/* It has so long from now on. */
void connection_set_deadline(struct connection *connection, int64_t milliseconds);

bool connection_has_expired(struct connection *connection);

#endif
