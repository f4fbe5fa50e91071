/*
 * One walk over JSON text that tells numbers and keys from the rest.
 */
#include "lenient.h"

#include <string.h>

static const char *
skip_digits(const char *text, const char *end)
{
    while (text < end && *text >= '0' && *text <= '9')
        text++;
    return text;
}

/* The end of the number (RFC 8259, section 6) that begins at `text`, or NULL when it is none. */
static const char *
number_end(const char *text, const char *end)
{
    const char *digits;

    if (text < end && *text == '-')
        text++;
    digits = text;
    text = skip_digits(text, end);
    if (text == digits || (*digits == '0' && text - digits > 1))
        return NULL;
    if (text < end && *text == '.') {
        digits = ++text;
        if ((text = skip_digits(text, end)) == digits)
            return NULL;
    }
    if (text < end && (*text == 'e' || *text == 'E')) {
        text++;
        if (text < end && (*text == '+' || *text == '-'))
            text++;
        digits = text;
        if ((text = skip_digits(text, end)) == digits)
            return NULL;
    }
    return text;
}

/* Returns where to go on. A malformed number is left as it is, for jansson to find. */
static char *
rewrite_number(char *text, char *end)
{
    const char *number = number_end(text, end);

    if (number == NULL)
        return (char *)skip_digits(text + 1, end);
    memset(text, ' ', (size_t)(number - text));
    *text = '0';
    return (char *)number;
}

/* The byte after the closing quote of the string that begins at `text`, or `end`. */
static char *
string_end(char *text, char *end)
{
    for (text++; text < end && *text != '"'; text++)
        if (*text == '\\' && text + 1 < end)
            text++;
    return text < end ? text + 1 : end;
}

static void
rewrite_key(char *text, char *end)
{
    for (; text < end; text++) {
        if (*text != '\\')
            continue;
        if (end - text >= 6 && memcmp(text, "\\u0000", 6) == 0)
            text[5] = '1';
        text++;
    }
}

/* Returns where to go on. A string is a key when a colon follows. */
static char *
rewrite_string(char *text, char *end)
{
    char *after = string_end(text, end);
    char *next = after;

    while (next < end && strchr(" \t\r\n", *next) != NULL)
        next++;
    if (next < end && *next == ':')
        rewrite_key(text, after);
    return after;
}

void
lenient_rewrite(char *text, size_t len)
{
    char *end = text + len;

    while (text < end) {
        if (*text == '"')
            text = rewrite_string(text, end);
        else if (*text == '-' || (*text >= '0' && *text <= '9'))
            text = rewrite_number(text, end);
        else
            text++;
    }
}
