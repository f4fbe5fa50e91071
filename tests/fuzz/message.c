/*
 * A message against jansson. The input is taken for a body: message_decode() must give the verdict and the text
 * that jansson gives. When it is UTF-8 it is also taken for a text: encoded as a message and decoded, it must be
 * itself.
 *
 * jansson differs from RFC 8259, or from what we allow, in four things, and is no judge of these: a number beyond
 * its types, U+0000 in a key, a raw NUL (behind a number it takes one for the end), and arrays or objects 2,048
 * deep.
 */
#include "message.h"
#include "json_string.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
disagree(const char *what, const char *body, size_t len)
{
    fprintf(stderr, "jansson has another opinion: %s: %.*s\n", what, (int)len, body);
    abort();
}

static bool
is_beyond_jansson(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);

    return code == json_error_numeric_overflow || code == json_error_null_byte_in_key ||
           code == json_error_stack_overflow;
}

/* `expected`: the message that must be in the body; NULL when jansson has to say. */
static void
check_body(char *body, size_t len, const json_t *expected)
{
    struct request request = {.params = (char *[]){NULL}, .body = {.data = body, .len = len}};
    struct message message;
    struct reply reply = {0};
    json_error_t error = {0};
    json_t *object = json_loadb(body, len, JSON_ALLOW_NUL, &error);
    const json_t *text = expected != NULL ? expected : json_object_get(object, "message");
    int status = message_decode(&request, &message, &reply);

    if (status != 200 && status != 400 && status != 415)
        disagree("neither 200, 400 nor 415", body, len);
    if (status == 200 && memchr(body, '\0', len) != NULL)
        disagree("a raw NUL is taken", body, len);
    if (status != 200 && json_is_string(text) && memchr(body, '\0', len) == NULL)
        disagree("a message is refused", body, len);
    if (status == 200 && !json_is_string(text) && !is_beyond_jansson(&error))
        disagree("what is no message is taken", body, len);
    if (status == 200 && json_is_string(text) &&
        (message.len != json_string_length(text) ||
         memcmp(message.text, json_string_value(text), message.len) != 0))
        disagree("the text is another", body, len);
    if (status == 200)
        message_release(&message);
    reply_release(&reply);
    json_decref(object);
}

static void
check_text(const json_t *text)
{
    struct buffer body = {0};

    buffer_append_text(&body, "{\"message\":");
    json_string_encode(json_string_value(text), json_string_length(text), &body);
    buffer_append_text(&body, "}");
    check_body(body.data, body.len, NULL);
    check_body(body.data, body.len, text);
    buffer_release(&body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy =
        malloc(size); /* no byte more, so that AddressSanitizer sees each one that is read behind the end */
    json_t *text = json_stringn((const char *)data, size);

    if (size > 0 && copy != NULL) {
        memcpy(copy, data, size);
        check_body(copy, size, NULL);
    }
    if (text != NULL)
        check_text(text);
    json_decref(text);
    free(copy);
    return 0;
}
