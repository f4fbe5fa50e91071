/*
 * The reader of JSON: a cursor that every function here moves on.
 */
#include "json.h"

#include "json_string.h"

#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

void
json_begin(struct json *json, const char *text, size_t len)
{
    json->fault = JSON_OK;
    json->begin = json->at = text;
    json->end = text + len;
    json->opened = false;
    json->depth = 0;
}

/* ---- faults ---- */

/* The fault is just before the cursor. It ends the text, so no second one can be found. */
static void
json_fail(struct json *json, enum json_fault fault)
{
    if (json->fault != JSON_OK)
        return;
    json->fault = fault;
    json->end = json->at;
    json->depth = 0;
}

/* The bytes of the character at `at`; 0 when they are not UTF-8. */
static size_t
utf8_size(const char *at, const char *end)
{
    utf8proc_int32_t character;
    utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)at, end - at, &character);

    return size < 1 ? 0 : (size_t)size;
}

/* The byte at the cursor, or the end there, is a fault: this one, unless its value says more. */
static void
json_refuse(struct json *json, enum json_fault fault)
{
    size_t left = (size_t)(json->end - json->at);

    if (left == 0)
        fault = JSON_ENDS_EARLY;
    else if (*json->at == '\0')
        fault = JSON_RAW_NUL;
    else if (utf8_size(json->at, json->end) == 0)
        fault = JSON_NOT_UTF8;
    else if (json->at == json->begin && left >= 3 && memcmp(json->at, "\xef\xbb\xbf", 3) == 0)
        fault = JSON_BYTE_ORDER_MARK;
    if (left > 0)
        json->at++;
    json_fail(json, fault);
}

struct json_place
json_fault_place(const struct json *json)
{
    struct json_place place = {.line = 1, .byte = (size_t)(json->at - json->begin)};

    for (const char *at = json->begin; at < json->at; at++) {
        if (at > json->begin && at[-1] == '\n') {
            place.line++;
            place.column = 0;
        }
        /* A byte that continues a character is not counted, unless it is the fault itself. */
        if ((*at & 0xc0) != 0x80 || (json->fault == JSON_NOT_UTF8 && at + 1 == json->at))
            place.column++;
    }
    return place;
}

/* ---- bytes ---- */

/* Read this byte if it comes next. */
static bool
json_accept(struct json *json, char byte)
{
    if (json->at == json->end || *json->at != byte)
        return false;
    json->at++;
    return true;
}

