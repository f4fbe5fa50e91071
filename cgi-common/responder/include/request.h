/*
 * A request as a handler sees it: read whole, checked, and free of FastCGI.
 */
#ifndef CGI_REQUEST_H
#define CGI_REQUEST_H

#include "buffer.h"
#include "reply.h"

#include <stddef.h>

struct request {
    const char *method;   /* REQUEST_METHOD, upper case as it came */
    const char *path;     /* SCRIPT_NAME followed by PATH_INFO (RFC 3875, section 4.1) */
    const char *id;       /* 1 to 64 of [A-Za-z0-9._-], or "" when none was given */
    const char *trace;    /* HTTP_TRACEPARENT as it came (W3C Trace Context), or "" */
    struct buffer body;   /* the request's whole body; any byte may be in it */
    struct buffer joined; /* holds `path` when both parts had text; not for handlers */
};

/*
 * Reads up to `len` bytes of the body from `source` to `to`. Returns how many; fewer than `len` only at
 * the end.
 */
typedef size_t (*request_read_fn)(void *source, char *to, size_t len);

/*
 * Fill `request` from CGI meta-variables ("NAME=value" strings, NULL at the end) and read its body.
 * The request's strings point into `params`, which must outlive it.
 * Returns 200; or the status of the problem that `reply` then holds: 400 for meta-variables or a body that
 * are not as RFC 3875 has them, 413 for a body over `max_body` bytes (nothing of it is read), 503 when
 * memory is short. Release the request either way.
 */
int request_load(struct request *request, char *const *params, size_t max_body, request_read_fn read, void *source,
                 struct reply *reply);

/* Free what the request owns. */
void request_release(struct request *request);

#endif
