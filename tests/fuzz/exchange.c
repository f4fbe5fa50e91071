/*
 * Fuzzer: a peer's stream through record.c and libfcgi to a handler and back, as connection.c has it. Whatever
 * comes in, what goes out is whole FastCGI with no byte unset: for each request a CGI response and an end. A valid
 * stream has the right answers, whatever its padding and the sizes of its records.
 *
 * An input that begins with a 1, as each record does, is a stream as it stands. Else it is a program that makes
 * one, of requests and questions; with V before it the stream is valid, and what each answer must be is known;
 * otherwise bytes left over change bytes of its records.
 */
#include "../../cgi-common/responder/exchange.h"
#include "../../cgi-common/responder/record.h"

#include "lib/check.h"
#include "lib/records.h"
#include "lib/response.h"

#include <fastcgi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_BODY = 2000,
    LARGE = FCGI_MAX_LENGTH + 1, /* bytes of a param or an answer: more than one record holds */
    MOST_RECORDS = 400,
    MOST_REQUESTS = 6,
};

/* ---- the service ---- */

/* The content of bodies, params and large answers: of a byte's place, so that a lost or doubled piece shows. */
static char text[LARGE];

static int
handle_echo(const struct request *request, struct reply *reply)
{
    buffer_append(&reply->body, request->body.data, request->body.len);
    return 200;
}

static int
handle_large(const struct request *request, struct reply *reply)
{
    (void)request;
    buffer_append(&reply->body, text, sizeof text);
    return 200;
}

static int
handle_param(const struct request *request, struct reply *reply)
{
    buffer_append_text(&reply->body, request_header(request, "X-0"));
    return 200;
}

static int
handle_busy(const struct request *request, struct reply *reply)
{
    (void)request;
    return reply_problem(reply, 503, "as asked for");
}

static int
handle_nothing(const struct request *request, struct reply *reply)
{
    (void)request;
    (void)reply;
    return 204;
}

static const struct route routes[] = {
    {"/echo", "POST", handle_echo},
    {"/large", "GET, POST, HEAD", handle_large},
    {"/param", "GET, POST", handle_param},
    {"/busy", "GET, POST", handle_busy},
    {"/nothing", "GET, POST", handle_nothing},
};

static const struct service service = {
    .name = "fuzz",
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};

/* What a program may ask for, and the status of that. */
static const struct {
    const char *method;
    const char *path;
    int status;
} calls[] = {
    {"POST", "/echo", 200}, {"GET", "/large", 200},   {"POST", "/param", 200}, {"HEAD", "/large", 200},
    {"GET", "/busy", 503},  {"GET", "/nothing", 204}, {"GET", "/none", 404},   {"GET", "/echo", 405},
};

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('A' + i % 53);
    check(exchange_init() == 0, "libfcgi does not start");
    return 0;
}

/* ---- a program makes a stream ---- */

/* What must become of a request; `body` and `param` are of the stream that asks for it. */
struct wanted {
    size_t call;
    int status;
    int id;
    bool keep;
    size_t body_len;
    size_t param_len;
};

struct stream {
    const uint8_t *program;
    size_t left;
    bool valid;
    bool ended; /* the peer may send no more */
    struct buffer bytes;
    size_t starts[MOST_RECORDS]; /* of its records */
    size_t records;
    struct wanted wanted[MOST_REQUESTS];
    size_t requests;
    size_t questions;
};

static unsigned
take(struct stream *stream)
{
    if (stream->left == 0)
        return 0;
    stream->left--;
    return *stream->program++;
}

/* A number of two bytes. In an expression, C does not say which of two take() comes first. */
static unsigned
take_two(struct stream *stream)
{
    unsigned high = take(stream);

    return high << 8 | take(stream);
}

/* Padding that a careless reader takes for records: it begins like a question and a request. */
static void
put_padding(struct stream *stream, size_t len)
{
    static const char records[] = "\1\11\0\0\0\20\0\0\16\0FCGI_MAX_CONNS\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0";

    for (; len > 0; len -= len < sizeof records - 1 ? len : sizeof records - 1)
        buffer_append(&stream->bytes, records, len < sizeof records - 1 ? len : sizeof records - 1);
}

