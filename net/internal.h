/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the network back ends share: a back end is a constant NetBackendClass and a struct that
 * begins with a NetBackend, whose queues run in the event loops of the NIC's queues.
 */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include "net/net.h"

#define NET_MAX_QUEUES 64

typedef struct NetBackendClass {
    const char *type;
    const char *desc;
    size_t size;                /* of the struct, which begins with a NetBackend */
    const char *const *options; /* keys besides type and id, NULL-terminated */
    /* Main thread. Makes the queues with net_backend_make_queues(). */
    bool (*open)(NetBackend *backend, Opts *options, GError **error);
    void (*close)(NetBackend *backend); /* undoes open, also a failed one */
    char *(*info)(NetBackend *backend); /* "net=10.0.2.0,restrict=off" */
    /* The queue's loop. */
    void (*start)(NetQueue *queue);
    void (*stop)(NetQueue *queue);
    void (*resume)(NetQueue *queue);
    NetSendResult (*send)(NetQueue *queue, const struct iovec *iov, int iov_count, size_t size);
    /* virtio-net headers; NULL: never. */
    bool (*has_vnet_header)(const NetBackend *backend);
    void (*set_vnet_header)(NetBackend *backend, unsigned header_len);
    bool (*has_ufo)(const NetBackend *backend);
    void (*set_offload)(NetBackend *backend, bool csum, bool tso4, bool tso6, bool ecn, bool ufo);
} NetBackendClass;

struct NetQueue {
    NetBackend *backend;
    unsigned index;
    EventLoop *loop; /* NULL while stopped */
};

struct NetBackend {
    const NetBackendClass *cls;
    char *id;
    NetQueue *queues;
    unsigned queue_count;
    int link_up; /* atomic */
    char *nic_name;
    const NicOps *nic_ops; /* NULL: no NIC; set while the queues are stopped */
    void *nic;
};

extern const NetBackendClass net_user_class, net_tap_class, net_bridge_class;

void net_backend_make_queues(NetBackend *backend, unsigned count);

/* Gives a frame to the NIC. False: there is no room, keep it. Loop thread. */
bool net_queue_deliver(NetQueue *queue, const struct iovec *iov, int iov_count, size_t size);
bool net_queue_can_deliver(NetQueue *queue);
void net_queue_send_ready(NetQueue *queue);

/* Copies the parts to buf, at most max bytes; returns how many. */
size_t net_iov_gather(void *buf, size_t max, const struct iovec *iov, int iov_count);

#endif
