/*
 * From CGI meta-variables and a body to a checked request, and what a handler can ask of it.
 */
#include "answer.h"

#include "content_length.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

/* ---- loading ---- */

/* The meta-variables that every request is asked for; a handler asks for others by name. */
struct variables {
    const char *method, *script_name, *path_info, *content_length, *request_id, *trace;
};

static void
variables_collect(struct variables *variables, char *const *params)
{
#define WANTED(name, value)                       \
    {                                             \
        name "=", sizeof(name), &variables->value \
    }
    const struct {
        const char *name;
        size_t len;
        const char **value;
    } wanted[] = {
        WANTED("REQUEST_METHOD", method),        WANTED("SCRIPT_NAME", script_name),
        WANTED("PATH_INFO", path_info),          WANTED("CONTENT_LENGTH", content_length),
        WANTED("HTTP_X_REQUEST_ID", request_id), WANTED("HTTP_TRACEPARENT", trace),
    };
#undef WANTED

    for (; *params != NULL; params++)
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
            if (**params == *wanted[i].name && strncmp(*params, wanted[i].name, wanted[i].len) == 0) {
                *wanted[i].value = *params + wanted[i].len;
                break;
            }
}

/* An id that is safe in a log line and a header; anything else counts as none. */
static const char *
request_id(const char *id)
{
    static const bool is_fit[UCHAR_MAX + 1] = {
        ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['.'] = true, ['_'] = true, ['-'] = true,
    };
    size_t len = 0;

    while (is_fit[(unsigned char)id[len]]) /* strspn makes such a table for each call */
        len++;
    return len <= 64 && id[len] == '\0' ? id : "";
}

static void
request_join_path(struct request *request, const struct variables *variables)
{
    request->path = variables->script_name;
    if (variables->path_info[0] == '\0')
        return;
    buffer_append_text(&request->joined, variables->script_name);
    buffer_append(&request->joined, variables->path_info, strlen(variables->path_info) + 1);
    request->path = request->joined.data;
}

/* Returns as request_load() does. */
static int
request_take_body(struct request *request, const char *content_length, size_t max_body, const struct buffer *body,
                  struct reply *reply)
{
    size_t length = body->len;

    /* Some servers send an empty CONTENT_LENGTH with a bare GET, some none or -1 with a chunked body. */
    if (content_length[0] != '\0' && strcmp(content_length, "-1") != 0 &&
        content_length_parse(content_length, strlen(content_length), &length) != 0)
        return reply_problem(reply, 400, "CONTENT_LENGTH must be a whole number of bytes");
    if (length > max_body || body->len > max_body)
        return reply_problem(reply, 413, "the body may have at most %zu bytes", max_body);
    if (request->joined.failed)
        return reply_problem(reply, 503, "out of memory for this request; try again");
    if (length > body->len)
        return reply_problem(reply, 400, "the body ended after %zu of %zu bytes", body->len, length);
    request->body = (struct bytes){length > 0 ? body->data : "", length};
    return 200;
}

int
request_load(struct request *request, char *const *params, size_t max_body, const struct buffer *body,
             struct reply *reply)
{
    struct variables variables = {"", "", "", "", "", ""};

    variables_collect(&variables, params);
    request->params = params;
    request->method = variables.method;
    request->rest = "";
    request->id = request_id(variables.request_id);
    request->trace = variables.trace;
    if (body->failed) /* and perhaps not all of the params are there */
        return reply_problem(reply, 503, "out of memory for this request; try again");
    if (request->method[0] == '\0')
        return reply_problem(reply, 400, "REQUEST_METHOD is missing (RFC 3875, section 4.1.12)");
    request_join_path(request, &variables);
    return request_take_body(request, variables.content_length, max_body, body, reply);
}

void
request_release(struct request *request)
{
    buffer_release(&request->joined);
}

/* ---- variables and headers ---- */

const char *
request_variable(const struct request *request, const char *name)
{
    const char *value = "";
    size_t len = strlen(name);

    for (char *const *param = request->params; *param != NULL; param++)
        if (**param == *name && strncmp(*param, name, len) == 0 && (*param)[len] == '=')
            value = *param + len + 1;
    return value;
}

static char
upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* The value in "ACCEPT_LANGUAGE=…" when `name` is Accept-Language; else NULL. */
static const char *
header_value(const char *param, const char *name)
{
    for (; *name != '\0'; name++, param++)
        if (*param != (*name == '-' ? '_' : upper(*name)))
            return NULL;
    return *param == '=' ? param + 1 : NULL;
}

const char *
request_header(const struct request *request, const char *name)
{
    /* The two that describe the body have variables of their own (RFC 3875, section 4.1.18). */
    bool of_body = strcasecmp(name, "Content-Type") == 0 || strcasecmp(name, "Content-Length") == 0;
    const char *prefix = of_body ? "" : "HTTP_";
    const char *value = "";
    const char *found;

    for (char *const *param = request->params; *param != NULL; param++)
        if (strncmp(*param, prefix, strlen(prefix)) == 0 &&
            (found = header_value(*param + strlen(prefix), name)) != NULL)
            value = found;
    return value;
}

const char *
request_content_type(const struct request *request)
{
    return request_variable(request, "CONTENT_TYPE");
}

const char *
request_client(const struct request *request)
{
    return request_variable(request, "REMOTE_ADDR");
}

const char *
request_query(const struct request *request)
{
    return request_variable(request, "QUERY_STRING");
}

/* ---- the query ---- */

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = upper(c);
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that an encoded text begins with; moves `at` behind it. No digit stands behind the text (=, &, '\0'). */
static char
query_byte(const char **at)
{
    const char *text = *at;
    int high, low;

    if (*text == '%' && (high = hex_digit(text[1])) >= 0 && (low = hex_digit(text[2])) >= 0) {
        *at += 3;
        return (char)(high << 4 | low);
    }
    *at += 1;
    return *text == '+' ? ' ' : *text;
}

static bool
query_is(const char *at, const char *end, const char *name)
{
    while (at < end && *name != '\0')
        if (query_byte(&at) != *name++)
            return false;
    return at == end && *name == '\0';
}

static void
query_decode(const char *at, const char *end, struct buffer *value)
{
    if (buffer_reserve(value, (size_t)(end - at) + 1) != 0) /* decoded it is no longer */
        return;
    while (at < end)
        value->data[value->len++] = query_byte(&at);
    value->data[value->len] = '\0';
}

bool
request_query_value(const struct request *request, const char *name, struct buffer *value)
{
    const char *at = request_query(request);

    while (*(at += strspn(at, "&")) != '\0') {
        const char *end = at + strcspn(at, "&");
        const char *name_end = at + strcspn(at, "=&");

        if (query_is(at, name_end, name)) {
            query_decode(name_end < end ? name_end + 1 : end, end, value);
            return true;
        }
        at = end;
    }
    return false;
}
