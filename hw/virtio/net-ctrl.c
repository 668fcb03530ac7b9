/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-net: the control queue (VIRTIO 1.2, 5.1.6.5) and the receive filter it sets. */
#include <string.h>
#include "hw/virtio/net.h"
#include "hw/virtio/virtqueue-internal.h"
#include "vmm/util/bytes.h"

enum {
    CTRL_RX = 0,
    CTRL_MAC = 1,
    CTRL_VLAN = 2,
    CTRL_ANNOUNCE = 3,
    CTRL_MQ = 4,
    CTRL_GUEST_OFFLOADS = 5,
};

enum {
    RX_PROMISC = 0,
    RX_ALLMULTI = 1,
    RX_ALLUNI = 2,
    RX_NOMULTI = 3,
    RX_NOUNI = 4,
    RX_NOBCAST = 5,
};

enum { MAC_TABLE_SET = 0, MAC_ADDR_SET = 1 };
enum { VLAN_ADD = 0, VLAN_DEL = 1 };
enum { ACK_OK = 0, ACK_ERR = 1 };

#define ETHERTYPE_VLAN 0x8100

/* ---- The filter ---- */

void virtio_net_filter_reset(VirtioNet *net)
{
    NetFilter *filter = &net->filter;
    memset(filter, 0, sizeof(*filter));
    /* Drivers that know no control queue get everything. */
    filter->promisc = true;
    memset(filter->vlans, virtio_has_feature(&net->vdev, VIRTIO_NET_F_CTRL_VLAN) ? 0 : 0xff,
           sizeof(filter->vlans));
}

static bool vlan_passes(const VirtioNet *net, const uint8_t *frame, size_t len)
{
    if (len < 16 || load_be16(frame + 12) != ETHERTYPE_VLAN ||
        !virtio_has_feature(&net->vdev, VIRTIO_NET_F_CTRL_VLAN)) {
        return true;
    }
    unsigned vid = load_be16(frame + 14) & 0xfff;
    return net->filter.vlans[vid / 8] & 1 << vid % 8;
}

static bool in_table(const NetFilter *filter, const uint8_t *mac, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        if (!memcmp(filter->macs + 6 * i, mac, 6)) {
            return true;
        }
    }
    return false;
}

bool virtio_net_filter_passes(const VirtioNet *net, const uint8_t *frame, size_t len)
{
    static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    const NetFilter *filter = &net->filter;
    if (len < 6) {
        return false;
    }
    if (!vlan_passes(net, frame, len)) {
        return false;
    }
    if (filter->promisc) {
        return true;
    }
    if (frame[0] & 1) {
        if (!memcmp(frame, broadcast, 6)) {
            return !filter->nobcast;
        }
        return !filter->nomulti &&
               (filter->allmulti || filter->multicast_overflow ||
                in_table(filter, frame, filter->unicast_count, filter->mac_count));
    }
    return !filter->nouni &&
           (filter->alluni || filter->unicast_overflow || !memcmp(frame, net->filter_mac, 6) ||
            in_table(filter, frame, 0, filter->unicast_count));
}

/* ---- Commands ---- */

static bool take8(VirtqRequest *request, uint8_t *value)
{
    return request->out_bytes == 1 && virtq_read(request, value, 1);
}

static bool take16(VirtqRequest *request, uint16_t *value)
{
    return request->out_bytes == 2 && virtq_read(request, value, 2);
}

static bool ctrl_rx(VirtioNet *net, uint8_t command, VirtqRequest *request)
{
    bool *flags[] = {
        [RX_PROMISC] = &net->filter.promisc, [RX_ALLMULTI] = &net->filter.allmulti,
        [RX_ALLUNI] = &net->filter.alluni,   [RX_NOMULTI] = &net->filter.nomulti,
        [RX_NOUNI] = &net->filter.nouni,     [RX_NOBCAST] = &net->filter.nobcast,
    };
    unsigned bit = command <= RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX : VIRTIO_NET_F_CTRL_RX_EXTRA;
    uint8_t on;
    if (command >= G_N_ELEMENTS(flags) || !virtio_has_feature(&net->vdev, bit) ||
        !take8(request, &on)) {
        return false;
    }
    *flags[command] = on;
    return true;
}

