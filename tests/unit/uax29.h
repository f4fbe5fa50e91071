/*
 * UAX #29's rules of extended grapheme clusters, written down once more, for a few characters that stand for all:
 * what reverse.c, and the utf8proc below it, are compared with.
 */
#ifndef TESTS_UAX29_H
#define TESTS_UAX29_H

#include <stdbool.h>
#include <stddef.h>

enum uax29_class {
    UAX29_OTHER,
    UAX29_CR,
    UAX29_LF,
    UAX29_CONTROL,
    UAX29_EXTEND,
    UAX29_EXTEND_ALONE, /* the zero width non-joiner: Extend, but no part of a conjunct */
    UAX29_ZWJ,
    UAX29_REGIONAL,
    UAX29_PREPEND,
    UAX29_SPACING,
    UAX29_L,
    UAX29_V,
    UAX29_T,
    UAX29_LV,
    UAX29_LVT,
    UAX29_PICTOGRAPH,
    UAX29_CONSONANT, /* of a script whose consonants join; Other by the rules before GB9c */
    UAX29_LINKER,    /* that by which they join; Extend by the rules before GB9c */
    UAX29_CLASSES,
};

/* One character of each class, in UTF-8. */
extern const char *const uax29_characters[UAX29_CLASSES];

/* Whether a cluster ends before classes[at], at > 0. `conjuncts`: by Unicode 15.1 or later, which has GB9c. */
bool uax29_breaks(const enum uax29_class *classes, size_t at, bool conjuncts);

#endif
