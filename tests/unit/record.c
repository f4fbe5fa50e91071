/*
 * record_read() fed in every way that a socket may deliver: what is read is the same however the bytes are cut,
 * whatever the padding; and what no peer may send is refused.
 */
#include "record.h"

#include <fastcgi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BODY = 1000, MAX_PARAMS = RECORD_MAX_PARAMS };

static int failures;

static void
expect(const char *name, const char *what, long expected, long actual)
{
    if (expected == actual)
        return;
    printf("%s: %s\n  expected: %ld\n  actual:   %ld\n", name, what, expected, actual);
    failures++;
}

/* ---- records ---- */

/*
 * Append a record with this content, and as much padding as given: a header that asks for a value, over and
 * over.
 */
static void
put_content(struct buffer *bytes, int type, int id, const void *content, size_t len, unsigned char padding)
{
    static const char hidden[] = {1, FCGI_GET_VALUES, 0, 0, 0, 0, 0, 0};
    size_t header = bytes->len;

    record_append_header(bytes, type, id, len);
    bytes->data[header + 6] = (char)padding;
    buffer_append(bytes, content, len);
    for (size_t i = 0; i < padding; i++)
        buffer_append(bytes, &hidden[i % sizeof hidden], 1);
}

/* Content that says nothing: as params, names of one letter without a value. */
static void
put(struct buffer *bytes, int type, int id, size_t len, unsigned char padding)
{
    static const char pair[] = {1, 0, 'x'};
    struct buffer content = {0};

    for (size_t i = 0; i < len; i++)
        buffer_append(&content, &pair[i % sizeof pair], 1);
    put_content(bytes, type, id, content.data, len, padding);
    buffer_release(&content);
}

/* One param whose value has so many bytes that it takes `len` in all, over as many records as it needs. */
static void
put_long_param(struct buffer *bytes, int id, size_t len)
{
    struct buffer value = {0};
    struct buffer pairs = {0};
    struct record_pair pair;

    while (value.len < len - 6)
        buffer_append(&value, "v", 1);
    pair = (struct record_pair){"X", value.data, 1, value.len};
    record_append_pair(&pairs, &pair);
    for (size_t at = 0; at < pairs.len; at += 60000)
        put_content(bytes, FCGI_PARAMS, id, pairs.data + at, pairs.len - at < 60000 ? pairs.len - at : 60000, 0);
    buffer_release(&pairs);
    buffer_release(&value);
}

static void
put_begin_as(struct buffer *bytes, int id, unsigned char role, unsigned char padding)
{
    FCGI_BeginRequestBody begin = {.roleB0 = role, .flags = FCGI_KEEP_CONN};

    put_content(bytes, FCGI_BEGIN_REQUEST, id, &begin, sizeof begin, padding);
}

static void
put_begin(struct buffer *bytes, int id)
{
    put_begin_as(bytes, id, FCGI_RESPONDER, 0);
}

/* A request whose body has `body` bytes; each record is padded. */
static void
put_padded_request(struct buffer *bytes, int id, size_t body, unsigned char padding)
{
    put_begin_as(bytes, id, FCGI_RESPONDER, padding);
    put(bytes, FCGI_PARAMS, id, 39, padding);
    put(bytes, FCGI_PARAMS, id, 0, padding);
    if (body > 0)
        put(bytes, FCGI_STDIN, id, body, padding);
    put(bytes, FCGI_STDIN, id, 0, padding);
}

static void
put_request(struct buffer *bytes, int id, size_t body)
{
    put_padded_request(bytes, id, body, 0);
}

/* ---- reading ---- */

/* What reading has given: a line for each verdict, and all that was answered. */
struct outcome {
    enum record_verdict last;
    size_t used;
    struct buffer text;
};

static void
outcome_add(struct outcome *outcome, const struct record_request *request, const struct buffer *out)
{
    buffer_printf(&outcome->text, "%d: id %d, keep %d, %zu of params, %zu of body, expected %zu, %s\n",
                  outcome->last, request->id, request->keep, request->params.len, request->body.len,
                  request->body_expected, request->reason != NULL ? request->reason : "");
    buffer_append(&outcome->text, request->params.data, request->params.len);
    buffer_append(&outcome->text, request->body.data, request->body.len);
    buffer_append(&outcome->text, out->data, out->len);
}

