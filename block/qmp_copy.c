/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands that start copying jobs: stream, commit, mirror, backup. */
#include "block/bitmap.h"
#include "block/graph.h"
#include "block/jobs/mirror.h"
#include "block/qmp.h"
#include "vmm/monitor/qmp-schema.h"

static json_object *answer(bool ok)
{
    return ok ? qmp_ok() : NULL;
}

/* ---- What is the same in all of them ---- */

#define COMMON(args)                                                                               \
    {                                                                                              \
        .id = (args)->job_id, .speed = (args)->has_speed ? (uint64_t)(args)->speed : 0,            \
        .auto_finalize = !(args)->has_auto_finalize || (args)->auto_finalize,                      \
        .auto_dismiss = !(args)->has_auto_dismiss || (args)->auto_dismiss,                         \
    }

static bool check_speed(bool has_speed, int64_t speed, GError **error)
{
    return !has_speed || speed >= 0 || error_set(error, "'speed' is negative: 0 is no limit");
}

/* A policy that was not given reports; "auto" is "enospc" for jobs. */
static JobOnError on_error(bool has, int value)
{
    static const JobOnError policies[] = {
        [QMP_BLOCKDEV_ON_ERROR_REPORT] = JOB_ON_ERROR_REPORT,
        [QMP_BLOCKDEV_ON_ERROR_IGNORE] = JOB_ON_ERROR_IGNORE,
        [QMP_BLOCKDEV_ON_ERROR_ENOSPC] = JOB_ON_ERROR_ENOSPC,
        [QMP_BLOCKDEV_ON_ERROR_STOP] = JOB_ON_ERROR_STOP,
        [QMP_BLOCKDEV_ON_ERROR_AUTO] = JOB_ON_ERROR_ENOSPC,
    };
    return has ? policies[value] : JOB_ON_ERROR_REPORT;
}

#define TAKE_POLICIES(common, args)                                                                \
    do {                                                                                           \
        (common)->on_source = on_error((args)->has_on_source_error, (args)->on_source_error);      \
        (common)->on_target = on_error((args)->has_on_target_error, (args)->on_target_error);      \
    } while (0)

static const char *const sync_names[] = {
    [QMP_MIRROR_SYNC_MODE_TOP] = "top",       [QMP_MIRROR_SYNC_MODE_FULL] = "full",
    [QMP_MIRROR_SYNC_MODE_NONE] = "none",     [QMP_MIRROR_SYNC_MODE_INCREMENTAL] = "incremental",
    [QMP_MIRROR_SYNC_MODE_BITMAP] = "bitmap",
};

static MirrorSync sync_of(int sync)
{
    return sync == QMP_MIRROR_SYNC_MODE_FULL   ? MIRROR_FULL
           : sync == QMP_MIRROR_SYNC_MODE_TOP  ? MIRROR_TOP
           : sync == QMP_MIRROR_SYNC_MODE_NONE ? MIRROR_NONE
                                               : MIRROR_BITMAP;
}

/* The image of a chain that "base" or "top" means by file name. */
static BlockNode *find_in_chain(BlockNode *top, const char *file)
{
    for (BlockNode *node = graph_skip_filters(top); node;
         node = graph_skip_filters(node->backing)) {
        if (node->filename && !strcmp(node->filename, file)) {
            return node;
        }
    }
    return NULL;
}

/* By node name, or by file name; *node stays when neither is given. what: "base" or
 * "top". */
static bool choose(BlockNode *top, const char *node_name, const char *file, const char *what,
                   BlockNode **node, GError **error)
{
    if (node_name && file) {
        return error_set(error, "'%s-node' and '%s' say the same: give one of them", what, what);
    }
    if (node_name) {
        *node = block_node_find(node_name);
        return *node ||
               error_set(error, "there is no node '%s' (query-named-block-nodes lists them)",
                         node_name);
    }
    if (file) {
        *node = find_in_chain(top, file);
    }
    return !file || *node ||
           (strcmp(what, "top")
                ? error_set(error, "no image below the disk has the file name '%s'", file)
                : error_set(error, "'top': no image of the disk has the file name '%s'", file));
}

/* ---- Stream and commit ---- */

/* The lowest image whose data comes up: what it stands on is the base. */
static bool choose_bottom(BlockNode *top, const char *name, BlockNode **base, GError **error)
{
    BlockNode *bottom = block_node_find(name);
    if (!bottom) {
        return error_set(error, "there is no node '%s' (query-named-block-nodes lists them)", name);
    }
    if (!graph_skip_filters(bottom)->driver->has_backing) {
        return error_set(error, "Node '%s' cannot have a backing image", name);
    }
    if (!node_is_below(bottom, top)) {
        return error_set(error, "node '%s' does not lie below '%s'", name, job_node_label(top));
    }
    *base = graph_skip_filters(bottom)->backing;
    return true;
}

