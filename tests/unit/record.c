/*
 * record_scan() fed in every way that a socket may deliver: where a request ends, and what is refused.
 */
#include "record.h"

#include <fastcgi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BODY = 1000, MAX_PARAMS = 128 * 1024, ROOM = 8 << 20 };

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

struct bytes {
    unsigned char *data;
    size_t len;
};

static struct bytes
nothing(void)
{
    struct bytes bytes = {.data = malloc(ROOM)};

    if (bytes.data == NULL)
        abort();
    return bytes;
}

/* Append a record with `len` bytes of content, as much padding as given. */
static void
put(struct bytes *bytes, int type, int id, size_t len, unsigned char padding)
{
    FCGI_Header header = {
        .version = FCGI_VERSION_1,
        .type = (unsigned char)type,
        .requestIdB1 = (unsigned char)(id >> 8),
        .requestIdB0 = (unsigned char)id,
        .contentLengthB1 = (unsigned char)(len >> 8),
        .contentLengthB0 = (unsigned char)len,
        .paddingLength = padding,
    };

    if (bytes->len + sizeof header + len + padding > ROOM)
        abort();
    memcpy(bytes->data + bytes->len, &header, sizeof header);
    memset(bytes->data + bytes->len + sizeof header, 'x', len + padding);
    bytes->len += sizeof header + len + padding;
}

static void
put_begin(struct bytes *bytes, int id)
{
    put(bytes, FCGI_BEGIN_REQUEST, id, 8, 0);
}

/* A request whose body has `body` bytes. */
static void
put_request(struct bytes *bytes, int id, size_t body)
{
    put_begin(bytes, id);
    put(bytes, FCGI_PARAMS, id, 37, 3);
    put(bytes, FCGI_PARAMS, id, 0, 0);
    if (body > 0)
        put(bytes, FCGI_STDIN, id, body, 5);
    put(bytes, FCGI_STDIN, id, 0, 0);
}

/* Scan the first `len` bytes from memory of exactly that size, so that a sanitizer sees each byte too far. */
static enum record_verdict
scan_first(struct record_scan *scan, const struct bytes *bytes, size_t len)
{
    unsigned char *copy = malloc(len + 1);
    enum record_verdict verdict;

    if (copy == NULL)
        abort();
    memcpy(copy + 1, bytes->data, len);
    verdict = record_scan(scan, copy + 1, len, MAX_BODY);
    free(copy);
    return verdict;
}

static enum record_verdict
scan_all(struct record_scan *scan, const struct bytes *bytes)
{
    *scan = (struct record_scan){0};
    return scan_first(scan, bytes, bytes->len);
}

/* ---- where a request ends ---- */

/* `bytes` holds a request that ends at `end`, and whatever follows. */
static void
check_in_one_go(const char *name, const struct bytes *bytes, size_t end)
{
    struct record_scan scan;

    expect(name, "in one go, verdict", RECORD_REQUEST, scan_all(&scan, bytes));
    expect(name, "in one go, offset", (long)end, (long)scan.offset);
}

static void
check_byte_by_byte(const char *name, const struct bytes *bytes, size_t end)
{
    struct record_scan scan = {0};

    for (size_t len = 0; len < end; len++)
        expect(name, "byte by byte, before the end", RECORD_MORE, scan_first(&scan, bytes, len));
    expect(name, "byte by byte, at the end", RECORD_REQUEST, scan_first(&scan, bytes, end));
    expect(name, "byte by byte, offset", (long)end, (long)scan.offset);
}

static void
check_each_split(const char *name, const struct bytes *bytes, size_t end)
{
    for (size_t split = 0; split < end; split++) {
        struct record_scan scan = {0};

        expect(name, "the first part", RECORD_MORE, scan_first(&scan, bytes, split));
        expect(name, "the second part", RECORD_REQUEST, scan_first(&scan, bytes, bytes->len));
        expect(name, "split, offset", (long)end, (long)scan.offset);
    }
}

static void
check_request(const char *name, int id, size_t body)
{
    struct bytes bytes = nothing();
    size_t end;

    put_request(&bytes, id, body);
    end = bytes.len;
    check_in_one_go(name, &bytes, end);
    check_byte_by_byte(name, &bytes, end);
    put_request(&bytes, id, 20); /* a second one is waiting behind it */
    check_in_one_go(name, &bytes, end);
    check_each_split(name, &bytes, end);
    free(bytes.data);
}

/* ---- other verdicts ---- */

static void
build_version_2(struct bytes *bytes)
{
    put_request(bytes, 1, 10);
    bytes->data[0] = 2;
}

static void
build_http(struct bytes *bytes)
{
    static const char http[] = "GET / HTTP/1.1\r\n";

    memcpy(bytes->data, http, bytes->len = sizeof http - 1);
}

static void
build_unknown_management(struct bytes *bytes)
{
    put(bytes, FCGI_MAXTYPE, 0, 8, 0);
}

static void
build_long_get_values(struct bytes *bytes)
{
    put(bytes, FCGI_GET_VALUES, 0, 49, 0);
}

static void
build_long_get_values_within(struct bytes *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_GET_VALUES, 0, 15000, 0);
}

static void
build_second_id(struct bytes *bytes)
{
    put_begin(bytes, 1);
    put_begin(bytes, 2);
}

/* Only the low byte of the id is the same. */
static void
build_second_id_high(struct bytes *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_PARAMS, 0x101, 8, 0);
}

