/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The run directory: where it is, and a machine's own folder in it. */
#include "vmm/client/rundir.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "vmm/client/rundir_internal.h"

#define NUMBERS_MAX  1000
#define LOCK_TRIES   5 /* a client that looks whether a folder is stale has its lock for a moment */
#define LOCK_WAIT_US 20000
#define BACKLOG      16

struct RunDir {
    char *name;
    char *path;                 /* of the directory */
    int root, dir, lock, ports; /* ports: -1 until one is taken */
};

const char *const rundir_files[] = { RUNDIR_QMP, RUNDIR_CONSOLE, "info.json", "info.json.new",
                                     NULL };

/* ---- The directory ---- */

static bool is_own_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* Behind sudo XDG_RUNTIME_DIR may still be another user's, where nothing of ours belongs. */
static char *root_path(void)
{
    const char *base = g_getenv("XDG_RUNTIME_DIR");
    if (base && base[0] == '/' && is_own_directory(base)) {
        return g_build_filename(base, "vireo", NULL);
    }
    g_autofree char *usual = g_strdup_printf("/run/user/%u", geteuid());
    return is_own_directory(usual) ? g_build_filename(usual, "vireo", NULL)
                                   : g_strdup_printf("/tmp/vireo-%u", geteuid());
}

static bool check_root(int root, const char *path, GError **error)
{
    struct stat st;
    if (fstat(root, &st) < 0) {
        return error_set_errno(error, errno, "the run directory '%s'", path);
    }
    if (st.st_uid != geteuid()) {
        return error_set(error,
                         "the run directory '%s' belongs to another user (%u): have it removed, or "
                         "set XDG_RUNTIME_DIR to a directory of your own",
                         path, st.st_uid);
    }
    if (st.st_mode & (S_IRWXG | S_IRWXO)) {
        return error_set(error,
                         "the run directory '%s' is open to other users (mode %04o): chmod 700 it",
                         path, st.st_mode & 07777);
    }
    return true;
}

int rundir_open_root(bool create, char **where, GError **error)
{
    g_autofree char *path = root_path();
    if (create && mkdir(path, 0700) < 0 && errno != EEXIST) {
        error_set_errno(error, errno, "cannot make the run directory '%s'", path);
        return -1;
    }
    int root = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (root < 0 && (create || errno != ENOENT)) {
        bool other = errno == ENOTDIR || errno == ELOOP;
        error_set(error, "the run directory '%s': %s", path,
                  other ? "it is a file or a symbolic link: have it removed" : g_strerror(errno));
        return -1;
    }
    if (root >= 0 && !check_root(root, path, error)) {
        close(root);
        return -1;
    }
    if (where) {
        *where = g_steal_pointer(&path);
    }
    return root;
}

void rundir_socket_address(int dir, const char *socket, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    g_snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", dir, socket);
}

/* ---- Locks ---- */

static int set_lock(int fd, off_t start, off_t len)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
    return fcntl(fd, F_OFD_SETLK, &lock);
}

int rundir_open_regular(int dir, const char *name, int flags)
{
    struct stat st;
    int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

LockResult rundir_lock(int lock)
{
    struct stat st;
    if (set_lock(lock, 0, 0) < 0) {
        return errno == EAGAIN || errno == EACCES ? LOCK_TAKEN : LOCK_FAILED;
    }
    /* Who had it before may have removed the folder meanwhile. */
    return fstat(lock, &st) == 0 && st.st_nlink ? LOCK_GOT : LOCK_GONE;
}

/* ---- A machine's folder ---- */

char *rundir_clean_name(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    g_autoptr(GString) name = g_string_new(NULL);
    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        bool leading = !name->len && (c == '.' || c == '-');
        bool good = g_unichar_isgraph(c) && c != '/' && c != 0xfffd && !leading;
        if (name->len + 6 > RUNDIR_NAME_MAX) {
            break;
        }
        g_string_append_unichar(name, good ? c : '_');
    }
    return g_strdup(name->len ? name->str : "machine");
}

