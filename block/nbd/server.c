/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD server: listening sockets, the number of clients, exports. The main thread changes lists
 * in calls on the server's loop, which reads them.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "block/nbd/internal.h"

#define BACKLOG      64
#define ACCEPT_PAUSE (NS_PER_SEC / 2) /* when the process has no descriptors left */

typedef struct NbdListener {
    NbdServer *server;
    int fd;
    FdWatch watch;
} NbdListener;

/* ---- Clients ---- */

static bool is_full(const NbdServer *server)
{
    return server->max_connections && server->client_count >= server->max_connections;
}

static void update_accepting(NbdServer *server)
{
    bool pause = is_full(server) || server->accept_paused;
    for (guint i = 0; i < server->listeners->len; i++) {
        NbdListener *listener = g_array_index(server->listeners, NbdListener *, i);
        if (listener->watch.loop) {
            fd_watch_set_events(&listener->watch, pause ? 0 : POLLIN);
        }
    }
}

static void accept_again(void *opaque)
{
    NbdServer *server = opaque;
    server->accept_paused = false;
    update_accepting(server);
}

static void add_client(NbdServer *server, int fd)
{
    NbdClient *client = nbd_client_new(server, fd);
    client->next = server->clients;
    server->clients = client;
    atomic_fetch_add(&server->client_count, 1);
    update_accepting(server);
}

static void listener_ready(void *opaque, unsigned revents)
{
    NbdListener *listener = opaque;
    NbdServer *server = listener->server;
    if (is_full(server)) {
        return; /* the others wait in the kernel's queue */
    }
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        add_client(server, fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        server->accept_paused = true;
        update_accepting(server);
        timer_arm(&server->accept_timer, clock_now(VM_CLOCK_REALTIME) + ACCEPT_PAUSE);
    }
}

static void tell_idle(void *opaque)
{
    NbdServer *server = opaque;
    if (!server->chosen_count && server->events.idle) {
        server->events.idle(server->events.opaque);
    }
}

void nbd_server_client_gone(NbdServer *server, NbdClient *client)
{
    NbdClient **p = &server->clients;
    while (*p != client) {
        p = &(*p)->next;
    }
    *p = client->next;
    atomic_fetch_sub(&server->client_count, 1);
    if (client->chosen && atomic_fetch_sub(&server->chosen_count, 1) == 1) {
        event_loop_post(event_loop_main(), &server->idle_task);
    }
    update_accepting(server);
}

unsigned nbd_server_client_count(const NbdServer *server)
{
    return server->client_count;
}

typedef struct ClientCall {
    NbdServer *server;
    int fd;
} ClientCall;

static void add_client_here(void *opaque)
{
    ClientCall *call = opaque;
    add_client(call->server, call->fd);
}

void nbd_server_add_client(NbdServer *server, int fd)
{
    ClientCall call = { server, fd };
    event_loop_call(server->loop, add_client_here, &call);
}

/* ---- Life ---- */

NbdServer *nbd_server_new(unsigned max_connections, const NbdServerEvents *events, GError **error)
{
    NbdServer *server = g_new0(NbdServer, 1);
    server->max_connections = max_connections;
    server->events = events ? *events : (NbdServerEvents){ 0 };
    server->listeners = g_array_new(FALSE, FALSE, sizeof(NbdListener *));
    server->idle_task = (LoopTask)LOOP_TASK_INIT(tell_idle, server);
    event_loop_main();
    server->loop = event_loop_new("NBD server", LOOP_ENGINE_AUTO, error);
    if (!server->loop || !event_loop_start(server->loop, error)) {
        g_prefix_error(error, "NBD server: ");
        g_clear_pointer(&server->loop, event_loop_free);
        g_array_unref(server->listeners);
        g_free(server);
        return NULL;
    }
    timer_init(&server->accept_timer, server->loop, VM_CLOCK_REALTIME, NULL, accept_again, server);
    return server;
}

