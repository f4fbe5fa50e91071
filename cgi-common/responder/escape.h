/*
 * Any text as the inside of a JSON string, without an allocation.
 */
#ifndef CGI_ESCAPE_H
#define CGI_ESCAPE_H

#include <stddef.h>

enum { ESCAPE_MOST = 6 }; /* bytes that one byte of a text becomes at most: \u001f */

/*
 * Write `text` to `to` as what stands between the quotes of a JSON string (RFC 8259, section 7), terminated, in at
 * most `size` bytes, which must not be 0: stops before the first character that may not fit. Always UTF-8: each
 * byte of `text` that is not part of a well-formed sequence becomes U+FFFD. Returns the length without the
 * terminator.
 */
size_t escape_json(const char *text, char *to, size_t size);

#endif
