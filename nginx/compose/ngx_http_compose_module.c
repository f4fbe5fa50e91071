/*
 * compose: an nginx module for answers that are made of other answers.
 *
 *     location = /api {
 *         compose /app/api;
 *     }
 *
 * nginx asks /app/api, the frame, by a subrequest. Wherever the body of its 200 has the tag
 *
 *     <!--# include virtual="/reverse/message" -->
 *
 * nginx asks that by a subrequest, too, and puts its body there. Each of them gets the client's request body.
 *
 * nginx's own SSI does the same, but the status line has left before the first subrequest begins, so that a call
 * that fails ends inside a 200. Here nothing leaves before all is there: a call that fails makes the whole answer a
 * 502, or a 504 when it took too long, and error_page words it. A call that ends as 502, or whose answer breaks
 * off, is made once more: nginx itself asks the next server only until the first byte. `compose /app/api once;`
 * never repeats one.
 */
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

typedef struct {
    ngx_str_t uri;   /* of the frame; empty: this location does not compose */
    ngx_uint_t once; /* never repeat a call */
} ngx_http_compose_conf_t;

typedef struct {
    ngx_http_request_t *call; /* the subrequest under way, or the last one */
    ngx_str_t uri;            /* of it */
    ngx_str_t args;
    ngx_int_t status;          /* what nginx itself made of the call: an error's status, or 0 */
    ngx_uint_t done;           /* the call has ended */
    ngx_uint_t repeated;       /* it was made a second time, or may not be */
    ngx_http_request_t *frame; /* the first call, once it has ended */
    ngx_str_t rest;            /* of the frame's body: what is not in `out` yet */
    ngx_chain_t *out;          /* the answer so far */
    ngx_chain_t **last;
    off_t length; /* of it, in bytes */
} ngx_http_compose_ctx_t;

ngx_module_t ngx_http_compose_module;

static void ngx_http_compose_resume(ngx_http_request_t *r);

/* ---- a call ---- */

/* The log shows the servers of all calls as it shows those of a location that passes on itself. */
static void
ngx_http_compose_log_upstreams(ngx_http_request_t *r, ngx_http_request_t *call)
{
    ngx_http_upstream_state_t *states;

    if (call->upstream_states == NULL)
        return;
    if (r->upstream_states == NULL) {
        r->upstream_states = call->upstream_states;
        return;
    }
    states = ngx_array_push_n(r->upstream_states, call->upstream_states->nelts);
    if (states != NULL)
        ngx_memcpy(states, call->upstream_states->elts,
                   call->upstream_states->nelts * sizeof(ngx_http_upstream_state_t));
}

/* nginx is done with the call. What went wrong is for ngx_http_compose_resume(), which it runs next. */
static ngx_int_t
ngx_http_compose_done(ngx_http_request_t *call, void *data, ngx_int_t rc)
{
    ngx_http_compose_ctx_t *ctx = data;

    if (rc == NGX_HTTP_CLIENT_CLOSED_REQUEST || rc == NGX_HTTP_REQUEST_TIME_OUT || call->connection->error)
        return rc; /* the client has gone */
    if (!ctx->done)
        ngx_http_compose_log_upstreams(call->parent, call);
    ctx->done = 1;
    if (rc == NGX_ERROR)
        ctx->status = NGX_HTTP_BAD_GATEWAY;
    else if (rc >= NGX_HTTP_SPECIAL_RESPONSE)
        ctx->status = rc;
    return NGX_OK;
}

/* Begin the call of ctx->uri. */
static ngx_int_t
ngx_http_compose_call(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx)
{
    ngx_http_post_subrequest_t *after = ngx_palloc(r->pool, sizeof(ngx_http_post_subrequest_t));

    if (after == NULL)
        return NGX_ERROR;
    after->handler = ngx_http_compose_done;
    after->data = ctx;
    ctx->done = 0;
    ctx->status = 0;
    if (ngx_http_subrequest(r, &ctx->uri, &ctx->args, &ctx->call, after,
                            NGX_HTTP_SUBREQUEST_IN_MEMORY | NGX_HTTP_SUBREQUEST_WAITED) != NGX_OK)
        return NGX_ERROR;
    ctx->call->method = r->method; /* nginx says GET, and would wait for the body of an answer to HEAD */
    ctx->call->method_name = r->method_name;
    return NGX_OK;
}

static ngx_str_t
ngx_http_compose_body(ngx_http_request_t *call)
{
    ngx_str_t body = ngx_string(""); /* not NULL: memmem() may not be given that, for no bytes either */

    if (call->out != NULL && call->out->buf != NULL) {
        body.data = call->out->buf->pos;
        body.len = (size_t)(call->out->buf->last - call->out->buf->pos);
    }
    return body;
}

