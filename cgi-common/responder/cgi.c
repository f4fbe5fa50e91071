/*
 * The same service without FastCGI: how hosts without it run a program, and how a shell can call it.
 */
#include "cgi.h"

#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static size_t
cgi_read_body(void *source, char *to, size_t len)
{
    return fread(to, 1, len, source);
}

int
cgi_run(const struct service *service, size_t max_body)
{
    struct buffer response = {0};
    struct reply reply = {0};
    int result = 0;

    service_answer(service, environ, max_body, cgi_read_body, stdin, &reply);
    reply_head(&reply, &response);
    buffer_append(&response, reply.body.data, reply.body.len);
    if (response.failed || fwrite(response.data, 1, response.len, stdout) != response.len || fflush(stdout) != 0) {
        log_line(LEVEL_ERROR, NULL, "cannot write the response: %s", strerror(errno));
        result = -1;
    }
    buffer_release(&response);
    reply_release(&reply);
    return result;
}
