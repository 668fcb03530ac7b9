/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's commands about disks: words to QMP's commands. */
#include <string.h>
#include "block/qmp.h"
#include "vmm/monitor/monitor.h"
#include "vmm/util/bytes.h"

/* ---- Words ---- */

/* Takes "-f" and its like from the words; bit i: the i-th letter was there. */
static unsigned take_flags(char ***words, const char *letters)
{
    unsigned found = 0;
    for (const char *at; **words && (**words)[0] == '-' && (**words)[1] && !(**words)[2] &&
                         (at = strchr(letters, (**words)[1]));
         (*words)++) {
        found |= 1u << (at - letters);
    }
    return found;
}

/* A number of MiB, or with a suffix, as QEMU's human monitor reads sizes. */
static bool take_size(GString *out, const char *text, json_object *to, const char *name)
{
    uint64_t bytes;
    if (!parse_size(text, MIB, &bytes) || bytes > INT64_MAX) {
        g_string_append_printf(out, "Error: '%s' is not a size: 512, 512M and 20G are\n", text);
        return false;
    }
    json_add_int(to, name, (int64_t)bytes);
    return true;
}

/* The words become members of these names, as far as there are any. */
static json_object *members(char **words, const char *const *names)
{
    json_object *object = json_object_new_object();
    for (int i = 0; names[i] && words[i]; i++) {
        json_add_string(object, names[i], words[i]);
    }
    return object;
}

static bool need_words(GString *out, char **words, unsigned least, const char *what)
{
    bool enough = g_strv_length(words) >= least;
    if (!enough) {
        g_string_append_printf(out, "Error: %s\n", what);
    }
    return enough;
}

/* ---- Jobs ---- */

static const char *const device_only[] = { "device", NULL };

static void hmp_job_set_speed(GString *out, char **args)
{
    json_object *arguments = members(args, device_only);
    if (take_size(out, args[1], arguments, "speed")) {
        hmp_run_qmp(out, "block-job-set-speed", arguments);
    } else {
        json_object_put(arguments);
    }
}

static void hmp_job_cancel(GString *out, char **args)
{
    unsigned flags = take_flags(&args, "f");
    if (need_words(out, args, 1, "which job?")) {
        json_object *arguments = members(args, device_only);
        json_add_bool(arguments, "force", flags & 1);
        hmp_run_qmp(out, "block-job-cancel", arguments);
    }
}

static void hmp_job_pause(GString *out, char **args)
{
    hmp_run_qmp(out, "block-job-pause", members(args, device_only));
}

static void hmp_job_resume(GString *out, char **args)
{
    hmp_run_qmp(out, "block-job-resume", members(args, device_only));
}

static void hmp_job_complete(GString *out, char **args)
{
    hmp_run_qmp(out, "block-job-complete", members(args, device_only));
}

static void hmp_stream(GString *out, char **args)
{
    json_object *arguments = members(args, device_only);
    json_add_string(arguments, "base", args[1] ? args[2] : NULL);
    if (!args[1] || take_size(out, args[1], arguments, "speed")) {
        hmp_run_qmp(out, "block-stream", arguments);
    } else {
        json_object_put(arguments);
    }
}

/* drive_mirror and drive_backup: -n: the file is there already; -f: all of the disk, not only what
 * its image decides. */
static json_object *copy_arguments(GString *out, char **args, const char *letters, unsigned *flags)
{
    static const char *const names[] = { "device", "target", "format", NULL };
    *flags = take_flags(&args, letters);
    if (!need_words(out, args, 2, "which disk, to which file?")) {
        return NULL;
    }
    json_object *arguments = members(args, names);
    json_add_string(arguments, "mode", *flags & 1 ? "existing" : "absolute-paths");
    json_add_string(arguments, "sync", *flags & 2 ? "full" : "top");
    return arguments;
}

static void hmp_mirror(GString *out, char **args)
{
    unsigned flags;
    json_object *arguments = copy_arguments(out, args, "nf", &flags);
    if (arguments) {
        hmp_run_qmp(out, "drive-mirror", arguments);
    }
}

static void hmp_backup(GString *out, char **args)
{
    unsigned flags;
    json_object *arguments = copy_arguments(out, args, "nfc", &flags);
    if (arguments) {
        json_add_bool(arguments, "compress", flags & 4);
        hmp_run_qmp(out, "drive-backup", arguments);
    }
}

/* ---- Snapshots ---- */

