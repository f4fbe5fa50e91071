/*
 * The walk over FastCGI record headers. It also keeps from libfcgi 2.4.2 what it does not bear:
 * - management records other than a short FCGI_GET_VALUES (it answers into 64 bytes on its stack, however
 *   often a name is repeated, and takes the content of an unknown type for the request's);
 * - records of a second request (an empty one makes it lose the next record of the first).
 * - a param longer than the params: it allocates what the lengths say, and aborts when there is no such memory.
 * And it bounds what one peer can make a process hold: libfcgi has no limit on params.
 */
#include "record.h"

#include <fastcgi.h>

enum {
    RECORD_MAX_PARAMS = 128 * 1024, /* nginx's header buffers hold 4 × 8 KiB, a value may come twice */
    RECORD_MAX_PAIRS = 1000,
    RECORD_MAX_GET_VALUES = 48, /* the three names that there are, once each */
};

static enum record_verdict
record_refuse(struct record_scan *scan, const char *reason)
{
    scan->reason = reason;
    return RECORD_REFUSED;
}

/* Whether the record behind this header may come now. RECORD_MORE: it may. */
static enum record_verdict
record_check(struct record_scan *scan, const FCGI_Header *header, size_t content, size_t max_body)
{
    int id = header->requestIdB1 << 8 | header->requestIdB0;

    if (header->version != FCGI_VERSION_1)
        return record_refuse(scan, "not FastCGI version 1");
    if (id == FCGI_NULL_REQUEST_ID)
        return header->type == FCGI_GET_VALUES && content <= RECORD_MAX_GET_VALUES
                   ? RECORD_MORE
                   : record_refuse(scan, "a management record that is no short FCGI_GET_VALUES");
    if (header->type == FCGI_ABORT_REQUEST)
        return record_refuse(scan, "the web server aborted the request");
    if (scan->id == 0)
        return header->type == FCGI_BEGIN_REQUEST ? RECORD_MORE
                                                  : record_refuse(scan, "a record before FCGI_BEGIN_REQUEST");
    if (id != scan->id)
        return record_refuse(scan, "two requests at once on one connection (FCGI_MPXS_CONNS is 0)");
    if (header->type == FCGI_PARAMS && scan->params + content > RECORD_MAX_PARAMS)
        return record_refuse(scan, "more than 128 KiB of params");
    if (header->type == FCGI_STDIN && scan->body + content > max_body)
        return scan->params_ended ? RECORD_TOO_LARGE : record_refuse(scan, "a body before the params ended");
    /* Records of a byte each would cost nine times what they carry. */
    if (scan->offset > 2 * (RECORD_MAX_PARAMS + max_body))
        return record_refuse(scan, "more record headers than content");
    return RECORD_MORE;
}

/* A length at `at`, of 1 byte or 4. Sets it; returns how many bytes it takes, or 0 when more than `have` do. */
static size_t
pairs_length(const unsigned char *at, size_t have, size_t *length)
{
    if (have >= 1 && at[0] < 0x80) {
        *length = at[0];
        return 1;
    }
    if (have < 4)
        return 0;
    *length = ((size_t)at[0] & 0x7f) << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
    return 4;
}

/* Go over the next bytes of the pairs. Returns whether each is one that the params can hold. */
static bool
pairs_fit(struct record_pairs *pairs, const unsigned char *at, size_t len)
{
    while (len > 0) {
        size_t step = pairs->skip < len ? pairs->skip : len;
        size_t name_bytes, name, value;

        pairs->skip -= step;
        at += step;
        if ((len -= step) == 0)
            break;
        pairs->lengths[pairs->have++] = *at++;
        len--;
        name_bytes = pairs_length(pairs->lengths, pairs->have, &name);
        if (name_bytes == 0 || pairs_length(pairs->lengths + name_bytes, pairs->have - name_bytes, &value) == 0)
            continue;
        if (name + value > RECORD_MAX_PARAMS || ++pairs->count > RECORD_MAX_PAIRS)
            return false;
        pairs->skip = name + value;
        pairs->have = 0;
    }
    return true;
}

/* Count a whole record. RECORD_MORE: the request goes on. */
static enum record_verdict
record_take(struct record_scan *scan, const FCGI_Header *header, size_t content)
{
    const unsigned char *bytes = (const unsigned char *)(header + 1);
    int id = header->requestIdB1 << 8 | header->requestIdB0;

    if (id == FCGI_NULL_REQUEST_ID)
        return scan->id == 0 ? RECORD_MANAGEMENT : RECORD_MORE;
    switch (header->type) {
    case FCGI_BEGIN_REQUEST:
        scan->id = id;
        return RECORD_MORE;
    case FCGI_PARAMS:
        scan->params += content;
        scan->params_ended = content == 0;
        if (!pairs_fit(&scan->pairs, bytes, content))
            return record_refuse(scan, "a param of more than 128 KiB, or more than 1,000 of them");
        return RECORD_MORE;
    case FCGI_STDIN:
        scan->body += content;
        return content == 0 ? RECORD_REQUEST : RECORD_MORE;
    default:
        return RECORD_MORE; /* libfcgi tells the peer what it thinks of it */
    }
}

enum record_verdict
record_scan(struct record_scan *scan, const void *data, size_t len, size_t max_body)
{
    while (len - scan->offset >= sizeof(FCGI_Header)) {
        const FCGI_Header *header = (const void *)((const char *)data + scan->offset);
        size_t content = (size_t)header->contentLengthB1 << 8 | header->contentLengthB0;
        size_t whole = sizeof *header + content + header->paddingLength;
        enum record_verdict verdict = record_check(scan, header, content, max_body);

        if (verdict != RECORD_MORE)
            return verdict;
        if (len - scan->offset < whole)
            return RECORD_MORE;
        scan->offset += whole;
        if ((verdict = record_take(scan, header, content)) != RECORD_MORE)
            return verdict;
    }
    return RECORD_MORE;
}
