/*
 * NAME: a message comes in, a JSON value goes out, which nginx puts where app's answer has the tag of NAME.
 *
 * POST /NAME {"message": m} gives m as it came: put into answer_value() what NAME is to compute. GET /_health.
 * Errors: see message_decode() in message.h. docs/handlers.md shows what a handler can do.
 */
#include "json_string.h"
#include "message.h"
#include "service.h"

static int
answer_value(const struct request *request, struct reply *reply)
{
    struct message message = {0};
    int status = message_decode(request, &message, reply);

    if (status != 200)
        return status;
    reply->content_type = "application/json";
    json_string_encode(message.text, message.len, &reply->body);
    message_release(&message);
    return 200;
}

static const struct route routes[] = {
    {"/NAME", "POST", answer_value},
    {"/_health", "GET, HEAD", service_health},
};

const struct service NAME_service = {
    .name = "cgi-NAME",
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};
