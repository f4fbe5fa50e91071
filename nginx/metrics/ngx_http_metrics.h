/*
 * What the files of the module metrics share: the memory in which all workers count.
 */
#ifndef NGX_HTTP_METRICS_H
#define NGX_HTTP_METRICS_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#define NGX_HTTP_METRICS_STATUSES 600 /* 100 to 599; 0 for what has none of these */
#define NGX_HTTP_METRICS_LABELS 160   /* a socket's name and a service's; longer ones are not counted */
#define NGX_HTTP_METRICS_BUCKETS 13

/* What is counted of one server's calls, or of all requests; shared by all workers. Each is added to alone and
 * atomically, without a lock: between two of them a page may be one request ahead. */
typedef struct {
    ngx_atomic_t time; /* of all, in milliseconds */
    ngx_atomic_t buckets[NGX_HTTP_METRICS_BUCKETS + 1];
    ngx_atomic_t statuses[NGX_HTTP_METRICS_STATUSES];
    ngx_uint_t configuration; /* the last one that had it */
    size_t labels_len;
    u_char labels[NGX_HTTP_METRICS_LABELS]; /* as they stand in the page; none for the requests */
} ngx_http_metrics_counts_t;

typedef struct {
    ngx_uint_t configuration; /* the number of the newest */
    ngx_uint_t used;          /* of places, from the first */
    ngx_uint_t size;
    ngx_http_metrics_counts_t places[1]; /* so many as `size` says */
} ngx_http_metrics_zone_t;

/* Returns the memory as it is at the first start, or NULL. */
ngx_http_metrics_zone_t *ngx_http_metrics_create_zone(ngx_slab_pool_t *pool);

/* Returns the place of what has these labels, with what was counted there before; NULL when there is no room. */
ngx_http_metrics_counts_t *ngx_http_metrics_place(ngx_http_metrics_zone_t *zone, const ngx_str_t *labels);

#endif
