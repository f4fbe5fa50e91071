/*
 * FastCGI records, read without regard for speed.
 */
#include "records.h"

#include "check.h"

#include <fastcgi.h>
#include <string.h>

/* ---- reading ---- */

size_t
record_take(struct record *record, const uint8_t *data, size_t len)
{
    if (len < FCGI_HEADER_LEN || data[0] != FCGI_VERSION_1)
        return 0;
    *record = (struct record){
        .type = data[1],
        .id = data[2] << 8 | data[3],
        .content = data + FCGI_HEADER_LEN,
        .len = (size_t)(data[4] << 8 | data[5]),
        .padding_len = data[6],
    };
    record->padding = record->content + record->len;
    if (len - FCGI_HEADER_LEN < record->len + record->padding_len)
        return 0;
    return FCGI_HEADER_LEN + record->len + record->padding_len;
}

static bool
is_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void
check_written(const struct record *record, const uint8_t *header)
{
    check(header[7] == 0, "a reserved byte of a header is %d", header[7]);
    check(is_zero(record->padding, record->padding_len), "padding that is not zero, in a record of type %d",
          record->type);
    switch (record->type) {
    case FCGI_STDOUT:
        check(record->id != 0, "output of request 0");
        break;
    case FCGI_END_REQUEST:
        check(record->id != 0 && record->len == 8 && is_zero(record->content + 5, 3), "a wrong FCGI_END_REQUEST");
        break;
    case FCGI_GET_VALUES_RESULT:
        check(record->id == 0, "FCGI_GET_VALUES_RESULT of request %d", record->id);
        break;
    case FCGI_UNKNOWN_TYPE:
        check(record->id == 0 && record->len == 8 && is_zero(record->content + 1, 7), "a wrong FCGI_UNKNOWN_TYPE");
        break;
    default:
        check(false, "a record of type %d", record->type);
    }
}

void
records_check(const char *written, size_t len)
{
    const uint8_t *data = (const uint8_t *)written;
    struct record record = {0};
    size_t size;

    for (; len > 0; data += size, len -= size) {
        check((size = record_take(&record, data, len)) > 0, "%zu bytes that are no record", len);
        check_written(&record, data);
    }
}

/* FCGI_END_REQUEST has appStatus 0 and FCGI_REQUEST_COMPLETE: five zeroes. */
size_t
records_check_answer(const char *written, size_t len, int id, char *out)
{
    const uint8_t *data = (const uint8_t *)written;
    bool ended = false;
    struct record record = {0};
    size_t count = 0;
    size_t size;

    records_check(written, len);
    for (; len > 0; data += size, len -= size) {
        size = record_take(&record, data, len);
        check(record.id == id, "a record of request %d in the answer to %d", record.id, id);
        check(!ended, "a record behind FCGI_END_REQUEST");
        if (record.type == FCGI_STDOUT && record.len > 0) {
            memcpy(out + count, record.content, record.len);
            count += record.len;
        } else if (record.type == FCGI_END_REQUEST) {
            check(is_zero(record.content, 5), "FCGI_END_REQUEST with protocolStatus %d", record.content[4]);
            ended = true;
        }
    }
    check(ended, "an answer without FCGI_END_REQUEST");
    return count;
}

/* ---- cutting ---- */

void
cuts_open_random(struct cuts *cuts, const uint8_t *data, size_t size)
{
    *cuts = (struct cuts){.random = 14695981039346656037u};
    for (size_t i = 0; i < size; i++) /* FNV-1a */
        cuts->random = (cuts->random ^ data[i]) * 1099511628211u;
}

size_t
cuts_open(struct cuts *cuts, const uint8_t *data, size_t size)
{
    size_t count;

    cuts_open_random(cuts, data, size);
    if (size == 0 || data[0] == FCGI_VERSION_1)
        return 0;
    count = data[0] % 32 < size ? data[0] % 32 : size - 1;
    cuts->sizes = data + 1;
    cuts->count = count;
    return 1 + count;
}

size_t
cuts_next(struct cuts *cuts, size_t left)
{
    size_t size;

    if (cuts->count > 0) {
        size = cuts->sizes[cuts->next++ % cuts->count] + (size_t)1;
    } else {
        size_t most = cuts->next++ < 200 ? 64 : 8192; /* a long stream is not worth that many pieces */

        cuts->random = cuts->random * 6364136223846793005u + 1442695040888963407u;
        size = (cuts->random >> 33) % ((cuts->random >> 60) < 8 ? 12 : most) + 1;
    }
    return size < left ? size : left;
}

/* ---- mutating ---- */

/* Choose one of the stream's records. Returns where it begins, or `size` when there is none. */
static size_t
choose(const uint8_t *data, size_t size, unsigned seed, size_t *whole)
{
    struct record record = {0};
    size_t chosen = size;
    size_t taken;
    unsigned count = 0;

    for (size_t at = 0; at < size && (taken = record_take(&record, data + at, size - at)) > 0; at += taken) {
        if (seed % ++count == 0) {
            chosen = at;
            *whole = taken;
        }
    }
    return chosen;
}

/* Type, a byte of the id, one of the length, the padding: a bit, or a value that is often an edge. */
static void
change_field(uint8_t *header, unsigned seed)
{
    static const uint8_t edges[] = {0, 1, 2, 4, 5, 8, 9, 11, 127, 128, 254, 255};
    uint8_t *field = header + 1 + seed % 6;

    seed /= 6;
    if (seed % 4 == 0)
        *field ^= (uint8_t)(1u << seed / 4 % 8);
    else
        *field = edges[seed / 4 % sizeof edges];
}

size_t
records_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size_t begin = size > 0 && data[0] != FCGI_VERSION_1 ? 1 + (size_t)(data[0] % 32) : 0;
    size_t whole = 0;
    size_t at = begin < size ? begin + choose(data + begin, size - begin, seed / 8, &whole) : size;

    if (seed % 2 == 0 || at >= size)
        return LLVMFuzzerMutate(data, size, max_size);
    if (seed % 8 == 1) {
        memmove(data + at, data + at + whole, size - at - whole);
        return size - whole;
    }
    if (seed % 8 == 3 && size + whole <= max_size) {
        memmove(data + at + whole, data + at, size - at);
        return size + whole;
    }
    change_field(data + at, seed / 64);
    return size;
}