static json_object *block_stream(const void *opaque, GError **error)
{
    const QmpBlockStreamArgs *args = opaque;
    JobCommon common = COMMON(args);
    BlockNode *top = block_device_node(args->device, error), *base = NULL;
    common.filter = args->filter_node_name;
    common.on_source = on_error(args->has_on_error, args->on_error);
    if (!top || !check_speed(args->has_speed, args->speed, error) ||
        !choose(top, args->base_node, args->base, "base", &base, error)) {
        return NULL;
    }
    if (args->bottom && (args->base || args->base_node)) {
        error_set(error, "'bottom' and '%s' both say where to stop: give one of them",
                  args->base ? "base" : "base-node");
        return NULL;
    }
    if (args->bottom && !choose_bottom(top, args->bottom, &base, error)) {
        return NULL;
    }
    if (args->backing_file && !base) {
        error_set(error, "'backing-file' is what the image shall name below it, and nothing is "
                         "left below: 'base' is missing");
        return NULL;
    }
    return answer(stream_start(top, base, args->backing_file, &common, error));
}

static json_object *block_commit(const void *opaque, GError **error)
{
    const QmpBlockCommitArgs *args = opaque;
    JobCommon common = COMMON(args);
    BlockNode *active = block_device_node(args->device, NULL);
    if (!active) {
        error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND,
                       "there is no drive and no device '%s' (query-block lists them)",
                       args->device);
        return NULL;
    }
    common.filter = args->filter_node_name;
    common.on_source = on_error(args->has_on_error, args->on_error);
    BlockNode *top = active, *base = graph_skip_filters(active);
    while (base->backing) {
        base = graph_skip_filters(base->backing);
    }
    if (!check_speed(args->has_speed, args->speed, error) ||
        !choose(active, args->top_node, args->top, "top", &top, error) ||
        !choose(active, args->base_node, args->base, "base", &base, error)) {
        return NULL;
    }
    if (!node_is_below(top, active)) {
        error_set(error, "'%s' is none of the images of this disk", top->name);
        return NULL;
    }
    if (args->backing_file && graph_skip_filters(top) == graph_skip_filters(active)) {
        error_set(error, "'backing-file' is for a commit from the middle of the chain: above the "
                         "topmost image ('top') nothing names one");
        return NULL;
    }
    return answer(commit_start(active, top, base, args->backing_file, &common, error));
}

/* ---- Targets that are files ---- */

typedef struct FileTarget {
    const char *file, *format, *node_name;
    bool existing;
} FileTarget;

/* What a new target stands on, by `sync`; NULL: nothing. */
static BlockNode *target_backing(BlockNode *source, MirrorSync sync)
{
    BlockNode *image = graph_skip_filters(source);
    return sync == MIRROR_TOP ? image->backing : sync == MIRROR_NONE ? image : NULL;
}

static bool create_target(BlockNode *source, const FileTarget *t, const char *format,
                          MirrorSync sync, GError **error)
{
    BlockNode *backing = graph_skip_filters(target_backing(source, sync));
    g_autoptr(Opts) options = opts_new();
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, block_node_length(source));
    opts_set(options, "size", size);
    if (backing) {
        opts_set(options, "backing_file", backing->filename);
        opts_set(options, "backing_fmt", backing->driver->name);
    }
    return block_image_create(t->file, format, options, error);
}

/* Makes the image, where it is to be made, and opens it: a new reference. What a new one stands on
 * are nodes that are open already. */
static BlockNode *open_target(BlockNode *source, const FileTarget *t, MirrorSync sync,
                              GError **error)
{
    const char *format = t->format     ? t->format
                         : t->existing ? NULL
                                       : graph_skip_filters(source)->driver->name;
    BlockOpenMode mode = { .writable = true,
                           .no_backing = !t->existing || sync == MIRROR_NONE,
                           .cache_direct = source->cache_direct,
                           .no_flush = source->no_flush,
                           .discard = true };
    if (!t->existing && !create_target(source, t, format, sync, error)) {
        return NULL;
    }
    g_autoptr(Opts) options = opts_new();
    if (t->node_name) {
        opts_set(options, "node-name", t->node_name);
    }
    BlockNode *target = block_image_open(t->file, format, options, &mode, error);
    BlockNode *backing = target_backing(source, sync);
    if (target && !t->existing && sync == MIRROR_TOP && backing) {
        graph_change_begin();
        bool ok = graph_set_backing(graph_skip_filters(target), backing, error);
        graph_change_end();
        if (!ok) {
            g_clear_pointer(&target, block_node_unref);
        }
    }
    return target;
}

