/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk (VIRTIO 1.2, 5.2): properties, configuration, life. */
#include "hw/virtio/blk.h"

#include <string.h>
#include "hw/devices.h"
#include "hw/virtio/mmio.h"
#include "hw/virtio/pci.h"
#include "vmm/util/bytes.h"

#define NUM_QUEUES_AUTO 65535
#define MAX_SECTORS     (INT32_MAX >> 9)

static const Property virtio_blk_props[] = {
    DISK_CONF_PROPS(VirtioBlk, disk),
    PROP_RANGE_U16("num-queues", VirtioBlk, num_queues, NUM_QUEUES_AUTO, 1, 65535,
                   "Request queues; 65535: one for each vCPU"),
    PROP_RANGE_U16("queue-size", VirtioBlk, queue_size, 256, 2, VIRTQ_MAX_SIZE,
                   "Entries of a queue, a power of two"),
    VIRTIO_LOOPS_PROPS(VirtioBlk, loops),
    PROP_BOOL("discard", VirtioBlk, discard, true, "Offer discard"),
    PROP_BOOL("write-zeroes", VirtioBlk, write_zeroes, true, "Offer write-zeroes"),
    PROP_RANGE_U32("max-discard-sectors", VirtioBlk, max_discard_sectors, MAX_SECTORS, 1,
                   MAX_SECTORS, "Sectors of one discard at most"),
    PROP_RANGE_U32("max-write-zeroes-sectors", VirtioBlk, max_zeroes_sectors, MAX_SECTORS, 1,
                   MAX_SECTORS, "Sectors of one write-zeroes at most"),
    PROP_BOOL("config-wce", VirtioBlk, config_wce, true, "Let the driver switch the write cache"),
    PROP_BOOL("seg-max-adjust", VirtioBlk, seg_max_adjust, true,
              "Segments of a request follow queue-size (off: 126)"),
    PROP_END,
};

/* ---- Configuration ---- */

static void put16(VirtioBlk *blk, unsigned offset, uint16_t value)
{
    store_le16(blk->vdev.config + offset, value);
}

static void put32(VirtioBlk *blk, unsigned offset, uint32_t value)
{
    store_le32(blk->vdev.config + offset, value);
}

static void fill_config(VirtioBlk *blk)
{
    uint8_t *config = blk->vdev.config;
    uint64_t sectors = block_backend_length(blk->disk.backend) / BLK_SECTOR;
    store_le64(config + BLK_CONFIG_CAPACITY, sectors);
    put32(blk, BLK_CONFIG_SEG_MAX, blk->seg_max_adjust ? MAX(blk->queue_size - 2, 1) : 126);
    put16(blk, BLK_CONFIG_CYLINDERS, MIN(sectors / (16 * 63), 16383));
    config[BLK_CONFIG_HEADS] = 16;
    config[BLK_CONFIG_SECTORS] = 63;
    put32(blk, BLK_CONFIG_BLK_SIZE, blk->disk.logical_block);
    config[BLK_CONFIG_PHYSICAL_EXP] =
        __builtin_ctz(blk->disk.physical_block / blk->disk.logical_block);
    put16(blk, BLK_CONFIG_MIN_IO, blk->disk.min_io / blk->disk.logical_block);
    put32(blk, BLK_CONFIG_OPT_IO, blk->disk.opt_io / blk->disk.logical_block);
    config[BLK_CONFIG_WRITEBACK] = block_backend_write_cache(blk->disk.backend);
    put16(blk, BLK_CONFIG_NUM_QUEUES, blk->num_queues);
    put32(blk, BLK_CONFIG_MAX_DISCARD, blk->max_discard_sectors);
    put32(blk, BLK_CONFIG_MAX_DISCARD_SEG, 1);
    put32(blk, BLK_CONFIG_DISCARD_ALIGN, blk->disk.discard_granularity / BLK_SECTOR);
    put32(blk, BLK_CONFIG_MAX_ZEROES, blk->max_zeroes_sectors);
    put32(blk, BLK_CONFIG_MAX_ZEROES_SEG, 1);
    config[BLK_CONFIG_ZEROES_UNMAP] = 1;
}

