/*
 * A bound on the bytes that a process buffers for its peers: requests that have come in part, answers that have not
 * been taken. Connections are charged for what they hold; who needs more than there is waits, and reads nothing
 * meanwhile, so that the peer's side of the socket fills up instead of our memory.
 *
 * A large request is charged for all it says it will send before its body is read, so no two of them can wait for
 * each other with half a body each. Small ones may use a quarter more than the bound: large ones never shut them
 * out.
 */
#ifndef CGI_ROOM_H
#define CGI_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROOM_SMALL = 64 * 1024 }; /* bytes; what counts as small */

struct room {
    size_t limit;              /* bytes; a quarter more for small ones */
    _Atomic size_t taken;      /* bytes */
    _Atomic int waiting;       /* connections that wait for room */
    _Atomic int64_t served_at; /* when a large request was last answered, ms: those that wait come nearer */
    int freed;                 /* eventfd: told when there is more room and somebody waits; -1: nobody is told */
};

/*
 * Change what somebody is charged for from `*charged` to `wanted` bytes. Always possible when that is less. Returns
 * whether there was room; if not, nothing has changed. For any thread.
 */
__attribute__((warn_unused_result)) bool room_charge(struct room *room, size_t *charged, size_t wanted);

/* Charge for nothing any more. */
void room_discharge(struct room *room, size_t *charged);

/* Whether so much is taken that who begins to read had better read little. */
bool room_is_tight(struct room *room);

#endif
