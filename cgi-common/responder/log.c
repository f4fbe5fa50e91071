/*
 * JSON lines on standard error. jansson is not used here: a log line must be possible when memory is not.
 */
#include "log.h"

#include "escape.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *log_service = "cgi";
static enum log_level log_lowest = LEVEL_INFO;
static int log_fd = STDERR_FILENO;
static atomic_ulong log_lost; /* lines, since one was written */

static const char *const log_names[] = {
    [LEVEL_DEBUG] = "debug",
    [LEVEL_INFO] = "info",
    [LEVEL_WARNING] = "warning",
    [LEVEL_ERROR] = "error",
};

/* Standard error as a pipe: opened once more, since O_NONBLOCK on what others have, too, would be theirs. */
static int
log_pipe(void)
{
    struct stat info;

    if (fstat(STDERR_FILENO, &info) != 0 || !S_ISFIFO(info.st_mode))
        return -1;
    return open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

void
log_open(const char *service, enum log_level level)
{
    int fd = log_pipe();

    log_service = service;
    log_lowest = level;
    if (fd >= 0)
        log_fd = fd;
}

bool
log_writes(enum log_level level)
{
    return level >= log_lowest;
}

/* A line, whole or not at all: it is shorter than PIPE_BUF. Returns whether it was written. */
static bool
log_write(enum log_level level, const char *request_id, const char *message)
{
    char escaped[2048]; /* cut where much of it has to be escaped */
    char line[sizeof escaped + 512];
    char when[sizeof "2026-01-01T00:00:00"];
    struct timespec now;
    struct tm utc;
    int len;

    escape_json(message, escaped, sizeof escaped);
    clock_gettime(CLOCK_REALTIME, &now);
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
    len = snprintf(line, sizeof line,
                   "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"service\":\"%s\",\"pid\":%ld,"
                   "\"request_id\":\"%s\",\"message\":\"%s\"}\n",
                   when, now.tv_nsec / 1000000, log_names[level], log_service, (long)getpid(),
                   request_id != NULL ? request_id : "", escaped);
    return write(log_fd, line, (size_t)len) >= 0;
}

/* What was lost is told as soon as there is room again. */
static void
log_tell_lost(void)
{
    unsigned long lost = atomic_exchange(&log_lost, 0);
    char message[128];

    if (lost == 0)
        return;
    (void)snprintf(message, sizeof message, "%lu lines were lost before this one: who reads the log was too slow",
                   lost);
    if (!log_write(LEVEL_WARNING, NULL, message))
        atomic_fetch_add(&log_lost, lost);
}

void
log_line(enum log_level level, const char *request_id, const char *format, ...)
{
    int saved = errno;
    char message[1024];
    va_list arguments;

    if (!log_writes(level))
        return;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    log_tell_lost();
    if (!log_write(level, request_id, message))
        atomic_fetch_add(&log_lost, 1);
    errno = saved;
}
