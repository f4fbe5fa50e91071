/*
 * Messages, without a server.
 *
 * usage: message [COUNT]       COUNT bodies and texts, made by small changes from usual ones (always the same, the
 *                              generator is seeded), each checked by fuzz/message.c; then each allocation fails
 * once message --read FILE   FILE holds bodies, each behind its length (4 bytes, the most significant first).
 * Prints for each the status, and the message or the reply's body behind its length, likewise
 */
#include "message.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* fuzz/message.c */

/* ---- bodies by small changes ---- */

static uint64_t generator = 88172645463325252u;

/* xorshift64 */
static size_t
below(size_t limit)
{
    generator ^= generator << 13;
    generator ^= generator >> 7;
    generator ^= generator << 17;
    return (size_t)(generator % limit);
}

static const char *const seeds[] = {
    "{\"message\": \"hello\"}",
    " {\t\"message\"\n:\r\"a longer text, of more than one word of eight bytes\" } ",
    "{\"message\":\"\\u00e9\\n\\\"\\\\\\/\\b\\f\\r\\t\\ud83d\\ude00\\u0000\"}",
    "{\"message\":\"a\xc3\xb1\xe6\x97\xa5\xf0\x9f\x98\x80 mixed, 12345678\"}",
    "{\"message\":\"\"}",
    "{\"message\":\"a\",\"message\":\"b\"}",
    "{\"mess\\u0061ge\":\"a\",\"n\":[1,-2.5e3,null,true,{},[]],\"o\":{\"p\":false,\"q\":\"\\u00e9\"}}",
};

static const char *const pieces[] = {
    "\"",      "\\",  "\\u",      "\\ud800",  "\\udc00", "\\ud83d\\ude00",
    "\\u0000", "\\x", "{",        "}",        ":",       ",",
    " ",       "\n",  "\t",       "\x01",     "\x7f",    "\xff",
    "\xc3",    "e",   "\xed\xa0", "\xc0\x80", "0",       "\\uD83D",
    "é",       "日",  "😀",        "a",        "[",       "]",
    "//",      "\f",  "\\n",      "\\\"",     "\\/",     "\xf4\x90\x80\x80",
    "-",       ".",   "E",        "+",        "1",       "null",
};

static void
replace(struct buffer *body, size_t at, size_t drop, const char *with)
{
    struct buffer changed = {0};

    buffer_append(&changed, body->data, at);
    buffer_append(&changed, with, strlen(with));
    buffer_append(&changed, body->data + at + drop, body->len - at - drop);
    buffer_release(body);
    *body = changed;
}

static void
make_body(struct buffer *body)
{
    const char *seed = seeds[below(sizeof seeds / sizeof seeds[0])];

    body->len = 0;
    buffer_append(body, seed, strlen(seed));
    for (size_t changes = below(4); changes > 0; changes--) {
        size_t at = below(body->len + 1);
        size_t drop = at < body->len ? below(2) : 0;

        replace(body, at, drop, pieces[below(sizeof pieces / sizeof pieces[0])]);
    }
}

/* Control characters and quotes are in it. */
static void
make_text(struct buffer *text)
{
    text->len = 0;
    for (size_t left = below(40); left > 0; left--) {
        char ascii = (char)below(128);

        if (below(4) > 0)
            buffer_append(text, &ascii, 1);
        else
            buffer_append(text, "\xe6\x97\xa5", 3);
    }
}

static void
compare_with_jansson(long count)
{
    struct buffer buffer = {0};

    for (long i = 0; i < count; i++) {
        make_body(&buffer);
        LLVMFuzzerTestOneInput((const uint8_t *)buffer.data, buffer.len);
        make_text(&buffer);
        LLVMFuzzerTestOneInput((const uint8_t *)buffer.data, buffer.len);
    }
    buffer_release(&buffer);
    printf("%ld bodies and texts compared with jansson\n", count);
}

/* ---- memory that is short ---- */

static struct {
    bool armed;
    bool lasting; /* all allocations fail from that one on */
    long left;    /* how many succeed before one fails */
    long failed;
} shortage;

static bool
allocation_fails(void)
{
    if (!shortage.armed || shortage.left-- > 0)
        return false;
    shortage.armed = shortage.lasting;
    shortage.failed++;
    return true;
}

