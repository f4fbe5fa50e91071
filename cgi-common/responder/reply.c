/*
 * Replies: the head of a CGI response, and problem+json.
 */
#include "reply.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PROBLEM_TYPE "application/problem+json"

/* The statuses that a service gives, with their names in RFC 9110. */
static const char *
reply_title(int status)
{
    static const struct {
        int status;
        const char *title;
    } titles[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {413, "Content Too Large"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
    };

    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "Unnamed Status";
}

static int
reply_append_json(const char *bytes, size_t len, void *buffer)
{
    buffer_append(buffer, bytes, len);
    return 0;
}

int
reply_problem(struct reply *reply, int status, const char *format, ...)
{
    char detail[512];
    va_list arguments;
    json_t *problem;

    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    reply->status = status;
    reply->content_type = PROBLEM_TYPE;
    reply->body.len = 0;
    problem = json_pack("{s:s, s:s, s:i, s:s}", "type", "about:blank", "title", reply_title(status), "status",
                        status, "detail", detail);
    /* Out of memory: the status alone has to do. */
    if (problem == NULL || json_dump_callback(problem, reply_append_json, &reply->body, JSON_COMPACT) != 0)
        reply->body.len = 0;
    json_decref(problem);
    return status;
}

static void
reply_append_number(struct buffer *out, size_t number)
{
    char digits[20]; /* of 2^64 */
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buffer_append(out, digits + at, sizeof digits - at);
}

void
reply_head(const struct reply *reply, struct buffer *out)
{
    /* Appended piece by piece: this is on every request's way, and printf takes a microsecond. */
    buffer_append_text(out, "Status: ");
    reply_append_number(out, (size_t)reply->status);
    buffer_append_text(out, " ");
    buffer_append_text(out, reply_title(reply->status));
    buffer_append_text(out, "\r\nContent-Type: ");
    buffer_append_text(out, reply->content_type);
    buffer_append_text(out, "\r\nContent-Length: ");
    reply_append_number(out, reply->content_length);
    if (reply->allow != NULL) {
        buffer_append_text(out, "\r\nAllow: ");
        buffer_append_text(out, reply->allow);
    }
    if (reply->status == 503)
        buffer_append_text(out, "\r\nRetry-After: 1");
    buffer_append_text(out, "\r\n\r\n");
}

void
reply_release(struct reply *reply)
{
    buffer_release(&reply->body);
}
