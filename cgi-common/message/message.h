/*
 * The message that a client sends: the JSON object (RFC 8259) that both services take, {"message": "…"}; or the
 * form of a browser without JavaScript.
 */
#ifndef CGI_MESSAGE_H
#define CGI_MESSAGE_H

#include "reply.h"
#include "request.h"

#include <stdbool.h>
#include <stddef.h>

struct message {
    const char *text;      /* UTF-8, checked; U+0000 may be in it; lives as long as message and request */
    size_t len;            /* bytes */
    bool plain;            /* it came without escapes, so none of its bytes needs one in JSON */
    struct buffer decoded; /* owns the text of a string with escapes; any other stands in the request's body */
};

/*
 * Read the message from the request's body, which is JSON whatever its Content-Type says, but for the charset; or,
 * for message_decode() alone, the form of the page at / (form.h). The body is read to its end; arrays and objects
 * may be 2,048 deep. Members beside "message" are ignored, whatever they hold; of two "message" the last counts.
 *
 * Returns 200; or the status of the problem that `reply` then holds: 400 for what is no message, with what is wrong
 * and, when it is not JSON, where (line, column in characters, and byte, each from 1); 415 for a body that is
 * compressed or not UTF-8, by its headers or its first bytes; 503 when memory is short.
 * Release the message only after a 200.
 */
int message_decode(const struct request *request, struct message *message, struct reply *reply);
int message_decode_json(const struct request *request, struct message *message, struct reply *reply);

/* Free the message and its text. */
void message_release(struct message *message);

#endif
