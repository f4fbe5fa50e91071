/*
 * logpipe: an nginx module for logs that are pipes, as in a container: a reader that stalls stops no worker.
 *
 * It has no directive; it is loaded where a log is a pipe. nginx alone waits while the pipe is full, with all the
 * connections of that worker. Here a line is written if there is room, else it is lost, whole: a write of up to
 * PIPE_BUF bytes is done whole or not at all (log.conf and server.conf keep to that). nginx says so in the error
 * log, once a minute and worker: "write() to ... failed (11: Resource temporarily unavailable)".
 *
 * Whoever else writes into the pipe still waits: O_NONBLOCK is of the file that nginx has opened for itself. After
 * a USR1, which makes nginx open its logs anew, nginx waits again; a pipe is not rotated.
 */
#include <ngx_config.h>
#include <ngx_core.h>

#include <sys/stat.h>

/* How much a reader may be late by: the most that a user may have (pipe-max-size), else what there is */
#define NGX_HTTP_LOGPIPE_SIZE (1024 * 1024)

ngx_module_t ngx_http_logpipe_module;

static void
ngx_http_logpipe_never_wait(ngx_open_file_t *file, ngx_log_t *log)
{
    struct stat info;
    int flags;

    /* without a name: stderr, which is not nginx's alone */
    if (file->name.len == 0 || file->fd == NGX_INVALID_FILE)
        return;
    if (fstat(file->fd, &info) != 0 || !S_ISFIFO(info.st_mode))
        return;
    if (fcntl(file->fd, F_GETPIPE_SZ) < NGX_HTTP_LOGPIPE_SIZE)
        (void)fcntl(file->fd, F_SETPIPE_SZ, NGX_HTTP_LOGPIPE_SIZE);
    flags = fcntl(file->fd, F_GETFL);
    if (flags == -1 || fcntl(file->fd, F_SETFL, flags | O_NONBLOCK) != 0)
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno, "\"%V\" is a pipe, and writing to it may wait", &file->name);
}

/* All files of this configuration are open; workers inherit them. */
static ngx_int_t
ngx_http_logpipe_init_module(ngx_cycle_t *cycle)
{
    ngx_list_part_t *part;

    for (part = &cycle->open_files.part; part != NULL; part = part->next) {
        ngx_open_file_t *files = part->elts;

        for (ngx_uint_t i = 0; i < part->nelts; i++)
            ngx_http_logpipe_never_wait(&files[i], cycle->log);
    }
    return NGX_OK;
}

static ngx_core_module_t ngx_http_logpipe_context = {.name = ngx_string("logpipe")};

ngx_module_t ngx_http_logpipe_module = {
    NGX_MODULE_V1, /* nginx's own part of it */
    .ctx = &ngx_http_logpipe_context,
    .type = NGX_CORE_MODULE,
    .init_module = ngx_http_logpipe_init_module,
};
