/*
 * From CGI meta-variables and a stream of body bytes to a checked request.
 */
#include "request.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

/* The meta-variables that count here; all others are passed over. */
struct variables {
    const char *method, *script_name, *path_info, *content_length, *request_id, *trace;
};

static void
variables_collect(struct variables *variables, char *const *params)
{
    const struct {
        const char *name;
        size_t len;
        const char **value;
    } wanted[] = {
        {"REQUEST_METHOD=", 15, &variables->method},        {"SCRIPT_NAME=", 12, &variables->script_name},
        {"PATH_INFO=", 10, &variables->path_info},          {"CONTENT_LENGTH=", 15, &variables->content_length},
        {"HTTP_X_REQUEST_ID=", 18, &variables->request_id}, {"HTTP_TRACEPARENT=", 17, &variables->trace},
    };

    for (; *params != NULL; params++)
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
            if (**params == *wanted[i].name && strncmp(*params, wanted[i].name, wanted[i].len) == 0)
                *wanted[i].value = *params + wanted[i].len;
}

/* An id that is safe in a log line and a header; anything else counts as none. */
static const char *
request_id(const char *id)
{
    size_t len = strspn(id, "0123456789._-"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                            "abcdefghijklmnopqrstuvwxyz");

    return len <= 64 && id[len] == '\0' ? id : "";
}

/*
 * CONTENT_LENGTH is text from outside: digits alone. nginx sends an empty one with a bare GET, not a
 * missing one. Returns 0, or -1 when it is no number; one too large for size_t gives SIZE_MAX.
 */
static int
request_content_length(const char *text, size_t *length)
{
    *length = 0;
    for (; *text != '\0'; text++) {
        size_t digit = (size_t)(*text - '0');

        if (*text < '0' || *text > '9')
            return -1;
        *length = *length > (SIZE_MAX - digit) / 10 ? SIZE_MAX : *length * 10 + digit;
    }
    return 0;
}

static int
request_path(struct request *request, const struct variables *variables)
{
    if (variables->path_info[0] == '\0') {
        request->path = variables->script_name;
        return 0;
    }
    buffer_append_text(&request->joined, variables->script_name);
    buffer_append(&request->joined, variables->path_info, strlen(variables->path_info) + 1);
    if (request->joined.failed)
        return -1;
    request->path = request->joined.data;
    return 0;
}

int
request_load(struct request *request, char *const *params, size_t max_body, request_read_fn read, void *source,
             struct reply *reply)
{
    struct variables variables = {"", "", "", "", "", ""};
    size_t length;

    variables_collect(&variables, params);
    request->method = variables.method;
    request->id = request_id(variables.request_id);
    request->trace = variables.trace;
    if (request->method[0] == '\0')
        return reply_problem(reply, 400, "REQUEST_METHOD is missing (RFC 3875, section 4.1.12)");
    if (request_content_length(variables.content_length, &length) != 0)
        return reply_problem(reply, 400, "CONTENT_LENGTH must be a whole number of bytes");
    if (length > max_body)
        return reply_problem(reply, 413, "the body may have at most %zu bytes", max_body);
    if (request_path(request, &variables) != 0 || buffer_reserve(&request->body, length) != 0)
        return reply_problem(reply, 503, "out of memory for this request; try again");
    request->body.len = length > 0 ? read(source, request->body.data, length) : 0;
    if (request->body.len != length)
        return reply_problem(reply, 400, "the body ended after %zu of %zu bytes", request->body.len, length);
    return 200;
}

void
request_release(struct request *request)
{
    buffer_release(&request->body);
    buffer_release(&request->joined);
}
