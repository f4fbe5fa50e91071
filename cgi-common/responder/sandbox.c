/*
 * Two filters of the kernel, put on once: seccomp's by libseccomp, Landlock's by its three system calls (no libc
 * wraps them).
 */
#include "sandbox.h"

#include "log.h"

/*
 * AddressSanitizer and ThreadSanitizer open files, map executable memory and start a program that reads symbols, at
 * a report and before. (gcov writes files when the process ends: scripts/coverage has SANDBOX=off.)
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

int
sandbox_enter(const struct service *service, const struct settings *settings)
{
    (void)service;
    (void)settings;
    return 0;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- which system calls ---- */

/*
 * The responder's own, and what malloc, threads, clocks and abort() of glibc take. libseccomp passes over what this
 * processor does not have; the names in …64 are those of 32 bits.
 */
static const char *const calls_own[] = {
    /* connections, and waiting for them */
    "epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl", "poll", "ppoll", "ppoll_time64", "accept4", "recv",
    "recvfrom", "recvmsg", "send", "sendto", "sendmsg", "read", "readv", "pread64", "write", "writev", "close",
    "getsockopt", "lseek", "_llseek",
    /* memory */
    "brk", "munmap", "mremap", "madvise", "mseal",
    /* threads, and their end */
    "futex", "futex_time64", "futex_wait", "futex_wake", "futex_waitv", "set_robust_list", "rseq", "membarrier",
    "sched_yield", "sched_getaffinity", "getcpu", "gettid", "getpid", "exit", "exit_group",
    /* signals */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn", "sigaltstack", "restart_syscall",
    /* time, chance, and what the machine is */
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64", "clock_nanosleep",
    "clock_nanosleep_time64", "nanosleep", "gettimeofday", "time", "getrandom", "sysinfo", "uname", "getrusage",
    "getuid", "geteuid", "getgid", "getegid", "fstat", "fstat64"};

/* With arguments: all that are given have to hold, several rules for one call are alternatives. */
struct rule {
    const char *call;
    unsigned count;
    struct scmp_arg_cmp arguments[2];
};

#define NAMESPACES \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

#ifdef __s390x__
#define CLONE_FLAGS 1 /* clone(2): the first two arguments change places there */
#else
#define CLONE_FLAGS 0
#endif

static const struct rule rules_own[] = {
    {"mmap", 1, {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)}},
    {"mmap2", 1, {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)}},
    {"mprotect", 1, {SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)}},
    /* A thread, and nothing else. */
    {"clone", 1, {SCMP_CMP64(CLONE_FLAGS, SCMP_CMP_MASKED_EQ, CLONE_THREAD | NAMESPACES, CLONE_THREAD)}},
    {"sched_setscheduler", 2, {SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A1(SCMP_CMP_EQ, SCHED_BATCH)}},
    /* Not SHUT_RD: a listening TCP socket listens no more then, and sendto(MSG_FASTOPEN) can connect with it. */
    {"shutdown", 1, {SCMP_A1(SCMP_CMP_EQ, SHUT_WR)}},
    {"setsockopt", 2, {SCMP_A1(SCMP_CMP_EQ, IPPROTO_TCP), SCMP_A2(SCMP_CMP_EQ, TCP_NODELAY)}},
    {"fcntl", 1, {SCMP_A1(SCMP_CMP_LE, F_SETFL)}}, /* F_DUPFD and the flags: no leases, nobody to get signals */
    {"fcntl64", 1, {SCMP_A1(SCMP_CMP_LE, F_SETFL)}},
    {"prlimit64", 2, {SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0)}}, /* read one's own */
    {"prctl", 1, {SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME)}},
    {"prctl", 1, {SCMP_A0(SCMP_CMP_EQ, PR_SET_VMA)}}, /* glibc names its memory where a tunable asks for it */
};

/* For a service with `readable` paths: Landlock says which. And what stdio and opendir() do with them. */
#define WRITING (O_ACCMODE | O_CREAT | O_TRUNC)

