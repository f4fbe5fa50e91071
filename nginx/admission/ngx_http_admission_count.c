/*
 * admission: what all workers have under way. Each process counts in a slot of its own, whose number is nginx's for
 * the process, so that what a killed one has left there is seen to be nobody's. The memory outlives a reload: old
 * workers go on in their slots.
 */
#include "ngx_http_admission.h"

extern ngx_module_t ngx_http_admission_module;

static ngx_http_admission_slot_t *ngx_http_admission_own; /* of this process; NULL: it does not count */

/* ---- the memory ---- */

static ngx_int_t
ngx_http_admission_init_zone(ngx_shm_zone_t *shm, void *before)
{
    ngx_slab_pool_t *pool = (ngx_slab_pool_t *)shm->shm.addr;

    shm->data = before != NULL ? before : ngx_slab_calloc(pool, sizeof(ngx_http_admission_zone_t));
    return shm->data != NULL ? NGX_OK : NGX_ERROR;
}

ngx_shm_zone_t *
ngx_http_admission_add_zone(ngx_conf_t *cf)
{
    static ngx_str_t name = ngx_string("cgi-admission");
    size_t size =
        ngx_align(sizeof(ngx_http_admission_zone_t), ngx_pagesize) + 8 * ngx_pagesize; /* 8: the pool's own */
    ngx_shm_zone_t *shm = ngx_shared_memory_add(cf, &name, size, &ngx_http_admission_module);

    if (shm != NULL)
        shm->init = ngx_http_admission_init_zone;
    return shm;
}

/* ---- slots ---- */

void
ngx_http_admission_take_slot(ngx_http_admission_zone_t *zone)
{
    ngx_http_admission_slot_t *slot = &zone->slots[ngx_process_slot];
    ngx_atomic_uint_t used;

    slot->pid = 0;
    ngx_memory_barrier();
    slot->requests = 0;
    slot->bytes = 0;
    ngx_memory_barrier();
    slot->pid = (ngx_atomic_uint_t)ngx_pid;
    do {
        used = zone->used;
    } while (used <= (ngx_atomic_uint_t)ngx_process_slot &&
             !ngx_atomic_cmp_set(&zone->used, used, (ngx_atomic_uint_t)ngx_process_slot + 1));
    ngx_http_admission_own = slot;
}

void
ngx_http_admission_leave_slot(void)
{
    if (ngx_http_admission_own != NULL)
        ngx_http_admission_own->pid = 0;
    ngx_http_admission_own = NULL;
}

/* Slots whose process has gone without a word. Returns how many there were. */
static ngx_uint_t
ngx_http_admission_forget_dead(ngx_http_admission_zone_t *zone)
{
    ngx_uint_t i, forgotten = 0;

    for (i = 0; i < zone->used; i++) {
        ngx_atomic_uint_t pid = zone->slots[i].pid;

        if (pid != 0 && kill((pid_t)pid, 0) == -1 && ngx_errno == NGX_ESRCH)
            forgotten +=
                ngx_atomic_cmp_set(&zone->slots[i].pid, pid, 0); /* unless the next process has the slot now */
    }
    return forgotten;
}

/* ---- counting ---- */

/* Of what stands so far behind the beginning of a slot, in all slots. */
static ngx_atomic_uint_t
ngx_http_admission_sum(ngx_http_admission_zone_t *zone, size_t offset)
{
    ngx_atomic_uint_t sum = 0;
    ngx_uint_t i;

    for (i = 0; i < zone->used; i++) {
        if (zone->slots[i].pid != 0)
            sum += *(ngx_atomic_t *)((u_char *)&zone->slots[i] + offset);
    }
    return sum;
}

static ngx_int_t
ngx_http_admission_take(ngx_http_admission_zone_t *zone, size_t offset, ngx_atomic_uint_t more,
                        ngx_atomic_uint_t most)
{
    if (ngx_http_admission_own == NULL) /* nginx as a single process, whose configuration has just begun to count */
        ngx_http_admission_take_slot(zone);
    if (most > 0 && ngx_http_admission_sum(zone, offset) + more > most &&
        (ngx_http_admission_forget_dead(zone) == 0 || ngx_http_admission_sum(zone, offset) + more > most))
        return NGX_BUSY;
    *(ngx_atomic_t *)((u_char *)ngx_http_admission_own + offset) += more;
    return NGX_OK;
}

ngx_int_t
ngx_http_admission_count(ngx_http_admission_zone_t *zone, ngx_uint_t most)
{
    return ngx_http_admission_take(zone, offsetof(ngx_http_admission_slot_t, requests), 1, most);
}

void
ngx_http_admission_discount(void)
{
    if (ngx_http_admission_own != NULL)
        ngx_http_admission_own->requests--;
}

ngx_int_t
ngx_http_admission_hold(ngx_http_admission_zone_t *zone, size_t bytes, size_t most)
{
    return ngx_http_admission_take(zone, offsetof(ngx_http_admission_slot_t, bytes), bytes, most);
}

void
ngx_http_admission_let_go(size_t bytes)
{
    if (ngx_http_admission_own != NULL)
        ngx_http_admission_own->bytes -= bytes;
}
