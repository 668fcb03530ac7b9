/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/util/fdset.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "/dev/fdset/"
/* What F_SETFL can change of a duplicate. */
#define SETTABLE (O_APPEND | O_DIRECT | O_NONBLOCK)

typedef struct Fdset {
    int64_t number;
    GArray *members; /* FdsetMember */
    GArray *users;   /* int: duplicates that are open */
} Fdset;

static GMutex lock;       /* of all below; a leaf */
static GPtrArray *sets;   /* by rising number */
static bool drop_unused;  /* but lasting ones */
static GArray *inherited; /* int: given to -add-fd; main thread */

/* ---- Sets ---- */

static void member_clear(void *data)
{
    FdsetMember *member = data;
    close(member->fd);
    g_free(member->opaque);
}

static void set_free(void *data)
{
    Fdset *set = data;
    g_array_unref(set->members);
    g_array_unref(set->users);
    g_free(set);
}

/* The index of the first set with this number or a greater one. */
static unsigned place_of(int64_t number)
{
    unsigned i = 0;
    while (sets && i < sets->len && ((Fdset *)g_ptr_array_index(sets, i))->number < number) {
        i++;
    }
    return i;
}

static Fdset *find(int64_t number)
{
    unsigned i = place_of(number);
    Fdset *set = sets && i < sets->len ? g_ptr_array_index(sets, i) : NULL;
    return set && set->number == number ? set : NULL;
}

static Fdset *find_or_make(int64_t number)
{
    Fdset *set = find(number);
    if (set) {
        return set;
    }
    set = g_new0(Fdset, 1);
    set->number = number;
    set->members = g_array_new(FALSE, FALSE, sizeof(FdsetMember));
    set->users = g_array_new(FALSE, FALSE, sizeof(int));
    g_array_set_clear_func(set->members, member_clear);
    if (!sets) {
        sets = g_ptr_array_new_with_free_func(set_free);
    }
    g_ptr_array_insert(sets, (int)place_of(number), set);
    return set;
}

static int64_t free_number(void)
{
    unsigned number = 0;
    while (sets && number < sets->len &&
           ((Fdset *)g_ptr_array_index(sets, number))->number == number) {
        number++;
    }
    return number;
}

/* Removes what is not to stay, and the set when nothing is left. */
static void tidy(Fdset *set)
{
    for (unsigned i = set->members->len; drop_unused && !set->users->len && i--;) {
        if (!g_array_index(set->members, FdsetMember, i).lasting) {
            g_array_remove_index(set->members, i);
        }
    }
    if (!set->members->len && !set->users->len) {
        g_ptr_array_remove(sets, set);
    }
}

int64_t fdset_add(int64_t number, int fd, const char *opaque, bool lasting, GError **error)
{
    if (number != FDSET_ANY && (number < 0 || number > G_MAXINT)) {
        close(fd);
        error_set(error, "set %" G_GINT64_FORMAT ": the number of a set is 0 to %d", number,
                  G_MAXINT);
        return -1;
    }
    FdsetMember member = { .fd = fd, .opaque = g_strdup(opaque), .lasting = lasting };
    g_mutex_lock(&lock);
    number = number == FDSET_ANY ? free_number() : number;
    g_array_append_val(find_or_make(number)->members, member);
    g_mutex_unlock(&lock);
    return number;
}

static bool remove_members(Fdset *set, int64_t fd)
{
    bool found = fd == FDSET_ALL;
    for (unsigned i = set->members->len; i--;) {
        if (fd == FDSET_ALL || g_array_index(set->members, FdsetMember, i).fd == fd) {
            g_array_remove_index(set->members, i);
            found = true;
        }
    }
    tidy(set);
    return found;
}

bool fdset_remove(int64_t number, int64_t fd, GError **error)
{
    g_mutex_lock(&lock);
    Fdset *set = find(number);
    bool found = set && remove_members(set, fd);
    g_mutex_unlock(&lock);
    if (!set) {
        return error_set(error, "there is no set %" G_GINT64_FORMAT " (query-fdsets lists them)",
                         number);
    }
    return found || error_set(error,
                              "set %" G_GINT64_FORMAT " has no descriptor %" G_GINT64_FORMAT
                              " (query-fdsets lists them)",
                              number, fd);
}

void fdset_foreach(void (*fn)(int64_t, const FdsetMember *, unsigned, void *), void *opaque)
{
    g_mutex_lock(&lock);
    for (unsigned i = sets ? sets->len : 0; i--;) {
        Fdset *set = g_ptr_array_index(sets, i);
        fn(set->number, (const FdsetMember *)set->members->data, set->members->len, opaque);
    }
    g_mutex_unlock(&lock);
}

void fdset_keep_unused(bool keep)
{
    g_mutex_lock(&lock);
    drop_unused = !keep;
    for (unsigned i = sets ? sets->len : 0; i--;) {
        tidy(g_ptr_array_index(sets, i));
    }
    g_mutex_unlock(&lock);
}

void fdset_close_all(void)
{
    g_mutex_lock(&lock);
    g_clear_pointer(&sets, g_ptr_array_unref);
    g_mutex_unlock(&lock);
}

/* ---- -add-fd ---- */

