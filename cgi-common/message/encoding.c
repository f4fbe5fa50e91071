/*
 * Content-Encoding, the charset of a Content-Type, and the marks of what is no UTF-8.
 */
#include "encoding.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

static int
encoding_refuse(const char *what, struct reply *reply)
{
    return reply_problem(reply, 415, "%s; send the JSON in UTF-8, not compressed", what);
}

/* A coding is what is wrong, and nothing else: this header is for that alone (RFC 9110, section 12.5.3). */
static int
encoding_refuse_coding(const char *what, struct reply *reply)
{
    reply_header(reply, "Accept-Encoding", "identity");
    return encoding_refuse(what, reply);
}

/* ---- headers ---- */

static bool
is_name(const char *text, size_t len, const char *name)
{
    return len == strlen(name) && strncasecmp(text, name, len) == 0;
}

/* Whether each coding in the list is none (RFC 9110, section 8.4.1). */
static bool
coding_is_identity(const char *list)
{
    static const char between[] = ", \t";

    for (list += strspn(list, between); *list != '\0'; list += strspn(list, between)) {
        size_t len = strcspn(list, between);

        if (!is_name(list, len, "identity"))
            return false;
        list += len;
    }
    return true;
}

/* ASCII is UTF-8, too. */
static bool
charset_is_utf8(const char *value, size_t len)
{
    static const char *const names[] = {"utf-8", "utf8", "us-ascii", "ascii", ""};

    if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
        value++;
        len -= 2;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (is_name(value, len, names[i]))
            return true;
    return false;
}

/* The end of a parameter's value: a token or a quoted string. */
static const char *
value_end(const char *at)
{
    if (*at != '"')
        return at + strcspn(at, ";, \t");
    for (at++; *at != '\0' && *at != '"'; at++)
        if (*at == '\\' && at[1] != '\0')
            at++;
    return *at == '"' ? at + 1 : at;
}

/* Whether no parameter of the media type (RFC 9110, section 8.3.1) is another charset; spaces around = are borne.
 */
static bool
type_is_utf8(const char *type)
{
    static const char space[] = " \t";
    const char *at = strchrnul(type, ';');

    while (*at == ';') {
        const char *name = at + 1 + strspn(at + 1, space);
        size_t len = strcspn(name, "=; \t");
        const char *value = name + len + strspn(name + len, space);

        at = value;
        if (*value == '=') {
            value += 1 + strspn(value + 1, space);
            at = value_end(value);
            if (is_name(name, len, "charset") && !charset_is_utf8(value, (size_t)(at - value)))
                return false;
        }
        at = strchrnul(at, ';');
    }
    return true;
}

int
encoding_check(const struct request *request, struct reply *reply)
{
    const char *coding = request_variable(request, "HTTP_CONTENT_ENCODING");
    const char *type = request_content_type(request);

    if (*coding != '\0' && !coding_is_identity(coding)) /* most have none */
        return encoding_refuse_coding("a Content-Encoding is not taken", reply);
    if (!type_is_utf8(type))
        return encoding_refuse("the Content-Type names another charset than UTF-8", reply);
    return 200;
}

/* ---- bytes ---- */

/* What a body begins with; none of these begins JSON. */
struct mark {
    const char *bytes;
    size_t len;
    const char *what;
};

/* Brotli has none. */
static const struct mark codings[] = {
    {"\x1f\x8b", 2, "the body is compressed (gzip)"},
    {"\x1f\x9d", 2, "the body is compressed (compress)"},
    {"\x28\xb5\x2f\xfd", 4, "the body is compressed (zstd)"},
    {"BZh", 3, "the body is compressed (bzip2)"},
    {"\xfd\x37zXZ\0", 6, "the body is compressed (xz)"},
    {"\x04\x22\x4d\x18", 4, "the body is compressed (lz4)"},
    {"PK\x03\x04", 4, "the body is compressed (zip)"},
};

static const struct mark byte_orders[] = {
    {"\xff\xfe\0\0", 4, "the body is UTF-32"},
    {"\0\0\xfe\xff", 4, "the body is UTF-32"},
    {"\xff\xfe", 2, "the body is UTF-16"},
    {"\xfe\xff", 2, "the body is UTF-16"},
};

static const char *
marked(const struct bytes *body, const struct mark *marks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (body->len >= marks[i].len && memcmp(body->data, marks[i].bytes, marks[i].len) == 0)
            return marks[i].what;
    return NULL;
}

/* RFC 1950, section 2.2: method 8, a window up to 32 KiB, no dictionary, and a check. Two letters are no such
 * header. */
static bool
is_zlib(const struct bytes *body)
{
    unsigned int method, flags;

    if (body->len < 2)
        return false;
    method = (unsigned char)body->data[0];
    flags = (unsigned char)body->data[1];
    return (method & 0x8f) == 8 && (flags & 0x20) == 0 && (method << 8 | flags) % 31 == 0 &&
           (flags < 'A' || flags > 'Z');
}

/*
 * Which encoding has its NULs where these four bytes have theirs, when the first two characters are ASCII, as those
 * of an object are. NULL: none.
 */
static const char *
encoding_by_nuls(const char *bytes)
{
    enum { ONE = 8, TWO = 4, THREE = 2, FOUR = 1 }; /* the bytes that are not NUL */
    int set = (bytes[0] != 0 ? ONE : 0) | (bytes[1] != 0 ? TWO : 0) | (bytes[2] != 0 ? THREE : 0) |
              (bytes[3] != 0 ? FOUR : 0);

    if (set == (ONE | THREE) || set == (TWO | FOUR))
        return "the body is UTF-16";
    return set == ONE || set == FOUR ? "the body is UTF-32" : NULL;
}

/* Whether the first character and the last are ASCII in UTF-16, as those of any JSON are: of a string whose other
 * characters are not, too. */
static bool
is_utf16(const struct bytes *body)
{
    const char *last = body->data + body->len - 2;
    bool low_first = body->data[0] != 0 && body->data[1] == 0 && last[0] != 0 && last[1] == 0;
    bool high_first = body->data[0] == 0 && body->data[1] != 0 && last[0] == 0 && last[1] != 0;

    return body->len % 2 == 0 && (low_first || high_first);
}

int
encoding_check_bytes(const struct request *request, struct reply *reply)
{
    const struct bytes *body = &request->body;
    const char *what = marked(body, codings, sizeof codings / sizeof codings[0]);

    if (what == NULL && is_zlib(body))
        what = "the body is compressed (deflate)";
    if (what != NULL)
        return encoding_refuse_coding(what, reply);
    what = marked(body, byte_orders, sizeof byte_orders / sizeof byte_orders[0]);
    if (what == NULL && body->len >= 4)
        what = is_utf16(body) ? "the body is UTF-16" : encoding_by_nuls(body->data);
    return what != NULL ? encoding_refuse(what, reply) : 200;
}
