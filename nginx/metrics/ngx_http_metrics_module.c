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
 * leaves the page; its place, and its counts, stay until there is no unused one for another server. An address that
 * nginx finds while it runs (`resolve`) gets its place at its first call.
 *
 * The module also has variables for the access log, so that a line is JSON and says what the client sent
 * (ngx_http_metrics_text.c), and keeps error.log free of what a client alone causes (ngx_http_metrics_errors.c).
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
    const u_char *text; /* of the name; a call bears the same pointer where nginx makes no copies */
    const ngx_str_t *name;
    ngx_http_upstream_srv_conf_t *upstream;
    ngx_str_t labels;
    ngx_http_metrics_place_t place;
} ngx_http_metrics_server_t;

typedef struct {
    ngx_shm_zone_t *shm;
    ngx_http_metrics_zone_t *zone;
    ngx_http_metrics_place_t requests;
    ngx_array_t servers; /* of ngx_http_metrics_server_t */
    ngx_uint_t full;     /* which has been said */
} ngx_http_metrics_main_conf_t;

typedef struct {
    ngx_str_t service;                        /* of an upstream; empty: its calls are not counted */
    ngx_http_upstream_init_peer_pt init_peer; /* nginx's own, where ngx_http_metrics_init_peer() has its place */
} ngx_http_metrics_srv_conf_t;

typedef struct {
    ngx_flag_t on;
    ngx_flag_t quiet; /* ngx_http_metrics_errors.c */
} ngx_http_metrics_loc_conf_t;

ngx_module_t ngx_http_metrics_module;

/* ---- the servers' names ---- */

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

/* Write the labels of this service's server; NULL: of a call for which there was none. Returns their end. */
static u_char *
ngx_http_metrics_labels(u_char *last, const ngx_str_t *service, const ngx_str_t *address)
{
    ngx_str_t name = ngx_string("none");

    if (address != NULL)
        name = ngx_http_metrics_server_name(address);
    last = ngx_cpymem(last, "service=\"", sizeof "service=\"" - 1);
    last = ngx_http_metrics_escape(last, service);
    last = ngx_cpymem(last, "\",server=\"", sizeof "\",server=\"" - 1);
    last = ngx_http_metrics_escape(last, &name);
    *last++ = '"';
    return last;
}

/* ---- calls of an upstream with a zone ---- */

/* nginx copies the names of such an upstream's servers into shared memory, and from 1.27.3 on from there into each
 * request, so a call's name does not say which upstream it was of. When nginx is done with the calls of such an
 * upstream, and knows it, their names are exchanged for those of ngx_http_metrics_named_t. That costs the other
 * upstreams nothing. */

/* Both are found among the cleanups of the request's pool, as nginx's realip finds its own: contexts do not outlive
 * an internal redirect. */
typedef struct {
    ngx_http_upstream_t *upstream;
    ngx_http_upstream_srv_conf_t *conf;
    ngx_uint_t first; /* of the request's upstream_states */
    void (*finalize)(ngx_http_request_t *r, ngx_int_t rc);
} ngx_http_metrics_calls_t;

typedef struct {
    ngx_str_t name; /* what a call bears */
    ngx_http_metrics_place_t place;
} ngx_http_metrics_named_t;

#if (NGX_HTTP_UPSTREAM_ZONE)

static void
ngx_http_metrics_is_calls(void *data)
{
    (void)data;
}

static void
ngx_http_metrics_is_named(void *data)
{
    (void)data;
}

/* Returns a place for what is noted; NULL when memory is short. */
static void *
ngx_http_metrics_note(ngx_http_request_t *r, size_t size, ngx_pool_cleanup_pt kind)
{
    ngx_pool_cleanup_t *cleanup = ngx_pool_cleanup_add(r->pool, size);

    if (cleanup == NULL)
        return NULL;
    cleanup->handler = kind;
    return cleanup->data;
}

