/*
 * Fuzzer: CGI meta-variables and a body, answered by both services as exchange.c has it done, and by one whose
 * handler makes what it can of all of them. The response is a whole one with the status that a simple model gives,
 * and each line of the log is one of JSON.
 *
 * The input is NAME=value strings, each ended by a line feed or a NUL; behind the first empty one, the body. The
 * log goes to standard error, which is taken over: libFuzzer wants -close_fd_mask=2, so that it writes elsewhere.
 */
#include "../../cgi-common/responder/answer.h"
#include "log.h"

#include "lib/check.h"
#include "lib/response.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_BODY = 300, MOST_VARIABLES = 100 };

extern const struct service app_service;
extern const struct service transform_service;

/* ---- the input ---- */

struct input {
    char *text; /* the input with NULs, and one more at its end */
    char *variables[MOST_VARIABLES + 1];
    struct buffer body;
};

/* The body lies in memory of exactly its size, so that a sanitizer sees each byte too far. */
static void
input_open(struct input *input, const uint8_t *data, size_t size)
{
    size_t at = 0;
    int count = 0;

    *input = (struct input){.text = malloc(size + 1)};
    check(input->text != NULL, "no memory");
    for (size_t i = 0; i < size; i++)
        input->text[i] = (char)(data[i] == '\n' ? '\0' : data[i]);
    input->text[size] = '\0';
    while (at < size && input->text[at] != '\0' && count < MOST_VARIABLES) {
        input->variables[count++] = input->text + at;
        at += strlen(input->text + at) + 1;
    }
    at = at < size ? at + 1 : size;
    if (at == size)
        return; /* a body that never came has no memory */
    input->body = (struct buffer){.data = malloc(size - at), .len = size - at};
    check(input->body.data != NULL, "no memory");
    memcpy(input->body.data, data + at, size - at);
}

/* ---- the model ---- */

/* Of two variables of one name, the last counts. */
static const char *
variable(const struct input *input, const char *name)
{
    const char *value = "";

    for (char *const *at = input->variables; *at != NULL; at++) {
        const char *equals = strchr(*at, '=');

        if (equals != NULL && (size_t)(equals - *at) == strlen(name) && memcmp(*at, name, strlen(name)) == 0)
            value = equals + 1;
    }
    return value;
}

/* The status of a request that does not reach a route; else 0. */
static int
status_of_load(const struct input *input)
{
    const char *length = variable(input, "CONTENT_LENGTH");
    const char *digits = length + strspn(length, "0");
    unsigned long long number = input->body.len;

    if (variable(input, "REQUEST_METHOD")[0] == '\0')
        return 400;
    if (length[0] != '\0' && strcmp(length, "-1") != 0) { /* else all of the body counts */
        if (length[strspn(length, "0123456789")] != '\0')
            return 400;
        number = strlen(digits) > 18 ? MAX_BODY + 1 : strtoull(length, NULL, 10);
    }
    if (number > MAX_BODY || input->body.len > MAX_BODY)
        return 413;
    return number > input->body.len ? 400 : 0;
}

/* The status of GET, HEAD and OPTIONS, which a service answers or does not, and of all other methods. */
static int
status_of_get(const char *method, const char *path, bool takes_options)
{
    if (takes_options && strcmp(method, "OPTIONS") == 0)
        return strcmp(path, "/_health") == 0 ? 200 : 204;
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ? 200 : 405;
}

/* The status of what is no message's; 0 where a message decides between 200, 400 and 415. */
static int
status_of_route(const struct input *input, const char *const *posts, const char *const *gets, bool takes_options)
{
    const char *method = variable(input, "REQUEST_METHOD");
    char path[8192];

    (void)snprintf(path, sizeof path, "%s%s", variable(input, "SCRIPT_NAME"), variable(input, "PATH_INFO"));
    for (; *posts != NULL; posts++)
        if (strcmp(path, *posts) == 0)
            return strcmp(method, "POST") == 0 ? 0 : 405;
    for (; *gets != NULL; gets++)
        if (strcmp(path, *gets) == 0)
            return status_of_get(method, path, takes_options);
    return 404;
}

static const struct {
    const struct service *service;
    const char *posts[3];
    const char *gets[7];
    bool takes_options; /* where it takes GET */
} services[] = {
    {&app_service,
     {"/api", "/form"},
     {"/", "/_health", "/page.css", "/page.js", "/favicon.ico", "/openapi.yaml"},
     true},
    {&transform_service, {"/reverse", "/reverse/message"}, {"/_health"}, false},
};

/* ---- a service that uses all that handlers are given ---- */

static struct buffer
query(const struct request *request, const char *name)
{
    struct buffer value = {0};

    if (!request_query_value(request, name, &value))
        check(value.len == 0, "a parameter that is not there has a value");
    else
        check(value.data[value.len] == '\0', "a parameter's value without an end");
    return value;
}

