/*
 * UAX #29, table 1c, over the properties of the Unicode Character Database.
 */
#include "segment.h"

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNICODE "/usr/share/unicode/"

enum { CODES = 0x110000 };

static uint8_t breaks[CODES];              /* Grapheme_Cluster_Break */
static bool pictographic[CODES];           /* Extended_Pictographic */
static uint8_t conjunct[CODES];            /* Indic_Conjunct_Break: SEGMENT_CONSONANT, _LINKER, _EXTEND, or 0 */
static uint32_t *members[SEGMENT_CLASSES]; /* the characters of each class */
static size_t counts[SEGMENT_CLASSES];

/* ---- the files ---- */

static const struct {
    const char *name;
    enum segment_class class;
} values[] = {
    {"CR", SEGMENT_CR},
    {"LF", SEGMENT_LF},
    {"Control", SEGMENT_CONTROL},
    {"Extend", SEGMENT_EXTEND},
    {"ZWJ", SEGMENT_ZWJ},
    {"Regional_Indicator", SEGMENT_REGIONAL},
    {"Prepend", SEGMENT_PREPEND},
    {"SpacingMark", SEGMENT_SPACING},
    {"L", SEGMENT_L},
    {"V", SEGMENT_V},
    {"T", SEGMENT_T},
    {"LV", SEGMENT_LV},
    {"LVT", SEGMENT_LVT},
    {"Extended_Pictographic", SEGMENT_PICTOGRAPHIC},
    {"Consonant", SEGMENT_CONSONANT},
    {"Linker", SEGMENT_LINKER},
};

static uint8_t
value_named(const char *name)
{
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        if (strcmp(values[i].name, name) == 0)
            return (uint8_t)values[i].class;
    return SEGMENT_OTHER;
}

static void
take_break(uint32_t code, const char *property, const char *value)
{
    (void)value;
    breaks[code] = value_named(property);
}

static void
take_pictographic(uint32_t code, const char *property, const char *value)
{
    (void)value;
    if (strcmp(property, "Extended_Pictographic") == 0)
        pictographic[code] = true;
}

static void
take_conjunct(uint32_t code, const char *property, const char *value)
{
    if (strcmp(property, "InCB") == 0)
        conjunct[code] = value_named(value);
}

/*
 * utf8proc knows nothing of characters that its version of Unicode has not assigned: each is a cluster of its own.
 * UAX #29 gives two properties to some of them in advance: Extended_Pictographic to 1,496 places for emoji to come,
 * Control to places for format characters. That is a known limit, so the model forgets these.
 */
static void
take_unassigned(uint32_t code, const char *property, const char *value)
{
    (void)value;
    if (strcmp(property, "Cn") == 0) {
        breaks[code] = SEGMENT_OTHER;
        pictographic[code] = false;
    }
}

/*
 * A line is "0300..036F ; Extend # …", or "094D ; InCB; Linker # …". Hands each character of each line to
 * `take`.
 */
static void
read_file(const char *path, void (*take)(uint32_t code, const char *property, const char *value))
{
    FILE *file = fopen(path, "r");
    char line[1024];

    check(file != NULL, "%s is not there: install unicode-data", path);
    while (fgets(line, sizeof line, file) != NULL) {
        char property[64] = "";
        char value[64] = "";
        char *rest;
        unsigned long first, last;

        line[strcspn(line, "#")] = '\0';
        first = last = strtoul(line, &rest, 16);
        if (rest == line)
            continue;
        if (strncmp(rest, "..", 2) == 0)
            last = strtoul(rest + 2, &rest, 16);
        check(sscanf(rest, " ; %63[A-Za-z_] ; %63s", property, value) >= 1, "%s: no property: %s", path, line);
        for (unsigned long code = first; code <= last && code < CODES; code++)
            take((uint32_t)code, property, value);
    }
    fclose(file);
}

static void
require_version(const char *path, const char *version)
{
    FILE *file = fopen(path, "r");
    char expected[64];
    char line[64] = "";

    (void)snprintf(expected, sizeof expected, "# GraphemeBreakProperty-%s.txt", version);
    check(file != NULL && fgets(line, sizeof line, file) != NULL, "%s is not there: install unicode-data", path);
    fclose(file);
    check(strncmp(line, expected, strlen(expected)) == 0, "%s is not of Unicode %s, as utf8proc is: %s", path,
          version, line);
}

