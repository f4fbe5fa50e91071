/*
 * Latency at an offered load, open loop: requests are due at a constant rate whatever the server does, and the time
 * of each counts from when it was due, also when it waits here for a connection. So a server that stalls is charged
 * for all who would have come meanwhile (no coordinated omission). What is unfinished at the end counts as long as
 * it took.
 *
 * usage: openloop PORT RATE SECONDS CONNECTIONS BODY-FILE
 * POSTs the file to /api on 127.0.0.1 and prints one JSON object; times in microseconds. "late": the longest that
 * this program itself was behind with a request for which it had a connection; if it is near the percentiles,
 * distrust them. "in_time": how many had a 200 within a second.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REPLY_SIZE = 16384, EVENTS = 256 };

#define SECOND 1000000000LL
#define IN_TIME SECOND     /* what a client waits for gladly */
#define GRACE (2 * SECOND) /* for what is under way when the last request was due */

struct connection {
    int fd;
    bool busy;
    int64_t due; /* of the request under way */
    size_t len;  /* of the reply so far */
    char reply[REPLY_SIZE + 1];
};

static struct {
    int port, epoll;
    double rate;
    int64_t start, end;
    size_t total, sent, done, errors, in_time;
    int64_t late;
    int64_t freed;       /* when there was a connection again after there had been none */
    uint32_t *latencies; /* microseconds, one for each request */
    size_t latency_count;
    struct connection *connections;
    size_t connection_count;
    struct connection **idle; /* a stack */
    size_t idle_count;
    char *request;
    size_t request_len;
} run;

static void
fail(const char *what)
{
    fprintf(stderr, "openloop: %s: %s\n", what, strerror(errno));
    exit(1); /* NOLINT(concurrency-mt-unsafe): it has no threads */
}

static void *
allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL)
        fail("memory");
    return memory;
}

static int64_t
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static int64_t
due_of(size_t request)
{
    return run.start + (int64_t)((double)request * 1e9 / run.rate);
}

static void
connection_free(struct connection *c)
{
    c->busy = false;
    if (run.idle_count == 0)
        run.freed = now();
    run.idle[run.idle_count++] = c;
}

