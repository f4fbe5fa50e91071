/*
 * metrics: text from outside, made fit for who reads it: a label of the page, and the variables of the access log.
 *
 *     $cgi_metrics_method      the client's own, also after error_page, which makes it GET; of what is not HTTP,
 *                              the first word
 *     $cgi_metrics_uri         $request_uri; of a request line that nginx refused, its second word
 *     $cgi_metrics_protocol    $server_protocol
 *     $cgi_metrics_user_agent  $http_user_agent
 *     $cgi_metrics_status      $status as a number: 0 where that is 000
 *     $cgi_metrics_upstream_addr, $cgi_metrics_upstream_status, $cgi_metrics_upstream_response_time
 *     $cgi_metrics_http_NAME   all headers of that name, as $http_NAME has them from nginx 1.23 on: before, it had
 *                              the first alone. Without white space about them; nginx leaves tabs
 *
 * For a log_format with escape=json: a byte that is not UTF-8 is \xE9, as in nginx's other logs, and what would be
 * longer than its limit, as JSON, ends in an ellipsis. So a line is JSON, and has a longest length.
 */
#include "ngx_http_metrics.h"

/* Returns the length of the character of UTF-8 (RFC 3629, section 4) that is at `p`; 0 when there is none.
 * ngx_utf8_decode() takes much that is none. */