static void
put_record(struct stream *stream, unsigned type, int id, const void *content, size_t len)
{
    unsigned padding = take(stream);
    FCGI_Header header = {
        .version = FCGI_VERSION_1,
        .type = (unsigned char)type,
        .requestIdB1 = (unsigned char)(id >> 8),
        .requestIdB0 = (unsigned char)id,
        .contentLengthB1 = (unsigned char)(len >> 8),
        .contentLengthB0 = (unsigned char)len,
        .paddingLength = (unsigned char)padding,
        .reserved = (unsigned char)(padding * 3),
    };

    if (stream->records < MOST_RECORDS)
        stream->starts[stream->records++] = stream->bytes.len;
    buffer_append(&stream->bytes, &header, sizeof header);
    buffer_append(&stream->bytes, content, len);
    put_padding(stream, padding);
}

/* A stream of a request in records of at most `most` bytes, and its end where `ended`. */
static void
put_stream(struct stream *stream, unsigned type, int id, const struct buffer *content, size_t most, bool ended)
{
    for (size_t done = 0; done < content->len;) {
        size_t left = content->len - done;
        size_t len = left < most ? left : most;

        /* the last ones at once: the number of records is bounded */
        if (stream->records > MOST_RECORDS / 2)
            len = left < FCGI_MAX_LENGTH ? left : FCGI_MAX_LENGTH;
        put_record(stream, type, id, content->data + done, len);
        done += len;
    }
    if (ended)
        put_record(stream, type, id, "", 0);
}

static void
append_length(struct buffer *out, size_t length, bool wide)
{
    unsigned char bytes[] = {(unsigned char)(length >> 24 | 0x80), (unsigned char)(length >> 16),
                             (unsigned char)(length >> 8), (unsigned char)length};

    if (length < 0x80 && !wide)
        buffer_append(out, bytes + 3, 1);
    else
        buffer_append(out, bytes, sizeof bytes);
}

/* A short length may be written in four bytes, too. */
static void
append_pair(struct buffer *out, const char *name, const char *value, size_t len, bool wide)
{
    append_length(out, strlen(name), wide);
    append_length(out, len, wide);
    buffer_append_text(out, name);
    buffer_append(out, value, len);
}

enum {
    SHAPE_KEEP = 1,
    SHAPE_BODY_FIRST = 2, /* the body before the params */
    SHAPE_QUESTION = 4,   /* a question between the two */
    SHAPE_WIDE = 8,       /* four bytes for each length */
    SHAPE_NO_LENGTH = 16, /* no CONTENT_LENGTH where there is no body */
    SHAPE_LARGE = 32,     /* a param of 64 KiB, in the first request */
};

static void
make_params(struct stream *stream, const struct wanted *wanted, unsigned shape, struct buffer *params)
{
    bool wide = (shape & SHAPE_WIDE) != 0;
    char length[32];

    (void)snprintf(length, sizeof length, "%zu", wanted->body_len);
    append_pair(params, "REQUEST_METHOD", calls[wanted->call].method, strlen(calls[wanted->call].method), wide);
    append_pair(params, "SCRIPT_NAME", calls[wanted->call].path, strlen(calls[wanted->call].path), wide);
    if ((shape & SHAPE_NO_LENGTH) == 0 || wanted->body_len > 0)
        append_pair(params, "CONTENT_LENGTH", length, strlen(length), wide);
    append_pair(params, "HTTP_X_0", text, wanted->param_len, wide);
    for (unsigned more = take(stream) % 4; more > 0; more--) {
        size_t len = take(stream);

        append_pair(params, "HTTP_X_1", text, len, take(stream) % 2 == 1);
    }
}

static void
put_question(struct stream *stream)
{
    static const char *const names[] = {FCGI_MAX_CONNS, FCGI_MAX_REQS, FCGI_MPXS_CONNS, "FCGI_OTHER"};
    unsigned type = take(stream);
    struct buffer content = {0};

    if (type % 2 == 0) {
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            if ((type & (2u << i)) != 0)
                append_pair(&content, names[i], "", 0, (type & 32) != 0);
        type = FCGI_GET_VALUES;
    } else if (type == FCGI_GET_VALUES) {
        type = FCGI_MAXTYPE;
    }
    put_record(stream, type, 0, content.data, content.len);
    stream->questions++;
    buffer_release(&content);
}

