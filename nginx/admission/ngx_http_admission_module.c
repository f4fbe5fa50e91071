/*
 * admission: an nginx module that says how many requests are served at once, and when each has its turn.
 *
 *     http {
 *         admission_requests     8192;    # under way at once, in all workers; more get 503
 *         admission_body_timeout 5s;      # for a body to come, or each 64 KiB of a long one; else 408
 *         admission_calls        64;      # being served at once in each worker; others wait for their turn
 *         admission_wait         5s;      # at most; then 503
 *         admission_bytes        128m;    # of large bodies and answers in memory, in all workers; more get 503
 *
 *         server {
 *             location /api {
 *                 admission on;           # also in server {} or http {}, for all that is in there
 *             }
 *         }
 *     }
 *
 * 0 is no bound, and the default of all but the two times, which is 5 s.
 *
 * A request counts once its body is there, so that clients who send slowly shut nobody out; who may ask at all
 * (allow, auth_request, limit_req) is decided before the body is read. A body that is slow is answered with 408; so
 * is the one that has been on its way for longest when a worker has more than admission_requests of them. Only what
 * clients ask for is counted: no subrequest, and no error page. Each process counts for itself, in shared memory;
 * what a killed one has counted ends with it.
 *
 * A request that waits for its turn holds no connection but the client's, and the first that came is the first that
 * goes on. Its turn ends when the header of its answer is sent, so that answers of which clients are slow to take
 * take no turn; with compose, which sends nothing before all is there, the calls are over by then. A client that is
 * reset while it waits leaves the line; one that has ended its side after the request is answered.
 *
 * Memory: a body over 16 KiB takes client_body_buffer_size if there is room in half of admission_bytes, which it
 * holds until the request ends; else it has 16 KiB of memory, and nginx writes it to a file. An answer over 64 KiB
 * holds its length from its header on until its client has taken it; without room it becomes a 503. From the
 * beginning of its turn on, a request with a body over 64 KiB holds as much for its answer. Smaller ones are never
 * refused for it.
 *
 * The whole body is read before the location sees it: request_buffering off has no effect there, and DAV's PUT
 * does not find its file.
 */
#include "ngx_http_admission.h"
#include "ngx_http_cgi_waiting.h"

typedef struct {
    ngx_shm_zone_t *zone;
    ngx_uint_t requests;
    ngx_msec_t body_timeout;
    ngx_uint_t calls;
    ngx_msec_t wait;
    size_t bytes;
} ngx_http_admission_main_conf_t;

typedef struct {
    ngx_flag_t on;
} ngx_http_admission_loc_conf_t;

#define NGX_HTTP_ADMISSION_TIMED (64 * 1024)  /* bytes of a body for which it is given time */
#define NGX_HTTP_ADMISSION_BUFFER (16 * 1024) /* bytes of memory that any body has */
#define NGX_HTTP_ADMISSION_SMALL (64 * 1024)  /* bytes of an answer that is not counted */
#define NGX_HTTP_ADMISSION_LATE 1000          /* ms: if a timer is so late, the delay is ours, not the client's */

ngx_module_t ngx_http_admission_module;

static ngx_http_output_header_filter_pt ngx_http_admission_next_header_filter;

/* Of this worker. */
static ngx_http_admission_line_t ngx_http_admission_reading; /* requests whose body is on its way */
static ngx_http_admission_line_t ngx_http_admission_waiting; /* for their turn */
static ngx_uint_t ngx_http_admission_calls;                  /* requests that have it */

/* ---- a request ---- */

/* Have the request run by its write event handler, in a turn of its own. */
static void
ngx_http_admission_run(ngx_http_request_t *r, ngx_http_event_handler_pt handler)
{
    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = handler;
    ngx_post_event(r->connection->write, &ngx_posted_events);
}

/* Its turn is over, and is the first's that waits for one. */
static void
ngx_http_admission_end_turn(ngx_http_admission_ctx_t *ctx)
{
    ngx_http_admission_ctx_t *next = ngx_http_admission_first(&ngx_http_admission_waiting);

    if (!ctx->calling)
        return;
    ctx->calling = 0;
    if (next == NULL) {
        ngx_http_admission_calls--;
        return;
    }
    ngx_http_admission_leave(next);
    next->calling = 1;
    ngx_http_admission_run(next->request, ngx_http_core_run_phases);
}