static const struct rule rules_reading[] = {
    {"open", 1, {SCMP_A1(SCMP_CMP_MASKED_EQ, WRITING, O_RDONLY)}},
    {"openat", 1, {SCMP_A2(SCMP_CMP_MASKED_EQ, WRITING, O_RDONLY)}},
    {.call = "stat"},
    {.call = "stat64"},
    {.call = "newfstatat"},
    {.call = "fstatat64"},
    {.call = "statx"},
    {.call = "getdents64"},
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- seccomp ---- */

/* Returns 0, or a negative errno. Passes over a name that this libseccomp is too old for. */
static int
calls_allow(scmp_filter_ctx filter, const struct rule *rule)
{
    int number = seccomp_syscall_resolve_name(rule->call);

    if (number == __NR_SCMP_ERROR)
        return 0;
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, rule->count, rule->arguments);
}

static int
calls_allow_rules(scmp_filter_ctx filter, const struct rule *rules, size_t count)
{
    int failed = 0;

    for (size_t i = 0; i < count && failed == 0; i++)
        failed = calls_allow(filter, &rules[i]);
    return failed;
}

static int
calls_allow_own(scmp_filter_ctx filter)
{
    const struct rule abort_itself = {"tgkill", 1, {SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid())}};
    int failed = calls_allow(filter, &abort_itself);

    for (size_t i = 0; i < COUNT(calls_own) && failed == 0; i++)
        failed = calls_allow(filter, &(struct rule){.call = calls_own[i]});
    if (failed == 0)
        failed = calls_allow_rules(filter, rules_own, COUNT(rules_own));
    if (failed == 0) /* its flags are in memory, where no filter sees them; libc takes clone instead */
        failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return failed;
}

/* What the service's description adds. A name with rules above is then allowed whatever its arguments. */
static int
calls_allow_service(scmp_filter_ctx filter, const struct service *service)
{
    const char *const *name = service->system_calls;
    int failed = service->readable != NULL ? calls_allow_rules(filter, rules_reading, COUNT(rules_reading)) : 0;

    for (; name != NULL && *name != NULL && failed == 0; name++)
        failed = calls_allow(filter, &(struct rule){.call = *name});
    return failed;
}

/* Returns whether libseccomp knows all names of the service's description; else logs the first that it does not. */
static bool
calls_are_known(const struct service *service)
{
    for (const char *const *name = service->system_calls; name != NULL && *name != NULL; name++) {
        if (seccomp_syscall_resolve_name(*name) == __NR_SCMP_ERROR) {
            log_line(LEVEL_ERROR, NULL, "cannot start: \"%s\" in the service's description is no system call",
                     *name);
            return false;
        }
    }
    return true;
}

/*
 * Calls of another processor mode (32 bits on x86-64) have other numbers. They are refused like all else;
 * libseccomp would kill the thread. The tree helps kernels before 5.11: later ones filter no call again that they
 * know to be allowed whatever its arguments. Returns 0, or a negative errno.
 */
static int
calls_describe(scmp_filter_ctx filter, const struct service *service)
{
    int failed = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM));

    if (failed == 0)
        failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (failed == 0)
        failed = seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1); /* for calls_load(): the kernel's errno */
    if (failed == 0)
        failed = calls_allow_own(filter);
    return failed == 0 ? calls_allow_service(filter, service) : failed;
}

/*
 * For all threads. Where there is no seccomp(2), libseccomp refuses that; it would filter the calling thread alone.
 * Returns 0, or an errno.
 */
static int
calls_load(scmp_filter_ctx filter)
{
    int failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

    return -(failed != 0 ? failed : seccomp_load(filter));
}

