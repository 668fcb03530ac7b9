/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net (VIRTIO 1.2, 5.1): properties, features, configuration, life. */
#include "hw/virtio/net.h"

#include <string.h>
#include "hw/devices.h"
#include "hw/virtio/mmio.h"
#include "hw/virtio/pci.h"
#include "vmm/object/iothread.h"
#include "vmm/util/bytes.h"

#define CTRL_SIZE      64
#define SPEED_UNKNOWN  (-1)
#define DUPLEX_UNKNOWN 0xff

#define NET_BOOL(name, field, desc) PROP_BOOL(name, VirtioNet, field, true, desc)

static const Property virtio_net_props[] = {
    PROP_REF("netdev", VirtioNet, netdev, "netdev", "The network back end"),
    PROP_MAC("mac", VirtioNet, mac,
             "Ethernet address; 52:54:00:12:34:56 and up when none is given"),
    PROP_REF("iothread", VirtioNet, iothread, "iothread", "The I/O thread of all queues"),
    PROP_RANGE_U16("rx_queue_size", VirtioNet, rx_size, 256, 64, VIRTQ_MAX_SIZE,
                   "Entries of a receive queue, a power of two"),
    PROP_RANGE_U16("tx_queue_size", VirtioNet, tx_size, 256, 64, VIRTQ_MAX_SIZE,
                   "Entries of a transmit queue, a power of two"),
    PROP_U16("host_mtu", VirtioNet, host_mtu, 0, "MTU told to the driver; 0: none"),
    PROP_I32("speed", VirtioNet, speed, SPEED_UNKNOWN, "Link speed in Mb/s; -1: unknown"),
    PROP_I32("bootindex", VirtioNet, bootindex, -1,
             "Place in the firmware's boot order, the least first; -1: none"),
    PROP_STRING("duplex", VirtioNet, duplex, NULL, "\"half\" or \"full\""),
    NET_BOOL("csum", csum, "Complete checksums of sent packets"),
    NET_BOOL("guest_csum", guest_csum, "Receive packets with partial checksums"),
    NET_BOOL("gso", gso, "Legacy: send segments of any kind"),
    NET_BOOL("guest_tso4", guest_tso4, "Receive large TCP/IPv4 segments"),
    NET_BOOL("guest_tso6", guest_tso6, "Receive large TCP/IPv6 segments"),
    NET_BOOL("guest_ecn", guest_ecn, "Receive large segments with ECN"),
    NET_BOOL("guest_ufo", guest_ufo, "Receive large UDP datagrams"),
    NET_BOOL("host_tso4", host_tso4, "Send large TCP/IPv4 segments"),
    NET_BOOL("host_tso6", host_tso6, "Send large TCP/IPv6 segments"),
    NET_BOOL("host_ecn", host_ecn, "Send large segments with ECN"),
    NET_BOOL("host_ufo", host_ufo, "Send large UDP datagrams"),
    NET_BOOL("mrg_rxbuf", mrg_rxbuf, "Receive into several buffers"),
    NET_BOOL("status", status, "Tell the link's state"),
    NET_BOOL("ctrl_vq", ctrl_vq, "Offer the control queue"),
    NET_BOOL("ctrl_rx", ctrl_rx, "Control: receive modes"),
    NET_BOOL("ctrl_vlan", ctrl_vlan, "Control: VLAN filter"),
    NET_BOOL("ctrl_rx_extra", ctrl_rx_extra, "Control: more receive modes"),
    NET_BOOL("ctrl_mac_addr", ctrl_mac_addr, "Control: set the address"),
    NET_BOOL("ctrl_guest_offloads", ctrl_guest_offloads, "Control: receive offloads"),
    NET_BOOL("guest_announce", guest_announce, "Let the driver announce itself after a move"),
    NET_BOOL("mq", mq, "Use all queues of the back end"),
    PROP_END,
};

/* ---- Offloads and queue pairs; the loop ---- */

