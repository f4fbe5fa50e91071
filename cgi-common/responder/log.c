/*
 * JSON lines on standard error. jansson is not used here: a log line must be possible when memory is not.
 */
#include "log.h"

#include "escape.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *log_service = "cgi";
static enum log_level log_lowest = LEVEL_INFO;

static const char *const log_names[] = {
    [LEVEL_DEBUG] = "debug",
    [LEVEL_INFO] = "info",
    [LEVEL_WARNING] = "warning",
    [LEVEL_ERROR] = "error",
};

void
log_open(const char *service, enum log_level level)
{
    log_service = service;
    log_lowest = level;
}

bool
log_writes(enum log_level level)
{
    return level >= log_lowest;
}

void
log_line(enum log_level level, const char *request_id, const char *format, ...)
{
    int saved = errno;
    char message[1024];
    char escaped[2 * sizeof message]; /* cut where much of it has to be escaped */
    char line[sizeof escaped + 512];
    char when[sizeof "2026-01-01T00:00:00"];
    struct timespec now;
    struct tm utc;
    va_list arguments;
    int len;

    if (!log_writes(level))
        return;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    escape_json(message, escaped, sizeof escaped);
    clock_gettime(CLOCK_REALTIME, &now);
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
    len = snprintf(line, sizeof line,
                   "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"service\":\"%s\",\"pid\":%ld,"
                   "\"request_id\":\"%s\",\"message\":\"%s\"}\n",
                   when, now.tv_nsec / 1000000, log_names[level], log_service, (long)getpid(),
                   request_id != NULL ? request_id : "", escaped);
    if (write(STDERR_FILENO, line, (size_t)len) < 0) {
        /* nobody is left to be told */
    }
    errno = saved;
}
