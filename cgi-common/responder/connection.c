/*
 * A connection's life: read what is there, answer each whole request, write what the peer takes, never wait.
 */
#include "connection.h"

#include "log.h"
#include "table.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* How long a peer may take, in milliseconds. Web servers keep an idle connection for 60 s, so they close first. */
enum {
    CONNECTION_IDLE_MS = 75 * 1000,
    CONNECTION_REQUEST_MS = 5 * 1000,    /* from a request's first byte to its last, or for 64 KiB of it */
    CONNECTION_ROOM_MS = 3 * 1000,       /* to wait for room while no large request is answered, */
    CONNECTION_ROOM_MOST_MS = 20 * 1000, /* and in all */
    CONNECTION_ANSWER_MS = 10 * 1000,    /* to take as much of an answer as the socket's buffer holds */
};

enum {
    CONNECTION_TIMED = 64 * 1024,        /* bytes of a request for which it is given time */
    CONNECTION_KEPT_BUFFER = 256 * 1024, /* a thread's buffer that has grown beyond is given back */
    CONNECTION_CAREFUL = 4 * 1024,       /* bytes received at once where room is tight */
    CONNECTION_TURNS = 16,               /* reads in a row, before other connections have their turn */
};

/* Where a step has led. */
enum step {
    STEP_ON,   /* there may be more to do */
    STEP_REST, /* nothing to do until something happens */
    STEP_OVER, /* the connection is to be closed */
};

/* ---- time ---- */

int64_t
connection_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
connection_set_deadline(struct connection *connection, int64_t milliseconds)
{
    atomic_store_explicit(&connection->deadline, connection_now() + milliseconds, memory_order_relaxed);
}

bool
connection_has_expired(struct connection *connection)
{
    return atomic_load_explicit(&connection->deadline, memory_order_relaxed) <= connection_now();
}

/* A request goes on: its peer has its time from the first byte, and again for each 64 KiB. */
static void
connection_give_time(struct connection *connection)
{
    size_t come = connection->request.params.len + connection->request.body.len + 1;

    if (connection->timed > 0 && come - connection->timed < CONNECTION_TIMED)
        return;
    connection->timed = come;
    connection_set_deadline(connection, CONNECTION_REQUEST_MS);
}

/* ---- memory ---- */

/* Bytes that it holds. */
static size_t
connection_holds(const struct connection *connection)
{
    return connection->request.values.cap + connection->request.params.cap + connection->request.body.cap +
           connection->unread.cap + connection->out.cap;
}

/* And those that its request will take, which are charged for before they come. */
static size_t
connection_needs(const struct connection *connection)
{
    size_t expected = connection->request.body_expected;
    size_t has = connection->request.body.cap;

    if (expected <= has || expected > connection->table->max_body)
        return connection_holds(connection);
    return connection_holds(connection) +
           (expected > 2 * has ? expected - has : has); /* as buffer_reserve() grows */
}

static bool
connection_charge(struct connection *connection, size_t bytes)
{
    return room_charge(&connection->table->room, &connection->charged, bytes);
}

static void
connection_release_buffer(struct connection *connection, struct buffer *buffer)
{
    if (buffer->cap > 0)
        atomic_fetch_add_explicit(&connection->table->released, buffer->cap, memory_order_relaxed);
    buffer_release(buffer);
}

/* A thread keeps a buffer for its next request, unless it has one or this one has grown large. */
static void
connection_return_buffer(struct connection *connection, struct buffer *buffer, struct buffer *spare)
{
    if (spare->cap == 0 && buffer->cap <= CONNECTION_KEPT_BUFFER && !buffer->failed) {
        *spare = *buffer;
        spare->len = 0;
        *buffer = (struct buffer){0};
    } else {
        connection_release_buffer(connection, buffer);
    }
}

/* A request that comes whole uses its thread's buffers; the connection keeps those of one that does not. */
static void
connection_lend_buffers(struct connection *connection, struct worker *worker)
{
    if (connection->request.params.cap > 0 || connection->request.body.cap > 0)
        return;
    connection->request.params = worker->spare.params;
    connection->request.body = worker->spare.body;
    worker->spare = (struct record_request){0};
}

static void
connection_return_buffers(struct connection *connection, struct worker *worker)
{
    connection_return_buffer(connection, &connection->request.params, &worker->spare.params);
    connection_return_buffer(connection, &connection->request.body, &worker->spare.body);
}