static void stop_here(void *opaque)
{
    NbdServer *server = opaque;
    timer_cancel(&server->accept_timer);
    for (guint i = 0; i < server->listeners->len; i++) {
        fd_watch_stop(&g_array_index(server->listeners, NbdListener *, i)->watch);
    }
    for (NbdClient *client = server->clients; client; client = client->next) {
        nbd_client_close(client);
    }
}

void nbd_server_free(NbdServer *server)
{
    event_loop_call(server->loop, stop_here, server);
    while (server->exports) {
        nbd_export_remove(server->exports, true, NULL);
    }
    event_loop_free(server->loop); /* runs the tasks that free the clients */
    g_assert(!server->clients);
    event_loop_cancel_task(event_loop_main(), &server->idle_task);
    for (guint i = 0; i < server->listeners->len; i++) {
        NbdListener *listener = g_array_index(server->listeners, NbdListener *, i);
        close(listener->fd);
        g_free(listener);
    }
    g_array_unref(server->listeners);
    g_free(server);
}

/* ---- Listening ---- */

static void listen_here(void *opaque)
{
    NbdListener *listener = opaque;
    NbdServer *server = listener->server;
    g_array_append_val(server->listeners, listener);
    fd_watch_start(&listener->watch, server->loop, listener->fd, POLLIN, listener_ready, listener);
    update_accepting(server);
}

void nbd_server_listen_fd(NbdServer *server, int fd)
{
    NbdListener *listener = g_new0(NbdListener, 1);
    listener->server = server;
    listener->fd = fd;
    listen(fd, BACKLOG);
    event_loop_call(server->loop, listen_here, listener);
}

bool nbd_server_listen(NbdServer *server, CharAddress *address, GError **error)
{
    int fd = char_address_listen(address, error);
    if (fd < 0) {
        return false;
    }
    nbd_server_listen_fd(server, fd);
    return true;
}

/* ---- Exports ---- */

static void link_export(void *opaque)
{
    NbdExport *e = opaque;
    NbdExport **p = &e->server->exports;
    while (*p) {
        p = &(*p)->next;
    }
    *p = e;
}

static void unlink_export(void *opaque)
{
    NbdExport *e = opaque;
    NbdExport **p = &e->server->exports;
    while (*p != e) {
        p = &(*p)->next;
    }
    *p = e->next;
    for (NbdClient *client = e->server->clients; client; client = client->next) {
        if (client->export == e) {
            nbd_client_close(client);
        }
    }
}

/* No request is in flight any more: those who still wait to be freed forget it. */
static void forget_export(void *opaque)
{
    NbdExport *e = opaque;
    for (NbdClient *client = e->server->clients; client; client = client->next) {
        if (client->export == e) {
            nbd_client_unchoose(client);
        }
    }
}

NbdExport *nbd_server_find_export(NbdServer *server, const char *name, size_t len)
{
    for (NbdExport *e = server->exports; e; e = e->next) {
        if (strlen(e->name) == len && !memcmp(e->name, name, len)) {
            return e;
        }
    }
    return NULL;
}

NbdExport *nbd_export_find(NbdServer *server, const char *id)
{
    for (NbdExport *e = server->exports; e; e = e->next) {
        if (!strcmp(e->id, id)) {
            return e;
        }
    }
    return NULL;
}

static void export_free(NbdExport *e)
{
    for (unsigned i = 0; i < e->bitmap_count; i++) {
        BlockNode *node = e->bitmaps[i]->node;
        e->bitmaps[i]->busy--;
        block_node_unref(node);
    }
    if (e->backend) {
        block_backend_detach(e->backend);
    }
    g_free(e->id);
    g_free(e->name);
    g_free(e->description);
    g_free(e);
}

static bool check_names(NbdServer *server, const NbdExportOptions *o, GError **error)
{
    if (strlen(o->name) > NBD_MAX_STRING ||
        (o->description && strlen(o->description) > NBD_MAX_STRING)) {
        return error_set(error, "an export's name and description have at most %d bytes",
                         NBD_MAX_STRING);
    }
    if (nbd_server_find_export(server, o->name, strlen(o->name))) {
        return error_set(error, "the NBD server offers an export '%s' already: give another name",
                         o->name);
    }
    return true;
}

