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
 *
 * A frame that cannot be an answer is a 502, too: a 200 without a body, an encoded one with a tag, a tag without an
 * end, a status below 200.
 *
 * An answer waits in memory, and is at most as long as its location's subrequest_output_buffer_size. What is called
 * may be composed, too, but no location of itself. A client that ends its side after its request gets its answer,
 * where the called locations have fastcgi_ignore_client_abort, proxy_ignore_client_abort or their like.
 */
#include "ngx_http_cgi_waiting.h"
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

typedef struct {
    ngx_str_t uri; /* of the frame; empty: this location does not compose */
    ngx_str_t args;
    ngx_uint_t once; /* never repeat a call */
} ngx_http_compose_conf_t;

typedef struct {
    ngx_http_request_t *call; /* the subrequest under way, or the last one */
    ngx_str_t uri;            /* of it */
    ngx_str_t args;
    ngx_int_t status;          /* what nginx itself made of the call: an error's status, or 0 */
    ngx_uint_t last_seen;      /* nginx passed on the end of its answer */
    ngx_uint_t refused;        /* a filter did not take its answer */
    ngx_uint_t done;           /* the call has ended */
    ngx_uint_t once;           /* no call is made a second time */
    ngx_uint_t repeated;       /* this one was, or may not be */
    ngx_http_request_t *frame; /* the first call, once it has ended */
    ngx_str_t rest;            /* of the frame's body: what is not in `out` yet */
    ngx_uint_t tags;           /* that were found in it */
    ngx_chain_t *out;          /* the answer so far */
    ngx_chain_t **last;
    off_t length; /* of it, in bytes */
} ngx_http_compose_ctx_t;

ngx_module_t ngx_http_compose_module;

static ngx_http_output_body_filter_pt ngx_http_compose_next_body_filter;

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

/* Whether the client is why the call ends. Its connection has the same flag when a filter refused the answer. */
static ngx_uint_t
ngx_http_compose_client_left(ngx_http_request_t *call, ngx_http_compose_ctx_t *ctx, ngx_int_t rc)
{
    ngx_connection_t *c = call->connection;

    if (c->error) /* an answer that a filter has put in the place of its own may be under way still: nginx ends that
                   */
        return !ctx->refused || call->filter_finalize;
    return (rc == NGX_HTTP_CLIENT_CLOSED_REQUEST || rc == NGX_HTTP_REQUEST_TIME_OUT) &&
           (c->timedout || c->read->error || c->write->error);
}

/* What nginx itself made of the call: an error's status, or 0. */
static ngx_int_t
ngx_http_compose_status(ngx_http_request_t *call, ngx_http_compose_ctx_t *ctx, ngx_int_t rc)
{
    switch (rc) {
    case NGX_ERROR:
    case NGX_HTTP_REQUEST_TIME_OUT:      /* `return 408;`: with these three, nginx would */
    case NGX_HTTP_CLIENT_CLOSED_REQUEST: /* close the client's connection without a word */
    case NGX_HTTP_CLOSE:
        return NGX_HTTP_BAD_GATEWAY;
    case NGX_HTTP_CREATED:
    case NGX_HTTP_NO_CONTENT:
        if (!call->header_sent) { /* nginx would send it now */
            call->headers_out.status = (ngx_uint_t)rc;
            ctx->last_seen = 1;
        }
        return 0;
    default:
        return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : 0;
    }
}

