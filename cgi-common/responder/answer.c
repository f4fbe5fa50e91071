/*
 * The way of a request through the library: load it, have it handled, write the head, log and count.
 */
#include "answer.h"

#include "counters.h"
#include "log.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

/* What is sent when there is no memory for anything else: two constants. */
#define NO_MEMORY_LENGTH 116
#define TEXT_OF(number) #number
#define HEAD_WITH_LENGTH(length)                                                    \
    "Status: 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n" \
    "Content-Length: " TEXT_OF(length) "\r\nRetry-After: 1\r\n\r\n"

static const char no_memory_head[] = HEAD_WITH_LENGTH(NO_MEMORY_LENGTH);
static const char no_memory_body[] = "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
                                     "\"detail\":\"out of memory for this reply; try again\"}";

_Static_assert(sizeof no_memory_body - 1 == NO_MEMORY_LENGTH, "Content-Length of the constant response");

/* Whether the status allows no body at all (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5). */
static bool
answer_has_no_body(int status)
{
    return status == 204 || status == 205 || status == 304;
}

void
answer_no_memory(struct answer *answer)
{
    answer->status = 503;
    answer->pieces[0] = (struct bytes){no_memory_head, sizeof no_memory_head - 1};
    answer->pieces[1] = (struct bytes){no_memory_body, answer->head_only ? 0 : sizeof no_memory_body - 1};
}

/* Make the response of the reply; of a HEAD the head alone (RFC 3875, section 4.3.3). */
static void
answer_write(struct answer *answer, int status, bool head_only)
{
    struct reply *reply = &answer->reply;

    if (answer_has_no_body(status))
        reply->body.len = 0;
    answer->status = status;
    answer->head_only = head_only;
    reply_head(reply, status, &answer->head);
    answer->pieces[0] = (struct bytes){answer->head.data, answer->head.len};
    answer->pieces[1] = (struct bytes){reply->body.len > 0 ? reply->body.data : "", reply->body.len};
    if (answer->head.failed || reply->body.failed)
        answer_no_memory(answer);
    else if (head_only)
        answer->pieces[1].len = 0;
}

/*
 * From the last byte of the request until the reply is given away; what the web server measures beyond is the
 * way.
 */
static void
answer_log(const struct answer *answer)
{
    const struct request *request = &answer->request;
    enum log_level level = answer->status >= 500 ? LEVEL_ERROR : LEVEL_DEBUG;
    struct timespec now;

    if (!log_writes(level))
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    log_line(level, request->id, "answered %d, %zu bytes, in %.3f ms%s%s", answer->status, answer->pieces[1].len,
             (double)(now.tv_sec - answer->begun.tv_sec) * 1e3 +
                 (double)(now.tv_nsec - answer->begun.tv_nsec) / 1e6,
             request->trace[0] != '\0' ? ", traceparent " : "", request->trace);
}

void
answer_request(const struct service *service, char *const *params, size_t max_body, const struct buffer *body,
               struct answer *answer)
{
    int status;

    *answer = (struct answer){.request = {.context = service->context}};
    clock_gettime(CLOCK_MONOTONIC, &answer->begun);
    counters_begin();
    if ((status = request_load(&answer->request, params, max_body, body, &answer->reply)) == 200)
        status = service_handle(service, &answer->request, &answer->reply);
    answer_write(answer, status, strcmp(answer->request.method, "HEAD") == 0);
}

void
answer_end(struct answer *answer)
{
    answer_log(answer);
    counters_end(answer->status);
    request_release(&answer->request);
    buffer_release(&answer->head);
    reply_release(&answer->reply);
}