/* ---- Bitmaps ---- */

BlockBitmap *nbd_find_bitmap(BlockNode *node, const char *name, GError **error)
{
    for (BlockNode *n = node; n; n = n->driver->is_filter ? n->file : n->backing) {
        BlockBitmap *bitmap = bitmap_find(n, name);
        if (bitmap) {
            return bitmap;
        }
    }
    error_set(error, "neither the node nor one below it has a bitmap '%s'", name);
    return NULL;
}

static bool take_bitmap(NbdExport *e, BlockBitmap *bitmap, GError **error)
{
    if (!bitmap_check(bitmap, BITMAP_ALLOW_READONLY, error)) {
        return false;
    }
    if (!e->writable && bitmap->enabled && !bitmap->node->readonly) {
        return error_set(error,
                         "bitmap '%s' records writes, and nothing writes to a read-only export: "
                         "disable the bitmap first",
                         bitmap->name);
    }
    if (bitmap->length != block_node_length(e->node)) {
        return error_set(error, "Bitmap '%s' is of a disk of another size", bitmap->name);
    }
    bitmap->busy++;
    block_node_ref(bitmap->node);
    e->bitmaps[e->bitmap_count++] = bitmap;
    return true;
}

static bool take_bitmaps(NbdExport *e, const NbdExportOptions *o, GError **error)
{
    if (o->bitmap_count > NBD_MAX_BITMAPS) {
        return error_set(error, "%u bitmaps: an export has at most %d", o->bitmap_count,
                         NBD_MAX_BITMAPS);
    }
    for (unsigned i = 0; i < o->bitmap_count; i++) {
        if (!take_bitmap(e, o->bitmaps[i], error)) {
            return false;
        }
    }
    return true;
}

NbdExport *nbd_export_add(NbdServer *server, const NbdExportOptions *o, GError **error)
{
    if (!check_names(server, o, error)) {
        return NULL;
    }
    NbdExport *e = g_new0(NbdExport, 1);
    e->server = server;
    e->id = g_strdup(o->id ? o->id : o->name);
    e->name = g_strdup(o->name);
    e->description = g_strdup(o->description);
    e->writable = o->writable;
    e->allocation_depth = o->allocation_depth;
    g_autofree char *user = g_strdup_printf("NBD export '%s'", o->name);
    e->backend = block_backend_attach(o->node, user, !o->writable, true, error);
    if (!e->backend || !block_backend_add_loop(e->backend, server->loop, error)) {
        export_free(e);
        return NULL;
    }
    e->node = block_backend_node(e->backend);
    if (o->writable && block_backend_readonly(e->backend)) {
        error_set(error,
                  "node '%s' cannot be written to: export it without writable=on, or open it with "
                  "read-only=off",
                  e->node->name);
        export_free(e);
        return NULL;
    }
    if (!take_bitmaps(e, o, error)) {
        export_free(e);
        return NULL;
    }
    block_backend_set_write_cache(e->backend, !o->writethrough);
    block_backend_set_error_actions(e->backend, BLOCK_ERROR_REPORT, BLOCK_ERROR_REPORT);
    event_loop_call(server->loop, link_export, e);
    return e;
}

bool nbd_export_remove(NbdExport *e, bool hard, GError **error)
{
    if (!hard && e->clients) {
        return error_set(error, "clients use export '%s': mode=hard throws them out", e->id);
    }
    event_loop_call(e->server->loop, unlink_export, e);
    block_backend_drain(e->backend);
    event_loop_call(e->server->loop, forget_export, e);
    export_free(e);
    return true;
}

void nbd_export_foreach(NbdServer *server, void (*fn)(NbdExport *e, void *opaque), void *opaque)
{
    for (NbdExport *e = server->exports; e; e = e->next) {
        fn(e, opaque);
    }
}

const char *nbd_export_id(const NbdExport *e)
{
    return e->id;
}

const char *nbd_export_node_name(const NbdExport *e)
{
    return e->node->name;
}
