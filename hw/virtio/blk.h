/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk (VIRTIO 1.2, 5.2): between its files. */
#ifndef HW_VIRTIO_BLK_H
#define HW_VIRTIO_BLK_H

#include "hw/disk_conf.h"
#include "hw/virtio/loops.h"
#include "hw/virtio/virtio.h"

enum {
    VIRTIO_BLK_F_SEG_MAX = 2,
    VIRTIO_BLK_F_GEOMETRY = 4,
    VIRTIO_BLK_F_RO = 5,
    VIRTIO_BLK_F_BLK_SIZE = 6,
    VIRTIO_BLK_F_FLUSH = 9,
    VIRTIO_BLK_F_TOPOLOGY = 10,
    VIRTIO_BLK_F_CONFIG_WCE = 11,
    VIRTIO_BLK_F_MQ = 12,
    VIRTIO_BLK_F_DISCARD = 13,
    VIRTIO_BLK_F_WRITE_ZEROES = 14,
};

/* struct virtio_blk_config, by offset. */
enum {
    BLK_CONFIG_CAPACITY = 0,
    BLK_CONFIG_SEG_MAX = 12,
    BLK_CONFIG_CYLINDERS = 16,
    BLK_CONFIG_HEADS = 18,
    BLK_CONFIG_SECTORS = 19,
    BLK_CONFIG_BLK_SIZE = 20,
    BLK_CONFIG_PHYSICAL_EXP = 24,
    BLK_CONFIG_MIN_IO = 26,
    BLK_CONFIG_OPT_IO = 28,
    BLK_CONFIG_WRITEBACK = 32,
    BLK_CONFIG_NUM_QUEUES = 34,
    BLK_CONFIG_MAX_DISCARD = 36,
    BLK_CONFIG_MAX_DISCARD_SEG = 40,
    BLK_CONFIG_DISCARD_ALIGN = 44,
    BLK_CONFIG_MAX_ZEROES = 48,
    BLK_CONFIG_MAX_ZEROES_SEG = 52,
    BLK_CONFIG_ZEROES_UNMAP = 56,
    BLK_CONFIG_LEN = 60,
};

#define BLK_SECTOR     512
#define BLK_SERIAL_LEN 20

typedef struct VirtioBlk {
    VirtioDevice vdev;
    /* properties */
    DiskConf disk;
    VirtioLoops loops;
    uint16_t num_queues, queue_size;
    uint32_t max_discard_sectors, max_zeroes_sectors;
    bool discard, write_zeroes, config_wce, seg_max_adjust;
    /* as realized */
    char id[BLK_SERIAL_LEN];
} VirtioBlk;

typedef struct BlkRequest {
    VirtqRequest vr;
    BlockRequest block;
    uint8_t *status;
} BlkRequest;

void virtio_blk_handle(VirtQueue *vq);

#endif
