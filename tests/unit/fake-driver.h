/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio driver's side of one queue, split or packed, in fake guest memory; and a virtio device
 * around it that does what a test tells it to. Everything runs on the main loop.
 */
#ifndef TESTS_UNIT_FAKE_DRIVER_H
#define TESTS_UNIT_FAKE_DRIVER_H

#include <string.h>
#include "hw/virtio/virtio.h"
#include "hw/virtio/virtqueue-internal.h"
#include "vmm/util/bytes.h"

#define RAM_SIZE   0x100000 /* of each of the two blocks, one behind the other */
#define RING_BASE  0x1000   /* descriptors; 64 KiB are enough for what tests use */
#define AVAIL_BASE 0x8000
#define USED_BASE  0xa000
#define TABLE_BASE 0xc000 /* indirect tables, one for each id */
#define DATA_BASE  0x40000

typedef struct Buffer {
    uint64_t addr;
    uint32_t len;
    bool write;
} Buffer;

typedef struct FakeDriver {
    AddressSpace *memory;
    RamBlock *ram[2];
    MemRegion region[2];
    Device dev;
    VirtioDevice vdev;
    unsigned interrupts, config_interrupts;
    /* ring position */
    bool packed;
    unsigned num;
    uint16_t next_desc, avail_idx, used_seen;
    bool avail_wrap, used_wrap;
    uint16_t next_id;
} FakeDriver;

static FakeDriver *fake_of(VirtioDevice *vdev)
{
    return container_of(vdev, FakeDriver, vdev);
}

static inline void fake_notify_queue(VirtioDevice *vdev, VirtQueue *vq)
{
    fake_of(vdev)->interrupts++;
}

static inline void fake_notify_config(VirtioDevice *vdev)
{
    fake_of(vdev)->config_interrupts++;
}

static inline void fake_transport_reset(VirtioDevice *vdev)
{
}

static const VirtioTransport fake_transport = {
    .notify_queue = fake_notify_queue,
    .notify_config = fake_notify_config,
    .reset = fake_transport_reset,
};

static inline bool fake_realize(VirtioDevice *vdev, GError **error)
{
    return true;
}

static const VirtioDeviceClass fake_virtio_class = { .name = "fake", .realize = fake_realize };
static const DeviceClass fake_device_class = { .name = "fake" };

static uint8_t *guest(FakeDriver *f, uint64_t addr)
{
    g_assert_cmphex(addr, <, 2 * RAM_SIZE);
    return f->ram[addr / RAM_SIZE]->host + addr % RAM_SIZE;
}

/* features: of the ring; num: entries; the handler is the device's. */
static inline FakeDriver *fake_new(uint64_t features, unsigned num, size_t request_size,
                                   VirtqHandler *handler)
{
    FakeDriver *f = g_new0(FakeDriver, 1);
    f->memory = address_space_new("memory", UINT64_MAX);
    for (int i = 0; i < 2; i++) {
        f->ram[i] = ram_block_new(i ? "high" : "low", &(RamOptions){ .size = RAM_SIZE }, NULL);
        mem_region_init_ram(&f->region[i], "ram", f->ram[i], 0, RAM_SIZE, false);
        address_space_map(f->memory, &f->region[i], i * RAM_SIZE, 0);
    }
    f->dev.cls = &fake_device_class;
    g_mutex_init(&f->dev.lock);
    VirtioDevice *vdev = &f->vdev;
    vdev->vclass = &fake_virtio_class;
    vdev->dev = &f->dev;
    vdev->transport = &fake_transport;
    vdev->memory = f->memory;
    g_mutex_init(&vdev->config_lock);
    g_mutex_init(&vdev->drain_lock);
    g_cond_init(&vdev->drain_cond);
    vdev->host_features = features | VIRTIO_FEATURE(VIRTIO_F_VERSION_1);
    virtio_queues_new(vdev, 1);
    g_assert_true(virtio_queue_init(vdev, 0, num, request_size, event_loop_main(), handler, NULL));
    virtio_set_dma_enabled(vdev, true);
    f->num = num;
    f->packed = features & VIRTIO_FEATURE(VIRTIO_F_RING_PACKED);
    f->avail_wrap = f->used_wrap = true;
    return f;
}

/* The driver's way up to DRIVER_OK; between, a test may change the queue. */
static inline void fake_negotiate(FakeDriver *f)
{
    VirtioDevice *vdev = &f->vdev;
    VirtQueue *vq = &vdev->queues[0];
    virtio_set_status(vdev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER);
    virtio_set_features(vdev, vdev->host_features, false);
    virtio_set_status(vdev, 3 | VIRTIO_STATUS_FEATURES_OK);
    g_assert_true(virtio_get_status(vdev) & VIRTIO_STATUS_FEATURES_OK);
    vq->desc_addr = RING_BASE;
    vq->avail_addr = AVAIL_BASE;
    vq->used_addr = USED_BASE;
    virtio_queue_enable(vq);
}

