/*
 * A connection's life: read what is there, answer each whole request, write what the peer takes, never wait.
 */
#include "connection.h"

#include "exchange.h"
#include "log.h"
#include "record.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* How long a peer may take, in milliseconds. nginx keeps an idle connection for 60 s, so it closes first. */
enum {
    CONNECTION_IDLE_MS = 75 * 1000,
    CONNECTION_REQUEST_MS = 5 * 1000, /* from a request's first byte to its last, or for 64 KiB of it */
    CONNECTION_ANSWER_MS = 10 * 1000, /* to take as much of an answer as the socket's buffer holds */
    CONNECTION_LATE_MS = 1000,        /* what no worker has looked at for so long is our delay, not the peer's */
};

/* An answer larger than this gives its buffer back; smaller ones share one a thread. Also what a large body is. */
enum { CONNECTION_KEPT_BUFFER = 256 * 1024 };

/* Edge-triggered: a request costs no epoll_ctl. */
static const uint32_t CONNECTION_EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLET;

enum connection_state {
    STATE_CLOSED,
    STATE_IDLE,
    STATE_CLAIMED,    /* a worker's */
    STATE_LOOK_AGAIN, /* a worker's, and something has happened since it looked */
    STATE_HELD,       /* the dispatcher's, for a moment */
};

struct connection {
    _Atomic int state;        /* enum connection_state */
    _Atomic int64_t deadline; /* when it is closed if nothing happens, on the clock of connection_now() */
    _Atomic int64_t looked;   /* when a worker last left a request or an answer half done, likewise */
    /* all below belong to who has claimed it */
    struct buffer in;        /* a request that has come in part */
    struct record_scan scan; /* how far that was looked at */
    struct buffer out;       /* what the peer has not taken yet */
    bool closing;            /* close it when `out` is written */
    bool discarding;         /* read and forget until the peer closes */
};

static int64_t
connection_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
connection_allow(struct connection *connection, int64_t milliseconds)
{
    atomic_store_explicit(&connection->deadline, connection_now() + milliseconds, memory_order_relaxed);
}

static bool
connection_expired(struct connection *connection)
{
    return atomic_load_explicit(&connection->deadline, memory_order_relaxed) <= connection_now();
}

/* ---- whose it is ---- */

/* For a worker. Returns whether it owns the connection now. If another worker does, that one will look again. */
static bool
connection_claim(struct connection *connection)
{
    int state = STATE_IDLE;

    while (!atomic_compare_exchange_weak(&connection->state, &state, STATE_CLAIMED)) {
        if (state == STATE_CLOSED || state == STATE_LOOK_AGAIN)
            return false;
        if (state == STATE_CLAIMED && atomic_compare_exchange_weak(&connection->state, &state, STATE_LOOK_AGAIN))
            return false;
        if (state == STATE_HELD)
            sched_yield();
        state = STATE_IDLE;
    }
    return true;
}

/* Returns whether it was given back. If not, something happened meanwhile, and the caller still owns it. */
static bool
connection_give_back(struct connection *connection)
{
    int state = STATE_CLAIMED;

    if (atomic_compare_exchange_strong(&connection->state, &state, STATE_IDLE))
        return true;
    atomic_store(&connection->state, STATE_CLAIMED);
    return false;
}

/* For the dispatcher's thread. Returns whether it has the connection to itself, until it lets go or closes it. */
static bool
connection_hold(struct connection *connection)
{
    int state = STATE_IDLE;

    return atomic_compare_exchange_strong(&connection->state, &state, STATE_HELD);
}

static void
connection_let_go(struct connection *connection)
{
    atomic_store(&connection->state, STATE_IDLE);
}

static void
connection_watch(struct connections *connections, int fd, uint32_t more)
{
    struct epoll_event event = {.events = CONNECTION_EVENTS | more, .data.fd = fd};

    if (epoll_ctl(connections->epoll, EPOLL_CTL_MOD, fd, &event) != 0)
        log_line(LEVEL_ERROR, NULL, "cannot watch a connection: %s", strerror(errno));
}

/* For its owner. The row is free for the next connection before the descriptor is. */
static void
connection_close(struct connections *connections, int fd)
{
    struct connection *connection = &connections->rows[fd];

    buffer_release(&connection->in);
    buffer_release(&connection->out);
    atomic_store(&connection->state, STATE_CLOSED);
    close(fd);
    if (atomic_fetch_sub(&connections->count, 1) == 1 && atomic_load(&connections->draining))
        eventfd_write(connections->emptied, 1);
}

