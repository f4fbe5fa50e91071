/*
 * A walk over records that never goes back: a header, its content, its padding, whatever pieces they come in. A
 * record counts when its padding is there, too.
 */
#include "record.h"

#include "content_length.h"

#include <fastcgi.h>
#include <string.h>

struct input {
    const unsigned char *at;
    size_t left;
};

static enum record_verdict
record_refuse(struct record_request *request, const char *reason)
{
    request->reason = reason;
    return RECORD_REFUSED;
}

static int
record_type(const struct record_request *request)
{
    return request->header[1];
}

static int
record_id(const struct record_request *request)
{
    return request->header[2] << 8 | request->header[3];
}

/* ---- name-value pairs ---- */

/* A length at `*at`, of 1 byte or 4. Returns whether it was there; moves `*at` behind it. */
static bool
pair_length(const unsigned char *pairs, size_t len, size_t *at, size_t *length)
{
    if (*at >= len)
        return false;
    if (pairs[*at] < 0x80) {
        *length = pairs[(*at)++];
        return true;
    }
    if (len - *at < 4)
        return false;
    *length = ((size_t)pairs[*at] & 0x7f) << 24 | (size_t)pairs[*at + 1] << 16 | (size_t)pairs[*at + 2] << 8 |
              pairs[*at + 3];
    *at += 4;
    return true;
}

int
record_pair(const char *pairs, size_t len, size_t *at, struct record_pair *pair)
{
    const unsigned char *bytes = (const unsigned char *)pairs;

    if (*at == len)
        return 0;
    if (!pair_length(bytes, len, at, &pair->name_len) || !pair_length(bytes, len, at, &pair->value_len) ||
        pair->name_len > len - *at || pair->value_len > len - *at - pair->name_len)
        return -1;
    pair->name = pairs + *at;
    pair->value = pair->name + pair->name_len;
    *at += pair->name_len + pair->value_len;
    return 1;
}

/* Returns the byte behind it. */
static unsigned char *
write_length(unsigned char *to, size_t length)
{
    if (length >= 0x80) {
        *to++ = (unsigned char)(length >> 24 | 0x80);
        *to++ = (unsigned char)(length >> 16);
        *to++ = (unsigned char)(length >> 8);
    }
    *to++ = (unsigned char)length;
    return to;
}

void
record_append_pair(struct buffer *out, const struct record_pair *pair)
{
    unsigned char lengths[8];
    unsigned char *end = write_length(write_length(lengths, pair->name_len), pair->value_len);

    buffer_append(out, lengths, (size_t)(end - lengths));
    buffer_append(out, pair->name, pair->name_len);
    buffer_append(out, pair->value, pair->value_len);
}

static bool
pair_is(const struct record_pair *pair, const char *name)
{
    return pair->name_len == strlen(name) && memcmp(pair->name, name, pair->name_len) == 0;
}

/*
 * A pair becomes a string, NAME=value: a name with an equals sign would be read as another, a NUL would hide the
 * rest.
 */
static bool
pair_is_variable(const struct record_pair *pair)
{
    return pair->name_len > 0 && memchr(pair->name, '=', pair->name_len) == NULL &&
           memchr(pair->name, '\0', pair->name_len + pair->value_len) == NULL;
}

/* The params have ended. RECORD_MORE: they are sound. */
static enum record_verdict
record_check_params(struct record_request *request)
{
    struct record_pair pair;
    size_t at = 0;
    int count = 0;
    int found;

    if (request->params.failed)
        return RECORD_NO_MEMORY;
    while ((found = record_pair(request->params.data, request->params.len, &at, &pair)) == 1) {
        if (++count > RECORD_MAX_PAIRS)
            return record_refuse(request, "more than 1,000 params");
        if (!pair_is_variable(&pair))
            return record_refuse(request, "a param whose name is empty or has an equals sign, or with a NUL");
        if (pair_is(&pair, "CONTENT_LENGTH"))
            content_length_parse(pair.value, pair.value_len, &request->body_expected);
    }
    return found == 0 ? RECORD_MORE : record_refuse(request, "params that end within a pair");
}

/* ---- answers ---- */

void
record_append_header(struct buffer *out, int type, int id, size_t len)
{
    FCGI_Header header = {
        .version = FCGI_VERSION_1,
        .type = (unsigned char)type,
        .requestIdB1 = (unsigned char)(id >> 8),
        .requestIdB0 = (unsigned char)id,
        .contentLengthB1 = (unsigned char)(len >> 8),
        .contentLengthB0 = (unsigned char)len,
    };

    buffer_append(out, &header, sizeof header);
}

/* Tell the peer why a request of its will not be served (section 5.5). */
static void
record_append_end(struct buffer *out, int id, unsigned char status)
{
    FCGI_EndRequestBody end = {.protocolStatus = status};

    record_append_header(out, FCGI_END_REQUEST, id, sizeof end);
    buffer_append(out, &end, sizeof end);
}