static void hmp_snapshot(GString *out, char **args)
{
    static const char *const names[] = { "device", "snapshot-file", "format", NULL };
    unsigned flags = take_flags(&args, "n");
    if (need_words(out, args, 2, "which disk, into which new file?")) {
        json_object *arguments = members(args, names);
        json_add_string(arguments, "mode", flags & 1 ? "existing" : "absolute-paths");
        hmp_run_qmp(out, "blockdev-snapshot-sync", arguments);
    }
}

static const char *const snapshot_names[] = { "device", "name", "id", NULL };

static void hmp_snapshot_internal(GString *out, char **args)
{
    hmp_run_qmp(out, "blockdev-snapshot-internal-sync", members(args, snapshot_names));
}

static void hmp_snapshot_delete(GString *out, char **args)
{
    hmp_run_qmp(out, "blockdev-snapshot-delete-internal-sync", members(args, snapshot_names));
}

/* ---- The disk itself ---- */

static void hmp_resize(GString *out, char **args)
{
    json_object *arguments = members(args, device_only);
    if (take_size(out, args[1], arguments, "size")) {
        hmp_run_qmp(out, "block_resize", arguments);
    } else {
        json_object_put(arguments);
    }
}

static void hmp_throttle(GString *out, char **args)
{
    static const char *const names[] = { "bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr" };
    json_object *arguments = members(args, device_only);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        uint64_t value;
        if (!parse_uint(args[i + 1], INT64_MAX, &value)) {
            g_string_append_printf(out, "Error: '%s' is not a number for %s\n", args[i + 1],
                                   names[i]);
            json_object_put(arguments);
            return;
        }
        json_add_int(arguments, names[i], (int64_t)value);
    }
    hmp_run_qmp(out, "block_set_io_throttle", arguments);
}

/* Like -drive with if=none; the address before it is QEMU's, and means nothing there either. */
static void hmp_drive_add(GString *out, char **args)
{
    GError *error = NULL;
    g_autoptr(Opts) options = opts_parse(args[1], "file", &error);
    Drive *drive = options ? drive_add(options, "none", &error) : NULL;
    if (drive && strcmp(drive->interface, "none") != 0) {
        g_autofree char *id = g_strdup(drive->id);
        error_set(&error, "a drive that is added later has if=none: device_add attaches it");
        drive_remove(id, NULL);
    } else if (drive) {
        g_string_append(out, "OK\n");
    }
    hmp_error(out, error);
}

static void hmp_drive_del(GString *out, char **args)
{
    GError *error = NULL;
    if (!drive_find(args[0])) {
        error_set(&error,
                  block_node_find(args[0]) ? "'%s' is a node: blockdev-del deletes it"
                                           : "Device '%s' not found",
                  args[0]);
    } else {
        drive_remove(args[0], &error);
    }
    hmp_error(out, error);
}

/* ---- The NBD server ---- */

/* "HOST:PORT", or "unix:PATH". */
static json_object *server_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    json_object *address = json_object_new_object(), *data = json_object_new_object();
    json_object_object_add(address, "data", data);
    if (g_str_has_prefix(text, "unix:")) {
        json_add_string(address, "type", "unix");
        json_add_string(data, "path", text + strlen("unix:"));
    } else if (colon && colon[1]) {
        g_autofree char *host = g_strndup(text, (gsize)(colon - text));
        bool brackets = host[0] == '[' && g_str_has_suffix(host, "]");
        if (brackets) {
            host[strlen(host) - 1] = '\0';
        }
        json_add_string(address, "type", "inet");
        json_add_string(data, "host", brackets ? host + 1 : host);
        json_add_string(data, "port", colon + 1);
    } else {
        g_clear_pointer(&address, json_object_put);
    }
    return address;
}

typedef struct ExportAll {
    GString *out;
    bool writable, failed;
} ExportAll;

static void export_drive(Drive *drive, void *opaque)
{
    ExportAll *all = opaque;
    gsize before = all->out->len;
    if (drive->node && !all->failed) {
        json_object *arguments = json_object_new_object();
        json_add_string(arguments, "device", drive->id);
        json_add_bool(arguments, "writable", all->writable && !drive->readonly);
        hmp_run_qmp(all->out, "nbd-server-add", arguments);
        all->failed = all->out->len > before;
    }
}

