/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands that start copying jobs: stream, commit, mirror, backup. */
#include "block/bitmap.h"
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
    return !has_speed || speed >= 0 ||
           error_set(error, "Parameter 'speed' expects a non-negative value");
}

/* Errors end a job, and are reported. */
static bool check_on_error(bool has, int value, const char *name, GError **error)
{
    return !has || value == QMP_BLOCKDEV_ON_ERROR_REPORT ||
           error_set(error, "%s: only 'report' is available in this version of Vireo", name);
}

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

/* The node of a chain that "base" or "top" means by file name. */
static BlockNode *find_in_chain(BlockNode *top, const char *file, GError **error)
{
    for (BlockNode *node = top; node; node = node->backing) {
        if (node->filename && !strcmp(node->filename, file)) {
            return node;
        }
    }
    error_set(error, "Can't find '%s' in the backing chain", file);
    return NULL;
}

/* By node name, or by file name; *node stays when neither is given. */
static bool choose(BlockNode *top, const char *node_name, const char *file, BlockNode **node,
                   GError **error)
{
    if (node_name && file) {
        return error_set(error, "a file name and a node name exclude each other");
    }
    if (node_name) {
        *node = block_node_find(node_name);
        return *node || error_set(error, "Cannot find device='' nor node-name='%s'", node_name);
    }
    if (file) {
        *node = find_in_chain(top, file, error);
    }
    return !file || *node;
}

/* ---- Stream and commit ---- */

static json_object *block_stream(const void *opaque, GError **error)
{
    const QmpBlockStreamArgs *args = opaque;
    JobCommon common = COMMON(args);
    BlockNode *top = block_device_node(args->device, error), *base = NULL;
    if (!top || !check_speed(args->has_speed, args->speed, error) ||
        !check_on_error(args->has_on_error, args->on_error, "on-error", error) ||
        !choose(top, args->base_node, args->base, &base, error)) {
        return NULL;
    }
    if (args->bottom) {
        BlockNode *bottom = block_node_find(args->bottom);
        if (!bottom || base) {
            error_set(error,
                      base ? "'bottom' and 'base' exclude each other"
                           : "Cannot find node-name='%s'",
                      args->bottom);
            return NULL;
        }
        base = bottom->backing;
    }
    return answer(stream_start(top, base, args->device, args->backing_file, &common, error));
}

static json_object *block_commit(const void *opaque, GError **error)
{
    const QmpBlockCommitArgs *args = opaque;
    JobCommon common = COMMON(args);
    BlockNode *active = block_device_node(args->device, error);
    if (!active || !check_speed(args->has_speed, args->speed, error) ||
        !check_on_error(args->has_on_error, args->on_error, "on-error", error)) {
        return NULL;
    }
    BlockNode *top = active, *base = active;
    while (base->backing) {
        base = base->backing;
    }
    if (!choose(active, args->top_node, args->top, &top, error) ||
        !choose(active, args->base_node, args->base, &base, error)) {
        return NULL;
    }
    return answer(
        commit_start(active, top, base, args->device, args->backing_file, &common, error));
}

/* ---- Targets that are files ---- */

typedef struct FileTarget {
    const char *file, *format, *node_name;
    bool existing;
} FileTarget;

/* Makes the image, where it is to be made, and opens it: a new reference. */
static BlockNode *open_target(BlockNode *source, const FileTarget *t, MirrorSync sync,
                              GError **error)
{
    const char *format = t->format ? t->format : t->existing ? NULL : source->driver->name;
    BlockOpenMode mode = { .writable = true,
                           .no_backing = sync == MIRROR_FULL || sync == MIRROR_NONE,
                           .cache_direct = source->cache_direct,
                           .no_flush = source->no_flush,
                           .discard = true };
    if (!t->existing) {
        g_autoptr(Opts) options = opts_new();
        g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, block_node_length(source));
        opts_set(options, "size", size);
        if (sync == MIRROR_TOP && source->backing) {
            opts_set(options, "backing_file", source->backing->filename);
            opts_set(options, "backing_fmt", source->backing->driver->name);
        }
        if (!block_image_create(t->file, format, options, error)) {
            return NULL;
        }
    }
    g_autoptr(Opts) options = opts_new();
    if (t->node_name) {
        opts_set(options, "node-name", t->node_name);
    }
    return block_image_open(t->file, format, options, &mode, error);
}

/* ---- Mirror ---- */

static bool check_mirror(const char *replaces, bool has_copy_mode, int copy_mode, int sync,
                         GError **error)
{
    if (sync == QMP_MIRROR_SYNC_MODE_INCREMENTAL || sync == QMP_MIRROR_SYNC_MODE_BITMAP) {
        return error_set(error, "Sync mode '%s' not supported", sync_names[sync]);
    }
    if (replaces) {
        return error_set(error, "replaces: not available in this version of Vireo");
    }
    return !has_copy_mode || copy_mode == QMP_MIRROR_COPY_MODE_BACKGROUND ||
           error_set(error, "copy-mode: only 'background' is available in this version of Vireo");
}

