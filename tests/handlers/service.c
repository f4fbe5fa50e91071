/*
 * A service that does what the request says, for tests/handlers.bats: returns any status, sets any header, looks up
 * anything. Built as a service of one's own is: from the public headers and libresponder.a.
 *
 * LIFE (environment): a file that gets a line for each step of the process. START=fail: start() fails. GATE: a FIFO
 * that GET /gate reads to its end before it answers.
 */
#include "log.h"
#include "responder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what it answers ---- */

static void
say(struct reply *reply, const char *before, const char *text)
{
    reply->content_type = "text/plain";
    buffer_append_text(&reply->body, before);
    buffer_append_text(&reply->body, text);
}

/* The query's parameter as a text; "" if there is none. Lives until this thread's next call. */
static const char *
parameter(const struct request *request, const char *name)
{
    static _Thread_local char text[4][4096];
    static _Thread_local int turn;
    struct buffer value = {0};

    turn = (turn + 1) % 4;
    (void)snprintf(text[turn], sizeof text[turn], "%s",
                   request_query_value(request, name, &value) ? value.data : "");
    buffer_release(&value);
    return text[turn];
}

/* The status that the path ends in. */
static int
status_of(const struct request *request)
{
    return (int)strtol(request->rest, NULL, 10);
}

static int
answer_status(const struct request *request, struct reply *reply)
{
    (void)reply;
    return status_of(request);
}

static int
answer_text(const struct request *request, struct reply *reply)
{
    say(reply, "a text", "");
    return status_of(request);
}

static int
answer_type(const struct request *request, struct reply *reply)
{
    reply->content_type = parameter(request, "type");
    return status_of(request);
}

/* Up to two headers, one before the body is made and one behind it. */
static int
answer_header(const struct request *request, struct reply *reply)
{
    int status = status_of(request);

    reply_header(reply, parameter(request, "name"), parameter(request, "value"));
    if (status >= 400)
        status = reply_problem(reply, status, "a detail");
    if (request_query_value(request, "more", &reply->body))
        reply_header(reply, parameter(request, "more"), parameter(request, "value"));
    return status;
}

static int
answer_redirect(const struct request *request, struct reply *reply)
{
    return reply_redirect(reply, status_of(request), parameter(request, "to"));
}

static int
answer_detail(const struct request *request, struct reply *reply)
{
    buffer_append_text(&reply->body, "what was there before");
    return reply_problem(reply, status_of(request), "%.*s", (int)request->body.len, request->body.data);
}

/* Memory is short: no system has so much. */
static int
answer_memory(const struct request *request, struct reply *reply)
{
    struct buffer *buffer = strcmp(request->rest, "header") == 0 ? &reply->fields : &reply->body;

    say(reply, "half of ", "it");
    reply_header(reply, "X-Half", "of it");
    if (buffer_reserve(buffer, SIZE_MAX / 2) != 0 && strcmp(request->rest, "problem") == 0)
        return reply_problem(reply, 409, "the handler saw to it itself");
    return 200;
}

static int
answer_body(const struct request *request, struct reply *reply)
{
    buffer_append(&reply->body, request->body.data, request->body.len);
    return 200;
}

/* "[value]" of the parameter that the body names, or "none". */
static int
answer_query(const struct request *request, struct reply *reply)
{
    struct buffer value = {0};
    char name[64];

    (void)snprintf(name, sizeof name, "%.*s", (int)request->body.len, request->body.data);
    if (request_query_value(request, name, &value)) {
        buffer_append_text(&reply->body, "[");
        buffer_append(&reply->body, value.data, value.len);
        buffer_append_text(&reply->body, value.data[value.len] == '\0' ? "]" : "not terminated");
    } else {
        buffer_append_text(&reply->body, value.data == NULL ? "none" : "none, but the buffer was touched");
    }
    buffer_release(&value);
    return 200;
}

static int
answer_variable(const struct request *request, struct reply *reply)
{
    say(reply, "", request_variable(request, request->rest));
    return 200;
}

static int
answer_header_of(const struct request *request, struct reply *reply)
{
    say(reply, "", request_header(request, request->rest));
    return 200;
}