static size_t
ngx_http_metrics_character(const u_char *p, const u_char *end)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0, i;

    if ((size_t)(end - p) < len)
        return 0;
    for (i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    /* longer than need be; a surrogate; more than U+10FFFF */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

u_char *
ngx_http_metrics_escape(u_char *last, const ngx_str_t *text)
{
    const u_char *p = text->data, *end = p + text->len;
    size_t len;

    for (; p < end; p += ngx_max(len, 1)) {
        len = ngx_http_metrics_character(p, end);
        if (*p == '\\' || *p == '"' || *p == '\n') {
            *last++ = '\\';
            *last++ = *p == '\n' ? 'n' : *p;
        } else if (len == 0 || *p < 0x20) {
            *last++ = '?';
        } else {
            last = ngx_cpymem(last, p, len);
        }
    }
    return last;
}

/* ---- the access log ---- */

#define NGX_HTTP_METRICS_METHOD 48

/* The limits are such that log.conf's line has less than PIPE_BUF bytes, and that what is usual is plain, as below.
 */
static const struct {
    ngx_str_t name;
    ngx_str_t of;
    size_t most;
} ngx_http_metrics_texts[] = {
    {ngx_string("cgi_metrics_uri"), ngx_string("request_uri"), 1024},
    {ngx_string("cgi_metrics_protocol"), ngx_string("server_protocol"), 48},
    {ngx_string("cgi_metrics_user_agent"), ngx_string("http_user_agent"), 768},
    {ngx_string("cgi_metrics_upstream_addr"), ngx_string("upstream_addr"), 768},
    {ngx_string("cgi_metrics_upstream_status"), ngx_string("upstream_status"), 192},
    {ngx_string("cgi_metrics_upstream_response_time"), ngx_string("upstream_response_time"), 256},
};

#define NGX_HTTP_METRICS_TEXTS (sizeof ngx_http_metrics_texts / sizeof ngx_http_metrics_texts[0])
#define NGX_HTTP_METRICS_URI 0 /* the first of them */

/* Nothing has to be done about most: returns 1 if all is ASCII, and fits however much escape=json makes of it. */
static ngx_uint_t
ngx_http_metrics_is_plain(const ngx_str_t *text, size_t most)
{
    const u_char *p = text->data; /* NULL where the variable is empty */
    size_t left = text->len;
    uint64_t eight, high = 0;

    if (left > most / (sizeof "\\u0000" - 1))
        return 0;
    for (; left >= sizeof eight; left -= sizeof eight, p += sizeof eight) {
        ngx_memcpy(&eight, p, sizeof eight);
        high |= eight;
    }
    for (; left > 0; left--)
        high |= *p++;
    return (high & 0x8080808080808080) == 0;
}

/* The bytes that escape=json makes of the character at `p`, which has `len`, or is none. */
static size_t
ngx_http_metrics_json_length(const u_char *p, size_t len)
{
    if (len == 0)
        return sizeof "\\\\xE9" - 1;
    if (*p == '\\' || *p == '"' || *p == '\b' || *p == '\t' || *p == '\n' || *p == '\f' || *p == '\r')
        return 2;
    return *p < 0x20 ? sizeof "\\u0000" - 1 : len;
}

/* Returns the end of what it writes of the text to `last`: `most` bytes as JSON, and as many or fewer as they are.
 */
static u_char *
ngx_http_metrics_write_text(u_char *last, const ngx_str_t *text, size_t most)
{
    static const u_char ellipsis[] = "\xe2\x80\xa6";
    const u_char *p = text->data, *end = p + text->len;
    size_t len;

    most -= sizeof ellipsis - 1;
    for (; p < end; p += ngx_max(len, 1)) {
        len = ngx_http_metrics_character(p, end);
        if (ngx_http_metrics_json_length(p, len) > most)
            return ngx_cpymem(last, ellipsis, sizeof ellipsis - 1);
        most -= ngx_http_metrics_json_length(p, len);
        last = len > 0 ? ngx_cpymem(last, p, len) : ngx_sprintf(last, "\\x%02Xi", (ngx_int_t)*p);
    }
    return last;
}

static ngx_int_t
ngx_http_metrics_set(ngx_http_variable_value_t *v, const ngx_str_t *text)
{
    v->len = (unsigned)text->len & 0xfffffff; /* as wide as the field */
    v->data = text->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->escape = 1;
    return NGX_OK;
}

static ngx_int_t
ngx_http_metrics_set_text(ngx_http_request_t *r, ngx_http_variable_value_t *v, ngx_str_t text, size_t most)
{
    u_char *copy;

    if (!ngx_http_metrics_is_plain(&text, most)) {
        if ((copy = ngx_pnalloc(r->pool, most)) == NULL)
            return NGX_ERROR;
        text.len = (size_t)(ngx_http_metrics_write_text(copy, &text, most) - copy);
        text.data = copy;
    }
    return ngx_http_metrics_set(v, &text);
}

/* The request line as the client sent it. nginx has none when it could not parse it. */
static ngx_str_t
ngx_http_metrics_line_sent(ngx_http_request_t *r)
{
    ngx_str_t line = r->request_line;
    u_char *p = r->request_start;

    if (line.data != NULL || p == NULL || r->header_in == NULL || p < r->header_in->start || p > r->header_in->last)
        return line;
    line.data = p;
    while (p < r->header_in->last && *p != '\r' && *p != '\n')
        p++;
    line.len = (size_t)(p - line.data);
    return line;
}

/* Takes the first word from the line. */
static ngx_str_t
ngx_http_metrics_word(ngx_str_t *line)
{
    ngx_str_t word = {0, line->data};

    while (word.len < line->len && word.data[word.len] != ' ')
        word.len++;
    if (line->data == NULL)
        return word;
    line->data += word.len;
    line->len -= word.len;
    while (line->len > 0 && *line->data == ' ') {
        line->data++;
        line->len--;
    }
    return word;
}

static ngx_int_t
ngx_http_metrics_method(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t line = ngx_http_metrics_line_sent(r->main);

    (void)data;
    if (line.len == 0 && !r->main->internal) /* of HTTP/2, whose line nginx makes up from a request that is whole */
        line = r->main->method_name;
    return ngx_http_metrics_set_text(r, v, ngx_http_metrics_word(&line), NGX_HTTP_METRICS_METHOD);
}

/* `data`: which of the texts, and behind that the index of the variable that it is of. */
static ngx_int_t
ngx_http_metrics_text(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_variable_value_t *of = ngx_http_get_flushed_variable(r, data / NGX_HTTP_METRICS_TEXTS);
    ngx_uint_t which = data % NGX_HTTP_METRICS_TEXTS;
    ngx_str_t text = ngx_null_string, line;

    if (of == NULL)
        return NGX_ERROR;
    if (!of->not_found) {
        text.data = of->data;
        text.len = of->len;
    }
    if (text.len == 0 && which == NGX_HTTP_METRICS_URI) {
        line = ngx_http_metrics_line_sent(r->main);
        (void)ngx_http_metrics_word(&line);
        text = ngx_http_metrics_word(&line);
    }
    return ngx_http_metrics_set_text(r, v, text, ngx_http_metrics_texts[which].most);
}

static ngx_int_t
ngx_http_metrics_status_number(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t text;

    (void)data;
    if ((text.data = ngx_pnalloc(r->pool, NGX_INT_T_LEN)) == NULL)
        return NGX_ERROR;
    text.len = (size_t)(ngx_sprintf(text.data, "%ui", ngx_http_metrics_status(r)) - text.data);
    return ngx_http_metrics_set(v, &text);
}

/* ---- headers ---- */

/* `name` is a variable's: _ stands for -. */
static ngx_uint_t
ngx_http_metrics_is_header(const ngx_table_elt_t *header, ngx_str_t name)
{
    size_t i;

    if (header->hash == 0 || header->key.len != name.len)
        return 0;
    for (i = 0; i < name.len; i++) {
        if ((header->lowcase_key[i] == '-' ? '_' : header->lowcase_key[i]) != name.data[i])
            return 0;
    }
    return 1;
}

static ngx_str_t
ngx_http_metrics_trim(ngx_str_t text)
{
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    while (text.len > 0 && (*text.data == ' ' || *text.data == '\t')) {
        text.data++;
        text.len--;
    }
    return text;
}

/* Add one more to those that are in `all`. */
static ngx_int_t
ngx_http_metrics_join(ngx_http_request_t *r, ngx_str_t *all, ngx_str_t more)
{
    u_char *joined = ngx_pnalloc(r->pool, all->len + sizeof ", " - 1 + more.len), *last;

    if (joined == NULL)
        return NGX_ERROR;
    last = ngx_cpymem(joined, all->data, all->len);
    last = ngx_cpymem(last, ", ", sizeof ", " - 1);
    last = ngx_cpymem(last, more.data, more.len);
    all->data = joined;
    all->len = (size_t)(last - joined);
    return NGX_OK;
}

/* `data`: the variable's name. */
static ngx_int_t
ngx_http_metrics_header(ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data)
{
    static const char prefix[] = "cgi_metrics_http_";
    ngx_str_t name = *(ngx_str_t *)data, all = ngx_null_string, one;
    ngx_list_part_t *part;
    ngx_uint_t i;

    name.data += sizeof prefix - 1;
    name.len -= sizeof prefix - 1;
    for (part = &r->headers_in.headers.part; part != NULL; part = part->next) {
        for (i = 0; i < part->nelts; i++) {
            if (!ngx_http_metrics_is_header((ngx_table_elt_t *)part->elts + i, name))
                continue;
            one = ngx_http_metrics_trim(((ngx_table_elt_t *)part->elts)[i].value);
            if (all.data == NULL)
                all = one;
            else if (ngx_http_metrics_join(r, &all, one) != NGX_OK)
                return NGX_ERROR;
        }
    }
    v->not_found = all.data == NULL;
    return v->not_found ? NGX_OK : ngx_http_metrics_set(v, &all);
}

/* ---- their names ---- */

static ngx_int_t
ngx_http_metrics_add_variable(ngx_conf_t *cf, ngx_str_t name, ngx_uint_t flags, ngx_http_get_variable_pt get,
                              uintptr_t data)
{
    ngx_http_variable_t *variable = ngx_http_add_variable(cf, &name, flags);

    if (variable == NULL)
        return NGX_ERROR;
    variable->get_handler = get;
    variable->data = data;
    return NGX_OK;
}

ngx_int_t
ngx_http_metrics_add_variables(ngx_conf_t *cf)
{
    ngx_str_t method = ngx_string("cgi_metrics_method"), status = ngx_string("cgi_metrics_status"),
              header = ngx_string("cgi_metrics_http_"), of;
    ngx_int_t index;
    ngx_uint_t i;

    /* the method is kept from when it is first asked for: problems.conf does so before a page of errors makes it
     * GET */
    if (ngx_http_metrics_add_variable(cf, method, 0, ngx_http_metrics_method, 0) != NGX_OK ||
        ngx_http_metrics_add_variable(cf, status, NGX_HTTP_VAR_NOCACHEABLE, ngx_http_metrics_status_number, 0) !=
            NGX_OK ||
        ngx_http_metrics_add_variable(cf, header, NGX_HTTP_VAR_PREFIX, ngx_http_metrics_header, 0) != NGX_OK)
        return NGX_ERROR;
    for (i = 0; i < NGX_HTTP_METRICS_TEXTS; i++) {
        of = ngx_http_metrics_texts[i].of;
        if ((index = ngx_http_get_variable_index(cf, &of)) == NGX_ERROR ||
            ngx_http_metrics_add_variable(cf, ngx_http_metrics_texts[i].name, NGX_HTTP_VAR_NOCACHEABLE,
                                          ngx_http_metrics_text,
                                          (uintptr_t)index * NGX_HTTP_METRICS_TEXTS + i) != NGX_OK)
            return NGX_ERROR;
    }
    return NGX_OK;
}