static int open_folder(int root, const char *name)
{
    if (mkdirat(root, name, 0700) < 0 && errno != EEXIST) {
        return -1;
    }
    return openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* One look: the folder is made when it is missing. */
static LockResult try_folder(RunDir *dir, const char *name)
{
    LockResult result = LOCK_FAILED;
    dir->dir = open_folder(dir->root, name);
    dir->lock = dir->dir < 0 ? -1 : rundir_open_regular(dir->dir, "lock", O_RDWR | O_CREAT);
    if (dir->lock >= 0) {
        result = rundir_lock(dir->lock);
    } else if (errno == ENOENT) {
        result = LOCK_GONE; /* a client removed it just now */
    }
    int errnum = errno;
    if (result != LOCK_GOT) {
        if (dir->lock >= 0) {
            close(dir->lock);
        }
        if (dir->dir >= 0) {
            close(dir->dir);
        }
        dir->dir = dir->lock = -1;
    }
    errno = errnum;
    return result;
}

static LockResult claim_folder(RunDir *dir, const char *name)
{
    LockResult result = LOCK_TAKEN;
    for (int i = 0; i < LOCK_TRIES && (result == LOCK_TAKEN || result == LOCK_GONE); i++) {
        if (i) {
            g_usleep(LOCK_WAIT_US);
        }
        result = try_folder(dir, name);
        if (result == LOCK_GOT) {
            dir->name = g_strdup(name);
        }
    }
    return result;
}

RunDir *rundir_claim(const char *name, bool number, GError **error)
{
    RunDir *dir = g_new0(RunDir, 1);
    dir->dir = dir->lock = dir->ports = -1;
    dir->root = rundir_open_root(true, &dir->path, error);
    if (dir->root < 0) {
        g_free(dir);
        return NULL;
    }
    LockResult result = LOCK_TAKEN;
    for (unsigned i = 1; i <= (number ? NUMBERS_MAX : 1) && result == LOCK_TAKEN; i++) {
        g_autofree char *numbered = i > 1 ? g_strdup_printf("%s-%u", name, i) : g_strdup(name);
        result = claim_folder(dir, numbered);
    }
    int errnum = errno;
    if (result == LOCK_TAKEN) {
        error_set(error, "a machine called '%s' runs already: -name gives another name", name);
    } else if (result != LOCK_GOT) {
        error_set_errno(error, errnum, "cannot make the folder '%s' in the run directory", name);
    }
    if (result != LOCK_GOT) {
        close(dir->root);
        g_free(dir->path);
        g_free(dir);
        return NULL;
    }
    /* What a machine that was killed left. */
    for (int i = 0; rundir_files[i]; i++) {
        unlinkat(dir->dir, rundir_files[i], 0);
    }
    return dir;
}

const char *rundir_name(const RunDir *dir)
{
    return dir->name;
}

int rundir_listen(RunDir *dir, const char *name, GError **error)
{
    struct sockaddr_un address;
    g_autofree char *path = g_build_filename(dir->path, dir->name, name, NULL);
    rundir_socket_address(dir->dir, name, &address);
    if (strlen(path) < sizeof(address.sun_path)) { /* which query-chardev shows */
        g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, BACKLOG) < 0) {
        error_set_errno(error, errno, "cannot listen on the socket '%s/%s' of the run directory",
                        dir->name, name);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

static bool write_whole(int fd, const char *text)
{
    size_t len = strlen(text);
    return write(fd, text, len) == (ssize_t)len;
}

bool rundir_write_info(RunDir *dir, json_object *info, GError **error)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    json_object_object_add(info, "name", json_object_new_string(dir->name));
    json_object_object_add(info, "pid", json_object_new_int64(getpid()));
    json_object_object_add(info, "boottime", json_object_new_int64(now.tv_sec));
    const char *text = json_object_to_json_string_ext(info, JSON_C_TO_STRING_PLAIN);
    int fd = rundir_open_regular(dir->dir, "info.json.new", O_WRONLY | O_CREAT | O_TRUNC);
    /* Renamed, so that nobody reads half of it. */
    bool good = fd >= 0 && write_whole(fd, text) &&
                renameat(dir->dir, "info.json.new", dir->dir, "info.json") == 0;
    if (!good) {
        error_set_errno(error, errno, "cannot write 'info.json' in the run directory");
    }
    if (fd >= 0) {
        close(fd);
    }
    return good;
}

/* ---- Ports ---- */

static bool port_is_free(unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    bool free = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0;
    close(fd);
    return free;
}

unsigned rundir_take_port(RunDir *dir, unsigned first, unsigned last, GError **error)
{
    if (dir->ports < 0) {
        dir->ports = rundir_open_regular(dir->root, ".ports", O_RDWR | O_CREAT);
    }
    if (dir->ports < 0) {
        error_set_errno(error, errno, "cannot open '.ports' in the run directory");
        return 0;
    }
    for (unsigned port = first; port <= last; port++) {
        if (set_lock(dir->ports, port, 1) == 0 && port_is_free(port)) {
            return port;
        }
    }
    error_set(error,
              "the ports %u to %u of 127.0.0.1 are all taken: say which one to forward with "
              "-nic user,hostfwd=tcp:127.0.0.1:PORT-:22, or -nic none",
              first, last);
    return 0;
}

void rundir_leave(RunDir *dir)
{
    if (!dir) {
        return;
    }
    rundir_remove_folder(dir->root, dir->dir, dir->name);
    if (dir->ports >= 0) {
        close(dir->ports);
    }
    close(dir->lock);
    close(dir->dir);
    close(dir->root);
    g_free(dir->name);
    g_free(dir->path);
    g_free(dir);
}

void rundir_remove_folder(int root, int dir, const char *name)
{
    for (int i = 0; rundir_files[i]; i++) {
        unlinkat(dir, rundir_files[i], 0);
    }
    unlinkat(dir, "lock", 0);
    unlinkat(root, name, AT_REMOVEDIR);
}