/*
 * Read a piece from memory of exactly its size, so that a sanitizer sees each byte too far. Returns whether
 * to go on.
 */
static bool
outcome_read(struct outcome *outcome, struct record_request *request, const char *piece, size_t len)
{
    char *copy = malloc(len + 1);
    bool is_over = false;

    if (copy == NULL)
        abort();
    memcpy(copy + 1, piece, len);
    for (size_t at = 0; at < len && !is_over;) {
        struct buffer out = {0};
        size_t used;

        outcome->last = record_read(request, copy + 1 + at, len - at, &used, MAX_BODY, &out);
        at += used;
        outcome->used += used;
        if (outcome->last != RECORD_MORE)
            outcome_add(outcome, request, &out);
        if (outcome->last == RECORD_REQUEST)
            record_next(request);
        is_over = outcome->last == RECORD_REFUSED || outcome->last == RECORD_TOO_LARGE;
        buffer_release(&out);
    }
    free(copy);
    return !is_over;
}

/* Read `bytes` in pieces of `step` bytes, the first of `first`. */
static struct outcome
read_pieces(const struct buffer *bytes, size_t first, size_t step)
{
    struct outcome outcome = {0};
    struct record_request request = {0};
    size_t len = first;

    for (size_t at = 0; at < bytes->len; at += len, len = step) {
        if (len > bytes->len - at)
            len = bytes->len - at;
        if (!outcome_read(&outcome, &request, bytes->data + at, len))
            break;
    }
    record_release(&request);
    return outcome;
}

static void
check_same(const char *name, const char *how, const struct outcome *expected, struct outcome actual)
{
    expect(name, how, true,
           actual.last == expected->last && actual.used == expected->used &&
               actual.text.len == expected->text.len &&
               (actual.text.len == 0 || memcmp(actual.text.data, expected->text.data, actual.text.len) == 0));
    buffer_release(&actual.text);
}

/* Whatever `bytes` hold, it is read alike in one go, byte by byte and split anywhere. Releases them. */
static void
check_cuts(const char *name, struct buffer *bytes, enum record_verdict last)
{
    struct outcome whole = read_pieces(bytes, bytes->len, bytes->len);

    expect(name, "verdict", last, whole.last);
    check_same(name, "byte by byte", &whole, read_pieces(bytes, 1, 1));
    check_same(name, "in pieces of 7", &whole, read_pieces(bytes, 7, 7));
    for (size_t split = 1; split < bytes->len && bytes->len < 5000; split++)
        check_same(name, "in two pieces", &whole, read_pieces(bytes, split, bytes->len));
    buffer_release(&whole.text);
    buffer_release(bytes);
}

static void
check_request(const char *name, int id, size_t body, unsigned char padding)
{
    struct buffer bytes = {0};

    put_padded_request(&bytes, id, body, padding);
    put_padded_request(&bytes, id, 20, padding); /* a second one is waiting behind it */
    check_cuts(name, &bytes, RECORD_REQUEST);
}

/* Padding is nothing: with any, the same is read as without. */
static void
check_padding(void)
{
    struct buffer plain = {0};
    struct outcome expected;

    put_request(&plain, 1, 20);
    expected = read_pieces(&plain, plain.len, plain.len);
    for (int padding = 1; padding < 256; padding++) {
        struct buffer padded = {0};
        struct outcome outcome;

        put_padded_request(&padded, 1, 20, (unsigned char)padding);
        outcome = read_pieces(&padded, padded.len, padded.len);
        outcome.used = expected.used;
        check_same("a padded request", "as without padding", &expected, outcome);
        buffer_release(&padded);
    }
    buffer_release(&plain);
    buffer_release(&expected.text);
}

/* ---- verdicts ---- */
static void
build_version_2(struct buffer *bytes)
{
    put_request(bytes, 1, 10);
    bytes->data[0] = 2;
}

