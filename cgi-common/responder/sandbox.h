/*
 * The sandbox: what a process can still do once it serves.
 *
 * A handler works on bytes that a stranger sent. If such bytes ever take it over, this is what it can reach: the
 * connections that are open, the log, and memory. Two filters of the kernel see to that: seccomp(2) for system
 * calls, landlock(7) for files; prctl(PR_SET_NO_NEW_PRIVS) comes with them. What is open already stays usable.
 *
 * A call that is not allowed fails with EPERM (a file: EACCES; clone3: ENOSYS, so that libc takes clone). It does
 * not kill: a handler that tries has its own request fail, while a dead process would take with it all requests
 * that are under way, and a client could repeat that. So the filter has to leave nothing of use after a refusal:
 * there is no new socket, no file, no program, no memory that can be executed, no other process.
 *
 * Without the kernel's or the container engine's consent the process serves all the same, after one warning.
 */
#ifndef CGI_SANDBOX_H
#define CGI_SANDBOX_H

#include "service.h"
#include "settings.h"

/*
 * Enter the sandbox, for good, unless `settings` say no; the service's description (service.h) says what its
 * handlers need beyond the responder's own calls. Call it when all that is used later is open and before the first
 * thread is started: seccomp covers threads that exist, Landlock does not, and both are inherited. Returns 0, also
 * when the kernel has no seccomp or no Landlock, after one warning that names what is missing; or -1 after logging
 * why: an unknown name among the system calls, a path that cannot be opened, no memory.
 */
__attribute__((warn_unused_result)) int sandbox_enter(const struct service *service,
                                                      const struct settings *settings);

#endif
