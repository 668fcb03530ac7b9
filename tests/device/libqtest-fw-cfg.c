/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device test kit: files of fw_cfg. */
#include "tests/device/libqtest-fw-cfg.h"

#include <string.h>
#include "vmm/util/bytes.h"

#define SELECTOR  0x510
#define DATA      0x511
#define DMA_HIGH  0x514
#define DMA_LOW   0x518
#define KEY_DIR   0x19
#define STRUCTURE 0x1000ULL
#define BUFFER    0x2000ULL
#define ENTRY     64
#define CHUNK     0x8000U

enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

static void read_bytes(QTest *qts, void *data, size_t len)
{
    uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++) {
        bytes[i] = qtest_inb(qts, DATA);
    }
}

bool qfw_find(QTest *qts, const char *name, QfwFile *file)
{
    uint8_t entry[ENTRY];
    qtest_outw(qts, SELECTOR, KEY_DIR);
    read_bytes(qts, entry, 4);
    for (uint32_t left = load_be32(entry); left; left--) {
        read_bytes(qts, entry, sizeof(entry));
        if (strcmp((char *)entry + 8, name) == 0) {
            *file = (QfwFile){ load_be16(entry + 4), load_be32(entry) };
            return true;
        }
    }
    return false;
}

static bool dma(QTest *qts, uint32_t control, uint32_t len)
{
    uint8_t structure[16];
    store_be32(structure, control);
    store_be32(structure + 4, len);
    store_be64(structure + 8, BUFFER);
    qtest_memwrite(qts, STRUCTURE, structure, sizeof(structure));
    qtest_outl(qts, DMA_HIGH, 0);
    qtest_outl(qts, DMA_LOW, GUINT32_SWAP_LE_BE((uint32_t)STRUCTURE));
    qtest_memread(qts, STRUCTURE, structure, sizeof(structure));
    return !(load_be32(structure) & DMA_ERROR);
}

/* By DMA: a large file's bytes would be an exchange each. */
uint8_t *qfw_read(QTest *qts, const char *name, uint32_t *size)
{
    QfwFile file;
    if (!qfw_find(qts, name, &file)) {
        return NULL;
    }
    uint8_t *data = g_malloc0(file.size + 1);
    qtest_outw(qts, SELECTOR, file.key);
    for (uint32_t done = 0; done < file.size; done += CHUNK) {
        uint32_t part = MIN(file.size - done, CHUNK);
        g_assert_true(dma(qts, DMA_READ, part));
        qtest_memread(qts, BUFFER, data + done, part);
    }
    *size = file.size;
    return data;
}

bool qfw_write(QTest *qts, const char *name, uint32_t offset, const void *data, uint32_t len)
{
    QfwFile file;
    g_assert_true(qfw_find(qts, name, &file));
    qtest_memwrite(qts, BUFFER, data, len);
    g_assert_true(dma(qts, (uint32_t)file.key << 16 | DMA_SELECT | DMA_SKIP, offset));
    return dma(qts, DMA_WRITE, len);
}
