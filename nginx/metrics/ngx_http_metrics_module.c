/*
 * metrics: an nginx module that counts requests, and each call of a service, for Prometheus.
 *
 *     metrics_zone 2m;                  # http: the memory in which all workers count
 *     upstream cgi-app {
 *         metrics_service app;          # calls of these servers are counted, as calls of app
 *         server unix:/run/app-1.sock;
 *     }
 *     server {
 *         metrics on;                   # requests are counted here, with the calls that they make
 *         location = /_metrics {
 *             metrics_page;             # the page that Prometheus reads; reading it is not counted
 *         }
 *     }
 *
 * What is counted is what the access log has: a request is counted at its end, with its status and its time; so is
 * each call in its upstream_addr, under its server's name: app-1 for unix:/run/app-1.sock and for
 * unix:/run/app-1/socket, a TCP address as it is. A call that found no server to ask is counted under the server
 * "none". The status 000 is that of what ended before it had one. The page shows what has been counted at least
 * once.
 *
 * A reload keeps the counts: each server finds its place by its labels. A server that is no longer configured
 * leaves the page; its place, and its counts, stay until there is no unused one for another server.
 */
#include "ngx_http_metrics.h"

#define NGX_HTTP_METRICS_LINE 512 /* no line of the page is longer */
#define NGX_HTTP_METRICS_BLOCK 16384

/* nginx's clock has milliseconds. */
static const struct {
    ngx_msec_t most;
    const char *le;
} ngx_http_metrics_buckets[NGX_HTTP_METRICS_BUCKETS] = {
    {1, "0.001"},  {2, "0.002"}, {5, "0.005"}, {10, "0.01"},  {25, "0.025"}, {50, "0.05"},  {100, "0.1"},
    {250, "0.25"}, {500, "0.5"}, {1000, "1"},  {2500, "2.5"}, {5000, "5"},   {10000, "10"},
};

/* A server as one upstream lists it. Several may list the same: their calls are counted in one place. */
typedef struct {
    u_char *name; /* what a call bears; compared as a pointer */
    ngx_str_t labels;
    ngx_http_metrics_counts_t *counts; /* NULL when there was no room */
    ngx_uint_t listed;                 /* the place is another's, too, who shows it */
} ngx_http_metrics_server_t;

typedef struct {
    ngx_shm_zone_t *shm;
    ngx_http_metrics_zone_t *zone;
    ngx_http_metrics_counts_t *requests;
    ngx_array_t servers; /* of ngx_http_metrics_server_t */
} ngx_http_metrics_main_conf_t;

typedef struct {
    ngx_str_t service; /* of an upstream; empty: its calls are not counted */
} ngx_http_metrics_srv_conf_t;

typedef struct {
    ngx_flag_t on;
} ngx_http_metrics_loc_conf_t;

ngx_module_t ngx_http_metrics_module;

/* ---- counting ---- */

static void
ngx_http_metrics_count(ngx_http_metrics_counts_t *counts, ngx_uint_t status, ngx_msec_t time)
{
    ngx_uint_t i = 0;

    if (status >= NGX_HTTP_METRICS_STATUSES || status < 100)
        status = 0;
    while (i < NGX_HTTP_METRICS_BUCKETS && time > ngx_http_metrics_buckets[i].most)
        i++;
    ngx_atomic_fetch_add(&counts->time, (ngx_atomic_int_t)time);
    ngx_atomic_fetch_add(&counts->buckets[i], 1);
    ngx_atomic_fetch_add(&counts->statuses[status], 1);
}

/* As $status has it. */
static ngx_uint_t
ngx_http_metrics_status(ngx_http_request_t *r)
{
    return r->err_status ? r->err_status : r->headers_out.status;
}

/* As $request_time has it. */
static ngx_msec_t
ngx_http_metrics_time(ngx_http_request_t *r)
{
    ngx_time_t *now = ngx_timeofday();
    ngx_msec_int_t time =
        (ngx_msec_int_t)((now->sec - r->start_sec) * 1000) + (ngx_msec_int_t)(now->msec - r->start_msec);

    return (ngx_msec_t)ngx_max(time, 0);
}

