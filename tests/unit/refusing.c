/*
 * usage: refusing ERRNO CALL,CALL,... COMMAND...
 *
 * Run COMMAND where these system calls fail with ERRNO (a number): as a kernel without them does, or the filter of
 * a container engine. For tests/sandbox.bats.
 */
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
main(int argc, char *argv[])
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    char *rest;

    if (argc < 4 || filter == NULL)
        return 2;
    for (char *name = strtok_r(argv[2], ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        int number = seccomp_syscall_resolve_name(name);
        int failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint16_t)strtol(argv[1], NULL, 10)), number, 0);

        if (failed != 0) {
            fprintf(stderr, "refusing: %s: %s\n", name, strerror(-failed));
            return 2;
        }
    }
    if (seccomp_load(filter) != 0)
        return 2;
    execvp(argv[3], argv + 3);
    perror(argv[3]);
    return 2;
}
