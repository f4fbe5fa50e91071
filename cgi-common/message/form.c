/*
 * "message=TEXT" and a line's end (HTML Standard, "Plain text form data").
 */
#include "form.h"

#include "json.h"
#include "json_string.h"

#include <string.h>
#include <strings.h>

static const char field[] = "message=";
enum { FIELD_LENGTH = sizeof field - 1 };

bool
form_is(const struct request *request)
{
    const struct bytes *body = &request->body;
    static const char type[] = "text/plain";
    const char *given;

    if (body->len < FIELD_LENGTH || memcmp(body->data, field, FIELD_LENGTH) != 0)
        return false;
    given = request_content_type(request);
    return strncasecmp(given, type, sizeof type - 1) == 0 && strchr("; \t", given[sizeof type - 1]) != NULL;
}

/* The reader of JSON is the one that knows UTF-8, so the text is checked as a JSON string. */
static int
form_check(const struct bytes *text, struct reply *reply)
{
    struct buffer string = {0};
    struct json_string value;
    struct json json;
    int status = 200;

    json_string_encode(text->data, text->len, &string);
    if (string.failed) {
        buffer_release(&string);
        return reply_problem(reply, 503, "out of memory for this message; try again");
    }
    json_begin(&json, string.data, string.len);
    json_read_value(&json, &value);
    if (json.fault != JSON_OK)
        status = reply_problem(reply, 400, "the message is not valid UTF-8");
    buffer_release(&string);
    return status;
}

int
form_read(const struct request *request, struct bytes *text, struct reply *reply)
{
    *text = (struct bytes){request->body.data + FIELD_LENGTH, request->body.len - FIELD_LENGTH};
    if (text->len >= 2 && memcmp(text->data + text->len - 2, "\r\n", 2) == 0)
        text->len -= 2;
    return form_check(text, reply);
}
