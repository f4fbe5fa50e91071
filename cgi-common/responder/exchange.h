/*
 * One FastCGI request answered by libfcgi, from bytes in memory to bytes in memory.
 */
#ifndef CGI_EXCHANGE_H
#define CGI_EXCHANGE_H

#include "buffer.h"
#include "service.h"

#include <stdbool.h>
#include <stddef.h>

/* Set libfcgi up, before there are threads. Returns 0, or -1 after logging why not. */
int exchange_init(void);

/*
 * Let libfcgi read the request, or the management records, in `data`, let `service` answer it, and append the
 * records of the answer to `out`. `data` must hold the request to its end (record.h); what is not there counts as
 * dropped by the peer. Blocks no longer than the handler does: nothing is read from or written to a descriptor.
 * Returns whether the connection may serve another request: the web server set FCGI_KEEP_CONN and no error came up.
 */
bool exchange_run(const struct service *service, size_t max_body, const void *data, size_t len, struct buffer *out);

#endif
