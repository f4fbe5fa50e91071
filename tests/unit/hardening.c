/*
 * Misdeeds that a program built hard does not survive: tests/hardening.bats runs them, each by its name, to see
 * that the Makefile's flags do what they are there for. The last line is "survived" when nothing stopped the
 * program.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SIZE = 24, STACK = 256 * 1024, GUARD = 64 * 1024 };

/* The compiler must not see what is done, or it does something else. */
static volatile size_t one = 1;

/* A write one byte behind memory whose size is known at run time only: _FORTIFY_SOURCE=3 sees it, 2 does not. */
static void
overflow_heap(void)
{
    size_t len = SIZE * one;
    char *text = malloc(len);

    if (text == NULL)
        abort();
    /* cppcheck-suppress bufferAccessOutOfBounds; the misdeed itself */
    memset(text, 'x', len + one);
    printf("%c\n", text[len - 1]);
    free(text);
}

/*
 * A write through a pointer, which no fortified function sees: -fstack-protector does, when the function
 * returns.
 */
static __attribute__((noinline)) void
overflow_stack(void)
{
    char text[SIZE] = "";
    volatile char *at = text;

    for (size_t i = 0; i < SIZE + SIZE * one; i++)
        at[i] = 'x';
    printf("%c\n", text[0]);
}

/* A frame larger than the stack and its guard together, of which only the far end is used. */
static __attribute__((noinline)) void *
take_frame(void *ignored)
{
    char frame[(STACK + GUARD + STACK / 2) * one];

    (void)ignored;
    *(volatile char *)frame = 'x';
    return NULL;
}

/* Below a thread's stack lies a guard, and below that other memory: -fstack-clash-protection does not step over. */
static void
jump_guard(void)
{
    char *memory = mmap(NULL, STACK + GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_attr_t attributes;
    pthread_t thread;

    if (memory == MAP_FAILED || mprotect(memory + STACK, GUARD, PROT_NONE) != 0 ||
        pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setstack(&attributes, memory + STACK + GUARD, STACK) != 0 ||
        pthread_create(&thread, &attributes, take_frame, NULL) != 0 || pthread_join(thread, NULL) != 0)
        abort();
}

static const struct {
    const char *name;
    void (*commit)(void);
} misdeeds[] = {
    {"overflow-heap", overflow_heap},
    {"overflow-stack", overflow_stack},
    {"jump-guard", jump_guard},
};

int
main(int argc, char *argv[])
{
    for (size_t i = 0; argc == 2 && i < sizeof misdeeds / sizeof misdeeds[0]; i++) {
        if (strcmp(argv[1], misdeeds[i].name) != 0)
            continue;
        misdeeds[i].commit();
        printf("survived\n");
        return 0;
    }
    fprintf(stderr, "usage: %s overflow-heap | overflow-stack | jump-guard\n", argv[0]);
    return 2;
}
