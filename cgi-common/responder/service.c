/*
 * From a request to the handler of its route, and what is made of what the handler did.
 */
#include "answer.h"

#include "log.h"

#include <stdbool.h>
#include <string.h>

/* Whether `method` is one of the comma-separated names in `allow`. */
static bool
route_takes(const struct route *route, const char *method)
{
    size_t len = strlen(method);

    for (const char *name = route->allow; *name != '\0'; name += strspn(name, ", ")) {
        size_t name_len = strcspn(name, ", ");

        if (name_len == len && memcmp(name, method, len) == 0)
            return true;
        name += name_len;
    }
    return false;
}

/* The length of the prefix that a route takes, its last slash included; 0 when it takes one path only. */
static size_t
route_prefix(const char *path)
{
    size_t len = strlen(path);

    return len >= 2 && path[len - 2] == '/' && path[len - 1] == '*' ? len - 1 : 0;
}

/* The path, as the table has it, of the routes for this one; NULL for none. Sets the length of its prefix, or 0. */
static const char *
service_find(const struct service *service, const char *path, size_t *prefix)
{
    const char *best = NULL;

    *prefix = 0;
    for (size_t i = 0; i < service->route_count; i++) {
        const char *candidate = service->routes[i].path;
        size_t len = route_prefix(candidate);

        if (len == 0 && strcmp(candidate, path) == 0) {
            *prefix = 0;
            return candidate;
        }
        if (len > *prefix && strncmp(candidate, path, len) == 0) {
            *prefix = len;
            best = candidate;
        }
    }
    return best;
}

/* The next route from number `i` on that has this path, or NULL. */
static const struct route *
service_next(const struct service *service, size_t *i, const char *path)
{
    for (; *i < service->route_count; *i += 1) {
        const struct route *route = &service->routes[*i];

        if (route->path == path || strcmp(route->path, path) == 0) {
            *i += 1;
            return route;
        }
    }
    return NULL;
}

/* A 405 that lists what all routes with this path take. */
static int
service_refuse_method(const struct service *service, const char *path, struct reply *reply)
{
    const struct route *route;
    struct buffer allow = {0};
    int status = 503;

    for (size_t i = 0; (route = service_next(service, &i, path)) != NULL;) {
        buffer_append_text(&allow, allow.len > 0 ? ", " : "");
        buffer_append_text(&allow, route->allow);
    }
    buffer_append(&allow, "", 1);
    if (allow.failed) {
        reply->body.failed = true;
    } else {
        reply_header(reply, "Allow", allow.data);
        status = reply_problem(reply, 405, "%s takes %s", path, allow.data);
    }
    buffer_release(&allow);
    return status;
}

/* What the handler did can be sent, or a 500: the client learns that it was not its fault, the log whose. */
static int
service_call(const struct route *route, const struct request *request, struct reply *reply)
{
    int status = route->handler(request, reply);
    const char *fault = status < 200 || status > 599 ? "not a status from 200 to 599" : reply_fault(reply);

    if (fault != NULL) {
        log_line(LEVEL_ERROR, request->id, "the handler of %s returned %d: %s", route->path, status, fault);
        reply_release(reply);
        return reply_problem(reply, 500, "the service made a mistake; its log says which");
    }
    if (status >= 400 && reply->content_type == NULL && reply->body.len == 0)
        return reply_problem(reply, status, "%s", reply_title(status));
    return status;
}

int
service_handle(const struct service *service, struct request *request, struct reply *reply)
{
    size_t prefix;
    const char *path = service_find(service, request->path, &prefix);
    const struct route *route;

    if (path == NULL)
        return reply_problem(reply, 404, "there is nothing at this path");
    request->rest = prefix > 0 ? request->path + prefix : "";
    for (size_t i = 0; (route = service_next(service, &i, path)) != NULL;)
        if (route_takes(route, request->method))
            return service_call(route, request, reply);
    return service_refuse_method(service, path, reply);
}

int
service_health(const struct request *request, struct reply *reply)
{
    if (strcmp(request->method, "OPTIONS") == 0)
        reply_header(reply, "Allow", "GET, HEAD, OPTIONS");
    reply->content_type = "application/json";
    buffer_append_text(&reply->body, "{\"status\":\"pass\",\"version\":\"" CGI_VERSION "\"}");
    return 200;
}