static inline void fake_start(FakeDriver *f)
{
    fake_negotiate(f);
    virtio_set_status(&f->vdev, 3 | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
}

static inline void fake_free(FakeDriver *f)
{
    virtio_device_quiesce(&f->vdev);
    virtq_cleanup(&f->vdev.queues[0]);
    g_free(f->vdev.queues);
    for (int i = 0; i < 2; i++) {
        address_space_unmap(&f->region[i]);
        mem_region_cleanup(&f->region[i]);
        ram_block_free(f->ram[i]);
    }
    address_space_free(f->memory);
    g_free(f);
}

/* Runs what the main loop has to run now. */
static void settle(void)
{
    for (int i = 0; i < 50; i++) {
        while (g_main_context_iteration(NULL, FALSE)) {
        }
    }
}

static VringDesc *split_desc(FakeDriver *f, unsigned i)
{
    return (VringDesc *)guest(f, RING_BASE) + i;
}

static VringAvail *split_avail(FakeDriver *f)
{
    return (VringAvail *)guest(f, AVAIL_BASE);
}

static VringUsed *split_used(FakeDriver *f)
{
    return (VringUsed *)guest(f, USED_BASE);
}

static VringPackedDesc *packed_desc(FakeDriver *f, unsigned i)
{
    return (VringPackedDesc *)guest(f, RING_BASE) + i;
}

/* Makes a head available that stands in the table already. Split. */
static void split_publish(FakeDriver *f, uint16_t head)
{
    VringAvail *avail = split_avail(f);
    avail->ring[f->avail_idx % f->num] = head;
    __atomic_store_n(&avail->idx, ++f->avail_idx, __ATOMIC_RELEASE);
}

static uint16_t split_add(FakeDriver *f, const Buffer *buffers, unsigned count)
{
    uint16_t head = f->next_desc;
    for (unsigned i = 0; i < count; i++) {
        uint16_t at = (head + i) % f->num;
        *split_desc(f, at) = (VringDesc){ .addr = buffers[i].addr,
                                          .len = buffers[i].len,
                                          .flags = (buffers[i].write ? VRING_DESC_WRITE : 0) |
                                                   (i + 1 < count ? VRING_DESC_NEXT : 0),
                                          .next = (at + 1) % f->num };
    }
    f->next_desc = (head + count) % f->num;
    split_publish(f, head);
    return head;
}

static void packed_put(FakeDriver *f, VringPackedDesc desc, bool first, uint16_t *first_flags)
{
    desc.flags |= f->avail_wrap ? VRING_PACKED_AVAIL : VRING_PACKED_USED;
    if (first) {
        *first_flags = desc.flags;
        desc.flags = packed_desc(f, f->avail_idx)->flags;
    }
    *packed_desc(f, f->avail_idx) = desc;
    if (++f->avail_idx == f->num) {
        f->avail_idx = 0;
        f->avail_wrap = !f->avail_wrap;
    }
}

static uint16_t packed_add(FakeDriver *f, const Buffer *buffers, unsigned count)
{
    uint16_t id = f->next_id++ % f->num;
    uint16_t first = f->avail_idx, first_flags = 0;
    for (unsigned i = 0; i < count; i++) {
        VringPackedDesc desc = { .addr = buffers[i].addr,
                                 .len = buffers[i].len,
                                 .id = id,
                                 .flags = (buffers[i].write ? VRING_DESC_WRITE : 0) |
                                          (i + 1 < count ? VRING_DESC_NEXT : 0) };
        packed_put(f, desc, i == 0, &first_flags);
    }
    __atomic_store_n(&packed_desc(f, first)->flags, first_flags, __ATOMIC_RELEASE);
    return id;
}

/* A chain; its id. */
static inline uint16_t fake_add(FakeDriver *f, const Buffer *buffers, unsigned count)
{
    return f->packed ? packed_add(f, buffers, count) : split_add(f, buffers, count);
}

/* The same through an indirect table. */
static inline uint16_t fake_add_indirect(FakeDriver *f, const Buffer *buffers, unsigned count)
{
    uint16_t id = f->packed ? f->next_id++ % f->num : f->next_desc;
    uint64_t table = TABLE_BASE + id * 1024;
    for (unsigned i = 0; i < count; i++) {
        uint16_t flags = buffers[i].write ? VRING_DESC_WRITE : 0;
        uint8_t *entry = guest(f, table + 16 * i);
        store_le64(entry, buffers[i].addr);
        store_le32(entry + 8, buffers[i].len);
        if (f->packed) {
            store_le16(entry + 14, flags);
        } else {
            store_le16(entry + 12, flags | (i + 1 < count ? VRING_DESC_NEXT : 0));
            store_le16(entry + 14, i + 1);
        }
    }
    if (f->packed) {
        uint16_t first = f->avail_idx, flags = 0;
        packed_put(f, (VringPackedDesc){ table, count * 16, id, VRING_DESC_INDIRECT }, true,
                   &flags);
        __atomic_store_n(&packed_desc(f, first)->flags, flags, __ATOMIC_RELEASE);
    } else {
        *split_desc(f, id) = (VringDesc){ table, count * 16, VRING_DESC_INDIRECT, 0 };
        f->next_desc = (id + 1) % f->num;
        split_publish(f, id);
    }
    return id;
}

/* The next completion; packed: of a chain of `ndesc` slots. */
static inline bool fake_used(FakeDriver *f, unsigned ndesc, uint16_t *id, uint32_t *len)
{
    if (!f->packed) {
        VringUsed *used = split_used(f);
        if (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) == f->used_seen) {
            return false;
        }
        *id = used->ring[f->used_seen % f->num].id;
        *len = used->ring[f->used_seen % f->num].len;
        f->used_seen++;
        return true;
    }
    VringPackedDesc *desc = packed_desc(f, f->used_seen);
    uint16_t flags = __atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE);
    bool avail = flags & VRING_PACKED_AVAIL, used = flags & VRING_PACKED_USED;
    if (avail != used || used != f->used_wrap) {
        return false;
    }
    *id = desc->id;
    *len = desc->len;
    f->used_seen += ndesc;
    if (f->used_seen >= f->num) {
        f->used_seen -= f->num;
        f->used_wrap = !f->used_wrap;
    }
    return true;
}

static inline void fake_kick(FakeDriver *f)
{
    event_notifier_signal(&f->vdev.queues[0].kick);
    settle();
}

#endif
