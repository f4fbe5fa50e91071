/*
 * JSON strings (RFC 8259, section 7) to text and back, eight plain characters at a time. jansson does the same at
 * some 140 instructions a byte, which is most of what a message of a kilobyte costs; it stays in charge of all that
 * is not a plain string (message.c).
 */
#ifndef CGI_JSON_STRING_H
#define CGI_JSON_STRING_H

#include "buffer.h"

#include <stddef.h>

/*
 * Decode the string that begins behind the opening quote at `at`. Sets `text` and `len`: the text, UTF-8, checked;
 * in place when no escape is in it, else in `decoded`, which must be empty. Returns the byte behind the closing
 * quote; or NULL when the string is not as RFC 8259 has it, holds a lone surrogate or invalid UTF-8, does not end
 * before `end`, or memory is short.
 */
const char *json_string_decode(const char *at, const char *end, struct buffer *decoded, const char **text,
                               size_t *len);

/* Append `len` bytes of UTF-8 to `out` as a JSON string, quotes included. */
void json_string_encode(const char *text, size_t len, struct buffer *out);

#endif
