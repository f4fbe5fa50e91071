/*
 * A limit of scripts/bench: the cheapest FastCGI service on this dispatcher. It reads the request and answers a
 * constant of the size of the system's answer; what the system takes more is JSON, reversal and the second service.
 */
#include "responder.h"

static int
answer_constant(const struct request *request, struct reply *reply)
{
    static const char constant[] = "{\"message\":\"sdneirf ym ,olleh\",\"rand\":0.63721436639196272}";

    (void)request;
    reply->content_type = "application/json";
    buffer_append(&reply->body, constant, sizeof constant - 1);
    return 200;
}

static const struct route routes[] = {{"/api", "POST", answer_constant}};

static const struct service hop = {.name = "hop", .routes = routes, .route_count = 1};

int
main(int argc, char *argv[])
{
    return responder_main(argc, argv, &hop);
}
