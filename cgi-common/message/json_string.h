/*
 * JSON strings (RFC 8259, section 7), many plain characters at a time: what the reader and the writer share, and
 * the writer.
 */
#ifndef CGI_JSON_STRING_H
#define CGI_JSON_STRING_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * The first byte from `at` on that is a quote, a backslash or a control character, or over 0x7f unless `any_utf8`;
 * `end` when there is none.
 */
const char *json_string_skip_plain(const char *at, const char *end, bool any_utf8);

/* Append `len` bytes of UTF-8 to `out` as a JSON string, quotes included. */
void json_string_encode(const char *text, size_t len, struct buffer *out);

#endif
