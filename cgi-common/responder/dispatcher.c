/*
 * The dispatcher's own thread accepts, sweeps and waits for signals; it never reads a request, so that no request
 * can hold it up. The workers wait on the connections' epoll, one event each, and do the work.
 */
#include "dispatcher.h"

#include "connection.h"
#include "counters.h"
#include "exchange.h"
#include "log.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    DISPATCHER_MAX_DESCRIPTORS = 65536, /* a row each in the table of connections */
    DISPATCHER_SWEEP_S = 1,
    DISPATCHER_BACK_OFF_MS = 100, /* after an accept that failed for want of descriptors or memory */
    DISPATCHER_DRAIN_S = 20,      /* ECS kills after 30 */
    DISPATCHER_DRAIN_MS = 100,    /* between two sweeps meanwhile */
};

struct dispatcher {
    struct connections connections;
    int listener;
    int signals;      /* signalfd */
    int stop;         /* eventfd: told when the workers are to end */
    int timer;        /* timerfd: when to sweep */
    int epoll;        /* of the dispatcher's own thread: all the above, and connections.emptied */
    bool backing_off; /* the listener is not watched for a moment */
    pthread_t *threads;
    int thread_count;
};

/* ---- the workers ---- */

/*
 * A worker that nginx wakes waits for the processor until nginx has sent all it has to send: so it finds several
 * requests instead of one, and both are interrupted less. Takes a third off what a request costs; needs no right.
 */
static void
dispatcher_yield_to_nginx(void)
{
    struct sched_param parameters = {0};

    if (sched_setscheduler(0, SCHED_BATCH, &parameters) != 0) /* 0: this thread */
        log_line(LEVEL_WARNING, NULL, "cannot be scheduled as SCHED_BATCH: %s", strerror(errno));
}

static void *
dispatcher_work(void *argument)
{
    struct dispatcher *dispatcher = argument;
    struct worker *worker = calloc(1, sizeof *worker);
    struct epoll_event event;

    if (worker == NULL) {
        log_line(LEVEL_ERROR, NULL, "out of memory for a worker thread");
        abort(); /* multiwatch starts another process */
    }
    dispatcher_yield_to_nginx();
    counters_join();
    for (;;) {
        /* One event at a time: a slow handler must not sit on others' events. */
        if (epoll_wait(dispatcher->connections.epoll, &event, 1, -1) < 1)
            continue;
        if (event.data.fd == dispatcher->stop)
            break;
        connection_serve(&dispatcher->connections, event.data.fd, event.events, worker);
    }
    buffer_release(&worker->out);
    free(worker);
    return NULL;
}

