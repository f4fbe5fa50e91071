/*
 * One atomic word for each connection.
 */
#include "claim.h"

#include <sched.h>
#include <stdatomic.h>

bool
claim_take(struct claim *claim)
{
    int state = CLAIM_NONE;

    while (!atomic_compare_exchange_weak(&claim->state, &state, CLAIM_WORKER)) {
        if (state == CLAIM_FREE || state == CLAIM_WORKER_AGAIN)
            return false;
        if (state == CLAIM_WORKER && atomic_compare_exchange_weak(&claim->state, &state, CLAIM_WORKER_AGAIN))
            return false;
        if (state == CLAIM_SWEEPER)
            sched_yield();
        state = CLAIM_NONE;
    }
    return true;
}

bool
claim_give_back(struct claim *claim)
{
    int state = CLAIM_WORKER;

    if (atomic_compare_exchange_strong(&claim->state, &state, CLAIM_NONE))
        return true;
    atomic_store(&claim->state, CLAIM_WORKER);
    return false;
}

bool
claim_hold(struct claim *claim)
{
    int state = CLAIM_NONE;

    return atomic_compare_exchange_strong(&claim->state, &state, CLAIM_SWEEPER);
}

void
claim_make(struct claim *claim)
{
    atomic_exchange(&claim->state, CLAIM_SWEEPER); /* not a store: it is to see all that the last owner wrote */
}

void
claim_let_go(struct claim *claim)
{
    atomic_store(&claim->state, CLAIM_NONE);
}

void
claim_end(struct claim *claim)
{
    atomic_store(&claim->state, CLAIM_FREE);
}

bool
claim_is_free(struct claim *claim)
{
    return atomic_load_explicit(&claim->state, memory_order_relaxed) == CLAIM_FREE;
}