/* ---- writing ---- */

/*
 * Send what there is without waiting. Returns the bytes sent, less than `len` when the socket is full, or -1 when
 * the peer has gone.
 */
static ssize_t
connection_send(int fd, const char *data, size_t len)
{
    size_t sent = 0;

    while (sent < len) {
        ssize_t count = send(fd, data + sent, len - sent, MSG_NOSIGNAL);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? (ssize_t)sent : -1;
        sent += (size_t)count;
    }
    return (ssize_t)sent;
}

/* Send an answer; what does not fit waits in `out`. Returns whether the connection lives on. */
static bool
connection_answer(struct connections *connections, int fd, const struct buffer *answer)
{
    struct connection *connection = &connections->rows[fd];
    ssize_t sent = connection_send(fd, answer->data, answer->len);

    if (sent < 0)
        return false;
    if ((size_t)sent == answer->len)
        return true;
    buffer_append(&connection->out, answer->data + sent, answer->len - (size_t)sent);
    if (connection->out.failed) {
        log_line(LEVEL_ERROR, NULL, "out of memory for an answer of %zu bytes", answer->len);
        return false;
    }
    connection_allow(connection, CONNECTION_ANSWER_MS);
    connection_watch(connections, fd, EPOLLOUT);
    return true;
}

/*
 * All is said, the peer may still be sending: end our side, and read on for a while. A close now would take the
 * answer from the peer with a reset.
 */
static void
connection_begin_discarding(struct connection *connection, int fd)
{
    shutdown(fd, SHUT_WR);
    connection_allow(connection, CONNECTION_REQUEST_MS);
}

/* Go on with an answer that waits. Returns whether the connection lives on. */
static bool
connection_flush(struct connections *connections, int fd)
{
    struct connection *connection = &connections->rows[fd];
    ssize_t sent = connection_send(fd, connection->out.data, connection->out.len);

    if (sent < 0)
        return false;
    buffer_drop(&connection->out, (size_t)sent);
    if (sent > 0)
        connection_allow(connection, CONNECTION_ANSWER_MS);
    if (connection->out.len > 0)
        return true;
    buffer_release(&connection->out);
    connection_allow(connection, connection->in.len > 0 ? CONNECTION_REQUEST_MS : CONNECTION_IDLE_MS);
    connection_watch(connections, fd, 0);
    if (connection->discarding)
        connection_begin_discarding(connection, fd);
    return true;
}

/* ---- reading ---- */

/* Answer what ends at `scan.offset` of `data`. Returns whether the connection lives on. */
static bool
connection_exchange(struct connections *connections, int fd, const char *data, enum record_verdict verdict,
                    struct worker *worker)
{
    struct connection *connection = &connections->rows[fd];
    bool keep;
    bool alive;

    worker->out.len = 0;
    keep = exchange_run(connections->service, connections->max_body, data, connection->scan.offset, &worker->out);
    if (verdict == RECORD_REQUEST)
        connection->closing = !keep;
    else if (verdict == RECORD_TOO_LARGE)
        connection->closing = connection->discarding = true;
    alive = connection_answer(connections, fd, &worker->out);
    if (worker->out.cap > CONNECTION_KEPT_BUFFER)
        buffer_release(&worker->out);
    if (connection->scan.offset > CONNECTION_KEPT_BUFFER)
        atomic_store_explicit(&connections->grown, true, memory_order_relaxed);
    return alive;
}

/*
 * Answer each whole request in `data`, until an answer has to wait or is the last. Sets how much of it is done
 * with. Returns whether the connection lives on.
 */
static bool
connection_consume(struct connections *connections, int fd, const char *data, size_t len, size_t *used,
                   struct worker *worker)
{
    struct connection *connection = &connections->rows[fd];
    enum record_verdict verdict;

    for (*used = 0; connection->out.len == 0 && !connection->closing;) {
        verdict = record_scan(&connection->scan, data + *used, len - *used, connections->max_body);
        if (verdict == RECORD_MORE)
            return true;
        if (verdict == RECORD_REFUSED) {
            log_line(LEVEL_WARNING, NULL, "closed a connection: %s", connection->scan.reason);
            return false;
        }
        if (!connection_exchange(connections, fd, data + *used, verdict, worker))
            return false;
        *used += connection->scan.offset;
        connection->scan = (struct record_scan){0};
    }
    return true;
}

