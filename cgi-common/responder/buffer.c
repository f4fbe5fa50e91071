/*
 * A growable run of bytes: buffer.h says what each function promises.
 */
#include "buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_FIRST = 512 };

static size_t
larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Not a part of its callers: most appends need no more memory, and are on every request's way. */
__attribute__((noinline)) static int
buffer_grow(struct buffer *buffer, size_t extra)
{
    size_t cap;
    char *data;

    if (buffer->failed || extra > SIZE_MAX / 2 - buffer->len) {
        buffer->failed = true;
        errno = ENOMEM;
        return -1;
    }
    cap = larger(larger(2 * buffer->cap, BUFFER_FIRST), buffer->len + extra);
    if ((data = realloc(buffer->data, cap)) == NULL) {
        buffer->failed = true;
        return -1;
    }
    buffer->data = data;
    buffer->cap = cap;
    return 0;
}

int
buffer_reserve(struct buffer *buffer, size_t extra)
{
    return !buffer->failed && extra <= buffer->cap - buffer->len ? 0 : buffer_grow(buffer, extra);
}

void
buffer_append(struct buffer *buffer, const void *bytes, size_t len)
{
    if (buffer_reserve(buffer, len) != 0 || len == 0) /* memcpy(NULL, …, 0) is undefined */
        return;
    memcpy(buffer->data + buffer->len, bytes, len);
    buffer->len += len;
}

void
buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void
buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    int len;

    va_start(arguments, format);
    len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (len < 0)
        buffer->failed = true;
    if (len < 0 || buffer_reserve(buffer, (size_t)len + 1) != 0)
        return;
    va_start(arguments, format);
    (void)vsnprintf(buffer->data + buffer->len, (size_t)len + 1, format, arguments); /* fits: len is measured */
    va_end(arguments);
    buffer->len += (size_t)len;
}

void
buffer_trim(struct buffer *buffer)
{
    char *data;

    if (buffer->len == 0 || buffer->len == buffer->cap || (data = realloc(buffer->data, buffer->len)) == NULL)
        return;
    buffer->data = data;
    buffer->cap = buffer->len;
}

void
buffer_release(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}