static void
ngx_http_admission_end(void *data)
{
    ngx_http_admission_ctx_t *ctx = data;

    ngx_http_admission_leave(ctx);
    ngx_http_admission_end_turn(ctx);
    if (ctx->counted)
        ngx_http_admission_discount();
    ctx->counted = 0;
    ngx_http_admission_let_go(ctx->body_bytes + ctx->answer_bytes);
    ctx->body_bytes = 0;
    ctx->answer_bytes = 0;
}

static ngx_http_admission_ctx_t *
ngx_http_admission_add(ngx_http_request_t *r)
{
    ngx_http_cleanup_t *cleanup = ngx_http_cleanup_add(r, sizeof(ngx_http_admission_ctx_t));
    ngx_http_admission_ctx_t *ctx;

    if (cleanup == NULL)
        return NULL;
    ctx = cleanup->data;
    ngx_memzero(ctx, sizeof *ctx);
    ctx->request = r;
    cleanup->handler = ngx_http_admission_end;
    ngx_http_set_ctx(r, ctx, ngx_http_admission_module);
    return ctx;
}

/* Returns the main request's, also when nginx has gone to another location since and has forgotten it; or NULL. */
static ngx_http_admission_ctx_t *
ngx_http_admission_find(ngx_http_request_t *r)
{
    ngx_http_admission_ctx_t *ctx = ngx_http_get_module_ctx(r, ngx_http_admission_module);
    ngx_http_cleanup_t *cleanup;

    if (ctx != NULL || (!r->internal && !r->filter_finalize))
        return ctx;
    for (cleanup = r->cleanup; cleanup != NULL; cleanup = cleanup->next) {
        if (cleanup->handler == ngx_http_admission_end)
            return cleanup->data;
    }
    return NULL;
}

/* ---- its body ---- */

/* What has come of the body is not for the location of the answer's words. */
static void
ngx_http_admission_give_up_body(ngx_http_request_t *r)
{
    if (r->connection->read->timer_set)
        ngx_del_timer(r->connection->read);
#if (NGX_HTTP_V2)
    if (r->stream != NULL)
        r->stream->skip_data = 1;
#endif
    r->request_body->bufs = NULL;
    r->headers_in.content_length_n = 0;
    r->headers_in.chunked = 0;
    r->keepalive = 0;
    r->lingering_close = 0; /* else it may go on to send for as long as it wants to */
}

/* nginx alone would close the connection without a word. */
static void
ngx_http_admission_refuse_slow(ngx_http_request_t *r)
{
    r->write_event_handler = ngx_http_request_empty_handler;
    ngx_http_admission_give_up_body(r);
    ngx_http_finalize_request(r, ngx_http_special_response_handler(r, NGX_HTTP_REQUEST_TIME_OUT));
}

static void
ngx_http_admission_give_up(ngx_http_admission_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->request;

    ngx_http_admission_leave(ctx);
    if (ngx_http_get_module_ctx(r, ngx_http_admission_module) != ctx)
        return; /* an error's page is under way */
    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "admission: the body is too slow, %O bytes have come",
                  r->request_length);
    ctx->status = NGX_HTTP_REQUEST_TIME_OUT;
    ngx_http_admission_run(r, ngx_http_admission_refuse_slow);
}

static void
ngx_http_admission_await_body(ngx_http_request_t *r, ngx_http_admission_ctx_t *ctx)
{
    ngx_http_admission_main_conf_t *conf = ngx_http_get_module_main_conf(r, ngx_http_admission_module);

    ctx->seen = r->request_length;
    ngx_http_admission_join(&ngx_http_admission_reading, ctx, conf->body_timeout);
    if (conf->requests > 0 && ngx_http_admission_reading.length > conf->requests)
        ngx_http_admission_give_up(ngx_http_admission_first(&ngx_http_admission_reading));
}

/* The time of a body is over. */
static void
ngx_http_admission_test_body(ngx_http_admission_ctx_t *ctx)
{
    ngx_http_request_t *r = ctx->request;

    if (r->request_length - ctx->seen < NGX_HTTP_ADMISSION_TIMED &&
        (ngx_msec_int_t)(ngx_current_msec - ctx->deadline) < NGX_HTTP_ADMISSION_LATE) {
        ngx_http_admission_give_up(ctx);
        return;
    }
    ngx_http_admission_leave(ctx);
    ngx_http_admission_await_body(r, ctx);
}

