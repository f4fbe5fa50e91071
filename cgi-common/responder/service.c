/*
 * From a request to the handler of its route.
 */
#include "service.h"

#include "counters.h"
#include "log.h"

#include <string.h>
#include <time.h>

/* Whether `method` is one of the comma-separated names in `allow`. */
static int
route_takes(const struct route *route, const char *method)
{
    size_t len = strlen(method);

    for (const char *name = route->allow; *name != '\0'; name += strspn(name, ", ")) {
        size_t name_len = strcspn(name, ", ");

        if (name_len == len && memcmp(name, method, len) == 0)
            return 1;
        name += name_len;
    }
    return 0;
}

static int
service_route(const struct service *service, const struct request *request, struct reply *reply)
{
    for (size_t i = 0; i < service->route_count; i++) {
        const struct route *route = &service->routes[i];

        if (strcmp(route->path, request->path) != 0)
            continue;
        if (route_takes(route, request->method))
            return route->handler(request, reply);
        reply->allow = route->allow;
        return reply_problem(reply, 405, "%s takes %s", route->path, route->allow);
    }
    return reply_problem(reply, 404, "there is nothing at this path; GET / tells what there is");
}

/* From the first byte of the body that was read to the reply; what nginx measures beyond that is the way. */
static void
service_log(const struct request *request, const struct reply *reply, const struct timespec *begun)
{
    enum log_level level = reply->status >= 500 ? LEVEL_ERROR : LEVEL_DEBUG;
    struct timespec now;

    if (!log_writes(level))
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    log_line(level, request->id, "answered %d, %zu bytes, in %.3f ms%s%s", reply->status, reply->body.len,
             (double)(now.tv_sec - begun->tv_sec) * 1e3 + (double)(now.tv_nsec - begun->tv_nsec) / 1e6,
             request->trace[0] != '\0' ? ", traceparent " : "", request->trace);
}

void
service_answer(const struct service *service, char *const *params, size_t max_body, request_read_fn read,
               void *source, struct reply *reply)
{
    struct request request = {0};
    struct timespec begun;

    clock_gettime(CLOCK_MONOTONIC, &begun);
    counters_begin();
    if (request_load(&request, params, max_body, read, source, reply) == 200)
        service_route(service, &request, reply);
    if (reply->body.failed) {
        buffer_release(&reply->body);
        reply_problem(reply, 503, "out of memory for this reply; try again");
    }
    service_log(&request, reply, &begun);
    reply->content_length = reply->body.len;
    if (request.method != NULL && strcmp(request.method, "HEAD") == 0)
        reply->body.len = 0; /* RFC 3875, section 4.3.3 */
    request_release(&request);
    counters_end(reply->status);
}

int
service_health(const struct request *request, struct reply *reply)
{
    (void)request;
    reply->content_type = "application/json";
    buffer_append_text(&reply->body, "{\"status\":\"pass\"}");
    return reply->status = 200;
}
