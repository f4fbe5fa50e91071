/*
 * CONTENT_LENGTH: digits alone.
 */
#include "content_length.h"

#include <stdint.h>

int
content_length_parse(const char *text, size_t len, size_t *length)
{
    *length = 0;
    for (const char *end = text + len; text < end; text++) {
        size_t digit = (size_t)(*text - '0');

        if (*text < '0' || *text > '9') {
            *length = 0;
            return -1;
        }
        *length = *length > (SIZE_MAX - digit) / 10 ? SIZE_MAX : *length * 10 + digit;
    }
    return 0;
}
