/*
 * The client of a request that waits: for a call (compose), or for its turn (admission). Has it gone, or only ended
 * its side of the connection? A FIN says either; to be reset, or closed on both sides, says the first. nginx takes
 * the FIN alone for it (ngx_http_test_reading()).
 */
#ifndef NGX_HTTP_CGI_WAITING_H
#define NGX_HTTP_CGI_WAITING_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <poll.h>

static inline ngx_uint_t
ngx_http_cgi_waiting_is_reset(ngx_http_request_t *r)
{
    ngx_connection_t *c = r->connection;
    struct pollfd client = {.fd = c->fd};

#if (NGX_HTTP_V2)
    if (r->stream != NULL)
        return c->error;
#endif
    if (c->shared) /* HTTP/3: the descriptor is not this client's alone */
        return c->error || c->write->error;
    return poll(&client, 1, 0) == 1 && (client.revents & (POLLHUP | POLLERR)) != 0;
}

/* The read event handler of such a request: it ends when its client has gone. */
static void
ngx_http_cgi_waiting_test_reading(ngx_http_request_t *r)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0, "cgi waiting: test reading");
    if (!ngx_http_cgi_waiting_is_reset(r)) {
        ngx_http_block_reading(r);
        return;
    }
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "client prematurely closed connection");
    r->connection->error = 1;
    ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
}

#endif