/* The linker puts these in the place of the C library's (--wrap, in the Makefile). */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*): the names are the linker's */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *
__wrap_malloc(size_t size)
{
    return allocation_fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return allocation_fails() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *memory, size_t size)
{
    return allocation_fails() ? NULL : __real_realloc(memory, size);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl*) */

static const struct {
    const char *body;
    const char *text; /* NULL: it is no message */
} bodies[] = {
    {"{\"message\":\"plain\"}", "plain"},
    {"{\"a\":[{\"b\":\"\\n\"}],\"mess\\u0061ge\":\"plain\",\"c\":1e999}", "plain"},
    {"{\"message\":\"one\\nescape\"}", "one\nescape"},
    {"{\"message\":\"\\n\",\"message\":\"\\ud83d\\ude00\"}", "😀"},
    {"{\"message\":\"\\n\",\"message\":\"the last\"}", "the last"},
    {"{\"a\\u0000\":-0.5E+7,\"message\":\"\\u0065\\u0301\",\"b\":{\"message\":\"\\t\"}}", "e\u0301"},
    {"{\"message\":\"\\n\",\"message\":1}", NULL},
    {"{\"message\":\"\\n\"", NULL},
};

/* Returns the status of message_decode(), or 0 for a wrong text. */
static int
decode_short(const char *body, const char *text)
{
    struct request request = {.params = (char *[]){NULL}, .body = {.data = (char *)body, .len = strlen(body)}};
    struct message message;
    struct reply reply = {0};
    int status;

    shortage.armed = true;
    status = message_decode(&request, &message, &reply);
    shortage.armed = false;
    if (status == 200) {
        if (text == NULL || message.len != strlen(text) || memcmp(message.text, text, message.len) != 0)
            status = 0;
        message_release(&message);
    }
    reply_release(&reply);
    return status;
}

/* Returns how many faults were found. */
static int
fail_each_allocation(const char *body, const char *text, bool lasting)
{
    int faults = 0;

    for (long n = 0, failed = -1; failed != shortage.failed; n++) {
        int right = text != NULL ? 200 : 400;
        int status;

        failed = shortage.failed;
        shortage.lasting = lasting;
        shortage.left = n;
        status = decode_short(body, text);
        if (status == right || (status == 503 && shortage.failed > failed))
            continue;
        printf("%s, without allocation %ld%s: %d\n", body, n + 1, lasting ? " and all after it" : "", status);
        faults++;
    }
    return faults;
}

static int
fail_allocations(void)
{
    int faults = 0;

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        faults += fail_each_allocation(bodies[i].body, bodies[i].text, false);
        faults += fail_each_allocation(bodies[i].body, bodies[i].text, true);
    }
    printf("%ld allocations failed, %d faults\n", shortage.failed, faults);
    return faults;
}

/* ---- bodies from a file ---- */

static void
print_number(uint32_t number)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        putchar((int)(number >> shift & 0xff));
}

static bool
read_number(FILE *file, uint32_t *number)
{
    unsigned char bytes[4];

    if (fread(bytes, sizeof bytes, 1, file) != 1)
        return false;
    *number = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    return true;
}

static void
print_verdict(char *body, size_t len)
{
    struct request request = {.params = (char *[]){NULL}, .body = {.data = body, .len = len}};
    struct message message;
    struct reply reply = {0};
    int status = message_decode(&request, &message, &reply);
    const char *says = status == 200 ? message.text : reply.body.data;
    size_t says_len = status == 200 ? message.len : reply.body.len;

    print_number((uint32_t)status);
    print_number((uint32_t)says_len);
    (void)fwrite(says, 1, says_len, stdout); /* the reader sees what is missing */
    if (status == 200)
        message_release(&message);
    reply_release(&reply);
}

static int
read_bodies(const char *name)
{
    FILE *file = fopen(name, "rb");
    uint32_t len;

    if (file == NULL) {
        perror(name);
        return 1;
    }
    while (read_number(file, &len)) {
        char *body = malloc(len); /* no byte more: see fuzz/message.c */

        if (fread(body, 1, len, file) == len)
            print_verdict(body, len);
        free(body);
    }
    return fclose(file) == 0 ? 0 : 1;
}

int
main(int argc, char *argv[])
{
    if (argc == 3 && strcmp(argv[1], "--read") == 0)
        return read_bodies(argv[2]);
    compare_with_jansson(argc > 1 ? strtol(argv[1], NULL, 10) : 300000);
    return fail_allocations() == 0 ? 0 : 1;
}
