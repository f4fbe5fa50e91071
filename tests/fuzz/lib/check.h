/*
 * What a fuzzer does when a property does not hold: it says which, and aborts, so that libFuzzer keeps the input.
 */
#ifndef FUZZ_CHECK_H
#define FUZZ_CHECK_H

#include <stddef.h>
#include <stdint.h>

/*
 * Abort with a formatted sentence unless `holds`. On standard output: a fuzzer may have given standard error
 * away.
 */
#define check(holds, ...)                                  \
    do {                                                   \
        if (!(holds))                                      \
            check_failed(__FILE__, __LINE__, __VA_ARGS__); \
    } while (0)

/* For that macro. */
__attribute__((noreturn, format(printf, 3, 4))) void check_failed(const char *file, int line, const char *format,
                                                                  ...);

/* libFuzzer's interface (llvm.org/docs/LibFuzzer.html): run one input. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Optional: called once, before the first input. Returns 0. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Optional: change an input of `size` bytes that lies in `max_size`. Returns its new size. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* libFuzzer's own mutations, for that function. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

#endif