/* Whether the answer came to its end. nginx passes on what there is, as for a client that reads along. */
static ngx_uint_t
ngx_http_compose_is_whole(ngx_http_request_t *call)
{
    ngx_event_pipe_t *pipe = call->upstream != NULL ? call->upstream->pipe : NULL;

    if (pipe != NULL && !pipe->upstream_done && !(pipe->upstream_eof && pipe->length == -1))
        return 0;
    return call->method == NGX_HTTP_HEAD || call->headers_out.content_length_n == -1 ||
           call->headers_out.content_length_n == (off_t)ngx_http_compose_body(call).len;
}

/* ---- the answer ---- */

static ngx_int_t
ngx_http_compose_append(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx, ngx_str_t part)
{
    ngx_chain_t *link;

    if (part.len == 0)
        return NGX_OK;
    if ((link = ngx_alloc_chain_link(r->pool)) == NULL || (link->buf = ngx_calloc_buf(r->pool)) == NULL)
        return NGX_ERROR;
    link->buf->pos = part.data;
    link->buf->last = part.data + part.len;
    link->buf->memory = 1;
    link->next = NULL;
    *ctx->last = link;
    ctx->last = &link->next;
    ctx->length += (off_t)part.len;
    return NGX_OK;
}

/* The frame's status and headers are the answer's. */
static ngx_int_t
ngx_http_compose_copy_head(ngx_http_request_t *r, ngx_http_request_t *frame)
{
    ngx_list_part_t *part;
    ngx_table_elt_t *copy;
    ngx_table_elt_t *header;
    ngx_uint_t i;

    r->headers_out.status = frame->headers_out.status;
    r->headers_out.status_line = frame->headers_out.status_line;
    r->headers_out.content_type = frame->headers_out.content_type;
    r->headers_out.content_type_len = frame->headers_out.content_type_len;
    r->headers_out.charset = frame->headers_out.charset;
    for (part = &frame->headers_out.headers.part; part != NULL; part = part->next) {
        header = part->elts;
        for (i = 0; i < part->nelts; i++) {
            if (header[i].hash == 0)
                continue; /* taken out */
            if ((copy = ngx_list_push(&r->headers_out.headers)) == NULL)
                return NGX_ERROR;
            *copy = header[i];
        }
    }
    return NGX_OK;
}

static ngx_int_t
ngx_http_compose_send(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx)
{
    ngx_buf_t *end = ngx_calloc_buf(r->pool);
    ngx_chain_t link;
    ngx_int_t rc;

    if (end == NULL || ngx_http_compose_copy_head(r, ctx->frame) != NGX_OK)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    end->last_buf = 1;
    link.buf = end;
    link.next = NULL;
    *ctx->last = &link;
    if (r->method != NGX_HTTP_HEAD) /* to which there is none, and so no length to tell */
        r->headers_out.content_length_n = ctx->length;
    rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only)
        return rc;
    return ngx_http_output_filter(r, ctx->out);
}

/* ---- the frame ---- */

/*
 * Move what stands before the next tag from the rest to the answer. Sets ctx->uri to what the tag names.
 * Returns NGX_OK; NGX_DONE when there is no tag any more; NGX_ERROR.
 */
static ngx_int_t
ngx_http_compose_next_tag(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx)
{
    static const char begin[] = "<!--# include virtual=\"";
    static const char end[] = "\" -->";
    ngx_str_t text = ctx->rest;
    ngx_uint_t flags = NGX_HTTP_LOG_UNSAFE;
    u_char *after = NULL;
    u_char *tag = memmem(text.data, text.len, begin, sizeof begin - 1);

    if (tag != NULL) {
        ctx->uri.data = tag + sizeof begin - 1;
        after = memmem(ctx->uri.data, (size_t)(text.data + text.len - ctx->uri.data), end, sizeof end - 1);
    }
    if (after == NULL)
        return ngx_http_compose_append(r, ctx, text) == NGX_OK ? NGX_DONE : NGX_ERROR;
    ctx->uri.len = (size_t)(after - ctx->uri.data);
    text.len = (size_t)(tag - text.data);
    ctx->rest.len -= (size_t)(after + sizeof end - 1 - ctx->rest.data);
    ctx->rest.data = after + sizeof end - 1;
    ngx_str_null(&ctx->args);
    if (ngx_http_parse_unsafe_uri(r, &ctx->uri, &ctx->args, &flags) != NGX_OK)
        return NGX_ERROR;
    return ngx_http_compose_append(r, ctx, text);
}

/* A call came to its end, well: it is the frame, or goes into it. Returns NGX_OK, or the status of an error. */
static ngx_int_t
ngx_http_compose_take(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx)
{
    ngx_str_t body = ngx_http_compose_body(ctx->call);

    if (ctx->frame == NULL) {
        ctx->frame = ctx->call;
        ctx->rest = body;
        return NGX_OK;
    }
    if (ctx->call->headers_out.status != NGX_HTTP_OK || body.len == 0) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "compose: \"%V\" answered %ui with %uz bytes; a 200 with a body is needed", &ctx->uri,
                      ctx->call->headers_out.status, body.len);
        return NGX_HTTP_BAD_GATEWAY;
    }
    return ngx_http_compose_append(r, ctx, body) == NGX_OK ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
}

