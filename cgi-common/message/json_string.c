/*
 * JSON strings: runs of plain characters are found by the word and copied whole.
 */
#include "json_string.h"

#include <stdint.h>
#include <string.h>

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/*
 * Whether none of eight bytes is a control character, a quote or a backslash. (x - 1 sets the high bit of a zero
 * byte, x - 0x20 that of a control character; a borrow can raise a false alarm in the next byte, never hide one.)
 */
static bool
is_unescaped(uint64_t word)
{
    uint64_t alarm = (word - EACH(0x20)) | ((word ^ EACH('"')) - EACH(1)) | ((word ^ EACH('\\')) - EACH(1));

    return (alarm & ~word & EACH(0x80)) == 0;
}

const char *
json_string_skip_plain(const char *at, const char *end, bool any_utf8)
{
    uint64_t word;

    for (; end - at >= (ptrdiff_t)sizeof word; at += sizeof word) {
        memcpy(&word, at, sizeof word);
        if (!is_unescaped(word) || (!any_utf8 && (word & EACH(0x80)) != 0))
            break;
    }
    for (; at < end; at++) {
        unsigned char c = (unsigned char)*at;

        if (c < 0x20 || c == '"' || c == '\\' || (c > 0x7f && !any_utf8))
            break;
    }
    return at;
}

static void
encode_escape(unsigned char c, struct buffer *out)
{
    static const char hex[] = "0123456789abcdef";
    static const char names[] = {
        ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    char escape[] = "\\u0000";

    if (names[c] != '\0') {
        escape[1] = names[c];
        buffer_append(out, escape, 2);
        return;
    }
    escape[4] = hex[c >> 4];
    escape[5] = hex[c & 15];
    buffer_append(out, escape, 6);
}

void
json_string_encode(const char *text, size_t len, struct buffer *out)
{
    const char *end = text + len;

    if (buffer_reserve(out, len + 2) != 0)
        return;
    buffer_append(out, "\"", 1);
    while (text < end) {
        const char *run = text;

        text = json_string_skip_plain(run, end, true);
        buffer_append(out, run, (size_t)(text - run));
        if (text < end)
            encode_escape((unsigned char)*text++, out);
    }
    buffer_append(out, "\"", 1);
}