/* One list of addresses into the table from *at on; too many: *overflow and none of them. */
static bool take_macs(VirtqRequest *request, NetFilter *filter, uint32_t *at, bool *overflow)
{
    uint32_t count;
    if (!virtq_read(request, &count, 4) || count > request->out_bytes / 6) {
        return false;
    }
    *overflow = count > NET_MAC_ENTRIES - *at;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t mac[6];
        if (!virtq_read(request, mac, 6)) {
            return false;
        }
        if (!*overflow) {
            memcpy(filter->macs + 6 * (*at)++, mac, 6);
        }
    }
    return true;
}

static bool ctrl_mac(VirtioNet *net, uint8_t command, VirtqRequest *request)
{
    if (command == MAC_ADDR_SET) {
        uint8_t mac[6];
        if (request->out_bytes != 6 ||
            !virtio_has_feature(&net->vdev, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
            !virtq_read(request, mac, 6)) {
            return false;
        }
        memcpy(net->filter_mac, mac, 6);
        virtio_config_set(&net->vdev, NET_CONFIG_MAC, mac, 6, false);
        return true;
    }
    if (command != MAC_TABLE_SET) {
        return false;
    }
    NetFilter filter = net->filter;
    uint32_t count = 0;
    if (!take_macs(request, &filter, &count, &filter.unicast_overflow)) {
        return false;
    }
    filter.unicast_count = count;
    if (!take_macs(request, &filter, &count, &filter.multicast_overflow) || request->out_bytes) {
        return false;
    }
    filter.mac_count = count;
    net->filter = filter;
    return true;
}

static bool ctrl_vlan(VirtioNet *net, uint8_t command, VirtqRequest *request)
{
    uint16_t vid;
    if (!virtio_has_feature(&net->vdev, VIRTIO_NET_F_CTRL_VLAN) || !take16(request, &vid) ||
        vid >= 4096) {
        return false;
    }
    if (command == VLAN_ADD) {
        net->filter.vlans[vid / 8] |= 1 << vid % 8;
    } else if (command == VLAN_DEL) {
        net->filter.vlans[vid / 8] &= ~(1 << vid % 8);
    } else {
        return false;
    }
    return true;
}

static bool ctrl_announce(VirtioNet *net, uint8_t command, VirtqRequest *request)
{
    uint8_t status[2];
    if (command != 0 || request->out_bytes) {
        return false;
    }
    virtio_config_get(&net->vdev, NET_CONFIG_STATUS, status, 2);
    store_le16(status, load_le16(status) & ~NET_S_ANNOUNCE);
    virtio_config_set(&net->vdev, NET_CONFIG_STATUS, status, 2, false);
    return true;
}

static bool ctrl_mq(VirtioNet *net, uint8_t command, VirtqRequest *request)
{
    uint16_t pairs;
    if (command != 0 || !virtio_has_feature(&net->vdev, VIRTIO_NET_F_MQ) ||
        !take16(request, &pairs) || pairs == 0 || pairs > net->max_pairs) {
        return false;
    }
    virtio_net_set_pairs(net, pairs);
    return true;
}

static bool ctrl_offloads(VirtioNet *net, uint8_t command, VirtqRequest *request)
{
    uint64_t offloads;
    if (command != 0 || !virtio_has_feature(&net->vdev, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
        request->out_bytes != 8 || !virtq_read(request, &offloads, 8) ||
        offloads & ~net->vdev.guest_features) {
        return false;
    }
    net->guest_offloads = offloads;
    virtio_net_apply_offloads(net);
    return true;
}

static bool run_command(VirtioNet *net, VirtqRequest *request)
{
    uint8_t header[2];
    if (!virtq_read(request, header, 2)) {
        return false;
    }
    switch (header[0]) {
    case CTRL_RX:
        return ctrl_rx(net, header[1], request);
    case CTRL_MAC:
        return ctrl_mac(net, header[1], request);
    case CTRL_VLAN:
        return ctrl_vlan(net, header[1], request);
    case CTRL_ANNOUNCE:
        return ctrl_announce(net, header[1], request);
    case CTRL_MQ:
        return ctrl_mq(net, header[1], request);
    case CTRL_GUEST_OFFLOADS:
        return ctrl_offloads(net, header[1], request);
    default:
        return false;
    }
}

void virtio_net_handle_ctrl(VirtQueue *vq)
{
    VirtqRequest *request;
    while ((request = virtq_pop(vq))) {
        uint8_t *ack = virtq_take_status(request);
        if (!ack || request->out_bytes < 2) {
            virtq_fault(vq, "a control command without its header or acknowledgement");
            virtq_request_free(request);
            return;
        }
        *ack = run_command((VirtioNet *)vq->vdev, request) ? ACK_OK : ACK_ERR;
        virtq_push(request, 1);
    }
}
