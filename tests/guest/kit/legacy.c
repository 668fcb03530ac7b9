/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest kit's legacy virtio transport: the I/O BAR of a transitional PCI device (Virtio 1.2,
 * 4.1.4.10 and 2.7.2). */
#include "virtio.h"

#define LEGACY_DF       0
#define LEGACY_GF       4
#define LEGACY_Q_PFN    8
#define LEGACY_Q_SIZE   12
#define LEGACY_Q_SELECT 14
#define LEGACY_NOTIFY   16
#define LEGACY_STATUS   18
#define LEGACY_CONFIG   20

bool legacy_find(VirtioDev *dev, uint32_t id, uint32_t nth)
{
    static const uint16_t ids[] = {
        [VIRTIO_NET] = 0x1000, [VIRTIO_BLK] = 0x1001,     [VIRTIO_CONSOLE] = 0x1003,
        [VIRTIO_RNG] = 0x1005, [VIRTIO_BALLOON] = 0x1002,
    };
    int bdf = pci_find(0x1af4, ids[id], ids[id], nth);

    if (bdf < 0) {
        return false;
    }
    *dev = (VirtioDev){ .bdf = (Bdf)bdf, .id = id };
    dev->common = pci_bar_address(dev->bdf, 0);
    pci_enable(dev->bdf);
    return true;
}

void legacy_begin(VirtioDev *dev, uint64_t wanted)
{
    uint16_t port = (uint16_t)dev->common;

    outb(port + LEGACY_STATUS, 0);
    expect(inb(port + LEGACY_STATUS) == 0, "the device does not reset");
    outb(port + LEGACY_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    dev->features = inl(port + LEGACY_DF) & (uint32_t)wanted;
    outl(port + LEGACY_GF, (uint32_t)dev->features);
}

void legacy_queue_setup(VirtioDev *dev, VirtQueue *q, uint16_t index)
{
    uint16_t port = (uint16_t)dev->common;
    uint32_t before_used;
    uint8_t *memory;

    outw(port + LEGACY_Q_SELECT, index);
    *q = (VirtQueue){ .dev = dev, .index = index, .size = inw(port + LEGACY_Q_SIZE) };
    expect(q->size != 0 && (q->size & (q->size - 1)) == 0, "legacy queue size %u", q->size);
    before_used = (q->size * (uint32_t)sizeof(VringDesc) + 6 + 2u * q->size + 4095) & ~4095u;
    memory = page_alloc(before_used + 6 + 8u * q->size);
    q->desc = (VringDesc *)memory;
    q->avail = (volatile uint16_t *)(memory + q->size * sizeof(VringDesc));
    q->used = (volatile uint16_t *)(memory + before_used);
    outl(port + LEGACY_Q_PFN, (uint32_t)((uint64_t)memory >> 12));
    expect(inl(port + LEGACY_Q_PFN) == (uint64_t)memory >> 12, "the queue's page does not hold");
}

void legacy_driver_ok(VirtioDev *dev)
{
    outb((uint16_t)dev->common + LEGACY_STATUS,
         STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK);
}

void legacy_notify(VirtQueue *q)
{
    outw((uint16_t)q->dev->common + LEGACY_NOTIFY, q->index);
}

uint32_t legacy_config(VirtioDev *dev, uint32_t offset)
{
    return inl((uint16_t)(dev->common + LEGACY_CONFIG + offset));
}