static void
ngx_http_metrics_count_calls(ngx_http_request_t *r, ngx_http_metrics_main_conf_t *conf)
{
    ngx_http_metrics_server_t *servers = conf->servers.elts;
    ngx_http_upstream_state_t *calls = r->upstream_states->elts;
    ngx_uint_t i, j;

    for (i = 0; i < r->upstream_states->nelts; i++) {
        /* neither an internal redirect nor a call that could not begin has a server */
        if (calls[i].peer == NULL || calls[i].response_time == (ngx_msec_t)-1)
            continue;
        for (j = 0; j < conf->servers.nelts; j++) {
            if (servers[j].name != calls[i].peer->data)
                continue;
            if (servers[j].counts != NULL)
                ngx_http_metrics_count(servers[j].counts, calls[i].status, calls[i].response_time);
            break;
        }
    }
}

/* nginx runs this at the end of each request. */
static ngx_int_t
ngx_http_metrics_log(ngx_http_request_t *r)
{
    ngx_http_metrics_loc_conf_t *location = ngx_http_get_module_loc_conf(r, ngx_http_metrics_module);
    ngx_http_metrics_main_conf_t *conf = ngx_http_get_module_main_conf(r, ngx_http_metrics_module);

    if (!location->on || conf->requests == NULL)
        return NGX_OK;
    ngx_http_metrics_count(conf->requests, ngx_http_metrics_status(r), ngx_http_metrics_time(r));
    if (r->upstream_states != NULL)
        ngx_http_metrics_count_calls(r, conf);
    return NGX_OK;
}

/* ---- the page ---- */

typedef struct {
    ngx_pool_t *pool;
    ngx_chain_t *first;
    ngx_chain_t **next;
    ngx_buf_t *buf; /* the last one */
    off_t length;
    ngx_uint_t failed; /* memory was short */
} ngx_http_metrics_page_t;

static ngx_int_t
ngx_http_metrics_page_grow(ngx_http_metrics_page_t *page)
{
    ngx_chain_t *link = ngx_alloc_chain_link(page->pool);

    if (link == NULL || (link->buf = ngx_create_temp_buf(page->pool, NGX_HTTP_METRICS_BLOCK)) == NULL)
        return NGX_ERROR;
    link->next = NULL;
    *page->next = link;
    page->next = &link->next;
    page->buf = link->buf;
    return NGX_OK;
}

/* Add a line, in the words of ngx_sprintf(). */
static void
ngx_http_metrics_line(ngx_http_metrics_page_t *page, const char *format, ...)
{
    u_char *before;
    va_list args;

    if (page->buf == NULL || page->buf->end - page->buf->last < NGX_HTTP_METRICS_LINE)
        page->failed |= ngx_http_metrics_page_grow(page) != NGX_OK;
    if (page->failed)
        return;
    before = page->buf->last;
    va_start(args, format);
    page->buf->last = ngx_vslprintf(before, before + NGX_HTTP_METRICS_LINE, format, args);
    va_end(args);
    page->length += page->buf->last - before;
}