static int
answer_about(const struct request *request, struct reply *reply)
{
    say(reply, request_client(request), " ");
    say(reply, request_content_type(request), " ");
    say(reply, request_query(request), "");
    return 200;
}

static int
answer_context(const struct request *request, struct reply *reply)
{
    say(reply, "context: ", *(const char *const *)request->context);
    return 200;
}

/* ---- routes that differ by path ---- */

static int
answer_prefix(const struct request *request, struct reply *reply)
{
    say(reply, "prefix: ", request->rest);
    return 200;
}

static int
answer_longer(const struct request *request, struct reply *reply)
{
    say(reply, "longer prefix: ", request->rest);
    return 200;
}

static int
answer_whole(const struct request *request, struct reply *reply)
{
    say(reply, "whole path: ", request->rest);
    return 200;
}

/* ---- its life ---- */

static struct {
    const char *name; /* first: what answer_context() shows */
    pthread_t thread;
    int wake[2];
} started;

static void
life(const char *step)
{
    static FILE *file; /* opened by start(): in the sandbox nothing can be */

    if (file == NULL && getenv("LIFE") != NULL)
        file = fopen(getenv("LIFE"), "ae");
    if (file == NULL)
        return;
    fprintf(file, "%s\n", step);
    (void)fflush(file);
}

/* A thread as a pool may have one. It must not be the one that takes a signal. */
static void *
wait_for_stop(void *unused)
{
    char byte;

    (void)unused;
    while (read(started.wake[0], &byte, 1) < 0 && errno == EINTR)
        ;
    return NULL;
}

static int
start(void **context)
{
    const char *how = getenv("START");

    life(*context == NULL ? "start" : "start, with a context already");
    if ((how != NULL && strcmp(how, "fail") == 0) || pipe2(started.wake, O_CLOEXEC) != 0 ||
        pthread_create(&started.thread, NULL, wait_for_stop, NULL) != 0) {
        log_line(LEVEL_ERROR, NULL, "the test wants no start");
        return -1;
    }
    started.name = "made by start()";
    *context = &started;
    return 0;
}

static void
stop(void *context)
{
    close(started.wake[1]);
    pthread_join(started.thread, NULL);
    close(started.wake[0]);
    life(context == &started ? "stop" : "stop, with another context");
}

static int
answer_gate(const struct request *request, struct reply *reply)
{
    FILE *gate = fopen(getenv("GATE"), "r");

    (void)request;
    while (gate != NULL && fgetc(gate) != EOF)
        ;
    if (gate != NULL)
        fclose(gate);
    say(reply, "through", "");
    life("handled");
    return 200;
}

static const struct route routes[] = {
    {"/files/*", "GET, HEAD", answer_prefix},
    {"/files/public/*", "GET", answer_longer},
    {"/files/public/index", "GET", answer_whole},
    {"/files/*", "DELETE", answer_whole},
    {"/shared", "GET, HEAD", answer_whole},
    {"/shared", "OPTIONS", answer_prefix},
    {"/status/*", "GET, HEAD", answer_status},
    {"/text/*", "GET, HEAD", answer_text},
    {"/type/*", "GET", answer_type},
    {"/header/*", "GET", answer_header},
    {"/redirect/*", "GET", answer_redirect},
    {"/detail/*", "POST", answer_detail},
    {"/memory/*", "GET, HEAD", answer_memory},
    {"/body", "POST", answer_body},
    {"/query", "POST", answer_query},
    {"/variable/*", "GET", answer_variable},
    {"/header-of/*", "GET", answer_header_of},
    {"/about", "GET", answer_about},
    {"/context", "GET", answer_context},
    {"/gate", "GET", answer_gate},
    {"/_health", "GET, HEAD", service_health},
};

static const char *readable[2]; /* the gate, if there is one */

static const struct service service = {
    .name = "handlers",
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
    .start = start,
    .stop = stop,
    .readable = readable,
};

int
main(int argc, char *argv[])
{
    readable[0] = getenv("GATE");
    return responder_main(argc, argv, &service);
}