/* nginx is done with the call. What went wrong is for ngx_http_compose_resume(), which it runs next. */
static ngx_int_t
ngx_http_compose_done(ngx_http_request_t *call, void *data, ngx_int_t rc)
{
    ngx_http_compose_ctx_t *ctx = data;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, call->connection->log, 0, "compose call done: %i \"%V\" l:%ui e:%ui", rc,
                   &call->uri, ctx->last_seen, ctx->refused);
    if (ngx_http_compose_client_left(call, ctx, rc)) /* what the log says; a call may have ended well meanwhile */
        return ctx->refused ? NGX_HTTP_BAD_GATEWAY : NGX_HTTP_CLIENT_CLOSED_REQUEST;
    if (call != ctx->call ||
        ctx->done) /* of SSI's subrequests, each has its turn; those in it are ended once more */
        return rc;
    if (!ctx->refused && rc != NGX_ERROR && rc <= NGX_OK && (call->buffered || call->postponed != NULL))
        return rc; /* its end is under way */
    if (ctx->refused) {
        call->connection->error = 0;
        call->buffered = 0;
        ctx->repeated = 1; /* it would be the same */
        rc = NGX_ERROR;
    }
    ngx_http_compose_log_upstreams(call->parent, call);
    ctx->done = 1;
    ctx->status = ngx_http_compose_status(call, ctx, rc);
    if (ctx->status != 0 && !call->header_sent)
        call->headers_out.status = (ngx_uint_t)ctx->status; /* for log_subrequest */
    return NGX_OK;
}

/* Begin the call of ctx->uri. */
static ngx_int_t
ngx_http_compose_call(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx)
{
    ngx_http_post_subrequest_t *after = ngx_palloc(r->pool, sizeof(ngx_http_post_subrequest_t));
    unsigned in_memory = r->subrequest_in_memory;
    ngx_int_t rc;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0, "compose call \"%V?%V\" r:%ui", &ctx->uri, &ctx->args,
                   ctx->repeated);
    if (after == NULL)
        return NGX_ERROR;
    after->handler = ngx_http_compose_done;
    after->data = ctx;
    ctx->last_seen = 0;
    ctx->refused = 0;
    ctx->done = 0;
    ctx->status = 0;
    r->subrequest_in_memory = 0; /* else nginx begins none; ngx_http_compose_end() does what it cannot */
    rc = ngx_http_subrequest(r, &ctx->uri, &ctx->args, &ctx->call, after,
                             NGX_HTTP_SUBREQUEST_IN_MEMORY | NGX_HTTP_SUBREQUEST_WAITED);
    r->subrequest_in_memory = in_memory;
    if (rc != NGX_OK)
        return NGX_ERROR;
    ctx->call->method = r->method; /* nginx says GET, and would wait for the body of an answer to HEAD */
    ctx->call->method_name = r->method_name;
    ctx->call->read_event_handler = ngx_http_cgi_waiting_test_reading;
    return NGX_OK;
}

/* Whether the request is a call, and of what. Its context would not do: a redirect inside nginx clears that. */
static ngx_http_compose_ctx_t *
ngx_http_compose_caller(ngx_http_request_t *r)
{
    ngx_http_post_subrequest_t *after = r->post_subrequest;

    return after != NULL && after->handler == ngx_http_compose_done ? after->data : NULL;
}

/* The first of all filters: it sees the end of an answer, which is not passed on when the answer is cut, and any
 * error. */
static ngx_int_t
ngx_http_compose_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_http_compose_ctx_t *ctx = r != r->main ? ngx_http_compose_caller(r) : NULL;
    ngx_http_core_loc_conf_t *location;
    ngx_uint_t client_left = r->connection->error;
    ngx_chain_t *link;
    ngx_int_t rc;

    if (ctx == NULL)
        return ngx_http_compose_next_body_filter(r, in);
    for (link = in; link != NULL; link = link->next) {
        if (link->buf->last_in_chain || link->buf->last_buf)
            ctx->last_seen = 1;
    }
    rc = ngx_http_compose_next_body_filter(r, in);
    if (rc == NGX_ERROR && !client_left && !ctx->refused) {
        location = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
        ctx->refused = 1;
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "compose: the answer of \"%V\" is not taken; subrequest_output_buffer_size is %uz there",
                      &r->uri, location->subrequest_output_buffer_size);
    }
    return rc;
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

/*
 * FastCGI has an end of its own, FCGI_END_REQUEST. Where nginx does not keep connections to a service, or does not
 * buffer, the end of the connection is as good for it. An answer that is longer than its Content-Length nginx cuts
 * there, and does not keep the connection, as when more comes behind the end. (With fastcgi_keep_conn off, for
 * which `length` is -1, it buffers without a trace of that.)
 */