static const ngx_http_metrics_place_t *
ngx_http_metrics_named_place(ngx_http_request_t *r, const ngx_str_t *peer)
{
    ngx_pool_cleanup_t *cleanup;
    ngx_http_metrics_named_t *named;

    for (cleanup = r->pool->cleanup; cleanup != NULL; cleanup = cleanup->next) {
        named = cleanup->data;
        if (cleanup->handler == ngx_http_metrics_is_named && &named->name == peer)
            return &named->place;
    }
    return NULL;
}

static ngx_http_metrics_calls_t *
ngx_http_metrics_find_calls(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t *cleanup = r->pool->cleanup;

    while (cleanup->handler != ngx_http_metrics_is_calls ||
           ((ngx_http_metrics_calls_t *)cleanup->data)->upstream != r->upstream)
        cleanup = cleanup->next;
    return cleanup->data;
}

/* A server that nginx has found while it runs. */
static ngx_http_metrics_place_t
ngx_http_metrics_meet_server(ngx_http_metrics_main_conf_t *conf, const ngx_str_t *service, const ngx_str_t *name)
{
    ngx_slab_pool_t *pool = (ngx_slab_pool_t *)conf->shm->shm.addr;
    u_char text[NGX_HTTP_METRICS_LABELS];
    ngx_str_t labels = {0, text};
    ngx_http_metrics_place_t place;

    labels.len = (size_t)(ngx_http_metrics_labels(text, service, name) - text);
    ngx_shmtx_lock(&pool->mutex);
    place = ngx_http_metrics_meet(conf->zone, &labels);
    ngx_shmtx_unlock(&pool->mutex);
    if (place.counts == NULL && !conf->full) {
        conf->full = 1;
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "metrics: no room to count %V; make metrics_zone larger",
                      name);
    }
    return place;
}

static ngx_http_metrics_place_t
ngx_http_metrics_find_server(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *upstream, const ngx_str_t *name)
{
    ngx_http_metrics_main_conf_t *conf = ngx_http_get_module_main_conf(r, ngx_http_metrics_module);
    ngx_http_metrics_srv_conf_t *named = ngx_http_conf_upstream_srv_conf(upstream, ngx_http_metrics_module);
    ngx_http_metrics_server_t *servers = conf->servers.elts;
    ngx_uint_t i;

    for (i = 0; i < conf->servers.nelts; i++) {
        if (servers[i].upstream == upstream && servers[i].name->len == name->len &&
            ngx_memcmp(servers[i].name->data, name->data, name->len) == 0)
            return servers[i].place;
    }
    return ngx_http_metrics_meet_server(conf, &named->service, name);
}

/* nginx is done with these calls. */
static void
ngx_http_metrics_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_metrics_calls_t *calls = ngx_http_metrics_find_calls(r);
    ngx_http_upstream_state_t *states = r->upstream_states->elts;
    ngx_http_metrics_named_t *named;
    ngx_uint_t i;

    for (i = calls->first; i < r->upstream_states->nelts; i++) {
        if (states[i].peer == NULL ||
            (named = ngx_http_metrics_note(r, sizeof *named, ngx_http_metrics_is_named)) == NULL)
            continue;
        named->name = *states[i].peer;
        named->place = ngx_http_metrics_find_server(r, calls->conf, states[i].peer);
        states[i].peer = &named->name;
    }
    calls->finalize(r, rc);
}

/* nginx begins to call a server of this upstream. */
static ngx_int_t
ngx_http_metrics_init_peer(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *upstream)
{
    ngx_http_metrics_srv_conf_t *conf = ngx_http_conf_upstream_srv_conf(upstream, ngx_http_metrics_module);
    ngx_http_metrics_calls_t *calls = ngx_http_metrics_note(r, sizeof *calls, ngx_http_metrics_is_calls);

    if (calls == NULL)
        return NGX_ERROR;
    calls->upstream = r->upstream;
    calls->conf = upstream;
    calls->first = r->upstream_states->nelts;
    calls->finalize = r->upstream->finalize_request;
    r->upstream->finalize_request = ngx_http_metrics_finalize;
    return conf->init_peer(r, upstream);
}

static void
ngx_http_metrics_watch(ngx_http_upstream_srv_conf_t *upstream, ngx_http_metrics_srv_conf_t *conf)
{
    if (upstream->shm_zone == NULL)
        return;
    conf->init_peer = upstream->peer.init;
    upstream->peer.init = ngx_http_metrics_init_peer;
}