static void
connection_open(struct connection *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)run.port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if ((c->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0)
        fail("socket");
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (epoll_ctl(run.epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
        fail("epoll_ctl");
    connection_free(c);
}

static void
record(int64_t due, int64_t at)
{
    int64_t microseconds = (at - due) / 1000;

    run.latencies[run.latency_count++] = (uint32_t)(microseconds > 0 ? microseconds : 0);
}

/* The reply has ended well or not; the connection is free, or a new one takes its place. */
static void
finish(struct connection *c, bool good, bool reusable)
{
    int64_t at = now();

    record(c->due, at);
    run.done++;
    run.errors += !good;
    run.in_time += good && at - c->due <= IN_TIME;
    if (reusable) {
        connection_free(c);
    } else {
        close(c->fd);
        connection_open(c);
    }
}

/* The server has closed a connection that nothing was asked on. */
static void
replace_idle(struct connection *c)
{
    size_t i = 0;

    while (run.idle[i] != c)
        i++;
    run.idle[i] = run.idle[--run.idle_count];
    close(c->fd);
    connection_open(c);
}

/* A body is smaller than a socket's buffer here, so a short write is an error. */
static void
send_next(void)
{
    struct connection *c = run.idle[--run.idle_count];
    int64_t due = due_of(run.sent++), at = now(), behind = at - (due > run.freed ? due : run.freed);

    c->busy = true;
    c->due = due;
    c->len = 0;
    if (behind > run.late)
        run.late = behind;
    if (send(c->fd, run.request, run.request_len, MSG_NOSIGNAL) != (ssize_t)run.request_len)
        finish(c, false, false);
}

/* Whole? One reply at a time, so what has come last is its end. */
static bool
reply_is_whole(const struct connection *c)
{
    static const char last_chunk[] = "\r\n0\r\n\r\n";
    const char *body = strstr(c->reply, "\r\n\r\n"), *length;

    if (body == NULL)
        return false;
    body += 4;
    if ((length = strcasestr(c->reply, "\r\nContent-Length:")) != NULL && length < body)
        return c->len - (size_t)(body - c->reply) >= strtoul(length + 17, NULL, 10);
    return c->len >= sizeof last_chunk - 1 &&
           memcmp(c->reply + c->len - (sizeof last_chunk - 1), last_chunk, sizeof last_chunk - 1) == 0;
}

static void
receive(struct connection *c)
{
    ssize_t got = recv(c->fd, c->reply + c->len, REPLY_SIZE - c->len, MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        if (c->busy)
            finish(c, false, false);
        else
            replace_idle(c);
        return;
    }
    c->len += (size_t)got;
    c->reply[c->len] = '\0';
    if (reply_is_whole(c))
        finish(c, strncmp(c->reply, "HTTP/1.1 200", 12) == 0,
               strcasestr(c->reply, "\r\nConnection: close") == NULL);
    else if (c->len == REPLY_SIZE)
        finish(c, false, false);
}

/* Until the next request is due, if there is a connection for it. */
static void
wait_for_replies(void)
{
    struct epoll_event events[EVENTS];
    bool may_send = run.sent < run.total && run.idle_count > 0;
    int64_t until = (may_send ? due_of(run.sent) : run.end) - now();
    struct timespec t = {0};
    int count;

    if (until > 0) {
        t.tv_sec = until / SECOND;
        t.tv_nsec = until % SECOND;
    }
    count = epoll_pwait2(run.epoll, events, EVENTS, &t, NULL);
    for (int i = 0; i < count; i++)
        receive(events[i].data.ptr);
}

static void
drive(void)
{
    while (run.done < run.total && now() < run.end) {
        while (run.sent < run.total && run.idle_count > 0 && due_of(run.sent) <= now())
            send_next();
        wait_for_replies();
    }
}

/* What was due and has no reply: it took at least until now. */
static size_t
record_unfinished(void)
{
    int64_t at = now();
    size_t before = run.latency_count;

    for (size_t i = 0; i < run.connection_count; i++)
        if (run.connections[i].busy)
            record(run.connections[i].due, at);
    for (size_t i = run.sent; i < run.total; i++)
        record(due_of(i), at);
    return run.latency_count - before;
}

static int
compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Nearest rank: the least latency that at least this share of the requests did not exceed. */
static uint32_t
percentile(double share)
{
    double exact = share * (double)run.latency_count;
    size_t rank = (size_t)exact + ((double)(size_t)exact < exact);

    return run.latencies[rank > 0 ? rank - 1 : 0];
}

static void
report(size_t unfinished)
{
    qsort(run.latencies, run.latency_count, sizeof *run.latencies, compare);
    printf("{\"offered\": %.0f, \"requests\": %zu, \"errors\": %zu, \"unfinished\": %zu, \"in_time\": %zu, "
           "\"p50\": %u, \"p90\": %u, "
           "\"p99\": %u, \"p99.9\": %u, \"max\": %u, \"late\": %lld}\n",
           run.rate, run.latency_count, run.errors, unfinished, run.in_time, percentile(.5), percentile(.9),
           percentile(.99), percentile(.999), percentile(1), (long long)(run.late / 1000));
}

static void
make_request(const char *path)
{
    FILE *file = fopen(path, "r");
    char *body = allocate(1, 65536);
    size_t len;

    if (file == NULL)
        fail(path);
    len = fread(body, 1, 65536, file);
    fclose(file);
    run.request = allocate(1, len + 256);
    run.request_len = (size_t)sprintf(run.request,
                                      "POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                                      "Content-Length: %zu\r\n\r\n",
                                      len);
    memcpy(run.request + run.request_len, body, len);
    run.request_len += len;
    free(body);
}

static void
make_connections(size_t count)
{
    if ((run.epoll = epoll_create1(0)) < 0)
        fail("epoll");
    run.connection_count = count;
    run.connections = allocate(count, sizeof *run.connections);
    /* NOLINTNEXTLINE(bugprone-sizeof-expression,bugprone-multi-level-*): a stack of pointers is what it is */
    run.idle = allocate(count, sizeof *run.idle);
    for (size_t i = 0; i < count; i++)
        connection_open(&run.connections[i]);
}

int
main(int argc, char *argv[])
{
    double seconds;
    long connections;

    if (argc != 6 || (run.rate = strtod(argv[2], NULL)) <= 0 || (seconds = strtod(argv[3], NULL)) <= 0 ||
        (connections = strtol(argv[4], NULL, 10)) < 1) {
        fprintf(stderr, "usage: openloop PORT RATE SECONDS CONNECTIONS BODY-FILE\n");
        return 2;
    }
    (void)!nice(-20);              /* if it may: on the server's own machine, it must not wait for it */
    prctl(PR_SET_TIMERSLACK, 1UL); /* the kernel's 50 microseconds would bunch the requests */
    run.port = (int)strtol(argv[1], NULL, 10);
    run.total = (size_t)(run.rate * seconds);
    run.latencies = allocate(run.total + 1, sizeof *run.latencies);
    make_request(argv[5]);
    make_connections((size_t)connections);
    run.start = now() + SECOND / 100;
    run.end = due_of(run.total) + GRACE;
    drive();
    report(record_unfinished());
    return 0;
}