/* Section 4.1: a name that is not known is left out; one that is asked twice is told once. */
static enum record_verdict
record_answer_values(struct record_request *request, struct buffer *out)
{
    static const struct record_pair values[] = {
        {FCGI_MAX_CONNS, "1", sizeof FCGI_MAX_CONNS - 1, 1},
        {FCGI_MAX_REQS, "1", sizeof FCGI_MAX_REQS - 1, 1},
        {FCGI_MPXS_CONNS, "0", sizeof FCGI_MPXS_CONNS - 1, 1},
    };
    enum { COUNT = sizeof values / sizeof values[0] };
    bool asked[COUNT] = {false};
    struct record_pair pair;
    size_t at = 0;
    size_t len = 0;
    int found;

    while ((found = record_pair(request->values.data, request->values.len, &at, &pair)) == 1)
        for (size_t i = 0; i < COUNT; i++)
            asked[i] = asked[i] || pair_is(&pair, values[i].name);
    if (found != 0)
        return record_refuse(request, "an FCGI_GET_VALUES that ends within a pair");
    for (size_t i = 0; i < COUNT; i++)
        len += asked[i] ? 2 + values[i].name_len + values[i].value_len : 0;
    record_append_header(out, FCGI_GET_VALUES_RESULT, FCGI_NULL_REQUEST_ID, len);
    for (size_t i = 0; i < COUNT; i++)
        if (asked[i])
            record_append_pair(out, &values[i]);
    return RECORD_ANSWER;
}

static enum record_verdict
record_answer_unknown(const struct record_request *request, struct buffer *out)
{
    FCGI_UnknownTypeBody unknown = {.type = (unsigned char)record_type(request)};

    record_append_header(out, FCGI_UNKNOWN_TYPE, FCGI_NULL_REQUEST_ID, sizeof unknown);
    buffer_append(out, &unknown, sizeof unknown);
    return RECORD_ANSWER;
}

static enum record_verdict
record_answer(struct record_request *request, struct buffer *out)
{
    enum record_verdict verdict;

    if (record_type(request) != FCGI_GET_VALUES)
        return record_answer_unknown(request, out);
    verdict = request->values.failed ? record_refuse(request, "no memory for an FCGI_GET_VALUES")
                                     : record_answer_values(request, out);
    buffer_release(&request->values);
    return verdict;
}

/* ---- a record ---- */

/* Whether a record of a stream may come: its request has begun, and that stream has not ended. */
static enum record_verdict
record_check_stream(struct record_request *request, size_t max_body)
{
    bool is_params = record_type(request) == FCGI_PARAMS;

    if (is_params ? request->params_ended : request->body_ended)
        return record_refuse(request, "a record of a stream that has ended");
    if (is_params)
        return request->content <= RECORD_MAX_PARAMS - request->params.len
                   ? RECORD_MORE
                   : record_refuse(request, "more than 128 KiB of params");
    if (request->content <= max_body - request->body.len)
        return RECORD_MORE;
    return request->params_ended ? RECORD_TOO_LARGE
                                 : record_refuse(request, "a body over the limit before the params ended");
}

static enum record_verdict
record_check_begin(struct record_request *request, struct buffer *out)
{
    if (request->id != 0) {
        record_append_end(out, record_id(request), FCGI_CANT_MPX_CONN);
        return record_refuse(request, "two requests at once on one connection (FCGI_MPXS_CONNS is 0)");
    }
    return request->content == sizeof(FCGI_BeginRequestBody)
               ? RECORD_MORE
               : record_refuse(request, "an FCGI_BEGIN_REQUEST that does not have 8 bytes");
}

/* Whether the record behind this header may come now. RECORD_MORE: it may. */
static enum record_verdict
record_check(struct record_request *request, size_t max_body, struct buffer *out)
{
    if (request->header[0] != FCGI_VERSION_1)
        return record_refuse(request, "not FastCGI version 1");
    if (record_id(request) == FCGI_NULL_REQUEST_ID)
        return record_type(request) != FCGI_GET_VALUES || request->content <= RECORD_MAX_VALUES
                   ? RECORD_MORE
                   : record_refuse(request, "an FCGI_GET_VALUES of more than 128 bytes");
    if (record_type(request) == FCGI_BEGIN_REQUEST)
        return record_check_begin(request, out);
    if (request->id == 0)
        return record_refuse(request, "a record before FCGI_BEGIN_REQUEST");
    if (record_id(request) != request->id)
        return record_refuse(request, "a record of another request (FCGI_MPXS_CONNS is 0)");
    if (record_type(request) == FCGI_ABORT_REQUEST)
        return record_refuse(request, "the web server aborted the request");
    if (record_type(request) != FCGI_PARAMS && record_type(request) != FCGI_STDIN)
        return record_refuse(request, "a record of a type that no responder is sent");
    return record_check_stream(request, max_body);
}

