/*
 * What an operator sets by environment for a service process (the table in docs/operations.md).
 */
#ifndef CGI_SETTINGS_H
#define CGI_SETTINGS_H

#include "log.h"

#include <stdbool.h>
#include <stddef.h>

struct settings {
    int threads;         /* THREADS: worker threads, 1 to 256 */
    size_t max_body;     /* MAX_BODY_BYTES: largest request body, bytes, 1 to 1 GiB */
    size_t max_buffered; /* MAX_BUFFERED_BYTES: of requests and answers under way, bytes, twice max_body to 1 TiB */
    enum log_level log_level;  /* LOG_LEVEL: debug, info, warning, error */
    const char *status_socket; /* STATUS_SOCKET: path of a Unix socket; NULL when not set. The environment's */
    bool sandbox;              /* SANDBOX: on, off */
};

/*
 * Fill `settings` from the environment; a variable that is not set, or empty, has its default.
 * Returns 0, or -1 after it has printed one line that names the variable to standard error.
 */
int settings_load(const char *service, struct settings *settings);

#endif