static ngx_uint_t
ngx_http_compose_is_cut(ngx_http_request_t *call)
{
    static const char fastcgi[] = "fastcgi://";
    ngx_http_upstream_t *u = call->upstream;

    if (u == NULL || !u->header_sent || /* by X-Accel-Redirect, the answer is another's */
        u->schema.len != sizeof fastcgi - 1 || ngx_memcmp(u->schema.data, fastcgi, u->schema.len) != 0)
        return 0;
#if (NGX_HTTP_CACHE)
    if (call->cached)
        return 0;
#endif
    if (!u->buffering)
        return u->length == -1 || !u->keepalive;
    if (u->pipe->upstream_done)
        return u->pipe->length != -1 && !u->keepalive;
    return u->pipe->upstream_eof;
}

/* Whether the answer came to its end. nginx passes on what there is, as for a client that reads along. */
static ngx_uint_t
ngx_http_compose_is_whole(ngx_http_compose_ctx_t *ctx)
{
    off_t length = ctx->call->headers_out.content_length_n;

    if (ctx->call->method == NGX_HTTP_HEAD || length == 0)
        return ctx->call->header_sent;
    return ctx->last_seen && !ngx_http_compose_is_cut(ctx->call) &&
           (length == -1 || length == (off_t)ngx_http_compose_body(ctx->call).len);
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

/* Headers of which nginx knows where they are, too: what looks there has to find them. */
static const size_t ngx_http_compose_known[] = {
    offsetof(ngx_http_headers_out_t, server),        offsetof(ngx_http_headers_out_t, date),
    offsetof(ngx_http_headers_out_t, etag),          offsetof(ngx_http_headers_out_t, content_encoding),
    offsetof(ngx_http_headers_out_t, location),      offsetof(ngx_http_headers_out_t, refresh),
    offsetof(ngx_http_headers_out_t, last_modified), offsetof(ngx_http_headers_out_t, content_range),
    offsetof(ngx_http_headers_out_t, accept_ranges), offsetof(ngx_http_headers_out_t, www_authenticate),
    offsetof(ngx_http_headers_out_t, expires),
};

static ngx_int_t
ngx_http_compose_copy_header(ngx_http_request_t *r, ngx_http_request_t *frame, ngx_table_elt_t *header)
{
    ngx_table_elt_t *copy = ngx_list_push(&r->headers_out.headers);
    ngx_uint_t i;

    if (copy == NULL)
        return NGX_ERROR;
    *copy = *header;
    for (i = 0; i < sizeof ngx_http_compose_known / sizeof ngx_http_compose_known[0]; i++) {
        if (*(ngx_table_elt_t **)((u_char *)&frame->headers_out + ngx_http_compose_known[i]) == header)
            *(ngx_table_elt_t **)((u_char *)&r->headers_out + ngx_http_compose_known[i]) = copy;
    }
    return NGX_OK;
}

/* The frame's status and headers are the answer's. */
static ngx_int_t
ngx_http_compose_copy_head(ngx_http_request_t *r, ngx_http_request_t *frame)
{
    ngx_str_t *line = &frame->headers_out.status_line;
    ngx_list_part_t *part;
    ngx_table_elt_t *header;
    ngx_uint_t i;

    r->headers_out.status = frame->headers_out.status;
    if (line->len == 3 || (line->len > 3 && line->data[3] == ' ')) /* nginx has not read on behind three digits */
        r->headers_out.status_line = *line;
    r->headers_out.content_type = frame->headers_out.content_type;
    r->headers_out.content_type_len = frame->headers_out.content_type_len;
    r->headers_out.charset = frame->headers_out.charset;
    for (part = &frame->headers_out.headers.part; part != NULL; part = part->next) {
        header = part->elts;
        for (i = 0; i < part->nelts; i++) {
            if (header[i].hash == 0)
                continue; /* taken out */
            if (ngx_http_compose_copy_header(r, frame, &header[i]) != NGX_OK)
                return NGX_ERROR;
        }
    }
    return NGX_OK;
}

/* Of an error that nginx itself made, and makes of the answer now: where to go, or who may. */
static ngx_int_t
ngx_http_compose_copy_error_head(ngx_http_request_t *r, ngx_http_request_t *frame)
{
    ngx_table_elt_t *location = frame->headers_out.location;
    ngx_table_elt_t *who = frame->headers_out.www_authenticate;

    if (location != NULL && ngx_http_compose_copy_header(r, frame, location) != NGX_OK)
        return NGX_ERROR;
    return who != NULL ? ngx_http_compose_copy_header(r, frame, who) : NGX_OK;
}

/* The answer is no stored file: conditions and ranges are not for it. What a part of it was told of them is not
 * either. */
static void
ngx_http_compose_unlike_a_file(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx)
{
    r->disable_not_modified = 1;
    r->allow_ranges = 0;
    if (ctx->tags == 0)
        return;
    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);
}