static void
connection_stop_waiting(struct connection *connection)
{
    if (atomic_exchange(&connection->waits_for_room, false))
        atomic_fetch_sub(&connection->table->room.waiting, 1);
}

/* ---- the row ---- */

uint32_t
connection_events(void)
{
    return EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET;
}

void
connection_watch(const struct connection *connection, uint32_t more)
{
    struct epoll_event event = {.events = connection_events() | more, .data.fd = connection->fd};

    if (epoll_ctl(connection->table->epoll, EPOLL_CTL_MOD, connection->fd, &event) != 0)
        log_line(LEVEL_ERROR, NULL, "cannot watch a connection: %s", strerror(errno));
}

void
connection_start(struct connection *connection)
{
    connection->doing = CONNECTION_READING;
    connection->timed = 0;
    connection_set_deadline(connection, CONNECTION_IDLE_MS);
    atomic_store_explicit(&connection->looked, 0, memory_order_relaxed);
}

/* The row is free for the next connection before the descriptor is. */
void
connection_close(struct connection *connection)
{
    struct table *table = connection->table;
    int fd = connection->fd;

    connection_stop_waiting(connection);
    connection_release_buffer(connection, &connection->request.params);
    connection_release_buffer(connection, &connection->request.body);
    record_release(&connection->request);
    connection_release_buffer(connection, &connection->unread);
    connection_release_buffer(connection, &connection->out);
    room_discharge(&table->room, &connection->charged);
    claim_end(&connection->claim);
    close(fd);
    if (atomic_fetch_sub(&table->count, 1) == 1 && atomic_load(&table->draining))
        eventfd_write(table->emptied, 1);
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

/*
 * The answer is sent. A connection that ends while its peer may still be sending ends our side only, and reads on
 * for a while: a close would take the answer from the peer with a reset. An answer to a question within a request
 * gives that request no more time.
 */
static enum step
connection_have_answered(struct connection *connection)
{
    switch (connection->doing) {
    case CONNECTION_CLOSING:
        return STEP_OVER;
    case CONNECTION_ENDING:
        connection->doing = CONNECTION_LINGERING;
        shutdown(connection->fd, SHUT_WR);
        connection_set_deadline(connection, CONNECTION_REQUEST_MS);
        return STEP_ON;
    default:
        connection->doing = CONNECTION_READING;
        if (record_has_begun(&connection->request)) {
            connection_give_time(connection);
        } else {
            connection->timed = 0;
            connection_set_deadline(connection, CONNECTION_IDLE_MS);
        }
        return STEP_ON;
    }
}

/*
 * The socket has not taken all: the rest waits, in the buffer that it is in, since a part of an answer is out
 * already and no memory may be wanted any more.
 */
static enum step
connection_keep_answer(struct connection *connection, struct buffer *answer, size_t sent)
{
    connection->out = *answer;
    connection->sent = sent;
    *answer = (struct buffer){0};
    buffer_trim(&connection->out);
    if (!connection_charge(connection, connection_holds(connection))) {
        log_line(LEVEL_ERROR, NULL,
                 "closed a connection: no room for %zu bytes of an answer that its peer does not take",
                 connection->out.len - sent);
        return STEP_OVER;
    }
    connection_set_deadline(connection, CONNECTION_ANSWER_MS);
    connection_watch(connection, EPOLLOUT);
    return STEP_REST;
}

/* Send an answer, and go on as `doing` says: CONNECTION_ANSWERING, _CLOSING or _ENDING. */
static enum step
connection_answer(struct connection *connection, struct buffer *answer, enum connection_doing doing)
{
    ssize_t sent = connection_send(connection->fd, answer->data, answer->len);

    connection->doing = doing;
    if (sent < 0)
        return STEP_OVER;
    if ((size_t)sent == answer->len)
        return connection_have_answered(connection);
    return connection_keep_answer(connection, answer, (size_t)sent);
}

/* Go on with an answer that waits. */
static enum step
connection_flush(struct connection *connection)
{
    ssize_t sent = connection_send(connection->fd, connection->out.data + connection->sent,
                                   connection->out.len - connection->sent);

    if (sent < 0)
        return STEP_OVER;
    connection->sent += (size_t)sent;
    if (sent > 0)
        connection_set_deadline(connection, CONNECTION_ANSWER_MS);
    if (connection->sent < connection->out.len)
        return STEP_REST;
    connection_release_buffer(connection, &connection->out);
    connection_watch(connection, 0);
    connection_set_deadline(connection,
                            CONNECTION_REQUEST_MS); /* of a request that has begun: it could not go on */
    return connection_have_answered(connection);
}

/* ---- answering ---- */

/* An answer may be larger than the request that it is for; then there must be room for it before a byte is sent. */
static bool
connection_has_room(void *owner, size_t len)
{
    struct connection *connection = owner;

    return len <= ROOM_SMALL || len <= connection->charged || connection_charge(connection, len);
}

static bool
connection_exchange(struct connection *connection, enum exchange_kind kind, struct worker *worker)
{
    struct table *table = connection->table;

    worker->out.len = 0;
    worker->exchange.has_room = connection_has_room;
    worker->exchange.owner = connection;
    return exchange_run(&worker->exchange, table->service, table->max_body, &connection->request, kind,
                        &worker->out);
}

/* Send what an exchange has given. */
static enum step
connection_send_exchange(struct connection *connection, enum connection_doing doing, struct worker *worker)
{
    enum step step;

    record_next(&connection->request);
    connection_return_buffers(connection, worker);
    if (worker->out.failed) {
        log_line(LEVEL_ERROR, NULL, "closed a connection: out of memory for an answer");
        step = STEP_OVER;
    } else {
        step = connection_answer(connection, &worker->out, doing);
    }
    if (worker->out.failed || worker->out.cap > CONNECTION_KEPT_BUFFER)
        connection_release_buffer(connection, &worker->out);
    if (connection->charged > 0 && !connection_charge(connection, connection_holds(connection)))
        return STEP_OVER;
    return step;
}

/* Say no to a request that has not come whole; the rest of it is read and forgotten. */
static enum step
connection_refuse(struct connection *connection, enum exchange_kind kind, struct worker *worker)
{
    connection_stop_waiting(connection);
    buffer_release(&connection->unread);
    if (!connection->request.params_ended) {
        log_line(LEVEL_ERROR, NULL, "closed a connection: no memory for the params of a request");
        return STEP_OVER;
    }
    connection_exchange(connection, kind, worker);
    return connection_send_exchange(connection, CONNECTION_ENDING, worker);
}

static enum step
connection_serve_request(struct connection *connection, bool is_last_read, struct worker *worker)
{
    bool keep = connection_exchange(connection, EXCHANGE_SERVE, worker);

    if (connection->charged > ROOM_SMALL)
        atomic_store(&connection->table->room.served_at, connection_now());
    return connection_send_exchange(connection,
                                    keep           ? CONNECTION_ANSWERING
                                    : is_last_read ? CONNECTION_CLOSING
                                                   : CONNECTION_ENDING,
                                    worker);
}

/* ---- room ---- */

/* Returns whether there is room, and memory, for all of the request that has begun. */
static bool
connection_admit(struct connection *connection)
{
    struct record_request *request = &connection->request;
    size_t needs = connection_needs(connection);

    if (needs <= ROOM_SMALL || needs <= connection->charged)
        return true;
    if (!connection_charge(connection, needs))
        return false;
    if (request->body_expected > request->body.len && request->body_expected <= connection->table->max_body)
        return buffer_reserve(&request->body, request->body_expected - request->body.len) == 0;
    return true;
}

/* The next step asks for room once more: some may have been freed before this was counted. */
static enum step
connection_begin_waiting(struct connection *connection)
{
    connection->doing = CONNECTION_WAITING;
    connection->waits_until = connection_now() + CONNECTION_ROOM_MOST_MS;
    connection_set_deadline(connection, CONNECTION_ROOM_MS);
    atomic_store(&connection->waits_for_room, true);
    atomic_fetch_add(&connection->table->room.waiting, 1);
    return STEP_ON;
}

/* Whether its wait is over. It goes on while large requests are answered: its turn comes nearer. */
static bool
connection_has_waited(struct connection *connection)
{
    int64_t now = connection_now();

    if (!connection_has_expired(connection))
        return false;
    if (now - atomic_load(&connection->table->room.served_at) >= CONNECTION_ROOM_MS ||
        now >= connection->waits_until)
        return true;
    connection_set_deadline(connection, CONNECTION_ROOM_MS);
    return false;
}

static bool
connection_peer_has_gone(const struct connection *connection)
{
    struct pollfd peer = {.fd = connection->fd};

    return poll(&peer, 1, 0) > 0; /* POLLHUP and POLLERR are told without being asked for */
}

static enum step
connection_wait(struct connection *connection, struct worker *worker)
{
    if (connection_peer_has_gone(connection))
        return STEP_OVER;
    if (connection_admit(connection)) {
        connection_stop_waiting(connection);
        connection->doing = CONNECTION_READING;
        connection_set_deadline(connection, CONNECTION_REQUEST_MS);
        return STEP_ON;
    }
    if (connection->request.body.failed || connection_has_waited(connection))
        return connection_refuse(connection, EXCHANGE_UNAVAILABLE, worker);
    return STEP_REST;
}

/* ---- reading ---- */

/* Do what the bytes read so far ask for. */
static enum step
connection_act(struct connection *connection, enum record_verdict verdict, bool is_last_read, struct worker *worker)
{
    switch (verdict) {
    case RECORD_REQUEST:
        return connection_serve_request(connection, is_last_read, worker);
    case RECORD_ANSWER:
        return worker->out.failed ? STEP_OVER : connection_answer(connection, &worker->out, CONNECTION_ANSWERING);
    case RECORD_TOO_LARGE:
        return connection_refuse(connection, EXCHANGE_TOO_LARGE, worker);
    case RECORD_NO_MEMORY:
        return connection_refuse(connection, EXCHANGE_UNAVAILABLE, worker);
    case RECORD_REFUSED:
        log_line(LEVEL_WARNING, NULL, "closed a connection: %s", connection->request.reason);
        record_release(&connection->request);
        return worker->out.len > 0 ? connection_answer(connection, &worker->out, CONNECTION_ENDING) : STEP_OVER;
    default:
        return STEP_ON;
    }
}

/* A request has come in part. */
static enum step
connection_go_on(struct connection *connection, struct worker *worker)
{
    if (!record_has_begun(&connection->request))
        return STEP_ON;
    connection_give_time(connection);
    if (connection_admit(connection))
        return STEP_ON;
    if (connection->request.body.failed)
        return connection_refuse(connection, EXCHANGE_UNAVAILABLE, worker);
    return connection_begin_waiting(connection);
}

/* Read `len` bytes; what stands behind a request whose answer has to wait is kept. */
static enum step
connection_read(struct connection *connection, const char *data, size_t len, struct worker *worker)
{
    enum step step = STEP_ON;
    size_t used = 0;

    connection_lend_buffers(connection, worker);
    while (step != STEP_OVER && connection->doing == CONNECTION_READING && used < len) {
        size_t count;
        enum record_verdict verdict;

        worker->out.len = 0;
        verdict = record_read(&connection->request, data + used, len - used, &count, connection->table->max_body,
                              &worker->out);
        used += count;
        step = verdict == RECORD_MORE ? connection_go_on(connection, worker)
                                      : connection_act(connection, verdict, used == len, worker);
    }
    if (connection->doing == CONNECTION_ANSWERING)
        buffer_append(&connection->unread, data + used, len - used);
    if (!connection->unread.failed)
        return step;
    log_line(LEVEL_ERROR, NULL, "closed a connection: out of memory for %zu bytes of its next request", len - used);
    return STEP_OVER;
}

/* What had to wait for an answer to be taken. */
static enum step
connection_read_unread(struct connection *connection, struct worker *worker)
{
    struct buffer unread = connection->unread;
    enum step step;

    connection->unread = (struct buffer){0};
    step = connection_read(connection, unread.data, unread.len, worker);
    buffer_release(&unread);
    return step;
}

/*
 * Receive once. Returns how many bytes came, 0 when there are none at the moment; -1 when the connection is over.
 * `cut`: more may be there although fewer came than asked for, since something else stands between them.
 */
static ssize_t
connection_receive(const struct connection *connection, char *to, size_t size, bool *cut)
{
    struct iovec part = {to, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t count;

    do {
        count = recvmsg(connection->fd, &message, MSG_DONTWAIT);
    } while (count < 0 && errno == EINTR);
    *cut = (message.msg_flags & MSG_CTRUNC) != 0; /* descriptors were passed; the kernel has closed them */
    if (count < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    return count == 0 ? -1 : count;
}

/*
 * Receive and read. Behind a whole request a short read is taken for the end, which spares a call (epoll(7): what
 * comes later is a new event), unless `to_the_end`; within a request it never is.
 */
static enum step
connection_receive_and_read(struct connection *connection, bool to_the_end, struct worker *worker)
{
    bool is_careful = connection->charged == 0 && room_is_tight(&connection->table->room);
    size_t size = is_careful ? CONNECTION_CAREFUL : sizeof worker->in;
    bool cut;
    ssize_t count = connection_receive(connection, worker->in, size, &cut);
    enum step step;

    if (count <= 0)
        return count < 0 ? STEP_OVER : STEP_REST;
    step = connection_read(connection, worker->in, (size_t)count, worker);
    if (step != STEP_ON || connection->doing != CONNECTION_READING)
        return step;
    return to_the_end || cut || (size_t)count == size || record_has_begun(&connection->request) ? STEP_ON
                                                                                                : STEP_REST;
}

static enum step
connection_linger(struct connection *connection, struct worker *worker)
{
    bool cut;
    ssize_t count = connection_receive(connection, worker->in, sizeof worker->in, &cut);

    if (count < 0 || connection_has_expired(connection)) /* it may send for ever */
        return STEP_OVER;
    return count == 0 ? STEP_REST : STEP_ON;
}

/* ---- serving ---- */

static enum step
connection_step(struct connection *connection, bool to_the_end, struct worker *worker)
{
    switch (connection->doing) {
    case CONNECTION_READING:
        return connection->unread.len > 0 ? connection_read_unread(connection, worker)
                                          : connection_receive_and_read(connection, to_the_end, worker);
    case CONNECTION_WAITING:
        return connection_wait(connection, worker);
    case CONNECTION_LINGERING:
        return connection_linger(connection, worker);
    default:
        return connection_flush(connection);
    }
}

/* Leave it until the next event. Returns whether it lives on. */
static bool
connection_settle(struct connection *connection, struct worker *worker)
{
    bool is_idle = connection->doing == CONNECTION_READING && !record_has_begun(&connection->request) &&
                   connection->unread.len == 0;

    if (is_idle) {
        connection_return_buffers(connection, worker);
        return !atomic_load(&connection->table->draining);
    }
    atomic_store_explicit(&connection->looked, connection_now(), memory_order_relaxed);
    if (connection->charged >= connection_holds(connection) ||
        connection_charge(connection, connection_holds(connection)))
        return true;
    if (connection->doing == CONNECTION_READING || connection->doing == CONNECTION_WAITING)
        return connection_refuse(connection, EXCHANGE_UNAVAILABLE, worker) != STEP_OVER;
    log_line(LEVEL_ERROR, NULL, "closed a connection: no room for what its peer sent behind a request");
    return false;
}

/* All that can be done now. Returns whether the connection lives on. */
static bool
connection_work(struct connection *connection, bool to_the_end, struct worker *worker)
{
    enum step step = STEP_ON;

    for (int turn = 0; step == STEP_ON && turn < CONNECTION_TURNS; turn++)
        step = connection_step(connection, to_the_end, worker);
    if (step == STEP_OVER || !connection_settle(connection, worker))
        return false;
    if (step == STEP_ON)
        connection_watch(connection, connection->out.len > 0 ? EPOLLOUT : 0);
    return true;
}

void
connection_serve(struct connection *connection, uint32_t events, struct worker *worker)
{
    bool to_the_end = (events & ~(uint32_t)(EPOLLIN | EPOLLOUT)) != 0;

    if (!claim_take(&connection->claim))
        return;
    do {
        if (!connection_work(connection, to_the_end, worker)) {
            connection_close(connection);
            return;
        }
        to_the_end = true; /* whatever comes between is one of two events, or both */
    } while (!claim_give_back(&connection->claim));
}

/* ---- workers ---- */

struct worker *
worker_new(void)
{
    return calloc(1, sizeof(struct worker));
}

void
worker_free(struct worker *worker)
{
    exchange_release(&worker->exchange);
    buffer_release(&worker->out);
    record_release(&worker->spare);
    free(worker);
}
