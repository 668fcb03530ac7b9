/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests that end or restart the machine: every reset port, ACPI S5, pvpanic. */
#include "tests.h"

#define PM_BASE_DEFAULT 0x600

static uint16_t pm_base(void)
{
    int lpc = pci_find(0x8086, 0x2918, 0x2918, 0);
    uint32_t base;

    expect(lpc >= 0, "no ICH9 LPC bridge");
    base = pci_read32((Bdf)lpc, 0x40) & 0xff80;
    if (base == 0 || (pci_read8((Bdf)lpc, 0x44) & 0x80) == 0) {
        pci_write32((Bdf)lpc, 0x40, PM_BASE_DEFAULT | 1);
        pci_write8((Bdf)lpc, 0x44, 0x80);
        base = PM_BASE_DEFAULT;
    }
    return (uint16_t)base;
}

static void triple_fault(void)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } none = { 0, 0 };

    __asm__ volatile("lidt %0; ud2" ::"m"(none));
}

void test_reset(void)
{
    const char *how = arg_string("how");

    print("reset by %s\n", how);
    if (strcmp(how, "cf9") == 0) {
        outb(0xcf9, 0x02);
        outb(0xcf9, 0x06);
    } else if (strcmp(how, "i8042") == 0) {
        outb(0x64, 0xfe);
    } else if (strcmp(how, "port92") == 0) {
        outb(0x92, 0x01);
    } else if (strcmp(how, "triple") == 0) {
        triple_fault();
    } else if (strcmp(how, "s5") == 0) {
        outw((uint16_t)(pm_base() + 4), 0x2000 | (0 << 10));
    } else if (strcmp(how, "ged-s5") == 0) {
        write8(0xfea00200, 0x20 | (5 << 2));
    } else if (strcmp(how, "ged-reset") == 0) {
        write8(0xfea00202, 0x42);
    } else {
        fail("unknown way '%s'", how);
    }
    for (uint32_t i = 0; i < 100000; i++) {
        inb(0x80);
    }
    fail("still running after %s", arg_string("how"));
}

void test_pvpanic(void)
{
    uint8_t events = inb(0x505);

    print("pvpanic events %x\n", events);
    expect(events & 1, "pvpanic does not offer the panic event");
    outb(0x505, 1);
    print("panicked\n");
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}
