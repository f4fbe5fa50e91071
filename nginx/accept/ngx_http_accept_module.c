/*
 * accept: an nginx module that shares out clients among the workers, also with multi_accept.
 *
 *     events {
 *         multi_accept on;
 *     }
 *     http {
 *         accept_in_turn on;
 *     }
 *
 * Of the workers that wait, Linux wakes the one that was the first to register the listening socket. So nginx
 * registers it anew behind each 16th connection, but not with multi_accept: there, all clients that come one by one
 * are one worker's. Without multi_accept nginx accepts one connection, serves all other events that there are, and
 * accepts the next; when thousands of clients come at once, the first ones keep it busy, and the others wait for
 * seconds.
 *
 * Here a worker that has accepted what was there registers the socket anew each time, and another one has the next
 * turn. Sockets of other modules (mail, stream), with reuseport, or under accept_mutex are left alone.
 */
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

typedef struct {
    ngx_flag_t in_turn;
} ngx_http_accept_conf_t;

ngx_module_t ngx_http_accept_module;

/* As nginx's own ngx_reorder_accept_events(). */
static void
ngx_http_accept_register_anew(ngx_event_t *event)
{
    if (ngx_del_event(event, NGX_READ_EVENT, NGX_DISABLE_EVENT) == NGX_OK)
        (void)ngx_add_event(event, NGX_READ_EVENT, NGX_EXCLUSIVE_EVENT); /* if not, nginx has logged why */
}

/*
 * In the place of ngx_event_accept(), which does not tell whether it has accepted a client; but each takes a
 * connection of the worker's free ones. When there was no descriptor left, the socket is out for a while
 * (inactive).
 */
static void
ngx_http_accept_handler(ngx_event_t *event)
{
    ngx_uint_t before = ngx_cycle->free_connection_n;

    ngx_event_accept(event);
    if (ngx_cycle->free_connection_n < before && event->active)
        ngx_http_accept_register_anew(event);
}

static ngx_int_t
ngx_http_accept_init_process(ngx_cycle_t *cycle)
{
    ngx_http_accept_conf_t *conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_accept_module);
    ngx_listening_t *listening = cycle->listening.elts;
    ngx_uint_t i;

    if (conf == NULL || !conf->in_turn || !ngx_use_exclusive_accept)
        return NGX_OK;
    for (i = 0; i < cycle->listening.nelts; i++) {
        ngx_connection_t *c = listening[i].connection;

        if (c != NULL && c->read->handler == ngx_event_accept && listening[i].handler == ngx_http_init_connection &&
            !listening[i].reuseport)
            c->read->handler = ngx_http_accept_handler;
    }
    return NGX_OK;
}

/* ---- the directive ---- */

static void *
ngx_http_accept_create_conf(ngx_conf_t *cf)
{
    ngx_http_accept_conf_t *conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_accept_conf_t));

    if (conf != NULL)
        conf->in_turn = NGX_CONF_UNSET;
    return conf;
}

static char *
ngx_http_accept_init_conf(ngx_conf_t *cf, void *data)
{
    ngx_http_accept_conf_t *conf = data;

    (void)cf;
    ngx_conf_init_value(conf->in_turn, 0);
    return NGX_CONF_OK;
}

static ngx_command_t ngx_http_accept_commands[] = {
    {ngx_string("accept_in_turn"), NGX_HTTP_MAIN_CONF | NGX_CONF_FLAG, ngx_conf_set_flag_slot,
     NGX_HTTP_MAIN_CONF_OFFSET, offsetof(ngx_http_accept_conf_t, in_turn), NULL},
    ngx_null_command,
};

static ngx_http_module_t ngx_http_accept_module_ctx = {
    .create_main_conf = ngx_http_accept_create_conf,
    .init_main_conf = ngx_http_accept_init_conf,
};

ngx_module_t ngx_http_accept_module = {
    NGX_MODULE_V1, /* nginx's own part of it */
    .ctx = &ngx_http_accept_module_ctx,
    .commands = ngx_http_accept_commands,
    .type = NGX_HTTP_MODULE,
    .init_process = ngx_http_accept_init_process,
};
