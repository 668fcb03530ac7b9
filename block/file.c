/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The protocols "file" and "host_device": opening, probing what the file can do, size, locks. */
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "vmm/util/bytes.h"
#include "vmm/util/fdset.h"

#define MAX_ALIGNMENT 4096

static const char *const aio_names[] = { "threads", "native", "io_uring", NULL };
static const char *const locking_names[] = { "auto", "on", "off", NULL };

/* ---- Opening the descriptor ---- */

static int open_flags(const BlockNode *node)
{
    int flags = O_CLOEXEC | O_NONBLOCK | (node->readonly ? O_RDONLY : O_RDWR);
    return flags | (node->cache_direct ? O_DIRECT : 0);
}

static bool open_fd(BlockNode *node, FileState *s, GError **error)
{
    s->fd = fdset_open(node->filename, open_flags(node), 0);
    if (s->fd < 0 && !node->readonly && node->auto_readonly &&
        (errno == EACCES || errno == EROFS || errno == EPERM)) {
        node->readonly = true;
        s->fd = fdset_open(node->filename, open_flags(node), 0);
    }
    if (s->fd >= 0) {
        return true;
    }
    if (errno == EINVAL && node->cache_direct) {
        return error_set(error,
                         "'%s': cache.direct=on (cache=none) needs O_DIRECT, which its file system "
                         "has not: use cache=writeback (cache.direct=off)",
                         node->filename);
    }
    return fdset_open_failed(error, errno, node->filename, open_flags(node));
}

static bool check_type(BlockNode *node, FileState *s, GError **error)
{
    struct stat st;
    if (fstat(s->fd, &st) < 0) {
        return error_set_errno(error, errno, "'%s'", node->filename);
    }
    s->block_device = S_ISBLK(st.st_mode);
    /* It kept a FIFO from blocking the open; io_uring would take it to mean "fail, don't wait". */
    fcntl(s->fd, F_SETFL, fcntl(s->fd, F_GETFL) & ~O_NONBLOCK);
    if (node->driver == &file_driver && !S_ISREG(st.st_mode)) {
        return error_set(error, "'%s' is no plain file%s", node->filename,
                         s->block_device ? ": use driver host_device" : "");
    }
    s->generic = S_ISCHR(st.st_mode) && file_is_sg(s->fd);
    if (node->driver == &host_device_driver && !s->block_device && !s->generic) {
        return error_set(error, "'%s' is no block device", node->filename);
    }
    return true;
}

/* ---- Probing ---- */

static uint32_t power_of_two(uint32_t value, uint32_t otherwise)
{
    return value && !(value & (value - 1)) && value <= MAX_ALIGNMENT ? value : otherwise;
}

static bool try_read(FileState *s, char *buffer, uint32_t shift, uint32_t length)
{
    return pread(s->fd, buffer + shift, length, 0) >= 0 || errno != EINVAL;
}

/* Finds the alignment O_DIRECT wants by trying; the empty file says yes to all, and is asked for no
 * less than a sector. */
static void probe_direct_alignment(FileState *s, uint32_t logical)
{
    char *buffer = aligned_alloc(MAX_ALIGNMENT, 2 * MAX_ALIGNMENT);
    uint32_t length, shift;
    g_assert(buffer);
    for (length = MAX(512, logical); length < MAX_ALIGNMENT; length *= 2) {
        if (try_read(s, buffer, 0, length)) {
            break;
        }
    }
    for (shift = 4; shift < MAX_ALIGNMENT; shift *= 2) {
        if (try_read(s, buffer, shift, MAX_ALIGNMENT)) {
            break;
        }
    }
    free(buffer);
    s->offset_mask = length - 1;
    s->memory_mask = shift - 1;
}

static bool read_rotational(dev_t rdev)
{
    g_autofree char *text = NULL;
    /* a partition has its disk's queue one level up */
    for (int up = 0; up < 2 && !text; up++) {
        g_autofree char *path = g_strdup_printf("/sys/dev/block/%u:%u/%squeue/rotational",
                                                major(rdev), minor(rdev), up ? "../" : "");
        g_file_get_contents(path, &text, NULL, NULL);
    }
    return text && text[0] == '1';
}

static void probe_limits(BlockNode *node, FileState *s)
{
    BlockLimits *limits = &node->limits;
    struct stat st;
    int logical = 512;
    unsigned physical = 512, optimal = 0;
    fstat(s->fd, &st);
    if (s->block_device) {
        ioctl(s->fd, BLKSSZGET, &logical);
        ioctl(s->fd, BLKPBSZGET, &physical);
        ioctl(s->fd, BLKIOOPT, &optimal);
        limits->rotational = read_rotational(st.st_rdev);
    }
    limits->logical_block = power_of_two(logical, 512);
    limits->physical_block = MAX(power_of_two(physical, 512), limits->logical_block);
    limits->opt_io = optimal;
    limits->max_iov = 1024;
    limits->discard_granularity = s->block_device ? limits->logical_block
                                                  : power_of_two(st.st_blksize, 4096);
    limits->has_write_zeroes = true;
    limits->fixed_size = s->block_device;
    s->offset_mask = s->memory_mask = 0;
    if (node->cache_direct) {
        probe_direct_alignment(s, limits->logical_block);
    }
    limits->request_alignment = s->offset_mask + 1;
}

