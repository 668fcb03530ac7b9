/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network back ends by id, their NICs, links and queues. */
#include "net/internal.h"

#include <string.h>
#include "vmm/trace/trace-net.h"

static const NetBackendClass *const classes[] = {
    &net_user_class,
    &net_tap_class,
    &net_bridge_class,
};

/* QEMU's back ends that are not here, and why. */
static const struct {
    const char *type;
    const char *why;
} missing[] = {
    { "socket", "packets between machines go through taps on a bridge" },
    { "stream", "packets between machines go through taps on a bridge" },
    { "dgram", "packets between machines go through taps on a bridge" },
    { "hubport", "it has no hubs; a tap on a bridge joins networks" },
    { "l2tpv3", "the kernel's own l2tp interface can be bridged with a tap" },
    { "vde", "VDE switches are not supported; use tap" },
    { "netmap", "there is no netmap back end; use tap" },
    { "af-xdp", "AF_XDP is not supported yet; use tap" },
    { "vhost-user", "vhost-user is not supported yet; use tap" },
    { "vhost-vdpa", "vDPA is not supported yet; use tap" },
    { "passt", "passt is not supported yet; use user" },
    { "vmnet-host", "it exists on macOS only" },
    { "vmnet-shared", "it exists on macOS only" },
    { "vmnet-bridged", "it exists on macOS only" },
};

static GList *backends; /* main thread */

static const NetBackendClass *class_find(const char *type, GError **error)
{
    const char *names[G_N_ELEMENTS(classes) + 1] = { NULL };
    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        if (!strcmp(classes[i]->type, type)) {
            return classes[i];
        }
        names[i] = classes[i]->type;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(missing); i++) {
        if (!strcmp(missing[i].type, type)) {
            error_set(error, "QEMU has the network back end '%s', Vireo does not: %s", type,
                      missing[i].why);
            return NULL;
        }
    }
    g_autofree char *near = suggest_nearest(type, names);
    error_set(error, "'%s' is not a network back end%s%s%s; -netdev help lists them", type,
              near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
}

static void backend_free(NetBackend *b)
{
    backends = g_list_remove(backends, b);
    if (b->cls->close) {
        b->cls->close(b);
    }
    g_free(b->queues);
    g_free(b->nic_name);
    g_free(b->id);
    g_free(b);
}

void net_backend_make_queues(NetBackend *b, unsigned count)
{
    b->queues = g_new0(NetQueue, count);
    b->queue_count = count;
    for (unsigned i = 0; i < count; i++) {
        b->queues[i] = (NetQueue){ .backend = b, .index = i };
    }
}

static bool check_unused(const NetBackendClass *cls, Opts *options, const char *what,
                         GError **error)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    g_ptr_array_add(known, "type");
    g_ptr_array_add(known, "id");
    for (size_t i = 0; cls->options && cls->options[i]; i++) {
        g_ptr_array_add(known, (void *)cls->options[i]);
    }
    g_ptr_array_add(known, NULL);
    return opts_check_unused(options, what, (const char *const *)known->pdata, error);
}

NetBackend *net_backend_new(Opts *options, GError **error)
{
    const char *type = opts_get(options, "type");
    const char *id = opts_get(options, "id");
    if (!type) {
        error_set(error, "-netdev needs a type: -netdev TYPE,id=ID; -netdev help lists them");
        return NULL;
    }
    const NetBackendClass *cls = class_find(type, error);
    if (!cls) {
        return NULL;
    }
    if (!id || !*id) {
        error_set(error, "netdev '%s' needs an id: -netdev %s,id=ID", type, type);
        return NULL;
    }
    if (net_backend_find(id)) {
        error_set(error, "there is a netdev '%s' already: ids are unique", id);
        return NULL;
    }
    NetBackend *b = g_malloc0(cls->size);
    b->cls = cls;
    b->id = g_strdup(id);
    b->link_up = true;
    backends = g_list_append(backends, b);
    g_autofree char *what = g_strdup_printf("netdev '%s'", id);
    bool opened = cls->open(b, options, error);
    if (!opened) {
        g_prefix_error(error, "%s: ", what);
    }
    if (!opened || !check_unused(cls, options, what, error)) {
        backend_free(b);
        return NULL;
    }
    return b;
}