/* Returns 0, or -1 after logging; those that did start are counted in either case. */
static int
dispatcher_start_workers(struct dispatcher *dispatcher, int count)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = dispatcher->stop};

    if ((dispatcher->threads = calloc((size_t)count, sizeof *dispatcher->threads)) == NULL ||
        epoll_ctl(dispatcher->connections.epoll, EPOLL_CTL_ADD, dispatcher->stop, &event) != 0) {
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

/* ---- accepting ---- */

static void
dispatcher_watch_listener(struct dispatcher *dispatcher, bool watch)
{
    struct epoll_event event = {.events = watch ? EPOLLIN : 0, .data.fd = dispatcher->listener};

    epoll_ctl(dispatcher->epoll, EPOLL_CTL_MOD, dispatcher->listener, &event);
    dispatcher->backing_off = !watch;
}

/* accept failed for want of something: leave the listener alone for a moment; its backlog keeps the new ones. */
static void
dispatcher_back_off(struct dispatcher *dispatcher)
{
    log_line(LEVEL_WARNING, NULL, "cannot accept: %s; %d connections are open, new ones wait; raise `ulimit -n`",
             strerror(errno), atomic_load(&dispatcher->connections.count));
    dispatcher_watch_listener(dispatcher, false);
}

/* Whether accept failed for that one connection only (accept(2), "Error handling"). */
static bool
dispatcher_fault_is_the_peers(int error)
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
dispatcher_accept(struct dispatcher *dispatcher)
{
    for (;;) {
        int fd = accept4(dispatcher->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            /* An answer goes out by one send, so nothing is won by waiting for more; fails on a Unix socket. */
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
            if (connection_add(&dispatcher->connections, fd) != 0)
                log_line(LEVEL_ERROR, NULL, "cannot take in a connection: %s", strerror(errno));
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (!dispatcher_fault_is_the_peers(errno)) {
            dispatcher_back_off(dispatcher);
            return;
        }
    }
}

/* ---- its own thread ---- */

/* Returns when a signal says to drain. */
static void
dispatcher_serve(struct dispatcher *dispatcher)
{
    struct epoll_event event;

    for (;;) {
        int timeout = dispatcher->backing_off ? DISPATCHER_BACK_OFF_MS : -1;
        int count = epoll_wait(dispatcher->epoll, &event, 1, timeout);
        uint64_t ticks;

        if (count == 0)
            dispatcher_watch_listener(dispatcher, true);
        if (count != 1)
            continue;
        if (event.data.fd == dispatcher->signals)
            return;
        if (event.data.fd == dispatcher->listener)
            dispatcher_accept(dispatcher);
        if (event.data.fd == dispatcher->timer && read(dispatcher->timer, &ticks, sizeof ticks) == sizeof ticks)
            connections_sweep(&dispatcher->connections);
    }
}

/* Returns whether all connections were closed in time. */
static bool
dispatcher_drain(struct dispatcher *dispatcher)
{
    struct timespec now;
    struct epoll_event event;
    time_t end;

    clock_gettime(CLOCK_MONOTONIC, &now);
    end = now.tv_sec + DISPATCHER_DRAIN_S;
    /* The socket itself lives on in multiwatch: whoever connects now waits for the next process. */
    epoll_ctl(dispatcher->epoll, EPOLL_CTL_DEL, dispatcher->listener, NULL);
    epoll_ctl(dispatcher->epoll, EPOLL_CTL_DEL, dispatcher->signals, NULL);
    epoll_ctl(dispatcher->epoll, EPOLL_CTL_DEL, dispatcher->timer, NULL);
    log_line(LEVEL_INFO, NULL, "draining %d connections", atomic_load(&dispatcher->connections.count));
    atomic_store(&dispatcher->connections.draining, true);
    for (;;) {
        connections_sweep(&dispatcher->connections);
        if (atomic_load(&dispatcher->connections.count) == 0)
            return true;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec >= end)
            return false;
        epoll_wait(dispatcher->epoll, &event, 1, DISPATCHER_DRAIN_MS);
    }
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

/* Block the signals that mean "drain", in this thread and all it starts, and take them from a descriptor. */
static int
dispatcher_take_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more must not end the process */
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int
dispatcher_timer(void)
{
    struct itimerspec every = {
        .it_interval.tv_sec = DISPATCHER_SWEEP_S,
        .it_value.tv_sec = DISPATCHER_SWEEP_S,
    };
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    if (timer >= 0)
        timerfd_settime(timer, 0, &every, NULL);
    return timer;
}

static int
dispatcher_watch(struct dispatcher *dispatcher, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return epoll_ctl(dispatcher->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* Returns 0, or -1 with errno set: then the process is to end. */
static int
dispatcher_open(struct dispatcher *dispatcher, const struct service *service, size_t max_body, int listener)
{
    int flags = fcntl(listener, F_GETFL);

    *dispatcher = (struct dispatcher){.listener = listener};
    if (connections_open(&dispatcher->connections, service, max_body, dispatcher_descriptors()) != 0)
        return -1;
    dispatcher->epoll = epoll_create1(EPOLL_CLOEXEC);
    dispatcher->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    dispatcher->signals = dispatcher_take_signals();
    dispatcher->timer = dispatcher_timer();
    /* A connection may go away between epoll_wait and accept. */
    if (flags < 0 || fcntl(listener, F_SETFL, flags | O_NONBLOCK) != 0 || dispatcher->stop < 0 ||
        dispatcher_watch(dispatcher, listener) != 0 || dispatcher_watch(dispatcher, dispatcher->signals) != 0 ||
        dispatcher_watch(dispatcher, dispatcher->timer) != 0 ||
        dispatcher_watch(dispatcher, dispatcher->connections.emptied) != 0)
        return -1;
    return 0;
}

static void
dispatcher_close(struct dispatcher *dispatcher)
{
    close(dispatcher->epoll);
    close(dispatcher->stop);
    close(dispatcher->signals);
    close(dispatcher->timer);
    connections_close(&dispatcher->connections);
}

int
dispatcher_run(const struct service *service, const struct settings *settings, int listener)
{
    struct dispatcher dispatcher;
    int result = -1;

    if (exchange_init() != 0)
        return -1;
    if (dispatcher_open(&dispatcher, service, settings->max_body, listener) != 0) {
        log_line(LEVEL_ERROR, NULL, "cannot start: %s", strerror(errno));
        return -1;
    }
    if (status_start(service, settings, &dispatcher.connections) == 0 &&
        dispatcher_start_workers(&dispatcher, settings->threads) == 0) {
        log_line(LEVEL_INFO, NULL, "serving with %d threads, at most %d descriptors", settings->threads,
                 dispatcher.connections.limit);
        dispatcher_serve(&dispatcher);
        if (!dispatcher_drain(&dispatcher)) {
            log_line(LEVEL_WARNING, NULL, "%d connections were not finished after %d s; they are cut",
                     atomic_load(&dispatcher.connections.count), DISPATCHER_DRAIN_S);
            _exit(0); /* a handler may still be at work: no thread can be waited for */
        }
        log_line(LEVEL_INFO, NULL, "drained");
        result = 0;
    }
    dispatcher_stop_workers(&dispatcher);
    status_stop();
    dispatcher_close(&dispatcher);
    return result;
}
