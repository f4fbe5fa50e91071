/*
 * A CGI response (RFC 3875, section 6) as a strict reader takes it, and JSON as jansson does.
 */
#ifndef FUZZ_RESPONSE_H
#define FUZZ_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>

/* The strings point into the bytes that were parsed, and have no terminator. */
struct response {
    int status;
    const char *type; /* Content-Type */
    size_t type_len;
    const char *body;
    size_t body_len;
    size_t content_length;
    bool has_allow;
};

/*
 * Parse the `len` bytes of a whole response. Aborts, naming what is wrong, unless each line of the head is one
 * field, the status is 200 to 599, there is one Content-Type, and Content-Length is the body's (with `head_only`:
 * there is no body, whatever it says); and unless a body whose type is JSON is JSON, and a problem one as RFC 9457
 * has it, of the same status.
 */
void response_parse(struct response *response, const char *data, size_t len, bool head_only);

/* Whether the response's Content-Type is this. */
bool response_has_type(const struct response *response, const char *type);

/* Whether jansson takes the bytes for one JSON value of any kind. */
bool response_is_json(const char *bytes, size_t len);

#endif
