/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device test kit: files of fw_cfg, read and written by DMA. */
#ifndef TESTS_DEVICE_LIBQTEST_FW_CFG_H
#define TESTS_DEVICE_LIBQTEST_FW_CFG_H

#include "tests/device/libqtest.h"

typedef struct QfwFile {
    uint16_t key;
    uint32_t size;
} QfwFile;

/* Looks into the directory. */
bool qfw_find(QTest *qts, const char *name, QfwFile *file);
/* The whole file, the caller's to free; NULL when there is none of that name. */
uint8_t *qfw_read(QTest *qts, const char *name, uint32_t *size);
/* Writes into a file; false when the device says that it cannot. */
bool qfw_write(QTest *qts, const char *name, uint32_t offset, const void *data, uint32_t len);

#endif
