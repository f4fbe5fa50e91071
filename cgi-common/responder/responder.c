/*
 * How a service is started: settings, then FastCGI or CGI.
 */
#include "responder.h"

#include "cgi.h"
#include "dispatcher.h"
#include "log.h"
#include "sandbox.h"
#include "settings.h"

#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

static bool
responder_has_socket(void)
{
    int listening = 0;
    socklen_t len = sizeof listening;

    return getsockopt(STDIN_FILENO, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

static void
responder_usage(const char *name, FILE *to)
{
    fprintf(to,
            "usage: spawn-fcgi -s SOCKET -n -- %s\n"
            "           serve FastCGI on SOCKET\n"
            "       REQUEST_METHOD=... %s < BODY\n"
            "           answer one CGI request (RFC 3875)\n"
            "       %s -t\n"
            "           check the settings, start nothing\n"
            "       %s -V | --version\n"
            "           say which version this is\n"
            "settings (environment): THREADS, MAX_BODY_BYTES, MAX_BUFFERED_BYTES, LOG_LEVEL,\n"
            "SANDBOX, STATUS_SOCKET\n",
            name, name, name, name);
}

/*
 * One arena for all threads, or each keeps the memory of the largest message that it ever saw; and it keeps its
 * pages until connections_sweep() gives them back: malloc would do so after each large message.
 */
static void
responder_set_malloc(void)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe): called before there are threads */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024); /* the most that malloc takes */
    mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024);
    /* NOLINTEND(concurrency-mt-unsafe) */
}

/* From the service's start() to its stop(). Returns the exit status. */
static int
responder_run(const struct service *described, const struct settings *settings, bool is_fastcgi)
{
    struct service service = *described; /* with a context that start() may set */
    sigset_t signals;
    int result;

    if (is_fastcgi)
        dispatcher_block_signals(&signals);
    if (service.start != NULL && service.start(&service.context) != 0) {
        log_line(LEVEL_ERROR, NULL, "cannot start: the service's start() failed");
        return 1;
    }
    if (is_fastcgi)
        result = dispatcher_run(&service, settings, STDIN_FILENO);
    else
        result = sandbox_enter(&service, settings) == 0 ? cgi_run(&service, settings->max_body) : -1;
    if (service.stop != NULL)
        service.stop(service.context);
    return result == 0 ? 0 : 1;
}

/* The name, the version, and what the answers depend on. */
static void
responder_version(const struct service *service)
{
    struct buffer text = {0};

    buffer_printf(&text, "%s %s", service->name, CGI_VERSION);
    if (service->version != NULL) {
        buffer_append_text(&text, ", ");
        service->version(&text);
    }
    printf("%.*s\n", (int)text.len, text.data);
    buffer_release(&text);
}

/* Answer a call that only wants to know something. Returns whether it was one. */
static bool
responder_tell(const struct service *service, const char *option)
{
    if (strcmp(option, "-h") == 0 || strcmp(option, "--help") == 0)
        responder_usage(service->name, stdout);
    else if (strcmp(option, "-V") == 0 || strcmp(option, "--version") == 0)
        responder_version(service);
    else
        return false;
    return true;
}

int
responder_main(int argc, char *const argv[], const struct service *service)
{
    struct settings settings;
    bool check = argc == 2 && strcmp(argv[1], "-t") == 0;
    bool is_fastcgi = responder_has_socket();

    if (argc == 2 && responder_tell(service, argv[1]))
        return 0;
    if (argc > 1 && !check) {
        responder_usage(service->name, stderr);
        return EXIT_USAGE;
    }
    if (settings_load(service->name, &settings) != 0)
        return EXIT_USAGE;
    if (check)
        return 0;
    log_open(service->name, settings.log_level);
    responder_set_malloc();
    json_object_seed(0); /* once, before there are threads */
    if (!is_fastcgi && getenv("REQUEST_METHOD") == NULL) {
        fprintf(stderr, "%s: no listening socket on descriptor 0, and no REQUEST_METHOD\n", service->name);
        responder_usage(service->name, stderr);
        return EXIT_USAGE;
    }
    return responder_run(service, &settings, is_fastcgi);
}
