/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bare-metal guests by name: the command line's test=NAME picks one. */
#pragma once

#include "../kit/virtio.h"

void test_hello(void);
void test_boot(void);
void test_memmap(void);
void test_smp(void);
void test_pci(void);
void test_ecam(void);
void test_irq(void);
void test_hpet(void);
void test_msix(void);
void test_blk(void);
void test_net_arp(void);
void test_rng(void);
void test_legacy_blk(void);
void test_console(void);
void test_balloon(void);
void test_hostile(void);
void test_broken_rings(void);
void test_reset(void);
void test_pvpanic(void);
void test_bad_instruction(void);
void test_idle(void);
void test_acpi(void);
void test_cpuid(void);
void test_nmi(void);
void test_cpu_hotplug(void);
void test_debug(void);
void test_registers(void);
void test_exits(void);