static void
ngx_http_metrics_family(ngx_http_metrics_page_t *page, const char *name, const char *type, const char *help)
{
    ngx_http_metrics_line(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
ngx_http_metrics_statuses(ngx_http_metrics_page_t *page, const char *name, ngx_http_metrics_counts_t *counts)
{
    ngx_str_t labels = {counts->labels_len, counts->labels};
    ngx_uint_t i;

    for (i = 0; i < NGX_HTTP_METRICS_STATUSES; i++) {
        if (counts->statuses[i] != 0)
            ngx_http_metrics_line(page, "%s{%V%sstatus=\"%03ui\"} %uA\n", name, &labels, labels.len ? "," : "", i,
                                  counts->statuses[i]);
    }
}

static void
ngx_http_metrics_times(ngx_http_metrics_page_t *page, const char *name, ngx_http_metrics_counts_t *counts)
{
    ngx_str_t labels = {counts->labels_len, counts->labels};
    const char *comma = labels.len ? "," : "", *open = labels.len ? "{" : "", *close = labels.len ? "}" : "";
    ngx_atomic_uint_t sum = 0, time = counts->time;
    ngx_uint_t i;

    for (i = 0; i <= NGX_HTTP_METRICS_BUCKETS; i++)
        sum += counts->buckets[i];
    if (sum == 0)
        return;
    for (i = 0, sum = 0; i < NGX_HTTP_METRICS_BUCKETS; i++) {
        sum += counts->buckets[i];
        ngx_http_metrics_line(page, "%s_bucket{%V%sle=\"%s\"} %uA\n", name, &labels, comma,
                              ngx_http_metrics_buckets[i].le, sum);
    }
    sum += counts->buckets[i];
    ngx_http_metrics_line(page, "%s_bucket{%V%sle=\"+Inf\"} %uA\n", name, &labels, comma, sum);
    ngx_http_metrics_line(page, "%s_sum%s%V%s %uA.%03uA\n", name, open, &labels, close, time / 1000, time % 1000);
    ngx_http_metrics_line(page, "%s_count%s%V%s %uA\n", name, open, &labels, close, sum);
}

static void
ngx_http_metrics_write_counts(ngx_http_metrics_page_t *page, ngx_http_metrics_main_conf_t *conf)
{
    ngx_http_metrics_server_t *servers = conf->servers.elts;
    ngx_uint_t i;

    ngx_http_metrics_family(page, "cgi_http_requests_total", "counter", "Requests of clients, by status.");
    ngx_http_metrics_statuses(page, "cgi_http_requests_total", conf->requests);
    ngx_http_metrics_family(page, "cgi_http_request_duration_seconds", "histogram",
                            "From a request's first byte to its answer's last.");
    ngx_http_metrics_times(page, "cgi_http_request_duration_seconds", conf->requests);
    ngx_http_metrics_family(page, "cgi_upstream_requests_total", "counter",
                            "Calls of the services, by service, server and status.");
    for (i = 0; i < conf->servers.nelts; i++) {
        if (servers[i].counts != NULL && !servers[i].listed)
            ngx_http_metrics_statuses(page, "cgi_upstream_requests_total", servers[i].counts);
    }
    ngx_http_metrics_family(page, "cgi_upstream_request_duration_seconds", "histogram",
                            "From the start of a call to its answer's last byte.");
    for (i = 0; i < conf->servers.nelts; i++) {
        if (servers[i].counts != NULL && !servers[i].listed)
            ngx_http_metrics_times(page, "cgi_upstream_request_duration_seconds", servers[i].counts);
    }
}

/* What nginx counts itself, of all its sites. */
static void
ngx_http_metrics_write_nginx(ngx_http_metrics_page_t *page)
{
    ngx_http_metrics_family(page, "nginx_connections", "gauge",
                            "Connections of clients: reading a request, writing its answer, waiting for one.");
    ngx_http_metrics_line(page, "nginx_connections{state=\"reading\"} %uA\n", *ngx_stat_reading);
    ngx_http_metrics_line(page, "nginx_connections{state=\"writing\"} %uA\n", *ngx_stat_writing);
    ngx_http_metrics_line(page, "nginx_connections{state=\"waiting\"} %uA\n", *ngx_stat_waiting);
    ngx_http_metrics_family(page, "nginx_connections_accepted_total", "counter", "Connections accepted.");
    ngx_http_metrics_line(page, "nginx_connections_accepted_total %uA\n", *ngx_stat_accepted);
    ngx_http_metrics_family(page, "nginx_connections_handled_total", "counter",
                            "Connections that found room among worker_connections.");
    ngx_http_metrics_line(page, "nginx_connections_handled_total %uA\n", *ngx_stat_handled);
    ngx_http_metrics_family(page, "nginx_http_requests_total", "counter", "Requests of all sites.");
    ngx_http_metrics_line(page, "nginx_http_requests_total %uA\n", *ngx_stat_requests);
}

static ngx_int_t
ngx_http_metrics_send(ngx_http_request_t *r, ngx_http_metrics_page_t *page)
{
    ngx_int_t rc;

    page->buf->last_buf = r == r->main;
    page->buf->last_in_chain = 1;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = page->length;
    ngx_str_set(&r->headers_out.content_type, "text/plain; version=0.0.4; charset=utf-8");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only)
        return rc;
    return ngx_http_output_filter(r, page->first);
}

static ngx_int_t
ngx_http_metrics_handler(ngx_http_request_t *r)
{
    ngx_http_metrics_main_conf_t *conf = ngx_http_get_module_main_conf(r, ngx_http_metrics_module);
    ngx_http_metrics_page_t page = {.pool = r->pool, .next = &page.first};
    ngx_int_t rc;

    if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)))
        return NGX_HTTP_NOT_ALLOWED;
    if ((rc = ngx_http_discard_request_body(r)) != NGX_OK)
        return rc;
    if (conf->requests != NULL)
        ngx_http_metrics_write_counts(&page, conf);
    ngx_http_metrics_write_nginx(&page);
    return page.failed ? NGX_HTTP_INTERNAL_SERVER_ERROR : ngx_http_metrics_send(r, &page);
}

/* ---- the memory ---- */

