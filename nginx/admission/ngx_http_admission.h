/*
 * What the files of the module admission share: what all workers count, and the lines in which requests stand.
 */
#ifndef NGX_HTTP_ADMISSION_H
#define NGX_HTTP_ADMISSION_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

/* ---- ngx_http_admission_count.c ---- */

/* What one process has under way. It alone writes there, so that nothing has to be locked; all may read. */
typedef struct {
    ngx_atomic_t pid; /* 0: nobody's */
    ngx_atomic_t requests;
    ngx_atomic_t bytes;                                   /* held in memory for them */
} __attribute__((aligned(64))) ngx_http_admission_slot_t; /* 64: a cache line of its own */

typedef struct {
    ngx_atomic_t used; /* slots, from the first */
    ngx_http_admission_slot_t slots[NGX_MAX_PROCESSES];
} ngx_http_admission_zone_t;

/* Returns the memory that all workers share, from this configuration on; NULL when there is no memory. */
ngx_shm_zone_t *ngx_http_admission_add_zone(ngx_conf_t *cf);

/* This process begins to count, from 0, or ends. */
void ngx_http_admission_take_slot(ngx_http_admission_zone_t *zone);
void ngx_http_admission_leave_slot(void);

/*
 * Count one request more, if there are less than `most` under way; 0: any number. Two workers that do this in the
 * same moment may both take the last place. Returns NGX_OK or NGX_BUSY.
 */
ngx_int_t ngx_http_admission_count(ngx_http_admission_zone_t *zone, ngx_uint_t most);

/* One of them has ended. */
void ngx_http_admission_discount(void);

/* Likewise of bytes. */
ngx_int_t ngx_http_admission_hold(ngx_http_admission_zone_t *zone, size_t bytes, size_t most);
void ngx_http_admission_let_go(size_t bytes);

/* ---- ngx_http_admission_line.c ---- */

typedef struct ngx_http_admission_ctx_s ngx_http_admission_ctx_t;

/* What stands in a line of this worker, in the order in which it came. */
typedef struct {
    ngx_queue_t places;
    ngx_uint_t length;
    ngx_event_t timer;                           /* of the first place */
    void (*over)(ngx_http_admission_ctx_t *ctx); /* its time is over; takes it out of its place */
} ngx_http_admission_line_t;

/* A request, from when its body is asked for until it ends. */
struct ngx_http_admission_ctx_s {
    ngx_http_request_t *request;
    ngx_http_admission_line_t *line; /* where it stands; NULL: nowhere */
    ngx_queue_t place;
    ngx_msec_t deadline; /* of its time there */
    size_t body_bytes;   /* that are held for its body, */
    size_t answer_bytes; /* and its answer */
    off_t seen;          /* the bytes of its body that had come when that time began */
    ngx_int_t status;    /* that of its refusal, or 0 */
    unsigned body : 1;   /* is there */
    unsigned counted : 1;
    unsigned calling : 1; /* has its turn */
};

void ngx_http_admission_init_line(ngx_http_admission_line_t *line, void (*over)(ngx_http_admission_ctx_t *ctx));

/* At the end of the line, for at most this time. All that stand in one line have the same. */
void ngx_http_admission_join(ngx_http_admission_line_t *line, ngx_http_admission_ctx_t *ctx, ngx_msec_t time);

/* Out of its line, if it is in one. */
void ngx_http_admission_leave(ngx_http_admission_ctx_t *ctx);

/* Returns the first in the line, or NULL. */
ngx_http_admission_ctx_t *ngx_http_admission_first(ngx_http_admission_line_t *line);

#endif
