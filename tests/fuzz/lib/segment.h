/*
 * Extended grapheme clusters as UAX #29 writes them down: its rules one by one, and the properties from the files
 * of the Unicode Character Database (Debian: unicode-data). Slow, and independent of utf8proc.
 */
#ifndef FUZZ_SEGMENT_H
#define FUZZ_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The values of Grapheme_Cluster_Break, and two of other properties for which segment_pick() has characters. */
enum segment_class {
    SEGMENT_OTHER,
    SEGMENT_CR,
    SEGMENT_LF,
    SEGMENT_CONTROL,
    SEGMENT_EXTEND,
    SEGMENT_ZWJ,
    SEGMENT_REGIONAL,
    SEGMENT_PREPEND,
    SEGMENT_SPACING,
    SEGMENT_L,
    SEGMENT_V,
    SEGMENT_T,
    SEGMENT_LV,
    SEGMENT_LVT,
    SEGMENT_PICTOGRAPHIC, /* Extended_Pictographic: its Grapheme_Cluster_Break is Other */
    SEGMENT_CONSONANT,    /* Indic_Conjunct_Break=Consonant (since Unicode 15.1) */
    SEGMENT_LINKER,       /* Indic_Conjunct_Break=Linker */
    SEGMENT_CLASSES,
};

/* Read the properties; aborts when a file is not there, or is not of Unicode `version` ("15.0.0"). */
void segment_load(const char *version);

/* Whether a cluster ends between codes[at - 1] and codes[at], 0 < at < count. */
bool segment_breaks(const uint32_t *codes, size_t at);

/* The character of this class that comes at `index`, counted round; 'a' when there is none in this version. */
uint32_t segment_pick(enum segment_class class, size_t index);

#endif
