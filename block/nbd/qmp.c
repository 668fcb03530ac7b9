/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's NBD server: nbd-server-start, -add, -remove, -stop, and the block-export commands.
 */
#include "block/bitmap_actions.h"
#include "block/nbd/proto.h"
#include "block/nbd/server.h"
#include "block/qmp.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/util/id.h"
#include "vmm/util/passed_fds.h"

static NbdServer *server;
static CharAddress address;

static json_object *answer(bool ok)
{
    return ok ? qmp_ok() : NULL;
}

/* ---- The server ---- */

static void emit_deleted(const char *id)
{
    const BlockErrorHooks *hooks = block_error_hooks();
    if (hooks && hooks->emit) {
        json_object *data = json_object_new_object();
        json_add_string(data, "id", id);
        hooks->emit("BLOCK_EXPORT_DELETED", data);
    }
}

static bool remove_export(NbdExport *e, int mode, GError **error)
{
    g_autofree char *id = g_strdup(nbd_export_id(e));
    if (!nbd_export_remove(e, mode == QMP_BLOCK_EXPORT_REMOVE_MODE_HARD, error)) {
        return false;
    }
    emit_deleted(id);
    return true;
}

static void note_first(NbdExport *e, void *opaque)
{
    NbdExport **first = opaque;
    *first = *first ? *first : e;
}

void block_exports_close(void)
{
    if (!server) {
        return;
    }
    for (NbdExport *first;;) {
        first = NULL;
        nbd_export_foreach(server, note_first, &first);
        if (!first) {
            break;
        }
        remove_export(first, QMP_BLOCK_EXPORT_REMOVE_MODE_HARD, NULL);
    }
    g_clear_pointer(&server, nbd_server_free);
    char_address_clear(&address);
}

static bool need_server(GError **error)
{
    return server || error_set(error, "there is no NBD server: nbd-server-start starts it");
}

static bool listen_fd(Opts *members, GError **error)
{
    const char *text = opts_get(members, "str");
    if (!text) {
        return error_set(error, "Parameter 'addr.data.str' is missing");
    }
    int fd = opts_check_unused(members, "addr", NULL, error)
                 ? passed_socket_param(text, true, error)
                 : -1;
    if (fd >= 0) {
        nbd_server_listen_fd(server, fd);
    }
    return fd >= 0;
}

/* QEMU's SocketAddressLegacy, with its members in "data", or flat. */
static bool server_listen(json_object *json, GError **error)
{
    static const char *const types[] = { "inet", "unix", "fd", NULL };
    int type = 0;
    if (!json_object_is_type(json, json_type_object)) {
        return error_set(error, "'addr' has to be of type object");
    }
    g_autoptr(Opts) all = opts_from_json(json, error);
    if (!all) {
        return false;
    }
    if (!opts_has(all, "type")) {
        return error_set(error, "Parameter 'addr.type' is missing");
    }
    if (!opts_get_enum(all, "type", types, &type, error)) {
        return false;
    }
    g_autoptr(Opts) data = opts_take_prefix(all, "data");
    Opts *members = data ? data : all;
    if (g_str_equal(types[type], "fd")) {
        return listen_fd(members, error);
    }
    return char_address_parse(&address, members, error) &&
           opts_check_unused(members, "addr", NULL, error) &&
           nbd_server_listen(server, &address, error);
}

static json_object *server_start(const void *opaque, GError **error)
{
    const QmpNbdServerStartArgs *args = opaque;
    if (server) {
        error_set(error, "there is an NBD server already: nbd-server-stop ends it");
        return NULL;
    }
    if (args->tls_creds || args->tls_authz) {
        error_set(error, "TLS is not available in this version of Vireo");
        return NULL;
    }
    if (args->max_connections < 0 || args->max_connections > G_MAXINT) {
        error_set(error, "Parameter 'max-connections' expects a number of clients");
        return NULL;
    }
    server = nbd_server_new((unsigned)args->max_connections, NULL, error);
    if (server && server_listen(args->addr, error)) {
        return qmp_ok();
    }
    g_clear_pointer(&server, nbd_server_free);
    char_address_clear(&address);
    return NULL;
}

static json_object *server_stop(const void *opaque, GError **error)
{
    if (!need_server(error)) {
        return NULL;
    }
    block_exports_close();
    return qmp_ok();
}

/* ---- Exports ---- */

