/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System management RAM: parts of main memory that a host bridge shows to vCPUs in system
 * management mode and hides from everybody else, DMA included (Q35, 5.1.21 and 5.1.22 with chapter
 * 9; i440FX, 3.2.19): the 128 KiB behind the video window, TSEG at the top of low memory, and the
 * place where vCPUs first look for their handler. Without that mode (Machine.smm_memory is NULL)
 * only opening the first one shows anything. Topology lock held.
 */
#ifndef HW_PCI_SMRAM_H
#define HW_PCI_SMRAM_H

#include "vmm/machine/machine.h"
#include "vmm/memory/address_space.h"

#define SMRAM_TSEG_SIZES 4

/* A part as it is shown: to all, in system management mode, and what stands there instead. */
typedef struct SmramPart {
    uint64_t addr;
    MemRegion open, smm, hidden;
} SmramPart;

typedef struct Smram {
    Machine *machine;
    SmramPart legacy, high; /* the same RAM, below 1 MiB or below 4 GiB */
    SmramPart tseg[SMRAM_TSEG_SIZES];
    SmramPart base;
} Smram;

/* What the bridge's registers ask for. */
typedef struct SmramView {
    bool enabled; /* RAM behind the video window is there in system management mode */
    bool open;    /* and for all */
    bool high;    /* at 0xfeda0000 */
    int tseg;     /* which of the sizes is hidden; -1: none */
    bool base;    /* 0x30000 to 0x4ffff are hidden */
} SmramView;

/* tseg_sizes: bytes, 0: not to be had. What is larger than low memory is never shown. */
void smram_init(Smram *smram, Machine *machine, const uint64_t tseg_sizes[SMRAM_TSEG_SIZES]);
void smram_update(Smram *smram, const SmramView *view);
void smram_cleanup(Smram *smram);

#endif
