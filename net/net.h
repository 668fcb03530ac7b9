/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network back ends as NICs see them. A NetBackend ("netdev") carries Ethernet frames between a NIC
 * and the outside. It runs in the event loop of the NIC queue it is attached to: no packet crosses
 * a thread. Queue i of a multi-queue NIC has back-end queue i.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "vmm/cli/opts.h"
#include "vmm/error.h"
#include "vmm/event/loop.h"

typedef struct NetBackend NetBackend;
typedef struct NetQueue NetQueue;

#define NET_MAX_FRAME (64 * 1024 + 64)

/* What the NIC gives. All on the queue's loop. */
typedef struct NicOps {
    /* Whether receive would take a frame now. */
    bool (*can_receive)(void *nic, unsigned queue);
    /* A frame for the guest; with a virtio-net header of the agreed size in front when one is
     * agreed. Returns false when there is no room: the back end keeps it (or stops reading) until
     * net_queue_resume(). Consumed (true) also when dropped. */
    bool (*receive)(void *nic, unsigned queue, const struct iovec *iov, int iov_count, size_t size);
    /* A send that returned NET_SEND_BUSY can go on. */
    void (*send_ready)(void *nic, unsigned queue);
    void (*link_changed)(void *nic, bool up); /* main thread */
} NicOps;

typedef enum NetSendResult { NET_SENT, NET_SEND_BUSY, NET_SEND_DROPPED } NetSendResult;

/* ---- Making: main thread ---- */
NetBackend *net_backend_new(Opts *options,
                            GError **error); /* -netdev TYPE,id=ID,... / netdev_add */
bool net_backend_delete(const char *id, GError **error);
NetBackend *net_backend_find(const char *id);
const char *net_backend_id(const NetBackend *backend);
const char *net_backend_type(const NetBackend *backend);
char *net_backend_info(NetBackend *backend); /* `info network` text */
void net_backend_foreach(void (*fn)(NetBackend *backend, void *opaque), void *opaque);
void net_backend_types_foreach(void (*fn)(const char *type, void *opaque), void *opaque);
void net_backends_help(GString *out);
/* Says which back ends no NIC has: nothing comes or goes there. Main thread. */
void net_warn_unused(void);
void net_close_all(void);
unsigned net_backend_queues(const NetBackend *backend);
bool net_backend_set_link(const char *id, bool up, GError **error); /* set_link */

/* ---- Attaching a NIC: main thread ---- */
bool net_backend_attach(NetBackend *backend, const char *nic_name, const NicOps *ops, void *nic,
                        GError **error);
void net_backend_detach(NetBackend *backend); /* its queues are stopped */
bool net_backend_link_up(const NetBackend *backend);

/* Offloads: back ends that speak the virtio-net header (tap with vnet_hdr). Main thread, queues
 * stopped, or the queue's loop. */
bool net_backend_has_vnet_header(const NetBackend *backend);
void net_backend_set_vnet_header(NetBackend *backend,
                                 unsigned header_len); /* 0: frames come and go bare; 10 or 12 */
bool net_backend_has_ufo(const NetBackend *backend);
void net_backend_set_offload(NetBackend *backend, bool csum, bool tso4, bool tso6, bool ecn,
                             bool ufo);

/* ---- Queues ---- */
NetQueue *net_backend_queue(NetBackend *backend, unsigned index);
/* Starts and stops reading in the loop. Stop returns when no callback runs any more: main thread,
 * or the loop. */
void net_queue_start(NetQueue *queue, EventLoop *loop);
void net_queue_stop(NetQueue *queue);
/* The NIC has receive buffers again. Loop thread. */
void net_queue_resume(NetQueue *queue);
/* One frame. NET_SEND_BUSY: not taken, send_ready comes. Loop thread. */
NetSendResult net_queue_send(NetQueue *queue, const struct iovec *iov, int iov_count, size_t size);

/* user back end: `hostfwd_add`, `hostfwd_remove` of the human monitor. Main thread. */
bool net_user_hostfwd_add(NetBackend *backend, const char *rule, GError **error);
bool net_user_hostfwd_remove(NetBackend *backend, const char *rule, GError **error);
/* libslirp's table of connections and forwarded ports, a line each; NULL when the back end is no
 * user network. The caller frees. Main thread. */
char *net_user_connections(NetBackend *backend);

/* -nic / -net user,model=..: a default MAC, 52:54:00:12:34:56 upwards. Main thread. */
void net_default_mac(uint8_t mac[6]);

#endif
