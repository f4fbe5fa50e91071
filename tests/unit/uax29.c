/*
 * The rules, in the words and in the order of https://www.unicode.org/reports/tr29/tr29-43.html (Unicode 15.1),
 * each by a look at what stands before: no state is carried along, which is what the code under test does.
 */
#include "uax29.h"

const char *const uax29_characters[UAX29_CLASSES] = {
    [UAX29_OTHER] = "a",
    [UAX29_CR] = "\r",
    [UAX29_LF] = "\n",
    [UAX29_CONTROL] = "\x01",
    [UAX29_EXTEND] = "\u0308",       /* combining diaeresis */
    [UAX29_EXTEND_ALONE] = "\u200c", /* zero width non-joiner */
    [UAX29_ZWJ] = "\u200d",
    [UAX29_REGIONAL] = "\U0001f1e6", /* A */
    [UAX29_PREPEND] = "\u0600",      /* arabic number sign */
    [UAX29_SPACING] = "\u0903",      /* devanagari visarga */
    [UAX29_L] = "\u1100",
    [UAX29_V] = "\u1160",
    [UAX29_T] = "\u11a8",
    [UAX29_LV] = "\uac00",
    [UAX29_LVT] = "\uac01",
    [UAX29_PICTOGRAPH] = "\u231a", /* watch */
    [UAX29_CONSONANT] = "\u0915",  /* devanagari ka */
    [UAX29_LINKER] = "\u094d",     /* devanagari virama */
};

static bool is_control(enum uax29_class class)
{
    return class == UAX29_CR || class == UAX29_LF || class == UAX29_CONTROL;
}

static bool is_extend(enum uax29_class class)
{
    return class == UAX29_EXTEND || class == UAX29_EXTEND_ALONE || class == UAX29_LINKER;
}

/* GB6 to GB8: a syllable of Hangul. */
static bool
is_syllable(enum uax29_class before, enum uax29_class after)
{
    switch (before) {
    case UAX29_L:
        return after == UAX29_L || after == UAX29_V || after == UAX29_LV || after == UAX29_LVT;
    case UAX29_LV:
    case UAX29_V:
        return after == UAX29_V || after == UAX29_T;
    case UAX29_LVT:
    case UAX29_T:
        return after == UAX29_T;
    default:
        return false;
    }
}

/* GB9c: a consonant, and behind it only extenders and linkers, of these one at least. */
static bool
ends_in_linked_consonant(const enum uax29_class *classes, size_t len)
{
    bool linked = false;

    for (; len > 0; len--) {
        enum uax29_class last = classes[len - 1];

        if (last != UAX29_LINKER && last != UAX29_EXTEND && last != UAX29_ZWJ)
            return linked && last == UAX29_CONSONANT;
        linked = linked || last == UAX29_LINKER;
    }
    return false;
}

/* GB11: a pictograph, extenders, a joiner. */
static bool
ends_in_joined_pictograph(const enum uax29_class *classes, size_t len)
{
    if (classes[--len] != UAX29_ZWJ)
        return false;
    while (len > 0 && is_extend(classes[len - 1]))
        len--;
    return len > 0 && classes[len - 1] == UAX29_PICTOGRAPH;
}

/* GB12, GB13: half a flag. */
static bool
ends_in_odd_regional(const enum uax29_class *classes, size_t len)
{
    size_t count = 0;

    while (count < len && classes[len - 1 - count] == UAX29_REGIONAL)
        count++;
    return count % 2 == 1;
}

bool
uax29_breaks(const enum uax29_class *classes, size_t at, bool conjuncts)
{
    enum uax29_class before = classes[at - 1];
    enum uax29_class after = classes[at];

    if (before == UAX29_CR && after == UAX29_LF) /* GB3 */
        return false;
    if (is_control(before) || is_control(after)) /* GB4, GB5 */
        return true;
    if (is_syllable(before, after))
        return false;
    if (is_extend(after) || after == UAX29_ZWJ || after == UAX29_SPACING || before == UAX29_PREPEND) /* GB9, a, b */
        return false;
    if (conjuncts && after == UAX29_CONSONANT && ends_in_linked_consonant(classes, at))
        return false;
    if (after == UAX29_PICTOGRAPH && ends_in_joined_pictograph(classes, at))
        return false;
    return after != UAX29_REGIONAL || !ends_in_odd_regional(classes, at); /* else GB999 */
}
