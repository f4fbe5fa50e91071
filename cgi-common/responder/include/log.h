/*
 * The log of a service process: one JSON object a line on standard error, each written by one write(2),
 * so that lines of several threads and processes do not mix. Where that is a pipe, as in a container, a reader that
 * stalls stops no thread: lines are lost, whole, and how many is told once there is room again.
 */
#ifndef CGI_LOG_H
#define CGI_LOG_H

#include <stdbool.h>

enum log_level { LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARNING, LEVEL_ERROR };

/* Name the service and the lowest level to be written. Call it once, before there are threads. */
void log_open(const char *service, enum log_level level);

/* Whether a line of this level is written: for who would have to find out first what it says. */
bool log_writes(enum log_level level);

/*
 * Write one line: time (UTC), level, service, pid, the request's id (NULL: none) and a message that names
 * the step and the cause. The message is cut at 1 KiB. Keeps errno.
 */
void log_line(enum log_level level, const char *request_id, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