/* Find the place of each server. `data` is of the configuration before, when this is a reload. */
static ngx_int_t
ngx_http_metrics_init_zone(ngx_shm_zone_t *shm, void *data)
{
    static const ngx_str_t no_labels = ngx_string("");
    ngx_http_metrics_main_conf_t *conf = shm->data, *before = data;
    ngx_http_metrics_server_t *servers = conf->servers.elts;
    ngx_uint_t i, j, missed = 0;

    conf->zone = before != NULL ? before->zone : ngx_http_metrics_create_zone((ngx_slab_pool_t *)shm->shm.addr);
    if (conf->zone == NULL)
        return NGX_ERROR;
    conf->zone->configuration++;
    conf->requests = ngx_http_metrics_place(conf->zone, &no_labels);
    for (i = 0; i < conf->servers.nelts; i++) {
        servers[i].counts = ngx_http_metrics_place(conf->zone, &servers[i].labels);
        missed += servers[i].counts == NULL;
        for (j = 0; j < i && !servers[i].listed; j++)
            servers[i].listed = servers[j].counts == servers[i].counts;
    }
    if (missed > 0)
        ngx_log_error(NGX_LOG_ERR, shm->shm.log, 0,
                      "metrics: no room to count %ui servers; make metrics_zone larger", missed);
    return NGX_OK;
}

/* ---- the servers ---- */

/* The name of a server: of a Unix socket what tells it from others, "app-1" of ".../app-1.sock" and
 * ".../app-1/socket". */
static ngx_str_t
ngx_http_metrics_server_name(const ngx_str_t *address)
{
    static const char prefix[] = "unix:", file[] = "/socket", suffix[] = ".sock";
    ngx_str_t name = *address;
    u_char *slash;

    if (name.len < sizeof prefix || ngx_strncmp(name.data, prefix, sizeof prefix - 1) != 0)
        return name;
    if (name.len > sizeof file && ngx_strncmp(name.data + name.len - sizeof file + 1, file, sizeof file - 1) == 0)
        name.len -= sizeof file - 1;
    else if (name.len > sizeof suffix &&
             ngx_strncmp(name.data + name.len - sizeof suffix + 1, suffix, sizeof suffix - 1) == 0)
        name.len -= sizeof suffix - 1;
    slash = memrchr(name.data, '/', name.len);
    if (slash != NULL) {
        name.len -= (size_t)(slash + 1 - name.data);
        name.data = slash + 1;
    }
    return name;
}

static ngx_int_t
ngx_http_metrics_add_server(ngx_conf_t *cf, ngx_http_metrics_main_conf_t *conf, const ngx_str_t *service,
                            u_char *name, const ngx_str_t *label)
{
    static const char format[] = "service=\"%V\",server=\"%V\"";
    ngx_http_metrics_server_t *server = ngx_array_push(&conf->servers);

    if (server == NULL)
        return NGX_ERROR;
    ngx_memzero(server, sizeof *server);
    server->name = name;
    server->labels.data = ngx_pnalloc(cf->pool, sizeof format + service->len + label->len);
    if (server->labels.data == NULL)
        return NGX_ERROR;
    server->labels.len = (size_t)(ngx_sprintf(server->labels.data, format, service, label) - server->labels.data);
    return NGX_OK;
}

static ngx_int_t
ngx_http_metrics_add_upstream(ngx_conf_t *cf, ngx_http_metrics_main_conf_t *conf,
                              ngx_http_upstream_srv_conf_t *upstream, const ngx_str_t *service)
{
    static const ngx_str_t none = ngx_string("none");
    ngx_http_upstream_server_t *servers = upstream->servers->elts;
    ngx_uint_t i, j;

    for (i = 0; i < upstream->servers->nelts; i++) {
        for (j = 0; j < servers[i].naddrs; j++) {
            ngx_str_t label = ngx_http_metrics_server_name(&servers[i].addrs[j].name);

            if (ngx_http_metrics_add_server(cf, conf, service, servers[i].addrs[j].name.data, &label) != NGX_OK)
                return NGX_ERROR;
        }
    }
    /* a call bears the upstream's name when none of its servers could be asked */
    return ngx_http_metrics_add_server(cf, conf, service, upstream->host.data, &none);
}

/* ---- the directives ---- */

static void *
ngx_http_metrics_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_metrics_main_conf_t));
}

static void *
ngx_http_metrics_create_srv_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_metrics_srv_conf_t));
}

