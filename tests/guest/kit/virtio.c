/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest kit's virtio transports: modern PCI and MMIO (Virtio 1.2, 4.1 and 4.2). */
#include "virtio.h"

#define MMIO_BASE   0xfeb00000u
#define MMIO_STRIDE 512
#define MMIO_SLOTS  24

/* PCI common configuration. */
#define COMMON_DFSELECT 0
#define COMMON_DF       4
#define COMMON_GFSELECT 8
#define COMMON_GF       12
#define COMMON_STATUS   20
#define COMMON_Q_SELECT 22
#define COMMON_Q_SIZE   24
#define COMMON_Q_VECTOR 26
#define COMMON_Q_ENABLE 28
#define COMMON_Q_NOFF   30
#define COMMON_Q_DESC   32

/* MMIO registers. */
#define MMIO_DEVICE_ID 0x08
#define MMIO_DF        0x10
#define MMIO_DFSELECT  0x14
#define MMIO_GF        0x20
#define MMIO_GFSELECT  0x24
#define MMIO_Q_SELECT  0x30
#define MMIO_Q_MAX     0x34
#define MMIO_Q_SIZE    0x38
#define MMIO_Q_READY   0x44
#define MMIO_NOTIFY    0x50
#define MMIO_STATUS    0x70
#define MMIO_Q_DESC    0x80
#define MMIO_CONFIG    0x100

static bool find_mmio(VirtioDev *dev, uint32_t id, uint32_t nth)
{
    for (uint32_t i = 0; i < MMIO_SLOTS; i++) {
        uint64_t at = MMIO_BASE + i * MMIO_STRIDE;

        if (read32(at) != 0x74726976 || read32(at + 4) != 2) {
            continue;
        }
        if (read32(at + MMIO_DEVICE_ID) == id && nth-- == 0) {
            *dev = (VirtioDev){ .is_mmio = true,
                                .id = id,
                                .common = at,
                                .notify = at + MMIO_NOTIFY,
                                .config = at + MMIO_CONFIG };
            return true;
        }
    }
    return false;
}

static void read_capabilities(VirtioDev *dev)
{
    uint8_t cap;

    for (uint32_t i = 0; (cap = pci_capability(dev->bdf, 9, i)) != 0; i++) {
        uint8_t type = pci_read8(dev->bdf, cap + 3u), bar = pci_read8(dev->bdf, cap + 4u);
        uint64_t at;

        if (type < 1 || type > 4 || bar > 5) {
            continue;
        }
        at = pci_bar_address(dev->bdf, bar) + pci_read32(dev->bdf, cap + 8u);
        if (type == 1 && dev->common == 0) {
            dev->common = at;
        } else if (type == 2 && dev->notify == 0) {
            dev->notify = at;
            dev->notify_multiplier = pci_read32(dev->bdf, cap + 16u);
        } else if (type == 3 && dev->isr == 0) {
            dev->isr = at;
        } else if (type == 4 && dev->config == 0) {
            dev->config = at;
        }
    }
}

static bool find_pci(VirtioDev *dev, uint32_t id, uint32_t nth)
{
    static const uint16_t transitional[] = {
        [VIRTIO_NET] = 0x1000, [VIRTIO_BLK] = 0x1001,     [VIRTIO_CONSOLE] = 0x1003,
        [VIRTIO_RNG] = 0x1005, [VIRTIO_BALLOON] = 0x1002,
    };
    int bdf = pci_find(0x1af4, (uint16_t)(0x1040 + id), (uint16_t)(0x1040 + id), nth);

    if (bdf < 0 && id < ARRAY_LEN(transitional) && transitional[id] != 0) {
        bdf = pci_find(0x1af4, transitional[id], transitional[id], nth);
    }
    if (bdf < 0) {
        return false;
    }
    *dev = (VirtioDev){ .bdf = (Bdf)bdf, .id = id };
    read_capabilities(dev);
    pci_enable(dev->bdf);
    return dev->common != 0 && dev->notify != 0;
}

bool virtio_find(VirtioDev *dev, uint32_t id, uint32_t nth)
{
    return find_pci(dev, id, nth) || find_mmio(dev, id, nth);
}

uint8_t virtio_status(VirtioDev *dev)
{
    return dev->is_mmio ? (uint8_t)read32(dev->common + MMIO_STATUS)
                        : read8(dev->common + COMMON_STATUS);
}

void virtio_set_status(VirtioDev *dev, uint8_t status)
{
    if (dev->is_mmio) {
        write32(dev->common + MMIO_STATUS, status);
    } else {
        write8(dev->common + COMMON_STATUS, status);
    }
}

void virtio_reset(VirtioDev *dev)
{
    virtio_set_status(dev, 0);
    for (uint32_t i = 0; i < 1000000 && virtio_status(dev) != 0; i++) {
    }
    expect(virtio_status(dev) == 0, "virtio device %u does not reset", dev->id);
}

