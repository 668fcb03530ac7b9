/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Constants shared by the guests' assembly and C. */
#pragma once

#define BOOT_BAD       0
#define BOOT_LINUX32   1
#define BOOT_LINUX64   2
#define BOOT_PVH       3
#define BOOT_MULTIBOOT 4
#define BOOT_ROM       5

#define AP_TRAMPOLINE 0x8000
#define MAPPED_GIB    16
#define MAX_CPUS      64
