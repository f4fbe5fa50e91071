/*
 * The dispatcher's own thread accepts, sweeps and waits for signals; it never reads a request, so that no request
 * can hold it up. The workers wait on the table's epoll, one event each, and do the work.
 */
#include "dispatcher.h"

#include "acceptor.h"
#include "connection.h"
#include "counters.h"
#include "exchange.h"
#include "log.h"
#include "sandbox.h"
#include "status.h"
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    DISPATCHER_MAX_DESCRIPTORS = 65536, /* a row each in the table of connections */
    DISPATCHER_DRAIN_MS = 20 * 1000,    /* who started the process kills it some time after a signal */
};

struct dispatcher {
    struct table table;
    struct acceptor acceptor;
    int signals; /* signalfd */
    int stop;    /* eventfd: told when the workers are to end */
    int epoll;   /* of the dispatcher's own thread */
    pthread_t *threads;
    int thread_count;
};

/* ---- the workers ---- */

/*
 * A worker that a peer wakes waits for the processor until the peer has sent all it has to send: so it finds
 * several requests instead of one, and both are interrupted less. Takes a third off what a request costs; needs no
 * right.
 */
static void
dispatcher_yield_to_peers(void)
{
    struct sched_param parameters = {0};

    if (sched_setscheduler(0, SCHED_BATCH, &parameters) != 0) /* 0: this thread */
        log_line(LEVEL_WARNING, NULL, "cannot be scheduled as SCHED_BATCH: %s", strerror(errno));
}

static void *
dispatcher_work(void *argument)
{
    struct dispatcher *dispatcher = argument;
    struct worker *worker = worker_new();
    struct epoll_event event;

    if (worker == NULL) {
        log_line(LEVEL_ERROR, NULL, "out of memory for a worker thread");
        abort(); /* whoever started this process starts another */
    }
    dispatcher_yield_to_peers();
    counters_join();
    for (;;) {
        /* One event at a time: a slow handler must not sit on others' events. */
        if (epoll_wait(dispatcher->table.epoll, &event, 1, -1) < 1)
            continue;
        if (event.data.fd == dispatcher->stop)
            break;
        connection_serve(table_connection(&dispatcher->table, event.data.fd), event.events, worker);
    }
    worker_free(worker);
    return NULL;
}

/* Returns 0, or -1 after logging; those that did start are counted in either case. */
static int
dispatcher_start_workers(struct dispatcher *dispatcher, int count)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = dispatcher->stop};

    if ((dispatcher->threads = calloc((size_t)count, sizeof *dispatcher->threads)) == NULL ||
        epoll_ctl(dispatcher->table.epoll, EPOLL_CTL_ADD, dispatcher->stop, &event) != 0) {
        log_line(LEVEL_ERROR, NULL, "cannot set up %d threads: %s", count, strerror(errno));
        return -1;
    }
    while (dispatcher->thread_count < count) {
        int failed =
            pthread_create(&dispatcher->threads[dispatcher->thread_count], NULL, dispatcher_work, dispatcher);

        if (failed != 0) {
            log_line(LEVEL_ERROR, NULL, "cannot start thread %d of %d: %s; lower THREADS",
                     dispatcher->thread_count + 1, count, strerror(failed));
            return -1;
        }
        dispatcher->thread_count++;
    }
    return 0;
}

static void
dispatcher_stop_workers(struct dispatcher *dispatcher)
{
    eventfd_write(dispatcher->stop, 1);
    for (int i = 0; i < dispatcher->thread_count; i++)
        pthread_join(dispatcher->threads[i], NULL);
    free(dispatcher->threads);
}

/* ---- its own thread ---- */

/* Returns when a signal says to drain. */
static void
dispatcher_serve(struct dispatcher *dispatcher)
{
    uint32_t events;

    while (acceptor_wait(&dispatcher->acceptor, &events) != dispatcher->signals)
        continue;
}

