/*
 * A request as a handler sees it: read whole, checked, and free of FastCGI.
 *
 * Every text here lives as long as the request, and is "" when there is none, never NULL: some servers send
 * an empty variable for a header that the client did not send, so the two mean the same. The web server decides
 * which variables a service gets; what it does not send is "". Nearly all texts come from the client.
 */
#ifndef CGI_REQUEST_H
#define CGI_REQUEST_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>

/* Bytes that somebody else owns. */
struct bytes {
    const char *data; /* not NULL, also when there are none; no '\0' stands behind them */
    size_t len;
};

struct request {
    const char *method; /* REQUEST_METHOD, upper case as it came; never "" */
    const char *path;   /* SCRIPT_NAME followed by PATH_INFO (RFC 3875, section 4.1) */
    const char *rest;   /* what follows a route's prefix (service.h); "" for any other route */
    const char *id;     /* 1 to 64 of [A-Za-z0-9._-], or "" */
    const char *trace;  /* HTTP_TRACEPARENT as it came (W3C Trace Context) */
    struct bytes body;  /* whole; any byte may be in it */
    void *context;      /* what the service's start() made (service.h) */
    /* for the functions below alone */
    char *const *params;  /* all meta-variables, "NAME=value", NULL at the end */
    struct buffer joined; /* holds `path` when both its parts had text */
};

/* A CGI meta-variable (RFC 3875, section 4.1) by its name: "SERVER_NAME". Of two with that name the last. */
const char *request_variable(const struct request *request, const char *name);

/* A header by its name, in upper or lower case: "Accept-Language" is the variable HTTP_ACCEPT_LANGUAGE. */
const char *request_header(const struct request *request, const char *name);

/* CONTENT_TYPE: what the client says the body is. */
const char *request_content_type(const struct request *request);

/* REMOTE_ADDR: the address of the web server's peer, which may be a proxy. */
const char *request_client(const struct request *request);

/* QUERY_STRING: what follows the question mark, as it came. */
const char *request_query(const struct request *request);

/*
 * Append the first parameter `name` of the query to `value`, decoded as the URL Standard decodes
 * application/x-www-form-urlencoded: + is a space, %41 is A, a % without two hexadecimal digits stays a %. The
 * result can be any bytes, also '\0' (%00) and what is not UTF-8. A '\0' that `len` does not count stands behind
 * the last one. Returns whether the parameter is there; its value may be empty. When memory is short, `value` has
 * failed.
 */
bool request_query_value(const struct request *request, const char *name, struct buffer *value);

#endif
