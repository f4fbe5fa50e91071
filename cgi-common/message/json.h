/*
 * A reader of JSON (RFC 8259). It goes over a text once, from value to value, with no recursion and no memory of
 * its own.
 *
 * The first fault ends the text: whoever reads on finds nothing more. So a caller reads all that it wants, up to
 * json_end(), and looks at `fault` once.
 */
#ifndef CGI_JSON_H
#define CGI_JSON_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>

/* How many arrays and objects may be open at once. */
enum { JSON_DEPTH = 2048 };

enum json_fault {
    JSON_OK,
    JSON_SYNTAX,
    JSON_ENDS_EARLY,
    JSON_NOT_UTF8,
    JSON_RAW_NUL,
    JSON_RAW_CONTROL, /* in a string */
    JSON_LONE_SURROGATE,
    JSON_BYTE_ORDER_MARK,
    JSON_TOO_DEEP,
    JSON_SOMETHING_FOLLOWS,
};

struct json {
    enum json_fault fault; /* the rest is not for callers */
    const char *begin;
    const char *at; /* the next byte; after a fault, the byte behind the last one that was looked at */
    const char *end;
    bool opened;              /* an array or object, and nothing in it was read yet */
    size_t depth;             /* how many are open */
    char closing[JSON_DEPTH]; /* the byte that will close each of them */
};

/* Counted from 1; a column is a character. */
struct json_place {
    size_t line;
    size_t column;
    size_t byte;
};

/* A string that was read and is right: what stands between its quotes, in the text that was read. */
struct json_string {
    const char *raw;
    size_t len;   /* bytes */
    bool escaped; /* an escape is in it; if not, `raw` is the text */
};

/* Begin to read `len` bytes. They must stay where they are while `json` and the strings from it are in use. */
void json_begin(struct json *json, const char *text, size_t len);

/* Read the beginning of an object. False, and nothing is read, when the next value is of another type. */
bool json_open_object(struct json *json);

/*
 * In an object: read the key of the next member; its value has to be read next. False when there is none (more),
 * and the object has been read to its end.
 */
bool json_next(struct json *json, struct json_string *key);

/* Read any value to its end. Returns its first byte, which tells the type. Sets `string` when that is a quote. */
char json_read_value(struct json *json, struct json_string *string);

/* Check that nothing but white space follows. */
void json_end(struct json *json);

/* Where the fault is: the character that may not stand there, or the last one when the text ends too early. */
struct json_place json_fault_place(const struct json *json);

/* Whether the string means `text`, which is ASCII. */
bool json_string_is(const struct json_string *string, const char *text);

/* Append what the string means: UTF-8, in which U+0000 may be. When memory is short, the buffer has failed. */
void json_string_decode(const struct json_string *string, struct buffer *out);

#endif
