/*
 * drain: an nginx module for a reload, or a stop, that cuts no request.
 *
 *     http {
 *         drain_idle 1s;
 *     }
 *
 * A worker that is to end closes its idle connections at once, also when a client's next request is on its way to
 * them, or there already. Here they stay open for that time more. A request that comes meanwhile is answered as
 * ever, with "Connection: close", as nginx says in such a worker; so a busy client has moved to a new worker after
 * one request. What is idle still when the time is over is closed, unless there is data to be read.
 *
 * An answer that began before, with "Connection: keep-alive", and ends after: nginx would close behind it. Here the
 * connection is kept, as was said, and gets its time then.
 *
 * HTTP/2 has a frame for this, GOAWAY: streams up to the one it names are answered, later ones were not begun, so
 * that a client makes them again elsewhere. A connection with streams gets it at once, as from nginx alone; one
 * that is idle with its first answer, or when the time is over.
 */
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

typedef struct {
    ngx_msec_t idle; /* how long an idle connection may wait for a request; 0: nginx does as it does */
} ngx_http_drain_conf_t;

ngx_module_t ngx_http_drain_module;

static ngx_http_output_header_filter_pt ngx_http_drain_next_header_filter;
static ngx_http_output_body_filter_pt ngx_http_drain_next_body_filter;

static ngx_msec_t ngx_http_drain_idle; /* of this worker; what its configuration says */

/* Of this worker, once it is to end. By connection: its handler when it was found idle, or NULL. */
static ngx_event_handler_pt *ngx_http_drain_noticed;
static ngx_event_t ngx_http_drain_timer;
static ngx_event_t ngx_http_drain_exit_again;

/* ---- idle connections ---- */

/* What nginx closes when a worker is to end, and a client's that has sent nothing yet, which nginx leaves alone. */
static ngx_uint_t
ngx_http_drain_is_idle(ngx_connection_t *c)
{
    if (c->fd == (ngx_socket_t)-1 || c->read->accept)
        return 0;
    if (c->idle)
        return 1;
    return c->listening != NULL && c->reusable && c->requests == 0 && (c->ssl == NULL || c->ssl->handshaked);
}

/* It waits for a client's request. Else it is one to a service, or has HTTP/2's streams, and a GOAWAY cuts none. */
static ngx_uint_t
ngx_http_drain_waits(ngx_connection_t *c)
{
    return c->listening != NULL && c->reusable;
}

/* The client has sent what nginx has not read yet. */
static ngx_uint_t
ngx_http_drain_has_data(ngx_connection_t *c)
{
    u_char byte;

    return c->read->ready || c->read->posted || recv(c->fd, &byte, 1, MSG_PEEK) > 0;
}

/* In the place of a connection's handler when nginx closes what is idle: it stays, and has its handler back. */
static void
ngx_http_drain_spare(ngx_event_t *read)
{
    ngx_connection_t *c = read->data;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, read->log, 0, "drain spare: %d", c->fd);
    c->close = 0;
    read->handler = ngx_http_drain_noticed[c - ngx_cycle->connections];
}

static void
ngx_http_drain_start_timer(void)
{
    ngx_add_timer(&ngx_http_drain_timer, ngx_http_drain_idle);
}

/* The time is over for what was idle when it began; it begins for what has become idle since. */
static void
ngx_http_drain_close_idle(ngx_event_t *timer)
{
    ngx_connection_t *c = ngx_cycle->connections;
    ngx_uint_t i;

    (void)timer;
    for (i = 0; i < ngx_cycle->connection_n; i++) {
        if (!ngx_http_drain_is_idle(&c[i]))
            continue;
        if (ngx_http_drain_waits(&c[i]) && (ngx_http_drain_noticed[i] == NULL || ngx_http_drain_has_data(&c[i]))) {
            ngx_http_drain_noticed[i] = c[i].read->handler;
            continue;
        }
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, c[i].log, 0, "drain close: %d", c[i].fd);
        c[i].close = 1;
        c[i].read->handler(c[i].read);
    }
    ngx_http_drain_start_timer();
}

/* ---- the beginning of the end ---- */

/* Ends what ngx_http_drain_body_filter() begins. */
static void
ngx_http_drain_exit(ngx_event_t *event)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, event->log, 0, "drain exiting again");
    (void)event; /* without debug */
    ngx_exiting = 1;
}

