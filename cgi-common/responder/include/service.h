/*
 * A service: its name, and the table of what it answers. docs/handlers.md shows how to write one.
 */
#ifndef CGI_SERVICE_H
#define CGI_SERVICE_H

#include "reply.h"
#include "request.h"

#include <stddef.h>

/*
 * Answers one request: fills `reply`, which begins empty, and returns the HTTP status. Several threads call it at
 * the same time. A status outside 200 to 599 is a fault: the client gets a 500, and the log a line.
 *
 * A 204 and a 304 are sent without body and Content-Length, a 205 without body. A 503 has Retry-After: 1 unless the
 * handler set another value. A status from 400 without body and content type is sent as a problem (reply_problem)
 * whose sentence is the name of the status.
 */
typedef int (*service_handler)(const struct request *request, struct reply *reply);

/*
 * A path is compared whole. A path that ends in a slash and a star takes every path with that beginning, and
 * request->rest is what follows; the path without that slash is not taken. A whole path wins over a prefix, and a
 * longer prefix over a shorter one. Several routes may have the same path, each with its own methods.
 */
struct route {
    const char *path;  /* "/reverse", or "/files/" with a star behind it */
    const char *allow; /* "POST", or "GET, HEAD": the methods it takes, as the Allow field of a 405 */
    service_handler handler;
};

struct service {
    const char *name; /* as in the log: "cgi-search" */
    /* Append what --version says behind the name: what the answers depend on, like a library. NULL: nothing. */
    void (*version)(struct buffer *text);
    const struct route *routes;
    size_t route_count;
    void *context; /* request->context of each request */
    /*
     * Called once, before the first request. The process has no other thread then, and has blocked the signals that
     * end a service, so SIGTERM waits until start() has returned. `*context` is `context` above, and may be set.
     * Returns 0; or another value after it has logged why, and the process ends with 1. NULL: nothing to do.
     */
    int (*start)(void **context);
    /*
     * Called once, after the last handler has returned. Not called when a handler is still at work 20 s after the
     * signal: the process then ends without waiting for it. NULL: nothing to do.
     */
    void (*stop)(void *context);
    /*
     * After start(), the process is in a sandbox (SANDBOX=off: in none). What is open stays open, but handlers and
     * stop() can open, connect and execute nothing and start no process, but for what is listed here. Each list
     * ends with NULL; NULL instead of a list is an empty one.
     */
    const char *const *system_calls; /* by name, as in syscalls(2): allowed whatever their arguments */
    const char *const *readable;     /* files and whole folders that may be opened to read; each must exist */
};

/* The handler of GET /_health of every service: {"status":"pass","version":"1.0.0"}. For OPTIONS, too, where the
 * route takes it. */
int service_health(const struct request *request, struct reply *reply);

#endif
