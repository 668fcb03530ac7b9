/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The firmware configuration device (QEMU: docs/specs/fw_cfg.rst): items that firmware and guests
 * read by a selector register and a data port, or by DMA. Numbered items are little-endian; files
 * have names and are listed in a directory.
 *
 * Items and files are made while the machine is built; the contents of files may be replaced later
 * while the vCPUs are stopped (reset). Main thread.
 */
#ifndef HW_FIRMWARE_FW_CFG_H
#define HW_FIRMWARE_FW_CFG_H

#include "vmm/machine/machine.h"

#define FW_CFG_PORT      0x510
#define FW_CFG_PORTS     12 /* selector, data; DMA address at +4 */
#define FW_CFG_NAME_SIZE 56 /* of a file, with its NUL */

typedef enum FwCfgKey {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    /* of the architecture */
    FW_CFG_IRQ0_OVERRIDE = 0x8002,
    FW_CFG_HPET = 0x8004,
} FwCfgKey;

/* The machine's device at the ports; NULL and error. */
Device *fw_cfg_new(Machine *machine, GError **error);
Device *fw_cfg_find(Machine *machine); /* NULL: the machine has none */

/* A numbered item; the bytes are copied. A second time: replaced. */
void fw_cfg_set(Device *dev, FwCfgKey key, const void *data, size_t len);
void fw_cfg_take(Device *dev, FwCfgKey key, uint8_t *data,
                 uint32_t len); /* the bytes are its own */
void fw_cfg_set_int(Device *dev, FwCfgKey key, uint64_t value, unsigned size);
void fw_cfg_set_string(Device *dev, FwCfgKey key, const char *text); /* with its NUL */

/* A file; the bytes are copied. Errors: the name is too long or taken, the directory is full, the
 * directory was shown to the guest already. */
bool fw_cfg_add_file(Device *dev, const char *name, const void *data, size_t len, GError **error);
bool fw_cfg_add_file_int(Device *dev, const char *name, uint64_t value, unsigned size,
                         GError **error);
/* A file of `len` zeroes that the guest can write (by DMA). `written` is called after each write,
 * with the device's lock, on a vCPU thread; may be NULL. */
bool fw_cfg_add_writable(Device *dev, const char *name, size_t len,
                         void (*written)(void *opaque, const uint8_t *data, size_t len),
                         void *opaque, GError **error);
/* A file of `len` zeroes that `selected` fills anew whenever the guest selects it, with the
 * device's lock, on a vCPU thread. */
bool fw_cfg_add_answer(Device *dev, const char *name, size_t len,
                       void (*selected)(void *opaque, uint8_t *data, size_t len), void *opaque,
                       GError **error);
/* Other bytes for a file whose size stays. vCPUs stopped. */
void fw_cfg_write_file(Device *dev, const char *name, const void *data, size_t len);
/* New contents for a file that exists. vCPUs stopped. */
void fw_cfg_replace_file(Device *dev, const char *name, const void *data, size_t len);
/* What a file holds now; NULL when there is none of that name. */
const uint8_t *fw_cfg_file(Device *dev, const char *name, size_t *len);

/* All files are there: numbers them in the order of their names and makes the directory. */
void fw_cfg_finish(Device *dev);

#endif
