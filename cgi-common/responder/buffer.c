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

int
buffer_reserve(struct buffer *buffer, size_t extra)
{
    size_t cap = buffer->cap > 0 ? buffer->cap : BUFFER_FIRST;
    char *data;

    if (extra <= buffer->cap - buffer->len)
        return 0;
    if (extra > SIZE_MAX / 2 - buffer->len) {
        errno = ENOMEM;
        return -1;
    }
    while (cap < buffer->len + extra)
        cap *= 2;
    if ((data = realloc(buffer->data, cap)) == NULL)
        return -1;
    buffer->data = data;
    buffer->cap = cap;
    return 0;
}

int
buffer_append(struct buffer *buffer, const void *bytes, size_t len)
{
    if (buffer_reserve(buffer, len) != 0)
        return -1;
    if (len > 0) /* memcpy(NULL, …, 0) is undefined */
        memcpy(buffer->data + buffer->len, bytes, len);
    buffer->len += len;
    return 0;
}

int
buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    int len;

    va_start(arguments, format);
    len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (len < 0 || buffer_reserve(buffer, (size_t)len + 1) != 0)
        return -1;
    va_start(arguments, format);
    vsnprintf(buffer->data + buffer->len, (size_t)len + 1, format, arguments);
    va_end(arguments);
    buffer->len += (size_t)len;
    return 0;
}

void
buffer_drop(struct buffer *buffer, size_t count)
{
    if (count >= buffer->len) {
        buffer->len = 0;
        return;
    }
    buffer->len -= count;
    memmove(buffer->data, buffer->data + count, buffer->len);
}

void
buffer_release(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}