static ngx_int_t
ngx_http_compose_send(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx)
{
    ngx_buf_t *end = ngx_calloc_buf(r->pool);
    ngx_chain_t link = {.buf = end};
    ngx_int_t rc;

    if (end == NULL || ngx_http_compose_copy_head(r, ctx->frame) != NGX_OK)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    ngx_http_compose_unlike_a_file(r, ctx);
    /* as ngx_http_send_special() says it: the end of a subrequest is not the client's */
    end->last_buf = r == r->main && !r->post_action;
    end->sync = !end->last_buf;
    end->last_in_chain = !end->last_buf;
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
 * Returns NGX_OK; NGX_DONE when there is no tag any more; NGX_DECLINED when there is one that cannot be followed,
 * and error.log says why; NGX_ERROR.
 */
static ngx_int_t
ngx_http_compose_next_tag(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx)
{
    static const char begin[] = "<!--# include virtual=\"";
    static const char end[] = "\" -->";
    ngx_str_t text = ctx->rest;
    ngx_uint_t flags = NGX_HTTP_LOG_UNSAFE;
    u_char *after;
    u_char *tag = memmem(text.data, text.len, begin, sizeof begin - 1);

    if (tag == NULL)
        return ngx_http_compose_append(r, ctx, text) == NGX_OK ? NGX_DONE : NGX_ERROR;
    ctx->uri.data = tag + sizeof begin - 1;
    after = memmem(ctx->uri.data, (size_t)(text.data + text.len - ctx->uri.data), end, sizeof end - 1);
    if (after == NULL || ctx->frame->headers_out.content_encoding != NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "compose: the frame of \"%V\" has a tag %s", &r->uri,
                      after == NULL ? "without an end" : "and is encoded");
        return NGX_DECLINED;
    }
    ctx->uri.len = (size_t)(after - ctx->uri.data);
    text.len = (size_t)(tag - text.data);
    ctx->rest.len -= (size_t)(after + sizeof end - 1 - ctx->rest.data);
    ctx->rest.data = after + sizeof end - 1;
    ctx->tags++;
    ngx_str_null(&ctx->args);
    if (ngx_http_parse_unsafe_uri(r, &ctx->uri, &ctx->args, &flags) != NGX_OK)
        return NGX_DECLINED;
    return ngx_http_compose_append(r, ctx, text);
}

/*
 * The first call came to its end, well: it is the frame, if its status is one that ends an exchange (100 or 101
 * would have the client wait for more), and a 200 is not empty. Returns NGX_OK, or the status of an error.
 */
static ngx_int_t
ngx_http_compose_take_frame(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx)
{
    ngx_uint_t status = ctx->call->headers_out.status;

    ctx->frame = ctx->call;
    ctx->rest = ngx_http_compose_body(ctx->call);
    if (status > NGX_HTTP_OK && status < 600)
        return NGX_OK;
    if (status == NGX_HTTP_OK && (ctx->rest.len != 0 || ctx->call->method == NGX_HTTP_HEAD))
        return NGX_OK;
    ngx_log_error(
        NGX_LOG_ERR, r->connection->log, 0,
        "compose: \"%V\" answered %ui with %uz bytes; a status from 200 to 599 is needed, and a 200 has a body",
        &ctx->uri, status, ctx->rest.len);
    return NGX_HTTP_BAD_GATEWAY;
}

