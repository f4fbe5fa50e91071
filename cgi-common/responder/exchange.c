/*
 * libfcgi over memory.
 *
 * libfcgi reaches the system through the few functions of its header fcgios.h. Its own version of them reads and
 * writes with blocking calls and has no time-out, so that a peer that sends half a request, or takes half an
 * answer, holds a thread. Here they are once more, on the bytes of the exchange that the thread is in; so libfcgi
 * does what it is good at, the protocol, and connection.c moves the bytes without ever waiting.
 *
 * What it reads is written here, from what record.c has read of the peer: one FCGI_BEGIN_REQUEST, the params, their
 * end and the end of the body, without padding. The body itself goes straight to the handler, and a long body of an
 * answer straight to what is sent.
 */
#include "exchange.h"

#include "answer.h"
#include "log.h"

#include <errno.h>
#include <fastcgi.h>
#include <fcgiapp.h>
#include <fcgios.h>
#include <stdlib.h>
#include <string.h>

/* What libfcgi is connected to. */
struct line {
    const struct buffer *input;
    size_t read; /* of which libfcgi has read */
    struct buffer *out;
    bool accepted;
    bool closed; /* libfcgi wants the connection closed */
};

/* That of this thread: fcgios.h passes descriptors, and there is none. */
static _Thread_local struct line *current;

enum {
    EXCHANGE_DESCRIPTOR = 0,     /* what libfcgi takes for one; any that is not negative */
    EXCHANGE_MAX_CONTENT = 8184, /* of libfcgi's records: its buffer less a header */
    EXCHANGE_LONG = 32 * 1024,   /* a body of so many bytes is written in records of as many, without libfcgi */
    EXCHANGE_LEAST = 1024,       /* bytes for the records of an answer without a body */
};

/* ---- libfcgi's system interface, fcgios.h ---- */

int
OS_LibInit(int stdioFds[3])
{
    (void)stdioFds;
    return 0;
}

int
OS_Read(int fd, char *buf, size_t len)
{
    size_t left = current->input->len - current->read;
    size_t count = len < left ? len : left;

    (void)fd;
    memcpy(buf, current->input->data + current->read, count);
    current->read += count;
    return (int)count;
}

int
OS_Write(int fd, char *buf, size_t len)
{
    (void)fd;
    buffer_append(current->out, buf, len);
    return current->out->failed ? -1 : (int)len;
}

int
OS_IpcClose(int ipcFd, int shutdown)
{
    (void)shutdown;
    if (ipcFd == EXCHANGE_DESCRIPTOR) /* -1: libfcgi makes sure that none is open */
        current->closed = true;
    return 0;
}

/* A line is one connection. libfcgi asks for another when that one fails. */
int
OS_Accept(int listen_sock, int fail_on_intr, const char *webServerAddrs)
{
    (void)listen_sock;
    (void)fail_on_intr;
    (void)webServerAddrs;
    if (!current->accepted) {
        current->accepted = true;
        return EXCHANGE_DESCRIPTOR;
    }
    errno = ECONNABORTED;
    return -1;
}

/* Named by libfcgi's object file, never called here. */
int
OS_IsFcgi(int sock)
{
    (void)sock;
    return 1;
}

int
OS_CreateLocalIpcFd(const char *bindPath, int backlog)
{
    (void)bindPath;
    (void)backlog;
    errno = ENOTSUP;
    return -1;
}

void
OS_ShutdownPending(void)
{
}

/* ---- what libfcgi reads ---- */

static void
exchange_write_params(struct exchange *exchange, const struct record_request *request)
{
    struct buffer *pairs = &exchange->pairs;
    struct record_pair pair;
    size_t at = 0;

    pairs->len = 0;
    while (record_pair(request->params.data, request->params.len, &at, &pair) == 1)
        record_append_pair(pairs, &pair);
    for (size_t done = 0; done < pairs->len;) {
        size_t len = pairs->len - done < FCGI_MAX_LENGTH ? pairs->len - done : FCGI_MAX_LENGTH;

        record_append_header(&exchange->input, FCGI_PARAMS, request->id, len);
        buffer_append(&exchange->input, pairs->data + done, len);
        done += len;
    }
}

/* Returns whether there was memory for it. */
static bool
exchange_write_request(struct exchange *exchange, const struct record_request *request)
{
    struct buffer *input = &exchange->input;
    FCGI_BeginRequestBody begin = {
        .roleB0 = FCGI_RESPONDER,
        .flags = request->keep ? FCGI_KEEP_CONN : 0,
    };

    input->len = 0;
    record_append_header(input, FCGI_BEGIN_REQUEST, request->id, sizeof begin);
    buffer_append(input, &begin, sizeof begin);
    exchange_write_params(exchange, request);
    record_append_header(input, FCGI_PARAMS, request->id, 0);
    record_append_header(input, FCGI_STDIN, request->id, 0);
    return !input->failed && !exchange->pairs.failed;
}

