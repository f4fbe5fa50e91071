/*
 * One request answered through libfcgi, from memory to memory.
 */
#ifndef CGI_EXCHANGE_H
#define CGI_EXCHANGE_H

#include "arena.h"
#include "buffer.h"
#include "record.h"
#include "service.h"

#include <stdbool.h>
#include <stddef.h>

/* What a thread keeps for its exchanges. All zeroes: ready. */
struct exchange {
    struct arena arena;
    struct buffer input; /* the request as libfcgi is given it */
    struct buffer pairs; /* its params, before they are put into records */
    /* Asked before an answer that takes `len` bytes is written whether there is room for it. NULL: always. */
    bool (*has_room)(void *owner, size_t len);
    void *owner; /* what has_room() is given */
};

/* What is to be said of a request. */
enum exchange_kind {
    EXCHANGE_SERVE,       /* what the service's handler says */
    EXCHANGE_TOO_LARGE,   /* 413 */
    EXCHANGE_UNAVAILABLE, /* 503: there is no room for it, or no memory */
};

/* Set libfcgi up, before there are threads. Returns 0, or -1 after logging why not. */
int exchange_init(void);

/*
 * Write the request down for libfcgi, let `service` answer what libfcgi has read, and append the records of the
 * answer to `out`. The request's params have ended; for EXCHANGE_SERVE its body has, too. Blocks no longer than the
 * handler does: nothing is read from or written to a descriptor. Returns whether the connection may serve another
 * request; it may not when `out` has failed, then nothing of the answer may be sent.
 */
bool exchange_run(struct exchange *exchange, const struct service *service, size_t max_body,
                  const struct record_request *request, enum exchange_kind kind, struct buffer *out);

/* Free what the thread kept. */
void exchange_release(struct exchange *exchange);

#endif
