/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table loader: a script in fw_cfg ("etc/table-loader") by which firmware places files with
 * tables in memory, puts their addresses into each other and computes checksums. Main thread.
 */
#ifndef HW_FIRMWARE_TABLE_LOADER_H
#define HW_FIRMWARE_TABLE_LOADER_H

#include <glib.h>
#include <stdint.h>

typedef enum LoaderZone {
    LOADER_ZONE_HIGH = 1, /* anywhere below 4 GiB */
    LOADER_ZONE_FSEG = 2, /* 0xf0000 to 0xfffff */
} LoaderZone;

/* Each appends one command to the script. Offsets and lengths are bytes in the named files;
 * `align` is a power of two. */
void loader_allocate(GByteArray *script, const char *file, uint32_t align, LoaderZone zone);
/* The address of `source` is added to the `size` bytes at `offset` in `file`. */
void loader_add_pointer(GByteArray *script, const char *file, const char *source, uint32_t offset,
                        uint8_t size);
/* The byte at `offset` makes the sum of [start, start + length) zero. */
void loader_add_checksum(GByteArray *script, const char *file, uint32_t offset, uint32_t start,
                         uint32_t length);
/* The address of `source`, plus `source_offset`, is written back to the writable file `file`. */
void loader_write_pointer(GByteArray *script, const char *file, const char *source, uint32_t offset,
                          uint32_t source_offset, uint8_t size);

#endif
