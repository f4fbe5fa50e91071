/*
 * A growable run of bytes. It owns its memory; all zeroes is the empty buffer.
 */
#ifndef CGI_BUFFER_H
#define CGI_BUFFER_H

#include <stddef.h>

struct buffer {
    char *data; /* NULL while nothing was ever reserved */
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
};

/* Make room for `extra` more bytes behind `len`. Returns 0, or -1 with errno ENOMEM, nothing changed. */
int buffer_reserve(struct buffer *buffer, size_t extra);

/* Append `len` bytes. Returns 0, or -1 with errno ENOMEM, nothing changed. */
int buffer_append(struct buffer *buffer, const void *bytes, size_t len);

/* Append formatted text, without its terminator. Returns 0, or -1 with errno ENOMEM. */
int buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drop the first `count` bytes (at most `len`). */
void buffer_drop(struct buffer *buffer, size_t count);

/* Free the memory; the buffer is empty again and can be used again. */
void buffer_release(struct buffer *buffer);

#endif