/* nginx is about to close what is idle, and closes this connection, the first of them. */
static void
ngx_http_drain_begin(ngx_event_t *read)
{
    ngx_connection_t *c = ngx_cycle->connections;
    ngx_uint_t i;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0, "drain begin: %M", ngx_http_drain_idle);
    ngx_close_connection(read->data);
    ngx_http_drain_noticed = ngx_pcalloc(ngx_cycle->pool, ngx_cycle->connection_n * sizeof(ngx_event_handler_pt));
    if (ngx_http_drain_noticed == NULL)
        return;
    for (i = 0; i < ngx_cycle->connection_n; i++) {
        if (!ngx_http_drain_is_idle(&c[i]) || !ngx_http_drain_waits(&c[i]))
            continue;
        ngx_http_drain_noticed[i] = c[i].read->handler;
        if (c[i].idle)
            c[i].read->handler = ngx_http_drain_spare;
    }
    ngx_http_drain_exit_again.handler = ngx_http_drain_exit;
    ngx_http_drain_exit_again.log = ngx_cycle->log;
    ngx_http_drain_timer.handler = ngx_http_drain_close_idle;
    ngx_http_drain_timer.log = ngx_cycle->log;
    ngx_http_drain_timer.data = c;       /* nginx's debug log looks for a connection there */
    ngx_http_drain_timer.cancelable = 1; /* a worker that has nothing else to do ends */
    ngx_http_drain_start_timer();
}

/*
 * There is no hook for the moment between "this worker is to end" and the closing. But nginx closes by the order of
 * its table, and what is taken now, before any client's, stands before them. The socket is for nginx to have
 * something to close.
 */
static ngx_int_t
ngx_http_drain_init_process(ngx_cycle_t *cycle)
{
    ngx_http_drain_conf_t *conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_drain_module);
    ngx_connection_t *c;
    ngx_socket_t fd;

    if (ngx_process != NGX_PROCESS_WORKER || conf == NULL || conf->idle == 0)
        return NGX_OK;
    ngx_http_drain_idle = conf->idle;
    if ((fd = ngx_socket(AF_UNIX, SOCK_DGRAM, 0)) == (ngx_socket_t)-1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_socket_errno, "drain: no socket");
        return NGX_ERROR;
    }
    if ((c = ngx_get_connection(fd, cycle->log)) == NULL) {
        ngx_close_socket(fd);
        return NGX_ERROR;
    }
    c->read->handler = ngx_http_drain_begin;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->idle = 1;
    return NGX_OK;
}

/* ---- answers of a worker that is to end ---- */

/* HTTP/2's "Connection: close". Not from here: the answer is under way. */
static ngx_int_t
ngx_http_drain_header_filter(ngx_http_request_t *r)
{
#if (NGX_HTTP_V2)
    ngx_connection_t *c;

    if (ngx_http_drain_noticed != NULL && r->stream != NULL && !r->stream->connection->goaway) {
        c = r->stream->connection->connection;
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0, "drain goaway: %d", c->fd);
        c->close = 1;
        ngx_post_event(c->read, &ngx_posted_events);
    }
#endif
    return ngx_http_drain_next_header_filter(r);
}

/*
 * A connection was promised to be kept when ngx_exiting was 0, and nginx looks at it again behind the last byte: so
 * for what it does next, and until it looks for other events, it is 0 once more. What gets to see that beside this
 * request is kept, too, and closed by the timer.
 */
static ngx_int_t
ngx_http_drain_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    if (ngx_http_drain_noticed != NULL && ngx_exiting && r->stream == NULL && r->main->header_sent &&
        r->main->keepalive) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0, "drain keep: %d", r->connection->fd);
        ngx_exiting = 0;
        ngx_post_event(&ngx_http_drain_exit_again, &ngx_posted_events);
    }
    return ngx_http_drain_next_body_filter(r, in);
}

static ngx_int_t
ngx_http_drain_init(ngx_conf_t *cf)
{
    ngx_http_drain_conf_t *conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_drain_module);

    ngx_conf_init_msec_value(conf->idle, 0);
    if (conf->idle == 0)
        return NGX_OK;
    ngx_http_drain_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_drain_header_filter;
    ngx_http_drain_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_drain_body_filter;
    return NGX_OK;
}

/* ---- the directive ---- */

static void *
ngx_http_drain_create_conf(ngx_conf_t *cf)
{
    ngx_http_drain_conf_t *conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_drain_conf_t));

    if (conf != NULL)
        conf->idle = NGX_CONF_UNSET_MSEC;
    return conf;
}

static ngx_command_t ngx_http_drain_commands[] = {
    {ngx_string("drain_idle"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_msec_slot,
     NGX_HTTP_MAIN_CONF_OFFSET, offsetof(ngx_http_drain_conf_t, idle), NULL},
    ngx_null_command,
};

static ngx_http_module_t ngx_http_drain_module_ctx = {
    .create_main_conf = ngx_http_drain_create_conf,
    .postconfiguration = ngx_http_drain_init,
};

ngx_module_t ngx_http_drain_module = {
    NGX_MODULE_V1, /* nginx's own part of it */
    .ctx = &ngx_http_drain_module_ctx,
    .commands = ngx_http_drain_commands,
    .type = NGX_HTTP_MODULE,
    .init_process = ngx_http_drain_init_process,
};
