/*
 * Text reversed as a reader sees it.
 */
#ifndef CGI_REVERSE_H
#define CGI_REVERSE_H

#include <stddef.h>

/*
 * Reverse `len` bytes of UTF-8 by extended grapheme cluster (Unicode UAX #29), so "e\u0301x" becomes "xe\u0301" and
 * "a\r\nb" becomes "b\r\na". The bytes of a cluster stay as they are; nothing is normalised; U+0000 is an ordinary
 * character. Writes exactly `len` bytes to `out`, which must not overlap `text`.
 * Returns 0, or -1 with errno EILSEQ when `text` is not UTF-8; `out` is then undefined.
 */
int reverse_utf8(const char *text, size_t len, char *out);

#endif
