/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The "nbd" protocol: a disk on an NBD server. */
#include <errno.h>
#include "block/internal.h"
#include "config.h"

#ifdef HAVE_LIBNBD
#include "block/nbd/connection.h"
#include "block/nbd/proto.h"
#include "vmm/util/bytes.h"

typedef struct NbdState {
    NbdConnection *connection;
} NbdState;

/* server.*, or what QEMU calls legacy: host, port, path. */
static Opts *server_options(Opts *options, GError **error)
{
    static const char *const types[] = { "inet", "unix", NULL };
    static const char *const legacy[] = { "host", "port", "path" };
    Opts *server = opts_take_prefix(options, "server");
    int type = 0;
    if (!server) {
        server = opts_new();
        for (size_t i = 0; i < G_N_ELEMENTS(legacy); i++) {
            const char *value = opts_get(options, legacy[i]);
            if (value) {
                opts_set(server, legacy[i], value);
            }
        }
    }
    if (!opts_get_enum(server, "type", types, &type, error)) {
        opts_free(server);
        return NULL;
    }
    if (opts_has(server, "host") && !opts_has(server, "port")) {
        opts_set(server, "port", NBD_DEFAULT_PORT);
    }
    return server;
}

static bool parse_options(NbdConnectionOptions *o, Opts *options, GError **error)
{
    uint64_t reconnect = 0, open_timeout = 0;
    if (opts_has(options, "tls-creds") || opts_has(options, "x-dirty-bitmap")) {
        return error_set(error, "tls-creds and x-dirty-bitmap are not available in this version of "
                                "Vireo");
    }
    o->export_name = opts_get(options, "export");
    o->export_name = o->export_name ? o->export_name : "";
    if (strlen(o->export_name) > NBD_MAX_STRING) {
        return error_set(error, "an export's name has at most %d bytes", NBD_MAX_STRING);
    }
    if (!opts_get_uint(options, "reconnect-delay", G_MAXUINT32, &reconnect, error) ||
        !opts_get_uint(options, "open-timeout", G_MAXUINT32, &open_timeout, error)) {
        return false;
    }
    o->reconnect_ns = reconnect * NS_PER_SEC;
    o->open_timeout_ns = open_timeout * NS_PER_SEC;
    g_autoptr(Opts) server = server_options(options, error);
    return server && char_address_parse(&o->address, server, error) &&
           opts_check_unused(server, "server", NULL, error);
}

static char *make_filename(const NbdConnectionOptions *o)
{
    g_autofree char *name = g_uri_escape_string(o->export_name, "/", FALSE);
    const char *slash = *name ? "/" : "";
    if (o->address.path) {
        return g_strdup_printf("nbd+unix://%s%s?socket=%s", *name ? "/" : "", name,
                               o->address.path);
    }
    bool v6 = strchr(o->address.host, ':');
    return g_strdup_printf("nbd://%s%s%s:%s%s%s", v6 ? "[" : "", o->address.host, v6 ? "]" : "",
                           o->address.port, slash, name);
}

static bool check_writable(BlockNode *node, const NbdConnectionInfo *info, GError **error)
{
    if (!info->readonly || node->readonly) {
        return true;
    }
    if (!node->auto_readonly) {
        return error_set(error, "'%s' is a read-only export: use read-only=on", node->filename);
    }
    node->readonly = true;
    return true;
}

static bool nbd_open(BlockNode *node, Opts *options, GError **error)
{
    NbdState *s = node->state;
    NbdConnectionOptions o = { 0 };
    NbdConnectionInfo info;
    if (!parse_options(&o, options, error)) {
        char_address_clear(&o.address);
        return false;
    }
    node->filename = make_filename(&o);
    s->connection = nbd_connection_open(&o, &info, error);
    if (!s->connection) {
        return false;
    }
    if (!check_writable(node, &info, error)) {
        nbd_connection_close(s->connection);
        return false;
    }
    atomic_store(&node->length, info.size);
    node->limits = (BlockLimits){ .request_alignment = 1,
                                  .logical_block = 512,
                                  .physical_block = 512,
                                  .max_transfer = info.max_request,
                                  .max_iov = 1024,
                                  .discard_granularity = info.trim ? 512 : 0,
                                  .has_write_zeroes = info.zero };
    return true;
}

static void nbd_close_node(BlockNode *node)
{
    nbd_connection_close(((NbdState *)node->state)->connection);
}

static bool is_ignored(const BlockNode *node, const BlockRequest *request)
{
    return (request->kind == BLOCK_FLUSH && node->no_flush) ||
           (request->kind == BLOCK_DISCARD && !node->discard_unmap);
}

/* A format may ask for what is not there. */
static bool is_inside(BlockNode *node, BlockRequest *request)
{
    uint64_t length = block_node_length(node);
    if (request->kind == BLOCK_FLUSH || range_inside(request->position, request->bytes, length)) {
        return true;
    }
    block_request_complete_later(request, request->kind == BLOCK_READ ? -EIO : -ENOSPC);
    return false;
}

static void nbd_submit(BlockNode *node, BlockRequest *request)
{
    NbdState *s = node->state;
    request->node = node;
    if (is_ignored(node, request)) {
        block_request_complete_later(request, 0);
    } else if (is_inside(node, request)) {
        nbd_connection_submit(s->connection, request);
    }
}

static const char *const nbd_options[] = {
    "server",          "host",         "port",      "path",           "export",
    "reconnect-delay", "open-timeout", "tls-creds", "x-dirty-bitmap", NULL
};

const BlockDriver nbd_driver = {
    .name = "nbd",
    .desc = "A disk on an NBD server",
    .state_size = sizeof(NbdState),
    .options = nbd_options,
    .open = nbd_open,
    .close = nbd_close_node,
    .submit = nbd_submit,
};
#else
static bool nbd_open(BlockNode *node, Opts *options, GError **error)
{
    return error_set(error, "the NBD client is not built in (libnbd was missing)");
}

static void nbd_close_node(BlockNode *node)
{
}

static void nbd_submit(BlockNode *node, BlockRequest *request)
{
    block_request_complete_later(request, -ENOTSUP);
}

const BlockDriver nbd_driver = {
    .name = "nbd",
    .desc = "A disk on an NBD server (not built in)",
    .open = nbd_open,
    .close = nbd_close_node,
    .submit = nbd_submit,
};
#endif