/* A request's begin, params and body, in the order and the pieces that the program says. */
static void
put_request_as(struct stream *stream, const struct wanted *wanted, unsigned shape)
{
    FCGI_BeginRequestBody begin = {.roleB0 = FCGI_RESPONDER, .flags = wanted->keep ? FCGI_KEEP_CONN : 0};
    size_t params_most = (size_t)take(stream) * 8 + 1;
    size_t body_most = (size_t)take(stream) * 8 + 1;
    struct buffer params = {0};
    struct buffer body = {0};
    bool body_first = (shape & SHAPE_BODY_FIRST) != 0 && wanted->body_len <= MAX_BODY;

    make_params(stream, wanted, shape, &params);
    buffer_append(&body, text, wanted->body_len);
    put_record(stream, FCGI_BEGIN_REQUEST, wanted->id, &begin, sizeof begin);
    if (body_first)
        put_stream(stream, FCGI_STDIN, wanted->id, &body, body_most, true);
    if ((shape & SHAPE_QUESTION) != 0)
        put_question(stream);
    put_stream(stream, FCGI_PARAMS, wanted->id, &params, params_most, true);
    if (!body_first)
        put_stream(stream, FCGI_STDIN, wanted->id, &body, body_most, true);
    buffer_release(&params);
    buffer_release(&body);
}

static void
put_request(struct stream *stream)
{
    struct wanted *wanted = &stream->wanted[stream->requests++];
    unsigned shape;

    wanted->call = take(stream) % (sizeof calls / sizeof calls[0]);
    shape = take(stream);
    wanted->id = (int)take_two(stream);
    wanted->id += wanted->id == 0;
    wanted->keep = (shape & SHAPE_KEEP) != 0;
    wanted->body_len = take_two(stream) % (MAX_BODY + 100);
    wanted->param_len = (shape & SHAPE_LARGE) != 0 && stream->requests == 1 ? LARGE : take(stream);
    wanted->status = wanted->body_len > MAX_BODY ? 413 : calls[wanted->call].status;
    put_request_as(stream, wanted, shape);
    stream->ended = !wanted->keep || wanted->status == 413;
}

/* A byte of a record: of its header, mostly. */
static void
change_byte(struct stream *stream)
{
    size_t at = stream->starts[take(stream) % stream->records];

    at += take(stream) % 24;

    if (at < stream->bytes.len)
        stream->bytes.data[at] = (char)take(stream);
}

/* A byte in four asks for a question, the others for a request. */
static void
stream_make(struct stream *stream)
{
    while (stream->left > 0 && !stream->ended && stream->requests < MOST_REQUESTS &&
           stream->records < MOST_RECORDS / 2) {
        unsigned op = take(stream);

        if (!stream->valid && op % 8 == 7)
            break;
        if (op % 4 == 0)
            put_question(stream);
        else
            put_request(stream);
    }
    while (!stream->valid && stream->left >= 3 && stream->records > 0)
        change_byte(stream);
    check(!stream->bytes.failed, "no memory");
}

/* ---- what comes back ---- */

struct run {
    const struct stream *stream; /* a valid one; else NULL */
    struct exchange exchange;
    struct record_request request;
    struct buffer out;
    size_t answered;
    size_t questions;
    bool alive;
};

/* Whether the last REQUEST_METHOD is HEAD. */
static bool
is_head(const struct record_request *request)
{
    struct record_pair pair;
    bool head = false;
    size_t at = 0;

    while (record_pair(request->params.data, request->params.len, &at, &pair) == 1)
        if (pair.name_len == 14 && memcmp(pair.name, "REQUEST_METHOD", 14) == 0)
            head = pair.value_len == 4 && memcmp(pair.value, "HEAD", 4) == 0;
    return head;
}

/* An answer to a valid stream. */
static void
check_wanted(const struct wanted *wanted, int id, bool keep, const struct response *response)
{
    const char *path = calls[wanted->call].path;
    size_t len;

    check(id == wanted->id, "an answer to request %d, expected %d", id, wanted->id);
    check(response->status == wanted->status, "%s is answered %d, expected %d: %.*s", path, response->status,
          wanted->status, (int)response->body_len, response->body);
    check(keep == wanted->keep || wanted->status == 413, "kept: %d, expected: %d", keep, wanted->keep);
    if (wanted->status != 200)
        return;
    len = strcmp(path, "/echo") == 0 ? wanted->body_len : strcmp(path, "/param") == 0 ? wanted->param_len : LARGE;
    check(response->content_length == len, "%s gives %zu bytes, expected %zu", path, response->content_length, len);
    check(memcmp(response->body, text, response->body_len) == 0, "%s gives other bytes", path);
}

