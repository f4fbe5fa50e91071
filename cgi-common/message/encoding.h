/*
 * How a body is encoded: what its headers say, and what its first bytes show. A message is JSON in UTF-8 (RFC 8259,
 * section 8.1), as it stands.
 */
#ifndef CGI_ENCODING_H
#define CGI_ENCODING_H

#include "reply.h"
#include "request.h"

/*
 * Whether the headers say that the body is UTF-8 and not compressed; a header that is not there says nothing
 * against it. Returns 200, or 415 with a problem that says what to send.
 */
int encoding_check(const struct request *request, struct reply *reply);

/*
 * For a body that is not JSON: whether its first bytes are those of something compressed, or of another encoding of
 * Unicode. Returns 200 when they are not, or 415 likewise.
 */
int encoding_check_bytes(const struct request *request, struct reply *reply);

#endif
