/*
 * What RFC 8259 allows and jansson cannot hold: a number beyond its types, U+0000 in an object's key. Neither is of
 * interest here, but a message beside such a member is still a message.
 */
#ifndef CGI_LENIENT_H
#define CGI_LENIENT_H

#include <stddef.h>

/*
 * Rewrite JSON text in place, to the same length: each number becomes 0 and spaces, each \u0000 in a key \u0001.
 * What is no JSON stays no JSON, with its first fault at the same place.
 */
void lenient_rewrite(char *text, size_t len);

#endif
