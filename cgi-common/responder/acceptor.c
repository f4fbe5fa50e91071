/*
 * One loop's turn: wait no longer than until the next thing is due, then do what is due whatever has happened.
 */
#include "acceptor.h"

#include "log.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* Milliseconds. */
enum {
    ACCEPTOR_SWEEP_MS = 1000,
    ACCEPTOR_DRAIN_MS = 100,    /* between two sweeps while draining */
    ACCEPTOR_BACK_OFF_MS = 100, /* after an accept that failed for want of descriptors or memory */
};

static void
acceptor_watch_listener(struct acceptor *acceptor, bool watch)
{
    struct epoll_event event = {.events = watch ? EPOLLIN : 0, .data.fd = acceptor->listener};

    epoll_ctl(acceptor->epoll, EPOLL_CTL_MOD, acceptor->listener, &event);
    acceptor->backing_off = !watch;
    acceptor->listen_at = connection_now() + ACCEPTOR_BACK_OFF_MS;
}

/*
 * Something is short: leave the listener alone for a moment; its backlog keeps the new ones. Said once until it
 * works.
 */
static void
acceptor_back_off(struct acceptor *acceptor, const char *why, const char *advice)
{
    if (!acceptor->told)
        log_line(LEVEL_WARNING, NULL, "cannot accept %s: %s; %d are open, new ones wait; %s", acceptor->what, why,
                 atomic_load(&acceptor->table->count), advice);
    acceptor->told = true;
    acceptor_watch_listener(acceptor, false);
}

/* Whether accept failed for that one connection only (accept(2), "Error handling"). */
static bool
fault_is_the_peers(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

static void
acceptor_take_in(struct acceptor *acceptor, int fd)
{
    /* An answer goes out by one send, so nothing is won by waiting for more; fails on a Unix socket. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (table_add(acceptor->table, fd) != 0)
        log_line(LEVEL_ERROR, NULL, "cannot take in one of the %s: %s", acceptor->what, strerror(errno));
}

/* Whether somebody waits to be accepted. */
static bool
acceptor_is_asked(const struct acceptor *acceptor)
{
    struct pollfd listener = {.fd = acceptor->listener, .events = POLLIN};

    return poll(&listener, 1, 0) == 1;
}

/* Whether one more may be taken in. If there are as many as may be, and one is idle, it is closed for the next. */
static bool
acceptor_has_place(const struct acceptor *acceptor)
{
    return atomic_load(&acceptor->table->count) < acceptor->most || !acceptor_is_asked(acceptor) ||
           table_close_idle(acceptor->table);
}

static void
acceptor_accept(struct acceptor *acceptor)
{
    for (;;) {
        int fd;

        if (!acceptor_has_place(acceptor)) {
            acceptor_back_off(acceptor, "as many as may be at once", "ask on fewer at a time");
            return;
        }
        fd = accept4(acceptor->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            acceptor_take_in(acceptor, fd);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            acceptor->told = false;
            return;
        } else if (!fault_is_the_peers(errno)) {
            acceptor_back_off(acceptor, strerror(errno), "raise `ulimit -n`");
            return;
        }
    }
}

static int
acceptor_add(struct acceptor *acceptor, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return epoll_ctl(acceptor->epoll, EPOLL_CTL_ADD, fd, &event);
}

int
acceptor_open(struct acceptor *acceptor)
{
    acceptor->sweep_at = connection_now() + ACCEPTOR_SWEEP_MS;
    return acceptor_add(acceptor, acceptor->listener) != 0 ||
                   acceptor_add(acceptor, acceptor->table->room.freed) != 0
               ? -1
               : 0;
}

/* Milliseconds until something is due. */
static int
acceptor_timeout(const struct acceptor *acceptor)
{
    int64_t due = acceptor->sweep_at;
    int64_t now = connection_now();

    if (acceptor->backing_off && acceptor->listen_at < due)
        due = acceptor->listen_at;
    return due > now ? (int)(due - now) : 0;
}

static void
acceptor_do_what_is_due(struct acceptor *acceptor)
{
    int64_t now = connection_now();

    if (acceptor->backing_off && acceptor->listen_at <= now)
        acceptor_watch_listener(acceptor, true);
    if (acceptor->sweep_at > now)
        return;
    table_sweep(acceptor->table);
    acceptor->sweep_at = now + (atomic_load(&acceptor->table->draining) ? ACCEPTOR_DRAIN_MS : ACCEPTOR_SWEEP_MS);
}

int
acceptor_wait(struct acceptor *acceptor, uint32_t *events)
{
    struct epoll_event event;
    int count = epoll_wait(acceptor->epoll, &event, 1, acceptor_timeout(acceptor));
    eventfd_t told;

    acceptor_do_what_is_due(acceptor);
    if (count != 1)
        return -1;
    if (event.data.fd == acceptor->listener) {
        acceptor_accept(acceptor);
    } else if (event.data.fd == acceptor->table->room.freed) {
        eventfd_read(event.data.fd, &told);
        table_wake_waiting(acceptor->table);
    } else {
        *events = event.events;
        return event.data.fd;
    }
    return -1;
}

void
acceptor_stop_accepting(struct acceptor *acceptor)
{
    epoll_ctl(acceptor->epoll, EPOLL_CTL_DEL, acceptor->listener, NULL);
    acceptor->backing_off = false;
    acceptor->sweep_at = 0; /* at once */
}
