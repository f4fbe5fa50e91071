/*
 * Reversal against Unicode's own test of grapheme clusters, and against models simple enough to be seen to be
 * right. Called with the path of GraphemeBreakTest.txt (Debian: unicode-data). Prints what was checked; fails,
 * naming it and what was expected, at whatever differs. What is right depends on the Unicode that utf8proc knows.
 */
#include "reverse.h"
#include "uax29.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { FEWEST_LINES = 600, LONGEST = 1024 };

static int failures;

static void
show(const char *what, const char *text, size_t len)
{
    printf("  %s:", what);
    for (size_t i = 0; i < len; i++)
        printf(" %02x", (unsigned char)text[i]);
    printf("\n");
}

/* Reverse `text` from and into memory of exactly its size, so that a sanitizer sees each byte too far. */
static void
check(const char *name, const char *text, const char *expected, size_t len)
{
    char *in = malloc(len + 1);
    char *out = calloc(1, len + 1);
    int result;

    if (in == NULL || out == NULL)
        abort();
    memcpy(in + 1, text, len);
    result = reverse_utf8(in + 1, len, out + 1);
    if (result != 0 || memcmp(out + 1, expected, len) != 0) {
        printf("%s: returned %d\n", name, result);
        show("text    ", text, len);
        show("expected", expected, len);
        show("actual  ", out + 1, result == 0 ? len : 0);
        failures++;
    }
    free(in);
    free(out);
}

/* ---- GraphemeBreakTest.txt ---- */

static size_t
encode(unsigned long character, char *to)
{
    unsigned char *out = (unsigned char *)to;

    if (character < 0x80) {
        out[0] = (unsigned char)character;
        return 1;
    }
    if (character < 0x800) {
        out[0] = (unsigned char)(0xc0 | character >> 6);
        out[1] = (unsigned char)(0x80 | (character & 0x3f));
        return 2;
    }
    if (character < 0x10000) {
        out[0] = (unsigned char)(0xe0 | character >> 12);
        out[1] = (unsigned char)(0x80 | (character >> 6 & 0x3f));
        out[2] = (unsigned char)(0x80 | (character & 0x3f));
        return 3;
    }
    out[0] = (unsigned char)(0xf0 | character >> 18);
    out[1] = (unsigned char)(0x80 | (character >> 12 & 0x3f));
    out[2] = (unsigned char)(0x80 | (character >> 6 & 0x3f));
    out[3] = (unsigned char)(0x80 | (character & 0x3f));
    return 4;
}

/* A line is "÷ 0061 × 0301 ÷ 0062 ÷ # …": ÷ where a cluster ends. Fills the text and what it should become. */
static size_t
parse(char *line, char *text, char *expected)
{
    size_t starts[LONGEST];
    size_t count = 0;
    size_t len = 0;
    size_t done = 0;
    char *rest;

    line[strcspn(line, "#\n")] = '\0';
    for (char *word = strtok_r(line, " \t", &rest); word != NULL; word = strtok_r(NULL, " \t", &rest)) {
        if (strcmp(word, "÷") == 0)
            starts[count++] = len;
        else if (strcmp(word, "×") != 0)
            len += encode(strtoul(word, NULL, 16), text + len);
    }
    for (size_t i = count; i > 1; i--) {
        size_t size = starts[i - 1] - starts[i - 2];

        memcpy(expected + done, text + starts[i - 2], size);
        done += size;
    }
    return len;
}

/*
 * The first line is "# GraphemeBreakTest-15.0.0.txt". Says so, and returns false, when utf8proc knows another
 * Unicode.
 */
static bool
is_of_same_version(const char *line, const char *path)
{
    static const char prefix[] = "# GraphemeBreakTest-";
    const char *known = utf8proc_unicode_version();
    const char *version = line + sizeof prefix - 1;

    if (strncmp(line, prefix, sizeof prefix - 1) != 0 ||
        (strncmp(version, known, strlen(known)) == 0 && version[strlen(known)] == '.'))
        return true;
    printf("%s is of Unicode %.*s, utf8proc knows %s: not compared\n", path, (int)strcspn(version, "tx\n") - 1,
           version, known);
    return false;
}