static void set_features(VirtioBlk *blk)
{
    uint64_t features =
        VIRTIO_FEATURE(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_FEATURE(VIRTIO_BLK_F_GEOMETRY) |
        VIRTIO_FEATURE(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_FEATURE(VIRTIO_BLK_F_TOPOLOGY);
    bool readonly = block_backend_readonly(blk->disk.backend);
    features |= readonly ? VIRTIO_FEATURE(VIRTIO_BLK_F_RO) : 0;
    features |= blk->config_wce ? VIRTIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE) : 0;
    features |=
        blk->config_wce || blk->disk.initial_write_cache ? VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH) : 0;
    features |= blk->num_queues > 1 ? VIRTIO_FEATURE(VIRTIO_BLK_F_MQ) : 0;
    features |= blk->discard && !readonly ? VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD) : 0;
    features |= blk->write_zeroes && !readonly ? VIRTIO_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES) : 0;
    blk->vdev.host_features |= features;
}

static void set_write_cache(VirtioBlk *blk, bool on)
{
    uint8_t value = on;
    block_backend_set_write_cache(blk->disk.backend, on);
    virtio_config_set(&blk->vdev, BLK_CONFIG_WRITEBACK, &value, 1, false);
}

static void blk_config_written(VirtioDevice *vdev, uint32_t offset, uint32_t len)
{
    VirtioBlk *blk = (VirtioBlk *)vdev;
    uint8_t value;
    virtio_config_get(vdev, BLK_CONFIG_WRITEBACK, &value, 1);
    if (blk->config_wce) {
        set_write_cache(blk, value & 1);
    }
}

/* A driver that does not know flushes gets a disk that needs none. */
static void blk_start(VirtioDevice *vdev)
{
    if (!virtio_has_feature(vdev, VIRTIO_BLK_F_CONFIG_WCE)) {
        set_write_cache((VirtioBlk *)vdev, virtio_has_feature(vdev, VIRTIO_BLK_F_FLUSH));
    }
}

static void blk_reset(VirtioDevice *vdev)
{
    VirtioBlk *blk = (VirtioBlk *)vdev;
    set_write_cache(blk, blk->disk.initial_write_cache);
}

/* ---- Events of the back end ---- */

static void blk_resized(void *opaque)
{
    VirtioBlk *blk = opaque;
    uint8_t capacity[8];
    store_le64(capacity, block_backend_length(blk->disk.backend) / BLK_SECTOR);
    virtio_config_set(&blk->vdev, BLK_CONFIG_CAPACITY, capacity, sizeof(capacity), true);
}

static const BlockBackendEvents blk_events = { .resized = blk_resized };

static bool blk_in_flight(VirtioDevice *vdev)
{
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        if (virtq_inflight(&vdev->queues[i])) {
            return true;
        }
    }
    return false;
}

static void blk_drain(VirtioDevice *vdev, bool cancel)
{
    VirtioBlk *blk = (VirtioBlk *)vdev;
    if (cancel) {
        block_backend_cancel_kept(blk->disk.backend);
    } else {
        block_backend_drain(blk->disk.backend);
    }
}

/* ---- Realize ---- */

static bool attach(VirtioBlk *blk, GError **error)
{
    const Device *dev = blk->vdev.dev;
    /* Management programs find the disk of an error by QEMU's path of it: on PCI the virtio device
     * is a child of the function. */
    const char *child = dev->cls->bus == BUS_PCI ? "/virtio-backend" : "";
    if (!disk_conf_attach(&blk->disk, dev, child, error) || !disk_conf_sizes(&blk->disk, error) ||
        !disk_conf_size_ok("queue-size", blk->queue_size, 2, error)) {
        return false;
    }
    const char *serial = disk_conf_serial(&blk->disk);
    memset(blk->id, 0, sizeof(blk->id));
    memcpy(blk->id, serial, MIN(strlen(serial), sizeof(blk->id)));
    return true;
}

