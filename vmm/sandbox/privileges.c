/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/sandbox/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vmm/cli/opts.h"

#define MAX_ID (UINT32_MAX - 1) /* (uid_t)-1 means "leave it" to the kernel */

/* ---- Who ---- */

static bool use_account(Privileges *p, const struct passwd *account, GError **error)
{
    int count = 0;
    getgrouplist(account->pw_name, account->pw_gid, NULL, &count);
    p->groups = g_new(gid_t, count);
    if (getgrouplist(account->pw_name, account->pw_gid, p->groups, &count) < 0) {
        return error_set(error, "the groups of user '%s' changed meanwhile", account->pw_name);
    }
    p->group_count = count;
    p->uid = account->pw_uid;
    p->gid = account->pw_gid;
    return true;
}

static bool use_numbers(Privileges *p, const char *text)
{
    uint64_t uid, gid;
    g_auto(GStrv) parts = g_strsplit(text, ":", 3);
    if (g_strv_length(parts) != 2 || !parse_uint(parts[0], MAX_ID, &uid) ||
        !parse_uint(parts[1], MAX_ID, &gid)) {
        return false;
    }
    p->groups = g_new(gid_t, 1);
    p->groups[0] = (gid_t)gid;
    p->group_count = 1;
    p->uid = (uid_t)uid;
    p->gid = (gid_t)gid;
    return true;
}

bool privileges_set_user(Privileges *p, const char *text, GError **error)
{
    g_clear_pointer(&p->groups, g_free);
    g_free(p->user);
    p->user = g_strdup(text);
    const struct passwd *account = getpwnam(text);
    if (account) {
        return use_account(p, account, error);
    }
    return use_numbers(p, text) ||
           error_set(error, "there is no user '%s', and it is not UID:GID", text);
}

/* ---- Where ---- */

bool privileges_set_root(Privileges *p, const char *directory, GError **error)
{
    struct stat st;
    if (stat(directory, &st) < 0) {
        return error_set_errno(error, errno, "the root directory '%s'", directory);
    }
    g_free(p->root);
    p->root = g_strdup(directory);
    return S_ISDIR(st.st_mode) || error_set(error, "'%s' is not a directory", directory);
}

static bool change_root(const char *directory, GError **error)
{
    if (chroot(directory) < 0 || chdir("/") < 0) {
        int errnum = errno;
        return error_set_errno(error, errnum, "cannot make '%s' the root directory%s", directory,
                               errnum == EPERM ? " (it takes root, or CAP_SYS_CHROOT)" : "");
    }
    return true;
}

/* ---- Change ---- */

/* glibc changes all threads. Groups first: the user may not. */
static bool change_user(const Privileges *p, GError **error)
{
    if (setgroups((size_t)p->group_count, p->groups) < 0 || setresgid(p->gid, p->gid, p->gid) < 0 ||
        setresuid(p->uid, p->uid, p->uid) < 0) {
        int errnum = errno;
        return error_set_errno(error, errnum, "cannot become user '%s'%s", p->user,
                               errnum == EPERM ? " (it takes root, or CAP_SETUID and CAP_SETGID)"
                                               : "");
    }
    return true;
}

static bool no_way_back(const Privileges *p, GError **error)
{
    bool user_back = p->uid != 0 && setresuid(0, 0, 0) == 0;
    bool group_back = p->uid != 0 && p->gid != 0 && setresgid(0, 0, 0) == 0;
    return !(user_back || group_back) ||
           error_set(error, "user '%s' could become root again: the process has kept capabilities",
                     p->user);
}

bool privileges_drop(const Privileges *p, GError **error)
{
    return (!p->root || change_root(p->root, error)) &&
           (!p->user || (change_user(p, error) && no_way_back(p, error)));
}

void privileges_clear(Privileges *p)
{
    g_clear_pointer(&p->groups, g_free);
    g_clear_pointer(&p->root, g_free);
    g_clear_pointer(&p->user, g_free);
}
