/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Table of the bare-metal guests in one image; test=NAME on the command line picks one. */
#include "tests.h"

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
    { "hello", test_hello },
    { "boot", test_boot },
    { "memmap", test_memmap },
    { "smp", test_smp },
    { "pci", test_pci },
    { "ecam", test_ecam },
    { "irq", test_irq },
    { "hpet", test_hpet },
    { "msix", test_msix },
    { "blk", test_blk },
    { "net-arp", test_net_arp },
    { "rng", test_rng },
    { "legacy-blk", test_legacy_blk },
    { "console", test_console },
    { "balloon", test_balloon },
    { "hostile", test_hostile },
    { "broken-rings", test_broken_rings },
    { "reset", test_reset },
    { "pvpanic", test_pvpanic },
    { "bad-instruction", test_bad_instruction },
    { "idle", test_idle },
    { "acpi", test_acpi },
    { "cpuid", test_cpuid },
    { "nmi", test_nmi },
    { "cpu-hotplug", test_cpu_hotplug },
    { "debug", test_debug },
    { "registers", test_registers },
    { "exits", test_exits },
};

void guest_main(void)
{
    const char *name = arg_string("test");

    for (uint32_t i = 0; name != NULL && i < ARRAY_LEN(tests); i++) {
        if (strcmp(tests[i].name, name) == 0) {
            tests[i].run();
            print("PASS %s\n", tests[i].name);
            guest_exit(0);
        }
    }
    fail("no test named '%s'", name != NULL ? name : "(none)");
}
