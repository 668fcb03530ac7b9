/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -drive: QEMU's one-line way to a disk: where it is attached, and the nodes behind it. */
#include "block/internal.h"
#include "vmm/util/id.h"

static GPtrArray *drives;

static const char *const interfaces[] = { "none",   "ide", "scsi", "floppy", "pflash",
                                          "virtio", "sd",  "mtd",  NULL };
static const char *const id_words[] = { "none",   "ide",    "scsi", "floppy",
                                        "pflash", "virtio", "sd",   "mtd" };
#define IF_IDE  1
#define IF_SCSI 2
static int units_per_bus[] = { 0, 2, 7, 0, 0, 0, 0, 0 };

static const char *const error_actions[] = { "report", "ignore", "stop", "enospc", NULL };

static bool snapshots; /* -snapshot */

void drive_set_snapshots(bool on)
{
    snapshots = on;
}

void drive_set_ide_units(unsigned units)
{
    units_per_bus[IF_IDE] = units ? (int)units : 2;
}

Drive *drive_find(const char *id)
{
    for (guint i = 0; drives && i < drives->len; i++) {
        Drive *drive = drives->pdata[i];
        if (!strcmp(drive->id, id)) {
            return drive;
        }
    }
    return NULL;
}

void drive_foreach(void (*fn)(Drive *drive, void *opaque), void *opaque)
{
    for (guint i = 0; drives && i < drives->len; i++) {
        fn(drives->pdata[i], opaque);
    }
}

static void drive_free(Drive *drive)
{
    if (drive->node) {
        block_node_unref(drive->node);
    }
    if (drive->throttle) {
        throttle_group_unref(drive->throttle);
    }
    g_free(drive->id);
    g_free(drive->interface);
    g_free(drive);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Drive, drive_free)

bool drive_remove(const char *id, GError **error)
{
    Drive *drive = drive_find(id);
    if (!drive) {
        return error_set(error, "there is no drive '%s'", id);
    }
    if (drive->claimed) {
        return error_set(error, "drive '%s' belongs to a device", id);
    }
    g_ptr_array_remove(drives, drive);
    drive_free(drive);
    return true;
}

void drives_close(void)
{
    for (guint i = drives ? drives->len : 0; i > 0; i--) {
        Drive *drive = drives->pdata[i - 1];
        if (!drive->claimed) {
            drive_remove(drive->id, NULL);
        }
    }
}

/* ---- What it is attached to ---- */

static Drive *find_place(const char *interface, int bus, int unit)
{
    for (guint i = 0; drives && i < drives->len; i++) {
        Drive *d = drives->pdata[i];
        if (!strcmp(d->interface, interface) && d->bus == bus && d->unit == unit) {
            return d;
        }
    }
    return NULL;
}

static void place_by_index(Drive *drive, int kind, int index)
{
    int per_bus = units_per_bus[kind];
    drive->index = index;
    drive->bus = per_bus ? index / per_bus : 0;
    drive->unit = per_bus ? index % per_bus : index;
}

static bool choose_place(Drive *drive, int kind, Opts *options, GError **error)
{
    uint64_t index = 0, bus = 0, unit = 0;
    bool has_index = opts_has(options, "index"), has_bus = opts_has(options, "bus");
    bool has_unit = opts_has(options, "unit");
    int per_bus = units_per_bus[kind];
    if (!opts_get_uint(options, "index", 255, &index, error) ||
        !opts_get_uint(options, "bus", 255, &bus, error) ||
        !opts_get_uint(options, "unit", 255, &unit, error)) {
        return false;
    }
    if (has_index && (has_bus || has_unit)) {
        return error_set(error, "give either index= or bus= and unit=: both say where the disk is");
    }
    if (per_bus && (int)unit >= per_bus) {
        return error_set(error, "unit=%d: a bus of if=%s has units 0 to %d", (int)unit,
                         drive->interface, per_bus - 1);
    }
    if (has_index) {
        place_by_index(drive, kind, (int)index);
    } else if (has_unit || has_bus) {
        drive->bus = (int)bus;
        drive->unit = (int)unit;
        while (!has_unit && find_place(drive->interface, drive->bus, drive->unit)) {
            drive->unit++;
        }
        drive->index = drive->bus * MAX(per_bus, 1) + drive->unit;
    } else {
        int i = 0;
        do {
            place_by_index(drive, kind, i++);
        } while (find_place(drive->interface, drive->bus, drive->unit));
    }
    if (find_place(drive->interface, drive->bus, drive->unit)) {
        return error_set(error, "there is a drive with if=%s, bus=%d, unit=%d (index=%d) already",
                         drive->interface, drive->bus, drive->unit, drive->index);
    }
    return true;
}

