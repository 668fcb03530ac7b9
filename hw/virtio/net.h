/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-net (VIRTIO 1.2, 5.1): between its files. All queues of a device live in one loop, which
 * owns what has no other comment.
 */
#ifndef HW_VIRTIO_NET_H
#define HW_VIRTIO_NET_H

#include "hw/virtio/virtio.h"
#include "net/net.h"

enum {
    VIRTIO_NET_F_CSUM = 0,
    VIRTIO_NET_F_GUEST_CSUM = 1,
    VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2,
    VIRTIO_NET_F_MTU = 3,
    VIRTIO_NET_F_MAC = 5,
    VIRTIO_NET_F_GSO = 6,
    VIRTIO_NET_F_GUEST_TSO4 = 7,
    VIRTIO_NET_F_GUEST_TSO6 = 8,
    VIRTIO_NET_F_GUEST_ECN = 9,
    VIRTIO_NET_F_GUEST_UFO = 10,
    VIRTIO_NET_F_HOST_TSO4 = 11,
    VIRTIO_NET_F_HOST_TSO6 = 12,
    VIRTIO_NET_F_HOST_ECN = 13,
    VIRTIO_NET_F_HOST_UFO = 14,
    VIRTIO_NET_F_MRG_RXBUF = 15,
    VIRTIO_NET_F_STATUS = 16,
    VIRTIO_NET_F_CTRL_VQ = 17,
    VIRTIO_NET_F_CTRL_RX = 18,
    VIRTIO_NET_F_CTRL_VLAN = 19,
    VIRTIO_NET_F_CTRL_RX_EXTRA = 20,
    VIRTIO_NET_F_GUEST_ANNOUNCE = 21,
    VIRTIO_NET_F_MQ = 22,
    VIRTIO_NET_F_CTRL_MAC_ADDR = 23,
    VIRTIO_NET_F_SPEED_DUPLEX = 63,
};

/* struct virtio_net_config, by offset. */
enum {
    NET_CONFIG_MAC = 0,
    NET_CONFIG_STATUS = 6,
    NET_CONFIG_MAX_PAIRS = 8,
    NET_CONFIG_MTU = 10,
    NET_CONFIG_SPEED = 12,
    NET_CONFIG_DUPLEX = 16,
    NET_CONFIG_LEN = 17,
};

enum { NET_S_LINK_UP = 1, NET_S_ANNOUNCE = 2 };

#define NET_MAC_ENTRIES 64 /* of unicast and multicast together */
#define NET_MAX_PAIRS   256
#define NET_HDR_MAX     12
#define NET_HDR_BASIC   10 /* without num_buffers: legacy, no mergeable buffers */

/* What is let in (5.1.6.5). */
typedef struct NetFilter {
    bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
    bool unicast_overflow, multicast_overflow;
    uint32_t mac_count, unicast_count; /* unicast ones first */
    uint8_t macs[NET_MAC_ENTRIES * 6];
    uint8_t vlans[4096 / 8];
} NetFilter;

typedef struct NetPair {
    NetQueue *backend;
    VirtqRequest *tx_pending; /* sent when the back end can again */
} NetPair;

typedef struct VirtioNet {
    VirtioDevice vdev;
    /* properties */
    char *netdev, *iothread, *duplex;
    uint8_t mac[6];
    uint16_t rx_size, tx_size, host_mtu;
    int32_t speed, bootindex;
    bool csum, guest_csum, gso, guest_tso4, guest_tso6, guest_ecn, guest_ufo;
    bool host_tso4, host_tso6, host_ecn, host_ufo;
    bool mrg_rxbuf, status, ctrl_vq, ctrl_rx, ctrl_vlan, ctrl_rx_extra, ctrl_mac_addr;
    bool ctrl_guest_offloads, guest_announce, mq;
    /* as realized */
    NetBackend *backend;
    EventLoop *loop;
    bool has_iothread, vnet;
    unsigned max_pairs;
    NetPair *pairs;
    /* as the driver set it up; saved */
    uint16_t current_pairs;
    uint64_t guest_offloads;
    uint8_t filter_mac[6];
    NetFilter filter;
    /* since the start */
    uint8_t header_len;
    bool mergeable, started;
    bool announce; /* after a load */
} VirtioNet;

/* The queue's part in the play depends on VIRTIO_NET_F_MQ (5.1.2). */
static inline unsigned virtio_net_ctrl_index(const VirtioNet *net)
{
    return virtio_has_feature(&net->vdev, VIRTIO_NET_F_MQ) ? 2 * net->max_pairs : 2;
}

extern const NicOps virtio_net_nic_ops;

void virtio_net_handle_rx(VirtQueue *vq);
void virtio_net_handle_tx(VirtQueue *vq);
void virtio_net_handle_ctrl(VirtQueue *vq);
void virtio_net_set_pairs(VirtioNet *net,
                          unsigned pairs);      /* the loop; back-end queues on and off */
void virtio_net_apply_offloads(VirtioNet *net); /* the loop */
void virtio_net_filter_reset(VirtioNet *net);
bool virtio_net_filter_passes(const VirtioNet *net, const uint8_t *frame, size_t len);

#endif
