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

/* The same as two files for firmware, which places them, fills in the address and the checksums,
 * and describes itself (type 0) unless the user did: the tables, and in `anchor` their entry point,
 * of 3.0 (64 bit) or 2.1. NULL and error. */
GByteArray *smbios_build_files(const Machine *machine, const char *product, const char *version,
                               bool entry64, GByteArray *anchor, GError **error);

#endif
