/*
 * CONTENT_LENGTH (RFC 3875, section 4.1.2): text from outside, read in one place.
 */
#ifndef CGI_CONTENT_LENGTH_H
#define CGI_CONTENT_LENGTH_H

#include <stddef.h>

/*
 * Read `len` bytes of digits, none of which is 0: a bare GET may come with an empty value. A number too large
 * for size_t gives SIZE_MAX. Returns 0, or -1 when there is anything but digits, `length` then 0.
 */
int content_length_parse(const char *text, size_t len, size_t *length);

#endif
