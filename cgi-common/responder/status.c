/*
 * One thread, one epoll: it accepts, and serves what comes as a worker does, by the same connections.
 */
#include "status.h"

#include "counters.h"
#include "log.h"

#include <errno.h>
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

enum { STATUS_BACKLOG = 64, STATUS_SWEEP_MS = 1000 };

struct status {
    const char *name; /* the service's */
    int threads;
    time_t started; /* on the monotonic clock */
    const struct connections *watched;
    struct service service; /* what is answered here */
    struct connections connections;
    struct worker worker;
    int listener;
    int stop; /* eventfd: told when the thread is to end */
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
    FILE *file = fopen("/proc/self/statm", "re");
    long long pages = 0;

    if (file == NULL)
        return 0;
    if (fscanf(file, "%*d %lld", &pages) != 1)
        pages = 0;
    fclose(file);
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
        snprintf(name, sizeof name, "%d", i + COUNTERS_FIRST_STATUS);
        json_object_set_new(object, name, json_integer((json_int_t)sum->by_status[i]));
    }
    return object;
}

static char *
status_json(void)
{
    struct counters_sum sum;
    json_t *object;
    char *text;

    counters_add_up(&sum);
    object =
        json_pack("{s:s, s:i, s:I, s:i, s:i, s:f, s:i, s:I, s:I, s:o, s:I}", "service", status.name, "pid",
                  (int)getpid(), "uptime", (json_int_t)(status_now() - status.started), "threads", status.threads,
                  "busy", sum.busy, "longest", sum.longest_s, "connections", atomic_load(&status.watched->count),
                  "requests", (json_int_t)sum.requests, "errors", (json_int_t)sum.errors, "statuses",
                  status_by_status(&sum), "memory", (json_int_t)status_memory());
    text = object != NULL ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(object);
    return text;
}

static int
answer_status(const struct request *request, struct reply *reply)
{
    char *text = status_json();

    (void)request;
    if (text == NULL)
        return reply_problem(reply, 503, "out of memory for this reply; try again");
    buffer_append_text(&reply->body, text);
    free(text);
    reply->content_type = "application/json";
    return reply->status = 200;
}

static const struct route routes[] = {
    {"/_status", "GET, HEAD", answer_status},
    {"/_health", "GET, HEAD", service_health},
};

static void
status_accept(void)
{
    int fd = accept4(status.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0 && connection_add(&status.connections, fd) != 0)
        log_line(LEVEL_WARNING, NULL, "cannot take in a connection for the status: %s", strerror(errno));
}

static void *
status_work(void *unused)
{
    struct epoll_event event;

    (void)unused;
    for (;;) {
        if (epoll_wait(status.connections.epoll, &event, 1, STATUS_SWEEP_MS) != 1)
            connections_sweep(&status.connections);
        else if (event.data.fd == status.listener)
            status_accept();
        else if (event.data.fd == status.stop)
            break;
        else
            connection_serve(&status.connections, event.data.fd, event.events, &status.worker);
    }
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
status_watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return epoll_ctl(status.connections.epoll, EPOLL_CTL_ADD, fd, &event);
}

int
status_start(const struct service *service, const struct settings *settings, const struct connections *watched)
{
    if (settings->status_socket == NULL)
        return 0;
    status.name = service->name;
    status.threads = settings->threads;
    status.started = status_now();
    status.watched = watched;
    status.service = (struct service){service->name, routes, sizeof routes / sizeof routes[0]};
    status.listener = status_listen(settings->status_socket);
    status.stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (status.listener >= 0 && status.stop >= 0 &&
        connections_open(&status.connections, &status.service, settings->max_body, watched->limit) == 0 &&
        status_watch(status.listener) == 0 && status_watch(status.stop) == 0 &&
        (errno = pthread_create(&status.thread, NULL, status_work, NULL)) == 0) {
        status.running = true;
        return 0;
    }
    log_line(LEVEL_ERROR, NULL, "cannot tell its status at STATUS_SOCKET, %s: %s", settings->status_socket,
             strerror(errno));
    return -1;
}

void
status_stop(void)
{
    if (!status.running)
        return;
    eventfd_write(status.stop, 1);
    pthread_join(status.thread, NULL);
    connections_close(&status.connections);
    buffer_release(&status.worker.out);
    close(status.listener);
    close(status.stop);
    status.running = false;
}
