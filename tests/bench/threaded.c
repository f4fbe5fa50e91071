/*
 * The yardstick of scripts/bench: the handlers of both services under plain libfcgi as its manual shows it, a
 * thread for each connection, blocking reads. It is what cgi-common/ would be without its dispatcher; not for use.
 * usage: spawn-fcgi -s SOCKET -n -- threaded app|transform THREADS
 */
#include "../../cgi-app/handler.h"
#include "../../cgi-transform/handler.h"
#include "log.h"

#include <fcgiapp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BODY = 1 << 20 };

static size_t
read_body(void *source, char *to, size_t len)
{
    return (size_t)FCGX_GetStr(to, (int)len, source);
}

static void *
serve(void *argument)
{
    const struct service *service = argument;
    FCGX_Request request;

    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0) {
        struct reply reply = {0};
        struct buffer head = {0};

        service_answer(service, request.envp, MAX_BODY, read_body, request.in, &reply);
        reply_head(&reply, &head);
        if (!head.failed) {
            FCGX_PutStr(head.data, (int)head.len, request.out);
            FCGX_PutStr(reply.body.data, (int)reply.body.len, request.out);
        }
        buffer_release(&head);
        reply_release(&reply);
        FCGX_Finish_r(&request);
    }
    return NULL;
}

int
main(int argc, char *argv[])
{
    const struct service *service;
    pthread_t thread;
    int count;

    if (argc != 3 || (count = atoi(argv[2])) < 1) {
        fprintf(stderr, "usage: threaded app|transform THREADS\n");
        return 2;
    }
    service = strcmp(argv[1], "app") == 0 ? &app_service : &transform_service;
    log_open("threaded", LEVEL_ERROR);
    FCGX_Init();
    signal(SIGTERM, SIG_DFL); /* libfcgi's handler would leave the process waiting in accept */
    signal(SIGUSR1, SIG_DFL);
    for (int i = 0; i < count; i++)
        if (pthread_create(&thread, NULL, serve, (void *)service) != 0)
            return 1;
    pthread_join(thread, NULL);
    return 0;
}
