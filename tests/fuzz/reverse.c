/*
 * Fuzzer: cgi-transform/reverse.c against UTF-8 as RFC 3629 defines it and clusters as UAX #29 does
 * (lib/segment.h). The input is a text as it stands; or, behind a byte 0x01, a program of three bytes a character:
 * its class, and which of this class, so that rare classes meet often.
 */
#include "reverse.h"

#include "lib/check.h"
#include "lib/segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { CLASS_PROGRAM = 0x01, LONGEST = 1 << 16 };

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    segment_load(utf8proc_unicode_version());
    return 0;
}

/* ---- UTF-8 (RFC 3629, section 4) ---- */

struct utf8 {
    size_t size;
    unsigned lowest; /* shorter forms are not allowed */
};

static struct utf8
utf8_of_lead(uint8_t lead)
{
    if (lead < 0x80)
        return (struct utf8){1, 0};
    if (lead >= 0xc0 && lead < 0xe0)
        return (struct utf8){2, 0x80};
    if (lead >= 0xe0 && lead < 0xf0)
        return (struct utf8){3, 0x800};
    if (lead >= 0xf0 && lead < 0xf8)
        return (struct utf8){4, 0x10000};
    return (struct utf8){0, 0};
}

/* Decode the character at `text`. Returns its bytes, or 0 when there is none. */
static size_t
utf8_decode(const uint8_t *text, size_t len, uint32_t *code)
{
    struct utf8 form = utf8_of_lead(text[0]);

    if (form.size == 0 || form.size > len)
        return 0;
    *code = form.size == 1 ? text[0] : text[0] & (0x7fu >> form.size);
    for (size_t i = 1; i < form.size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (text[i] & 0x3f);
    }
    if (*code < form.lowest || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
        return 0;
    return form.size;
}

static size_t
utf8_encode(uint32_t code, uint8_t *to)
{
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (size_t i = size; i-- > 1; code >>= 6)
        to[i] = (uint8_t)(0x80 | (code & 0x3f));
    to[0] = (uint8_t)(size == 1 ? code : (0xf00u >> size & 0xff) | code);
    return size;
}

/* ---- the model ---- */

struct text {
    uint32_t codes[LONGEST];
    size_t starts[LONGEST + 1]; /* the byte at which each character begins, and the end */
    size_t count;
};

/* Returns whether it is UTF-8. */
static bool
text_decode(struct text *text, const uint8_t *bytes, size_t len)
{
    size_t size;

    text->count = 0;
    for (size_t at = 0; at < len; at += size) {
        if ((size = utf8_decode(bytes + at, len - at, &text->codes[text->count])) == 0)
            return false;
        text->starts[text->count++] = at;
    }
    text->starts[text->count] = len;
    return true;
}

static void
text_reverse(const struct text *text, const uint8_t *bytes, uint8_t *out)
{
    size_t end = text->count;

    for (size_t at = text->count; at-- > 0;) {
        size_t size = text->starts[end] - text->starts[at];

        if (at > 0 && !segment_breaks(text->codes, at))
            continue;
        memcpy(out, bytes + text->starts[at], size);
        out += size;
        end = at;
    }
}

/* ---- a run ---- */

static void
show(const char *what, const uint8_t *bytes, size_t len)
{
    printf("%s:", what);
    for (size_t i = 0; i < len; i++)
        printf(" %02x", bytes[i]);
    printf("\n");
}

/* `bytes` lie in memory of exactly their size, so that a sanitizer sees each byte too far. */
static void
check_reverse(const uint8_t *bytes, size_t len)
{
    static struct text text;
    static uint8_t expected[LONGEST];
    char *block = malloc(len + 1); /* malloc(0) may be NULL */
    char *out = block + 1;
    bool valid = text_decode(&text, bytes, len);
    int result;

    check(block != NULL, "no memory");
    errno = 0;
    result = reverse_utf8((const char *)bytes, len, out);
    if (valid) {
        text_reverse(&text, bytes, expected);
        if (result != 0 || (len > 0 && memcmp(out, expected, len) != 0)) {
            show("text    ", bytes, len);
            show("expected", expected, len);
            show("actual  ", (const uint8_t *)out, result == 0 ? len : 0);
        }
        check(result == 0, "valid UTF-8 is refused");
        check(len == 0 || memcmp(out, expected, len) == 0, "reversed in another way than by UAX #29's clusters");
    } else {
        check(result == -1 && errno == EILSEQ, "invalid UTF-8 is taken: returned %d, errno %d", result, errno);
    }
    free(block);
}

/* The text of a program, in memory that ends where the text does. */
static void
check_program(const uint8_t *program, size_t len)
{
    uint8_t *block = malloc(len / 3 * 4 + 1);
    size_t size = 0;
    uint8_t *text;

    check(block != NULL, "no memory");
    for (; len >= 3; program += 3, len -= 3) {
        uint32_t code = segment_pick(program[0] % SEGMENT_CLASSES, (size_t)program[1] << 8 | program[2]);

        if (code < 0xd800 || code > 0xdfff) /* of class Control, and not in UTF-8 */
            size += utf8_encode(code, block + size);
    }
    text = malloc(size + 1);
    check(text != NULL, "no memory");
    memcpy(text + 1, block, size);
    check_reverse(text + 1, size);
    free(text);
    free(block);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > LONGEST)
        return -1; /* not for the corpus */
    if (size > 0 && data[0] == CLASS_PROGRAM)
        check_program(data + 1, size - 1);
    else
        check_reverse(data, size);
    return 0;
}
