/*
 * {"message": "…"}: the usual body, one member and nothing else, is read here; jansson has the word on any other.
 */
#include "message.h"

#include "json_string.h"
#include "lenient.h"

#include <stdbool.h>
#include <string.h>

/* Tell the client what jansson found, without jansson's own words: they quote the client's bytes. */
static int
message_problem(const json_error_t *error, struct reply *reply)
{
    const char *what;

    switch (json_error_code(error)) {
    case json_error_out_of_memory:
        return reply_problem(reply, 503, "out of memory for this message; try again");
    case json_error_invalid_utf8:
        what = "invalid UTF-8";
        break;
    case json_error_premature_end_of_input:
        what = "the JSON ends too early";
        break;
    case json_error_end_of_input_expected:
        what = "something follows the JSON";
        break;
    case json_error_stack_overflow:
        what = "the JSON is nested too deep";
        break;
    default:
        what = "a syntax error in the JSON";
    }
    return reply_problem(reply, 400, "%s, at line %d, column %d (byte %d)", what, error->line, error->column,
                         error->position);
}

/* jansson, and once more with what it cannot hold taken out (lenient.h). Returns NULL with `error` set. */
static json_t *
message_parse(const struct bytes *body, json_error_t *error)
{
    /* Any JSON value, so that a wrong one is told from a syntax error. */
    const size_t flags = JSON_ALLOW_NUL | JSON_DECODE_ANY;
    json_t *value = json_loadb(body->data, body->len, flags, error);
    struct buffer copy = {0};

    if (value != NULL || (json_error_code(error) != json_error_numeric_overflow &&
                          json_error_code(error) != json_error_null_byte_in_key))
        return value;
    buffer_append(&copy, body->data, body->len);
    if (copy.failed) {
        error->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_out_of_memory; /* where json_error_code() looks */
        return NULL;
    }
    lenient_rewrite(copy.data, copy.len);
    value = json_loadb(copy.data, copy.len, flags, error);
    buffer_release(&copy);
    return value;
}

static const char *
skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

/* Behind `token` and the space before it, or NULL when something else stands there (or `at` is NULL already). */
static const char *
skip_token(const char *at, const char *end, const char *token)
{
    size_t len = strlen(token);

    if (at == NULL)
        return NULL;
    at = skip_space(at, end);
    return (size_t)(end - at) >= len && memcmp(at, token, len) == 0 ? at + len : NULL;
}

/* Whether the body is an object with the one member "message", a string. If not, that says nothing about it. */
static bool
message_is_usual(const struct bytes *body, struct message *message)
{
    const char *end = body->data + body->len;
    const char *at = skip_token(body->data, end, "{");

    at = skip_token(at, end, "\"message\"");
    at = skip_token(at, end, ":");
    at = skip_token(at, end, "\"");
    if (at == NULL || (at = json_string_decode(at, end, &message->decoded, &message->text, &message->len)) == NULL)
        return false;
    at = skip_token(at, end, "}");
    return at != NULL && skip_space(at, end) == end;
}

/* The message in any JSON text, by jansson. Returns as message_decode() does. */
static int
message_decode_any(const struct bytes *body, struct message *message, struct reply *reply)
{
    const char *nul = memchr(body->data, '\0', body->len);
    json_error_t error;
    json_t *text;

    if (nul != NULL) /* jansson takes one behind a number for the end */
        return reply_problem(reply, 400, "a raw NUL at byte %zu; write it as \\u0000", (size_t)(nul - body->data));
    if ((message->object = message_parse(body, &error)) == NULL)
        return message_problem(&error, reply);
    if (!json_is_object(message->object))
        return reply_problem(reply, 400, "the JSON is no object; send {\"message\": \"…\"}");
    if ((text = json_object_get(message->object, "message")) == NULL)
        return reply_problem(reply, 400, "the object has no member \"message\"");
    if (!json_is_string(text))
        return reply_problem(reply, 400, "the member \"message\" is no string");
    message->text = json_string_value(text);
    message->len = json_string_length(text);
    return 200;
}

int
message_decode(const struct request *request, struct message *message, struct reply *reply)
{
    int status;

    *message = (struct message){0};
    if (request->body.len == 0)
        return reply_problem(reply, 400, "the body is empty; send {\"message\": \"…\"}");
    if (message_is_usual(&request->body, message))
        return 200;
    message_release(message);
    if ((status = message_decode_any(&request->body, message, reply)) != 200)
        message_release(message);
    return status;
}

void
message_release(struct message *message)
{
    json_decref(message->object);
    buffer_release(&message->decoded);
    *message = (struct message){0};
}
