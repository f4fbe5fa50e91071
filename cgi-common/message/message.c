/*
 * {"message": "…"}: what a message is, and the words for what is none.
 */
#include "message.h"

#include "encoding.h"
#include "form.h"
#include "json.h"

#include <ctype.h>
#include <string.h>

/* No sentence holds a byte of the client's. */
static const char *const faults[] = {
    [JSON_SYNTAX] = "a syntax error in the JSON",
    [JSON_ENDS_EARLY] = "the JSON ends too early",
    [JSON_NOT_UTF8] = "invalid UTF-8",
    [JSON_RAW_NUL] = "a raw NUL (in a string, write it as \\u0000)",
    [JSON_RAW_CONTROL] = "a raw control character in a string (write it as \\n, or \\u000a)",
    [JSON_LONE_SURROGATE] = "a lone surrogate (\\ud800 to \\udfff come in pairs)",
    [JSON_BYTE_ORDER_MARK] = "a byte order mark before the JSON (send it without)",
    [JSON_TOO_DEEP] = "the JSON is nested too deep (2048 levels at most)",
    [JSON_SOMETHING_FOLLOWS] = "something follows the JSON",
};

/* Read the whole body. Sets `text` to the last "message" in it; returns why there is none, or NULL. */
static const char *
message_find(struct json *json, struct json_string *text)
{
    const char *wrong = "the object has no member \"message\"";
    struct json_string key;
    struct json_string value = {0};

    if (!json_open_object(json)) {
        json_read_value(json, &value);
        wrong = "the JSON is not an object; send {\"message\": \"…\"}";
    }
    while (json_next(json, &key)) {
        char type = json_read_value(json, &value);

        if (!json_string_is(&key, "message"))
            continue;
        *text = value;
        wrong = type == '"' ? NULL : "the member \"message\" is not a string";
    }
    json_end(json);
    return wrong;
}

/* Whether it begins as a form does, of either kind. Content-Type does not tell: curl names one with any -d. */
static bool
is_form(const struct bytes *body)
{
    size_t i = 0;

    if (body->len >= 2 && memcmp(body->data, "--", 2) == 0)
        return memmem(body->data, body->len, "Content-Disposition:", sizeof "Content-Disposition:" - 1) != NULL;
    while (i < body->len && (isalnum((unsigned char)body->data[i]) || memchr("%+-._*", body->data[i], 6) != NULL))
        i++;
    return i > 0 && i < body->len && body->data[i] == '=';
}

static int
message_fault(const struct request *request, const struct json *json, struct reply *reply)
{
    struct json_place place = json_fault_place(json);
    const char *what = is_form(&request->body) ? "a form where JSON is expected" : faults[json->fault];
    int status = encoding_check_bytes(request, reply);

    if (status != 200)
        return status;
    return reply_problem(reply, 400, "%s, at line %zu, column %zu (byte %zu)", what, place.line, place.column,
                         place.byte);
}

/* Make the text of the string the message. */
static int
message_take(struct message *message, const struct json_string *string, struct reply *reply)
{
    message->text = string->raw;
    message->len = string->len;
    message->plain = !string->escaped;
    if (message->plain)
        return 200;
    json_string_decode(string, &message->decoded);
    if (message->decoded.failed) {
        message_release(message);
        return reply_problem(reply, 503, "out of memory for this message; try again");
    }
    message->text = message->decoded.data;
    message->len = message->decoded.len;
    return 200;
}

/* A form escapes nothing, so whether the text needs escapes in JSON is not known. */
static int
message_take_form(const struct request *request, struct message *message, struct reply *reply)
{
    struct bytes text;
    int status = encoding_check(request, reply);

    if (status != 200 || (status = form_read(request, &text, reply)) != 200)
        return status;
    *message = (struct message){.text = text.data, .len = text.len};
    return 200;
}

int
message_decode(const struct request *request, struct message *message, struct reply *reply)
{
    if (form_is(request))
        return message_take_form(request, message, reply);
    return message_decode_json(request, message, reply);
}

int
message_decode_json(const struct request *request, struct message *message, struct reply *reply)
{
    struct json_string text;
    struct json json;
    const char *wrong;
    int status;

    *message = (struct message){0};
    if ((status = encoding_check(request, reply)) != 200)
        return status;
    if (request->body.len == 0)
        return reply_problem(reply, 400, "the body is empty; send {\"message\": \"…\"}");
    json_begin(&json, request->body.data, request->body.len);
    wrong = message_find(&json, &text);
    if (json.fault != JSON_OK)
        return message_fault(request, &json, reply);
    if (wrong != NULL)
        return reply_problem(reply, 400, "%s", wrong);
    return message_take(message, &text, reply);
}

void
message_release(struct message *message)
{
    buffer_release(&message->decoded);
    *message = (struct message){0};
}
