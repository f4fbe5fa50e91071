/*
 * message.c and json_string.c against jansson: the same verdict and the same text for hundreds of thousands of
 * bodies, made from usual ones by small changes (always the same, the generator is seeded); and what is encoded is
 * decoded to what it was. usage: message [COUNT]
 */
#include "message.h"
#include "json_string.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t generator = 88172645463325252u;

/* xorshift64 */
static size_t
below(size_t limit)
{
    generator ^= generator << 13;
    generator ^= generator >> 7;
    generator ^= generator << 17;
    return (size_t)(generator % limit);
}

static const char *const seeds[] = {
    "{\"message\": \"hello\"}",
    " {\t\"message\"\n:\r\"a longer text, of more than one word of eight bytes\" } ",
    "{\"message\":\"\\u00e9\\n\\\"\\\\\\/\\b\\f\\r\\t\\ud83d\\ude00\\u0000\"}",
    "{\"message\":\"a\xc3\xb1\xe6\x97\xa5\xf0\x9f\x98\x80 mixed, 12345678\"}",
    "{\"message\":\"\"}",
    "{\"message\":\"a\",\"message\":\"b\"}",
    "{\"message\":\"a\",\"n\":[1,2.5e3,null,true]}",
};

static const char *const pieces[] = {
    "\"",      "\\",  "\\u",      "\\ud800",  "\\udc00", "\\ud83d\\ude00",
    "\\u0000", "\\x", "{",        "}",        ":",       ",",
    " ",       "\n",  "\t",       "\x01",     "\x7f",    "\xff",
    "\xc3",    "e",   "\xed\xa0", "\xc0\x80", "0",       "\\uD83D",
    "é",       "日",  "😀",        "a",        "[",       "]",
    "//",      "\f",  "\\n",      "\\\"",     "\\/",     "\xf4\x90\x80\x80",
};

static void
replace(struct buffer *body, size_t at, size_t drop, const char *with)
{
    struct buffer changed = {0};

    buffer_append(&changed, body->data, at);
    buffer_append(&changed, with, strlen(with));
    buffer_append(&changed, body->data + at + drop, body->len - at - drop);
    buffer_release(body);
    *body = changed;
}

static void
make_body(struct buffer *body)
{
    const char *seed = seeds[below(sizeof seeds / sizeof seeds[0])];

    body->len = 0;
    buffer_append(body, seed, strlen(seed));
    for (size_t changes = below(4); changes > 0; changes--) {
        size_t at = below(body->len + 1);
        size_t drop = at < body->len ? below(2) : 0;

        replace(body, at, drop, pieces[below(sizeof pieces / sizeof pieces[0])]);
    }
}

static int
complain(const char *what, const struct buffer *body)
{
    printf("%s: %.*s\n", what, (int)body->len, body->data);
    return 1;
}

/* Returns how many faults were found. */
static int
check_decode(struct buffer *body)
{
    struct request request = {.body = {body->data, body->len}};
    struct message message;
    struct reply reply = {0};
    json_error_t error = {0};
    json_t *object = json_loadb(body->data, body->len, JSON_ALLOW_NUL, &error);
    json_t *text = json_object_get(object, "message");
    int status = message_decode(&request, &message, &reply);
    int faults = 0;

    if (status != 200 && status != 400)
        faults += complain("neither 200 nor 400", body);
    /* What lenient.c is for: valid, but jansson cannot hold it. */
    if (object == NULL && json_error_code(&error) == json_error_null_byte_in_key)
        goto done;
    if ((status == 200) != json_is_string(text))
        faults += complain(status == 200 ? "taken, jansson refuses it" : "refused, jansson takes it", body);
    else if (status == 200 && (message.len != json_string_length(text) ||
                               memcmp(message.text, json_string_value(text), message.len) != 0))
        faults += complain("another text than jansson's", body);
done:
    if (status == 200)
        message_release(&message);
    reply_release(&reply);
    json_decref(object);
    return faults;
}

/* Of a random text, control characters and quotes among it. */
static int
check_encode(struct buffer *text)
{
    struct buffer encoded = {0};
    json_t *string;
    int faults = 0;

    text->len = 0;
    for (size_t left = below(40); left > 0; left--) {
        char ascii = (char)below(128);

        if (below(4) > 0)
            buffer_append(text, &ascii, 1);
        else
            buffer_append(text, "\xe6\x97\xa5", 3);
    }
    json_string_encode(text->data, text->len, &encoded);
    string = json_loadb(encoded.data, encoded.len, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
    if (!json_is_string(string) || json_string_length(string) != text->len ||
        (text->len > 0 && memcmp(json_string_value(string), text->data, text->len) != 0))
        faults = complain("encoded to something else", &encoded);
    json_decref(string);
    buffer_release(&encoded);
    return faults;
}

int
main(int argc, char *argv[])
{
    int count = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 300000;
    struct buffer buffer = {0};
    int faults = 0;

    for (int i = 0; i < count && faults < 10; i++) {
        make_body(&buffer);
        faults += check_decode(&buffer);
        faults += check_encode(&buffer);
    }
    buffer_release(&buffer);
    printf("%d bodies and texts compared with jansson, %d faults\n", count, faults);
    return faults == 0 && count > 0 ? 0 : 1;
}
