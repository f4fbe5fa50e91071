/*
 * metrics: the memory in which all workers count, with a place for each server, found by its labels.
 *
 * A configuration takes its places before nginx is sure to take it over: it may yet find a port in use. So the one
 * that serves keeps all that it has. What only older ones had is free. One of their workers may still end a
 * request; it sees by the place's owner that it has lost the place, and counts no more there.
 */
#include "ngx_http_metrics.h"

#define NGX_HTTP_METRICS_IDLE 3600 /* s: an address that a name has had for a while is forgotten after so long */

static ngx_uint_t
ngx_http_metrics_is_free(const ngx_http_metrics_zone_t *zone, const ngx_http_metrics_counts_t *place)
{
    if (place->attempt == zone->attempt)
        return 0;
    if (place->configuration != zone->configuration)
        return 1;
    return place->met && place->counted + NGX_HTTP_METRICS_IDLE < ngx_time();
}

/* A place that nobody has had, or else the free one where nothing has been counted for longest. */
static ngx_http_metrics_counts_t *
ngx_http_metrics_free_place(ngx_http_metrics_zone_t *zone)
{
    ngx_http_metrics_counts_t *place, *oldest = NULL;

    if (zone->used < zone->size)
        return &zone->places[zone->used];
    for (place = zone->places; place < zone->places + zone->used; place++) {
        if (ngx_http_metrics_is_free(zone, place) && (oldest == NULL || place->counted < oldest->counted))
            oldest = place;
    }
    return oldest;
}

static ngx_http_metrics_counts_t *
ngx_http_metrics_find_place(ngx_http_metrics_zone_t *zone, const ngx_str_t *labels)
{
    ngx_http_metrics_counts_t *place;

    for (place = zone->places; place < zone->places + zone->used; place++) {
        if (place->labels_len == labels->len && ngx_memcmp(place->labels, labels->data, labels->len) == 0)
            return place;
    }
    return NULL;
}

/* A page may be read meanwhile: the place is on none until all of it is written. */
static void
ngx_http_metrics_give_place(ngx_http_metrics_zone_t *zone, ngx_http_metrics_counts_t *place,
                            const ngx_str_t *labels)
{
    ngx_uint_t owner = place->owner + 1;

    place->configuration = 0;
    ngx_memory_barrier();
    ngx_memzero(place, sizeof *place);
    ngx_memcpy(place->labels, labels->data, labels->len);
    place->labels_len = labels->len;
    place->owner = owner;
    ngx_memory_barrier();
    if (place == &zone->places[zone->used])
        zone->used++;
}

static ngx_http_metrics_counts_t *
ngx_http_metrics_find_or_give(ngx_http_metrics_zone_t *zone, const ngx_str_t *labels)
{
    ngx_http_metrics_counts_t *place = ngx_http_metrics_find_place(zone, labels);

    if (place == NULL && (place = ngx_http_metrics_free_place(zone)) != NULL)
        ngx_http_metrics_give_place(zone, place, labels);
    return place;
}

static ngx_http_metrics_place_t
ngx_http_metrics_own(ngx_http_metrics_counts_t *counts)
{
    ngx_http_metrics_place_t place = {counts, counts == NULL ? 0 : counts->owner};

    return place;
}

ngx_http_metrics_place_t
ngx_http_metrics_place(ngx_http_metrics_zone_t *zone, const ngx_str_t *labels)
{
    ngx_http_metrics_counts_t *place = ngx_http_metrics_find_or_give(zone, labels);

    if (place != NULL)
        place->attempt = zone->attempt;
    return ngx_http_metrics_own(place);
}

ngx_http_metrics_place_t
ngx_http_metrics_meet(ngx_http_metrics_zone_t *zone, const ngx_str_t *labels)
{
    ngx_http_metrics_counts_t *place = ngx_http_metrics_find_or_give(zone, labels);

    if (place != NULL && place->configuration != zone->configuration) {
        place->met = 1;
        place->counted = ngx_time();
        place->configuration = zone->configuration;
    }
    return ngx_http_metrics_own(place);
}

void
ngx_http_metrics_take_over(ngx_http_metrics_zone_t *zone)
{
    ngx_uint_t i;

    zone->configuration++;
    for (i = 0; i < zone->used; i++) {
        if (zone->places[i].attempt == zone->attempt) {
            zone->places[i].configuration = zone->configuration;
            zone->places[i].met = 0;
        }
    }
}

ngx_http_metrics_zone_t *
ngx_http_metrics_create_zone(ngx_slab_pool_t *pool)
{
    size_t bytes = pool->pfree * ngx_pagesize, head = offsetof(ngx_http_metrics_zone_t, places);
    ngx_http_metrics_zone_t *zone = ngx_slab_alloc(pool, bytes);

    if (zone == NULL)
        return NULL;
    ngx_memzero(zone, head);
    zone->size = (bytes - head) / sizeof zone->places[0];
    return zone;
}
