/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device test kit: a modern virtio PCI driver and its queues (virtio 1.2, 2.7, 2.8, 4.1). */
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include "tests/device/libqtest.h"

static uint64_t common_read(QVirtio *dev, uint64_t offset, unsigned size)
{
    return qpci_read(dev->pci, dev->common.bar, dev->common.offset + offset, size);
}

static void common_write(QVirtio *dev, uint64_t offset, uint64_t value, unsigned size)
{
    qpci_write(dev->pci, dev->common.bar, dev->common.offset + offset, value, size);
}

static uint32_t cap_read(QVirtio *dev, uint8_t cap, unsigned offset, unsigned size)
{
    return qpci_config_read(dev->qts, dev->pci->bus, dev->pci->devfn, (uint16_t)(cap + offset),
                            size);
}

static void take_capability(QVirtio *dev, uint8_t cap)
{
    unsigned bar = cap_read(dev, cap, VIRTIO_PCI_CAP_BAR, 1);
    uint64_t offset = cap_read(dev, cap, VIRTIO_PCI_CAP_OFFSET, 4);
    switch (cap_read(dev, cap, VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
    case VIRTIO_PCI_CAP_COMMON_CFG:
        dev->common.bar = bar;
        dev->common.offset = offset;
        break;
    case VIRTIO_PCI_CAP_NOTIFY_CFG:
        dev->notify.bar = bar;
        dev->notify.offset = offset;
        dev->notify_multiplier = cap_read(dev, cap, VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
        break;
    case VIRTIO_PCI_CAP_ISR_CFG:
        dev->isr.bar = bar;
        dev->isr.offset = offset;
        break;
    case VIRTIO_PCI_CAP_DEVICE_CFG:
        dev->config.bar = bar;
        dev->config.offset = offset;
        break;
    default:
        break;
    }
}

QVirtio *qvirtio_new(QPci *pci)
{
    g_assert_nonnull(pci);
    QVirtio *dev = g_new0(QVirtio, 1);
    dev->pci = pci;
    dev->qts = pci->qts;
    uint8_t cap = 0;
    while ((cap = qpci_find_capability(pci, PCI_CAP_ID_VNDR, cap))) {
        take_capability(dev, cap);
    }
    return dev;
}

void qvirtio_free(QVirtio *dev)
{
    g_free(dev->pci);
    g_free(dev);
}

uint8_t qvirtio_status(QVirtio *dev)
{
    return (uint8_t)common_read(dev, VIRTIO_PCI_COMMON_STATUS, 1);
}

static void add_status(QVirtio *dev, uint8_t bits)
{
    common_write(dev, VIRTIO_PCI_COMMON_STATUS, qvirtio_status(dev) | bits, 1);
}

void qvirtio_reset(QVirtio *dev)
{
    common_write(dev, VIRTIO_PCI_COMMON_STATUS, 0, 1);
    while (qvirtio_status(dev)) {
    }
}

void qvirtio_negotiate(QVirtio *dev, uint64_t wanted)
{
    qvirtio_reset(dev);
    add_status(dev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    add_status(dev, VIRTIO_CONFIG_S_DRIVER);
    dev->features = 0;
    for (unsigned half = 0; half < 2; half++) {
        common_write(dev, VIRTIO_PCI_COMMON_DFSELECT, half, 4);
        dev->features |= common_read(dev, VIRTIO_PCI_COMMON_DF, 4) << (half * 32);
    }
    dev->features &= wanted | 1ULL << VIRTIO_F_VERSION_1;
    for (unsigned half = 0; half < 2; half++) {
        common_write(dev, VIRTIO_PCI_COMMON_GFSELECT, half, 4);
        common_write(dev, VIRTIO_PCI_COMMON_GF, (uint32_t)(dev->features >> (half * 32)), 4);
    }
    add_status(dev, VIRTIO_CONFIG_S_FEATURES_OK);
    g_assert_true(qvirtio_status(dev) & VIRTIO_CONFIG_S_FEATURES_OK);
}

void qvirtio_driver_ok(QVirtio *dev)
{
    add_status(dev, VIRTIO_CONFIG_S_DRIVER_OK);
}

uint64_t qvirtio_config(QVirtio *dev, uint64_t offset, unsigned size)
{
    return qpci_read(dev->pci, dev->config.bar, dev->config.offset + offset, size);
}

/* ---- Queues ---- */

static void write_address(QVirtio *dev, uint64_t low, uint64_t addr)
{
    common_write(dev, low, (uint32_t)addr, 4);
    common_write(dev, low + 4, addr >> 32, 4);
}

QVirtQueue *qvirtqueue_new(QVirtio *dev, unsigned index, uint16_t num, uint16_t msix_vector)
{
    QVirtQueue *vq = g_new0(QVirtQueue, 1);
    vq->dev = dev;
    vq->index = index;
    vq->num = num;
    vq->packed = dev->features >> VIRTIO_F_RING_PACKED & 1;
    vq->event_index = dev->features >> VIRTIO_RING_F_EVENT_IDX & 1;
    vq->indirect = dev->features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
    vq->avail_wrap = vq->used_wrap = true;
    g_assert_cmpuint(num, <=, G_N_ELEMENTS(vq->chain_len));
    vq->desc = qtest_alloc(dev->qts, num * 16ULL, 4096);
    vq->driver = qtest_alloc(dev->qts, 6 + num * 2ULL, 4096);
    vq->device = qtest_alloc(dev->qts, 6 + num * 8ULL, 4096);
    qtest_memset(dev->qts, vq->desc, 0, num * 16ULL);
    qtest_memset(dev->qts, vq->driver, 0, 6 + num * 2ULL);
    qtest_memset(dev->qts, vq->device, 0, 6 + num * 8ULL);
    common_write(dev, VIRTIO_PCI_COMMON_Q_SELECT, index, 2);
    g_assert_cmpuint(common_read(dev, VIRTIO_PCI_COMMON_Q_SIZE, 2), >=, num);
    common_write(dev, VIRTIO_PCI_COMMON_Q_SIZE, num, 2);
    common_write(dev, VIRTIO_PCI_COMMON_Q_MSIX, msix_vector, 2);
    write_address(dev, VIRTIO_PCI_COMMON_Q_DESCLO, vq->desc);
    write_address(dev, VIRTIO_PCI_COMMON_Q_AVAILLO, vq->driver);
    write_address(dev, VIRTIO_PCI_COMMON_Q_USEDLO, vq->device);
    vq->notify_offset = (uint16_t)common_read(dev, VIRTIO_PCI_COMMON_Q_NOFF, 2);
    common_write(dev, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
    return vq;
}

void qvirtqueue_free(QVirtQueue *vq)
{
    g_free(vq);
}

static uint16_t add_split(QVirtQueue *vq, const QBuffer *buffers, unsigned count)
{
    QTest *qts = vq->dev->qts;
    uint16_t head = vq->next_desc % vq->num;
    for (unsigned i = 0; i < count; i++) {
        uint16_t slot = vq->next_desc++ % vq->num;
        uint16_t flags = (uint16_t)((i + 1 < count ? VRING_DESC_F_NEXT : 0) |
                                    (buffers[i].write ? VRING_DESC_F_WRITE : 0));
        struct vring_desc desc = { .addr = buffers[i].addr,
                                   .len = buffers[i].len,
                                   .flags = flags,
                                   .next = vq->next_desc % vq->num };
        qtest_memwrite(qts, vq->desc + slot * 16ULL, &desc, sizeof(desc));
    }
    qtest_write(qts, vq->driver + 4 + vq->avail_idx % vq->num * 2ULL, head, 2);
    vq->avail_idx++;
    qtest_write(qts, vq->driver + 2, vq->avail_idx, 2);
    return head;
}

/* The first descriptor's flags are written last: they make the chain available. */
static uint16_t add_packed(QVirtQueue *vq, const QBuffer *buffers, unsigned count)
{
    QTest *qts = vq->dev->qts;
    uint16_t id = vq->next_desc;
    uint16_t first_flags = 0;
    for (unsigned i = 0; i < count; i++) {
        uint16_t flags = (uint16_t)((i + 1 < count ? VRING_DESC_F_NEXT : 0) |
                                    (buffers[i].write ? VRING_DESC_F_WRITE : 0) |
                                    (vq->avail_wrap ? 1 << VRING_PACKED_DESC_F_AVAIL
                                                    : 1 << VRING_PACKED_DESC_F_USED));
        struct vring_packed_desc desc = {
            .addr = buffers[i].addr, .len = buffers[i].len, .id = id, .flags = flags
        };
        if (i == 0) {
            first_flags = flags;
            qtest_memwrite(qts, vq->desc + vq->next_desc * 16ULL, &desc, 14);
        } else {
            qtest_memwrite(qts, vq->desc + vq->next_desc * 16ULL, &desc, sizeof(desc));
        }
        if (++vq->next_desc == vq->num) {
            vq->next_desc = 0;
            vq->avail_wrap = !vq->avail_wrap;
        }
    }
    qtest_write(qts, vq->desc + id * 16ULL + 14, first_flags, 2);
    return id;
}

uint16_t qvirtqueue_add(QVirtQueue *vq, const QBuffer *buffers, unsigned count)
{
    uint16_t id = vq->packed ? add_packed(vq, buffers, count) : add_split(vq, buffers, count);
    vq->chain_len[id] = (uint16_t)count;
    return id;
}

void qvirtqueue_kick(QVirtQueue *vq)
{
    QVirtio *dev = vq->dev;
    qpci_write(dev->pci, dev->notify.bar,
               dev->notify.offset + (uint64_t)vq->notify_offset * dev->notify_multiplier, vq->index,
               2);
}

static bool used_split(QVirtQueue *vq, uint16_t *id, uint32_t *len)
{
    QTest *qts = vq->dev->qts;
    if ((uint16_t)qtest_read(qts, vq->device + 2, 2) == vq->used_idx) {
        return false;
    }
    struct vring_used_elem elem;
    qtest_memread(qts, vq->device + 4 + vq->used_idx % vq->num * 8ULL, &elem, sizeof(elem));
    vq->used_idx++;
    if (vq->event_index) {
        qtest_write(qts, vq->driver + 4 + vq->num * 2ULL, vq->used_idx, 2);
    }
    *id = (uint16_t)elem.id;
    *len = elem.len;
    return true;
}

static bool used_packed(QVirtQueue *vq, uint16_t *id, uint32_t *len)
{
    struct vring_packed_desc desc;
    qtest_memread(vq->dev->qts, vq->desc + vq->used_idx * 16ULL, &desc, sizeof(desc));
    bool avail = desc.flags >> VRING_PACKED_DESC_F_AVAIL & 1;
    bool used = desc.flags >> VRING_PACKED_DESC_F_USED & 1;
    if (avail != used || used != vq->used_wrap) {
        return false;
    }
    *id = desc.id;
    *len = desc.len;
    vq->used_idx = (uint16_t)(vq->used_idx + vq->chain_len[desc.id % vq->num]);
    if (vq->used_idx >= vq->num) {
        vq->used_idx = (uint16_t)(vq->used_idx - vq->num);
        vq->used_wrap = !vq->used_wrap;
    }
    return true;
}

bool qvirtqueue_used(QVirtQueue *vq, uint16_t *id, uint32_t *len)
{
    return vq->packed ? used_packed(vq, id, len) : used_split(vq, id, len);
}

uint32_t qvirtqueue_wait(QVirtQueue *vq, uint16_t *id)
{
    uint16_t any;
    uint32_t len = 0;
    gint64 end = g_get_monotonic_time() + QTEST_TIMEOUT_MS * 1000LL;
    while (!qvirtqueue_used(vq, id ? id : &any, &len)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(200);
    }
    return len;
}
