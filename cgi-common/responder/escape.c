/*
 * JSON strings from any bytes.
 */
#include "escape.h"

#include <stdio.h>
#include <string.h>

/*
 * The length of the well-formed UTF-8 sequence that a terminated text begins with (Unicode, table 3-7: no overlong
 * form, no surrogate, nothing beyond U+10FFFF), or 0. Looks behind no byte that does not fit, so never behind the
 * end.
 */
static size_t
escape_sequence(const unsigned char *text)
{
    unsigned char first = text[0];
    unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    size_t len = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4 || text[1] < least || text[1] > most)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (text[i] < 0x80 || text[i] > 0xbf)
            return 0;
    return len;
}

size_t
escape_json(const char *text, char *to, size_t size)
{
    size_t used = 0;
    size_t len;

    for (; *text != '\0' && size - used > ESCAPE_MOST; text += len) {
        unsigned char c = (unsigned char)*text;

        len = escape_sequence((const unsigned char *)text);
        if (c < 0x20 || c == 0x7f) {
            used += (size_t)snprintf(to + used, size - used, "\\u%04x", c);
        } else if (len == 0) {
            memcpy(to + used, "\xef\xbf\xbd", 3);
            used += 3;
            len = 1;
        } else {
            if (c == '"' || c == '\\')
                to[used++] = '\\';
            memcpy(to + used, text, len);
            used += len;
        }
    }
    to[used] = '\0';
    return used;
}
