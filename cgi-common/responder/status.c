/*
 * One thread, one epoll: it accepts as the dispatcher does, and serves as a worker does, by the same code.
 */
#include "status.h"

#include "acceptor.h"
#include "counters.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    STATUS_BACKLOG = 64,
    STATUS_MAX_BODY = 4096,        /* bytes; nothing here has a body */
    STATUS_MAX_BUFFERED = 1 << 20, /* bytes */
    STATUS_CONNECTIONS = 64,       /* at most; of the process's descriptors at most a quarter */
};

struct status {
    const char *name; /* the service's */
    int threads;
    time_t started; /* on the monotonic clock */
    const struct table *watched;
    struct service service; /* what is answered here */
    struct table table;
    struct acceptor acceptor;
    struct worker *worker;
    int statm; /* /proc/self/statm: in the sandbox nothing can be opened any more */
    int stop;  /* eventfd: told when the thread is to end */
    pthread_t thread;
    bool running;
};

static struct status status; /* one a process; handlers know of it only so */

static time_t
status_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Resident bytes (proc(5), statm), or 0 where that cannot be read. */
static long long
status_memory(void)
{
    char text[128];
    long long pages = 0;
    ssize_t len = pread(status.statm, text, sizeof text - 1, 0);

    if (len <= 0)
        return 0;
    text[len] = '\0';
    if (sscanf(text, "%*d %lld", &pages) != 1) /* NOLINT(cert-err34-c): the kernel wrote it, no overflow */
        return 0;
    return pages * sysconf(_SC_PAGESIZE);
}

/* {"200": 12, "503": 1}; NULL when memory is short. */
static json_t *
status_by_status(const struct counters_sum *sum)
{
    json_t *object = json_object();
    char name[8];

    for (int i = 0; i < COUNTERS_STATUSES; i++) {
        if (sum->by_status[i] == 0)
            continue;
        (void)snprintf(name, sizeof name, "%d", i + COUNTERS_FIRST_STATUS);
        if (json_object_set_new(object, name, json_integer((json_int_t)sum->by_status[i])) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* Returns NULL when memory is short. */
static json_t *
status_object(void)
{
    struct counters_sum sum;

    counters_add_up(&sum);
    return json_pack("{s:s, s:i, s:I, s:i, s:i, s:f, s:i, s:I, s:I, s:o, s:I}", "service", status.name, "pid",
                     (int)getpid(), "uptime", (json_int_t)(status_now() - status.started), "threads",
                     status.threads, "busy", sum.busy, "longest", sum.longest_s, "connections",
                     atomic_load(&status.watched->count), "requests", (json_int_t)sum.requests, "errors",
                     (json_int_t)sum.errors, "statuses", status_by_status(&sum), "memory",
                     (json_int_t)status_memory());
}

/* For jansson, which overlooks it when a buffer of its own cannot grow; ours remembers. */
static int
status_append(const char *bytes, size_t len, void *buffer)
{
    buffer_append(buffer, bytes, len);
    return 0;
}

static int
answer_status(const struct request *request, struct reply *reply)
{
    json_t *object = status_object();
    int failed = json_dump_callback(object, status_append, &reply->body, JSON_COMPACT | JSON_REAL_PRECISION(6));

    (void)request;
    json_decref(object);
    if (failed != 0)
        return reply_problem(reply, 503, "out of memory for this reply; try again");
    reply->content_type = "application/json";
    return 200;
}

static const struct route routes[] = {
    {"/_status", "GET, HEAD", answer_status},
    {"/_health", "GET, HEAD, OPTIONS", service_health},
};

static void *
status_work(void *unused)
{
    uint32_t events;
    int fd;

    (void)unused;
    while ((fd = acceptor_wait(&status.acceptor, &events)) != status.stop)
        if (fd >= 0)
            connection_serve(table_connection(&status.table, fd), events, status.worker);
    return NULL;
}

/* Returns a listening socket at `path`, or -1 with errno set. */
static int
status_listen(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    strncpy(address.sun_path, path, sizeof address.sun_path - 1); /* settings_load() has seen that it fits */
    if (unlink(path) != 0 && errno != ENOENT)
        goto failed;
    /* fchmod before bind: nobody else finds it open for a moment. chmod after it: whatever the umask. */
    if (fchmod(fd, S_IRUSR | S_IWUSR) == 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        chmod(path, S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP) == 0 && listen(fd, STATUS_BACKLOG) == 0)
        return fd;
failed:
    close(fd);
    return -1;
}

static int
smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Returns 0, or -1 with errno set. */
static int
status_set_up(int listener, int limit)
{
    struct epoll_event event = {.events = EPOLLIN};

    event.data.fd = status.stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (listener < 0 || status.stop < 0 || (status.worker = worker_new()) == NULL ||
        table_open(&status.table, &status.service, STATUS_MAX_BODY, STATUS_MAX_BUFFERED, limit) != 0)
        return -1;
    status.acceptor = (struct acceptor){
        .table = &status.table,
        .listener = listener,
        .epoll = status.table.epoll,
        .most = smaller(STATUS_CONNECTIONS, limit / 4),
        .what = "connections for the status",
    };
    return acceptor_open(&status.acceptor) != 0 ? -1
                                                : epoll_ctl(status.table.epoll, EPOLL_CTL_ADD, status.stop, &event);
}

static int
status_failed(const struct settings *settings)
{
    log_line(LEVEL_ERROR, NULL, "cannot tell its status at STATUS_SOCKET, %s: %s", settings->status_socket,
             strerror(errno));
    return -1;
}

int
status_open(const struct service *service, const struct settings *settings, const struct table *watched)
{
    if (settings->status_socket == NULL)
        return 0;
    status.name = service->name;
    status.threads = settings->threads;
    status.started = status_now();
    status.watched = watched;
    status.service = (struct service){
        .name = service->name,
        .routes = routes,
        .route_count = sizeof routes / sizeof routes[0],
    };
    status.statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (status_set_up(status_listen(settings->status_socket), watched->limit) != 0)
        return status_failed(settings);
    return 0;
}

int
status_start(const struct settings *settings)
{
    if (settings->status_socket == NULL)
        return 0;
    if ((errno = pthread_create(&status.thread, NULL, status_work, NULL)) != 0)
        return status_failed(settings);
    status.running = true;
    return 0;
}

void
status_stop(void)
{
    if (!status.running)
        return;
    eventfd_write(status.stop, 1);
    pthread_join(status.thread, NULL);
    close(status.acceptor.listener);
    table_close(&status.table);
    worker_free(status.worker);
    close(status.statm);
    close(status.stop);
    status.running = false;
}
