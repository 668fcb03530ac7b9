/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel takes long to give back the memory of a large machine, and the process is not gone
 * before. A second process that shares the memory lets the first one go at once: the memory is
 * given back when the second ends. It sees the first one's end as the end of a socket.
 *
 * Whoever took over the first process could write to the second one's stack: so it has no more
 * rights than the first, and no system calls but read, write and exit (seccomp's strict mode).
 */
#include "vmm/sandbox/teardown.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_SIZE 16384

static _Alignas(16) char stack[STACK_SIZE];

/* In the second process. errno and all else is the main thread's too, which waits for the byte;
 * from then on no call fails. */
__attribute__((no_sanitize("address", "thread"))) static int outlive(void *opaque)
{
    const int fd = *(const int *)opaque; /* in a frame that does not last */
    char byte = 0;
    close_range(0, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, ~0u, 0);
    prctl(PR_SET_NAME, "vireo/teardown");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0 &&
        syscall(SYS_write, fd, &byte, sizeof(byte)) == sizeof(byte)) {
        while (syscall(SYS_read, fd, &byte, sizeof(byte)) > 0) {
        }
    }
    syscall(SYS_exit, 0);
    return 0;
}

bool async_teardown_start(GError **error)
{
    int ends[2];
    char byte;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        return error_set_errno(error, errno, "async-teardown=on: a socket");
    }
    if (clone(outlive, stack + STACK_SIZE, CLONE_VM, &ends[1]) < 0) {
        error_set_errno(error, errno, "async-teardown=on: a second process");
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    close(ends[1]);
    if (read(ends[0], &byte, sizeof(byte)) != sizeof(byte)) {
        close(ends[0]);
        return error_set(error, "async-teardown=on: the kernel has no seccomp strict mode");
    }
    return true; /* ends[0] is open as long as this process is */
}
