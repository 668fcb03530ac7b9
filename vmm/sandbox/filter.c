/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter is a list of what is denied: seccomp(2). A call of the list raises SIGSYS, whose
 * handler names it before the process ends. glibc makes threads with clone3, whose flags a filter
 * cannot see: where no processes may be made it is told that there is no such call, and uses clone.
 */
#include "vmm/sandbox/filter.h"

#include "config.h"
#include "vmm/cli/opts.h"

static bool spawn_denied; /* main thread */

/* ---- The option ---- */

bool sandbox_parse(SandboxPolicy *policy, const char *text, GError **error)
{
    static const char *const known[] = { "enable", "obsolete",        "elevateprivileges",
                                         "spawn",  "resourcecontrol", NULL };
    static const char *const words[] = { "deny", "allow", NULL };
    static const char *const elevate[] = { [SANDBOX_ELEVATE_ALLOW] = "allow",
                                           [SANDBOX_ELEVATE_DENY] = "deny",
                                           [SANDBOX_ELEVATE_CHILDREN] = "children",
                                           NULL };
    int obsolete = 0, spawn = 1, resources = 1, privileges = SANDBOX_ELEVATE_ALLOW;
    g_autoptr(Opts) opts = opts_parse(text, "enable", error);
    if (!opts || !opts_get_bool(opts, "enable", &policy->on, error) ||
        !opts_get_enum(opts, "obsolete", words, &obsolete, error) ||
        !opts_get_enum(opts, "elevateprivileges", elevate, &privileges, error) ||
        !opts_get_enum(opts, "spawn", words, &spawn, error) ||
        !opts_get_enum(opts, "resourcecontrol", words, &resources, error) ||
        !opts_check_unused(opts, "sandbox", known, error)) {
        return false;
    }
    policy->obsolete = obsolete;
    policy->spawn = spawn;
    policy->resources = resources;
    policy->elevate = (SandboxElevate)privileges;
    return true;
}

bool sandbox_may_spawn(GError **error)
{
    return !spawn_denied || error_set(error, "-sandbox spawn=deny: no program may be started");
}

#ifdef HAVE_SECCOMP

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

typedef enum DenyGroup {
    DENY_ALWAYS,
    DENY_OBSOLETE,
    DENY_ELEVATE,
    DENY_SPAWN,
} DenyGroup;

static const char *const group_options[] = {
    [DENY_ALWAYS] = "on",
    [DENY_OBSOLETE] = "obsolete=deny",
    [DENY_ELEVATE] = "elevateprivileges=deny",
    [DENY_SPAWN] = "spawn=deny",
};

/* What ends the process. Numbers of calls that this architecture has not are negative. */
static const struct {
    int number;
    const char *name;
    DenyGroup group;
} denied[] = {
#define DENY(name, group)                                                                          \
    {                                                                                              \
        SCMP_SYS(name), #name, group                                                               \
    }
    DENY(reboot, DENY_ALWAYS),
    DENY(swapon, DENY_ALWAYS),
    DENY(swapoff, DENY_ALWAYS),
    DENY(syslog, DENY_ALWAYS),
    DENY(mount, DENY_ALWAYS),
    DENY(umount2, DENY_ALWAYS),
    DENY(pivot_root, DENY_ALWAYS),
    DENY(kexec_load, DENY_ALWAYS),
    DENY(kexec_file_load, DENY_ALWAYS),
    DENY(init_module, DENY_ALWAYS),
    DENY(finit_module, DENY_ALWAYS),
    DENY(delete_module, DENY_ALWAYS),
    DENY(afs_syscall, DENY_ALWAYS),
    DENY(getpmsg, DENY_ALWAYS),
    DENY(putpmsg, DENY_ALWAYS),
    DENY(security, DENY_ALWAYS),
    DENY(tuxcall, DENY_ALWAYS),
    DENY(vserver, DENY_ALWAYS),
    DENY(readdir, DENY_OBSOLETE),
    DENY(_sysctl, DENY_OBSOLETE),
    DENY(bdflush, DENY_OBSOLETE),
    DENY(create_module, DENY_OBSOLETE),
    DENY(get_kernel_syms, DENY_OBSOLETE),
    DENY(query_module, DENY_OBSOLETE),
    DENY(sgetmask, DENY_OBSOLETE),
    DENY(ssetmask, DENY_OBSOLETE),
    DENY(sysfs, DENY_OBSOLETE),
    DENY(uselib, DENY_OBSOLETE),
    DENY(ustat, DENY_OBSOLETE),
    DENY(setuid, DENY_ELEVATE),
    DENY(setgid, DENY_ELEVATE),
    DENY(setpgid, DENY_ELEVATE),
    DENY(setsid, DENY_ELEVATE),
    DENY(setreuid, DENY_ELEVATE),
    DENY(setregid, DENY_ELEVATE),
    DENY(setresuid, DENY_ELEVATE),
    DENY(setresgid, DENY_ELEVATE),
    DENY(setfsuid, DENY_ELEVATE),
    DENY(setfsgid, DENY_ELEVATE),
    DENY(setgroups, DENY_ELEVATE),
    DENY(fork, DENY_SPAWN),
    DENY(vfork, DENY_SPAWN),
    DENY(execve, DENY_SPAWN),
    DENY(execveat, DENY_SPAWN),
#undef DENY
};