static bool read_length(BlockNode *node, FileState *s, GError **error)
{
    off_t end = s->generic ? 0 : lseek(s->fd, 0, SEEK_END);
    if (end < 0) {
        return error_set_errno(error, errno, "'%s': cannot find its size", node->filename);
    }
    /* A last part of a sector reads as if it were filled with zeroes. */
    atomic_store(&node->length, ((uint64_t)end + 511) / 512 * 512);
    return true;
}

static void file_refresh(BlockNode *node)
{
    read_length(node, node->state, NULL); /* where it fails the old one stays */
}

/* ---- Options ---- */

/* Whether io_uring writes through the page cache of this file system without a thread of its own:
 * no kernel interface tells without writing. */
static bool writes_at_once(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 &&
           (fs.f_type == XFS_SUPER_MAGIC || fs.f_type == BTRFS_SUPER_MAGIC);
}

static bool choose_aio(BlockNode *node, FileState *s, Opts *options, GError **error)
{
    int aio = -1;
    if (!opts_get_enum(options, "aio", aio_names, &aio, error)) {
        return false;
    }
    if (aio == 1 && !node->cache_direct) {
        return error_set(error, "aio=native needs O_DIRECT: add cache.direct=on (cache=none)");
    }
    s->engine = aio == 0   ? AIO_ENGINE_THREADS
                : aio == 1 ? AIO_ENGINE_NATIVE
                           : AIO_ENGINE_IO_URING; /* where the loop has none: threads */
    s->engine_required = aio == 2;
    if (s->engine == AIO_ENGINE_IO_URING && !s->block_device && !writes_at_once(s->fd)) {
        s->lane = aio_lane_new();
    }
    return true;
}

static bool choose_locking(FileState *s, Opts *options, GError **error)
{
    int locking = 0;
    if (!opts_get_enum(options, "locking", locking_names, &locking, error)) {
        return false;
    }
    s->locking = locking != 2 && file_lock_supported(s->fd);
    if (locking == 1 && !s->locking) {
        return error_set(error, "locking=on: this file system has no open-file-description locks");
    }
    return true;
}

static bool set_filename(BlockNode *node, Opts *options, GError **error)
{
    const char *name = opts_get(options, "filename");
    if (!name || !*name) {
        return error_set(error, "driver '%s' needs 'filename'", node->driver->name);
    }
    if (g_str_has_prefix(name, "file:")) {
        name += strlen("file:");
    } else if (g_str_has_prefix(name, "host_device:")) {
        name += strlen("host_device:");
    }
    node->filename = g_strdup(name);
    return true;
}

static void file_close(BlockNode *node)
{
    FileState *s = node->state;
    if (!node->readonly) {
        file_trim(node);
    }
    fdset_close(s->fd);
    aio_lane_unref(s->lane);
    g_mutex_clear(&s->size_lock);
    g_mutex_clear(&s->rmw_lock);
}

/* What is there already is in use. */
static void file_note_size(BlockNode *node)
{
    FileState *s = node->state;
    struct stat st;
    file_set_size(node, !s->block_device && fstat(s->fd, &st) == 0 ? (uint64_t)st.st_size : 0);
}

static bool file_open(BlockNode *node, Opts *options, GError **error)
{
    FileState *s = node->state;
    if (!set_filename(node, options, error) || !open_fd(node, s, error)) {
        return false;
    }
    g_mutex_init(&s->size_lock);
    g_mutex_init(&s->rmw_lock);
    if (!check_type(node, s, error) || !choose_aio(node, s, options, error) ||
        !choose_locking(s, options, error) || !read_length(node, s, error)) {
        file_close(node);
        return false;
    }
    probe_limits(node, s);
    file_note_size(node);
    return true;
}

/* ---- Reopening ---- */

/* The new descriptor takes the old one's number; locks go with the old one, and are taken anew. */
static bool file_reopen(BlockNode *node, bool readonly, GError **error)
{
    FileState *s = node->state;
    int flags = O_CLOEXEC | (readonly ? O_RDONLY : O_RDWR) | (node->cache_direct ? O_DIRECT : 0);
    struct stat old, new;
    if (s->engine == AIO_ENGINE_NATIVE && !node->cache_direct) {
        return error_set(error, "aio=native was specified, but is not supported without O_DIRECT "
                                "(cache.direct=on)");
    }
    int fd = fdset_open(node->filename, flags, 0);
    if (fd < 0) {
        return fdset_open_failed(error, errno, node->filename, flags);
    }
    if (fstat(s->fd, &old) < 0 || fstat(fd, &new) < 0 || old.st_dev != new.st_dev ||
        old.st_ino != new.st_ino) {
        fdset_close(fd);
        return error_set(error, "'%s' is another file now", node->filename);
    }
    if (s->locking && node->permitted) {
        file_lock_apply(s->fd, node->filename, 0, BLOCK_PERM_ALL, NULL);
        if (!file_lock_apply(fd, node->filename, node->perm, node->shared, error)) {
            file_lock_apply(s->fd, node->filename, node->perm, node->shared, NULL);
            fdset_close(fd);
            return false;
        }
    }
    if (readonly) {
        file_trim(node);
    }
    dup3(fd, s->fd, O_CLOEXEC);
    fdset_close(fd);
    probe_limits(node, s);
    return true;
}