/* A call came to its end, well, and goes into the frame. Returns NGX_OK, or the status of an error. */
static ngx_int_t
ngx_http_compose_take_part(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx)
{
    ngx_str_t body = ngx_http_compose_body(ctx->call);

    if (ctx->call->headers_out.status != NGX_HTTP_OK || body.len == 0 ||
        ctx->call->headers_out.content_encoding != NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "compose: \"%V\" answered %ui with %uz bytes%s; a 200 with a body is needed, and no encoding",
                      &ctx->uri, ctx->call->headers_out.status, body.len,
                      ctx->call->headers_out.content_encoding != NULL ? ", encoded" : "");
        return NGX_HTTP_BAD_GATEWAY;
    }
    return ngx_http_compose_append(r, ctx, body) == NGX_OK ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
}

/* What comes after a call. Returns NGX_DONE when another one has begun, else what the request ends with. */
static ngx_int_t
ngx_http_compose_step(ngx_http_request_t *r, ngx_http_compose_ctx_t *ctx)
{
    ngx_int_t rc;

    if (ctx->status == 0 && !ngx_http_compose_is_whole(ctx)) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0, "compose call cut \"%V\"", &ctx->uri);
        ctx->status = NGX_HTTP_BAD_GATEWAY;
    }
    if (ctx->status == NGX_HTTP_BAD_GATEWAY && !ctx->repeated) {
        ctx->repeated = 1;
        return ngx_http_compose_call(r, ctx) == NGX_OK ? NGX_DONE : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    if (ctx->status != 0 && ctx->frame == NULL)
        return ngx_http_compose_copy_error_head(r, ctx->call) == NGX_OK ? ctx->status
                                                                        : NGX_HTTP_INTERNAL_SERVER_ERROR;
    if (ctx->status != 0) /* a part that is not there is not the client's fault */
        return ctx->status != NGX_HTTP_GATEWAY_TIME_OUT ? NGX_HTTP_BAD_GATEWAY : ctx->status;
    rc = ctx->frame == NULL ? ngx_http_compose_take_frame(r, ctx) : ngx_http_compose_take_part(r, ctx);
    if (rc != NGX_OK)
        return rc;
    if (ctx->frame->headers_out.status == NGX_HTTP_OK)
        rc = ngx_http_compose_next_tag(r, ctx);
    else /* an error of its own has no tags */
        rc = ngx_http_compose_append(r, ctx, ctx->rest) == NGX_OK ? NGX_DONE : NGX_ERROR;
    if (rc == NGX_DONE)
        return ngx_http_compose_send(r, ctx);
    if (rc == NGX_DECLINED)
        return NGX_HTTP_BAD_GATEWAY;
    ctx->repeated = ctx->once;
    return rc == NGX_OK && ngx_http_compose_call(r, ctx) == NGX_OK ? NGX_DONE : NGX_HTTP_INTERNAL_SERVER_ERROR;
}

/* ---- the request ---- */

/*
 * The request ends. Calls that did not have their turn have ended (nginx gives it in the order of the answer, which
 * SSI's subrequests are asked without): where the request is a call itself, it never comes.
 */
static void
ngx_http_compose_end(ngx_http_request_t *r, ngx_int_t rc)
{
    for (; r->subrequest_in_memory && r->postponed != NULL; r->postponed = r->postponed->next)
        r->main->count--;
    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0, "compose end: %i \"%V\"", rc, &r->uri);
    if (r != r->main || !r->connection->buffered) {
        ngx_http_finalize_request(r, rc);
        return;
    }
    r->count++; /* it is there behind the next line, too */
    ngx_http_finalize_request(r, rc);
    if (r->read_event_handler == ngx_http_test_reading)
        r->read_event_handler = ngx_http_cgi_waiting_test_reading;
    ngx_http_finalize_request(r, NGX_DONE);
}

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
        ngx_http_compose_end(r, rc);
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
    ctx->args = conf->args;
    ctx->once = conf->once || r->subrequest_in_memory; /* a call is repeated whole; its own calls would be four */
    ctx->repeated = ctx->once;
    ctx->last = &ctx->out;
    ngx_http_set_ctx(r, ctx, ngx_http_compose_module);
    r->write_event_handler = ngx_http_compose_resume;
    if (ngx_http_compose_call(r, ctx) != NGX_OK)
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
}