uint64_t virtio_device_features(VirtioDev *dev)
{
    uint64_t low, high;
    uint32_t select = dev->is_mmio ? MMIO_DFSELECT : COMMON_DFSELECT;
    uint32_t value = dev->is_mmio ? MMIO_DF : COMMON_DF;

    write32(dev->common + select, 0);
    low = read32(dev->common + value);
    write32(dev->common + select, 1);
    high = read32(dev->common + value);
    return high << 32 | low;
}

void virtio_begin(VirtioDev *dev, uint64_t wanted)
{
    uint32_t select = dev->is_mmio ? MMIO_GFSELECT : COMMON_GFSELECT;
    uint32_t value = dev->is_mmio ? MMIO_GF : COMMON_GF;

    virtio_reset(dev);
    virtio_set_status(dev, STATUS_ACKNOWLEDGE);
    virtio_set_status(dev, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    dev->features = virtio_device_features(dev) & (wanted | F_VERSION_1);
    write32(dev->common + select, 0);
    write32(dev->common + value, (uint32_t)dev->features);
    write32(dev->common + select, 1);
    write32(dev->common + value, (uint32_t)(dev->features >> 32));
    virtio_set_status(dev, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    expect(virtio_status(dev) & STATUS_FEATURES_OK, "virtio device %u refuses features %lx",
           dev->id, dev->features);
}

void virtio_driver_ok(VirtioDev *dev)
{
    virtio_set_status(dev,
                      STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
}

static void select_queue(VirtioDev *dev, uint16_t index)
{
    if (dev->is_mmio) {
        write32(dev->common + MMIO_Q_SELECT, index);
    } else {
        write16(dev->common + COMMON_Q_SELECT, index);
    }
}

uint16_t virtio_queue_max(VirtioDev *dev, uint16_t index)
{
    select_queue(dev, index);
    return dev->is_mmio ? (uint16_t)read32(dev->common + MMIO_Q_MAX)
                        : read16(dev->common + COMMON_Q_SIZE);
}

static void write_address(uint64_t at, const volatile void *p)
{
    write32(at, (uint32_t)(uint64_t)p);
    write32(at + 4, (uint32_t)((uint64_t)p >> 32));
}

static void queue_program(VirtQueue *q)
{
    uint64_t base = q->dev->common;

    if (q->dev->is_mmio) {
        write32(base + MMIO_Q_SIZE, q->size);
        write_address(base + MMIO_Q_DESC, q->desc);
        write_address(base + MMIO_Q_DESC + 16, q->avail);
        write_address(base + MMIO_Q_DESC + 32, q->used);
        write32(base + MMIO_Q_READY, 1);
        q->doorbell = q->dev->notify;
        return;
    }
    write16(base + COMMON_Q_SIZE, q->size);
    write_address(base + COMMON_Q_DESC, q->desc);
    write_address(base + COMMON_Q_DESC + 8, q->avail);
    write_address(base + COMMON_Q_DESC + 16, q->used);
    write16(base + COMMON_Q_ENABLE, 1);
    q->doorbell =
        q->dev->notify + (uint64_t)read16(base + COMMON_Q_NOFF) * q->dev->notify_multiplier;
}

void virtio_queue_setup(VirtioDev *dev, VirtQueue *q, uint16_t index, uint16_t max_size)
{
    uint16_t size = virtio_queue_max(dev, index);

    expect(size != 0, "virtio device %u has no queue %u", dev->id, index);
    *q = (VirtQueue){ .dev = dev, .index = index, .size = size > max_size ? max_size : size };
    q->packed = dev->features & F_PACKED;
    q->wrap = q->used_wrap = true;
    q->desc = page_alloc(q->size * sizeof(VringDesc));
    q->avail = page_alloc(6 + 2u * q->size);
    q->used = page_alloc(6 + 8u * q->size);
    select_queue(dev, index);
    queue_program(q);
}

void virtio_queue_restart(VirtQueue *q)
{
    q->avail_idx = q->used_idx = 0;
    q->wrap = q->used_wrap = true;
    memset(q->desc, 0, q->size * sizeof(VringDesc));
    memset((void *)q->avail, 0, 6 + 2u * q->size);
    memset((void *)q->used, 0, 6 + 8u * q->size);
    select_queue(q->dev, q->index);
    queue_program(q);
}

void virtio_queue_vector(VirtQueue *q, uint16_t entry)
{
    select_queue(q->dev, q->index);
    if (!q->dev->is_mmio) {
        write16(q->dev->common + COMMON_Q_VECTOR, entry);
        expect(read16(q->dev->common + COMMON_Q_VECTOR) == entry, "queue vector %u refused", entry);
    }
}
