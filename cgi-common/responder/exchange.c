/*
 * libfcgi over memory.
 *
 * libfcgi reaches the system through the few functions of its header fcgios.h. Its own version of them reads and
 * writes with blocking calls and has no time-out, so that a peer that sends half a request, or takes half an
 * answer, holds a thread. Here they are once more, on the bytes of the exchange that the thread is in; the linker
 * takes these and leaves libfcgi's os_unix.o in its archive (also its signal handlers for TERM, USR1 and PIPE). So
 * libfcgi does what it is good at, the protocol, and connection.c moves the bytes without ever waiting.
 */
#include "exchange.h"

#include "log.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcgios.h>
#include <string.h>

struct exchange {
    const char *data; /* what the peer sent */
    size_t len;
    size_t read; /* of which libfcgi has read */
    struct buffer *out;
    bool accepted;
    bool ended;  /* the byte behind the end was given */
    bool closed; /* libfcgi wants the connection closed */
};

/* The exchange of this thread: fcgios.h passes descriptors, and there is none. */
static _Thread_local struct exchange *current;

enum { EXCHANGE_DESCRIPTOR = 0 }; /* what libfcgi takes for one; any that is not negative */

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
    size_t left = current->len - current->read;
    size_t count = len < left ? len : left;

    (void)fd;
    /* libfcgi sees the end of a management record only when a byte follows it, so one does. */
    if (left == 0 && len > 0 && !current->ended) {
        current->ended = true;
        *buf = 0;
        return 1;
    }
    memcpy(buf, current->data + current->read, count);
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

/* An exchange is one connection. libfcgi asks for another when that one fails. */
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

/* ---- an exchange ---- */

int
exchange_init(void)
{
    int failed = FCGX_Init();

    if (failed != 0)
        log_line(LEVEL_ERROR, NULL, "libfcgi does not start: error %d", failed);
    return failed != 0 ? -1 : 0;
}

static size_t
exchange_read_body(void *source, char *to, size_t len)
{
    /* MAX_BODY_BYTES is at most 1 GiB, so len fits an int. */
    return (size_t)FCGX_GetStr(to, (int)len, source);
}

static void
exchange_write(FCGX_Stream *out, const struct reply *reply)
{
    struct buffer head = {0};

    reply_head(reply, &head);
    if (!head.failed) {
        FCGX_PutStr(head.data, (int)head.len, out);
        FCGX_PutStr(reply->body.data, (int)reply->body.len, out);
    }
    buffer_release(&head);
}

bool
exchange_run(const struct service *service, size_t max_body, const void *data, size_t len, struct buffer *out)
{
    struct exchange exchange = {.data = data, .len = len, .out = out};
    struct reply reply = {0};
    FCGX_Request request;

    current = &exchange;
    FCGX_InitRequest(&request, -1, 0);
    if (FCGX_Accept_r(&request) == 0) {
        service_answer(service, request.envp, max_body, exchange_read_body, request.in, &reply);
        exchange_write(request.out, &reply);
        FCGX_Finish_r(&request);
        reply_release(&reply);
    }
    current = NULL;
    return !exchange.closed;
}
