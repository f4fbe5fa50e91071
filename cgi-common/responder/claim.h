/*
 * Whose a connection is at the moment: at most one thread's. No lock, and nobody waits for a handler.
 */
#ifndef CGI_CLAIM_H
#define CGI_CLAIM_H

#include <stdbool.h>

enum claim_state {
    CLAIM_FREE,         /* there is no connection */
    CLAIM_NONE,         /* nobody's */
    CLAIM_WORKER,       /* a worker's */
    CLAIM_WORKER_AGAIN, /* a worker's, and something has happened since it looked */
    CLAIM_SWEEPER,      /* the sweeper's, for a moment */
};

struct claim {
    _Atomic int state; /* enum claim_state */
};

/*
 * For a worker. Returns whether it owns the connection now. If another worker does, that one will look again; if
 * the sweeper does, waits until it has let go.
 */
__attribute__((warn_unused_result)) bool claim_take(struct claim *claim);

/* Returns whether it was given back. If not, something happened meanwhile, and the worker still owns it. */
__attribute__((warn_unused_result)) bool claim_give_back(struct claim *claim);

/* For the sweeper. Returns whether it has the connection to itself. */
__attribute__((warn_unused_result)) bool claim_hold(struct claim *claim);

/* For the sweeper: a free row has a connection from now on, and is held. */
void claim_make(struct claim *claim);

/* For the sweeper: nobody's, from now on. */
void claim_let_go(struct claim *claim);

/* For the owner: there is no connection any more. */
void claim_end(struct claim *claim);

bool claim_is_free(struct claim *claim);

#endif
