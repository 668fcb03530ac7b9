/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about removable media. */
#include "block/block.h"
#include "block/qmp.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"

static json_object *answer(bool ok)
{
    return ok ? qmp_ok() : NULL;
}

static json_object *eject(const void *opaque, GError **error)
{
    const QmpEjectArgs *args = opaque;
    BlockBackend *backend = block_backend_find(args->device, args->id, error);
    return answer(backend && block_media_eject(backend, args->force, error));
}

static json_object *open_tray(const void *opaque, GError **error)
{
    const QmpBlockdevOpenTrayArgs *args = opaque;
    BlockBackend *backend = block_backend_find(args->device, args->id, error);
    return answer(backend && block_media_open_tray(backend, args->force, error));
}

static json_object *close_tray(const void *opaque, GError **error)
{
    const QmpBlockdevCloseTrayArgs *args = opaque;
    BlockBackend *backend = block_backend_find(args->device, args->id, error);
    return answer(backend && block_media_close_tray(backend, error));
}

static json_object *insert_medium(const void *opaque, GError **error)
{
    const QmpBlockdevInsertMediumArgs *args = opaque;
    BlockBackend *backend = block_backend_find(NULL, args->id, error);
    return answer(backend && block_media_insert(backend, args->node_name, error));
}

static json_object *remove_medium(const void *opaque, GError **error)
{
    const QmpBlockdevRemoveMediumArgs *args = opaque;
    BlockBackend *backend = block_backend_find(NULL, args->id, error);
    return answer(backend && block_media_remove(backend, error));
}

static BlockReadonlyMode readonly_mode(const QmpBlockdevChangeMediumArgs *args)
{
    static const BlockReadonlyMode modes[] = {
        [QMP_BLOCKDEV_CHANGE_READ_ONLY_MODE_RETAIN] = BLOCK_READONLY_RETAIN,
        [QMP_BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_ONLY] = BLOCK_READONLY_ON,
        [QMP_BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_WRITE] = BLOCK_READONLY_OFF,
    };
    return args->has_read_only_mode ? modes[args->read_only_mode] : BLOCK_READONLY_RETAIN;
}

static json_object *change_medium(const void *opaque, GError **error)
{
    const QmpBlockdevChangeMediumArgs *args = opaque;
    BlockBackend *backend = block_backend_find(args->device, args->id, error);
    return answer(backend && block_media_change(backend, args->filename, args->format, args->force,
                                                readonly_mode(args), error));
}

/* ---- The human monitor ---- */

static void hmp_eject(GString *out, char **args)
{
    bool force = g_str_equal(args[0], "-f");
    json_object *arguments = json_object_new_object();
    if (force && !args[1]) {
        g_string_append(out, "Error: eject: which drive?\n");
        json_object_put(arguments);
        return;
    }
    json_add_string(arguments, "device", args[force]);
    json_add_bool(arguments, "force", force);
    hmp_run_qmp(out, "eject", arguments);
}

static void hmp_change(GString *out, char **args)
{
    static const char *const names[] = { "device", "filename", "format", "read-only-mode" };
    bool force = false;
    json_object *arguments = json_object_new_object();
    for (unsigned i = 0; *args; args++) {
        if (g_str_equal(*args, "-f")) { /* in front of the drive, or behind it as in QEMU */
            force = true;
        } else if (i < G_N_ELEMENTS(names)) {
            json_add_string(arguments, names[i++], *args);
        }
    }
    json_add_bool(arguments, "force", force);
    hmp_run_qmp(out, "blockdev-change-medium", arguments);
}

static const QmpHandler qmp[] = {
    { "eject", eject },
    { "blockdev-open-tray", open_tray },
    { "blockdev-close-tray", close_tray },
    { "blockdev-insert-medium", insert_medium },
    { "blockdev-remove-medium", remove_medium },
    { "blockdev-change-medium", change_medium },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "eject", "[-f] DRIVE", "take the medium out of a drive (-f: although it is locked)",
      hmp_eject, 1, 2 },
    { "change", "[-f] DRIVE FILE [FORMAT [retain|read-only|read-write]]",
      "put another medium into a drive", hmp_change, 2, 5 },
    { NULL },
};

const MonitorCommands media_commands = { .qmp = qmp, .hmp = hmp };
