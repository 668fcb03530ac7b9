/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of the bare KVM program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BARE_BLK_BASE 0xfeb00000ull
#define BARE_BLK_SIZE 0x200u

/* Makes a write of `len` bytes to `addr` signal fd instead of leaving KVM_RUN. */
void bare_ioeventfd(int fd, uint64_t addr, uint32_t len);

/* A virtio-mmio disk with one polling io_uring loop; with `map` the file is mapped and copied. */
void bare_blk_start(const char *path, bool direct, bool map, uint8_t *ram, uint64_t ram_size);
uint32_t bare_blk_read(uint32_t offset);
void bare_blk_write(uint32_t offset, uint32_t value);