/* What comes after a call. Returns NGX_DONE when another one has begun, else what the request ends with. */
static ngx_int_t
ngx_http_compose_step(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx)
{
    ngx_http_compose_conf_t *conf = ngx_http_get_module_loc_conf(r, ngx_http_compose_module);
    ngx_int_t rc;

    if (ctx->status == 0 && !ngx_http_compose_is_whole(ctx->call))
        ctx->status = NGX_HTTP_BAD_GATEWAY;
    if (ctx->status == NGX_HTTP_BAD_GATEWAY && !ctx->repeated) {
        ctx->repeated = 1;
        return ngx_http_compose_call(r, ctx) == NGX_OK ? NGX_DONE : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (ctx->status != 0) /* a part that is not there is not the client's fault */
        return ctx->frame != NULL && ctx->status != NGX_HTTP_GATEWAY_TIME_OUT ? NGX_HTTP_BAD_GATEWAY : ctx->status;
    if ((rc = ngx_http_compose_take(r, ctx)) != NGX_OK)
        return rc;
    if (ctx->frame->headers_out.status == NGX_HTTP_OK)
        rc = ngx_http_compose_next_tag(r, ctx);
    else /* an error of its own has no tags */
        rc = ngx_http_compose_append(r, ctx, ctx->rest) == NGX_OK ? NGX_DONE : NGX_ERROR;
    if (rc == NGX_DONE)
        return ngx_http_compose_send(r, ctx);
    ctx->repeated = conf->once;
    return rc == NGX_OK && ngx_http_compose_call(r, ctx) == NGX_OK ? NGX_DONE : NGX_HTTP_INTERNAL_SERVER_ERROR;
}

/* ---- the request ---- */

/* nginx runs this when a subrequest has ended. */
static void
ngx_http_compose_resume(ngx_http_request_t *r)
{
    ngx_http_compose_ctx_t *ctx = ngx_http_get_module_ctx(r, ngx_http_compose_module);
    ngx_int_t rc;

    if (!ctx->done)
        return;
    rc = ngx_http_compose_step(r, ctx);
    if (rc != NGX_DONE)
        ngx_http_finalize_request(r, rc);
}

/* The client's body is there. */
static void
ngx_http_compose_begin(ngx_http_request_t *r)
{
    ngx_http_compose_conf_t *conf = ngx_http_get_module_loc_conf(r, ngx_http_compose_module);
    ngx_http_compose_ctx_t *ctx = ngx_pcalloc(r->pool, sizeof *ctx);

    if (ctx == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }
    ctx->uri = conf->uri;
    ctx->repeated = conf->once;
    ctx->last = &ctx->out;
    ngx_http_set_ctx(r, ctx, ngx_http_compose_module);
    r->write_event_handler = ngx_http_compose_resume;
    if (ngx_http_compose_call(r, ctx) != NGX_OK)
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
}

static ngx_int_t
ngx_http_compose_handler(ngx_http_request_t *r)
{
    ngx_int_t rc = ngx_http_read_client_request_body(r, ngx_http_compose_begin);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}

/* ---- the directive ---- */

static void *
ngx_http_compose_create_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_compose_conf_t));
}

static char *
ngx_http_compose(ngx_conf_t *cf, ngx_command_t *command, void *data)
{
    ngx_http_compose_conf_t *conf = data;
    ngx_http_core_loc_conf_t *location = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    ngx_str_t *words = cf->args->elts;

    (void)command;
    if (conf->uri.len != 0)
        return "is duplicate";
    if (words[1].len == 0 || words[1].data[0] != '/')
        return "needs a URI of this server, which begins with \"/\"";
    if (cf->args->nelts == 3 && ngx_strcmp(words[2].data, "once") != 0)
        return "takes \"once\" behind the URI, and nothing else";
    conf->uri = words[1];
    conf->once = cf->args->nelts == 3;
    location->handler = ngx_http_compose_handler;
    return NGX_CONF_OK;
}

static ngx_command_t ngx_http_compose_commands[] = {
    {ngx_string("compose"), NGX_HTTP_LOC_CONF | NGX_CONF_TAKE12, ngx_http_compose, NGX_HTTP_LOC_CONF_OFFSET, 0,
     NULL},
    ngx_null_command,
};

static ngx_http_module_t ngx_http_compose_module_ctx = {
    .create_loc_conf = ngx_http_compose_create_conf,
};

ngx_module_t ngx_http_compose_module = {
    NGX_MODULE_V1,
    .ctx = &ngx_http_compose_module_ctx,
    .commands = ngx_http_compose_commands,
    .type = NGX_HTTP_MODULE,
};
