/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The versions of the PCs: pc-q35-7.1 shows a guest the hardware that it had in version 7.1, so
 * that an upgrade of Vireo changes nothing under an installed system.
 *
 * A change that a guest can see belongs to the newest version only: it gets a property whose
 * default is the new behaviour, and a row with the old value in the table of the version before
 * (versions.c). tests/device/machine-versions.txt says what each version shows.
 */
#ifndef HW_BOARD_VERSIONS_H
#define HW_BOARD_VERSIONS_H

#include "vmm/device/device.h"

typedef enum PcVersion {
    PC_7_2,
    PC_7_1,
    PC_7_0,
    PC_6_2,
    PC_6_1,
    PC_6_0,
    PC_VERSIONS,
} PcVersion;

/* MachineClass.compat of each version. */
extern const CompatProp *const pc_compat[PC_VERSIONS][PC_VERSIONS];
/* MachineClass.prefer_sockets: until 6.1. */
#define PC_PREFERS_SOCKETS(VERSION) ((VERSION) >= PC_6_1)

#endif