/* ---- Mirror ---- */

typedef struct MirrorWish {
    bool has_granularity, has_buf_size, has_copy_mode;
    int64_t granularity, buf_size;
    int copy_mode;
    const char *replaces;
} MirrorWish;

#define WISH(args)                                                                                 \
    {                                                                                              \
        (args)->has_granularity, (args)->has_buf_size, (args)->has_copy_mode, (args)->granularity, \
            (args)->buf_size, (int)(args)->copy_mode, (args)->replaces                             \
    }

static bool read_wish(const MirrorWish *w, int sync, MirrorOptions *options, GError **error)
{
    uint64_t granularity = (uint64_t)w->granularity;
    if (sync_of(sync) == MIRROR_BITMAP) {
        return error_set(error, "sync=%s: only full, top and none are there", sync_names[sync]);
    }
    if (w->has_granularity && granularity && (granularity < 512 || granularity > 64 << 20)) {
        return error_set(error, "'granularity' lies between 512 bytes and 64 MiB");
    }
    if (w->has_granularity && granularity & (granularity - 1)) {
        return error_set(error, "'granularity' has to be a power of two");
    }
    if (w->has_buf_size && w->buf_size < 0) {
        return error_set(error, "'buf-size' is negative");
    }
    options->granularity = w->has_granularity ? granularity : 0;
    options->buf_size = w->has_buf_size ? (uint64_t)w->buf_size : 0;
    options->write_blocking = w->has_copy_mode &&
                              w->copy_mode == QMP_MIRROR_COPY_MODE_WRITE_BLOCKING;
    options->replaces = w->replaces ? block_node_find(w->replaces) : NULL;
    return !w->replaces || options->replaces ||
           error_set(error, "'replaces': there is no node '%s'", w->replaces);
}

static json_object *blockdev_mirror(const void *opaque, GError **error)
{
    const QmpBlockdevMirrorArgs *args = opaque;
    MirrorOptions options = { .common = COMMON(args) };
    MirrorWish wish = WISH(args);
    BlockNode *source = block_device_node(args->device, error);
    BlockNode *target = source ? block_device_node(args->target, error) : NULL;
    TAKE_POLICIES(&options.common, args);
    options.common.filter = args->filter_node_name;
    if (!target || !check_speed(args->has_speed, args->speed, error) ||
        !read_wish(&wish, args->sync, &options, error)) {
        return NULL;
    }
    options.sync = sync_of(args->sync);
    return answer(mirror_start(source, target, &options, error));
}

static json_object *drive_mirror(const void *opaque, GError **error)
{
    const QmpDriveMirrorArgs *args = opaque;
    MirrorOptions options = { .common = COMMON(args) };
    MirrorWish wish = WISH(args);
    BlockNode *source = block_device_node(args->device, error);
    TAKE_POLICIES(&options.common, args);
    if (!source || !check_speed(args->has_speed, args->speed, error) ||
        !job_check_free(source, error) || !read_wish(&wish, args->sync, &options, error)) {
        return NULL;
    }
    options.sync = sync_of(args->sync);
    FileTarget t = { args->target, args->format, args->node_name,
                     args->has_mode && args->mode == QMP_NEW_IMAGE_MODE_EXISTING };
    BlockNode *target = open_target(source, &t, options.sync, error);
    if (!target) {
        return NULL;
    }
    options.keep_zeroes = args->has_unmap && !args->unmap;
    options.target_is_zero = !t.existing;
    options.set_backing = !t.existing;
    options.backing = target_backing(source, options.sync);
    bool ok = mirror_start(source, target, &options, error);
    block_node_unref(target);
    return answer(ok);
}

/* ---- Backup ---- */

static const char *const bitmap_modes[] = { "on-success", "never", "always" };

/* What a backup and a bitmap have to do with each other. */
typedef struct BackupBitmap {
    const char *name; /* NULL: none */
    int sync;         /* QmpMirrorSyncMode */
    bool has_mode;
    int mode; /* QmpBitmapSyncMode */
} BackupBitmap;

static bool check_bitmap_modes(const BackupBitmap *b, GError **error)
{
    bool incremental = b->sync == QMP_MIRROR_SYNC_MODE_INCREMENTAL;
    if (!b->name && (incremental || b->sync == QMP_MIRROR_SYNC_MODE_BITMAP)) {
        return error_set(error,
                         "sync=%s needs 'bitmap': the name of the bitmap that says what to copy",
                         sync_names[b->sync]);
    }
    if (incremental && b->has_mode && b->mode != QMP_BITMAP_SYNC_MODE_ON_SUCCESS) {
        return error_set(error, "bitmap-mode has to be %s (or left out) with sync=%s",
                         bitmap_modes[QMP_BITMAP_SYNC_MODE_ON_SUCCESS], sync_names[b->sync]);
    }
    return b->name || !b->has_mode ||
           error_set(error, "bitmap-mode says what becomes of 'bitmap', which is missing");
}