bool net_backend_delete(const char *id, GError **error)
{
    NetBackend *b = net_backend_find(id);
    if (!b) {
        return error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND, "there is no netdev '%s'", id);
    }
    if (b->nic_ops) {
        return error_set(error, "netdev '%s' is in use by '%s'", id, b->nic_name);
    }
    backend_free(b);
    return true;
}

NetBackend *net_backend_find(const char *id)
{
    for (GList *l = backends; l; l = l->next) {
        NetBackend *b = l->data;
        if (!strcmp(b->id, id)) {
            return b;
        }
    }
    return NULL;
}

const char *net_backend_id(const NetBackend *b)
{
    return b->id;
}

const char *net_backend_type(const NetBackend *b)
{
    return b->cls->type;
}

char *net_backend_info(NetBackend *b)
{
    g_autofree char *more = b->cls->info ? b->cls->info(b) : NULL;
    return g_strdup_printf("%s: index=0,type=%s%s%s", b->id, b->cls->type, more ? "," : "",
                           more ? more : "");
}

void net_backend_foreach(void (*fn)(NetBackend *backend, void *opaque), void *opaque)
{
    for (GList *l = backends; l; l = l->next) {
        fn(l->data, opaque);
    }
}

void net_backend_types_foreach(void (*fn)(const char *type, void *opaque), void *opaque)
{
    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        fn(classes[i]->type, opaque);
    }
}

void net_backends_help(GString *out)
{
    g_string_append(out, "Back ends of -netdev:\n");
    for (size_t i = 0; i < G_N_ELEMENTS(classes); i++) {
        g_string_append_printf(out, "  %-8s %s\n", classes[i]->type, classes[i]->desc);
    }
}

void net_warn_unused(void)
{
    for (GList *l = backends; l; l = l->next) {
        const NetBackend *b = l->data;
        if (!b->nic_ops) {
            report_warning("nothing is connected to netdev '%s': no device was given netdev=%s",
                           b->id, b->id);
        }
    }
}

void net_close_all(void)
{
    while (backends) {
        NetBackend *b = g_list_last(backends)->data;
        net_backend_detach(b);
        backend_free(b);
    }
}

unsigned net_backend_queues(const NetBackend *b)
{
    return b->queue_count;
}

/* ---- NICs ---- */

bool net_backend_attach(NetBackend *b, const char *nic_name, const NicOps *ops, void *nic,
                        GError **error)
{
    if (b->nic_ops) {
        return error_set(error, "netdev '%s' is in use by '%s'", b->id, b->nic_name);
    }
    b->nic_name = g_strdup(nic_name);
    b->nic = nic;
    b->nic_ops = ops;
    return true;
}

void net_backend_detach(NetBackend *b)
{
    for (unsigned i = 0; i < b->queue_count; i++) {
        net_queue_stop(&b->queues[i]);
    }
    b->nic_ops = NULL;
    b->nic = NULL;
    g_clear_pointer(&b->nic_name, g_free);
}

bool net_backend_link_up(const NetBackend *b)
{
    return g_atomic_int_get(&b->link_up);
}

bool net_backend_set_link(const char *id, bool up, GError **error)
{
    for (GList *l = backends; l; l = l->next) {
        NetBackend *b = l->data;
        if (strcmp(b->id, id) && g_strcmp0(b->nic_name, id)) {
            continue;
        }
        bool changed = g_atomic_int_get(&b->link_up) != up;
        g_atomic_int_set(&b->link_up, up);
        if (changed && b->nic_ops && b->nic_ops->link_changed) {
            b->nic_ops->link_changed(b->nic, up);
        }
        return true;
    }
    return error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND, "there is no netdev or NIC '%s'",
                          id);
}

