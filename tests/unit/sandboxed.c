/*
 * A service whose handlers try what the sandbox refuses; tests/sandbox.bats asks for it. Each path is one attempt:
 * 200 when it worked, else 500 with the error's name. GET /let-through answers with the names of all those calls of
 * a long list that are not refused.
 *
 * SANDBOXED_FILE and SANDBOXED_SOCKET name a file to open and a socket to connect to. SANDBOXED chooses what the
 * service's description asks for: nothing when it is not set, "fork", "read" (SANDBOXED_FILE), "open", "unknown".
 */
#include "log.h"
#include "responder.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- attempts: each returns 0 when it worked, or -1 with errno set ---- */

static int
close_if_open(int fd)
{
    return fd < 0 ? -1 : close(fd);
}

static int
open_to_read(void)
{
    return close_if_open(open(getenv("SANDBOXED_FILE"), O_RDONLY | O_CLOEXEC));
}

static int
open_another(void)
{
    return close_if_open(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static int
open_to_write(void)
{
    return close_if_open(open(getenv("SANDBOXED_FILE"), O_WRONLY | O_CLOEXEC));
}

/* As fopen() and fgets() do it, so with all the calls that stdio makes. */
static int
read_a_line(void)
{
    char line[64];
    FILE *file = fopen(getenv("SANDBOXED_FILE"), "re");
    char *got;

    if (file == NULL)
        return -1;
    got = fgets(line, sizeof line, file);
    fclose(file);
    return got != NULL ? 0 : -1;
}

static int
fork_a_child(void)
{
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    if (child > 0)
        waitpid(child, NULL, 0); /* may be refused where fork() is not */
    return child > 0 ? 0 : -1;
}

static void *
do_nothing(void *unused)
{
    return unused;
}

static int
start_a_thread(void)
{
    pthread_t thread;

    if ((errno = pthread_create(&thread, NULL, do_nothing, NULL)) != 0)
        return -1;
    return pthread_join(thread, NULL);
}

static int
connect_by_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = listener < 0 || client < 0 || listen(listener, 1) != 0 ||
                 getsockname(listener, (struct sockaddr *)&address, &len) != 0 ||
                 connect(client, (struct sockaddr *)&address, len) != 0;
    int error = errno;

    close_if_open(listener);
    close_if_open(client);
    errno = error;
    return failed ? -1 : 0;
}

static int
connect_to_unix(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (client < 0)
        return -1;
    strncpy(address.sun_path, getenv("SANDBOXED_SOCKET"), sizeof address.sun_path - 1);
    if (connect(client, (struct sockaddr *)&address, sizeof address) == 0)
        return close(client);
    close(client);
    return -1;
}

static int
map_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return page == MAP_FAILED ? -1 : munmap(page, 4096);
}

static int
make_memory_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int failed = page == MAP_FAILED || mprotect(page, 4096, PROT_READ | PROT_EXEC) != 0;
    int error = errno;

    if (page != MAP_FAILED)
        munmap(page, 4096);
    errno = error;
    return failed ? -1 : 0;
}

static int
set_up_a_ring(void)
{
    struct io_uring_params parameters = {0};

    return close_if_open((int)syscall(SYS_io_uring_setup, 1, &parameters));
}

static int
raise_a_limit(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_CORE, &limit) != 0 ? -1 : setrlimit(RLIMIT_CORE, &limit);
}

static int
signal_the_parent(void)
{
    return kill(getppid(), 0);
}

/* getpid by the gate for 32 bits, where its number is 20: the filter sees another architecture. */
static int
call_by_32_bits(void)
{
#ifdef __x86_64__
    int result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
    if (result >= 0)
        return 0;
    errno = -result;
#else
    errno = EPERM;
#endif
    return -1;
}

static int
call_abort(void)
{
    abort();
}

static const struct {
    const char *path;
    int (*attempt)(void);
} attempts[] = {
    {"/open-to-read", open_to_read},
    {"/open-another", open_another},
    {"/open-to-write", open_to_write},
    {"/read-a-line", read_a_line},
    {"/fork", fork_a_child},
    {"/thread", start_a_thread},
    {"/connect-tcp", connect_by_tcp},
    {"/connect-unix", connect_to_unix},
    {"/map-code", map_code},
    {"/make-memory-code", make_memory_code},
    {"/io-uring", set_up_a_ring},
    {"/raise-a-limit", raise_a_limit},
    {"/signal-the-parent", signal_the_parent},
    {"/32-bits", call_by_32_bits},
    {"/abort", call_abort},
};

static int
answer_attempt(const struct request *request, struct reply *reply)
{
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        if (strcmp(attempts[i].path, request->path) != 0)
            continue;
        if (attempts[i].attempt() != 0) {
            log_line(LEVEL_ERROR, request->id, "%s: %s", request->path, strerrorname_np(errno));
            return reply_problem(reply, 500, "%s", strerrorname_np(errno));
        }
        break;
    }
    reply->content_type = "text/plain";
    buffer_append_text(&reply->body, "it worked");
    return 200;
}

/* ---- calls with arguments that the kernel refuses, too: but not with EPERM, which is the filter's ---- */

#define CALL(name) #name, SYS_##name

