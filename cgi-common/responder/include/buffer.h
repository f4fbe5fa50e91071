/*
 * A growable run of bytes. It owns its memory; all zeroes is the empty buffer.
 *
 * A buffer that could not grow remembers it: what is appended after that is dropped, and `failed` says so until the
 * buffer is released. So a writer appends all it has to say and looks once, at the end.
 */
#ifndef CGI_BUFFER_H
#define CGI_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *data;  /* NULL while nothing was ever reserved */
    size_t len;  /* bytes in use */
    size_t cap;  /* bytes allocated */
    bool failed; /* memory was short: not all that was appended is there */
};

/*
 * Make room for `extra` more bytes behind `len`: exactly that many when it more than doubles the buffer. Returns 0,
 * or -1 with errno ENOMEM, the bytes as they were and the buffer failed.
 */
__attribute__((warn_unused_result)) int buffer_reserve(struct buffer *buffer, size_t extra);

/* Append `len` bytes. */
void buffer_append(struct buffer *buffer, const void *bytes, size_t len);

/* Append the text up to its terminator. */
void buffer_append_text(struct buffer *buffer, const char *text);

/* Append formatted text, without its terminator. */
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Give back the memory that is not in use, where that is possible. */
void buffer_trim(struct buffer *buffer);

/* Free the memory; the buffer is empty again, has not failed, and can be used again. */
void buffer_release(struct buffer *buffer);

#endif