/* nginx has read the body, at once or later. */
static void
ngx_http_admission_body_came(ngx_http_request_t *r)
{
    ngx_http_admission_ctx_t *ctx = ngx_http_get_module_ctx(r, ngx_http_admission_module);

    if (ctx->status != 0) /* it was too late */
        return;
    ctx->body = 1;
    if (ctx->line == NULL)
        return;
    ngx_http_admission_leave(ctx);
    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}

/* The most memory that nginx may take for the body at once. Of one whose length is not known it would take all. */
static size_t
ngx_http_admission_body_buffer(ngx_http_request_t *r, ngx_http_admission_ctx_t *ctx, size_t size)
{
    ngx_http_admission_main_conf_t *conf = ngx_http_get_module_main_conf(r, ngx_http_admission_module);
    off_t length = r->headers_in.content_length_n;
    size_t bytes = length >= 0 && length < (off_t)size ? (size_t)length : size;

    if (conf->bytes == 0 || bytes <= NGX_HTTP_ADMISSION_BUFFER)
        return size;
    if (length < 0 || ngx_http_admission_hold(conf->zone->data, bytes, conf->bytes / 2) != NGX_OK)
        return NGX_HTTP_ADMISSION_BUFFER;
    ctx->body_bytes = bytes;
    return size;
}

/* nginx looks for the size of the buffer in the location's configuration, and only in this call. */
static ngx_int_t
ngx_http_admission_begin_body(ngx_http_request_t *r, ngx_http_admission_ctx_t *ctx)
{
    ngx_http_core_loc_conf_t *core = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    size_t size = core->client_body_buffer_size;
    ngx_int_t rc;

    core->client_body_buffer_size = ngx_http_admission_body_buffer(r, ctx, size);
    rc = ngx_http_read_client_request_body(r, ngx_http_admission_body_came);
    core->client_body_buffer_size = size;
    return rc;
}

/* Returns NGX_OK when the body is there, NGX_DONE while it is on its way, or an error's status. */
static ngx_int_t
ngx_http_admission_read_body(ngx_http_request_t *r, ngx_http_admission_ctx_t *ctx)
{
    ngx_int_t rc = ngx_http_admission_begin_body(r, ctx);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE)
        return rc;
    r->main->count--; /* nobody has to end the request twice: it is not given away */
    if (rc == NGX_ERROR)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    if (ctx->body)
        return NGX_OK;
    ngx_http_admission_await_body(r, ctx);
    return NGX_DONE;
}

/* ---- its turn ---- */

static ngx_int_t
ngx_http_admission_refuse(ngx_http_admission_ctx_t *ctx, const char *why)
{
    ngx_log_error(NGX_LOG_INFO, ctx->request->connection->log, 0, "admission: %s", why);
    ctx->status = NGX_HTTP_SERVICE_UNAVAILABLE;
    return ctx->status;
}

/* Its turn did not come in time. */
static void
ngx_http_admission_end_wait(ngx_http_admission_ctx_t *ctx)
{
    ngx_http_admission_leave(ctx);
    ngx_http_admission_refuse(ctx, "the request has waited for too long");
    ngx_http_admission_run(ctx->request, ngx_http_core_run_phases);
}