static json_object *blockdev_mirror(const void *opaque, GError **error)
{
    const QmpBlockdevMirrorArgs *args = opaque;
    MirrorOptions options = { .common = COMMON(args) };
    BlockNode *source = block_device_node(args->device, error);
    BlockNode *target = source ? block_device_node(args->target, error) : NULL;
    if (!target || !check_speed(args->has_speed, args->speed, error) ||
        !check_on_error(args->has_on_source_error, args->on_source_error, "on-source-error",
                        error) ||
        !check_on_error(args->has_on_target_error, args->on_target_error, "on-target-error",
                        error) ||
        !check_mirror(args->replaces, args->has_copy_mode, args->copy_mode, args->sync, error)) {
        return NULL;
    }
    options.sync = sync_of(args->sync);
    options.granularity = args->has_granularity ? (uint64_t)args->granularity : 0;
    return answer(mirror_start(source, target, args->device, &options, error));
}

static json_object *drive_mirror(const void *opaque, GError **error)
{
    const QmpDriveMirrorArgs *args = opaque;
    MirrorOptions options = { .common = COMMON(args) };
    BlockNode *source = block_device_node(args->device, error);
    if (!source || !check_speed(args->has_speed, args->speed, error) ||
        !check_on_error(args->has_on_source_error, args->on_source_error, "on-source-error",
                        error) ||
        !check_on_error(args->has_on_target_error, args->on_target_error, "on-target-error",
                        error) ||
        !check_mirror(args->replaces, args->has_copy_mode, args->copy_mode, args->sync, error)) {
        return NULL;
    }
    options.sync = sync_of(args->sync);
    FileTarget t = { args->target, args->format, args->node_name,
                     args->has_mode && args->mode == QMP_NEW_IMAGE_MODE_EXISTING };
    BlockNode *target = open_target(source, &t, options.sync, error);
    if (!target) {
        return NULL;
    }
    options.granularity = args->has_granularity ? (uint64_t)args->granularity : 0;
    options.target_is_zero = !t.existing;
    bool ok = mirror_start(source, target, args->device, &options, error);
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
        return error_set(error, "must provide a valid bitmap name for '%s' sync mode",
                         sync_names[b->sync]);
    }
    if (incremental && b->has_mode && b->mode != QMP_BITMAP_SYNC_MODE_ON_SUCCESS) {
        return error_set(error, "Bitmap sync mode must be '%s' when using sync mode '%s'",
                         bitmap_modes[QMP_BITMAP_SYNC_MODE_ON_SUCCESS], sync_names[b->sync]);
    }
    return b->name || !b->has_mode ||
           error_set(error, "Cannot specify bitmap sync mode without a bitmap");
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
        return error_set(error, "Bitmap '%s' could not be found", b->name);
    }
    if (!b->has_mode && b->sync != QMP_MIRROR_SYNC_MODE_INCREMENTAL) {
        return error_set(error, "Bitmap sync mode must be given when providing a bitmap");
    }
    if (!bitmap_check(*bitmap, BITMAP_ALLOW_READONLY, error)) {
        return false;
    }
    if (b->sync == QMP_MIRROR_SYNC_MODE_NONE) {
        return error_set(error, "sync mode '%s' does not produce meaningful bitmap outputs",
                         sync_names[b->sync]);
    }
    return b->mode != QMP_BITMAP_SYNC_MODE_NEVER || b->sync == QMP_MIRROR_SYNC_MODE_BITMAP ||
           error_set(error,
                     "Bitmap sync mode '%s' has no meaningful effect when combined with sync mode "
                     "'%s'",
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

static bool check_compress(bool compress, GError **error)
{
    return !compress || error_set(error, "compress: not available in this version of Vireo");
}

static json_object *blockdev_backup(const void *opaque, GError **error)
{
    const QmpBlockdevBackupArgs *args = opaque;
    JobCommon common = COMMON(args);
    BackupBitmap used = BACKUP_BITMAP(args);
    BlockBitmap *bitmap;
    BlockNode *source = block_device_node(args->device, error);
    BlockNode *target = source ? block_device_node(args->target, error) : NULL;
    if (!target || !check_speed(args->has_speed, args->speed, error) ||
        !check_on_error(args->has_on_source_error, args->on_source_error, "on-source-error",
                        error) ||
        !check_on_error(args->has_on_target_error, args->on_target_error, "on-target-error",
                        error) ||
        !check_compress(args->compress, error) || !find_bitmap(&used, source, &bitmap, error)) {
        return NULL;
    }
    return answer(backup_start(source, target, sync_of(args->sync), bitmap, bitmap_mode_of(&used),
                               args->device, &common, error));
}

static json_object *drive_backup(const void *opaque, GError **error)
{
    const QmpDriveBackupArgs *args = opaque;
    JobCommon common = COMMON(args);
    BackupBitmap used = BACKUP_BITMAP(args);
    BlockBitmap *bitmap;
    BlockNode *source = block_device_node(args->device, error);
    if (!source || !check_speed(args->has_speed, args->speed, error) ||
        !check_on_error(args->has_on_source_error, args->on_source_error, "on-source-error",
                        error) ||
        !check_on_error(args->has_on_target_error, args->on_target_error, "on-target-error",
                        error) ||
        !check_compress(args->compress, error) || !find_bitmap(&used, source, &bitmap, error)) {
        return NULL;
    }
    FileTarget t = { args->target, args->format, NULL,
                     args->has_mode && args->mode == QMP_NEW_IMAGE_MODE_EXISTING };
    BlockNode *target = open_target(source, &t, sync_of(args->sync), error);
    if (!target) {
        return NULL;
    }
    bool ok = backup_start(source, target, sync_of(args->sync), bitmap, bitmap_mode_of(&used),
                           args->device, &common, error);
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
