/*
 * The same service without FastCGI: how hosts without it run a program, and how a shell can call it.
 */
#include "cgi.h"

#include "answer.h"
#include "content_length.h"
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* As much as CONTENT_LENGTH says (RFC 3875, section 4.2); nothing when that is refused anyhow. */
static void
cgi_read_body(size_t max_body, struct buffer *body)
{
    struct request request = {.params = environ};
    const char *text = request_variable(&request, "CONTENT_LENGTH");
    size_t length;

    if (content_length_parse(text, strlen(text), &length) != 0 || length > max_body ||
        buffer_reserve(body, length) != 0 || length == 0)
        return;
    body->len = fread(body->data, 1, length, stdin);
}

static int
cgi_write(const struct answer *answer)
{
    for (size_t i = 0; i < sizeof answer->pieces / sizeof answer->pieces[0]; i++)
        if (fwrite(answer->pieces[i].data, 1, answer->pieces[i].len, stdout) != answer->pieces[i].len)
            return -1;
    return fflush(stdout);
}

int
cgi_run(const struct service *service, size_t max_body)
{
    struct buffer body = {0};
    struct answer answer;
    int result;

    cgi_read_body(max_body, &body);
    answer_request(service, environ, max_body, &body, &answer);
    if ((result = cgi_write(&answer)) != 0)
        log_line(LEVEL_ERROR, NULL, "cannot write the response: %s", strerror(errno));
    answer_end(&answer);
    buffer_release(&body);
    return result == 0 ? 0 : -1;
}