static void
build_params_too_long(struct bytes *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_PARAMS, 1, 60000, 0);
    put(bytes, FCGI_PARAMS, 1, 60000, 0);
    put(bytes, FCGI_PARAMS, 1, MAX_PARAMS - 120000 + 1, 0);
}

static void
build_abort(struct bytes *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_ABORT_REQUEST, 1, 0, 0);
}

static void
build_params_first(struct bytes *bytes)
{
    put(bytes, FCGI_PARAMS, 1, 8, 0);
}

static void
build_body_first(struct bytes *bytes)
{
    put(bytes, FCGI_STDIN, 1, 0, 0);
}

static void
build_too_large_without_params(struct bytes *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_PARAMS, 1, 8, 0);
    put(bytes, FCGI_STDIN, 1, MAX_BODY + 1, 0);
}

static void
build_headers_alone(struct bytes *bytes)
{
    put_begin(bytes, 1);
    while (bytes->len + 64 < ROOM)
        put(bytes, FCGI_DATA, 1, 0, 0);
}

static void
build_get_values(struct bytes *bytes)
{
    put(bytes, FCGI_GET_VALUES, 0, 48, 0);
}

static void
build_params_at_limit(struct bytes *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_PARAMS, 1, 60000, 0);
    put(bytes, FCGI_PARAMS, 1, 60000, 0);
    put(bytes, FCGI_PARAMS, 1, MAX_PARAMS - 120000, 0);
    put(bytes, FCGI_PARAMS, 1, 0, 0);
    put(bytes, FCGI_STDIN, 1, 0, 0);
}

static void
build_get_values_within(struct bytes *bytes)
{
    put_begin(bytes, 1);
    put(bytes, FCGI_GET_VALUES, 0, 48, 0);
    put(bytes, FCGI_PARAMS, 1, 0, 0);
    put(bytes, FCGI_STDIN, 1, 0, 0);
}

static void
build_body_at_limit(struct bytes *bytes)
{
    put_request(bytes, 1, MAX_BODY);
}

static const struct {
    const char *name;
    void (*build)(struct bytes *bytes);
    enum record_verdict verdict;
} cases[] = {
    {"version 2", build_version_2, RECORD_REFUSED},
    {"HTTP", build_http, RECORD_REFUSED},
    {"a management record of an unknown type", build_unknown_management, RECORD_REFUSED},
    {"a GET_VALUES of 49 bytes", build_long_get_values, RECORD_REFUSED},
    {"a long GET_VALUES within a request", build_long_get_values_within, RECORD_REFUSED},
    {"a second request's id", build_second_id, RECORD_REFUSED},
    {"a second id that differs in its high byte", build_second_id_high, RECORD_REFUSED},
    {"params of 128 KiB and a byte", build_params_too_long, RECORD_REFUSED},
    {"an abort", build_abort, RECORD_REFUSED},
    {"params before the beginning", build_params_first, RECORD_REFUSED},
    {"a body before the beginning", build_body_first, RECORD_REFUSED},
    {"a body too large before the params ended", build_too_large_without_params, RECORD_REFUSED},
    {"headers without content, without end", build_headers_alone, RECORD_REFUSED},
    {"a GET_VALUES of 48 bytes", build_get_values, RECORD_MANAGEMENT},
    {"params of 128 KiB", build_params_at_limit, RECORD_REQUEST},
    {"a GET_VALUES within a request", build_get_values_within, RECORD_REQUEST},
    {"a body at the limit", build_body_at_limit, RECORD_REQUEST},
};

static void
check_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes bytes = nothing();
        struct record_scan scan;

        cases[i].build(&bytes);
        expect(cases[i].name, "verdict", cases[i].verdict, scan_all(&scan, &bytes));
        if (cases[i].verdict == RECORD_REFUSED)
            expect(cases[i].name, "a reason is given", true, scan.reason != NULL);
        else
            expect(cases[i].name, "offset", (long)bytes.len, (long)scan.offset);
        free(bytes.data);
    }
}

/* The 413 can be given as soon as the header of the record that is too much has come. */
static void
check_too_large(size_t first, size_t second)
{
    static const char name[] = "a body over the limit";
    struct bytes bytes = nothing();
    struct record_scan scan;
    size_t params;
    size_t end;

    put_begin(&bytes, 1);
    put(&bytes, FCGI_PARAMS, 1, 40, 0);
    put(&bytes, FCGI_PARAMS, 1, 0, 0);
    params = bytes.len;
    if (first > 0)
        put(&bytes, FCGI_STDIN, 1, first, 0);
    end = bytes.len;
    put(&bytes, FCGI_STDIN, 1, second, 0);
    bytes.len = end + sizeof(FCGI_Header);
    expect(name, "verdict", RECORD_TOO_LARGE, scan_all(&scan, &bytes));
    expect(name, "offset behind the params", true, scan.offset >= params && scan.offset <= end);
    bytes.len--;
    expect(name, "verdict before its header is whole", RECORD_MORE, scan_all(&scan, &bytes));
    free(bytes.data);
}

int
main(void)
{
    check_request("a request without a body", 1, 0);
    check_request("a request with a body", 1, 20);
    check_request("a request with a body of 300 bytes", 1, 300);
    check_request("a request with the largest id", 0xffff, 20);
    check_request("a request whose id has no low byte", 0x100, 20);
    check_cases();
    check_too_large(0, MAX_BODY + 1);
    check_too_large(MAX_BODY, 1);
    check_too_large(600, 600);
    printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
