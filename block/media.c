/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Removable media: trays, door locks, changing what is in a drive. A medium is a node whose
 * references are the drive's and the back end's; the monitor's commands put it in and take it out,
 * with QEMU's rules: a tray must be open, a locked door is asked for or forced.
 */
#include "block/internal.h"

/* ---- State: any thread ---- */

bool block_backend_inserted(const BlockBackend *backend)
{
    return atomic_load_explicit(&backend->length, memory_order_relaxed) > 0;
}

bool block_backend_tray_open(const BlockBackend *backend)
{
    return atomic_load(&backend->tray_open);
}

bool block_backend_loaded(const BlockBackend *backend)
{
    return block_backend_inserted(backend) && !block_backend_tray_open(backend);
}

void block_backend_set_locked(BlockBackend *backend, bool locked)
{
    atomic_store(&backend->locked, locked);
}

bool block_backend_locked(const BlockBackend *backend)
{
    return atomic_load(&backend->locked);
}

void block_backend_set_tray(BlockBackend *backend, bool open)
{
    const BlockErrorHooks *hooks = block_error_hooks();
    bool named = backend->device_id[0] &&
                 (!backend->drive || strcmp(backend->drive->id, backend->device_id) != 0);
    const char *id = !named && backend->qom_path ? backend->qom_path : backend->device_id;
    if (atomic_exchange(&backend->tray_open, open) == open || !hooks || !hooks->emit) {
        return;
    }
    json_object *data = json_object_new_object();
    json_object_object_add(data, "device",
                           json_object_new_string(backend->drive ? backend->drive->id : ""));
    json_object_object_add(data, "id", json_object_new_string(id));
    json_object_object_add(data, "tray-open", json_object_new_boolean(open));
    hooks->emit("DEVICE_TRAY_MOVED", data);
}

/* ---- Finding: main thread ---- */

typedef struct Search {
    const char *device, *id;
    BlockBackend *found;
} Search;

static void match(BlockBackend *backend, void *opaque)
{
    Search *search = opaque;
    if (backend->of_job) {
        return;
    }
    if (search->device ? backend->drive && !strcmp(backend->drive->id, search->device)
                       : !strcmp(backend->device_id, search->id) ||
                             !g_strcmp0(backend->qom_path, search->id)) {
        search->found = backend;
    }
}

BlockBackend *block_backend_find(const char *device, const char *id, GError **error)
{
    Search search = { .device = device, .id = id };
    if (!device == !id) {
        error_set(error, "say the drive either by 'id' (of the device) or by 'device' (of -drive), "
                         "not by both and not by none");
        return NULL;
    }
    backend_foreach(match, &search);
    if (!search.found) {
        error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND,
                       device && drive_find(device)
                           ? "drive '%s' was made, but no device of the machine has it"
                           : "there is no drive and no device '%s' (query-block lists them)",
                       device ? device : id);
    }
    return search.found;
}

/* ---- Moving the tray ---- */

static const char *name_of(const BlockBackend *backend)
{
    return backend->drive ? backend->drive->id : backend->device_id;
}

static bool need_removable(const BlockBackend *backend, GError **error)
{
    return backend->removable ||
           error_set(error,
                     "'%s' is a fixed disk: only CD-ROM and floppy drives change their medium",
                     name_of(backend));
}

static void tell_media(BlockBackend *backend, bool loaded)
{
    if (backend->events && backend->events->media_changed) {
        backend->events->media_changed(backend->events_opaque, loaded);
    }
}

/* Whether the tray is open afterwards; the guest is asked when the door is locked. */
static bool open_tray(BlockBackend *backend, bool force)
{
    if (!backend->has_tray || block_backend_tray_open(backend)) {
        return true;
    }
    bool locked = block_backend_locked(backend);
    if (locked && backend->events && backend->events->eject_request) {
        backend->events->eject_request(backend->events_opaque, force);
    }
    if (locked && !force) {
        return false;
    }
    block_backend_set_tray(backend, true);
    tell_media(backend, false);
    return true;
}