/* Returns whether all connections were closed in time. */
static bool
dispatcher_drain(struct dispatcher *dispatcher)
{
    int64_t end = connection_now() + DISPATCHER_DRAIN_MS;
    uint32_t events;

    log_line(LEVEL_INFO, NULL, "draining %d connections", atomic_load(&dispatcher->table.count));
    epoll_ctl(dispatcher->epoll, EPOLL_CTL_DEL, dispatcher->signals, NULL);
    atomic_store(&dispatcher->table.draining, true);
    /* The socket itself lives on where it was opened: whoever connects now waits for the next process. */
    acceptor_stop_accepting(&dispatcher->acceptor);
    table_sweep(&dispatcher->table);
    while (atomic_load(&dispatcher->table.count) > 0) {
        if (connection_now() >= end)
            return false;
        acceptor_wait(&dispatcher->acceptor, &events);
    }
    return true;
}

/* ---- start ---- */

/* Use all the descriptors that the process may have. Returns how many, at most one for each row. */
static int
dispatcher_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    if (limit.rlim_max > DISPATCHER_MAX_DESCRIPTORS)
        limit.rlim_max = DISPATCHER_MAX_DESCRIPTORS;
    if (limit.rlim_cur != limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return (int)limit.rlim_cur;
}

void
dispatcher_block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

/* Take the signals that mean "drain" from a descriptor. Returns it, or -1 with errno set. */
static int
dispatcher_take_signals(void)
{
    sigset_t set;

    dispatcher_block_signals(&set);
    /* Ignored: a log that nobody reads any more must not end the process. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int
dispatcher_watch(struct dispatcher *dispatcher, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return epoll_ctl(dispatcher->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* Returns 0, or -1 with errno set: then the process is to end. */
static int
dispatcher_open(struct dispatcher *dispatcher, const struct service *service, const struct settings *settings,
                int listener)
{
    int flags = fcntl(listener, F_GETFL);
    int limit = dispatcher_descriptors();

    *dispatcher = (struct dispatcher){
        .stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .signals = dispatcher_take_signals(),
        .epoll = epoll_create1(EPOLL_CLOEXEC),
    };
    if (table_open(&dispatcher->table, service, settings->max_body, settings->max_buffered, limit) != 0)
        return -1;
    dispatcher->acceptor = (struct acceptor){
        .table = &dispatcher->table,
        .listener = listener,
        .epoll = dispatcher->epoll,
        .most = limit,
        .what = "connections",
    };
    /* A connection may go away between epoll_wait and accept. */
    if (flags < 0 || fcntl(listener, F_SETFL, flags | O_NONBLOCK) != 0 || dispatcher->stop < 0 ||
        acceptor_open(&dispatcher->acceptor) != 0 || dispatcher_watch(dispatcher, dispatcher->signals) != 0 ||
        dispatcher_watch(dispatcher, dispatcher->table.emptied) != 0)
        return -1;
    return 0;
}

static void
dispatcher_close(struct dispatcher *dispatcher)
{
    close(dispatcher->epoll);
    close(dispatcher->stop);
    close(dispatcher->signals);
    table_close(&dispatcher->table);
}

/* Serve until a signal comes, and drain. */
static void
dispatcher_serve_and_drain(struct dispatcher *dispatcher)
{
    dispatcher_serve(dispatcher);
    if (!dispatcher_drain(dispatcher)) {
        log_line(LEVEL_WARNING, NULL, "%d connections were not finished after %d s; they are cut",
                 atomic_load(&dispatcher->table.count), DISPATCHER_DRAIN_MS / 1000);
        _exit(0); /* a handler may still be at work: no thread can be waited for */
    }
    log_line(LEVEL_INFO, NULL, "drained");
}

int
dispatcher_run(const struct service *service, const struct settings *settings, int listener)
{
    struct dispatcher dispatcher;
    int result = -1;

    if (exchange_init() != 0)
        return -1;
    if (dispatcher_open(&dispatcher, service, settings, listener) != 0) {
        log_line(LEVEL_ERROR, NULL, "cannot start: %s", strerror(errno));
        return -1;
    }
    if (status_open(service, settings, &dispatcher.table) == 0 && sandbox_enter(service, settings) == 0 &&
        status_start(settings) == 0 && dispatcher_start_workers(&dispatcher, settings->threads) == 0) {
        log_line(LEVEL_INFO, NULL, "serving with %d threads, at most %d descriptors", settings->threads,
                 dispatcher.table.limit);
        dispatcher_serve_and_drain(&dispatcher);
        result = 0;
    }
    dispatcher_stop_workers(&dispatcher);
    status_stop();
    dispatcher_close(&dispatcher);
    return result;
}
