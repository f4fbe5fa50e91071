/*
 * Settings from the environment, each checked before anything starts.
 */
#include "settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTINGS_BUFFERED = 64 * 1024 * 1024 }; /* bytes; MAX_BUFFERED_BYTES where nothing is set */

/* Say what is wrong with a variable, in one line whatever stands in it. Returns -1. */
static int
settings_refuse(const char *service, const char *name, const char *text, const char *wanted)
{
    fprintf(stderr, "%s: %s is \"", service, name);
    for (; *text != '\0'; text++)
        fputc((unsigned char)*text < 0x20 ? '?' : *text, stderr);
    fprintf(stderr, "\"; set it to %s\n", wanted);
    return -1;
}

/* A whole number in decimal digits alone: strtoll by itself would take " +5" and "5 apples". */
static int
settings_number(const char *service, const char *name, long long least, long long most, long long otherwise,
                long long *number)
{
    const char *text = getenv(name);
    char wanted[64];

    if (text == NULL || text[0] == '\0') {
        *number = otherwise;
        return 0;
    }
    errno = 0;
    *number = strtoll(text, NULL, 10);
    if (strspn(text, "0123456789") == strlen(text) && errno == 0 && *number >= least && *number <= most)
        return 0;
    (void)snprintf(wanted, sizeof wanted, "a whole number from %lld to %lld", least, most);
    return settings_refuse(service, name, text, wanted);
}

static int
settings_log_level(const char *service, enum log_level *level)
{
    static const char *const names[] = {
        [LEVEL_DEBUG] = "debug",
        [LEVEL_INFO] = "info",
        [LEVEL_WARNING] = "warning",
        [LEVEL_ERROR] = "error",
    };
    const char *text = getenv("LOG_LEVEL");

    *level = LEVEL_INFO;
    if (text == NULL || text[0] == '\0')
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *level = (enum log_level)i;
            return 0;
        }
    }
    return settings_refuse(service, "LOG_LEVEL", text, "debug, info, warning or error");
}

static int
settings_sandbox(const char *service, bool *sandbox)
{
    const char *text = getenv("SANDBOX");

    *sandbox = text == NULL || strcmp(text, "off") != 0;
    if (text == NULL || text[0] == '\0' || strcmp(text, "on") == 0 || !*sandbox)
        return 0;
    return settings_refuse(service, "SANDBOX", text, "on or off");
}

/* A path for a Unix socket (unix(7): at most 107 bytes). */
static int
settings_status_socket(const char *service, const char **path)
{
    const char *text = getenv("STATUS_SOCKET");

    *path = NULL;
    if (text == NULL || text[0] == '\0')
        return 0;
    if (text[0] != '/' || strlen(text) > 107)
        return settings_refuse(service, "STATUS_SOCKET", text, "a path from / of at most 107 bytes");
    *path = text;
    return 0;
}

/*
 * What is not set fits the memory limits that the services are shipped with (128 MiB), and two of the largest
 * requests. Returns 0, or -1 after printing.
 */
static int
settings_max_buffered(const char *service, struct settings *settings)
{
    long long least = 2 * (long long)settings->max_body;
    long long otherwise = least > SETTINGS_BUFFERED ? least : SETTINGS_BUFFERED;
    long long bytes;

    if (settings_number(service, "MAX_BUFFERED_BYTES", least, 1LL << 40, otherwise, &bytes) != 0)
        return -1;
    settings->max_buffered = (size_t)bytes;
    return 0;
}

int
settings_load(const char *service, struct settings *settings)
{
    long long threads;
    long long max_body;

    if (settings_number(service, "THREADS", 1, 256, 1, &threads) != 0 ||
        settings_number(service, "MAX_BODY_BYTES", 1, 1LL << 30, 1LL << 20, &max_body) != 0 ||
        settings_log_level(service, &settings->log_level) != 0 ||
        settings_sandbox(service, &settings->sandbox) != 0 ||
        settings_status_socket(service, &settings->status_socket) != 0)
        return -1;
    settings->threads = (int)threads;
    settings->max_body = (size_t)max_body;
    return settings_max_buffered(service, settings);
}