/* ---- Size, locks ---- */

static bool file_resize(BlockNode *node, uint64_t size, GError **error)
{
    FileState *s = node->state;
    if (s->block_device) {
        /* The device is what it is; this takes notice of a new size. */
        if (!read_length(node, s, error)) {
            return false;
        }
        if (block_node_length(node) < size) {
            return error_set(error, "'%s': a block device cannot be made larger from here",
                             node->filename);
        }
    } else if (ftruncate(s->fd, (off_t)size) < 0) {
        return error_set_errno(error, errno, "'%s': cannot resize to %" G_GUINT64_FORMAT " bytes",
                               node->filename, size);
    } else {
        atomic_store(&node->length, size);
        file_set_size(node, size);
    }
    node_length_changed(node);
    return true;
}

static bool fill_with_zeroes(BlockNode *node, uint64_t offset, uint64_t bytes, GError **error)
{
    g_autofree char *zeroes = g_malloc0(MIB);
    while (bytes) {
        uint64_t n = MIN(bytes, MIB);
        int ret = node_pwrite(node, offset, zeroes, n);
        if (ret < 0) {
            return error_set_errno(error, -ret, "'%s': cannot write zeroes", node->filename);
        }
        offset += n;
        bytes -= n;
    }
    return true;
}

bool file_preallocate(BlockNode *node, uint64_t offset, uint64_t bytes, bool full, GError **error)
{
    FileState *s = node->state;
    if (node->driver != &file_driver || !bytes) {
        return true; /* a device has its space */
    }
    if (full) {
        return fill_with_zeroes(node, offset, bytes, error);
    }
    int err = file_must_grow(node, offset + bytes) ? -file_grow(node, offset + bytes) : 0;
    err = err ? err : posix_fallocate(s->fd, (off_t)offset, (off_t)bytes);
    return !err || error_set_errno(error, err, "'%s': cannot allocate %" G_GUINT64_FORMAT " bytes",
                                   node->filename, bytes);
}

static bool file_set_permissions(BlockNode *node, unsigned perm, unsigned shared, GError **error)
{
    FileState *s = node->state;
    if (!s->locking) {
        return true;
    }
    if (!file_lock_apply(s->fd, node->filename, perm, shared, error)) {
        file_lock_apply(s->fd, node->filename, node->perm, node->shared, NULL);
        return false;
    }
    return true;
}

static uint64_t file_allocated(BlockNode *node)
{
    FileState *s = node->state;
    struct stat st;
    if (fstat(s->fd, &st) < 0) {
        return 0;
    }
    return s->block_device ? 0 : (uint64_t)st.st_blocks * 512;
}

static void add_count(json_object *info, const char *name, uint64_t value)
{
    json_object_object_add(info, name, json_object_new_uint64(value));
}

static void file_add_stats(const BlockNode *node, json_object *info)
{
    FileState *s = node->state;
    add_count(info, "discard-nb-ok", atomic_load(&s->discards_done));
    add_count(info, "discard-nb-failed", atomic_load(&s->discards_failed));
    add_count(info, "discard-bytes-ok", atomic_load(&s->discarded_bytes));
}

static bool file_check_loop(BlockNode *node, EventLoop *loop, GError **error)
{
    FileState *s = node->state;
    if (event_loop_is_current(loop) || (s->engine == AIO_ENGINE_IO_URING && !s->engine_required)) {
        return true; /* the main loop, or no wish: worker threads stand in */
    }
    return aio_engine_usable(loop, s->engine, error);
}

static const char *const file_options[] = { "filename", "aio", "locking", NULL };

#define FILE_DRIVER(id, text)                                                                      \
    {                                                                                              \
        .name = id, .desc = text, .state_size = sizeof(FileState), .options = file_options,        \
        .open = file_open, .close = file_close, .submit = file_submit, .transfer = file_transfer,  \
        .flush = file_flush, .reopen = file_reopen, .resize = file_resize,                         \
        .refresh = file_refresh, .set_permissions = file_set_permissions,                          \
        .allocated = file_allocated, .check_loop = file_check_loop, .add_stats = file_add_stats,   \
    }

const BlockDriver file_driver = FILE_DRIVER("file", "A regular file");
const BlockDriver host_device_driver = FILE_DRIVER("host_device", "A block device of the host");
