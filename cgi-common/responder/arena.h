/*
 * The memory that libfcgi uses for one request. The Makefile renames its malloc, realloc and free to these, so that
 * it allocates nothing from the system: it would end the process by an assertion where memory is short (and its
 * forty small blocks are a third of what a request costs).
 *
 * A thread lends its arena to libfcgi before it calls it. What record.c lets through fits: at most RECORD_MAX_PAIRS
 * pairs of RECORD_MAX_PARAMS bytes in all, and three streams with a buffer of at most 8 KiB.
 */
#ifndef CGI_ARENA_H
#define CGI_ARENA_H

#include <stddef.h>

enum { ARENA_SIZE = 320 * 1024 }; /* pages that no request has needed take no memory */

struct arena {
    _Alignas(16) char bytes[ARENA_SIZE];
    size_t used;
};

/* Let this thread's libfcgi allocate from `arena`, which is empty then. NULL: it may not allocate any more. */
void arena_lend(struct arena *arena);

/* malloc, realloc and free of libfcgi. A block lives until its arena is lent again. */
void *arena_malloc(size_t size);
void *arena_realloc(void *block, size_t size);
void arena_free(void *block);

#endif