static bool choose_id(Drive *drive, int kind, Opts *options, GError **error)
{
    const char *id = opts_get(options, "id");
    if (!id) {
        if (kind == IF_IDE || kind == IF_SCSI) {
            drive->id = g_strdup_printf("%s%d-%s%d", id_words[kind], drive->bus,
                                        drive->is_cdrom ? "cd" : "hd", drive->unit);
        } else {
            drive->id = g_strdup_printf("%s%d", id_words[kind], drive->unit);
        }
        id = drive->id;
    } else {
        drive->id = g_strdup(id);
        if (!id_check(id, error)) {
            return false;
        }
    }
    if (drive_find(id) || block_node_find(id)) {
        return error_set(error, "a drive or block node '%s' exists already", id);
    }
    return true;
}

static bool read_attachment(Drive *drive, Opts *options, const char *default_interface,
                            GError **error)
{
    static const char *const media_names[] = { "disk", "cdrom", NULL };
    int kind = 0, media = 0;
    const char *interface = opts_get(options, "if");
    drive->interface =
        g_strdup(interface ? interface : default_interface ? default_interface : "none");
    while (interfaces[kind] && strcmp(interfaces[kind], drive->interface) != 0) {
        kind++;
    }
    if (!interfaces[kind]) {
        g_autofree char *near = suggest_nearest(drive->interface, interfaces);
        return error_set(error, "if=%s is not known%s%s%s", drive->interface,
                         near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    }
    if (!opts_get_enum(options, "media", media_names, &media, error)) {
        return false;
    }
    drive->is_cdrom = media == 1;
    return choose_place(drive, kind, options, error) && choose_id(drive, kind, options, error);
}

static bool read_error_actions(Drive *drive, Opts *options, GError **error)
{
    int rerror = BLOCK_ERROR_REPORT, werror = BLOCK_ERROR_ENOSPC;
    if (!opts_get_enum(options, "rerror", error_actions, &rerror, error) ||
        !opts_get_enum(options, "werror", error_actions, &werror, error)) {
        return false;
    }
    if (rerror == BLOCK_ERROR_ENOSPC) {
        return error_set(error, "rerror=enospc: reads take report, ignore or stop");
    }
    drive->rerror = rerror;
    drive->werror = werror;
    return true;
}

/* ---- Options of the nodes ---- */

static const struct {
    const char *name;
    bool direct, no_flush, writethrough;
} cache_modes[] = {
    { "writeback", false, false, false }, { "none", true, false, false },
    { "off", true, false, false },        { "writethrough", false, false, true },
    { "directsync", true, false, true },  { "unsafe", false, true, false },
};

static bool read_cache(Drive *drive, NodeDefaults *node, Opts *options, GError **error)
{
    const char *mode = opts_get(options, "cache");
    bool writeback = true;
    if (mode) {
        size_t i = 0;
        while (i < G_N_ELEMENTS(cache_modes) && strcmp(cache_modes[i].name, mode) != 0) {
            i++;
        }
        if (i == G_N_ELEMENTS(cache_modes)) {
            return error_set(error,
                             "cache=%s is not known: writeback, none, writethrough, directsync or "
                             "unsafe",
                             mode);
        }
        node->cache_direct = cache_modes[i].direct;
        node->no_flush = cache_modes[i].no_flush;
        writeback = !cache_modes[i].writethrough;
    }
    if (!opts_get_bool(options, "cache.writeback", &writeback, error) ||
        !opts_get_bool(options, "cache.direct", &node->cache_direct, error) ||
        !opts_get_bool(options, "cache.no-flush", &node->no_flush, error)) {
        return false;
    }
    drive->writethrough = !writeback;
    return true;
}

/* What QEMU had before 4.0 and scripts still say. */
static bool refuse_removed(Opts *options, GError **error)
{
    static const char *const of_device[] = { "serial", "addr" };
    for (size_t i = 0; i < G_N_ELEMENTS(of_device); i++) {
        const char *name = of_device[i], *value = opts_get(options, name);
        if (value) {
            return error_set(error,
                             "%s=%s belongs to the device, not to the drive: use if=none,id=ID "
                             "with -device DRIVER,drive=ID,%s=%s",
                             name, value, name, value);
        }
    }
    return true;
}

static bool read_readonly(Drive *drive, NodeDefaults *node, Opts *options, GError **error)
{
    bool readonly = drive->is_cdrom;
    node->auto_readonly = true;
    if (!opts_get_bool(options, "readonly", &readonly, error) ||
        !opts_get_bool(options, "read-only", &readonly, error) ||
        !opts_get_bool(options, "auto-read-only", &node->auto_readonly, error) ||
        !opts_get_bool(options, "force-share", &node->force_share, error)) {
        return false;
    }
    if (drive->is_cdrom && !readonly) {
        return error_set(error, "media=cdrom is read-only: leave read-only=off out");
    }
    node->readonly = drive->readonly = readonly;
    return true;
}

const char *const drive_options[] = {
    "file",
    "format",
    "if",
    "index",
    "bus",
    "unit",
    "id",
    "media",
    "cache",
    "aio",
    "discard",
    "detect-zeroes",
    "readonly",
    "read-only",
    "snapshot",
    "rerror",
    "werror",
    "driver",
    "node-name",
    "cache.direct",
    "cache.no-flush",
    "cache.writeback",
    "locking",
    "force-share",
    "auto-read-only",
    "copy-on-read",
    "offset",
    "size",
    NULL,
};

/* copy-on-read=on: a filter above the image. */
static bool add_copy_on_read(Drive *drive, Opts *options, GError **error)
{
    bool on = false;
    if (!opts_get_bool(options, "copy-on-read", &on, error)) {
        return false;
    }
    if (!on || !drive->node || drive->readonly) {
        return true; /* as in QEMU, nothing is copied into what is read-only */
    }
    NodeDefaults defaults = { .auto_readonly = true, .discard_unmap = drive->node->discard_unmap };
    g_autoptr(Opts) filter = opts_new();
    opts_set(filter, "file", drive->node->name);
    BlockNode *node = node_open(filter, "copy-on-read", &defaults, error);
    if (!node) {
        return false;
    }
    node->detect_zeroes = drive->node->detect_zeroes;
    block_node_unref(drive->node);
    drive->node = node;
    return true;
}

static bool drive_open(Drive *drive, Opts *options, GError **error)
{
    NodeDefaults defaults = { 0 };
    const char *file = opts_get(options, "file");
    bool snapshot = snapshots;
    if (!read_cache(drive, &defaults, options, error) ||
        !read_readonly(drive, &defaults, options, error) ||
        !opts_get_bool(options, "snapshot", &snapshot, error)) {
        return false;
    }
    const char *format = opts_get(options, "format");
    const BlockDriver *driver = format ? block_driver_find(format) : NULL;
    bool empty = (!file || !*file) && !opts_has(options, "driver") &&
                 !opts_has(options, "file.driver") && !opts_has(options, "file.filename") &&
                 (!driver || driver->has_file);
    drive->cache_direct = defaults.cache_direct;
    drive->no_flush = defaults.no_flush;
    if (empty) {
        return true;
    }
    snapshot = snapshot && !drive->readonly;
    defaults.readonly |= snapshot;
    drive->node = node_open_image(options, &defaults, error);
    if (!drive->node || (snapshot && !node_put_overlay(&drive->node, error))) {
        return false;
    }
    if (drive->node->readonly && !drive->readonly) {
        report_warning("drive '%s': '%s' may not be written to on this host: the guest sees a disk "
                       "that is write-protected",
                       drive->id, drive->node->filename);
        drive->readonly = true;
    }
    return true;
}

Drive *drive_add(Opts *options, const char *default_interface, GError **error)
{
    g_autoptr(Drive) drive = g_new0(Drive, 1);
    if (!read_attachment(drive, options, default_interface, error) ||
        !read_error_actions(drive, options, error) || !refuse_removed(options, error) ||
        !drive_read_limits(drive, options, error) || !drive_open(drive, options, error) ||
        !add_copy_on_read(drive, options, error) ||
        !opts_check_unused(options, "drive", drive_options, error)) {
        return NULL;
    }
    if (!drives) {
        drives = g_ptr_array_new();
    }
    g_ptr_array_add(drives, drive);
    return g_steal_pointer(&drive);
}
