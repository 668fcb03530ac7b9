/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -sandbox: a seccomp filter that ends the process when it makes a system call it has no use for.
 */
#ifndef VMM_SANDBOX_FILTER_H
#define VMM_SANDBOX_FILTER_H

#include "vmm/error.h"

typedef enum SandboxElevate {
    SANDBOX_ELEVATE_ALLOW,
    SANDBOX_ELEVATE_DENY,
    SANDBOX_ELEVATE_CHILDREN, /* programs that it starts may; in vain, without new privileges */
} SandboxElevate;

typedef struct SandboxPolicy {
    bool on;
    bool obsolete; /* allowed, as are the two below */
    bool spawn;
    bool resources;
    SandboxElevate elevate;
} SandboxPolicy;

/* "on[,obsolete=allow|deny]...", "off". */
bool sandbox_parse(SandboxPolicy *policy, const char *text, GError **error);
/* Puts the filter on all threads, for good. Main thread, once. */
bool sandbox_enter(const SandboxPolicy *policy, GError **error);
/* Whether a program may be started; false and error when the filter would end the process. */
bool sandbox_may_spawn(GError **error);

#endif