#else

static const ngx_http_metrics_place_t *
ngx_http_metrics_named_place(ngx_http_request_t *r, const ngx_str_t *peer)
{
    (void)r;
    (void)peer;
    return NULL;
}

static void
ngx_http_metrics_watch(ngx_http_upstream_srv_conf_t *upstream, ngx_http_metrics_srv_conf_t *conf)
{
    (void)upstream;
    (void)conf;
}

#endif

/* ---- counting ---- */

static void
ngx_http_metrics_count(const ngx_http_metrics_place_t *place, ngx_uint_t status, ngx_msec_t time)
{
    ngx_http_metrics_counts_t *counts = place->counts;
    ngx_uint_t i = 0;

    if (counts == NULL || counts->owner != place->owner)
        return;
    if (status >= NGX_HTTP_METRICS_STATUSES || status < 100)
        status = 0;
    while (i < NGX_HTTP_METRICS_BUCKETS && time > ngx_http_metrics_buckets[i].most)
        i++;
    ngx_atomic_fetch_add(&counts->time, (ngx_atomic_int_t)time);
    ngx_atomic_fetch_add(&counts->buckets[i], 1);
    ngx_atomic_fetch_add(&counts->statuses[status], 1);
    counts->counted = ngx_time();
}

ngx_uint_t
ngx_http_metrics_status(const ngx_http_request_t *r)
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

/* Returns the place of the server of a call, by what the call bears; NULL: it is not counted. */
static const ngx_http_metrics_place_t *
ngx_http_metrics_place_of(ngx_http_request_t *r, ngx_http_metrics_main_conf_t *conf, const ngx_str_t *peer)
{
    ngx_http_metrics_server_t *servers = conf->servers.elts;
    ngx_uint_t i;

    for (i = 0; i < conf->servers.nelts; i++) {
        if (servers[i].text == peer->data)
            return &servers[i].place;
    }
    return ngx_http_metrics_named_place(r, peer);
}

static void
ngx_http_metrics_count_calls(ngx_http_request_t *r, ngx_http_metrics_main_conf_t *conf)
{
    ngx_http_upstream_state_t *calls = r->upstream_states->elts;
    const ngx_http_metrics_place_t *place;
    ngx_uint_t i;

    for (i = 0; i < r->upstream_states->nelts; i++) {
        /* neither an internal redirect nor a call that could not begin has a server */
        if (calls[i].peer == NULL || calls[i].response_time == (ngx_msec_t)-1)
            continue;
        place = ngx_http_metrics_place_of(r, conf, calls[i].peer);
        ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "metrics: call of %V, status %ui, %M ms, counted: %d", calls[i].peer, calls[i].status,
                       calls[i].response_time, place != NULL);
        if (place != NULL)
            ngx_http_metrics_count(place, calls[i].status, calls[i].response_time);
    }
}

/* nginx runs this at the end of each request. */
static ngx_int_t
ngx_http_metrics_log(ngx_http_request_t *r)
{
    ngx_http_metrics_loc_conf_t *location = ngx_http_get_module_loc_conf(r, ngx_http_metrics_module);
    ngx_http_metrics_main_conf_t *conf = ngx_http_get_module_main_conf(r, ngx_http_metrics_module);

    if (!location->on || conf->zone == NULL)
        return NGX_OK;
    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0, "metrics: request, status %ui, %M ms",
                   ngx_http_metrics_status(r), ngx_http_metrics_time(r));
    ngx_http_metrics_count(&conf->requests, ngx_http_metrics_status(r), ngx_http_metrics_time(r));
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

/* Of each server that the configuration has, or has met. */
static void
ngx_http_metrics_write_servers(ngx_http_metrics_page_t *page, const char *name, ngx_http_metrics_zone_t *zone,
                               void (*write)(ngx_http_metrics_page_t *, const char *, ngx_http_metrics_counts_t *))
{
    ngx_uint_t i;

    for (i = 0; i < zone->used; i++) {
        if (zone->places[i].configuration == zone->configuration && zone->places[i].labels_len > 0)
            write(page, name, &zone->places[i]);
    }
}