/* Why no answer can be composed here, or NULL. */
static const char *
ngx_http_compose_hindrance(ngx_http_request_t *r)
{
    ngx_http_compose_conf_t *conf = ngx_http_get_module_loc_conf(r, ngx_http_compose_module);
    ngx_http_compose_conf_t *other;
    ngx_http_request_t *above;

    for (above = r; above != r->main; above = above->parent) {
        if (above->background) /* a subrequest of it never has its turn */
            return "in a background request, as mirror makes";
        if (ngx_http_compose_caller(above) == NULL)
            continue;
        other = ngx_http_get_module_loc_conf(above->parent, ngx_http_compose_module);
        if (other->uri.data == conf->uri.data)
            return "of itself";
    }
    return NULL;
}

static ngx_int_t
ngx_http_compose_handler(ngx_http_request_t *r)
{
    const char *hindrance = ngx_http_compose_hindrance(r);
    ngx_int_t rc;

    if (hindrance != NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0, "compose: \"%V\" cannot be made %s", &r->uri, hindrance);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
    rc = ngx_http_read_client_request_body(r, ngx_http_compose_begin);
    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}

/* ---- the directive ---- */

static void *
ngx_http_compose_create_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_compose_conf_t));
}

/* `if` and `limit_except` in a location are locations, too, and are what it is. */
static char *
ngx_http_compose_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_compose_conf_t *above = parent;
    ngx_http_compose_conf_t *conf = child;
    ngx_http_core_loc_conf_t *location = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (!location->noname || above->uri.len == 0)
        return NGX_CONF_OK;
    *conf = *above;
    if (location->lmt_excpt && location->handler == NULL)
        location->handler = ngx_http_compose_handler;
    return NGX_CONF_OK;
}

/* Reads the directive's URI as that of a tag is read. */
static ngx_int_t
ngx_http_compose_read_uri(ngx_conf_t *cf, ngx_http_compose_conf_t *conf, ngx_str_t uri)
{
    ngx_connection_t connection = {.log = cf->log};
    ngx_http_request_t request = {.connection = &connection, .pool = cf->pool};
    ngx_uint_t flags = 0;

    conf->uri = uri;
    if (ngx_strlchr(uri.data, uri.data + uri.len, '$') != NULL)
        return NGX_ERROR;
    return ngx_http_parse_unsafe_uri(&request, &conf->uri, &conf->args, &flags);
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
    if (ngx_http_compose_read_uri(cf, conf, words[1]) != NGX_OK)
        return "takes a URI without variables and without \"..\"";
    if (cf->args->nelts == 3 && ngx_strcmp(words[2].data, "once") != 0)
        return "takes \"once\" behind the URI, and nothing else";
    conf->once = cf->args->nelts == 3;
    location->handler = ngx_http_compose_handler;
    return NGX_CONF_OK;
}

static ngx_int_t
ngx_http_compose_init(ngx_conf_t *cf)
{
    (void)cf;
    ngx_http_compose_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_compose_body_filter;
    return NGX_OK;
}

static ngx_command_t ngx_http_compose_commands[] = {
    {ngx_string("compose"), NGX_HTTP_LOC_CONF | NGX_CONF_TAKE12, ngx_http_compose, NGX_HTTP_LOC_CONF_OFFSET, 0,
     NULL},
    ngx_null_command,
};

static ngx_http_module_t ngx_http_compose_module_ctx = {
    .postconfiguration = ngx_http_compose_init,
    .create_loc_conf = ngx_http_compose_create_conf,
    .merge_loc_conf = ngx_http_compose_merge_conf,
};

ngx_module_t ngx_http_compose_module = {
    NGX_MODULE_V1,
    .ctx = &ngx_http_compose_module_ctx,
    .commands = ngx_http_compose_commands,
    .type = NGX_HTTP_MODULE,
};