static void
build_http(struct buffer *bytes)
{
    buffer_append_text(bytes, "GET / HTTP/1.1\r\n");
}

static void
build_get_values(struct buffer *bytes)
{
    static const struct record_pair names[] = {
        {FCGI_MPXS_CONNS, "", sizeof FCGI_MPXS_CONNS - 1, 0},
        {"FCGI_OTHER", "", 10, 0},
        {FCGI_MAX_CONNS, "", sizeof FCGI_MAX_CONNS - 1, 0},
        {FCGI_MAX_CONNS, "", sizeof FCGI_MAX_CONNS - 1, 0},
    };
    struct buffer pairs = {0};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        record_append_pair(&pairs, &names[i]);
    put_content(bytes, FCGI_GET_VALUES, 0, pairs.data, pairs.len, 5);
    buffer_release(&pairs);
}

static void
build_get_values_within(struct buffer *bytes)
{
    put_begin(bytes, 1);
    build_get_values(bytes);
    put(bytes, FCGI_PARAMS, 1, 0, 0);
    build_get_values(bytes);
    put(bytes, FCGI_STDIN, 1, 0, 0);
}

/* Both lengths are 0x7ffffffe. */
static void
build_get_values_lengths(struct buffer *bytes)
{
    put_content(bytes, FCGI_GET_VALUES, 0,
                "\xff\xff\xff\xfe\xff\xff\xff\xfe"
                "FCGI",
                12, 4);
}

static void
build_long_get_values(struct buffer *bytes)
{
    put(bytes, FCGI_GET_VALUES, 0, RECORD_MAX_VALUES + 1, 0);
}

static void
build_unknown_management(struct buffer *bytes)
{
    put(bytes, FCGI_MAXTYPE + 1, 0, 3000, 9);
}

static void
build_begin_short(struct buffer *bytes)
{
    put(bytes, FCGI_BEGIN_REQUEST, 1, 7, 1);
}

static void
build_begin_long(struct buffer *bytes)
{
    put(bytes, FCGI_BEGIN_REQUEST, 1, 9, 7);
}

static void
build_begin_twice(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put_begin(bytes, 1);
}

static void
build_other_role(struct buffer *bytes)
{
    put_begin_as(bytes, 1, FCGI_AUTHORIZER, 3);
}

static void
build_second_id(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put_begin(bytes, 2);
}

/* Only the low byte of the id is the same. */
static void
build_second_id_high(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_PARAMS, 0x101, 9, 0);
}

static void
build_abort(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_ABORT_REQUEST, 1, 0, 0);
}

static void
build_data(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_DATA, 1, 0, 0);
}

static void
build_params_first(struct buffer *bytes)
{
    put(bytes, FCGI_PARAMS, 1, 9, 0);
}

static void
build_body_first(struct buffer *bytes)
{
    put(bytes, FCGI_STDIN, 1, 0, 0);
}

static void
build_params_after_end(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_PARAMS, 1, 0, 0);
    put(bytes, FCGI_PARAMS, 1, 9, 0);
}

static void
build_body_after_end(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_STDIN, 1, 0, 0);
    put(bytes, FCGI_STDIN, 1, 1, 0);
}

/* The streams of a request are independent (section 3.3). */
static void
build_body_before_params(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_STDIN, 1, 5, 3);
    put(bytes, FCGI_PARAMS, 1, 9, 0);
    put(bytes, FCGI_STDIN, 1, 0, 0);
    put(bytes, FCGI_PARAMS, 1, 0, 1);
}

static void
build_params_at_limit(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put_long_param(bytes, 1, MAX_PARAMS);
    put(bytes, FCGI_PARAMS, 1, 0, 0);
    put(bytes, FCGI_STDIN, 1, 0, 0);
}

static void
build_params_over_limit(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put_long_param(bytes, 1, MAX_PARAMS + 1);
}

static void
build_too_many_params(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_PARAMS, 1, (size_t)3 * (RECORD_MAX_PAIRS + 1), 0);
    put(bytes, FCGI_PARAMS, 1, 0, 0);
}

