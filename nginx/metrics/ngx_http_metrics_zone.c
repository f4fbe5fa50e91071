/*
 * metrics: the memory in which all workers count, with a place for each server, found by its labels.
 */
#include "ngx_http_metrics.h"

/* A place that no configuration had, or else the one that has been unused for longest. Not one of the configuration
 * before: its workers may still count there. Returns NULL when there is none. */
static ngx_http_metrics_counts_t *
ngx_http_metrics_free_place(ngx_http_metrics_zone_t *zone)
{
    ngx_http_metrics_counts_t *oldest = &zone->places[0];
    ngx_uint_t i;

    if (zone->used < zone->size)
        return &zone->places[zone->used++];
    for (i = 1; i < zone->used; i++) {
        if (zone->places[i].configuration < oldest->configuration)
            oldest = &zone->places[i];
    }
    return oldest->configuration + 1 < zone->configuration ? oldest : NULL;
}

static ngx_http_metrics_counts_t *
ngx_http_metrics_find_place(ngx_http_metrics_zone_t *zone, const ngx_str_t *labels)
{
    ngx_http_metrics_counts_t *place;
    ngx_uint_t i;

    for (i = 0; i < zone->used; i++) {
        place = &zone->places[i];
        if (place->labels_len == labels->len && ngx_memcmp(place->labels, labels->data, labels->len) == 0)
            return place;
    }
    return NULL;
}

ngx_http_metrics_counts_t *
ngx_http_metrics_place(ngx_http_metrics_zone_t *zone, const ngx_str_t *labels)
{
    ngx_http_metrics_counts_t *place;

    if (labels->len > sizeof place->labels)
        return NULL;
    if ((place = ngx_http_metrics_find_place(zone, labels)) == NULL) {
        if ((place = ngx_http_metrics_free_place(zone)) == NULL)
            return NULL;
        ngx_memzero(place, sizeof *place);
        ngx_memcpy(place->labels, labels->data, labels->len);
        place->labels_len = labels->len;
    }
    place->configuration = zone->configuration;
    return place;
}

ngx_http_metrics_zone_t *
ngx_http_metrics_create_zone(ngx_slab_pool_t *pool)
{
    size_t bytes = pool->pfree * ngx_pagesize, head = offsetof(ngx_http_metrics_zone_t, places);
    ngx_http_metrics_zone_t *zone = ngx_slab_alloc(pool, bytes);

    if (zone == NULL)
        return NULL;
    zone->configuration = 0;
    zone->used = 0;
    zone->size = (bytes - head) / sizeof zone->places[0];
    return zone;
}
