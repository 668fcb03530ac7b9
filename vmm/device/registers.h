/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Register files that are mostly storage, as tables (STYLE, 3): the core checks sizes, combines
 * partial accesses, applies writable and write-1-to-clear masks, calls hooks and resets. Registers
 * are little-endian, at most 8 bytes, sorted by offset, not overlapping.
 */
#ifndef VMM_DEVICE_REGISTERS_H
#define VMM_DEVICE_REGISTERS_H

#include <stddef.h>
#include <stdint.h>

typedef struct RegisterDesc {
    const char *name;
    uint32_t offset;
    uint8_t size; /* 1, 2, 4, 8 */
    uint64_t reset;
    uint64_t writable; /* bits the guest can write */
    uint64_t w1c;      /* bits that a written 1 clears */
    size_t
        field; /* offsetof the storage in the device struct, an unsigned integer of `size` bytes */
    uint64_t (*read)(void *dev,
                     uint64_t stored); /* the value read, in place of the stored one; may be NULL */
    void (*written)(void *dev, uint64_t old,
                    uint64_t now); /* after the storage changed or was written; may be NULL */
} RegisterDesc;

typedef struct RegisterFile {
    const RegisterDesc *regs;
    size_t count;
    uint64_t unassigned; /* what reads of holes give */
} RegisterFile;

/* Any size 1..8 at any offset; bytes outside every register read as `unassigned` and drop writes.
 * Under the device's lock. */
uint64_t register_read(const RegisterFile *file, void *dev, uint64_t offset, unsigned size);
void register_write(const RegisterFile *file, void *dev, uint64_t offset, uint64_t value,
                    unsigned size);
void register_reset(const RegisterFile *file, void *dev); /* reset values, no hooks */

#endif