static bool make_queues(VirtioBlk *blk, GError **error)
{
    VirtioDevice *vdev = &blk->vdev;
    g_autofree EventLoop **loops = g_new0(EventLoop *, blk->num_queues);
    if (!virtio_loops_choose(&blk->loops, vdev->dev->machine, blk->num_queues, loops, error)) {
        return false;
    }
    virtio_queues_new(vdev, blk->num_queues);
    for (unsigned i = 0; i < blk->num_queues; i++) {
        if (!block_backend_add_loop(blk->disk.backend, loops[i], error) ||
            !virtio_queue_init(vdev, i, blk->queue_size, sizeof(BlkRequest), loops[i],
                               virtio_blk_handle, error)) {
            return false;
        }
    }
    return true;
}

static void choose_queue_count(VirtioBlk *blk)
{
    if (blk->num_queues == NUM_QUEUES_AUTO) {
        unsigned cpus = blk->vdev.dev->machine->config->smp.cpus;
        blk->num_queues = blk->vdev.transport->queue_per_cpu ? CLAMP(cpus, 1, 256) : 1;
    }
    blk->num_queues = MIN(blk->num_queues, VIRTQ_MAX_QUEUES - 1);
}

static void blk_unrealize(VirtioDevice *vdev)
{
    VirtioBlk *blk = (VirtioBlk *)vdev;
    disk_conf_detach(&blk->disk);
    virtio_loops_release(&blk->loops);
}

static bool blk_realize(VirtioDevice *vdev, GError **error)
{
    VirtioBlk *blk = (VirtioBlk *)vdev;
    choose_queue_count(blk);
    if (!attach(blk, error) || !make_queues(blk, error)) {
        blk_unrealize(vdev);
        return false;
    }
    set_features(blk);
    fill_config(blk);
    block_backend_set_events(blk->disk.backend, &blk_events, blk);
    return true;
}

static const VirtioDeviceClass virtio_blk = {
    .name = "virtio-blk",
    .id = VIRTIO_ID_BLOCK,
    .legacy_pci_id = 0x1001,
    .pci_class = 0x010000,
    .firmware_unit = "disk@0,0",
    .config_len = BLK_CONFIG_LEN,
    .realize = blk_realize,
    .unrealize = blk_unrealize,
    .start = blk_start,
    .reset = blk_reset,
    .in_flight = blk_in_flight,
    .drain = blk_drain,
    .config_written = blk_config_written,
    .config_write_start = BLK_CONFIG_WRITEBACK,
    .config_write_len = 1,
};

static bool blk_post_load(void *base, uint16_t version, GError **error)
{
    VirtioBlk *blk = base;
    block_backend_set_write_cache(blk->disk.backend, blk->vdev.config[BLK_CONFIG_WRITEBACK] & 1);
    uint64_t sectors = block_backend_length(blk->disk.backend) / BLK_SECTOR;
    if (load_le64(blk->vdev.config + BLK_CONFIG_CAPACITY) != sectors) {
        return error_set(error,
                         "virtio-blk: the disk has %" PRIu64 " sectors, the saved one %" PRIu64,
                         sectors, load_le64(blk->vdev.config + BLK_CONFIG_CAPACITY));
    }
    return true;
}

static const StateField virtio_blk_fields[] = {
    STATE_STRUCT(VirtioBlk, vdev, &virtio_device_state),
    STATE_END,
};

static const StateSection virtio_blk_state = {
    .name = "virtio-blk",
    .version = 1,
    .fields = virtio_blk_fields,
    .post_load = blk_post_load,
};

VIRTIO_PCI_CLASSES(virtio_blk, "virtio-blk", VirtioBlk, &virtio_blk, virtio_blk_props,
                   &virtio_blk_state, .desc = "Paravirtual disk (virtio 1.2)",
                   .category = DEVICE_CATEGORY_STORAGE);
VIRTIO_MMIO_CLASS(virtio_blk, "virtio-blk", VirtioBlk, &virtio_blk, virtio_blk_props,
                  &virtio_blk_state, .desc = "Paravirtual disk (virtio 1.2)",
                  .category = DEVICE_CATEGORY_STORAGE);
