/*
 * What a handler answers: a body, what the body is, and headers. The status is what the handler returns.
 *
 * These functions can be called in any order, and there is no failure to check: a reply remembers that memory was
 * short, or that a header was refused. A 503, or a 500 with a line in the log, is then sent instead of the reply.
 */
#ifndef CGI_REPLY_H
#define CGI_REPLY_H

#include "buffer.h"

#include <stdbool.h>

struct reply {
    const char *content_type; /* a text that outlives the handler: a constant. NULL: application/octet-stream */
    struct buffer body;       /* owned by the reply */
    /* for the functions below alone */
    struct buffer fields; /* "\r\nName: value" for each header */
    const char *refused;  /* why a header cannot be sent: a constant sentence; else NULL */
    bool has_retry_after;
};

/*
 * Make the reply a problem (RFC 9457, application/problem+json) with a sentence that tells the client what to do.
 * The sentence may be of any length; bytes that are not UTF-8 become U+FFFD. It should hold no bytes of the client.
 * It replaces the body so far; headers stay. Returns `status`, so that a handler can end with it.
 */
__attribute__((warn_unused_result, format(printf, 3, 4))) int reply_problem(struct reply *reply, int status,
                                                                            const char *format, ...);

/*
 * Add a header. Several may have the same name (Set-Cookie). These are refused (a 500 is sent, the log says why):
 * - a name that is not a token (RFC 9110, section 5.6.2);
 * - a value with a control byte other than a tab (section 5.5): a line's end would begin another header;
 * - what the library sends itself: Status, Content-Type (set `content_type`), Content-Length;
 * - what belongs to the web server's connection: Connection, Keep-Alive, Proxy-Connection, TE, Trailer,
 *   Transfer-Encoding, Upgrade.
 */
void reply_header(struct reply *reply, const char *name, const char *value);

/*
 * Send the client to `location`, an absolute or relative URI, percent-encoded where it has to be. It is checked as
 * any header is. `status` is 303 after a POST; 307, or for good 308, to have the same request made there; 301 or
 * 302. Returns `status`.
 */
__attribute__((warn_unused_result)) int reply_redirect(struct reply *reply, int status, const char *location);

/* Free what the reply owns; it is empty again. A handler has no need to; a test that calls one does. */
void reply_release(struct reply *reply);

#endif
