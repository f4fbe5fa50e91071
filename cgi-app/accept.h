/*
 * What a client would rather have: the field Accept (RFC 9110, section 12.5.1).
 */
#ifndef APP_ACCEPT_H
#define APP_ACCEPT_H

/*
 * The weight of `type`, like "text/html", in thousandths: 0, not wanted, to 1000. The most specific range counts,
 * of two that are alike the first. Without an Accept, "", all types are wanted.
 */
int accept_weight(const char *accept, const char *type);

#endif