static ngx_int_t
ngx_http_admission_await_turn(ngx_http_request_t *r, ngx_http_admission_ctx_t *ctx, ngx_msec_t time)
{
    ngx_event_t *read = r->connection->read;

    r->read_event_handler = ngx_http_cgi_waiting_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;
    if (read->ready) { /* it may be reset already */
        ngx_post_event(read, &ngx_posted_events);
    } else if (ngx_handle_read_event(read, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    ngx_http_admission_join(&ngx_http_admission_waiting, ctx, time);
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0, "admission wait: %ui in line",
                   ngx_http_admission_waiting.length);
    return NGX_DONE;
}

/* Hold memory for an answer of this length, or refuse it. */
static ngx_int_t
ngx_http_admission_hold_answer(ngx_http_request_t *r, ngx_http_admission_ctx_t *ctx, off_t length)
{
    ngx_http_admission_main_conf_t *conf = ngx_http_get_module_main_conf(r, ngx_http_admission_module);

    ngx_http_admission_let_go(ctx->answer_bytes);
    ctx->answer_bytes = 0;
    if (conf->bytes == 0 || length <= NGX_HTTP_ADMISSION_SMALL)
        return NGX_OK;
    if (ngx_http_admission_hold(conf->zone->data, (size_t)length, conf->bytes) != NGX_OK)
        return ngx_http_admission_refuse(ctx, "too many bytes are held for clients");
    ctx->answer_bytes = (size_t)length;
    return NGX_OK;
}

/* It may be as long as the body: what there is no room for is refused before it is made. */
static ngx_int_t
ngx_http_admission_begin_turn(ngx_http_request_t *r, ngx_http_admission_ctx_t *ctx)
{
    ngx_int_t rc = ngx_http_admission_hold_answer(r, ctx, r->headers_in.content_length_n);

    return rc == NGX_OK ? NGX_DECLINED : rc;
}

/*
 * Returns NGX_DECLINED when it has its turn, as nginx's phases call it; NGX_DONE when it waits for it; or an
 * error's status.
 */
static ngx_int_t
ngx_http_admission_admit(ngx_http_request_t *r, ngx_http_admission_ctx_t *ctx)
{
    ngx_http_admission_main_conf_t *conf = ngx_http_get_module_main_conf(r, ngx_http_admission_module);

    if (!ctx->counted && ngx_http_admission_count(conf->zone->data, conf->requests) != NGX_OK)
        return ngx_http_admission_refuse(ctx, "too many requests are under way");
    ctx->counted = 1;
    if (conf->calls == 0 || ctx->calling)
        return ngx_http_admission_begin_turn(r, ctx);
    if (ngx_http_admission_calls >= conf->calls)
        return ngx_http_admission_await_turn(r, ctx, conf->wait);
    ngx_http_admission_calls++;
    ctx->calling = 1;
    return ngx_http_admission_begin_turn(r, ctx);
}

/* In the last phase before the content: who may not ask at all has been told so. */
static ngx_int_t
ngx_http_admission_handler(ngx_http_request_t *r)
{
    ngx_http_admission_loc_conf_t *location = ngx_http_get_module_loc_conf(r, ngx_http_admission_module);
    ngx_http_admission_ctx_t *ctx = ngx_http_get_module_ctx(r, ngx_http_admission_module);
    ngx_int_t rc;

    if (r != r->main || !location->on || r->post_action)
        return NGX_DECLINED;
    if (ctx != NULL) /* it goes on: its body has come, or it has its turn */
        return ctx->status != 0 ? ctx->status : ngx_http_admission_admit(r, ctx);
    if (r->err_status != 0 || ngx_http_admission_find(r) != NULL)
        return NGX_DECLINED;
    if ((ctx = ngx_http_admission_add(r)) == NULL)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    rc = ngx_http_admission_read_body(r, ctx);
    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0, "admission body: %i, %ui on their way", rc,
                   ngx_http_admission_reading.length);
    return rc == NGX_OK ? ngx_http_admission_admit(r, ctx) : rc;
}

/* Its answer is sent: also one that says what is wrong with a body of which more is on its way. */
static ngx_int_t
ngx_http_admission_header_filter(ngx_http_request_t *r)
{
    ngx_http_admission_ctx_t *ctx = r == r->main ? ngx_http_admission_find(r) : NULL;

    if (ctx == NULL)
        return ngx_http_admission_next_header_filter(r);
    ngx_http_admission_leave(ctx);
    ngx_http_admission_end_turn(ctx);
    if (ctx->status == 0 && r->method != NGX_HTTP_HEAD &&
        ngx_http_admission_hold_answer(r, ctx, r->headers_out.content_length_n) != NGX_OK) {
        ngx_http_clean_header(r);
        return ctx->status; /* as of nginx's own filters: who sends the header ends the request with it */
    }
    return ngx_http_admission_next_header_filter(r);
}

/* ---- processes ---- */

static ngx_int_t
ngx_http_admission_init_process(ngx_cycle_t *cycle)
{
    ngx_http_admission_main_conf_t *conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_admission_module);

    ngx_http_admission_init_line(&ngx_http_admission_reading, ngx_http_admission_test_body);
    ngx_http_admission_init_line(&ngx_http_admission_waiting, ngx_http_admission_end_wait);
    if (conf != NULL && conf->zone != NULL)
        ngx_http_admission_take_slot(conf->zone->data);
    return NGX_OK;
}

static void
ngx_http_admission_exit_process(ngx_cycle_t *cycle)
{
    (void)cycle;
    ngx_http_admission_leave_slot();
}

/* ---- the directives ---- */

static void *
ngx_http_admission_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_admission_main_conf_t *conf = ngx_pcalloc(cf->pool, sizeof *conf);

    if (conf != NULL) {
        conf->requests = NGX_CONF_UNSET_UINT;
        conf->body_timeout = NGX_CONF_UNSET_MSEC;
        conf->calls = NGX_CONF_UNSET_UINT;
        conf->wait = NGX_CONF_UNSET_MSEC;
        conf->bytes = NGX_CONF_UNSET_SIZE;
    }
    return conf;
}

