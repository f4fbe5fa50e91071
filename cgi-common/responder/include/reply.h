/*
 * What a handler answers: a status, a content type, a body.
 */
#ifndef CGI_REPLY_H
#define CGI_REPLY_H

#include "buffer.h"

struct reply {
    int status;               /* HTTP status; 0 while the handler has not said */
    const char *content_type; /* a constant string */
    const char *allow;        /* the Allow field of a 405, else NULL; a constant string */
    struct buffer body;       /* owned by the reply */
    size_t content_length;    /* what Content-Length says: service_answer() sets it */
};

/*
 * Make the reply a problem (RFC 9457, application/problem+json) with a sentence that tells the client what
 * to do. The sentence must hold no byte that came from the client. Returns `status`, so that a handler can
 * end with it.
 */
int reply_problem(struct reply *reply, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Append the head of a CGI response (RFC 3875, section 6.3) to `out`. */
void reply_head(const struct reply *reply, struct buffer *out);

/* Free what the reply owns. */
void reply_release(struct reply *reply);

#endif