/* Returns how many lines were checked, or -1 when the file is of another Unicode. */
static int
check_lines(FILE *file, const char *path)
{
    char line[LONGEST];
    char text[4 * LONGEST];
    char expected[4 * LONGEST];
    int lines = 0;

    for (int number = 1; fgets(line, sizeof line, file) != NULL; number++) {
        char name[64];
        size_t len;

        if (number == 1 && !is_of_same_version(line, path))
            return -1;
        if ((len = parse(line, text, expected)) == 0)
            continue;
        (void)snprintf(name, sizeof name, "line %d", number);
        check(name, text, expected, len);
        lines++;
    }
    return lines;
}

static void
check_unicode(const char *path)
{
    FILE *file = fopen(path, "r");
    int lines;

    if (file == NULL) {
        printf("%s: %s\n", path, strerror(errno));
        failures++;
        return;
    }
    lines = check_lines(file, path);
    fclose(file);
    if (lines < 0)
        return;
    printf("%d lines of Unicode's test checked\n", lines);
    if (lines < FEWEST_LINES) {
        printf("expected at least %d lines\n", FEWEST_LINES);
        failures++;
    }
}

/* ---- every string of some characters, by the rules alone ---- */

/* From Unicode 15.1 on there is GB9c. */
static bool
knows_conjuncts(void)
{
    char *rest;
    long major = strtol(utf8proc_unicode_version(), &rest, 10);
    long minor = *rest == '.' ? strtol(rest + 1, NULL, 10) : 0;

    return major > 15 || (major == 15 && minor >= 1);
}

static void
check_classes(const enum uax29_class *classes, size_t count, bool conjuncts)
{
    char text[32];
    char expected[sizeof text];
    size_t len = 0;
    size_t cluster = 0;

    for (size_t i = 0; i < count; i++) {
        const char *character = uax29_characters[classes[i]];

        if (i > 0 && uax29_breaks(classes, i, conjuncts))
            cluster = len;
        /* Those before move back, and the character goes behind what its cluster has already. */
        memmove(expected + (len - cluster) + strlen(character), expected + (len - cluster), cluster);
        memcpy(expected + (len - cluster), character, strlen(character));
        memcpy(text + len, character, strlen(character));
        len += strlen(character);
    }
    check("a string of UAX #29's classes", text, expected, len);
}

static void
check_rules(void)
{
    enum { MOST = 5 }; /* as many as GB9c wants: consonant, extender, linker, joiner, consonant */
    enum uax29_class classes[MOST];
    bool conjuncts = knows_conjuncts();
    long checked = 0;
    long strings = 1;

    for (size_t count = 1; count <= MOST; count++) {
        strings *= UAX29_CLASSES;
        for (long string = 0; string < strings; string++, checked++) {
            for (size_t i = 0, rest = (size_t)string; i < count; i++, rest /= UAX29_CLASSES)
                classes[i] = (enum uax29_class)(rest % UAX29_CLASSES);
            check_classes(classes, count, conjuncts);
        }
    }
    printf("%ld strings of %d classes checked by the rules %s GB9c\n", checked, (int)UAX29_CLASSES,
           conjuncts ? "with" : "without");
}

/* What a reader of Hindi sees as three, and so does UAX #29 since it has GB9c. */
static void
check_conjunct(void)
{
    static const char text[] = "नमस्ते";
    const char *expected = knows_conjuncts() ? "स्तेमन" : "तेस्मन";

    check("a conjunct", text, expected, sizeof text - 1);
    printf("Unicode %s, by utf8proc %s: नमस्ते becomes %s\n", utf8proc_unicode_version(), utf8proc_version(),
           expected);
}

/* ---- ASCII: by words in the fast path, by clusters beside a character that is not ASCII ---- */

/* The model: byte by byte from the end, a CR LF as one. */
static void
reverse_ascii(const char *text, size_t len, char *out)
{
    while (len > 0) {
        size_t size = len > 1 && text[len - 1] == '\n' && text[len - 2] == '\r' ? 2 : 1;

        len -= size;
        memcpy(out, text + len, size);
        out += size;
    }
}