/* The byte behind white space, or 0 at the end. */
static char
json_peek(struct json *json)
{
    const char *at = json->at;

    while (at < json->end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    json->at = at;
    if (at == json->end)
        return '\0';
    return *at;
}

/* Read this byte, and white space before it. */
static bool
json_expect(struct json *json, char byte)
{
    json_peek(json);
    if (json_accept(json, byte))
        return true;
    json_refuse(json, JSON_SYNTAX);
    return false;
}

static bool
json_at_digit(const struct json *json)
{
    return json->at < json->end && *json->at >= '0' && *json->at <= '9';
}

/* ---- strings ---- */

/* Four hex digits; `fault` is what another character is. */
static int32_t
json_read_hex(struct json *json, enum json_fault fault)
{
    static const char values[256] = {
        ['1'] = 1,  ['2'] = 2,  ['3'] = 3,  ['4'] = 4,  ['5'] = 5,  ['6'] = 6,  ['7'] = 7,
        ['8'] = 8,  ['9'] = 9,  ['a'] = 10, ['b'] = 11, ['c'] = 12, ['d'] = 13, ['e'] = 14,
        ['f'] = 15, ['A'] = 10, ['B'] = 11, ['C'] = 12, ['D'] = 13, ['E'] = 14, ['F'] = 15,
    };
    int32_t value = 0;

    for (int digits = 0; digits < 4; digits++, json->at++) {
        unsigned char c = json->at < json->end ? (unsigned char)*json->at : '\0';

        if (values[c] == 0 && c != '0') {
            json_refuse(json, fault);
            return 0;
        }
        value = value * 16 + values[c];
    }
    return value;
}

/* Behind \u: a character, or a surrogate that must be the first of a pair. */
static int32_t
json_read_unicode(struct json *json)
{
    int32_t high = json_read_hex(json, JSON_SYNTAX);
    int32_t low = 0;

    if (high < 0xd800 || high > 0xdfff)
        return high;
    if (high < 0xdc00 && json_accept(json, '\\') && json_accept(json, 'u'))
        low = json_read_hex(json, JSON_LONE_SURROGATE);
    if (low < 0xdc00 || low > 0xdfff)
        json_fail(json, json->at == json->end ? JSON_ENDS_EARLY : JSON_LONE_SURROGATE);
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* Behind a backslash: what the escape means. */
static int32_t
json_read_escape(struct json *json)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    const char *name = NULL;

    if (json_accept(json, 'u'))
        return json_read_unicode(json);
    if (json->at < json->end)
        name = memchr(names, *json->at, sizeof names - 1);
    if (name == NULL) {
        json_refuse(json, JSON_SYNTAX);
        return 0;
    }
    json->at++;
    return meanings[name - names];
}

/* In a string: what is beyond ASCII. */
static void
json_skip_characters(struct json *json)
{
    const char *at = json->at;
    size_t size = 1;

    while (size > 0 && at < json->end && (unsigned char)*at > 0x7f)
        at += size = utf8_size(at, json->end);
    if (at == json->at)
        json_refuse(json, JSON_RAW_CONTROL);
    else
        json->at = at;
}

static bool
json_read_string(struct json *json, struct json_string *string)
{
    if (!json_expect(json, '"'))
        return false;
    *string = (struct json_string){.raw = json->at};
    while (json->fault == JSON_OK) {
        json->at = json_string_skip_plain(json->at, json->end, false);
        string->len = (size_t)(json->at - string->raw);
        if (json_accept(json, '"'))
            return true;
        if (json->at == json->end || *json->at != '\\')
            json_skip_characters(json);
        for (; json_accept(json, '\\'); string->escaped = true)
            json_read_escape(json);
    }
    return false;
}

bool
json_string_is(const struct json_string *string, const char *text)
{
    struct json inside;

    if (!string->escaped)
        return string->len == strlen(text) && memcmp(string->raw, text, string->len) == 0;
    json_begin(&inside, string->raw, string->len);
    for (; inside.at < inside.end; text++) {
        int32_t character = (unsigned char)*inside.at++;

        if (character == '\\')
            character = json_read_escape(&inside);
        if (*text == '\0' || character != *text)
            return false;
    }
    return *text == '\0';
}

void
json_string_decode(const struct json_string *string, struct buffer *out)
{
    struct json inside;

    if (buffer_reserve(out, string->len) != 0) /* an escape is never shorter than what it means */
        return;
    json_begin(&inside, string->raw, string->len);
    while (inside.at < inside.end) {
        const char *run = inside.at;

        inside.at = json_string_skip_plain(run, inside.end, true);
        memcpy(out->data + out->len, run, (size_t)(inside.at - run));
        out->len += (size_t)(inside.at - run);
        while (json_accept(&inside, '\\')) {
            utf8proc_uint8_t *to = (utf8proc_uint8_t *)out->data + out->len;

            out->len += (size_t)utf8proc_encode_char(json_read_escape(&inside), to);
        }
    }
}

/* ---- values ---- */

static void
json_skip_digits(struct json *json)
{
    if (!json_at_digit(json))
        json_refuse(json, JSON_SYNTAX);
    while (json_at_digit(json))
        json->at++;
}

/* RFC 8259, section 6. */
static void
json_skip_number(struct json *json)
{
    json_accept(json, '-');
    if (!json_accept(json, '0'))
        json_skip_digits(json);
    if (json_accept(json, '.'))
        json_skip_digits(json);
    if (json_accept(json, 'e') || json_accept(json, 'E')) {
        if (!json_accept(json, '+'))
            json_accept(json, '-');
        json_skip_digits(json);
    }
}

/* true, false or null. Another word is a fault as a whole. */
static void
json_skip_word(struct json *json)
{
    static const char *const words[] = {"true", "false", "null"};
    const char *word = json->at;
    size_t len;

    while (json->at < json->end && (*json->at | 0x20) >= 'a' && (*json->at | 0x20) <= 'z')
        json->at++;
    if ((len = (size_t)(json->at - word)) == 0) {
        json_refuse(json, JSON_SYNTAX);
        return;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strncmp(word, words[i], len) != 0)
            continue;
        if (words[i][len] == '\0')
            return;
        if (json->at == json->end)
            json_refuse(json, JSON_SYNTAX);
    }
    json_fail(json, JSON_SYNTAX);
}

static void
json_open(struct json *json, char closing)
{
    json->at++;
    if (json->depth == JSON_DEPTH) {
        json_fail(json, JSON_TOO_DEEP);
        return;
    }
    json->closing[json->depth++] = closing;
    json->opened = true;
}

bool
json_open_object(struct json *json)
{
    if (json_peek(json) != '{')
        return false;
    json_open(json, '}');
    return true;
}

bool
json_next(struct json *json, struct json_string *key)
{
    bool first = json->opened;
    char closing;

    if (json->depth == 0) /* after a fault, or where no object was opened */
        return false;
    closing = json->closing[json->depth - 1];
    json->opened = false;
    if (json_peek(json) == closing) {
        json->at++;
        json->depth--;
        return false;
    }
    if (!first && !json_expect(json, ','))
        return false;
    return closing == ']' || (json_read_string(json, key) && json_expect(json, ':'));
}

char
json_read_value(struct json *json, struct json_string *string)
{
    char type = json_peek(json);
    size_t depth = json->depth;
    struct json_string key;

    do {
        char first = json_peek(json);

        if (first == '{' || first == '[')
            json_open(json, first == '{' ? '}' : ']');
        else if (first == '"')
            json_read_string(json, string);
        else if (first == '-' || json_at_digit(json))
            json_skip_number(json);
        else
            json_skip_word(json);
        while (json->depth > depth && !json_next(json, &key))
            ;
    } while (json->depth > depth);
    return type;
}

void
json_end(struct json *json)
{
    json_peek(json);
    if (json->at < json->end)
        json_refuse(json, JSON_SOMETHING_FOLLOWS);
}
