/*
 * admission: lines. All that stand in one have the same time, so that its first is always the first whose time is
 * over, and one timer does for all of them.
 */
#include "ngx_http_admission.h"

static void
ngx_http_admission_look(ngx_event_t *timer)
{
    ngx_http_admission_line_t *line = ngx_queue_data(timer, ngx_http_admission_line_t, timer);
    ngx_http_admission_ctx_t *first;
    ngx_msec_int_t left;

    while ((first = ngx_http_admission_first(line)) != NULL) {
        left = (ngx_msec_int_t)(first->deadline - ngx_current_msec);
        if (left > 0) {
            ngx_add_timer(timer, (ngx_msec_t)left);
            return;
        }
        line->over(first);
    }
}

void
ngx_http_admission_init_line(ngx_http_admission_line_t *line, void (*over)(ngx_http_admission_ctx_t *ctx))
{
    static ngx_connection_t none = {.fd = (ngx_socket_t)-1}; /* nginx's debug log looks for a connection there */

    ngx_queue_init(&line->places);
    line->over = over;
    line->timer.handler = ngx_http_admission_look;
    line->timer.log = ngx_cycle->log;
    line->timer.data = &none;
}

void
ngx_http_admission_join(ngx_http_admission_line_t *line, ngx_http_admission_ctx_t *ctx, ngx_msec_t time)
{
    ctx->line = line;
    ctx->deadline = ngx_current_msec + time;
    ngx_queue_insert_tail(&line->places, &ctx->place);
    line->length++;
    if (!line->timer.timer_set)
        ngx_add_timer(&line->timer, time);
}

void
ngx_http_admission_leave(ngx_http_admission_ctx_t *ctx)
{
    ngx_http_admission_line_t *line = ctx->line;

    if (line == NULL)
        return;
    ngx_queue_remove(&ctx->place);
    ctx->line = NULL;
    line->length--;
    if (line->length == 0 && line->timer.timer_set) /* a worker that has nothing else to do ends */
        ngx_del_timer(&line->timer);
}

ngx_http_admission_ctx_t *
ngx_http_admission_first(ngx_http_admission_line_t *line)
{
    return line->length > 0 ? ngx_queue_data(ngx_queue_head(&line->places), ngx_http_admission_ctx_t, place) : NULL;
}
