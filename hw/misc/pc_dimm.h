/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pc-dimm: a memory back end in one of -m's slots, above the machine's own memory. */
#ifndef HW_MISC_PC_DIMM_H
#define HW_MISC_PC_DIMM_H

#include "vmm/device/device.h"

typedef struct PcDimmPlace {
    uint64_t addr, size;
    uint32_t node;
} PcDimmPlace;

PcDimmPlace pc_dimm_place(const Device *dev); /* of a realized one; any thread */
/* Takes the memory away from the guest and waits for what devices have in flight. Main thread,
 * without locks. */
void pc_dimm_drain(Device *dev);
/* query-memory-devices: appends the machine's. Main thread. */
void pc_dimms_to_json(Machine *machine, json_object *list);

#endif