static void
add_member(enum segment_class class, uint32_t code)
{
    size_t count = counts[class]++;

    if ((count & (count + 1)) == 0) /* full at 2^n - 1 */
        members[class] = realloc(members[class], 2 * (count + 1) * sizeof *members[class]);
    check(members[class] != NULL, "no memory for the characters of a class");
    members[class][count] = code;
}

void
segment_load(const char *version)
{
    require_version(UNICODE "auxiliary/GraphemeBreakProperty.txt", version);
    read_file(UNICODE "auxiliary/GraphemeBreakProperty.txt", take_break);
    read_file(UNICODE "emoji/emoji-data.txt", take_pictographic);
    read_file(UNICODE "DerivedCoreProperties.txt", take_conjunct); /* no InCB before 15.1: no GB9c then */
    read_file(UNICODE "extracted/DerivedGeneralCategory.txt", take_unassigned);
    for (uint32_t code = 0; code < CODES; code++) {
        add_member(breaks[code], code);
        if (pictographic[code])
            add_member(SEGMENT_PICTOGRAPHIC, code);
        if (conjunct[code] > SEGMENT_PICTOGRAPHIC)
            add_member(conjunct[code], code);
    }
}

uint32_t
segment_pick(enum segment_class class, size_t index)
{
    return counts[class] > 0 ? members[class][index % counts[class]] : 'a';
}

/* ---- the rules ---- */

/* GB9c: a consonant, linkers and extenders with a linker among them, a consonant. */
static bool
joins_conjunct(const uint32_t *codes, size_t at)
{
    bool linked = false;

    if (conjunct[codes[at]] != SEGMENT_CONSONANT)
        return false;
    while (at-- > 0) {
        if (conjunct[codes[at]] == SEGMENT_CONSONANT)
            return linked;
        if (conjunct[codes[at]] == SEGMENT_OTHER)
            return false;
        linked |= conjunct[codes[at]] == SEGMENT_LINKER;
    }
    return false;
}

/* GB11: a pictograph, extenders, ZWJ, a pictograph. */
static bool
joins_emoji(const uint32_t *codes, size_t at)
{
    if (!pictographic[codes[at]] || breaks[codes[at - 1]] != SEGMENT_ZWJ)
        return false;
    for (at--; at > 0; at--)
        if (breaks[codes[at - 1]] != SEGMENT_EXTEND)
            return pictographic[codes[at - 1]];
    return false;
}

/* GB12, GB13: an odd number of regional indicators stands before this one. */
static bool
joins_flag(const uint32_t *codes, size_t at)
{
    size_t before = 0;

    while (before < at && breaks[codes[at - 1 - before]] == SEGMENT_REGIONAL)
        before++;
    return breaks[codes[at]] == SEGMENT_REGIONAL && before % 2 == 1;
}

/* GB6 to GB8: what may follow within a Hangul syllable. */
static bool
joins_hangul(uint8_t before, uint8_t after)
{
    switch (before) {
    case SEGMENT_L:
        return after == SEGMENT_L || after == SEGMENT_V || after == SEGMENT_LV || after == SEGMENT_LVT;
    case SEGMENT_LV:
    case SEGMENT_V:
        return after == SEGMENT_V || after == SEGMENT_T;
    case SEGMENT_LVT:
    case SEGMENT_T:
        return after == SEGMENT_T;
    default:
        return false;
    }
}

static bool
is_control(uint8_t class)
{
    return class == SEGMENT_CONTROL || class == SEGMENT_CR || class == SEGMENT_LF;
}

bool
segment_breaks(const uint32_t *codes, size_t at)
{
    uint8_t before = breaks[codes[at - 1]];
    uint8_t after = breaks[codes[at]];

    if (before == SEGMENT_CR && after == SEGMENT_LF) /* GB3 */
        return false;
    if (is_control(before) || is_control(after)) /* GB4, GB5 */
        return true;
    if (joins_hangul(before, after))
        return false;
    if (after == SEGMENT_EXTEND || after == SEGMENT_ZWJ) /* GB9 */
        return false;
    if (after == SEGMENT_SPACING || before == SEGMENT_PREPEND) /* GB9a, GB9b */
        return false;
    return !joins_conjunct(codes, at) && !joins_emoji(codes, at) && !joins_flag(codes, at); /* GB999 */
}