static void
check_ascii(const char *text, size_t len)
{
    static const char other[] = "é";
    const size_t more = sizeof other - 1;
    char longer[LONGEST] = "";
    char expected[LONGEST];

    memcpy(expected, other, more);
    reverse_ascii(text, len, expected + more);
    check("ASCII", text, expected + more, len);
    memcpy(longer, text, len);
    memcpy(longer + len, other, more);
    check("ASCII before é", longer, expected, len + more);
}

static void
check_line_ends(void)
{
    static const char letters[] = {'a', '\r', '\n'};
    char text[8] = "";
    int count = 0;

    for (size_t len = 0; len <= 7; len++) {
        int strings = 1;

        for (size_t i = 0; i < len; i++)
            strings *= 3;
        for (int string = 0; string < strings; string++, count++) {
            for (size_t i = 0, rest = (size_t)string; i < len; i++, rest /= 3)
                text[i] = letters[rest % 3];
            check_ascii(text, len);
        }
    }
    printf("%d strings of a, CR and LF checked\n", count);
}

static void
check_lengths(void)
{
    char text[72] = "";

    for (size_t len = 0; len <= 70; len++) {
        for (size_t at = 0; at <= len; at++) {
            for (size_t i = 0; i < len; i++)
                text[i] = (char)(' ' + i);
            if (at + 2 <= len)
                memcpy(text + at, "\r\n", 2);
            check_ascii(text, len);
        }
    }
    printf("a CR LF at each place of each length to 70 checked\n");
}

/* Without CR, ASCII reversed twice is itself. */
static void
check_twice(void)
{
    char text[127];
    char back[sizeof text];
    size_t len = 0;

    for (char c = 0; len < sizeof text; c++)
        if (c != '\r')
            text[len++] = c;
    if (reverse_utf8(text, len, back) == 0)
        check("reversed twice", back, text, len);
    else
        check("reversed once", text, text, len);
}

/* ---- what is no UTF-8 ---- */

static const struct {
    const char *name;
    const char *bytes;
} invalid[] = {
    {"a continuation byte alone", "\x80"},
    {"a byte that is never in UTF-8", "a\xff"},
    {"overlong, 2 bytes", "\xc0\xaf"},
    {"overlong, 2 bytes, the last", "\xc1\xbf"},
    {"overlong, 3 bytes", "\xe0\x9f\xbf"},
    {"overlong, 4 bytes", "\xf0\x8f\xbf\xbf"},
    {"the first surrogate", "\xed\xa0\x80"},
    {"the last surrogate", "\xed\xbf\xbf"},
    {"beyond U+10FFFF", "\xf4\x90\x80\x80"},
    {"a lead byte beyond U+10FFFF", "\xf5\x80\x80\x80"},
    {"cut after 1 of 2 bytes", "abc\xc3"},
    {"cut after 2 of 3 bytes", "abc\xe2\x82"},
    {"cut after 3 of 4 bytes", "abc\xf0\x9f\x98"},
    {"a lead byte before a letter", "\xc3"
                                    "a"},
    {"two lead bytes", "\xe2\xe2\x82\xac"},
};

static void
check_invalid(void)
{
    const size_t count = sizeof invalid / sizeof invalid[0];
    char out[16];

    for (size_t i = 0; i < count; i++) {
        int result;

        errno = 0;
        result = reverse_utf8(invalid[i].bytes, strlen(invalid[i].bytes), out);
        if (result == -1 && errno == EILSEQ)
            continue;
        printf("%s: expected -1 with EILSEQ, actual %d with %s\n", invalid[i].name, result,
               errno != 0 ? strerror(errno) : "no error");
        failures++;
    }
    printf("%zu kinds of invalid UTF-8 checked\n", count);
}

int
main(int argc, char *argv[])
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s GraphemeBreakTest.txt\n", argv[0]);
        return 2;
    }
    check_unicode(argv[1]);
    check_rules();
    check_conjunct();
    check_line_ends();
    check_lengths();
    check_twice();
    check_invalid();
    return failures == 0 ? 0 : 1;
}