static uint64_t offload_mask(void)
{
    return VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) |
           VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_ECN) |
           VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_UFO);
}

static bool offload(const VirtioNet *net, unsigned bit)
{
    return net->guest_offloads >> bit & 1;
}

void virtio_net_apply_offloads(VirtioNet *net)
{
    if (net->vnet) {
        bool csum = offload(net, VIRTIO_NET_F_GUEST_CSUM);
        net_backend_set_offload(net->backend, csum, csum && offload(net, VIRTIO_NET_F_GUEST_TSO4),
                                csum && offload(net, VIRTIO_NET_F_GUEST_TSO6),
                                csum && offload(net, VIRTIO_NET_F_GUEST_ECN),
                                csum && offload(net, VIRTIO_NET_F_GUEST_UFO));
    }
}

void virtio_net_set_pairs(VirtioNet *net, unsigned pairs)
{
    net->current_pairs = pairs;
    for (unsigned i = 0; net->started && i < net->max_pairs; i++) {
        NetPair *pair = &net->pairs[i];
        NetQueue *queue = net_backend_queue(net->backend, i);
        if (i < pairs && !pair->backend) {
            pair->backend = queue;
            net_queue_start(queue, net->loop);
        } else if (i >= pairs && pair->backend) {
            pair->backend = NULL;
            net_queue_stop(queue);
        } else {
            continue;
        }
        /* A packet that waits for the back end goes out now, or is dropped. */
        virtq_unblock(&net->vdev.queues[2 * i + 1]);
    }
}

static void start_in_loop(void *opaque)
{
    VirtioNet *net = opaque;
    net->started = true;
    if (net->vnet) {
        net_backend_set_vnet_header(net->backend, net->header_len);
    }
    virtio_net_apply_offloads(net);
    virtio_net_set_pairs(net, net->current_pairs);
}

static void stop_in_loop(void *opaque)
{
    VirtioNet *net = opaque;
    unsigned pairs = net->current_pairs;
    virtio_net_set_pairs(net, 0);
    net->current_pairs = pairs;
    net->started = false;
}

/* ---- Driver's start, stop and reset ---- */

static void handle_queue(VirtQueue *vq)
{
    const VirtioNet *net = (const VirtioNet *)vq->vdev;
    if (vq->index == virtio_net_ctrl_index(net)) {
        virtio_net_handle_ctrl(vq);
    } else if (vq->index / 2 >= net->max_pairs) {
        virtio_device_broken(vq->vdev, "queue %u is not in use", vq->index);
    } else if (vq->index & 1) {
        virtio_net_handle_tx(vq);
    } else {
        virtio_net_handle_rx(vq);
    }
}

static void set_status_bits(VirtioNet *net, uint16_t set, bool notify)
{
    uint8_t status[2];
    virtio_config_get(&net->vdev, NET_CONFIG_STATUS, status, 2);
    store_le16(status, load_le16(status) | set);
    virtio_config_set(&net->vdev, NET_CONFIG_STATUS, status, 2, notify);
}

static void net_start(VirtioDevice *vdev)
{
    VirtioNet *net = (VirtioNet *)vdev;
    net->mergeable = virtio_has_feature(vdev, VIRTIO_NET_F_MRG_RXBUF);
    net->header_len = net->mergeable || virtio_has_feature(vdev, VIRTIO_F_VERSION_1)
                          ? NET_HDR_MAX
                          : NET_HDR_BASIC;
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        vdev->queues[i].manual = !(i & 1) && i != virtio_net_ctrl_index(net);
    }
    event_loop_call(net->loop, start_in_loop, net);
    if (net->announce && virtio_has_feature(vdev, VIRTIO_NET_F_GUEST_ANNOUNCE)) {
        set_status_bits(net, NET_S_ANNOUNCE, true);
    }
    net->announce = false;
}

static void net_stop(VirtioDevice *vdev)
{
    VirtioNet *net = (VirtioNet *)vdev;
    event_loop_call(net->loop, stop_in_loop, net);
}

