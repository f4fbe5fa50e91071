/*
 * The one reader of FastCGI (specification 1.0): from a peer's bytes to a request. What it has read is all that
 * anybody else sees of the peer: libfcgi is given records that exchange.c writes from it, so nothing can be read in
 * two ways.
 *
 * Any record sizes and any padding are taken, and the two streams of a request may come in any order. Questions
 * about the application (section 4) are answered here. What a responder that does not multiplex need not bear is
 * refused.
 */
#ifndef CGI_RECORD_H
#define CGI_RECORD_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum record_verdict {
    RECORD_MORE,      /* no end yet: read on */
    RECORD_REQUEST,   /* a whole request is there */
    RECORD_ANSWER,    /* a question about the application was answered into `out`; read on behind it */
    RECORD_TOO_LARGE, /* params and body are as far as they came; the body passes the limit */
    RECORD_NO_MEMORY, /* likewise; there was no memory for the rest */
    RECORD_REFUSED,   /* not FastCGI, or more than a peer may send; `reason` says which */
};

enum {
    RECORD_MAX_PARAMS = 128 * 1024, /* bytes; web servers take 32 KiB of headers, a value may come twice */
    RECORD_MAX_PAIRS = 1000,
    RECORD_MAX_VALUES = 128, /* content of FCGI_GET_VALUES, bytes: the three names that there are take 48 */
};

/* What has come so far. All zeroes: nothing. Each connection has one, so it is kept small. */
struct record_request {
    unsigned char header[8]; /* of the record under way, */
    unsigned char have;      /* bytes of it; 0: at the start of a record */
    unsigned char padding;   /* bytes of that record still to come, and before these */
    uint16_t content;
    unsigned char begin[8];  /* content of FCGI_BEGIN_REQUEST, */
    unsigned char begin_len; /* and how much of it there is */
    uint16_t id;             /* of the request that has begun; 0: none */
    bool keep;               /* FCGI_KEEP_CONN */
    bool params_ended, body_ended;
    struct buffer values; /* content of FCGI_GET_VALUES, while it comes */
    struct buffer params; /* name-value pairs (section 3.4); once they ended: whole, and fit for record_pair() */
    struct buffer body;
    size_t body_expected; /* what CONTENT_LENGTH says, once the params ended; 0 where it says nothing */
    const char *reason;   /* of RECORD_REFUSED, a constant sentence */
};

/* One name-value pair; both point into the pairs, and have no terminator. */
struct record_pair {
    const char *name, *value;
    size_t name_len, value_len;
};

/*
 * Take bytes of the peer's, at most `len`, and set `used` to how many: all of them at RECORD_MORE, else those up to
 * the end of the record that decided. Looks at each byte once, so the verdicts do not depend on how the bytes are
 * cut. A question's answer is appended to `out`, and so is what a peer is told before its connection is closed.
 * After RECORD_REQUEST the caller empties the request (record_next) before it reads on; after RECORD_TOO_LARGE,
 * RECORD_NO_MEMORY and RECORD_REFUSED there is nothing to read any more.
 */
enum record_verdict record_read(struct record_request *request, const void *data, size_t len, size_t *used,
                                size_t max_body, struct buffer *out);

/* Whether the peer has sent something of a request, or of a record, that is not whole. */
bool record_has_begun(const struct record_request *request);

/* Make ready for the next request; the buffers are emptied and keep their memory. */
void record_next(struct record_request *request);

/* Free the buffers. */
void record_release(struct record_request *request);

/*
 * Read the pair at `*at` of `len` bytes and move `*at` behind it. Returns 1; 0 at the end; -1 when the bytes end
 * within the pair.
 */
int record_pair(const char *pairs, size_t len, size_t *at, struct record_pair *pair);

/* Append a record's header, with no padding. `len`: of its content, at most 65,535. */
void record_append_header(struct buffer *out, int type, int id, size_t len);

/* Append a pair with the shortest form of its lengths. */
void record_append_pair(struct buffer *out, const struct record_pair *pair);

#endif