static void
build_as_many_params(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_PARAMS, 1, (size_t)3 * RECORD_MAX_PAIRS, 0);
    put(bytes, FCGI_PARAMS, 1, 0, 0);
    put(bytes, FCGI_STDIN, 1, 0, 0);
}

static void
build_params(struct buffer *bytes, const char *pairs, size_t len)
{
    put_begin(bytes, 1);
    put_content(bytes, FCGI_PARAMS, 1, pairs, len, 0);
    put(bytes, FCGI_PARAMS, 1, 0, 0);
    put(bytes, FCGI_STDIN, 1, 0, 0);
}

#define PARAMS(name, pairs)                            \
    static void name(struct buffer *bytes)             \
    {                                                  \
        build_params(bytes, pairs, sizeof(pairs) - 1); \
    }

PARAMS(build_cut_length, "\x01")
PARAMS(build_cut_long_length, "\x80\x00\x00")
PARAMS(build_cut_name, "\x02\x01X")
PARAMS(build_cut_value, "\x01\x02X1")
PARAMS(build_huge_name, "\xff\xff\xff\xff\x01XXXX")
PARAMS(build_huge_sum, "\xff\xff\xff\xff\xff\xff\xff\xffXXXX")
PARAMS(build_no_name, "\x00\x01X")
PARAMS(build_equals, "\x10\x01"
                     "CONTENT_LENGTH=9"
                     "x")
PARAMS(build_nul_in_name, "\x02\x01X\x00"
                          "1")
PARAMS(build_nul_in_value, "\x01\x02X1\x00")
PARAMS(build_long_form, "\x80\x00\x00\x0e\x80\x00\x00\x01"
                        "CONTENT_LENGTH0")
PARAMS(build_empty_value, "\x01\x00X")

static void
build_body_at_limit(struct buffer *bytes)
{
    put_request(bytes, 1, MAX_BODY);
}

static void
build_body_over_limit(struct buffer *bytes)
{
    put_request(bytes, 1, MAX_BODY + 1);
}

static void
build_body_over_limit_in_two(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_PARAMS, 1, 0, 0);
    put(bytes, FCGI_STDIN, 1, MAX_BODY, 2);
    put(bytes, FCGI_STDIN, 1, 1, 0);
}

static void
build_too_large_without_params(struct buffer *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_PARAMS, 1, 9, 0);
    put(bytes, FCGI_STDIN, 1, MAX_BODY + 1, 0);
}

