/*
 * Taking connections in, and the sweep: each deadline that has passed ends in a close, or in a worker being woken.
 */
#include "table.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TABLE_TRIM = 1024 * 1024 }; /* bytes given back for which memory is trimmed */

/* Milliseconds. */
enum {
    TABLE_LATE_MS = 1000,  /* what no worker has looked at for so long is our delay and not the peer's, */
    TABLE_GRACE_MS = 5000, /* for which it gets so much more */
};

int
table_open(struct table *table, const struct service *service, size_t max_body, size_t room, int limit)
{
    *table = (struct table){
        .service = service,
        .max_body = max_body,
        .room = {.limit = room, .freed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)},
        .epoll = epoll_create1(EPOLL_CLOEXEC),
        .emptied = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .limit = limit,
        .rows = calloc((size_t)limit, sizeof *table->rows),
    };
    if (table->epoll >= 0 && table->emptied >= 0 && table->room.freed >= 0 && table->rows != NULL)
        return 0;
    table_close(table);
    return -1;
}

static void
close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

void
table_close(struct table *table)
{
    for (int fd = 0; table->rows != NULL && fd <= table->highest; fd++)
        if (!claim_is_free(&table->rows[fd].claim))
            connection_close(&table->rows[fd]);
    free(table->rows);
    close_if_open(table->epoll);
    close_if_open(table->emptied);
    close_if_open(table->room.freed);
}

struct connection *
table_connection(struct table *table, int fd)
{
    return &table->rows[fd];
}

int
table_add(struct table *table, int fd)
{
    struct epoll_event event = {.events = connection_events(), .data.fd = fd};
    struct connection *connection;

    if (fd >= table->limit) {
        close(fd);
        errno = EMFILE;
        return -1;
    }
    connection = &table->rows[fd];
    claim_make(&connection->claim);
    connection->table = table;
    connection->fd = fd;
    connection_start(connection);
    if (fd > table->highest)
        table->highest = fd;
    atomic_fetch_add(&table->count, 1);
    if (epoll_ctl(table->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        int failed = errno;

        connection_close(connection);
        errno = failed;
        return -1;
    }
    claim_let_go(&connection->claim);
    return 0;
}

/* ---- the sweep ---- */

static bool
has_unread(const struct connection *connection)
{
    char byte;

    return connection->unread.len > 0 || recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static bool
has_room_to_send(const struct connection *connection)
{
    struct pollfd room = {.fd = connection->fd, .events = POLLOUT};

    return poll(&room, 1, 0) == 1 && room.revents == POLLOUT;
}

/*
 * Whether there is something for a worker to do, and none has come for it. A peer that sends by drops is looked at
 * for each. What waits for room is told by a worker that there is none.
 */
static bool
waits_for_us(struct connection *connection)
{
    if (connection->doing == CONNECTION_WAITING)
        return true;
    if (connection_now() - atomic_load_explicit(&connection->looked, memory_order_relaxed) < TABLE_LATE_MS)
        return false;
    switch (connection->doing) {
    case CONNECTION_READING:
        return has_unread(connection);
    case CONNECTION_LINGERING:
        return false;
    default:
        return has_room_to_send(connection);
    }
}

static bool
is_idle(const struct connection *connection)
{
    return connection->doing == CONNECTION_READING && !record_has_begun(&connection->request) &&
           !has_unread(connection);
}

/* Whether it may be closed now. If its time is over through our own fault, it gets a moment more, and a worker. */
static bool
is_over(struct connection *connection)
{
    if (!connection_has_expired(connection))
        return atomic_load(&connection->table->draining) && is_idle(connection);
    if (!waits_for_us(connection))
        return true;
    if (connection->doing != CONNECTION_WAITING) /* there the worker is to see that the time is over */
        connection_set_deadline(connection, TABLE_GRACE_MS);
    connection_watch(connection, connection->out.len > 0 ? EPOLLOUT : 0);
    return false;
}

/*
 * Give the system the memory that bodies took, once none has gone for a sweep: a page given back and taken again
 * costs more than all that is done with its bytes. malloc_trim also finds what lies between small holes.
 */
static void
table_trim(struct table *table)
{
    size_t released = atomic_load_explicit(&table->released, memory_order_relaxed);

    if (released == table->swept && released - table->trimmed >= TABLE_TRIM) {
        malloc_trim(0);
        table->trimmed = released;
    }
    table->swept = released;
}

/* Whether it is idle, and has been for longer than `longest`, if there is one. */
static bool
is_longer_idle(struct connection *connection, struct connection *longest)
{
    return is_idle(connection) &&
           (longest == NULL || atomic_load_explicit(&connection->deadline, memory_order_relaxed) <
                                   atomic_load_explicit(&longest->deadline, memory_order_relaxed));
}

/* Holds the one that it has found so far, so that no worker takes it meanwhile. */
bool
table_close_idle(struct table *table)
{
    struct connection *longest = NULL;

    for (int fd = 0; fd <= table->highest; fd++) {
        struct connection *connection = &table->rows[fd];

        if (claim_is_free(&connection->claim) || !claim_hold(&connection->claim))
            continue;
        if (!is_longer_idle(connection, longest)) {
            claim_let_go(&connection->claim);
            continue;
        }
        if (longest != NULL)
            claim_let_go(&longest->claim);
        longest = connection;
    }
    if (longest != NULL)
        connection_close(longest);
    return longest != NULL;
}

void
table_sweep(struct table *table)
{
    table_trim(table);
    for (int fd = 0; fd <= table->highest; fd++) {
        struct connection *connection = &table->rows[fd];

        if (claim_is_free(&connection->claim))
            continue;
        if (!connection_has_expired(connection) && !atomic_load(&table->draining))
            continue;
        if (!claim_hold(&connection->claim))
            continue;
        if (is_over(connection))
            connection_close(connection);
        else
            claim_let_go(&connection->claim);
    }
}

/* A worker that has it just now looks again. */
static void
wake_waiting(struct connection *connection)
{
    if (!claim_take(&connection->claim))
        return;
    do {
        connection_watch(connection, 0);
    } while (!claim_give_back(&connection->claim));
}

void
table_wake_waiting(struct table *table)
{
    for (int fd = 0; fd <= table->highest; fd++)
        if (atomic_load(&table->rows[fd].waits_for_room))
            wake_waiting(&table->rows[fd]);
}
