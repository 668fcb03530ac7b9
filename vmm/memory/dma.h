/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DMA: a device's bounded access to guest RAM, and to nothing else. An address that is not RAM
 * fails; a device can never reach a device's registers. Writes go to the dirty log when it is on.
 * Threads registered with liburcu (vCPUs, loops, main).
 *
 * Host pointers stay valid while their owner may have requests in flight: RAM leaves the map only
 * after devices were drained.
 */
#ifndef VMM_MEMORY_DMA_H
#define VMM_MEMORY_DMA_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "vmm/memory/address_space.h"

/* Copies; false (and nothing, or a part, copied) when any byte is not RAM. ROM cannot be written.
 */
bool dma_read(AddressSpace *space, uint64_t addr, void *data, uint64_t len);
bool dma_write(AddressSpace *space, uint64_t addr, const void *data, uint64_t len);

/* The host address of [addr, addr + len) when it is one host-contiguous piece of RAM, else NULL.
 * len > 0. */
void *dma_translate(AddressSpace *space, uint64_t addr, uint64_t len, bool write);

/* Appends the pieces of [addr, addr + len) to iov; *count is in and out, max the room. False when
 * not RAM, len is 0, or room is short. */
bool dma_map(AddressSpace *space, uint64_t addr, uint64_t len, bool write, struct iovec *iov,
             unsigned max, unsigned *count);

/* Marks what was written through a translated pointer. Cheap when no log is on. */
void dma_dirty(AddressSpace *space, uint64_t addr, uint64_t len);

/* Whether a dirty log is on: a device then marks what it wrote through host pointers. */
bool dma_logging(void);
void dma_dirty_host(AddressSpace *space, const void *host, uint64_t len);
/* A guest address behind a host pointer into RAM; false when there is none. */
bool dma_guest_address(AddressSpace *space, const void *host, uint64_t *addr);

/* The RAM block and offset behind an address; false when not RAM. */
bool dma_find_ram(AddressSpace *space, uint64_t addr, uint64_t len, RamBlock **block,
                  uint64_t *offset);

#endif