static void
run_exchange(struct run *run, enum exchange_kind kind)
{
    const struct stream *stream = run->stream;
    struct response response;
    char *written;
    size_t len;
    bool keep;

    run->out.len = 0;
    keep = exchange_run(&run->exchange, &service, MAX_BODY, &run->request, kind, &run->out);
    check(!run->out.failed, "no memory");
    written = malloc(run->out.len);
    check(written != NULL, "no answer");
    len = records_check_answer(run->out.data, run->out.len, run->request.id, written);
    response_parse(&response, written, len, is_head(&run->request));
    check(kind == EXCHANGE_SERVE || response.status == 413 || response.status == 400,
          "status %d for a body too large", response.status);
    if (stream != NULL) {
        check(run->answered < stream->requests, "more answers than requests");
        check_wanted(&stream->wanted[run->answered], run->request.id, keep, &response);
    }
    free(written);
    run->answered++;
    run->alive = keep && kind == EXCHANGE_SERVE;
    record_next(&run->request);
}

static void
run_act(struct run *run, enum record_verdict verdict)
{
    records_check(run->out.data, run->out.len);
    switch (verdict) {
    case RECORD_REQUEST:
        run_exchange(run, EXCHANGE_SERVE);
        break;
    case RECORD_TOO_LARGE:
        run_exchange(run, EXCHANGE_TOO_LARGE);
        break;
    case RECORD_ANSWER:
        check(run->out.len > 0, "a question without an answer");
        run->questions++;
        break;
    case RECORD_MORE:
        check(run->out.len == 0, "an answer to nothing");
        break;
    default:
        check(run->stream == NULL, "a valid stream is refused: %s", run->request.reason);
        run->alive = false;
    }
}

/* The piece lies in memory of exactly its size, so that a sanitizer sees each byte too far. */
static void
run_piece(struct run *run, const char *data, size_t len)
{
    char *piece = malloc(len);
    size_t done = 0;

    check(piece != NULL, "no memory");
    memcpy(piece, data, len);
    while (done < len && run->alive) {
        size_t used;
        enum record_verdict verdict;

        run->out.len = 0;
        verdict = record_read(&run->request, piece + done, len - done, &used, MAX_BODY, &run->out);
        done += used;
        run_act(run, verdict);
    }
    free(piece);
}

static void
run_stream(struct run *run, const char *data, size_t len, struct cuts *cuts)
{
    run->alive = true;
    for (size_t at = 0; at < len && run->alive;) {
        size_t size = cuts_next(cuts, len - at);

        run_piece(run, data + at, size);
        at += size;
    }
    if (run->stream == NULL)
        return;
    check(run->answered == run->stream->requests, "%zu answers to %zu requests", run->answered,
          run->stream->requests);
    check(run->questions == run->stream->questions, "%zu answers to %zu questions", run->questions,
          run->stream->questions);
}

/* ---- a run ---- */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run run; /* as of one worker thread: it keeps its buffers */
    struct stream stream = {.program = data + 1, .left = size - 1, .valid = size > 0 && data[0] == 'V'};
    struct cuts cuts;

    if (size == 0)
        return 0;
    run.answered = run.questions = 0;
    run.stream = NULL;
    cuts_open_random(&cuts, data, size);
    if (data[0] == FCGI_VERSION_1) {
        run_stream(&run, (const char *)data, size, &cuts);
    } else {
        stream_make(&stream);
        run.stream = stream.valid ? &stream : NULL;
        run_stream(&run, stream.bytes.data, stream.bytes.len, &cuts);
    }
    buffer_release(&stream.bytes);
    record_release(&run.request);
    return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    if (size > 0 && data[0] == FCGI_VERSION_1)
        return records_mutate(data, size, max_size, seed);
    return LLVMFuzzerMutate(data, size, max_size);
}
