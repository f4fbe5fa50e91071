/*
 * Replies: problem+json, headers, and the head of a CGI response.
 */
#include "reply.h"

#include "answer.h"
#include "escape.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const class_titles[] = {"Successful", "Redirection", "Client Error", "Server Error"};

/* RFC 9110, section 15; 428, 429, 431 and 511: RFC 6585. */
static const char *const titles[] = {
    [200] = "OK",
    [201] = "Created",
    [202] = "Accepted",
    [203] = "Non-Authoritative Information",
    [204] = "No Content",
    [205] = "Reset Content",
    [206] = "Partial Content",
    [300] = "Multiple Choices",
    [301] = "Moved Permanently",
    [302] = "Found",
    [303] = "See Other",
    [304] = "Not Modified",
    [305] = "Use Proxy",
    [307] = "Temporary Redirect",
    [308] = "Permanent Redirect",
    [400] = "Bad Request",
    [401] = "Unauthorized",
    [402] = "Payment Required",
    [403] = "Forbidden",
    [404] = "Not Found",
    [405] = "Method Not Allowed",
    [406] = "Not Acceptable",
    [407] = "Proxy Authentication Required",
    [408] = "Request Timeout",
    [409] = "Conflict",
    [410] = "Gone",
    [411] = "Length Required",
    [412] = "Precondition Failed",
    [413] = "Content Too Large",
    [414] = "URI Too Long",
    [415] = "Unsupported Media Type",
    [416] = "Range Not Satisfiable",
    [417] = "Expectation Failed",
    [421] = "Misdirected Request",
    [422] = "Unprocessable Content",
    [426] = "Upgrade Required",
    [428] = "Precondition Required",
    [429] = "Too Many Requests",
    [431] = "Request Header Fields Too Large",
    [500] = "Internal Server Error",
    [501] = "Not Implemented",
    [502] = "Bad Gateway",
    [503] = "Service Unavailable",
    [504] = "Gateway Timeout",
    [505] = "HTTP Version Not Supported",
    [511] = "Network Authentication Required",
};

const char *
reply_title(int status)
{
    if (status < 200 || status > 599)
        return "";
    if ((size_t)status < sizeof titles / sizeof titles[0] && titles[status] != NULL)
        return titles[status];
    return class_titles[status / 100 - 2];
}

static void
append_number(struct buffer *out, size_t number)
{
    char digits[20]; /* of 2^64 */
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buffer_append(out, digits + at, sizeof digits - at);
}

/* ---- problems ---- */

static void
append_escaped(struct buffer *out, const char *text)
{
    size_t most = ESCAPE_MOST * strlen(text) + 1;

    if (buffer_reserve(out, most) == 0)
        out->len += escape_json(text, out->data + out->len, most);
}

int
reply_problem(struct reply *reply, int status, const char *format, ...)
{
    struct buffer *body = &reply->body;
    char *detail;
    va_list arguments;

    reply->content_type = "application/problem+json";
    buffer_release(body); /* whether that has failed or not does not matter any more */
    va_start(arguments, format);
    if (vasprintf(&detail, format, arguments) < 0)
        detail = NULL;
    va_end(arguments);
    buffer_append_text(body, "{\"type\":\"about:blank\",\"title\":\"");
    buffer_append_text(body, reply_title(status));
    buffer_append_text(body, "\",\"status\":");
    append_number(body, (size_t)status);
    buffer_append_text(body, ",\"detail\":\"");
    append_escaped(body, detail != NULL ? detail : "");
    buffer_append_text(body, "\"}");
    body->failed |= detail == NULL;
    free(detail);
    return status;
}

/* ---- headers ---- */

/* A token (RFC 9110, section 5.6.2): what a header's name is made of. */
static bool
is_token(const char *text)
{
    return text[0] != '\0' && text[strspn(text, "!#$%&'*+-.^_`|~0123456789"
                                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                "abcdefghijklmnopqrstuvwxyz")] == '\0';
}

/* Whether no byte of it could end a line, or is a control at all (RFC 9110, section 5.5). */
static bool
is_field_value(const char *text)
{
    for (; *text != '\0'; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
            return false;
    return true;
}

/* Those that reply_head() writes, and those that are about the connection, which is the web server's. */
static bool
is_reserved(const char *name)
{
    static const char *const names[] = {
        "Status",           "Content-Type", "Content-Length", "Connection",        "Keep-Alive",
        "Proxy-Connection", "TE",           "Trailer",        "Transfer-Encoding", "Upgrade",
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

void
reply_header(struct reply *reply, const char *name, const char *value)
{
    if (!is_token(name))
        reply->refused = "the name of a header is not a token";
    else if (is_reserved(name))
        reply->refused = "a header that a handler may not set";
    else if (!is_field_value(value))
        reply->refused = "a control byte in the value of a header";
    if (strcasecmp(name, "Retry-After") == 0)
        reply->has_retry_after = true;
    buffer_append_text(&reply->fields, "\r\n");
    buffer_append_text(&reply->fields, name);
    buffer_append_text(&reply->fields, ": ");
    buffer_append_text(&reply->fields, value);
}

int
reply_redirect(struct reply *reply, int status, const char *location)
{
    reply_header(reply, "Location", location);
    return status;
}

const char *
reply_fault(const struct reply *reply)
{
    if (reply->refused != NULL)
        return reply->refused;
    /* The two that could begin another header: this is on every request's way. */
    if (reply->content_type != NULL &&
        (strchr(reply->content_type, '\n') != NULL || strchr(reply->content_type, '\r') != NULL))
        return "a line's end in the content type";
    return NULL;
}

/* ---- the response ---- */

void
reply_head(const struct reply *reply, int status, struct buffer *out)
{
    bool is_bare = status == 204 || status == 304; /* neither type nor length (RFC 9110, section 8.6) */

    /* Appended piece by piece: this is on every request's way, and printf takes a microsecond. */
    buffer_append_text(out, "Status: ");
    append_number(out, (size_t)status);
    buffer_append_text(out, " ");
    buffer_append_text(out, reply_title(status));
    if (reply->content_type != NULL || !is_bare) {
        buffer_append_text(out, "\r\nContent-Type: ");
        buffer_append_text(out, reply->content_type != NULL ? reply->content_type : "application/octet-stream");
    }
    if (!is_bare) {
        buffer_append_text(out, "\r\nContent-Length: ");
        append_number(out, reply->body.len);
    }
    buffer_append(out, reply->fields.data, reply->fields.len);
    if (status == 503 && !reply->has_retry_after)
        buffer_append_text(out, "\r\nRetry-After: 1");
    buffer_append_text(out, "\r\n\r\n");
    out->failed |= reply->fields.failed;
}

void
reply_release(struct reply *reply)
{
    buffer_release(&reply->body);
    buffer_release(&reply->fields);
    *reply = (struct reply){0};
}
