/*
 * Fuzzer: record.c reads a peer's stream in one piece, in pieces that the input chooses, and byte by byte.
 * Verdicts, and what is known at each, are the same three times; a request holds what its records hold; what the
 * peer is told is whole records. The input: lib/records.h, cuts_open().
 */
#include "../../cgi-common/responder/record.h"

#include "lib/check.h"
#include "lib/records.h"

#include <fastcgi.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BODY = 200 };

/* ---- what a verdict may say ---- */

/* A request, beside the records that it came in: a second reader, simple because it has them all. */
static void
check_request(const struct record_request *request, const uint8_t *data, size_t len)
{
    struct buffer params = {0};
    struct buffer body = {0};
    struct record record = {0};
    int ends = 0;
    size_t size;

    for (; len > 0; data += size, len -= size) {
        check((size = record_take(&record, data, len)) > 0, "a request of broken records");
        if (record.id == 0)
            continue;
        check(record.id == request->id, "a record of request %d in %d", record.id, request->id);
        if (record.type == FCGI_PARAMS)
            buffer_append(&params, record.content, record.len);
        else if (record.type == FCGI_STDIN)
            buffer_append(&body, record.content, record.len);
        else
            check(record.type == FCGI_BEGIN_REQUEST, "a record of type %d in a request", record.type);
        ends += record.type != FCGI_BEGIN_REQUEST && record.len == 0;
    }
    check(ends == 2, "%d ends of streams in a request", ends);
    check((record.type == FCGI_PARAMS || record.type == FCGI_STDIN) && record.len == 0,
          "a request whose last record does not end a stream");
    check(params.len == request->params.len && body.len == request->body.len, "streams of other lengths");
    check(params.len == 0 || memcmp(params.data, request->params.data, params.len) == 0, "other params");
    check(body.len == 0 || memcmp(body.data, request->body.data, body.len) == 0, "another body");
    buffer_release(&params);
    buffer_release(&body);
}

static void
check_pairs(const struct record_request *request)
{
    struct record_pair pair;
    size_t at = 0;
    int found;

    while ((found = record_pair(request->params.data, request->params.len, &at, &pair)) == 1) {
        check(pair.name_len > 0, "a param without a name");
        check(memchr(pair.name, '=', pair.name_len) == NULL, "an equals sign in a param's name");
        check(memchr(pair.name, '\0', pair.name_len + pair.value_len) == NULL, "a NUL in a param");
    }
    check(found == 0, "params that end within a pair");
}

/* ---- a reading ---- */

struct reading {
    struct record_request request;
    struct buffer answers;
    struct buffer trace; /* all that a reading says: to compare */
};

static void
trace_bytes(struct buffer *trace, const struct buffer *bytes)
{
    buffer_append(trace, &bytes->len, sizeof bytes->len);
    buffer_append(trace, bytes->data, bytes->len);
}

static void
trace_verdict(struct reading *reading, enum record_verdict verdict, size_t offset)
{
    const struct record_request *request = &reading->request;

    buffer_append(&reading->trace, &verdict, sizeof verdict);
    buffer_append(&reading->trace, &offset, sizeof offset);
    buffer_append(&reading->trace, &request->id, sizeof request->id);
    buffer_append(&reading->trace, &request->keep, sizeof request->keep);
    trace_bytes(&reading->trace, &request->params);
    trace_bytes(&reading->trace, &request->body);
    trace_bytes(&reading->trace, &reading->answers);
    if (verdict == RECORD_REFUSED) {
        check(request->reason != NULL, "refused without a reason");
        buffer_append_text(&reading->trace, request->reason);
    }
}

/*
 * Deal with a verdict at `offset` of `data`; the request begins at `*begin`. Returns whether there may be more to
 * read.
 */
static bool
reading_act(struct reading *reading, enum record_verdict verdict, const uint8_t *data, size_t offset, size_t *begin)
{
    records_check(reading->answers.data, reading->answers.len);
    if (verdict == RECORD_MORE)
        return true;
    trace_verdict(reading, verdict, offset);
    if (verdict == RECORD_ANSWER) {
        check(reading->answers.len > 0, "an answer without a byte");
        reading->answers.len = 0;
        return true;
    }
    if (verdict != RECORD_REQUEST)
        return false;
    check(reading->request.body.len <= MAX_BODY, "a body over the limit");
    check_request(&reading->request, data + *begin, offset - *begin);
    check_pairs(&reading->request);
    record_next(&reading->request);
    *begin = offset;
    return true;
}

/* The piece lies in memory of exactly its size, so that a sanitizer sees each byte too far. */
static enum record_verdict
read_piece(struct reading *reading, const uint8_t *data, size_t len, size_t *used)
{
    uint8_t *piece = malloc(len);
    enum record_verdict verdict;

    check(piece != NULL, "no memory");
    memcpy(piece, data, len);
    verdict = record_read(&reading->request, piece, len, used, MAX_BODY, &reading->answers);
    free(piece);
    check(*used <= len, "more used than there was");
    check(verdict != RECORD_MORE || *used == len, "bytes left over, and no verdict");
    check(verdict != RECORD_NO_MEMORY, "no memory");
    return verdict;
}

/* Read all of a stream; `cuts`: NULL for one piece. */
static void
read_stream(struct reading *reading, const uint8_t *data, size_t size, struct cuts *cuts)
{
    size_t begin = 0;
    bool alive = true;

    *reading = (struct reading){0};
    for (size_t at = 0; at < size && alive;) {
        size_t len = cuts != NULL ? cuts_next(cuts, size - at) : size - at;

        for (size_t done = 0; done < len && alive;) {
            size_t used;
            enum record_verdict verdict = read_piece(reading, data + at + done, len - done, &used);

            done += used;
            alive = reading_act(reading, verdict, data, at + done, &begin);
        }
        at += len;
    }
    buffer_append(&reading->trace, &alive, sizeof alive);
    if (alive)
        trace_verdict(reading, RECORD_MORE, size);
}

static void
check_same(const struct reading *whole, const struct reading *cut, const char *how)
{
    check(!whole->trace.failed && !cut->trace.failed, "no memory");
    check(whole->trace.len == cut->trace.len && memcmp(whole->trace.data, cut->trace.data, cut->trace.len) == 0,
          "read %s, a stream says something else", how);
}

static void
reading_release(struct reading *reading)
{
    record_release(&reading->request);
    buffer_release(&reading->answers);
    buffer_release(&reading->trace);
}

/* ---- a run ---- */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t ones[] = {0};
    struct cuts single = {.sizes = ones, .count = 1};
    struct reading whole, pieces, bytes;
    struct cuts cuts;
    size_t begin = cuts_open(&cuts, data, size);

    read_stream(&whole, data + begin, size - begin, NULL);
    read_stream(&pieces, data + begin, size - begin, &cuts);
    check_same(&whole, &pieces, "in pieces");
    read_stream(&bytes, data + begin, size - begin, &single);
    check_same(&whole, &bytes, "byte by byte");
    reading_release(&whole);
    reading_release(&pieces);
    reading_release(&bytes);
    return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    return records_mutate(data, size, max_size, seed);
}
