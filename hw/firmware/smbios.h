/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS tables (DSP0134 3.2) from the machine's configuration and -smbios options. Main thread. */
#ifndef HW_FIRMWARE_SMBIOS_H
#define HW_FIRMWARE_SMBIOS_H

#include "vmm/machine/machine.h"

/* Checks `-smbios` options and builds entry points (2.1 and 3.0) and tables as one block for
 * guest-physical `base`, a multiple of 16 in [0xf0000, 0x100000). `product` and `version` are the
 * board's defaults. NULL and error when an option is wrong or the block is larger than `room`. */
GByteArray *smbios_build(const Machine *machine, const char *product, const char *version,
                         uint64_t base, uint64_t room, GError **error);

#endif
