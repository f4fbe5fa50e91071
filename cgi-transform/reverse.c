/*
 * Reversal by extended grapheme cluster: utf8proc says where a cluster ends, by the UAX #29 of the Unicode that it
 * knows (2.8, Debian 12: 15.0, which has no GB9c yet; 2.9, Debian 13: 15.1, which has). ASCII needs no table for
 * that.
 */
#include "reverse.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <utf8proc.h>

static bool
is_ascii(const char *text, size_t len)
{
    uint64_t seen = 0;
    uint64_t word;

    for (; len >= sizeof word; text += sizeof word, len -= sizeof word) {
        memcpy(&word, text, sizeof word);
        seen |= word;
    }
    for (; len > 0; len--)
        seen |= (unsigned char)*text++;
    return (seen & UINT64_C(0x8080808080808080)) == 0;
}

static void
reverse_bytes(const char *text, size_t len, char *out)
{
    uint64_t word;

    for (; len >= sizeof word; text += sizeof word, len -= sizeof word) {
        memcpy(&word, text, sizeof word);
        word = __builtin_bswap64(word);
        memcpy(out + len - sizeof word, &word, sizeof word);
    }
    for (; len > 0; len--)
        out[len - 1] = *text++;
}

/* CR LF is the one cluster of ASCII with two characters (GB3): put right those that are now the wrong way round. */
static void
restore_crlf(char *text, size_t len)
{
    char *end = text + len;

    while ((text = memchr(text, '\n', (size_t)(end - text))) != NULL && text + 1 < end) {
        if (text[1] == '\r') {
            memcpy(text, "\r\n", 2);
            text++;
        }
        text++;
    }
}

struct character {
    utf8proc_int32_t code;
    bool ordinary; /* joins no other one that is ordinary, by any rule */
};

/* Read the character at the start of `text`. Returns its bytes, or 0 when it is not UTF-8. */
static size_t
character_read(const char *text, size_t len, struct character *character)
{
    utf8proc_ssize_t size =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, &character->code);

    if (size < 1)
        return 0;
    character->ordinary = (character->code >= 0x20 && character->code < 0x7f) ||
                          utf8proc_get_property(character->code)->boundclass == UTF8PROC_BOUNDCLASS_OTHER;
    return (size_t)size;
}

/*
 * Two ordinary ones are always apart (GB999), whatever came before, and most are ordinary. So are the consonants of
 * GB9c: one is joined to another over a linker only, which is not.
 */
static bool
is_boundary(const struct character *before, const struct character *after, utf8proc_int32_t *state)
{
    if (before->ordinary && after->ordinary) {
        *state = 0; /* utf8proc begins anew with `after`, as it allows behind a boundary */
        return true;
    }
    return utf8proc_grapheme_break_stateful(before->code, after->code, state);
}

/* Copies each cluster as it ends to the place that it has in the reversed text, which is filled from its end. */
static int
reverse_clusters(const char *text, size_t len, char *out)
{
    struct character before, character;
    utf8proc_int32_t state = 0;
    size_t cluster = 0;
    size_t size;

    for (size_t at = 0; at < len; at += size) {
        if ((size = character_read(text + at, len - at, &character)) == 0) {
            errno = EILSEQ;
            return -1;
        }
        if (at > 0 && is_boundary(&before, &character, &state)) {
            memcpy(out + len - at, text + cluster, at - cluster);
            cluster = at;
        }
        before = character;
    }
    memcpy(out, text + cluster, len - cluster);
    return 0;
}

int
reverse_utf8(const char *text, size_t len, char *out)
{
    if (!is_ascii(text, len))
        return reverse_clusters(text, len, out);
    reverse_bytes(text, len, out);
    restore_crlf(out, len);
    return 0;
}