static const struct {
    const char *name;
    long number;
    long arguments[6];
} calls[] = {
    {CALL(execve), {0}},
    {CALL(execveat), {-1}},
    {CALL(openat), {-1, 1, O_RDONLY}},
    {CALL(openat2), {-1}},
    {CALL(renameat2), {-1, 1, -1, 1}},
    {CALL(unlinkat), {-1, 1}},
    {CALL(mkdirat), {-1, 1}},
    {CALL(linkat), {-1, 1, -1, 1}},
    {CALL(symlinkat), {1, -1, 1}},
    {CALL(mknodat), {-1, 1}},
    {CALL(fchmodat), {-1, 1}},
    {CALL(fchownat), {-1, 1}},
    {CALL(truncate), {1}},
    {CALL(readlinkat), {-1, 1}},
    {CALL(statx), {-1, 1, -1}},
    {CALL(faccessat), {-1, 1, -1}},
    {CALL(chdir), {1}},
    {CALL(fchdir), {-1}},
    {CALL(getdents64), {-1}},
    {CALL(inotify_init1), {-1}},
    {CALL(socket), {-1}},
    {CALL(socketpair), {-1}},
    {CALL(connect), {-1}},
    {CALL(bind), {-1}},
    {CALL(listen), {-1}},
    {CALL(accept), {-1}},
    {CALL(sendmmsg), {-1}},
    {CALL(shutdown), {-1, SHUT_RDWR}},
    {CALL(setsockopt), {-1, SOL_SOCKET, SO_ATTACH_FILTER}},
    {CALL(ioctl), {-1}},
    {CALL(fcntl), {-1, F_SETOWN}},
    {CALL(ptrace), {PTRACE_PEEKDATA, -1}},
    {CALL(process_vm_readv), {-1}},
    {CALL(process_vm_writev), {-1}},
    {CALL(pidfd_open), {-1}},
    {CALL(pidfd_getfd), {-1}},
    {CALL(kcmp), {-1}},
    {CALL(memfd_create), {1}},
    {CALL(userfaultfd), {-1}},
    {CALL(bpf), {-1}},
    {CALL(perf_event_open), {1}},
    {CALL(keyctl), {-1}},
    {CALL(io_setup), {0}},
    {CALL(io_uring_enter), {-1}},
    {CALL(io_uring_register), {-1}},
    {CALL(wait4), {-1}},
    {CALL(setsid), {0}},
    {CALL(unshare), {-1}},
    {CALL(setns), {-1}},
    {CALL(personality), {0xffffffff}},
    {CALL(seccomp), {-1}},
    {CALL(landlock_create_ruleset), {1}},
    {CALL(pkey_mprotect), {1}},
    {CALL(prctl), {-1}},
    {CALL(sched_setscheduler), {0, SCHED_FIFO}},
    {CALL(tgkill), {-1}},
    {CALL(tkill), {-1}},
    {CALL(rt_sigqueueinfo), {-1}},
    {CALL(timer_create), {-1}},
    {CALL(splice), {-1}},
    {CALL(copy_file_range), {-1}},
    {CALL(prlimit64), {-1}},
    {CALL(clone), {CLONE_NEWNET | CLONE_THREAD}},
    {CALL(setuid), {-1}},
    {CALL(umask), {0}},
    {CALL(dup3), {-1}},
};

/* Whether it never came to the kernel's own checks. */
static bool
is_refused(long number, const long argument[6])
{
    errno = 0;
    return syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]) == -1 &&
           errno == EPERM;
}

static int
answer_let_through(const struct request *request, struct reply *reply)
{
    (void)request;
    reply->content_type = "text/plain";
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (!is_refused(calls[i].number, calls[i].arguments))
            buffer_printf(&reply->body, "%s\n", calls[i].name);
    if (syscall(SYS_clone3, NULL, 0) != -1 || errno != ENOSYS) /* so that libc takes clone */
        buffer_append_text(&reply->body, "clone3\n");
    return 200;
}

/* ---- the service ---- */

static struct route routes[sizeof attempts / sizeof attempts[0] + 2] = {
    {"/_health", "GET", service_health},
    {"/let-through", "GET", answer_let_through},
};

static struct service service = {
    .name = "sandboxed",
    .routes = routes,
    .route_count = sizeof routes / sizeof routes[0],
};

static void
describe(const char *wanted)
{
    static const char *const fork_calls[] = {"clone", "wait4", NULL};
    static const char *const open_calls[] = {"openat", NULL};
    static const char *const unknown_calls[] = {"getpid", "opennat", NULL};
    static const char *paths[2];

    paths[0] = getenv("SANDBOXED_FILE");
    if (strcmp(wanted, "fork") == 0)
        service.system_calls = fork_calls;
    else if (strcmp(wanted, "open") == 0)
        service.system_calls = open_calls;
    else if (strcmp(wanted, "unknown") == 0)
        service.system_calls = unknown_calls;
    else if (strcmp(wanted, "read") == 0)
        service.readable = paths;
}

int
main(int argc, char *argv[])
{
    const char *wanted = getenv("SANDBOXED");

    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++)
        routes[i + 2] = (struct route){attempts[i].path, "GET", answer_attempt};
    describe(wanted != NULL ? wanted : "");
    return responder_main(argc, argv, &service);
}