static void hmp_nbd_start(GString *out, char **args)
{
    unsigned flags = take_flags(&args, "aw");
    ExportAll all = { .out = out, .writable = flags & 2 };
    gsize before = out->len;
    if (flags == 2) {
        g_string_append(out, "Error: -w says how -a exports the disks: give both\n");
        return;
    }
    json_object *address = args[0] ? server_address(args[0]) : NULL;
    if (!address) {
        g_string_append_printf(out, "Error: '%s' is no address: HOST:PORT or unix:PATH\n",
                               args[0] ? args[0] : "");
        return;
    }
    json_object *arguments = json_object_new_object();
    json_object_object_add(arguments, "addr", address);
    hmp_run_qmp(out, "nbd-server-start", arguments);
    if (out->len == before && flags & 1) {
        drive_foreach(export_drive, &all);
    }
    if (all.failed) { /* all of them, or none */
        hmp_run_qmp(out, "nbd-server-stop", NULL);
    }
}

static void hmp_nbd_add(GString *out, char **args)
{
    static const char *const names[] = { "device", "name", NULL };
    unsigned flags = take_flags(&args, "w");
    if (need_words(out, args, 1, "which disk?")) {
        json_object *arguments = members(args, names);
        json_add_bool(arguments, "writable", flags & 1);
        hmp_run_qmp(out, "nbd-server-add", arguments);
    }
}

static void hmp_nbd_remove(GString *out, char **args)
{
    static const char *const names[] = { "name", NULL };
    unsigned flags = take_flags(&args, "f");
    if (need_words(out, args, 1, "which export?")) {
        json_object *arguments = members(args, names);
        json_add_string(arguments, "mode", flags & 1 ? "hard" : "safe");
        hmp_run_qmp(out, "nbd-server-remove", arguments);
    }
}

static void hmp_nbd_stop(GString *out, char **args)
{
    hmp_run_qmp(out, "nbd-server-stop", NULL);
}

static const HmpCommand hmp[] = {
    { "block_job_set_speed", "JOB SPEED", "bytes a second that a job may copy (in MiB, or 500k)",
      hmp_job_set_speed, 2, 2 },
    { "block_job_cancel", "[-f] JOB", "end a job (-f: a mirror that is ready too)", hmp_job_cancel,
      1, 2 },
    { "block_job_pause", "JOB", "let a job rest", hmp_job_pause, 1, 1 },
    { "block_job_resume", "JOB", "let a paused job go on", hmp_job_resume, 1, 1 },
    { "block_job_complete", "JOB", "let a job that is ready do what it was made for",
      hmp_job_complete, 1, 1 },
    { "block_stream", "DISK [SPEED [BASE]]", "copy what backing files have into a disk's image",
      hmp_stream, 1, 3 },
    { "drive_mirror", "[-n] [-f] DISK FILE [FORMAT]",
      "copy a disk and follow it (-n: into a file that is there, -f: all of it)", hmp_mirror, 2,
      5 },
    { "drive_backup", "[-n] [-f] [-c] DISK FILE [FORMAT]",
      "copy a disk as it is now (-c: compressed)", hmp_backup, 2, 6 },
    { "snapshot_blkdev", "[-n] DISK FILE [FORMAT]",
      "go on in a new image over a disk's present one", hmp_snapshot, 1, 4 },
    { "snapshot_blkdev_internal", "DISK NAME", "make a snapshot inside a disk's image",
      hmp_snapshot_internal, 2, 2 },
    { "snapshot_delete_blkdev_internal", "DISK NAME [ID]",
      "delete a snapshot inside a disk's image", hmp_snapshot_delete, 2, 3 },
    { "block_resize", "DISK SIZE", "change a disk's size (in MiB, or 20G)", hmp_resize, 2, 2 },
    { "block_set_io_throttle", "DISK BPS BPS_RD BPS_WR IOPS IOPS_RD IOPS_WR",
      "limit a disk's input and output; all 0: not at all", hmp_throttle, 7, 7 },
    { "drive_add", "ADDRESS OPTIONS", "add a drive (if=none) for device_add; ADDRESS means nothing",
      hmp_drive_add, 2, 2 },
    { "drive_del", "DRIVE", "remove a drive that no device has", hmp_drive_del, 1, 1 },
    { "nbd_server_start", "[-a [-w]] HOST:PORT|unix:PATH",
      "start the NBD server (-a: with all disks, -w: to be written to)", hmp_nbd_start, 1, 3 },
    { "nbd_server_add", "[-w] DISK [NAME]", "export a disk", hmp_nbd_add, 1, 3 },
    { "nbd_server_remove", "[-f] EXPORT", "remove an export (-f: its clients too)", hmp_nbd_remove,
      1, 2 },
    { "nbd_server_stop", NULL, "end the NBD server", hmp_nbd_stop },
    { NULL },
};

const MonitorCommands disk_commands = { .hmp = hmp };