static void *
ngx_http_metrics_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_metrics_loc_conf_t *conf = ngx_pcalloc(cf->pool, sizeof *conf);

    if (conf != NULL)
        conf->on = NGX_CONF_UNSET;
    return conf;
}

static char *
ngx_http_metrics_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_metrics_loc_conf_t *before = parent, *conf = child;

    (void)cf;
    ngx_conf_merge_value(conf->on, before->on, 0);
    return NGX_CONF_OK;
}

/* All upstreams are known now. */
static ngx_int_t
ngx_http_metrics_configured(ngx_conf_t *cf)
{
    ngx_http_metrics_main_conf_t *conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_metrics_module);
    ngx_http_core_main_conf_t *core = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_http_upstream_main_conf_t *all = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    ngx_http_upstream_srv_conf_t **upstreams = all->upstreams.elts;
    ngx_http_handler_pt *handler;
    ngx_uint_t i;

    if (conf->shm == NULL)
        return NGX_OK;
    if (ngx_array_init(&conf->servers, cf->pool, 8, sizeof(ngx_http_metrics_server_t)) != NGX_OK)
        return NGX_ERROR;
    for (i = 0; i < all->upstreams.nelts; i++) {
        ngx_http_metrics_srv_conf_t *named;

        if (upstreams[i]->srv_conf == NULL) /* a proxy_pass to an address: no upstream {} */
            continue;
        named = ngx_http_conf_upstream_srv_conf(upstreams[i], ngx_http_metrics_module);
        if (named->service.len != 0 &&
            ngx_http_metrics_add_upstream(cf, conf, upstreams[i], &named->service) != NGX_OK)
            return NGX_ERROR;
    }
    handler = ngx_array_push(&core->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (handler == NULL)
        return NGX_ERROR;
    *handler = ngx_http_metrics_log;
    return NGX_OK;
}

static char *
ngx_http_metrics_zone(ngx_conf_t *cf, ngx_command_t *command, void *data)
{
    static ngx_str_t name = ngx_string("cgi-metrics");
    ngx_http_metrics_main_conf_t *conf = data;
    ngx_str_t *words = cf->args->elts;
    ssize_t size = ngx_parse_size(&words[1]);

    (void)command;
    if (conf->shm != NULL)
        return "is duplicate";
    if (size < (ssize_t)(16 * ngx_pagesize))
        return "needs a size, of at least 16 pages";
    conf->shm = ngx_shared_memory_add(cf, &name, (size_t)size, &ngx_http_metrics_module);
    if (conf->shm == NULL)
        return NGX_CONF_ERROR;
    conf->shm->init = ngx_http_metrics_init_zone;
    conf->shm->data = conf;
    return NGX_CONF_OK;
}

static char *
ngx_http_metrics_page(ngx_conf_t *cf, ngx_command_t *command, void *data)
{
    ngx_http_core_loc_conf_t *location = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    ngx_http_metrics_loc_conf_t *conf = data;

    (void)command;
    location->handler = ngx_http_metrics_handler;
    conf->on = 0;
    return NGX_CONF_OK;
}

static ngx_command_t ngx_http_metrics_commands[] = {
    {ngx_string("metrics_zone"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_http_metrics_zone,
     NGX_HTTP_MAIN_CONF_OFFSET, 0, NULL},
    {ngx_string("metrics_service"), NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, ngx_conf_set_str_slot,
     NGX_HTTP_SRV_CONF_OFFSET, offsetof(ngx_http_metrics_srv_conf_t, service), NULL},
    {ngx_string("metrics"), NGX_HTTP_SRV_CONF | NGX_CONF_FLAG, ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET,
     offsetof(ngx_http_metrics_loc_conf_t, on), NULL},
    {ngx_string("metrics_page"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, ngx_http_metrics_page,
     NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    ngx_null_command,
};

static ngx_http_module_t ngx_http_metrics_module_ctx = {
    .postconfiguration = ngx_http_metrics_configured,
    .create_main_conf = ngx_http_metrics_create_main_conf,
    .create_srv_conf = ngx_http_metrics_create_srv_conf,
    .create_loc_conf = ngx_http_metrics_create_loc_conf,
    .merge_loc_conf = ngx_http_metrics_merge_loc_conf,
};

ngx_module_t ngx_http_metrics_module = {
    NGX_MODULE_V1,
    .ctx = &ngx_http_metrics_module_ctx,
    .commands = ngx_http_metrics_commands,
    .type = NGX_HTTP_MODULE,
};
