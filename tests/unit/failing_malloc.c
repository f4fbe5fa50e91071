/*
 * For LD_PRELOAD: memory, descriptors and epoll that run short when a test says so (tests/lib/memory.py).
 *
 * FAILING_MALLOC names a file of 8 numbers, struct control below, which the test maps too: so one running process
 * is driven through all its allocations. Without that file everything succeeds as usual.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* memory.py has the same names in the same order. */
struct control {
    _Atomic int64_t first;        /* the allocation that fails, counted from 1; 0: none does, none is counted */
    _Atomic int64_t last;         /* and all to this one */
    _Atomic int64_t seen;         /* allocations counted */
    _Atomic int64_t fired;        /* of which failed */
    _Atomic int64_t after_accept; /* 1: begin to count when a connection has been accepted; 0 from then on */
    _Atomic int64_t accepts;      /* accept4 fails so many times */
    _Atomic int64_t watches;      /* EPOLL_CTL_ADD likewise */
    _Atomic int64_t accept_errno; /* with this; EPOLL_CTL_ADD with ENOMEM */
};

/* glibc's own, under the names that stay when malloc is replaced. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*): the names are glibc's */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl*) */

static struct control *control; /* NULL until it is mapped, or when there is none */
static int (*real_accept4)(int, struct sockaddr *, socklen_t *, int);
static int (*real_epoll_ctl)(int, int, int, struct epoll_event *);

__attribute__((constructor)) static void
failing_open(void)
{
    const char *path = getenv("FAILING_MALLOC");
    int fd;
    void *mapped;

    real_accept4 = (int (*)(int, struct sockaddr *, socklen_t *, int))dlsym(RTLD_NEXT, "accept4");
    real_epoll_ctl = (int (*)(int, int, int, struct epoll_event *))dlsym(RTLD_NEXT, "epoll_ctl");
    if (path == NULL)
        return;
    if ((fd = open(path, O_RDWR | O_CLOEXEC)) < 0)
        abort(); /* a test that fails nothing would pass */
    if ((mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED)
        abort();
    close(fd);
    control = mapped;
}

/* Count an allocation. Returns whether it is one that is to fail; errno is set then. */
static bool
memory_is_short(void)
{
    int64_t first;
    int64_t number;

    if (control == NULL || (first = atomic_load(&control->first)) == 0 || atomic_load(&control->after_accept) != 0)
        return false;
    number = atomic_fetch_add(&control->seen, 1) + 1;
    if (number < first || number > atomic_load(&control->last))
        return false;
    atomic_fetch_add(&control->fired, 1);
    errno = ENOMEM;
    return true;
}

/* Take one from a number of failures that are left. Returns whether there was one. */
static bool
take_one(_Atomic int64_t *left)
{
    int64_t have = atomic_load(left);

    while (have > 0)
        if (atomic_compare_exchange_weak(left, &have, have - 1))
            return true;
    return false;
}

void *
malloc(size_t size)
{
    return memory_is_short() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
    return memory_is_short() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *old, size_t size)
{
    return memory_is_short() ? NULL : __libc_realloc(old, size);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
    return memory_is_short() ? NULL : __libc_memalign(alignment, size);
}

void *
memalign(size_t alignment, size_t size)
{
    return memory_is_short() ? NULL : __libc_memalign(alignment, size);
}

int
posix_memalign(void **to, size_t alignment, size_t size)
{
    void *got = memory_is_short() ? NULL : __libc_memalign(alignment, size);

    if (got == NULL)
        return ENOMEM;
    *to = got;
    return 0;
}

int
accept4(int listener, struct sockaddr *address, socklen_t *len, int flags)
{
    int fd;

    if (control != NULL && take_one(&control->accepts)) {
        errno = (int)atomic_load(&control->accept_errno);
        return -1;
    }
    fd = real_accept4(listener, address, len, flags);
    if (control != NULL && fd >= 0)
        atomic_store(&control->after_accept, 0);
    return fd;
}

int
epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (control != NULL && operation == EPOLL_CTL_ADD && take_one(&control->watches)) {
        errno = ENOMEM;
        return -1;
    }
    return real_epoll_ctl(epoll, operation, fd, event);
}
