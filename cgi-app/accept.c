/*
 * Accept: media ranges, each with a weight. Parameters of a range other than its weight are not looked at: no type
 * of app's has variants.
 */
#include "accept.h"

#include <string.h>
#include <strings.h>

static const char space[] = " \t";

/* How well a range of `len` bytes fits: 3 the type itself, 2 its group, 1 anything, 0 not at all. */
static int
range_fit(const char *range, size_t len, const char *type)
{
    size_t group = strcspn(type, "/") + 1;

    if (len == strlen(type) && strncasecmp(range, type, len) == 0)
        return 3;
    if (len == group + 1 && range[group] == '*' && strncasecmp(range, type, group) == 0)
        return 2;
    return len == 3 && memcmp(range, "*/*", 3) == 0 ? 1 : 0;
}

/* "0.8" is 800, "1" is 1000: at most three digits behind the point (RFC 9110, section 12.4.2). */
static int
weight_value(const char *at)
{
    int weight = *at == '1' ? 1000 : 0;

    if (at[0] != '\0' && at[1] == '.')
        for (int scale = 100, i = 2; scale > 0 && at[i] >= '0' && at[i] <= '9'; scale /= 10, i++)
            weight += (at[i] - '0') * scale;
    return weight < 1000 ? weight : 1000;
}

/* The weight among the parameters of a range, which end before `end`; 1000 when it has none. */
static int
range_weight(const char *at, const char *end)
{
    while ((at = memchr(at, ';', (size_t)(end - at))) != NULL) {
        at++;
        at += strspn(at, space);
        if (end - at >= 2 && (*at == 'q' || *at == 'Q') && at[1] == '=')
            return weight_value(at + 2);
    }
    return 1000;
}

int
accept_weight(const char *accept, const char *type)
{
    int best = 0;
    int weight = 0;

    if (accept[strspn(accept, ", \t")] == '\0')
        return 1000;
    for (const char *at = accept; *(at += strspn(at, ", \t")) != '\0';) {
        const char *end = strchrnul(at, ',');
        int fit = range_fit(at, strcspn(at, ";, \t"), type);

        if (fit > best) {
            best = fit;
            weight = range_weight(at, end);
        }
        at = end;
    }
    return weight;
}
