/*
 * What the files of the module metrics share: the memory in which all workers count, and text that others can read.
 */
#ifndef NGX_HTTP_METRICS_H
#define NGX_HTTP_METRICS_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

/* ---- ngx_http_metrics_zone.c ---- */

#define NGX_HTTP_METRICS_STATUSES 600 /* 100 to 599; 0 for what has none of these */
#define NGX_HTTP_METRICS_BUCKETS 13

/* The longest labels: of a service's name, of the longest server's, which is a Unix socket's, each byte escaped. */
#define NGX_HTTP_METRICS_SERVICE 64
#define NGX_HTTP_METRICS_LABELS \
    (2 * (NGX_HTTP_METRICS_SERVICE + NGX_SOCKADDR_STRLEN) + sizeof "service=\"\",server=\"\"")

/* What is counted of one server's calls, or of all requests; shared by all workers. Each is added to alone and
 * atomically, without a lock: between two of them a page may be one request ahead. */
typedef struct {
    ngx_atomic_t time; /* of all, in milliseconds */
    ngx_atomic_t buckets[NGX_HTTP_METRICS_BUCKETS + 1];
    ngx_atomic_t statuses[NGX_HTTP_METRICS_STATUSES];
    time_t counted;           /* when something was, last */
    ngx_uint_t owner;         /* how many have had the place: who has an older number has lost it */
    ngx_uint_t attempt;       /* the last configuration that wanted it, taken over or not */
    ngx_uint_t configuration; /* the last one that has it and was taken over; 0: none has been yet */
    ngx_uint_t met;           /* while nginx runs: of a name whose addresses change */
    size_t labels_len;
    u_char labels[NGX_HTTP_METRICS_LABELS]; /* as they stand in the page; none for the requests */
} ngx_http_metrics_counts_t;

typedef struct {
    ngx_uint_t attempt;       /* the number of the newest configuration, also of one that nginx then refuses */
    ngx_uint_t configuration; /* the number of those taken over: the one that serves */
    ngx_uint_t used;          /* of places, from the first */
    ngx_uint_t size;
    ngx_http_metrics_counts_t places[1]; /* so many as `size` says */
} ngx_http_metrics_zone_t;

/* A place, as long as it is the holder's own. */
typedef struct {
    ngx_http_metrics_counts_t *counts; /* NULL when there was no room */
    ngx_uint_t owner;
} ngx_http_metrics_place_t;

/* Returns the memory as it is at the first start, or NULL. */
ngx_http_metrics_zone_t *ngx_http_metrics_create_zone(ngx_slab_pool_t *pool);

/* Returns the place of what has these labels, with what was counted there before. One that is new is on no page
 * before ngx_http_metrics_take_over(). Whoever calls this holds the pool's lock. */
ngx_http_metrics_place_t ngx_http_metrics_place(ngx_http_metrics_zone_t *zone, const ngx_str_t *labels);

/* The same in a worker, for a server that no configuration names: it is on the page at once. */
ngx_http_metrics_place_t ngx_http_metrics_meet(ngx_http_metrics_zone_t *zone, const ngx_str_t *labels);

/* The newest configuration is the one that serves. */
void ngx_http_metrics_take_over(ngx_http_metrics_zone_t *zone);

/* ---- ngx_http_metrics_module.c ---- */

/* As $status has it; 0: none. */
ngx_uint_t ngx_http_metrics_status(const ngx_http_request_t *r);

/* ---- ngx_http_metrics_text.c ---- */

/* Write `text` into a label's quotes, as Prometheus reads it: at most twice its length. Returns the end. */
u_char *ngx_http_metrics_escape(u_char *last, const ngx_str_t *text);

/* The variables of the access log. */
ngx_int_t ngx_http_metrics_add_variables(ngx_conf_t *cf);

/* ---- ngx_http_metrics_errors.c ---- */

/* Have a location's error log hold nothing that a client alone causes. For merge_loc_conf, where the log is known.
 */
ngx_int_t ngx_http_metrics_quiet(ngx_conf_t *cf, ngx_http_core_loc_conf_t *location);

#endif