static bool net_features_ok(VirtioDevice *vdev, uint64_t features)
{
    VirtioNet *net = (VirtioNet *)vdev;
    net->guest_offloads = features & offload_mask();
    virtio_net_filter_reset(net);
    return true;
}

static void net_reset(VirtioDevice *vdev)
{
    VirtioNet *net = (VirtioNet *)vdev;
    net->current_pairs = 1;
    net->guest_offloads = 0;
    net->announce = false;
    for (unsigned i = 0; i < net->max_pairs; i++) {
        net->pairs[i].tx_pending = NULL;
    }
    memcpy(net->filter_mac, net->mac, 6);
    virtio_config_set(vdev, NET_CONFIG_MAC, net->mac, 6, false);
    virtio_net_filter_reset(net);
}

/* Drivers without the control command write the address here. */
static void net_config_written(VirtioDevice *vdev, uint32_t offset, uint32_t len)
{
    VirtioNet *net = (VirtioNet *)vdev;
    if (virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
        virtio_config_set(vdev, NET_CONFIG_MAC, net->filter_mac, 6, false);
    } else {
        virtio_config_get(vdev, NET_CONFIG_MAC, net->filter_mac, 6);
    }
}

/* ---- Realize ---- */

static uint64_t feature_if(bool on, unsigned bit)
{
    return on ? VIRTIO_FEATURE(bit) : 0;
}

