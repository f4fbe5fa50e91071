/*
 * A limit of scripts/bench: one FastCGI hop on this dispatcher that answers the request's own body: what nginx
 * moves through FastCGI, there and back, at each size of message.
 */
#include "responder.h"

static int
answer_body(const struct request *request, struct reply *reply)
{
    reply->content_type = "application/json";
    buffer_append(&reply->body, request->body.data, request->body.len);
    return 200;
}

static const struct route routes[] = {{"/api", "POST", answer_body}};

static const struct service echo = {.name = "echo", .routes = routes, .route_count = 1};

int
main(int argc, char *argv[])
{
    return responder_main(argc, argv, &echo);
}