static void
ngx_http_metrics_write_counts(ngx_http_metrics_page_t *page, ngx_http_metrics_main_conf_t *conf)
{
    ngx_http_metrics_family(page, "cgi_http_requests_total", "counter", "Requests of clients, by status.");
    ngx_http_metrics_statuses(page, "cgi_http_requests_total", conf->requests.counts);
    ngx_http_metrics_family(page, "cgi_http_request_duration_seconds", "histogram",
                            "From a request's first byte to its answer's last.");
    ngx_http_metrics_times(page, "cgi_http_request_duration_seconds", conf->requests.counts);
    ngx_http_metrics_family(page, "cgi_upstream_requests_total", "counter",
                            "Calls of the services, by service, server and status.");
    ngx_http_metrics_write_servers(page, "cgi_upstream_requests_total", conf->zone, ngx_http_metrics_statuses);
    ngx_http_metrics_family(page, "cgi_upstream_request_duration_seconds", "histogram",
                            "From the start of a call to its answer's last byte.");
    ngx_http_metrics_write_servers(page, "cgi_upstream_request_duration_seconds", conf->zone,
                                   ngx_http_metrics_times);
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

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0, "metrics: page of %O bytes", page->length);
    page->buf->last_buf = r == r->main;
    page->buf->last_in_chain = 1;
    /* no file, so there is nothing that conditions or ranges could be of */
    r->disable_not_modified = 1;
    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);
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
    if (conf->zone != NULL && conf->requests.counts != NULL)
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
    ngx_slab_pool_t *pool = (ngx_slab_pool_t *)shm->shm.addr;
    ngx_http_metrics_server_t *servers = conf->servers.elts;
    ngx_uint_t i, missed = 0;

    conf->zone = before != NULL ? before->zone : ngx_http_metrics_create_zone(pool);
    if (conf->zone == NULL)
        return NGX_ERROR;
    ngx_shmtx_lock(&pool->mutex);
    conf->zone->attempt++;
    conf->requests = ngx_http_metrics_place(conf->zone, &no_labels);
    for (i = 0; i < conf->servers.nelts; i++) {
        servers[i].place = ngx_http_metrics_place(conf->zone, &servers[i].labels);
        missed += servers[i].place.counts == NULL;
    }
    ngx_shmtx_unlock(&pool->mutex);
    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, shm->shm.log, 0, "metrics: configuration %ui, %ui of %ui places",
                   conf->zone->attempt, conf->zone->used, conf->zone->size);
    if (missed > 0)
        ngx_log_error(NGX_LOG_ERR, shm->shm.log, 0,
                      "metrics: no room to count %ui servers; make metrics_zone larger", missed);
    return NGX_OK;
}

/* Nothing can stop nginx any more from serving by this configuration. */
static ngx_int_t
ngx_http_metrics_taken_over(ngx_cycle_t *cycle)
{
    ngx_http_metrics_main_conf_t *conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_metrics_module);
    ngx_slab_pool_t *pool;

    if (conf == NULL || conf->zone == NULL)
        return NGX_OK;
    pool = (ngx_slab_pool_t *)conf->shm->shm.addr;
    ngx_shmtx_lock(&pool->mutex);
    ngx_http_metrics_take_over(conf->zone);
    ngx_shmtx_unlock(&pool->mutex);
    return NGX_OK;
}

/* ---- the servers ---- */

/* ADDRESS: as for ngx_http_metrics_labels(). */
static ngx_int_t
ngx_http_metrics_add_server(ngx_conf_t *cf, ngx_http_metrics_main_conf_t *conf,
                            ngx_http_upstream_srv_conf_t *upstream, const ngx_str_t *name, const ngx_str_t *address)
{
    ngx_http_metrics_srv_conf_t *named = ngx_http_conf_upstream_srv_conf(upstream, ngx_http_metrics_module);
    ngx_http_metrics_server_t *server = ngx_array_push(&conf->servers);

    if (server == NULL)
        return NGX_ERROR;
    ngx_memzero(server, sizeof *server);
    server->upstream = upstream;
    server->name = name;
    server->text = name->data;
    if ((server->labels.data = ngx_pnalloc(cf->pool, NGX_HTTP_METRICS_LABELS)) == NULL)
        return NGX_ERROR;
    server->labels.len =
        (size_t)(ngx_http_metrics_labels(server->labels.data, &named->service, address) - server->labels.data);
    return NGX_OK;
}

