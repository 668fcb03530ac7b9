/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programmable attribute maps: which of the 16 KiB pieces of 0xc0000 to 0xeffff and the 64 KiB at
 * 0xf0000 a host bridge reads from RAM, and which it writes there (i440FX data sheet, 4.1.18; Q35,
 * 5.1.20). What does not go to RAM goes to the bus: the firmware's ROM, or nothing. RAM behind the
 * video window at 0xa0000 is never seen. Topology lock held.
 */
#ifndef HW_PCI_PAM_H
#define HW_PCI_PAM_H

#include "vmm/machine/machine.h"
#include "vmm/memory/address_space.h"

#define PAM_REGISTERS 7 /* bytes: PAM0 to PAM6 */
#define PAM_SEGMENTS  13

/* Priorities of windows in the first MiB, above main memory's 0. */
enum {
    LEGACY_PRIORITY_HOLE = 1,
    LEGACY_PRIORITY_ROM = 2, /* firmware, video memory */
    LEGACY_PRIORITY_SHADOW = 3,
};

typedef struct PamSegment {
    MemRegion regions[4]; /* by mode; a map that readers still see refers to the one before */
    Machine *machine;
    uint64_t base, size;
    uint8_t mode; /* bit 0: reads come from RAM; bit 1: writes go there */
} PamSegment;

typedef struct Pam {
    MemRegion hole;
    PamSegment segments[PAM_SEGMENTS];
    RamBlock *copy; /* of the bus's side, for segments that only write to RAM; made when needed */
} Pam;

void pam_init(Pam *pam, Machine *machine);
void pam_cleanup(Pam *pam); /* vCPUs are stopped */
/* Follows the registers, PAM0 to PAM6. */
void pam_update(Pam *pam, const uint8_t *registers);

/* For the bridge: the bits that can be written, and all of RAM open as firmware leaves it. */
void pam_wmask(uint8_t *wmask);
void pam_open(uint8_t *registers);

#endif