bool block_media_open_tray(BlockBackend *backend, bool force, GError **error)
{
    if (!need_removable(backend, error)) {
        return false;
    }
    if (!backend->has_tray) {
        return error_set(error, "'%s' has no tray that could be opened or closed",
                         name_of(backend));
    }
    open_tray(backend, force);
    return true;
}

static bool open_to_change(BlockBackend *backend, bool force, GError **error)
{
    return need_removable(backend, error) &&
           (open_tray(backend, force) || error_set(error,
                                                   "the guest holds the tray of '%s' shut: it was "
                                                   "asked to let go; force=true opens it at once",
                                                   name_of(backend)));
}

bool block_media_close_tray(BlockBackend *backend, GError **error)
{
    if (!need_removable(backend, error)) {
        return false;
    }
    if (backend->has_tray && block_backend_tray_open(backend)) {
        block_backend_set_tray(backend, false);
        tell_media(backend, block_backend_inserted(backend));
    }
    return true;
}

/* ---- What is in it ---- */

static bool need_open(BlockBackend *backend, GError **error)
{
    return need_removable(backend, error) &&
           (!backend->has_tray || block_backend_tray_open(backend) ||
            error_set(error, "'%s' is shut: open its tray first (blockdev-open-tray)",
                      name_of(backend)));
}

static bool insert_node(BlockBackend *backend, BlockNode *node, GError **error)
{
    if (!backend_insert(backend, node, error)) {
        return false;
    }
    if (backend->drive) {
        backend->drive->node = block_node_ref(node);
    }
    if (!backend->has_tray) {
        tell_media(backend, true);
    }
    return true;
}

bool block_media_insert(BlockBackend *backend, const char *node_name, GError **error)
{
    if (!need_open(backend, error)) {
        return false;
    }
    if (backend->node) {
        return error_set(error, "'%s' holds a medium: remove it first (blockdev-remove-medium)",
                         name_of(backend));
    }
    BlockNode *node = block_node_find(node_name);
    if (!node) {
        return error_set(error, "there is no node '%s' (query-named-block-nodes lists them)",
                         node_name);
    }
    return insert_node(backend, node, error);
}

static void take_out(BlockBackend *backend)
{
    if (!backend->node) {
        return;
    }
    if (!backend->has_tray) {
        tell_media(backend, false);
    }
    backend_remove(backend);
    if (backend->drive && backend->drive->node) {
        block_node_unref(backend->drive->node);
        backend->drive->node = NULL;
    }
}

bool block_media_remove(BlockBackend *backend, GError **error)
{
    if (!need_open(backend, error)) {
        return false;
    }
    take_out(backend);
    return true;
}

bool block_media_eject(BlockBackend *backend, bool force, GError **error)
{
    if (!open_to_change(backend, force, error)) {
        return false;
    }
    take_out(backend);
    return true;
}

static BlockNode *open_medium(BlockBackend *backend, const char *filename, const char *format,
                              BlockReadonlyMode mode, GError **error)
{
    g_autoptr(Opts) options = opts_new();
    NodeDefaults defaults = { .auto_readonly = mode == BLOCK_READONLY_RETAIN };
    defaults.readonly = backend->readonly_wanted || mode == BLOCK_READONLY_ON ||
                        (mode == BLOCK_READONLY_RETAIN && block_backend_readonly(backend));
    if (backend->drive) {
        defaults.cache_direct = backend->drive->cache_direct;
        defaults.no_flush = backend->drive->no_flush;
    }
    opts_set(options, "file", filename);
    if (format) {
        opts_set(options, "format", format);
    }
    return node_open_image(options, &defaults, error);
}

bool block_media_change(BlockBackend *backend, const char *filename, const char *format, bool force,
                        BlockReadonlyMode mode, GError **error)
{
    if (!need_removable(backend, error)) {
        return false;
    }
    BlockNode *node = open_medium(backend, filename, format, mode, error);
    if (!node) {
        return false;
    }
    bool ok = open_to_change(backend, force, error);
    if (ok) {
        take_out(backend);
        if (backend->drive) {
            backend->drive->readonly = block_node_readonly(node);
        }
        ok = insert_node(backend, node, error) && block_media_close_tray(backend, error);
    }
    block_node_unref(node);
    return ok;
}