static char *
ngx_http_admission_init_main_conf(ngx_conf_t *cf, void *data)
{
    ngx_http_admission_main_conf_t *conf = data;

    (void)cf;
    ngx_conf_init_uint_value(conf->requests, 0);
    ngx_conf_init_msec_value(conf->body_timeout, 5000);
    ngx_conf_init_uint_value(conf->calls, 0);
    ngx_conf_init_msec_value(conf->wait, 5000);
    ngx_conf_init_size_value(conf->bytes, 0);
    return NGX_CONF_OK;
}

static void *
ngx_http_admission_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_admission_loc_conf_t *conf = ngx_pcalloc(cf->pool, sizeof *conf);

    if (conf != NULL)
        conf->on = NGX_CONF_UNSET;
    return conf;
}

static char *
ngx_http_admission_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_admission_loc_conf_t *before = parent, *conf = child;

    (void)cf;
    ngx_conf_merge_value(conf->on, before->on, 0);
    return NGX_CONF_OK;
}

static char *
ngx_http_admission(ngx_conf_t *cf, ngx_command_t *command, void *data)
{
    ngx_http_admission_main_conf_t *conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_admission_module);

    if (conf->zone == NULL && (conf->zone = ngx_http_admission_add_zone(cf)) == NULL)
        return NGX_CONF_ERROR;
    return ngx_conf_set_flag_slot(cf, command, data);
}

static ngx_int_t
ngx_http_admission_init(ngx_conf_t *cf)
{
    ngx_http_admission_main_conf_t *conf = ngx_http_conf_get_module_main_conf(cf, ngx_http_admission_module);
    ngx_http_core_main_conf_t *core = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_http_handler_pt *handler;

    if (conf->zone == NULL)
        return NGX_OK;
    if ((handler = ngx_array_push(&core->phases[NGX_HTTP_PRECONTENT_PHASE].handlers)) == NULL)
        return NGX_ERROR;
    *handler = ngx_http_admission_handler;
    ngx_http_admission_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_admission_header_filter;
    return NGX_OK;
}

#define NGX_HTTP_ADMISSION_ANYWHERE (NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | NGX_HTTP_LIF_CONF)

static ngx_command_t ngx_http_admission_commands[] = {
    {ngx_string("admission"), NGX_HTTP_ADMISSION_ANYWHERE | NGX_CONF_FLAG, ngx_http_admission,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(ngx_http_admission_loc_conf_t, on), NULL},
    {ngx_string("admission_requests"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_num_slot,
     NGX_HTTP_MAIN_CONF_OFFSET, offsetof(ngx_http_admission_main_conf_t, requests), NULL},
    {ngx_string("admission_body_timeout"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_msec_slot,
     NGX_HTTP_MAIN_CONF_OFFSET, offsetof(ngx_http_admission_main_conf_t, body_timeout), NULL},
    {ngx_string("admission_calls"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_num_slot,
     NGX_HTTP_MAIN_CONF_OFFSET, offsetof(ngx_http_admission_main_conf_t, calls), NULL},
    {ngx_string("admission_wait"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_msec_slot,
     NGX_HTTP_MAIN_CONF_OFFSET, offsetof(ngx_http_admission_main_conf_t, wait), NULL},
    {ngx_string("admission_bytes"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_size_slot,
     NGX_HTTP_MAIN_CONF_OFFSET, offsetof(ngx_http_admission_main_conf_t, bytes), NULL},
    ngx_null_command,
};

static ngx_http_module_t ngx_http_admission_module_ctx = {
    .postconfiguration = ngx_http_admission_init,
    .create_main_conf = ngx_http_admission_create_main_conf,
    .init_main_conf = ngx_http_admission_init_main_conf,
    .create_loc_conf = ngx_http_admission_create_loc_conf,
    .merge_loc_conf = ngx_http_admission_merge_loc_conf,
};

ngx_module_t ngx_http_admission_module = {
    NGX_MODULE_V1,
    .ctx = &ngx_http_admission_module_ctx,
    .commands = ngx_http_admission_commands,
    .type = NGX_HTTP_MODULE,
    .init_process = ngx_http_admission_init_process,
    .exit_process = ngx_http_admission_exit_process,
};