static const struct {
    const char *name;
    void (*build)(struct buffer *bytes);
    enum record_verdict verdict; /* the last one */
} cases[] = {
    {"version 2", build_version_2, RECORD_REFUSED},
    {"HTTP", build_http, RECORD_REFUSED},
    {"an FCGI_GET_VALUES", build_get_values, RECORD_ANSWER},
    {"FCGI_GET_VALUES within a request", build_get_values_within, RECORD_REQUEST},
    {"an FCGI_GET_VALUES with lengths of 2 GiB", build_get_values_lengths, RECORD_REFUSED},
    {"an FCGI_GET_VALUES of 129 bytes", build_long_get_values, RECORD_REFUSED},
    {"a management record of an unknown type", build_unknown_management, RECORD_ANSWER},
    {"an FCGI_BEGIN_REQUEST of 7 bytes", build_begin_short, RECORD_REFUSED},
    {"an FCGI_BEGIN_REQUEST of 9 bytes", build_begin_long, RECORD_REFUSED},
    {"the same request begun twice", build_begin_twice, RECORD_REFUSED},
    {"another role", build_other_role, RECORD_REFUSED},
    {"a second request's id", build_second_id, RECORD_REFUSED},
    {"a second id that differs in its high byte", build_second_id_high, RECORD_REFUSED},
    {"an abort", build_abort, RECORD_REFUSED},
    {"a filter's data", build_data, RECORD_REFUSED},
    {"params before the beginning", build_params_first, RECORD_REFUSED},
    {"a body before the beginning", build_body_first, RECORD_REFUSED},
    {"params after their end", build_params_after_end, RECORD_REFUSED},
    {"a body after its end", build_body_after_end, RECORD_REFUSED},
    {"a body that ends before the params", build_body_before_params, RECORD_REQUEST},
    {"params of 128 KiB", build_params_at_limit, RECORD_REQUEST},
    {"params of 128 KiB and a byte", build_params_over_limit, RECORD_REFUSED},
    {"1,000 params", build_as_many_params, RECORD_REQUEST},
    {"1,001 params", build_too_many_params, RECORD_REFUSED},
    {"params that end within a length", build_cut_length, RECORD_REFUSED},
    {"params that end within a length of 4 bytes", build_cut_long_length, RECORD_REFUSED},
    {"params that end within a name", build_cut_name, RECORD_REFUSED},
    {"params that end within a value", build_cut_value, RECORD_REFUSED},
    {"a name of 2 GiB", build_huge_name, RECORD_REFUSED},
    {"a name and a value of 2 GiB", build_huge_sum, RECORD_REFUSED},
    {"a param without a name", build_no_name, RECORD_REFUSED},
    {"an equals sign in a name", build_equals, RECORD_REFUSED},
    {"a NUL in a name", build_nul_in_name, RECORD_REFUSED},
    {"a NUL in a value", build_nul_in_value, RECORD_REFUSED},
    {"short lengths in the long form", build_long_form, RECORD_REQUEST},
    {"an empty value", build_empty_value, RECORD_REQUEST},
    {"a body at the limit", build_body_at_limit, RECORD_REQUEST},
    {"a body over the limit", build_body_over_limit, RECORD_TOO_LARGE},
    {"a body over the limit by its second record", build_body_over_limit_in_two, RECORD_TOO_LARGE},
    {"a body over the limit before the params ended", build_too_large_without_params, RECORD_REFUSED},
};

static void
check_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer bytes = {0};

        cases[i].build(&bytes);
        check_cuts(cases[i].name, &bytes, cases[i].verdict);
    }
}

/* The 413 can be given as soon as the header of the record that is too much has come. */
static void
check_too_large_early(void)
{
    struct buffer bytes = {0};
    struct outcome outcome;
    size_t before;

    put_begin(&bytes, 1);
    put(&bytes, FCGI_PARAMS, 1, 0, 0);
    before = bytes.len;
    put(&bytes, FCGI_STDIN, 1, MAX_BODY + 1, 0);
    bytes.len = before + FCGI_HEADER_LEN;
    outcome = read_pieces(&bytes, bytes.len, bytes.len);
    expect("a body over the limit", "verdict at its header", RECORD_TOO_LARGE, outcome.last);
    buffer_release(&outcome.text);
    buffer_release(&bytes);
}

/* Each byte of what is answered to a question. */
static void
check_values(void)
{
    static const char answer[] = "\x01\x0a\0\0\0\x23\0\0"
                                 "\x0e\x01"
                                 "FCGI_MAX_CONNS1"
                                 "\x0f\x01"
                                 "FCGI_MPXS_CONNS0";
    struct record_request request = {0};
    struct buffer bytes = {0};
    struct buffer out = {0};
    size_t used;

    build_get_values(&bytes);
    expect("an FCGI_GET_VALUES", "verdict", RECORD_ANSWER,
           record_read(&request, bytes.data, bytes.len, &used, MAX_BODY, &out));
    expect("an FCGI_GET_VALUES", "length of the answer", sizeof answer - 1, (long)out.len);
    expect("an FCGI_GET_VALUES", "bytes of the answer", 0, memcmp(out.data, answer, sizeof answer - 1));
    buffer_release(&bytes);
    buffer_release(&out);
}

int
main(void)
{
    check_request("a request without a body", 1, 0, 0);
    check_request("a request with a body", 1, 20, 0);
    check_request("a request with a body of 300 bytes", 1, 300, 0);
    check_request("a request with padding", 1, 20, 8);
    check_request("a request with the largest id", 0xffff, 20, 0);
    check_request("a request whose id has no low byte", 0x100, 20, 0);
    check_padding();
    check_cases();
    check_too_large_early();
    check_values();
    printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
