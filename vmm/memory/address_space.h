/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address spaces: what the guest sees at each physical address or port.
 *
 * An AddressSpace has a list of placed MemRegions. Where they overlap the higher priority wins,
 * then the later placed. From the list an immutable sorted FlatMap is made at each commit and
 * published; dispatch reads it without locks (liburcu). KVM memory slots and ioeventfds follow the
 * difference through one listener.
 *
 * Changing the map: under the machine's topology lock (machine_topology_lock()), from the main
 * thread or from a vCPU whose access moved a window. A handler must not change the map while it
 * holds a device lock taken by the dispatcher: windows whose handlers do that (PCI configuration)
 * have no .lock and take topology, then device.
 */
#ifndef VMM_MEMORY_ADDRESS_SPACE_H
#define VMM_MEMORY_ADDRESS_SPACE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vmm/memory/ram.h"
#include "vmm/trace/exits.h"

typedef struct AddressSpace AddressSpace;

/* Register windows: handlers see only sizes in [min_size, max_size], aligned offsets inside the
 * window, values already cut to size. The dispatcher splits wider and misaligned accesses; a
 * narrower one than min_size is widened for reads (the rest is cut off) and, for writes, rejected:
 * dropped. Zero means min 1, max 4 (or 8 when said). */
typedef struct MemOps {
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned size);
    uint8_t min_size;
    uint8_t max_size;
} MemOps;

typedef enum RegionKind {
    REGION_IO,
    REGION_RAM,
    REGION_ROM, /* RAM that drops guest writes, or hands them to ops->write (flash, shadow RAM) */
} RegionKind;

typedef struct MemRegion {
    const char *name; /* static, or owned by the region's owner */
    uint64_t id;      /* of this initialization, unique in the process; never 0 */
    RegionKind kind;
    uint64_t size;
    const MemOps *ops;
    void *opaque;
    GMutex *lock;  /* held around the handlers when not NULL */
    RamBlock *ram; /* REGION_RAM, REGION_ROM */
    uint64_t ram_offset;
    /* placement, set by address_space_map() */
    AddressSpace *space; /* NULL while not placed */
    uint64_t addr;
    int priority;
    GArray *ioeventfds; /* private */
} MemRegion;

void mem_region_init_io(MemRegion *region, const char *name, uint64_t size, const MemOps *ops,
                        void *opaque, GMutex *lock);
void mem_region_init_ram(MemRegion *region, const char *name, RamBlock *ram, uint64_t ram_offset,
                         uint64_t size, bool readonly);
/* ROM whose guest writes go to ops->write; reads and execution never leave the memory. */
void mem_region_init_rom_ops(MemRegion *region, const char *name, RamBlock *ram,
                             uint64_t ram_offset, uint64_t size, const MemOps *ops, void *opaque,
                             GMutex *lock);
/* The region must not be placed. */
void mem_region_cleanup(MemRegion *region);

/* What the changing functions assert: whether the caller holds the topology lock. The machine sets
 * it; without it nothing is asserted (unit tests). Main thread. */
void address_space_set_lock_check(bool (*held)(void));

AddressSpace *address_space_new(const char *name, uint64_t limit); /* last address, inclusive */
/* Another view of `base`: all that is placed there, and over it, whatever its priority, what is
 * placed here. It follows base. At most one for a base; freed before it. Topology lock. */
AddressSpace *address_space_new_view(const char *name, AddressSpace *base);
void address_space_free(AddressSpace *space);

/* Changes take effect at the outermost commit. Topology lock held (the functions assert it). */
void address_space_begin(AddressSpace *space);
void address_space_commit(AddressSpace *space);
void address_space_map(AddressSpace *space, MemRegion *region, uint64_t addr, int priority);
void address_space_unmap(MemRegion *region); /* nothing when not placed */

/* Waits until no dispatcher uses what was unmapped: before a region's owner is freed. Main thread,
 * no locks held. */
void address_space_synchronize(void);

/* A doorbell: a guest write of `size` bytes (0: any size) at offset, when match is set of `value`,
 * signals fd instead of calling the handler. Works while the region is unplaced too; follows it.
 * Topology lock held. */
void mem_region_add_ioeventfd(MemRegion *region, uint64_t offset, unsigned size, bool match,
                              uint64_t value, int fd);
void mem_region_del_ioeventfd(MemRegion *region, uint64_t offset, unsigned size, bool match,
                              uint64_t value, int fd);

/* Access by a CPU or the tests: any length, split at region borders. Unassigned reads give ones,
 * writes are dropped; false when any part was unassigned. Never from a handler. liburcu-registered
 * threads. */
bool address_space_read(AddressSpace *space, uint64_t addr, void *data, uint64_t len);
bool address_space_write(AddressSpace *space, uint64_t addr, const void *data, uint64_t len);

/* The vCPU's way: the same for 1, 2, 4 or 8 bytes, with the vCPU's last hit. */
typedef struct DispatchCache {
    const void *map;
    const void *range;
    ExitWindows *windows; /* where accesses are told apart; NULL: nowhere */
    ExitWindow *window;   /* of the last access, when windows is set */
} DispatchCache;
uint64_t address_space_load(AddressSpace *space, DispatchCache *cache, uint64_t addr,
                            unsigned size);
void address_space_store(AddressSpace *space, DispatchCache *cache, uint64_t addr, uint64_t value,
                         unsigned size);

/* ---- The listener: one for each space, the accelerator's ---- */
typedef struct FlatRange {
    uint64_t start;
    uint64_t last; /* inclusive */
    MemRegion *region;
    uint64_t offset; /* of start in the region */
} FlatRange;

typedef struct IoEventFd {
    uint64_t addr;
    unsigned size;
    bool match;
    uint64_t value;
    int fd;
} IoEventFd;

typedef struct MemListener {
    void (*ram_add)(void *opaque, const FlatRange *range);
    void (*ram_del)(void *opaque, const FlatRange *range);
    void (*ioeventfd_add)(void *opaque, const IoEventFd *eventfd);
    void (*ioeventfd_del)(void *opaque, const IoEventFd *eventfd);
    void (*commit)(void *opaque); /* after deletions and additions of one commit, deletions first */
    void *opaque;
} MemListener;

/* At most one; replays the present map. Main thread, topology lock held. listener NULL removes it.
 */
void address_space_set_listener(AddressSpace *space, const MemListener *listener);

/* Calls fn for each flat range in order; a copy-free look for `info mtree` and the memory map. Any
 * registered thread. */
void address_space_foreach(AddressSpace *space, void (*fn)(const FlatRange *range, void *opaque),
                           void *opaque);
/* Calls fn for each placed region, hidden or not, in no order. Topology lock. */
void address_space_foreach_placed(AddressSpace *space,
                                  void (*fn)(const MemRegion *region, void *opaque), void *opaque);

#endif
