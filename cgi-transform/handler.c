/*
 * transform: a message comes in, it goes out reversed. To make it compute something else, replace
 * append_reversed().
 *
 * POST /reverse {"message": m} gives {"message": m reversed}; POST /reverse/message gives the reversed string
 * alone, a JSON value that app's reply includes; GET /_health. Errors: see message_decode() in message.h.
 */
#include "json_string.h"
#include "message.h"
#include "reverse.h"
#include "service.h"

#include <errno.h>
#include <stdlib.h>
#include <utf8proc.h>

/* What came without escapes needs none the other way round, so it is reversed right where it is to stand. */
static int
append_plain(const struct message *message, struct buffer *out)
{
    if (buffer_reserve(out, message->len + 2) != 0)
        return -1;
    buffer_append(out, "\"", 1);
    if (reverse_utf8(message->text, message->len, out->data + out->len) != 0)
        return -1;
    out->len += message->len;
    buffer_append(out, "\"", 1);
    return 0;
}

static int
append_escaped(const struct message *message, struct buffer *out)
{
    char *reversed = malloc(message->len + 1); /* malloc(0) may be NULL */
    int result;

    if (reversed == NULL)
        return -1;
    if ((result = reverse_utf8(message->text, message->len, reversed)) == 0)
        json_string_encode(reversed, message->len, out);
    free(reversed);
    return result;
}

/* Append the request's message, reversed, to the reply as a JSON string. */
static int
append_reversed(const struct request *request, struct reply *reply)
{
    struct message message;
    int status;

    if ((status = message_decode(request, &message, reply)) != 200)
        return status;
    if ((message.plain ? append_plain : append_escaped)(&message, &reply->body) != 0)
        status = errno == EILSEQ ? reply_problem(reply, 400, "the message is not valid UTF-8")
                                 : reply_problem(reply, 503, "out of memory for this message; try again");
    message_release(&message);
    return status;
}

/* The value alone: what nginx puts into app's answer. */
static int
answer_value(const struct request *request, struct reply *reply)
{
    reply->content_type = "application/json";
    return append_reversed(request, reply);
}

static int
answer_object(const struct request *request, struct reply *reply)
{
    int status;

    reply->content_type = "application/json";
    buffer_append_text(&reply->body, "{\"message\":");
    if ((status = append_reversed(request, reply)) == 200)
        buffer_append_text(&reply->body, "}");
    return status;
}

static const struct route routes[] = {
    {"/reverse/message", "POST", answer_value},
    {"/reverse", "POST", answer_object},
    {"/_health", "GET, HEAD", service_health},
};

/* The same message comes back otherwise where another Unicode is known. */
static void
append_version(struct buffer *text)
{
    buffer_printf(text, "Unicode %s, by utf8proc %s", utf8proc_unicode_version(), utf8proc_version());
}

const struct service transform_service = {
    .name = "cgi-transform",
    .version = append_version,
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};
