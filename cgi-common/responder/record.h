/*
 * Where a FastCGI request ends in a run of bytes (FastCGI specification 1.0, sections 3.3 and 5). libfcgi reads a
 * request only once it is known to be there to its last byte; this is what knows it.
 */
#ifndef CGI_RECORD_H
#define CGI_RECORD_H

#include <stdbool.h>
#include <stddef.h>

enum record_verdict {
    RECORD_MORE,       /* no end yet: read on */
    RECORD_REQUEST,    /* a request ends at `offset` */
    RECORD_MANAGEMENT, /* a question about the application itself (section 4) ends at `offset` */
    RECORD_TOO_LARGE,  /* the params are whole and end at or before `offset`, the body passes the limit */
    RECORD_REFUSED,    /* not FastCGI, or more than a peer may send; `reason` says which */
};

/* Where in the name-value pairs of FCGI_PARAMS (section 3.4) the bytes so far end. */
struct record_pairs {
    unsigned char lengths[8]; /* of the pair that begins: 1 or 4 bytes each for name and value */
    size_t have;              /* of these */
    size_t skip;              /* bytes of name and value still to come */
    int count;
};

/* How far the bytes were looked at. All zeroes: at the start of a request. */
struct record_scan {
    size_t offset; /* whole records before this one */
    int id;        /* of the request that has begun; 0: none */
    size_t params; /* bytes of FCGI_PARAMS so far */
    size_t body;   /* bytes of FCGI_STDIN so far */
    bool params_ended;
    struct record_pairs pairs;
    const char *reason; /* of RECORD_REFUSED, a constant sentence */
};

/*
 * Look at the `len` bytes that have arrived since the request's start. `data` may have moved since the last
 * call, but its first bytes are the same ones. Looks at each byte once, however small the pieces.
 */
enum record_verdict record_scan(struct record_scan *scan, const void *data, size_t len, size_t max_body);

#endif