static ngx_int_t
ngx_http_metrics_add_upstream(ngx_conf_t *cf, ngx_http_metrics_main_conf_t *conf,
                              ngx_http_upstream_srv_conf_t *upstream)
{
    ngx_http_upstream_server_t *servers = upstream->servers->elts;
    ngx_uint_t i, j;

    for (i = 0; i < upstream->servers->nelts; i++) {
        for (j = 0; j < servers[i].naddrs; j++) {
            const ngx_str_t *name = &servers[i].addrs[j].name;

            if (ngx_http_metrics_add_server(cf, conf, upstream, name, name) != NGX_OK)
                return NGX_ERROR;
        }
    }
    /* a call bears the upstream's name when none of its servers could be asked */
    return ngx_http_metrics_add_server(cf, conf, upstream, &upstream->host, NULL);
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

    if (conf == NULL)
        return NULL;
    conf->on = NGX_CONF_UNSET;
    conf->quiet = NGX_CONF_UNSET;
    return conf;
}

static char *
ngx_http_metrics_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_metrics_loc_conf_t *before = parent, *conf = child;

    ngx_conf_merge_value(conf->on, before->on, 0);
    ngx_conf_merge_value(conf->quiet, before->quiet, 0);
    if (conf->quiet &&
        ngx_http_metrics_quiet(cf, ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module)) != NGX_OK)
        return NGX_CONF_ERROR;
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
        if (named->service.len == 0)
            continue;
        if (ngx_http_metrics_add_upstream(cf, conf, upstreams[i]) != NGX_OK)
            return NGX_ERROR;
        ngx_http_metrics_watch(upstreams[i], named);
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
ngx_http_metrics_service(ngx_conf_t *cf, ngx_command_t *command, void *data)
{
    ngx_http_metrics_srv_conf_t *conf = data;
    char *wrong = ngx_conf_set_str_slot(cf, command, data);

    if (wrong == NGX_CONF_OK && (conf->service.len == 0 || conf->service.len > NGX_HTTP_METRICS_SERVICE))
        return "needs a name, of at most 64 bytes";
    return wrong;
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
    {ngx_string("metrics_service"), NGX_HTTP_UPS_CONF | NGX_CONF_TAKE1, ngx_http_metrics_service,
     NGX_HTTP_SRV_CONF_OFFSET, offsetof(ngx_http_metrics_srv_conf_t, service), NULL},
    {ngx_string("metrics"), NGX_HTTP_SRV_CONF | NGX_CONF_FLAG, ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET,
     offsetof(ngx_http_metrics_loc_conf_t, on), NULL},
    {ngx_string("quiet_client_errors"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_FLAG,
     ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET, offsetof(ngx_http_metrics_loc_conf_t, quiet), NULL},
    {ngx_string("metrics_page"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, ngx_http_metrics_page,
     NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    ngx_null_command,
};

static ngx_http_module_t ngx_http_metrics_module_ctx = {
    .preconfiguration = ngx_http_metrics_add_variables,
    .postconfiguration = ngx_http_metrics_configured,
    .create_main_conf = ngx_http_metrics_create_main_conf,
    .create_srv_conf = ngx_http_metrics_create_srv_conf,
    .create_loc_conf = ngx_http_metrics_create_loc_conf,
    .merge_loc_conf = ngx_http_metrics_merge_loc_conf,
};

ngx_module_t ngx_http_metrics_module = {
    NGX_MODULE_V1,           .ctx = &ngx_http_metrics_module_ctx,        .commands = ngx_http_metrics_commands,
    .type = NGX_HTTP_MODULE, .init_module = ngx_http_metrics_taken_over,
};
