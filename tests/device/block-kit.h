/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of QMP's block commands: a folder with images made by qemu-img, and virtio-blk disks that
 * are written to. */
#ifndef TESTS_DEVICE_BLOCK_KIT_H
#define TESTS_DEVICE_BLOCK_KIT_H

#include "tests/device/libqtest.h"

typedef struct BlockStage {
    char *folder;
    QTest *qts;
} BlockStage;

/* False, and the test skipped, without qemu-img. */
bool block_stage_open(BlockStage *s);
void block_stage_close(BlockStage *s); /* the machine has ended; removes the folder */
char *block_path(BlockStage *s, const char *name);
/* Runs "qemu-img ARGUMENTS" in the folder: its exit status; *out (may be NULL): what it printed. */
int block_img(BlockStage *s, char **out, const char *format, ...) G_GNUC_PRINTF(3, 4);

typedef struct BlockDisk {
    QTest *qts;
    QVirtio *dev;
    QVirtQueue *vq;
    uint64_t header, data, status;
} BlockDisk;

/* The n-th virtio-blk function. */
void block_disk_open(BlockDisk *d, QTest *qts, unsigned n);
void block_disk_close(BlockDisk *d);
/* Writes (or reads) a sector whose first bytes are value: the device's status byte. */
uint8_t block_disk_write(BlockDisk *d, uint64_t sector, uint64_t value);
uint64_t block_disk_read(BlockDisk *d, uint64_t sector);

/* Until query-jobs shows the job with that status, or (NULL) no more. */
void block_wait_job(QTest *qts, const char *id, const char *status);

#endif