static uint64_t offload_features(const VirtioNet *net)
{
    bool ufo = net_backend_has_ufo(net->backend);
    return feature_if(net->csum, VIRTIO_NET_F_CSUM) | feature_if(net->gso, VIRTIO_NET_F_GSO) |
           feature_if(net->guest_csum, VIRTIO_NET_F_GUEST_CSUM) |
           feature_if(net->guest_tso4, VIRTIO_NET_F_GUEST_TSO4) |
           feature_if(net->guest_tso6, VIRTIO_NET_F_GUEST_TSO6) |
           feature_if(net->guest_ecn, VIRTIO_NET_F_GUEST_ECN) |
           feature_if(net->guest_ufo && ufo, VIRTIO_NET_F_GUEST_UFO) |
           feature_if(net->host_tso4, VIRTIO_NET_F_HOST_TSO4) |
           feature_if(net->host_tso6, VIRTIO_NET_F_HOST_TSO6) |
           feature_if(net->host_ecn, VIRTIO_NET_F_HOST_ECN) |
           feature_if(net->host_ufo && ufo, VIRTIO_NET_F_HOST_UFO) |
           feature_if(net->ctrl_vq && net->ctrl_guest_offloads, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
}

static uint64_t device_features(const VirtioNet *net)
{
    bool ctrl = net->ctrl_vq;
    return VIRTIO_FEATURE(VIRTIO_NET_F_MAC) | feature_if(net->mrg_rxbuf, VIRTIO_NET_F_MRG_RXBUF) |
           feature_if(net->status, VIRTIO_NET_F_STATUS) | feature_if(ctrl, VIRTIO_NET_F_CTRL_VQ) |
           feature_if(ctrl && net->ctrl_rx, VIRTIO_NET_F_CTRL_RX) |
           feature_if(ctrl && net->ctrl_vlan, VIRTIO_NET_F_CTRL_VLAN) |
           feature_if(ctrl && net->ctrl_rx_extra, VIRTIO_NET_F_CTRL_RX_EXTRA) |
           feature_if(ctrl && net->ctrl_mac_addr, VIRTIO_NET_F_CTRL_MAC_ADDR) |
           feature_if(ctrl && net->status && net->guest_announce, VIRTIO_NET_F_GUEST_ANNOUNCE) |
           feature_if(ctrl && net->max_pairs > 1, VIRTIO_NET_F_MQ) |
           feature_if(net->host_mtu, VIRTIO_NET_F_MTU) |
           feature_if(net->speed != SPEED_UNKNOWN || net->duplex, VIRTIO_NET_F_SPEED_DUPLEX);
}

static bool fill_config(VirtioNet *net, GError **error)
{
    uint8_t *config = net->vdev.config;
    config[NET_CONFIG_DUPLEX] = DUPLEX_UNKNOWN;
    if (net->duplex && !strcmp(net->duplex, "half")) {
        config[NET_CONFIG_DUPLEX] = 0;
    } else if (net->duplex && !strcmp(net->duplex, "full")) {
        config[NET_CONFIG_DUPLEX] = 1;
    } else if (net->duplex) {
        return error_set(error, "duplex=%s is neither half nor full", net->duplex);
    }
    if (net->speed < SPEED_UNKNOWN) {
        return error_set(error, "speed=%d is not a speed", net->speed);
    }
    if (net->host_mtu && net->host_mtu < 68) {
        return error_set(error, "host_mtu=%u is below 68", net->host_mtu);
    }
    memcpy(config + NET_CONFIG_MAC, net->mac, 6);
    store_le16(config + NET_CONFIG_STATUS, net_backend_link_up(net->backend) ? NET_S_LINK_UP : 0);
    store_le16(config + NET_CONFIG_MAX_PAIRS, net->max_pairs);
    store_le16(config + NET_CONFIG_MTU, net->host_mtu);
    store_le32(config + NET_CONFIG_SPEED, net->speed);
    return true;
}

static bool check_props(VirtioNet *net, GError **error)
{
    static const uint8_t unset[6];
    if (!net->netdev) {
        return error_set(error, "no back end is named: give netdev=ID");
    }
    if ((net->rx_size & (net->rx_size - 1)) || (net->tx_size & (net->tx_size - 1))) {
        return error_set(error, "rx_queue_size=%u and tx_queue_size=%u must be powers of two",
                         net->rx_size, net->tx_size);
    }
    if (!memcmp(net->mac, unset, 6)) {
        net_default_mac(net->mac);
    } else if (net->mac[0] & 1) {
        return error_set(error, "mac=%02x:... is a multicast address", net->mac[0]);
    }
    return true;
}

static bool attach(VirtioNet *net, GError **error)
{
    net->backend = net_backend_find(net->netdev);
    if (!net->backend) {
        return error_set(error, "there is no netdev '%s'; make it with -netdev TYPE,id=%s",
                         net->netdev, net->netdev);
    }
    const char *id = net->vdev.dev->id;
    if (!net_backend_attach(net->backend, id ? id : "virtio-net", &virtio_net_nic_ops, net,
                            error)) {
        net->backend = NULL;
        return false;
    }
    net->vnet = net_backend_has_vnet_header(net->backend);
    net->max_pairs = net->mq ? CLAMP(net_backend_queues(net->backend), 1, NET_MAX_PAIRS) : 1;
    net->pairs = g_new0(NetPair, net->max_pairs);
    return true;
}

static bool make_queues(VirtioNet *net, GError **error)
{
    net->loop = net->iothread ? iothread_claim(net->iothread, error)
                              : machine_io_loop(net->vdev.dev->machine, error);
    net->has_iothread = net->loop && net->iothread;
    unsigned count = 2 * net->max_pairs + net->ctrl_vq;
    virtio_queues_new(&net->vdev, count);
    for (unsigned i = 0; net->loop && i < count; i++) {
        unsigned size = i == 2 * net->max_pairs ? CTRL_SIZE : i & 1 ? net->tx_size : net->rx_size;
        if (!virtio_queue_init(&net->vdev, i, size, sizeof(VirtqRequest), net->loop, handle_queue,
                               error)) {
            return false;
        }
    }
    return net->loop != NULL;
}

static void net_unrealize(VirtioDevice *vdev)
{
    VirtioNet *net = (VirtioNet *)vdev;
    if (net->backend) {
        net_backend_detach(net->backend);
        net->backend = NULL;
    }
    if (net->has_iothread) {
        iothread_release(net->iothread);
        net->has_iothread = false;
    }
    g_clear_pointer(&net->pairs, g_free);
}

static bool net_realize(VirtioDevice *vdev, GError **error)
{
    VirtioNet *net = (VirtioNet *)vdev;
    if (!check_props(net, error) || !attach(net, error) || !fill_config(net, error) ||
        !make_queues(net, error)) {
        net_unrealize(vdev);
        return false;
    }
    vdev->host_features |= device_features(net) | (net->vnet ? offload_features(net) : 0);
    net_reset(vdev);
    return true;
}

static const VirtioDeviceClass virtio_net = {
    .name = "virtio-net",
    .id = VIRTIO_ID_NET,
    .legacy_pci_id = 0x1000,
    .pci_class = 0x020000,
    .romfile = "efi-virtio.rom",
    .firmware_unit = "ethernet-phy@0",
    .config_len = NET_CONFIG_LEN,
    .realize = net_realize,
    .unrealize = net_unrealize,
    .features_ok = net_features_ok,
    .start = net_start,
    .stop = net_stop,
    .reset = net_reset,
    .config_written = net_config_written,
    .config_write_start = NET_CONFIG_MAC,
    .config_write_len = 6,
};

/* ---- State ---- */

static bool net_post_load(void *base, uint16_t version, GError **error)
{
    VirtioNet *net = base;
    const NetFilter *filter = &net->filter;
    if (net->current_pairs < 1 || net->current_pairs > net->max_pairs ||
        filter->mac_count > NET_MAC_ENTRIES || filter->unicast_count > filter->mac_count) {
        return error_set(error, "virtio-net: %u queue pairs or %u addresses saved do not fit",
                         net->current_pairs, filter->mac_count);
    }
    net->guest_offloads &= net->vdev.guest_features & offload_mask();
    net->announce = true;
    return true;
}

static const StateField filter_fields[] = {
    STATE_BOOL(NetFilter, promisc),
    STATE_BOOL(NetFilter, allmulti),
    STATE_BOOL(NetFilter, alluni),
    STATE_BOOL(NetFilter, nomulti),
    STATE_BOOL(NetFilter, nouni),
    STATE_BOOL(NetFilter, nobcast),
    STATE_BOOL(NetFilter, unicast_overflow),
    STATE_BOOL(NetFilter, multicast_overflow),
    STATE_INT(NetFilter, mac_count),
    STATE_INT(NetFilter, unicast_count),
    STATE_BUFFER(NetFilter, macs),
    STATE_BUFFER(NetFilter, vlans),
    STATE_END,
};

static const StateSection filter_state = { .name = "filter",
                                           .version = 1,
                                           .fields = filter_fields };

static const StateField virtio_net_fields[] = {
    STATE_STRUCT(VirtioNet, vdev, &virtio_device_state),
    STATE_INT(VirtioNet, current_pairs),
    STATE_INT(VirtioNet, guest_offloads),
    STATE_BUFFER(VirtioNet, filter_mac),
    STATE_STRUCT(VirtioNet, filter, &filter_state),
    STATE_END,
};

static const StateSection virtio_net_state = {
    .name = "virtio-net",
    .version = 1,
    .fields = virtio_net_fields,
    .post_load = net_post_load,
};

VIRTIO_PCI_CLASSES(virtio_net, "virtio-net", VirtioNet, &virtio_net, virtio_net_props,
                   &virtio_net_state, .desc = "Paravirtual network card (virtio 1.2)",
                   .category = DEVICE_CATEGORY_NETWORK);
VIRTIO_MMIO_CLASS(virtio_net, "virtio-net", VirtioNet, &virtio_net, virtio_net_props,
                  &virtio_net_state, .desc = "Paravirtual network card (virtio 1.2)",
                  .category = DEVICE_CATEGORY_NETWORK);