/* Where the content of the record under way belongs. Returns the bytes taken. */
static size_t
record_take_content(struct record_request *request, const struct input *input)
{
    size_t count = request->content < input->left ? request->content : input->left;
    bool is_management = record_id(request) == FCGI_NULL_REQUEST_ID;

    if (!is_management && record_type(request) == FCGI_PARAMS) {
        buffer_append(&request->params, input->at, count);
    } else if (!is_management && record_type(request) == FCGI_STDIN) {
        buffer_append(&request->body, input->at, count);
    } else if (!is_management) {
        memcpy(request->begin + request->begin_len, input->at, count);
        request->begin_len = (unsigned char)(request->begin_len + count);
    } else if (record_type(request) == FCGI_GET_VALUES) {
        buffer_append(&request->values, input->at, count);
    }
    request->content = (uint16_t)(request->content - count);
    return count;
}

static enum record_verdict
record_begin(struct record_request *request, struct buffer *out)
{
    FCGI_BeginRequestBody begin;

    memcpy(&begin, request->begin, sizeof begin);
    request->id = (uint16_t)record_id(request);
    request->keep = (begin.flags & FCGI_KEEP_CONN) != 0;
    if ((begin.roleB1 << 8 | begin.roleB0) == FCGI_RESPONDER)
        return RECORD_MORE;
    record_append_end(out, request->id, FCGI_UNKNOWN_ROLE);
    return record_refuse(request, "a request for another role than a responder's");
}

/* A record has come whole. `is_empty`: it had no content, which ends a stream. */
static enum record_verdict
record_end(struct record_request *request, bool is_empty, struct buffer *out)
{
    enum record_verdict verdict = RECORD_MORE;

    if (record_id(request) == FCGI_NULL_REQUEST_ID)
        return record_answer(request, out);
    if (record_type(request) == FCGI_BEGIN_REQUEST)
        return record_begin(request, out);
    if (request->body.failed)
        return RECORD_NO_MEMORY;
    if (!is_empty)
        return RECORD_MORE;
    if (record_type(request) == FCGI_STDIN) {
        request->body_ended = true;
    } else {
        request->params_ended = true;
        verdict = record_check_params(request);
    }
    return verdict == RECORD_MORE && request->params_ended && request->body_ended ? RECORD_REQUEST : verdict;
}

/* ---- the walk ---- */

static void
input_take(struct input *input, size_t count)
{
    input->at += count;
    input->left -= count;
}

/* Returns whether the header is whole; if not, the input is used up. */
static bool
record_fill_header(struct record_request *request, struct input *input)
{
    size_t count = sizeof request->header - request->have;

    count = count < input->left ? count : input->left;
    memcpy(request->header + request->have, input->at, count);
    request->have = (unsigned char)(request->have + count);
    input_take(input, count);
    return request->have == sizeof request->header;
}

static enum record_verdict
record_begin_header(struct record_request *request, size_t max_body, struct buffer *out)
{
    request->content = (uint16_t)(request->header[4] << 8 | request->header[5]);
    request->padding = request->header[6];
    request->begin_len = 0;
    return record_check(request, max_body, out);
}

/* Take what there is of the record behind its header. Returns whether it is whole. */
static bool
record_fill(struct record_request *request, struct input *input)
{
    size_t count;

    if (request->content > 0 && input->left > 0)
        input_take(input, record_take_content(request, input));
    count = request->padding < input->left ? request->padding : input->left;
    request->padding = (unsigned char)(request->padding - count);
    input_take(input, count);
    return request->content == 0 && request->padding == 0;
}

enum record_verdict
record_read(struct record_request *request, const void *data, size_t len, size_t *used, size_t max_body,
            struct buffer *out)
{
    struct input input = {data, len};
    enum record_verdict verdict = RECORD_MORE;

    do {
        if (request->have < sizeof request->header) {
            if (!record_fill_header(request, &input))
                break;
            if ((verdict = record_begin_header(request, max_body, out)) != RECORD_MORE)
                break;
        }
        if (!record_fill(request, &input))
            break;
        request->have = 0;
        verdict = record_end(request, request->header[4] == 0 && request->header[5] == 0, out);
    } while (verdict == RECORD_MORE);
    *used = len - input.left;
    return verdict;
}

bool
record_has_begun(const struct record_request *request)
{
    return request->id != 0 || request->have > 0;
}

void
record_next(struct record_request *request)
{
    struct buffer params = request->params;
    struct buffer body = request->body;

    params.len = body.len = 0;
    *request = (struct record_request){.params = params, .body = body};
}

void
record_release(struct record_request *request)
{
    buffer_release(&request->values);
    buffer_release(&request->params);
    buffer_release(&request->body);
    *request = (struct record_request){0};
}