/* Returns 0 and what is missing (0: nothing), an errno; or -1 after logging. */
static int
calls_limit(const struct service *service, int *missing)
{
    scmp_filter_ctx filter;
    int failed;

    if (!calls_are_known(service))
        return -1;
    filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    failed = filter != NULL ? calls_describe(filter, service) : -ENOMEM;
    if (failed == 0)
        *missing = calls_load(filter);
    if (*missing == ENOMEM) /* not the kernel's refusal */
        failed = -ENOMEM;
    if (failed != 0)
        log_line(LEVEL_ERROR, NULL, "cannot start: no filter for system calls: %s", strerror(-failed));
    seccomp_release(filter);
    return failed == 0 ? 0 : -1;
}

/* ---- Landlock ---- */

/*
 * The rights that each version of Landlock knows (landlock(7)), from bit 0 on; what is known here and not granted
 * is refused. Its rights for TCP and signals are not used: the calls for these are refused, or the service's
 * description names them.
 */
static uint64_t
files_rights(size_t version)
{
    static const int bits[] = {0, 13, 14, 15, 15, 16}; /* 2: refer; 3: truncate; 5: ioctl of devices */
    size_t last = COUNT(bits) - 1;

    return (UINT64_C(1) << bits[version < last ? version : last]) - 1;
}

/* Let `path`, and what is below it, be read. Returns 0, or -1 with errno set. */
static int
files_allow(int ruleset, const char *path)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE};
    struct stat about;
    long failed;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return -1;
    failed = fstat(rule.parent_fd, &about);
    if (failed == 0) {
        if (S_ISDIR(about.st_mode))
            rule.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
        failed = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    close(rule.parent_fd);
    return failed == 0 ? 0 : -1;
}

static int
files_allow_service(int ruleset, const struct service *service)
{
    for (const char *const *path = service->readable; path != NULL && *path != NULL; path++) {
        if (files_allow(ruleset, *path) != 0) {
            log_line(LEVEL_ERROR, NULL, "cannot start: %s, which handlers are to read: %s", *path, strerror(errno));
            return -1;
        }
    }
    return 0;
}

/* Returns 0 and what is missing (0: nothing), an errno; or -1 after logging. */
static int
files_limit(const struct service *service, int *missing)
{
    struct landlock_ruleset_attr handled = {0};
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    int ruleset;
    int failed;

    if (version > 0)
        handled.handled_access_fs = files_rights((size_t)version);
    ruleset = version > 0 ? (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0) : -1;
    if (ruleset < 0) {
        *missing = errno;
        return 0;
    }
    failed = files_allow_service(ruleset, service);
    if (failed == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        *missing = errno;
    close(ruleset);
    return failed;
}

/* ---- both ---- */

static void
sandbox_warn(int without_seccomp, int without_landlock)
{
    char seccomp[128] = "";
    char landlock[128] = "";

    if (without_seccomp != 0)
        (void)snprintf(seccomp, sizeof seccomp, "seccomp (%s)", strerror(without_seccomp));
    if (without_landlock != 0)
        (void)snprintf(landlock, sizeof landlock, "Landlock (%s)", strerror(without_landlock));
    log_line(LEVEL_WARNING, NULL,
             "the sandbox is without %s%s%s: the kernel has none, or what started this process refuses it", seccomp,
             without_seccomp != 0 && without_landlock != 0 ? " and " : "", landlock);
}

int
sandbox_enter(const struct service *service, const struct settings *settings)
{
    int without_seccomp = 0;
    int without_landlock = 0;

    if (!settings->sandbox)
        return 0;
    tzset();                                /* reads /etc/localtime, for the log and for handlers */
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* both want it; where it fails, they say so */
    /* In this order: the filter of system calls lets nobody enter Landlock. */
    if (files_limit(service, &without_landlock) != 0 || calls_limit(service, &without_seccomp) != 0)
        return -1;
    malloc_trim(0); /* of what libseccomp took, once and for all */
    if (without_seccomp != 0 || without_landlock != 0)
        sandbox_warn(without_seccomp, without_landlock);
    return 0;
}

#endif
