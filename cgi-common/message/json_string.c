/*
 * JSON strings: runs of plain characters are found by the word and copied whole.
 */
#include "json_string.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

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

/* The first byte at or behind `at` that is not plain; `any_utf8`: bytes over 0x7f are plain, too. */
static const char *
skip_plain(const char *at, const char *end, bool any_utf8)
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

/* Four hex digits at `at`, or -1. */
static int32_t
decode_hex(const char *at, const char *end)
{
    int32_t value = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = at[i];

        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = value * 16 + ((c | 0x20) - 'a' + 10);
        else
            return -1;
    }
    return value;
}

/* The character of the escape whose `u` is before `at`: a surrogate must be one of a pair. Moves `at`. Or -1. */
static int32_t
decode_unicode(const char **at, const char *end)
{
    int32_t high = decode_hex(*at, end);
    int32_t low;

    if (high < 0 || (high >= 0xdc00 && high <= 0xdfff))
        return -1;
    *at += 4;
    if (high < 0xd800 || high > 0xdbff)
        return high;
    if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return -1;
    low = decode_hex(*at + 2, end);
    if (low < 0xdc00 || low > 0xdfff)
        return -1;
    *at += 6;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* Append what the escape means whose backslash is before `at`. Returns the byte behind it, or NULL. */
static const char *
decode_escape(const char *at, const char *end, struct buffer *decoded)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    utf8proc_uint8_t encoded[4];
    const char *name;
    int32_t character;

    if (at == end)
        return NULL;
    if (*at != 'u') {
        name = memchr(names, *at, sizeof names - 1);
        if (name == NULL)
            return NULL;
        buffer_append(decoded, meanings + (name - names), 1);
        return at + 1;
    }
    at++;
    if ((character = decode_unicode(&at, end)) < 0)
        return NULL;
    buffer_append(decoded, encoded, (size_t)utf8proc_encode_char(character, encoded));
    return at;
}

/* The end of the run of characters at `at` that stand for themselves; NULL where one is not UTF-8. */
static const char *
decode_run(const char *at, const char *end)
{
    while ((at = skip_plain(at, end, false)) < end && (unsigned char)*at > 0x7f) {
        utf8proc_int32_t character;
        utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)at, end - at, &character);

        if (size < 1)
            return NULL;
        at += size;
    }
    return at;
}

const char *
json_string_decode(const char *at, const char *end, struct buffer *decoded, const char **text, size_t *len)
{
    bool escaped = false;

    for (;;) {
        const char *run = at;

        if ((at = decode_run(run, end)) == NULL || at == end || (*at != '"' && *at != '\\'))
            return NULL;
        if (*at == '"' && !escaped) {
            *text = run;
            *len = (size_t)(at - run);
            return at + 1;
        }
        buffer_append(decoded, run, (size_t)(at - run));
        if (*at == '"') {
            if (decoded->failed)
                return NULL;
            *text = decoded->data;
            *len = decoded->len;
            return at + 1;
        }
        escaped = true;
        if ((at = decode_escape(at + 1, end, decoded)) == NULL)
            return NULL;
    }
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

        text = skip_plain(run, end, true);
        buffer_append(out, run, (size_t)(text - run));
        if (text < end)
            encode_escape((unsigned char)*text++, out);
    }
    buffer_append(out, "\"", 1);
}