/* What was inherited has no close-on-exec; what Vireo opened by itself has. */
static bool check_inherited(uint64_t fd, GError **error)
{
    if (fd <= STDERR_FILENO) {
        return error_set(error, "fd=%d is standard input, output or error", (int)fd);
    }
    int flags = fcntl((int)fd, F_GETFD);
    if (flags < 0 || flags & FD_CLOEXEC) {
        return error_set(error, "fd=%d is not a descriptor that Vireo was started with", (int)fd);
    }
    return true;
}

static bool need(Opts *options, const char *key, uint64_t *value, GError **error)
{
    return opts_has(options, key) ? opts_get_uint(options, key, G_MAXINT, value, error)
                                  : error_set(error, "%s= is missing: fd=N,set=N", key);
}

bool fdset_add_inherited(Opts *options, GError **error)
{
    static const char *const known[] = { "fd", "set", "opaque", NULL };
    uint64_t fd, set;
    if (!need(options, "fd", &fd, error) || !need(options, "set", &set, error)) {
        return false;
    }
    const char *opaque = opts_get(options, "opaque");
    if (!opts_check_unused(options, "add-fd", known, error) || !check_inherited(fd, error)) {
        return false;
    }
    int own = fcntl((int)fd, F_DUPFD_CLOEXEC, FDSET_FIRST_FD);
    if (own < 0) {
        return error_set_errno(error, errno, "fd=%d", (int)fd);
    }
    inherited = inherited ? inherited : g_array_new(FALSE, FALSE, sizeof(int));
    int number = (int)fd;
    g_array_append_val(inherited, number);
    return fdset_add((int64_t)set, own, opaque, true, error) >= 0;
}

void fdset_close_inherited(void)
{
    for (unsigned i = 0; inherited && i < inherited->len; i++) {
        int fd = g_array_index(inherited, int, i);
        int flags = fcntl(fd, F_GETFD); /* it may stand there twice, and be another's by now */
        if (flags >= 0 && !(flags & FD_CLOEXEC)) {
            close(fd);
        }
    }
    g_clear_pointer(&inherited, g_array_unref);
}

/* ---- Files ---- */

/* A descriptor of the access mode, rather one that agrees in O_DIRECT; -1: none. */
static int choose(const Fdset *set, int flags)
{
    int chosen = -1;
    for (unsigned i = 0; i < set->members->len; i++) {
        int fd = g_array_index(set->members, FdsetMember, i).fd;
        int mode = fcntl(fd, F_GETFL);
        if (mode < 0 || mode & O_PATH || (mode ^ flags) & O_ACCMODE) {
            continue;
        }
        if (!((mode ^ flags) & O_DIRECT)) {
            return fd;
        }
        chosen = chosen < 0 ? fd : chosen;
    }
    return chosen;
}

/* A duplicate with those of the flags that can be set; -1 and errno. */
static int duplicate(int fd, int flags)
{
    int mode = fcntl(fd, F_GETFL);
    int own = fcntl(fd, F_DUPFD_CLOEXEC, FDSET_FIRST_FD);
    int wanted = (mode & ~SETTABLE) | (flags & SETTABLE);
    if (own >= 0 && wanted != mode && fcntl(own, F_SETFL, wanted) < 0) {
        int errnum = errno;
        close(own);
        errno = errnum;
        return -1;
    }
    return own;
}

static int open_member(Fdset *set, int flags)
{
    int fd = set ? choose(set, flags) : -1;
    if (fd < 0) {
        errno = set ? EACCES : ENOENT;
        return -1;
    }
    int own = duplicate(fd, flags);
    if (own >= 0) {
        g_array_append_val(set->users, own);
    }
    return own;
}

int fdset_open(const char *path, int flags, mode_t mode)
{
    uint64_t number;
    if (!g_str_has_prefix(path, PREFIX)) {
        return open(path, flags, mode);
    }
    if (!parse_uint(path + strlen(PREFIX), G_MAXINT, &number)) {
        errno = EBADF;
        return -1;
    }
    g_mutex_lock(&lock);
    int fd = open_member(find((int64_t)number), flags);
    g_mutex_unlock(&lock);
    return fd;
}

bool fdset_open_failed(GError **error, int errnum, const char *path, int flags)
{
    static const char *const modes[] = {
        [O_RDONLY] = "reading", [O_WRONLY] = "writing", [O_RDWR] = "reading and writing"
    };
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    if (g_str_has_prefix(path, PREFIX)) {
        switch (errnum) {
        case EBADF:
            return error_set(
                error, "cannot open '%s': the number of a set, 0 to %d, has to follow " PREFIX,
                path, G_MAXINT);
        case ENOENT:
            return error_set(error,
                             "cannot open '%s': there is no such set of descriptors "
                             "(query-fdsets lists them; add-fd makes them)",
                             path);
        case EACCES:
            return error_set(error,
                             "cannot open '%s': no descriptor of the set is open for just "
                             "%s",
                             path, modes[flags & O_ACCMODE]);
        default:
            break;
        }
    }
    return error_set_errno(error, errnum, "cannot open '%s'%s", path, writes ? " for writing" : "");
}

static bool leave(Fdset *set, int fd)
{
    for (unsigned i = 0; i < set->users->len; i++) {
        if (g_array_index(set->users, int, i) == fd) {
            g_array_remove_index_fast(set->users, i);
            tidy(set);
            return true;
        }
    }
    return false;
}

void fdset_close(int fd)
{
    g_mutex_lock(&lock);
    for (unsigned i = 0; sets && i < sets->len && !leave(g_ptr_array_index(sets, i), fd); i++) {
    }
    g_mutex_unlock(&lock);
    close(fd);
}
