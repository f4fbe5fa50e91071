/*
 * FastCGI (specification 1.0) for fuzzers: what a service answers, read strictly; streams cut and mutated.
 */
#ifndef FUZZ_RECORDS_H
#define FUZZ_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One record; `content` points into the bytes that were read. */
struct record {
    int type;
    int id;
    const uint8_t *content;
    size_t len;
    const uint8_t *padding;
    size_t padding_len;
};

/* Read the record at the start of `data`. Returns its bytes; 0 when it is not whole, or not of version 1. */
size_t record_take(struct record *record, const uint8_t *data, size_t len);

/*
 * Check what a service has written: whole records of the types that it may write, each reserved byte and each byte
 * of padding zero. Aborts, naming what is wrong. `written` may be NULL when there is nothing.
 */
void records_check(const char *written, size_t len);

/*
 * Check that `written` is the whole answer to the request `id`: its FCGI_STDOUT, and FCGI_END_REQUEST. Appends the
 * content of FCGI_STDOUT to `out`, which has room for `len` bytes; returns how many there are.
 */
size_t records_check_answer(const char *written, size_t len, int id, char *out);

/* The sizes of the pieces in which a stream arrives, taken round; from 1. */
struct cuts {
    const uint8_t *sizes;
    size_t count, next;
    uint64_t random; /* without `sizes`: the next one comes from this */
};

/*
 * An input that begins with a 1, as each record does, is a stream as it stands, and its bytes decide how it is cut.
 * In another, the first byte says how many sizes follow, to 31, and the stream is behind them. Returns where it
 * begins.
 */
size_t cuts_open(struct cuts *cuts, const uint8_t *data, size_t size);

/* Have sizes come from these bytes. */
void cuts_open_random(struct cuts *cuts, const uint8_t *data, size_t size);

/* The size of the next piece, at most `left`. */
size_t cuts_next(struct cuts *cuts, size_t left);

/*
 * For LLVMFuzzerCustomMutator: change a header's field of one record of the stream, or leave out or double a
 * record; or, where there is none and for a half of all seeds, what libFuzzer does. Returns the new size.
 */
size_t records_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed);

#endif
