/*
 * metrics: error.log without what a client alone causes.
 *
 *     quiet_client_errors on;    # http, server
 *
 * nginx writes a line at the level error or crit, without a buffer, for a body that is too large, for one that is
 * not chunked as it should be, and for bytes that are no TLS. So whoever can connect can fill the disk, and hide
 * what an operator looks for. Here each of these lines counts as one of the level info. The access log has the
 * request.
 *
 * nginx has no hook for that, but it lets a log have a writer of its own, as error_log's memory: and syslog: have.
 */
#include "ngx_http_metrics.h"

/* What the text of such a line begins with, in ngx_http_core_module.c, ngx_http_request_body.c,
 * ngx_http_access_module.c, ngx_proxy_protocol.c and ngx_event_openssl.c. */
static const ngx_str_t ngx_http_metrics_client_errors[] = {
    ngx_string("client intended to send "), ngx_string("client sent "),
    ngx_string("access forbidden by rule"), ngx_string("broken header: "),
    ngx_string("header is too large"),      ngx_string("unknown PROXY protocol version"),
    ngx_string("PROXY protocol "),          ngx_string("SSL_do_handshake() failed"),
    ngx_string("SSL_read() failed"),        ngx_string("SSL_write() failed"),
    ngx_string("SSL_shutdown() failed"),
};

/* The text of a line of a client's connection, which stands behind "*17 "; empty: it is of none. */
static ngx_str_t
ngx_http_metrics_error_text(u_char *line, size_t len)
{
    ngx_str_t text = {0, line}; /* not NULL: ngx_memcmp() may not be given that */
    u_char *end = line + len, *p = ngx_strlchr(line, end, '*');

    if (p == NULL || p - line < 2 || p[-1] != ' ' || p[-2] != ':')
        return text;
    for (p++; p < end && *p >= '0' && *p <= '9'; p++)
        ;
    if (p == end || *p != ' ')
        return text;
    text.data = p + 1;
    text.len = (size_t)(end - text.data);
    return text;
}

static ngx_uint_t
ngx_http_metrics_is_client_error(u_char *line, size_t len)
{
    ngx_str_t text = ngx_http_metrics_error_text(line, len);
    const ngx_str_t *errors = ngx_http_metrics_client_errors;
    size_t i;

    for (i = 0; i < sizeof ngx_http_metrics_client_errors / sizeof errors[0]; i++) {
        if (text.len >= errors[i].len && ngx_memcmp(text.data, errors[i].data, errors[i].len) == 0)
            return 1;
    }
    return 0;
}

/* As ngx_log_error_core() writes to the logs of an error_log, of which there may be several. */
static void
ngx_http_metrics_write_error(ngx_log_t *log, ngx_uint_t level, u_char *line, size_t len)
{
    ngx_uint_t all = log->log_level & NGX_LOG_DEBUG_CONNECTION; /* debug_connection */
    ngx_log_t *to;

    if (level < NGX_LOG_INFO && ngx_http_metrics_is_client_error(line, len))
        level = NGX_LOG_INFO;
    for (to = log->wdata; to != NULL && (all || level <= to->log_level); to = to->next) {
        if (to->writer != NULL)
            to->writer(to, level, line, len);
        else
            (void)ngx_write_fd(to->file->fd, line, len);
    }
}

ngx_int_t
ngx_http_metrics_quiet(ngx_conf_t *cf, ngx_http_core_loc_conf_t *location)
{
    ngx_log_t *log = ngx_palloc(cf->pool, sizeof *log);

    if (log == NULL)
        return NGX_ERROR;
    *log = *location->error_log;
    if (log->log_level == 0) /* no error_log anywhere: nginx sets its default later */
        log->log_level = NGX_LOG_ERR;
    log->next = NULL;
    log->writer = ngx_http_metrics_write_error;
    log->wdata = location->error_log;
    location->error_log = log;
    return NGX_OK;
}
