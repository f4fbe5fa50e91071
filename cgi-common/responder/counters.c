/*
 * A row of counters for each worker. Only its worker writes to it, so a count costs no lock and no cache line that
 * another processor wants; the reader may miss the last request.
 */
#include "counters.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

enum { COUNTERS_WORKERS = 256, COUNTERS_LINE = 64 };

struct counters {
    _Alignas(COUNTERS_LINE) _Atomic int64_t since; /* when the handler began, in ms of counters_now(); 0: none */
    _Atomic uint64_t by_status[COUNTERS_STATUSES];
};

static struct counters rows[COUNTERS_WORKERS];
static _Atomic int joined;
static _Thread_local struct counters *mine;

static int64_t
counters_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
counters_join(void)
{
    int row = atomic_fetch_add(&joined, 1);

    if (row < COUNTERS_WORKERS)
        mine = &rows[row];
}

void
counters_begin(void)
{
    if (mine != NULL)
        atomic_store_explicit(&mine->since, counters_now(), memory_order_relaxed);
}

void
counters_end(int status)
{
    int column = status - COUNTERS_FIRST_STATUS;

    if (mine == NULL)
        return;
    atomic_store_explicit(&mine->since, 0, memory_order_relaxed);
    if (column >= 0 && column < COUNTERS_STATUSES) {
        uint64_t count = atomic_load_explicit(&mine->by_status[column], memory_order_relaxed);

        atomic_store_explicit(&mine->by_status[column], count + 1, memory_order_relaxed);
    }
}

static void
counters_add(struct counters_sum *sum, struct counters *row, int64_t now)
{
    int64_t since = atomic_load_explicit(&row->since, memory_order_relaxed);

    for (int i = 0; i < COUNTERS_STATUSES; i++) {
        uint64_t count = atomic_load_explicit(&row->by_status[i], memory_order_relaxed);

        sum->by_status[i] += count;
        sum->requests += count;
        if (i + COUNTERS_FIRST_STATUS >= 500)
            sum->errors += count;
    }
    if (since == 0)
        return;
    sum->busy++;
    if ((double)(now - since) / 1000 > sum->longest_s)
        sum->longest_s = (double)(now - since) / 1000;
}

void
counters_add_up(struct counters_sum *sum)
{
    int count = atomic_load(&joined);
    int64_t now = counters_now();

    *sum = (struct counters_sum){0};
    for (int i = 0; i < count && i < COUNTERS_WORKERS; i++)
        counters_add(sum, &rows[i], now);
}
