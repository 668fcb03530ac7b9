/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest RAM: host mappings of the guest's memory, and their dirty logs. */
#ifndef VMM_MEMORY_RAM_H
#define VMM_MEMORY_RAM_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define RAM_HOST_NODES 128

typedef struct RamOptions {
    uint64_t size; /* bytes, rounded up to the page size by ram_block_new() */
    bool share;    /* MAP_SHARED: another process can map the fd */
    bool
        memfd; /* back it by a memfd; default (with share off): anonymous, transparent huge pages */
    const char
        *mem_path; /* a file, or a directory (hugetlbfs) in which an unnamed file is made; NULL */
    uint64_t page_size; /* huge page size for memfd (MFD_HUGETLB), 0: the default */
    bool prealloc;      /* touch all pages now */
    unsigned prealloc_threads;
    bool merge;   /* MADV_MERGEABLE */
    bool dump;    /* part of core dumps */
    bool reserve; /* false: MAP_NORESERVE */
    bool readonly;
    int policy;                 /* one of the kernel's MPOL_*, for mbind(2) */
    const uint64_t *host_nodes; /* bitmap of RAM_HOST_NODES bits; NULL: any */
} RamOptions;

typedef struct RamBlock {
    char *id; /* stable name, key of saved states */
    uint8_t *host;
    uint64_t size;
    uint64_t page_size;
    int fd; /* -1 when anonymous */
    uint64_t fd_offset;
    bool shared;
    bool readonly;
    unsigned parts;    /* made of so many other blocks */
    bool joined;       /* private: its memory is part of another block's */
    guint huge_source; /* private: asks for huge pages later */
    uint64_t *dirty;   /* one bit a 4 KiB page while logging is on, else NULL; atomic or */
} RamBlock;

/* A new mapping; untouched memory costs nothing, up to 1 TiB and more on any host. Main thread. */
RamBlock *ram_block_new(const char *id, const RamOptions *options, GError **error);
void ram_block_free(RamBlock *block);
/* One block whose memory is that of the parts, in order: they move there and stay what they were
 * made of (files, huge pages, host nodes). The parts are to be freed after it. Main thread. */
RamBlock *ram_block_join(const char *id, RamBlock *const *parts, unsigned count, GError **error);

/* Gives pages back to the host (they read as zeroes later). offset and length are rounded inwards
 * to pages. Any thread. */
int ram_block_discard(RamBlock *block, uint64_t offset, uint64_t length);

/* Who writes to RAM without this program's help, vCPUs: asked when a block's log starts and stops,
 * and, by sync, to mark what they have written since. Main thread. */
typedef struct RamDirtySource {
    bool (*start)(void *opaque, RamBlock *block, GError **error);
    void (*stop)(void *opaque, RamBlock *block);
    void (*sync)(void *opaque, RamBlock *block);
} RamDirtySource;
/* NULL: none. No log is on. */
void ram_set_dirty_source(const RamDirtySource *source, void *opaque);

/* Dirty logging: start clears; fetch copies the bits of pages dirtied since and clears them. */
bool ram_block_dirty_start(RamBlock *block, GError **error);   /* main thread, machine paused */
void ram_block_dirty_stop(RamBlock *block);                    /* main thread, machine paused */
void ram_block_dirty_fetch(RamBlock *block, uint64_t *bitmap); /* main thread */
void ram_block_mark_dirty(RamBlock *block, uint64_t offset, uint64_t length); /* any thread */

#endif
