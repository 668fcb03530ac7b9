/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests about PCI: enumeration, BARs, capabilities, the memory-mapped configuration space. */
#include "tests.h"

static void describe(Bdf bdf, uint32_t id)
{
    uint32_t class = pci_read32(bdf, 8);

    print("pci %02x:%02x.%x %04x:%04x class %04x", bdf >> 8, (bdf >> 3) & 31, bdf & 7, id & 0xffff,
          id >> 16, class >> 16);
    for (uint32_t bar = 0; (pci_read8(bdf, 0x0e) & 0x7f) == 0 && bar < 6; bar++) {
        bool is_io;
        uint64_t size = pci_bar_size(bdf, bar, &is_io);
        bool wide = (pci_read32(bdf, 0x10 + bar * 4) & 7) == 4;

        if (size != 0) {
            print(" bar%u %s %lx", bar, is_io ? "io" : "mem", size);
            expect((size & (size - 1)) == 0, "BAR size is not a power of two");
        }
        bar += wide;
    }
    print("\n");
    for (uint32_t at = pci_read8(bdf, 0x34), n = 0; (pci_read16(bdf, 6) & 0x10) && at != 0; n++) {
        expect(n < 48 && at >= 0x40, "capability list of %04x loops or is bad", bdf);
        at = pci_read8(bdf, at + 1) & 0xfc;
    }
    expect(pci_read16(bdf, 0) == (id & 0xffff), "16-bit read of the vendor id differs");
    expect(pci_read8(bdf, 3) == id >> 24, "8-bit read of the device id differs");
}

void test_pci(void)
{
    pci_for_each(describe);
    expect(pci_read32(0xff00, 0) == 0xffffffff, "a function on an absent bus answers");
}

static uint64_t ecam;

static void compare_ecam(Bdf bdf, uint32_t id)
{
    expect(read32(pci_ecam_address(ecam, bdf, 0)) == id, "ECAM id of %04x differs", bdf);
    for (uint32_t reg = 0; reg < 256; reg += 4) {
        uint32_t a = pci_read32(bdf, reg), b = read32(pci_ecam_address(ecam, bdf, reg));

        expect(a == b, "ECAM %04x register %x: %x, by ports %x", bdf, reg, b, a);
    }
    expect(read8(pci_ecam_address(ecam, bdf, 1)) == ((id >> 8) & 0xff), "ECAM byte read differs");
    expect(read16(pci_ecam_address(ecam, bdf, 2)) == id >> 16, "ECAM word read differs");
}

void test_ecam(void)
{
    ecam = pci_ecam_base();
    print("ecam %lx\n", ecam);
    expect(ecam != 0, "no ECAM");
    pci_for_each(compare_ecam);
}