/* Keep what is left of a request that has not come whole, and give it its time. Returns 0, or -1: no memory. */
static int
connection_keep_rest(struct connection *connection, const char *data, size_t len, size_t used)
{
    bool begun = connection->in.len > 0 && used == 0;

    if (data == connection->in.data)
        buffer_drop(&connection->in, used);
    else
        buffer_append(&connection->in, data + used, len - used);
    if (connection->in.failed)
        return -1;
    if (connection->in.len == 0)
        buffer_release(&connection->in);
    if (connection->out.len == 0 && !begun)
        connection_allow(connection, connection->in.len > 0 ? CONNECTION_REQUEST_MS : CONNECTION_IDLE_MS);
    return 0;
}

/*
 * Read once, behind what is there of a request already. Returns how many bytes of it there are now, at `data`; 0
 * when nothing has come; -1 when the connection is over. `drained`: nothing more is to be read now.
 */
static ssize_t
connection_receive(struct connection *connection, int fd, struct worker *worker, char **data, bool *drained)
{
    size_t had = connection->in.len;
    size_t room = sizeof worker->in;
    ssize_t count;

    if (had > 0 && buffer_reserve(&connection->in, room) != 0)
        return -1;
    *data = had > 0 ? connection->in.data : worker->in;
    do {
        count = recv(fd, *data + had, room, MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    *drained = count < (ssize_t)room;
    if (count < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    if (count == 0)
        return -1;
    if (had > 0)
        connection->in.len += (size_t)count;
    return (ssize_t)had + count;
}

/* Answer what is whole in `data`, keep the rest. Returns whether the connection lives on. */
static bool
connection_take(struct connections *connections, int fd, const char *data, size_t len, struct worker *worker)
{
    struct connection *connection = &connections->rows[fd];
    size_t used;

    if (connection->discarding) {
        connection->in.len = 0;
        return true;
    }
    if (!connection_consume(connections, fd, data, len, &used, worker) ||
        connection_keep_rest(connection, data, len, used) != 0)
        return false;
    if (connection->discarding && connection->out.len == 0)
        connection_begin_discarding(connection, fd);
    return true;
}

/*
 * All that can be done now. `to_the_end`: read until nothing is there; else a short read is taken for the end,
 * which spares a call (epoll(7): what comes later is a new event). Returns whether the connection lives on.
 */
static bool
connection_step(struct connections *connections, int fd, bool to_the_end, struct worker *worker)
{
    struct connection *connection = &connections->rows[fd];
    bool drained = false;

    if (connection->out.len > 0) {
        if (!connection_flush(connections, fd))
            return false;
        if (connection->out.len == 0 && connection->in.len > 0 &&
            !connection_take(connections, fd, connection->in.data, connection->in.len, worker))
            return false;
    }
    while (connection->out.len == 0 && (to_the_end || !drained)) {
        char *data;
        ssize_t len;

        if (connection->closing && !connection->discarding)
            return false;
        if (connection->discarding && connection_expired(connection))
            return false; /* it may send for ever */
        if ((len = connection_receive(connection, fd, worker, &data, &drained)) < 0)
            return false;
        if (!drained && !connection->discarding) /* the peer sends faster than we read */
            connection_allow(connection, CONNECTION_REQUEST_MS);
        if (len == 0)
            break;
        if (!connection_take(connections, fd, data, (size_t)len, worker))
            return false;
    }
    if (connection->out.len > 0 || connection->in.len > 0 || connection->discarding)
        return true;
    return !connection->closing && !atomic_load(&connections->draining);
}

void
connection_serve(struct connections *connections, int fd, uint32_t events, struct worker *worker)
{
    struct connection *connection = &connections->rows[fd];
    bool to_the_end = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

    if (!connection_claim(connection))
        return;
    do {
        if (!connection_step(connections, fd, to_the_end, worker)) {
            connection_close(connections, fd);
            return;
        }
        if (connection->in.len > 0 || connection->out.len > 0)
            atomic_store_explicit(&connection->looked, connection_now(), memory_order_relaxed);
        to_the_end = true; /* whatever comes between is one of two events, or both */
    } while (!connection_give_back(connection));
}

/* ---- the table ---- */

int
connections_open(struct connections *connections, const struct service *service, size_t max_body, int limit)
{
    *connections = (struct connections){
        .service = service,
        .max_body = max_body,
        .epoll = epoll_create1(EPOLL_CLOEXEC),
        .emptied = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .limit = limit,
        .rows = calloc((size_t)limit, sizeof *connections->rows),
    };
    if (connections->epoll >= 0 && connections->emptied >= 0 && connections->rows != NULL)
        return 0;
    connections_close(connections);
    return -1;
}

void
connections_close(struct connections *connections)
{
    for (int fd = 0; connections->rows != NULL && fd <= connections->highest; fd++)
        if (atomic_load(&connections->rows[fd].state) != STATE_CLOSED)
            connection_close(connections, fd);
    free(connections->rows);
    if (connections->epoll >= 0)
        close(connections->epoll);
    if (connections->emptied >= 0)
        close(connections->emptied);
}

int
connection_add(struct connections *connections, int fd)
{
    struct epoll_event event = {.events = CONNECTION_EVENTS, .data.fd = fd};
    struct connection *connection;

    if (fd >= connections->limit) {
        close(fd);
        errno = EMFILE;
        return -1;
    }
    connection = &connections->rows[fd];
    atomic_exchange(&connection->state, STATE_HELD); /* not a store: it is to see all that the last owner wrote */
    connection->scan = (struct record_scan){0};
    connection->closing = connection->discarding = false;
    connection_allow(connection, CONNECTION_IDLE_MS);
    atomic_store_explicit(&connection->looked, 0, memory_order_relaxed);
    if (fd > connections->highest)
        connections->highest = fd;
    atomic_fetch_add(&connections->count, 1);
    if (epoll_ctl(connections->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        int failed = errno;

        connection_close(connections, fd);
        errno = failed;
        return -1;
    }
    connection_let_go(connection);
    return 0;
}

/* Whether there is something to read, and it would be read. */
static bool
connection_has_unread(struct connection *connection, int fd)
{
    char byte;

    return connection->out.len == 0 && !connection->discarding && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/*
 * Whether the peer has sent, or has room for more of the answer, and no worker has come for it. One that sends by
 * drops is looked at for each.
 */
static bool
connection_waits_for_us(struct connection *connection, int fd)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};

    if (connection_now() - atomic_load_explicit(&connection->looked, memory_order_relaxed) < CONNECTION_LATE_MS)
        return false;
    if (connection->out.len > 0)
        return poll(&room, 1, 0) == 1 && room.revents == POLLOUT;
    return connection_has_unread(connection, fd);
}

/* Whether it may be closed now: the peer's time is over, or nothing is under way while draining. */
static bool
connection_is_over(struct connections *connections, int fd)
{
    struct connection *connection = &connections->rows[fd];

    if (!connection_expired(connection))
        return atomic_load(&connections->draining) && connection->in.len == 0 && connection->out.len == 0 &&
               !connection->discarding && !connection_has_unread(connection, fd);
    if (!connection_waits_for_us(connection, fd))
        return true;
    connection_allow(connection, connection->out.len > 0 ? CONNECTION_ANSWER_MS : CONNECTION_REQUEST_MS);
    return false;
}

/*
 * Give the system the memory that large bodies took, once none has come for a sweep: a page given back and taken
 * again costs more than all that is done with its bytes. malloc_trim also finds what lies between small holes.
 */
static void
connections_trim(struct connections *connections)
{
    if (atomic_exchange_explicit(&connections->grown, false, memory_order_relaxed)) {
        connections->to_trim = true;
    } else if (connections->to_trim) {
        malloc_trim(0);
        connections->to_trim = false;
    }
}

void
connections_sweep(struct connections *connections)
{
    connections_trim(connections);
    for (int fd = 0; fd <= connections->highest; fd++) {
        struct connection *connection = &connections->rows[fd];

        if (atomic_load_explicit(&connection->state, memory_order_relaxed) == STATE_CLOSED)
            continue;
        if (!connection_expired(connection) && !atomic_load(&connections->draining))
            continue;
        if (!connection_hold(connection))
            continue;
        if (connection_is_over(connections, fd))
            connection_close(connections, fd);
        else
            connection_let_go(connection);
    }
}
