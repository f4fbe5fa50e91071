/*
 * One number, which all threads add to; small requests that come whole never touch it.
 */
#include "room.h"

#include <stdatomic.h>
#include <sys/eventfd.h>

static bool
room_take(struct room *room, size_t more, size_t limit)
{
    size_t taken = atomic_load(&room->taken);

    do {
        if (more > limit || taken > limit - more)
            return false;
    } while (!atomic_compare_exchange_weak(&room->taken, &taken, taken + more));
    return true;
}

bool
room_charge(struct room *room, size_t *charged, size_t wanted)
{
    if (wanted > *charged) {
        size_t limit = wanted > ROOM_SMALL ? room->limit : room->limit + room->limit / 4;

        if (!room_take(room, wanted - *charged, limit))
            return false;
    } else if (wanted < *charged) {
        atomic_fetch_sub(&room->taken, *charged - wanted);
        if (atomic_load(&room->waiting) > 0 && room->freed >= 0)
            eventfd_write(room->freed, 1);
    }
    *charged = wanted;
    return true;
}

void
room_discharge(struct room *room, size_t *charged)
{
    if (*charged > 0 && !room_charge(room, charged, 0))
        *charged = 0; /* never: less is always possible */
}

bool
room_is_tight(struct room *room)
{
    return atomic_load_explicit(&room->taken, memory_order_relaxed) > room->limit / 2;
}