static json_object *server_add(const void *opaque, GError **error)
{
    const QmpNbdServerAddArgs *args = opaque;
    const Drive *drive = drive_find(args->device);
    BlockNode *node = drive ? drive->node : block_node_find(args->device);
    if (!need_server(error)) {
        return NULL;
    }
    if (!node) {
        error_set(error, "there is no drive '%s' and no node '%s'", args->device, args->device);
        return NULL;
    }
    BlockBitmap *bitmap = args->bitmap ? nbd_find_bitmap(node, args->bitmap, error) : NULL;
    if (args->bitmap && !bitmap) {
        return NULL;
    }
    NbdExportOptions o = { .name = args->name ? args->name : args->device,
                           .description = args->description,
                           .node = node->name,
                           .writable = args->writable,
                           .bitmaps = &bitmap,
                           .bitmap_count = bitmap != NULL };
    return answer(nbd_export_add(server, &o, error));
}

static json_object *server_remove(const void *opaque, GError **error)
{
    const QmpNbdServerRemoveArgs *args = opaque;
    if (!need_server(error)) {
        return NULL;
    }
    NbdExport *e = nbd_export_find(server, args->name);
    if (!e) {
        error_set(error, "the NBD server has no export '%s' (query-block-exports lists them)",
                  args->name);
        return NULL;
    }
    return answer(remove_export(e, args->has_mode ? args->mode : 0, error));
}

static bool check_export_args(const QmpBlockExportAddArgs *args, GError **error)
{
    if (!need_server(error)) {
        return false;
    }
    if (args->iothread) {
        return error_set(error, "iothread is not available in this version of Vireo");
    }
    if (!id_check(args->id, error)) {
        return false;
    }
    if (nbd_export_find(server, args->id)) {
        return error_set(error, "there is an export with id '%s' already: ids are unique",
                         args->id);
    }
    return block_node_find(args->node_name) ||
           error_set(error, "there is no node '%s' (query-named-block-nodes lists them)",
                     args->node_name);
}

/* Names, which are looked for below the node too, or objects with `node` and `name`. */
static GPtrArray *find_bitmaps(BlockNode *node, json_object *list, GError **error)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new();
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        BlockBitmap *bitmap = json_object_is_type(item, json_type_string)
                                  ? nbd_find_bitmap(node, json_object_get_string(item), error)
                                  : bitmap_source(node, item, error);
        if (!bitmap) {
            return NULL;
        }
        g_ptr_array_add(found, bitmap);
    }
    return g_steal_pointer(&found);
}

static json_object *export_add(const void *opaque, GError **error)
{
    const QmpBlockExportAddArgs *args = opaque;
    if (!check_export_args(args, error)) {
        return NULL;
    }
    g_autoptr(GPtrArray)
        bitmaps = find_bitmaps(block_node_find(args->node_name), args->bitmaps, error);
    if (!bitmaps) {
        return NULL;
    }
    NbdExportOptions o = { .id = args->id,
                           .name = args->name ? args->name : args->node_name,
                           .description = args->description,
                           .node = args->node_name,
                           .writable = args->writable,
                           .writethrough = args->writethrough,
                           .allocation_depth = args->allocation_depth,
                           .bitmaps = (BlockBitmap **)bitmaps->pdata,
                           .bitmap_count = bitmaps->len };
    return answer(nbd_export_add(server, &o, error));
}

static json_object *export_del(const void *opaque, GError **error)
{
    const QmpBlockExportDelArgs *args = opaque;
    NbdExport *e = server ? nbd_export_find(server, args->id) : NULL;
    if (!e) {
        error_set(error, "there is no export '%s' (query-block-exports lists them)", args->id);
        return NULL;
    }
    return answer(remove_export(e, args->has_mode ? args->mode : 0, error));
}

static void add_info(NbdExport *e, void *opaque)
{
    json_object *info = json_object_new_object();
    json_add_string(info, "id", nbd_export_id(e));
    json_add_string(info, "type", "nbd");
    json_add_string(info, "node-name", nbd_export_node_name(e));
    json_add_bool(info, "shutting-down", false);
    json_object_array_add(opaque, info);
}

static json_object *query_exports(const void *opaque, GError **error)
{
    json_object *list = json_object_new_array();
    if (server) {
        nbd_export_foreach(server, add_info, list);
    }
    return list;
}

static const QmpHandler qmp[] = {
    { "nbd-server-start", server_start },     { "nbd-server-add", server_add },
    { "nbd-server-remove", server_remove },   { "nbd-server-stop", server_stop },
    { "block-export-add", export_add },       { "block-export-del", export_del },
    { "query-block-exports", query_exports }, { NULL },
};

const MonitorCommands export_commands = { .qmp = qmp };
