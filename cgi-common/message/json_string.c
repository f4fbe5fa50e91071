/*
 * JSON strings: runs of plain characters are found by the block, then by the word, and copied whole.
 */
#include "json_string.h"

#include <stdint.h>
#include <string.h>

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/*
 * Whether eight bytes are plain. (x - 1 sets the high bit of a zero byte, x - 0x20 that of a control character; a
 * borrow can raise a false alarm in the next byte, never hide one.)
 */
static inline bool
is_plain_word(const char *at, bool any_utf8)
{
    uint64_t word, alarm;

    memcpy(&word, at, sizeof word);
    alarm = (word - EACH(0x20)) | ((word ^ EACH('"')) - EACH(1)) | ((word ^ EACH('\\')) - EACH(1));
    return (alarm & ~word & EACH(0x80)) == 0 && (any_utf8 || (word & EACH(0x80)) == 0);
}

typedef signed char bytes16 __attribute__((vector_size(16)));
enum { BLOCK = 4 * sizeof(bytes16) };

/* For each byte one that is not 0 where it is not plain. Over 0x7f bytes are negative: less than a space, too. */
static inline bytes16
find_special(const char *at, bool any_utf8)
{
    bytes16 bytes, low;

    memcpy(&bytes, at, sizeof bytes);
    low = bytes < ' ';
    if (any_utf8)
        low &= bytes >= 0;
    return low | (bytes == '"') | (bytes == '\\');
}

/* A long message is read by blocks: they take less than half the time of words. */
static inline bool
is_plain_block(const char *at, bool any_utf8)
{
    bytes16 special = find_special(at, any_utf8) | find_special(at + 16, any_utf8) |
                      find_special(at + 32, any_utf8) | find_special(at + 48, any_utf8);
    uint64_t words[2];

    memcpy(words, &special, sizeof words);
    return (words[0] | words[1]) == 0;
}

const char *
json_string_skip_plain(const char *at, const char *end, bool any_utf8)
{
    enum { WORD = sizeof(uint64_t) };

    if (end - at >= BLOCK && is_plain_word(at, any_utf8)) /* most runs of mixed scripts are shorter */
        while (end - at >= BLOCK && (any_utf8 ? is_plain_block(at, true) : is_plain_block(at, false)))
            at += BLOCK;
    while (end - at >= WORD && is_plain_word(at, any_utf8))
        at += WORD;
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