/* *bitmap: what the backup uses, or NULL. */
static bool find_bitmap(const BackupBitmap *b, BlockNode *source, BlockBitmap **bitmap,
                        GError **error)
{
    *bitmap = NULL;
    if (!check_bitmap_modes(b, error) || !b->name) {
        return !error || !*error;
    }
    *bitmap = bitmap_find(source, b->name);
    if (!*bitmap) {
        return error_set(error, "the source has no bitmap '%s'", b->name);
    }
    if (!b->has_mode && b->sync != QMP_MIRROR_SYNC_MODE_INCREMENTAL) {
        return error_set(error, "'bitmap' needs 'bitmap-mode', which says what becomes of it");
    }
    if (!bitmap_check(*bitmap, BITMAP_ALLOW_READONLY, error)) {
        return false;
    }
    if (b->sync == QMP_MIRROR_SYNC_MODE_NONE) {
        return error_set(error, "sync=%s copies nothing by itself: no bitmap could follow it",
                         sync_names[b->sync]);
    }
    return b->mode != QMP_BITMAP_SYNC_MODE_NEVER || b->sync == QMP_MIRROR_SYNC_MODE_BITMAP ||
           error_set(error,
                     "bitmap-mode=%s leaves nothing to do with sync=%s: the bitmap would be "
                     "neither read nor changed",
                     bitmap_modes[b->mode], sync_names[b->sync]);
}

static BackupBitmapMode bitmap_mode_of(const BackupBitmap *b)
{
    return !b->has_mode || b->mode == QMP_BITMAP_SYNC_MODE_ON_SUCCESS ? BACKUP_BITMAP_ON_SUCCESS
           : b->mode == QMP_BITMAP_SYNC_MODE_NEVER                    ? BACKUP_BITMAP_NEVER
                                                                      : BACKUP_BITMAP_ALWAYS;
}

#define BACKUP_BITMAP(args)                                                                        \
    {                                                                                              \
        .name = (args)->bitmap, .sync = (args)->sync, .has_mode = (args)->has_bitmap_mode,         \
        .mode = (args)->bitmap_mode,                                                               \
    }

#define BACKUP_OPTIONS(args)                                                                       \
    {                                                                                              \
        .common = COMMON(args), .sync = sync_of((args)->sync),                                     \
        .compress = (args)->has_compress && (args)->compress,                                      \
    }

static json_object *blockdev_backup(const void *opaque, GError **error)
{
    const QmpBlockdevBackupArgs *args = opaque;
    BackupOptions options = BACKUP_OPTIONS(args);
    BackupBitmap used = BACKUP_BITMAP(args);
    BlockNode *source = block_device_node(args->device, error);
    BlockNode *target = source ? block_device_node(args->target, error) : NULL;
    TAKE_POLICIES(&options.common, args);
    options.common.filter = args->filter_node_name;
    if (!target || !check_speed(args->has_speed, args->speed, error) ||
        !find_bitmap(&used, source, &options.bitmap, error)) {
        return NULL;
    }
    options.bitmap_mode = bitmap_mode_of(&used);
    return answer(backup_start(source, target, &options, error));
}

static json_object *drive_backup(const void *opaque, GError **error)
{
    const QmpDriveBackupArgs *args = opaque;
    BackupOptions options = BACKUP_OPTIONS(args);
    BackupBitmap used = BACKUP_BITMAP(args);
    BlockNode *source = block_device_node(args->device, error);
    TAKE_POLICIES(&options.common, args);
    options.common.filter = args->filter_node_name;
    if (!source || !check_speed(args->has_speed, args->speed, error) ||
        !job_check_free(source, error) || !find_bitmap(&used, source, &options.bitmap, error)) {
        return NULL;
    }
    FileTarget t = { args->target, args->format, NULL,
                     args->has_mode && args->mode == QMP_NEW_IMAGE_MODE_EXISTING };
    BlockNode *target = open_target(source, &t, options.sync, error);
    if (!target) {
        return NULL;
    }
    options.bitmap_mode = bitmap_mode_of(&used);
    bool ok = backup_start(source, target, &options, error);
    block_node_unref(target);
    return answer(ok);
}

static const QmpHandler qmp[] = {
    { "block-stream", block_stream },
    { "block-commit", block_commit },
    { "blockdev-mirror", blockdev_mirror },
    { "drive-mirror", drive_mirror },
    { "blockdev-backup", blockdev_backup },
    { "drive-backup", drive_backup },
    { NULL },
};

const MonitorCommands copy_commands = { .qmp = qmp };
