/*
 * A strict reader of CGI responses.
 */
#include "response.h"

#include "check.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* What app's answer holds in place of the message: nginx fetches that (cgi-app/handler.c). */
static const char tag[] = "<!--# include virtual=\"/reverse/message\" -->";

/* ---- the head ---- */

struct line {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

/* RFC 9110, section 5.6.2: a token. */
static bool
is_token(const char *text, size_t len)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (!letter && (c == '\0' || strchr(others, c) == NULL))
            return false;
    }
    return len > 0;
}

/* RFC 9110, section 5.5: a tab is the one control character in a value. */
static bool
is_field_byte(char c)
{
    return c == '\t' || ((unsigned char)c >= ' ' && c != 0x7f);
}

/* Take "Name: value" CR LF. Returns its bytes; 2 for the empty line that ends the head. */
static size_t
line_take(struct line *line, const char *data, size_t len)
{
    const char *end = memmem(data, len, "\r\n", 2);
    const char *colon;

    check(end != NULL, "the head has no end");
    *line = (struct line){0};
    if (end == data)
        return 2;
    colon = memmem(data, (size_t)(end - data), ": ", 2);
    check(colon != NULL, "a line without a colon: %.*s", (int)(end - data), data);
    line->name = data;
    line->name_len = (size_t)(colon - data);
    line->value = colon + 2;
    line->value_len = (size_t)(end - line->value);
    check(is_token(line->name, line->name_len), "no field name: %.*s", (int)(end - data), data);
    for (size_t i = 0; i < line->value_len; i++)
        check(is_field_byte(line->value[i]), "a control character in a field");
    return (size_t)(end - data) + 2;
}

static bool
line_is(const struct line *line, const char *name)
{
    return line->name_len == strlen(name) && strncasecmp(line->name, name, line->name_len) == 0;
}

static size_t
line_number(const struct line *line, size_t digits)
{
    size_t number = 0;

    check(digits > 0 && digits <= line->value_len && digits < 10, "no number: %.*s", (int)line->value_len,
          line->value);
    for (size_t i = 0; i < digits; i++) {
        check(line->value[i] >= '0' && line->value[i] <= '9', "no number: %.*s", (int)line->value_len, line->value);
        number = number * 10 + (size_t)(line->value[i] - '0');
    }
    return number;
}

static void
take_field(struct response *response, const struct line *line, bool *has_length)
{
    if (line_is(line, "Status")) {
        check(response->status == 0, "two status lines");
        check(line->value_len > 4 && line->value[3] == ' ', "no status: %.*s", (int)line->value_len, line->value);
        response->status = (int)line_number(line, 3);
    } else if (line_is(line, "Content-Type")) {
        check(response->type == NULL, "two content types");
        response->type = line->value;
        response->type_len = line->value_len;
    } else if (line_is(line, "Content-Length")) {
        check(!*has_length, "two content lengths");
        *has_length = true;
        response->content_length = line_number(line, line->value_len);
    } else if (line_is(line, "Allow")) {
        response->has_allow = true;
    }
}

/* RFC 9110, section 8.6, and section 15 for the statuses that have no body. */
static void
check_fields(const struct response *response, bool has_length)
{
    bool is_bare = response->status == 204 || response->status == 304;

    check(response->status >= 200 && response->status <= 599, "status %d", response->status);
    check(response->type_len > 0 || is_bare, "no content type");
    check(has_length != is_bare, "%s content length with status %d", has_length ? "a" : "no", response->status);
    check(response->status != 205 || response->content_length == 0, "a 205 with a body");
}

/* Returns the bytes of the head. */
static size_t
take_head(struct response *response, const char *data, size_t len)
{
    bool has_length = false;
    struct line line;
    size_t at = 0;

    do {
        at += line_take(&line, data + at, len - at);
        if (line.name != NULL)
            take_field(response, &line, &has_length);
    } while (line.name != NULL);
    check_fields(response, has_length);
    return at;
}

/* ---- the body ---- */

bool
response_has_type(const struct response *response, const char *type)
{
    return response->type_len == strlen(type) && memcmp(response->type, type, response->type_len) == 0;
}

bool
response_is_json(const char *bytes, size_t len)
{
    json_t *value = json_loadb(bytes, len, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
    bool taken = value != NULL;

    json_decref(value);
    return taken;
}

static void
check_problem(const struct response *response)
{
    json_t *problem = json_loadb(response->body, response->body_len, 0, NULL);
    const char *type, *title, *detail;
    int status;

    check(json_unpack(problem, "{s:s, s:s, s:i, s:s !}", "type", &type, "title", &title, "status", &status,
                      "detail", &detail) == 0,
          "no problem as RFC 9457 has it: %.*s", (int)response->body_len, response->body);
    check(status == response->status, "a problem of status %d in a response of status %d", status,
          response->status);
    json_decref(problem);
}

/* JSON, once nginx has put a value into the tag's place. */
static void
check_json(const struct response *response)
{
    const char *at = memmem(response->body, response->body_len, tag, sizeof tag - 1);
    size_t before = at != NULL ? (size_t)(at - response->body) : response->body_len;
    size_t behind = at != NULL ? response->body_len - before - (sizeof tag - 1) : 0;
    char *whole = malloc(response->body_len + sizeof "null");

    check(whole != NULL, "no memory");
    memcpy(whole, response->body, before);
    if (at != NULL) {
        memcpy(whole + before, "null", 4);
        memcpy(whole + before + 4, at + sizeof tag - 1, behind);
    }
    check(response_is_json(whole, at != NULL ? before + 4 + behind : before), "not JSON: %.*s",
          (int)response->body_len, response->body);
    free(whole);
}

void
response_parse(struct response *response, const char *data, size_t len, bool head_only)
{
    size_t head;

    *response = (struct response){0};
    head = take_head(response, data, len);
    response->body = data + head;
    response->body_len = len - head;
    if (head_only) {
        check(response->body_len == 0, "%zu bytes behind the head that answers a HEAD", response->body_len);
        return;
    }
    check(response->body_len == response->content_length, "a body of %zu bytes, Content-Length: %zu",
          response->body_len, response->content_length);
    if (response_has_type(response, "application/problem+json"))
        check_problem(response);
    else if (response_has_type(response, "application/json"))
        check_json(response);
}
