/*
 * app, the entry point: checks the message, draws the number, and has nginx call transform.
 *
 * POST /api {"message": m} checks m and gives {"message":…,"rand":r}, in which an SSI tag stands for the value that
 * nginx fetches from transform. POST /form does the same for a browser without JavaScript, in plain text. GET /
 * says what this is: to a browser by a page (page.c), to others in plain text. GET /_health. Errors: see
 * message_decode() in message.h.
 */
#include "accept.h"
#include "form.h"
#include "message.h"
#include "page.h"
#include "service.h"

#include <stdint.h>
#include <stdlib.h>

static const char greeting[] =
    "cgi-app: a message comes back reversed, with a random number.\n"
    "\n"
    "  POST /api       {\"message\": \"hello\"}  ->  {\"message\": \"olleh\", \"rand\": 0.8349...}\n"
    "  GET  /_health   {\"status\": \"pass\"} while all services answer\n"
    "\n"
    "  curl -d '{\"message\": \"hello\"}' http://HOST:PORT/api\n";

/* 53 random bits. glibc's arc4random asks the kernel each time, so each thread asks for many of them at once. */
static uint64_t
draw(void)
{
    static _Thread_local uint64_t pool[64];
    static _Thread_local size_t left;
    uint64_t bits;

    if (left == 0) {
        arc4random_buf(pool, sizeof pool);
        left = sizeof pool / sizeof pool[0];
    }
    bits = pool[--left];
    pool[left] = 0; /* given away: not to be found here any more */
    return bits >> 11;
}

/*
 * Append a number in [0, 1) with 53 random bits, all that a double's significand holds. 16 digits tell any two of
 * them apart, since 10^16 > 2^53. The number is one of 60 bits, so that ten times as much fits into a word, and 58
 * of its units are half a unit of the last digit: what is cut off behind that leaves a number which is read as the
 * same.
 */
static void
append_random(struct buffer *out)
{
    const uint64_t mask = (UINT64_C(1) << 60) - 1;
    uint64_t number = (draw() << 7) + 58;
    char text[] = "0.0000000000000000";

    for (size_t i = 2; i < sizeof text - 1; i++) {
        number = (number & mask) * 10;
        text[i] = (char)('0' + (number >> 60));
    }
    buffer_append(out, text, sizeof text - 1);
}

/*
 * nginx puts transform's answer in the tag's place (nginx/assembly.conf), so no byte of the client's may ever stand
 * in what app answers.
 */
#define TAG "<!--# include virtual=\"/reverse/message\" -->"
static const char frame[] = "{\"message\":" TAG ",\"rand\":";
static const char form_frame[] = TAG "\n\nNumber: ";

/* Of an answer to the form: it is text, and only the page shows it in a frame. */
static const char form_policy[] = "default-src 'none'; frame-ancestors 'self'; sandbox";

static int
answer_api(const struct request *request, struct reply *reply)
{
    struct message message = {0};
    int status = message_decode_json(request, &message, reply);

    if (status != 200)
        return status;
    message_release(&message);
    reply->content_type = "application/json";
    buffer_append(&reply->body, frame, sizeof frame - 1);
    append_random(&reply->body);
    buffer_append(&reply->body, "}", 1);
    return 200;
}

/* Plain text: transform's answer is a JSON string, which in HTML could hold anything. */
static int
answer_form(const struct request *request, struct reply *reply)
{
    struct message message = {0};
    int status;

    reply_header(reply, "Content-Security-Policy", form_policy);
    if (!form_is(request))
        return reply_problem(reply, 400, "this takes the form of the page at /; send JSON to /api");
    if ((status = message_decode(request, &message, reply)) != 200)
        return status;
    message_release(&message);
    reply->content_type = "text/plain; charset=utf-8";
    buffer_append(&reply->body, form_frame, sizeof form_frame - 1);
    append_random(&reply->body);
    buffer_append(&reply->body, "\n", 1);
    return 200;
}

/* The page for who would rather have HTML than text: a browser. curl takes anything, and gets text. */
static int
answer_root(const struct request *request, struct reply *reply)
{
    const char *accept = request_header(request, "Accept");

    reply_header(reply, "Vary", "Accept");
    if (accept_weight(accept, "text/html") > accept_weight(accept, "text/plain"))
        return page_answer(request, reply);
    reply->content_type = "text/plain; charset=utf-8";
    buffer_append(&reply->body, greeting, sizeof greeting - 1);
    return 200;
}

static const struct route routes[] = {
    {"/api", "POST", answer_api},
    {"/form", "POST", answer_form},
    {"/", "GET, HEAD", answer_root},
    {"/", "OPTIONS", page_options}, /* what a load balancer asks when it is told nothing else: HAProxy's httpchk */
    {"/page.css", "GET, HEAD, OPTIONS", page_answer},
    {"/page.js", "GET, HEAD, OPTIONS", page_answer},
    {"/favicon.ico", "GET, HEAD, OPTIONS", page_answer},
    {"/openapi.yaml", "GET, HEAD, OPTIONS", page_answer},
    {"/_health", "GET, HEAD, OPTIONS", service_health},
};

const struct service app_service = {
    .name = "cgi-app",
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};
