/*
 * From meta-variables and a body to a CGI response: all that happens to a request between the protocol it came by
 * (exchange.c, cgi.c) and the handler. Services see nothing of it.
 */
#ifndef CGI_ANSWER_H
#define CGI_ANSWER_H

#include "buffer.h"
#include "reply.h"
#include "request.h"
#include "service.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* A CGI response (RFC 3875, section 6). */
struct answer {
    struct bytes pieces[2]; /* what to send, one behind the other: head and body. They live as long as the answer */
    int status;
    bool head_only;     /* the request's method is HEAD */
    struct reply reply; /* both own what the pieces point to, unless that is constant */
    struct buffer head;
    struct request request; /* what it is for */
    struct timespec begun;
};

/*
 * Answer one request: `params` as in request.h, and the whole `body`, which is only read, and must last as long as
 * the answer. CONTENT_LENGTH says how much of the body counts; where that is not set, empty or -1, all of it does.
 * Of a body over `max_body` bytes only the length is looked at (the caller need not have read it: any length over
 * the limit will do), and one that has failed means that memory was short.
 *
 * Fills `answer`, which need not be set up, and always with a whole response: also when the request is bad (400,
 * 413), no route fits (404, 405), the handler is at fault (500), or there is no memory even to say so (503). End
 * the answer.
 */
void answer_request(const struct service *service, char *const *params, size_t max_body, const struct buffer *body,
                    struct answer *answer);

/* Make it the 503 that needs no memory. For who cannot send what it is. */
void answer_no_memory(struct answer *answer);

/*
 * It was given away as it is: count and log it, at level error from status 500, at debug below, and free what it
 * owns. The params must still be there.
 */
void answer_end(struct answer *answer);

/* ---- its parts, each in the file of its name ---- */

/*
 * Fill `request`, all zeroes but for its context, from what answer_request() takes. Returns 200; or the status of
 * the problem that `reply` then holds: 400 for variables or a body that are not as RFC 3875 has them, 413 for a
 * body over `max_body` bytes, 503 when memory is short. Release the request either way.
 */
__attribute__((warn_unused_result)) int request_load(struct request *request, char *const *params, size_t max_body,
                                                     const struct buffer *body, struct reply *reply);

/* Free what the request owns. */
void request_release(struct request *request);

/* Have the route's handler answer, and check what it did. Returns the status of the reply, from 200 to 599. */
__attribute__((warn_unused_result)) int service_handle(const struct service *service, struct request *request,
                                                       struct reply *reply);

/* The name of a status in RFC 9110 or RFC 6585; if it has none, that of its class. */
const char *reply_title(int status);

/* Why the reply cannot be sent, a constant sentence; NULL when it can. */
const char *reply_fault(const struct reply *reply);

/* Append the head of a CGI response (RFC 3875, section 6.3) with a body of reply->body.len bytes to `out`. */
void reply_head(const struct reply *reply, int status, struct buffer *out);

#endif