static bool group_is_denied(const SandboxPolicy *policy, DenyGroup group)
{
    switch (group) {
    case DENY_ALWAYS:
        break;
    case DENY_OBSOLETE:
        return !policy->obsolete;
    case DENY_ELEVATE:
        return policy->elevate != SANDBOX_ELEVATE_ALLOW;
    case DENY_SPAWN:
        return !policy->spawn;
    }
    return true;
}

/* ---- The end ---- */

static void append(char *line, size_t size, const char *text)
{
    size_t used = strlen(line), length = MIN(strlen(text), size - 1 - used);
    memcpy(line + used, text, length);
    line[used + length] = '\0';
}

/* Async-signal-safe; the signal is delivered again when it returns. */
static void denied_call(int signal_number, siginfo_t *info, void *context)
{
    char line[160] = "vireo: ended by -sandbox ";
    const char *name = "clone without a thread", *option = group_options[DENY_SPAWN];
    for (size_t i = 0; i < G_N_ELEMENTS(denied); i++) {
        if (denied[i].number == info->si_syscall) {
            name = denied[i].name;
            option = group_options[denied[i].group];
        }
    }
    append(line, sizeof(line), option);
    append(line, sizeof(line), ": it made the system call ");
    append(line, sizeof(line), name);
    append(line, sizeof(line), "\n");
    ssize_t written = write(STDERR_FILENO, line, strlen(line));
    (void)written;
    signal(SIGSYS, SIG_DFL);
    raise(SIGSYS);
}

/* ---- The filter ---- */

static int add_list(scmp_filter_ctx filter, const SandboxPolicy *policy)
{
    for (size_t i = 0; i < G_N_ELEMENTS(denied); i++) {
        if (group_is_denied(policy, denied[i].group)) {
            int ret = seccomp_rule_add(filter, SCMP_ACT_TRAP, denied[i].number, 0);
            if (ret < 0) {
                return ret;
            }
        }
    }
    return 0;
}

/* Processes by clone. */
static int add_clone(scmp_filter_ctx filter)
{
    int ret = seccomp_rule_add(filter, SCMP_ACT_TRAP, SCMP_SYS(clone), 1,
                               SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    return ret < 0 ? ret : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

/* What a thread may ask for and bears to be refused: GLib's pools do. */
static int add_resources(scmp_filter_ctx filter)
{
    static const int calls[] = { SCMP_SYS(setpriority), SCMP_SYS(sched_setparam),
                                 SCMP_SYS(sched_setscheduler), SCMP_SYS(sched_setattr),
                                 SCMP_SYS(sched_setaffinity) };
    int ret = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(calls) && ret == 0; i++) {
        ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
    }
    return ret;
}

static int load(const SandboxPolicy *policy)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter) {
        return -ENOMEM;
    }
    int ret = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    ret = ret < 0 ? ret : add_list(filter, policy);
    ret = ret < 0 || policy->spawn ? ret : add_clone(filter);
    ret = ret < 0 || policy->resources ? ret : add_resources(filter);
    ret = ret < 0 ? ret : seccomp_load(filter);
    seccomp_release(filter);
    return ret;
}

bool sandbox_enter(const SandboxPolicy *policy, GError **error)
{
    struct sigaction action = { .sa_sigaction = denied_call, .sa_flags = SA_SIGINFO };
    if (!policy->on) {
        return true;
    }
    sigaction(SIGSYS, &action, NULL);
    int ret = load(policy);
    spawn_denied = !policy->spawn;
    return ret == 0 || error_set_errno(error, -ret, "-sandbox: the kernel takes no filter");
}

#else

bool sandbox_enter(const SandboxPolicy *policy, GError **error)
{
    return !policy->on || error_set(error, "-sandbox on: this build has no filter for system calls "
                                           "(libseccomp was missing when it was made)");
}

#endif
