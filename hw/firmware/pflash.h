/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flash memory of a board: see pflash_cfi01.c. Main thread. */
#ifndef HW_FIRMWARE_PFLASH_H
#define HW_FIRMWARE_PFLASH_H

#include "vmm/device/device.h"

uint64_t pflash_size(const Device *dev); /* bytes */

/* Maps a realized flash at the address; `low` shows its last 128 KiB below 1 MiB too, as the code
 * that the first vCPU starts is seen. Topology lock not held. */
void pflash_map(Device *dev, uint64_t base, bool low);

#endif