bool net_backend_has_vnet_header(const NetBackend *b)
{
    return b->cls->has_vnet_header && b->cls->has_vnet_header(b);
}

void net_backend_set_vnet_header(NetBackend *b, unsigned header_len)
{
    if (b->cls->set_vnet_header) {
        b->cls->set_vnet_header(b, header_len);
    }
}

bool net_backend_has_ufo(const NetBackend *b)
{
    return b->cls->has_ufo && b->cls->has_ufo(b);
}

void net_backend_set_offload(NetBackend *b, bool csum, bool tso4, bool tso6, bool ecn, bool ufo)
{
    if (b->cls->set_offload) {
        b->cls->set_offload(b, csum, tso4, tso6, ecn, ufo);
    }
}

void net_default_mac(uint8_t mac[6])
{
    static const uint8_t first[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
    static unsigned next;
    unsigned low = (first[3] << 16 | first[4] << 8 | first[5]) + next++;
    memcpy(mac, first, 3);
    mac[3] = low >> 16;
    mac[4] = low >> 8;
    mac[5] = low;
}

/* ---- Queues ---- */

NetQueue *net_backend_queue(NetBackend *b, unsigned index)
{
    return index < b->queue_count ? &b->queues[index] : NULL;
}

static void queue_start(void *opaque)
{
    NetQueue *q = opaque;
    q->backend->cls->start(q);
}

void net_queue_start(NetQueue *q, EventLoop *loop)
{
    if (!q->loop) {
        q->loop = loop;
        trace_net_queue_start(q->backend->id, q->index);
        event_loop_call(loop, queue_start, q);
    }
}

static void queue_stop(void *opaque)
{
    NetQueue *q = opaque;
    q->backend->cls->stop(q);
}

void net_queue_stop(NetQueue *q)
{
    if (q->loop) {
        trace_net_queue_stop(q->backend->id, q->index);
        event_loop_call(q->loop, queue_stop, q);
        q->loop = NULL;
    }
}

void net_queue_resume(NetQueue *q)
{
    if (q->loop) {
        q->backend->cls->resume(q);
    }
}

NetSendResult net_queue_send(NetQueue *q, const struct iovec *iov, int iov_count, size_t size)
{
    if (!q->loop || !g_atomic_int_get(&q->backend->link_up)) {
        return NET_SEND_DROPPED;
    }
    NetSendResult result = q->backend->cls->send(q, iov, iov_count, size);
    trace_net_send(q->backend->id, q->index, size, result);
    return result;
}

bool net_queue_can_deliver(NetQueue *q)
{
    NetBackend *b = q->backend;
    return !g_atomic_int_get(&b->link_up) || b->nic_ops->can_receive(b->nic, q->index);
}

bool net_queue_deliver(NetQueue *q, const struct iovec *iov, int iov_count, size_t size)
{
    NetBackend *b = q->backend;
    bool taken = !g_atomic_int_get(&b->link_up) ||
                 b->nic_ops->receive(b->nic, q->index, iov, iov_count, size);
    trace_net_receive(b->id, q->index, size, taken);
    return taken;
}

void net_queue_send_ready(NetQueue *q)
{
    NetBackend *b = q->backend;
    trace_net_send_ready(b->id, q->index);
    if (b->nic_ops && b->nic_ops->send_ready) {
        b->nic_ops->send_ready(b->nic, q->index);
    }
}

size_t net_iov_gather(void *buf, size_t max, const struct iovec *iov, int iov_count)
{
    size_t done = 0;
    for (int i = 0; i < iov_count && done < max; i++) {
        size_t n = MIN(iov[i].iov_len, max - done);
        memcpy((char *)buf + done, iov[i].iov_base, n);
        done += n;
    }
    return done;
}