/* ---- what it writes ---- */

/*
 * Make room for all that libfcgi will write for `len` bytes of a response, so that no part of it can be lost.
 * Returns whether there is; if not, what `out` has is as it was.
 */
static bool
exchange_reserve(const struct exchange *exchange, struct buffer *out, size_t len)
{
    size_t records = len / EXCHANGE_MAX_CONTENT + 1;
    size_t most = len + records * (sizeof(FCGI_Header) + 7) + EXCHANGE_LEAST;

    if (exchange->has_room != NULL && !exchange->has_room(exchange->owner, most))
        return false;
    if (buffer_reserve(out, most) == 0)
        return true;
    out->failed = false; /* nothing was appended */
    return false;
}

/* libfcgi would cut it into records of 8 KiB, and copy it twice for that. */
static void
exchange_write_long(FCGX_Request *fcgx, struct bytes body, struct buffer *out)
{
    FCGX_FFlush(fcgx->out); /* what stands before it */
    for (size_t done = 0; done < body.len;) {
        size_t len = body.len - done < EXCHANGE_LONG ? body.len - done : EXCHANGE_LONG;

        record_append_header(out, FCGI_STDOUT, fcgx->requestId, len);
        buffer_append(out, body.data + done, len);
        done += len;
    }
}

/* Where there is no room to send what the service says, it is the answer that needs least. */
static void
exchange_write(const struct exchange *exchange, FCGX_Request *fcgx, struct answer *answer, struct buffer *out)
{
    struct bytes *pieces = answer->pieces;

    if (!exchange_reserve(exchange, out, pieces[0].len + pieces[1].len))
        answer_no_memory(answer);
    FCGX_PutStr(pieces[0].data, (int)pieces[0].len, fcgx->out);
    if (pieces[1].len < EXCHANGE_LONG)
        FCGX_PutStr(pieces[1].data, (int)pieces[1].len, fcgx->out);
    else
        exchange_write_long(fcgx, pieces[1], out);
}

/* ---- an exchange ---- */

int
exchange_init(void)
{
    int failed;

    /* libfcgi would copy it into an arena; there is none yet */
    unsetenv("FCGI_WEB_SERVER_ADDRS"); /* NOLINT(concurrency-mt-unsafe): called before there are threads */
    failed = FCGX_Init();
    if (failed != 0)
        log_line(LEVEL_ERROR, NULL, "libfcgi does not start: error %d", failed);
    return failed != 0 ? -1 : 0;
}

/* Returns whether libfcgi is content with the request, and with how the answer was taken. */
static bool
exchange_answer(const struct exchange *exchange, const struct service *service, size_t max_body,
                const struct buffer *body, struct line *line)
{
    struct answer answer;
    FCGX_Request fcgx;

    FCGX_InitRequest(&fcgx, -1, 0);
    if (FCGX_Accept_r(&fcgx) != 0)
        return false;
    answer_request(service, fcgx.envp, max_body, body, &answer);
    exchange_write(exchange, &fcgx, &answer, line->out);
    answer_end(&answer);
    FCGX_Finish_r(&fcgx);
    return !line->closed;
}

/* The body as answer_request() is to see it. */
static struct buffer
exchange_body(const struct record_request *request, size_t max_body, enum exchange_kind kind)
{
    struct buffer body = request->body;

    if (kind == EXCHANGE_TOO_LARGE)
        body.len = max_body + 1;
    if (kind == EXCHANGE_UNAVAILABLE)
        body.failed = true;
    return body;
}

bool
exchange_run(struct exchange *exchange, const struct service *service, size_t max_body,
             const struct record_request *request, enum exchange_kind kind, struct buffer *out)
{
    struct buffer body = exchange_body(request, max_body, kind);
    struct line line = {.input = &exchange->input, .out = out};
    bool keep = false;

    if (exchange_write_request(exchange, request) && buffer_reserve(out, EXCHANGE_LEAST) == 0) {
        current = &line;
        arena_lend(&exchange->arena);
        keep = exchange_answer(exchange, service, max_body, &body, &line);
        arena_lend(NULL);
        current = NULL;
    } else {
        exchange_release(exchange);
        out->failed = true;
    }
    return keep;
}

void
exchange_release(struct exchange *exchange)
{
    buffer_release(&exchange->input);
    buffer_release(&exchange->pairs);
}
