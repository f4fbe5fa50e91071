/*
 * The yardstick of scripts/bench: the handlers of both services under plain libfcgi as its manual shows it, a
 * thread for each connection, blocking reads. It is what cgi-common/ would be without its dispatcher; not for use.
 * usage: spawn-fcgi -s SOCKET -n -- threaded app|transform THREADS
 */
#include "answer.h"
#include "log.h"
#include "service.h"

#include <fcgiapp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BODY = 1 << 20 };

extern const struct service app_service;
extern const struct service transform_service;

/* As much as CONTENT_LENGTH says, in a buffer that each thread keeps. */
static void
read_body(const FCGX_Request *request, struct buffer *body)
{
    const char *length = FCGX_GetParam("CONTENT_LENGTH", request->envp);
    size_t len = length != NULL ? strtoul(length, NULL, 10) : 0;

    body->len = 0;
    if (len <= MAX_BODY && buffer_reserve(body, len) == 0)
        body->len = (size_t)FCGX_GetStr(body->data, (int)len, request->in);
}

static void *
serve(void *argument)
{
    const struct service *service = argument;
    struct buffer body = {0};
    FCGX_Request request;

    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0) {
        struct answer answer;

        read_body(&request, &body);
        answer_request(service, request.envp, MAX_BODY, &body, &answer);
        for (size_t i = 0; i < sizeof answer.pieces / sizeof answer.pieces[0]; i++)
            FCGX_PutStr(answer.pieces[i].data, (int)answer.pieces[i].len, request.out);
        answer_end(&answer);
        FCGX_Finish_r(&request);
    }
    buffer_release(&body);
    return NULL;
}

int
main(int argc, char *argv[])
{
    const struct service *service;
    pthread_t thread;
    int count;

    if (argc != 3 || (count = (int)strtol(argv[2], NULL, 10)) < 1) {
        fprintf(stderr, "usage: threaded app|transform THREADS\n");
        return 2;
    }
    service = strcmp(argv[1], "app") == 0 ? &app_service : &transform_service;
    log_open("threaded", LEVEL_ERROR);
    FCGX_Init();
    /* libfcgi's handler would leave the process waiting in accept. */
    if (signal(SIGTERM, SIG_DFL) == SIG_ERR || signal(SIGUSR1, SIG_DFL) == SIG_ERR)
        return 1;
    for (int i = 0; i < count; i++)
        if (pthread_create(&thread, NULL, serve, (void *)service) != 0)
            return 1;
    pthread_join(thread, NULL);
    return 0;
}
