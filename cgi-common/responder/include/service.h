/*
 * A service: its name, and the table of what it answers. Both main programs are one such table.
 */
#ifndef CGI_SERVICE_H
#define CGI_SERVICE_H

#include "reply.h"
#include "request.h"

#include <stddef.h>

/* Answers one request; fills `reply`, and returns its status. Called by several threads at once. */
typedef int (*service_handler)(const struct request *request, struct reply *reply);

struct route {
    const char *path;  /* compared whole */
    const char *allow; /* "POST", or "GET, HEAD": the methods it takes, as the Allow field of a 405 */
    service_handler handler;
};

struct service {
    const char *name; /* as in the log: "cgi-app" */
    const struct route *routes;
    size_t route_count;
};

/*
 * Read one request from `params` and `read` (request.h), let the route's handler answer it, and fill
 * `reply`. Always gives a complete reply, also when the request is bad, no route fits (404, 405) or memory
 * is short. Logs the request, and how long it took: at level error from status 500, at debug below.
 */
void service_answer(const struct service *service, char *const *params, size_t max_body, request_read_fn read,
                    void *source, struct reply *reply);

/* The handler of GET /_health of every service: {"status":"pass"}. */
int service_health(const struct request *request, struct reply *reply);

#endif