/* s: the status; l: where to; n, v: a header. What a handler may not do is made a 500, and a line in the log. */
static int
handle_any(const struct request *request, struct reply *reply)
{
    struct buffer status = query(request, "s");
    struct buffer location = query(request, "l");
    struct buffer name = query(request, "n");
    struct buffer value = query(request, "v");
    int result = status.len > 0 ? (int)strtol(status.data, NULL, 10) : 200;

    if (location.len > 0)
        result = reply_redirect(reply, result, location.data);
    if (name.len > 0)
        reply_header(reply, name.data, value.len > 0 ? value.data : "");
    buffer_append_text(&reply->body, request->rest);
    buffer_append_text(&reply->body, request_header(request, "X-Some"));
    buffer_append_text(&reply->body, request_content_type(request));
    buffer_append_text(&reply->body, request_client(request));
    buffer_append(&reply->body, request->body.data, request->body.len);
    if (result >= 400 && strlen(request->rest) % 2 == 1)
        result = reply_problem(reply, result, "%s", request->rest);
    buffer_release(&status);
    buffer_release(&location);
    buffer_release(&name);
    buffer_release(&value);
    return result;
}

static const struct route any_routes[] = {{"/*", "GET, HEAD, POST", handle_any}, {"/", "GET", handle_any}};

static const struct service any_service = {.name = "any", .routes = any_routes, .route_count = 2};

/* ---- the log ---- */

static int log_file;

static void
log_take_over(void)
{
    (void)fflush(stderr);
    log_file = memfd_create("log", MFD_CLOEXEC);
    check(log_file >= 0 && dup2(log_file, STDERR_FILENO) >= 0, "no file for the log");
    log_open("fuzz", LEVEL_DEBUG);
}

/* Whether a log line is one JSON object, with the message of one request. */
static bool
is_log_line(const char *line, size_t len)
{
    json_t *object = json_loadb(line, len, 0, NULL);
    bool taken = json_is_string(json_object_get(object, "message"));

    json_decref(object);
    return taken;
}

/*
 * One answer has been logged: one line, or a second one before it that says what the handler did wrong.
 * Forgets them.
 */
static void
check_log(int most)
{
    char text[8192];
    ssize_t len = pread(log_file, text, sizeof text, 0);
    int lines = 0;

    check(len > 0 && text[len - 1] == '\n', "no whole line: %.*s", (int)len, text);
    for (char *line = text; line < text + len; lines++) {
        char *end = memchr(line, '\n', (size_t)(text + len - line));

        check(is_log_line(line, (size_t)(end - line)), "a log line that is not JSON: %.*s", (int)(end - line),
              line);
        line = end + 1;
    }
    check(lines <= most, "%d lines for one request", lines);
    check(ftruncate(log_file, 0) == 0 && lseek(log_file, 0, SEEK_SET) == 0, "the log cannot be emptied");
}

/* ---- a run ---- */

/* Answer as exchange.c does; the response is appended to `out`. */
static void
answer(const struct service *service, const struct input *input, struct buffer *out)
{
    struct answer answer;

    answer_request(service, input->variables, MAX_BODY, &input->body, &answer);
    for (size_t i = 0; i < sizeof answer.pieces / sizeof answer.pieces[0]; i++)
        buffer_append(out, answer.pieces[i].data, answer.pieces[i].len);
    answer_end(&answer);
}

/* Answer, and check all that is true of any service. Returns the status. */
static int
check_response(const struct service *service, const struct input *input, int most_lines)
{
    struct buffer out = {0};
    struct response response;
    int expected = status_of_load(input);
    bool is_told; /* what is allowed */

    answer(service, input, &out);
    check(!out.failed, "no memory for a response");
    response_parse(&response, out.data, out.len, strcmp(variable(input, "REQUEST_METHOD"), "HEAD") == 0);
    check(expected == 0 || response.status == expected, "status %d, expected %d", response.status, expected);
    is_told = response.status == 405 ||
              (response.status < 300 && strcmp(variable(input, "REQUEST_METHOD"), "OPTIONS") == 0);
    check(service == &any_service || response.has_allow == is_told, "Allow, or none, with status %d",
          response.status);
    check_log(most_lines);
    buffer_release(&out);
    return response.status;
}

static void
check_service(const struct input *input, size_t which)
{
    int status = check_response(services[which].service, input, 1);
    int expected = status_of_load(input) == 0 ? status_of_route(input, services[which].posts, services[which].gets,
                                                                services[which].takes_options)
                                              : status;

    if (expected == 0)
        check(status == 200 || status == 400 || status == 415, "status %d for a message", status);
    else
        check(status == expected, "status %d, expected %d", status, expected);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input;

    if (size > 8000)
        return -1; /* not for the corpus */
    if (log_file == 0)
        log_take_over();
    input_open(&input, data, size);
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
        check_service(&input, i);
    check_response(&any_service, &input, 2);
    free(input.text);
    buffer_release(&input.body);
    return 0;
}
