/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hostile guest: nonsense into every register of every device, all widths. It ends idle, so that
 * the harness can see whether the machine is still steerable. */
#include "tests.h"

static uint64_t seed = 88172645463325252ull;

static uint64_t noise(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Small numbers and all-ones find more faults than noise alone. */
static uint32_t nasty(void)
{
    uint64_t r = noise();

    switch (r & 7) {
    case 0:
        return 0;
    case 1:
        return 0xffffffff;
    case 2:
        return (uint32_t)(r >> 8) & 0x0f;
    case 3:
        return 1u << ((r >> 8) & 31);
    default:
        return (uint32_t)(r >> 16);
    }
}

static void poke_memory(uint64_t at)
{
    switch (noise() & 7) {
    case 0:
        write8(at, (uint8_t)nasty());
        break;
    case 1:
        write16(at & ~1ull, (uint16_t)nasty());
        break;
    case 2:
        read8(at);
        break;
    case 3:
        read16(at & ~1ull);
        break;
    case 4:
        read32(at & ~3ull);
        break;
    case 5:
        *(volatile uint64_t *)(at & ~7ull) = (uint64_t)nasty() << 32 | nasty();
        break;
    case 6:
        write32(at | 3, nasty());
        break;
    default:
        write32(at & ~3ull, nasty());
    }
}

static void poke_port(uint16_t port)
{
    switch (noise() & 7) {
    case 0:
        inb(port);
        break;
    case 1:
        inw(port);
        break;
    case 2:
        inl(port);
        break;
    case 3:
        outw(port, (uint16_t)nasty());
        break;
    case 4:
        outl(port, nasty());
        break;
    default:
        outb(port, (uint8_t)nasty());
    }
}

static void poke_bars(Bdf bdf, uint32_t id)
{
    (void)id;
    if ((pci_read8(bdf, 0x0e) & 0x7f) != 0) {
        return;
    }
    pci_write16(bdf, 4, 3);
    for (uint32_t bar = 0; bar < 6; bar++) {
        bool is_io;
        uint64_t size = pci_bar_size(bdf, bar, &is_io), at;
        bool wide = (pci_read32(bdf, 0x10 + bar * 4) & 7) == 4;

        if (size != 0) {
            at = pci_bar_address(bdf, bar);
            pci_enable(bdf);
            for (uint32_t i = 0; i < 1500; i++) {
                uint64_t offset = noise() & (size - 1);

                if (is_io) {
                    poke_port((uint16_t)(at + offset));
                } else {
                    poke_memory(at + ((i & 1) ? offset : offset & 0x7f));
                }
            }
        }
        bar += wide;
    }
}

static void poke_config(Bdf bdf, uint32_t id)
{
    (void)id;
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t reg = (uint32_t)noise() & 0xff;

        if (i & 1) {
            pci_write8(bdf, reg, (uint8_t)nasty());
        } else {
            pci_write32(bdf, reg & 0xfc, nasty());
        }
    }
}

/* Ports whose writes rightly end or restart the machine, or are the test's own. */
static bool port_is_exempt(uint32_t port)
{
    return port == 0x64 || port == 0x92 || (port >= 0xb0 && port < 0xb4) ||
           (port >= 0xe6 && port < 0xec) || (port >= 0x4fe && port < 0x510) ||
           (port >= 0xcf5 && port < 0xd00) || (port >= 0x600 && port < 0x680) ||
           (port >= 0x60 && port < 0x65) || (port >= 0x8f && port < 0x93);
}

static void poke_mmio_slots(void)
{
    for (uint32_t i = 0; i < 6000; i++) {
        poke_memory(0xfeb00000u + (uint32_t)(noise() % 0x3000));
    }
}

void test_hostile(void)
{
    const char *target = arg_string("target");
    bool all = target == NULL;

    seed ^= arg_number("seed", 1) * 0x9e3779b97f4a7c15ull;
    print("hostile begins\n");
    if (all || strcmp(target, "bars") == 0) {
        pci_for_each(poke_bars);
    }
    if (all || strcmp(target, "mmio") == 0) {
        poke_mmio_slots();
    }
    if (all || strcmp(target, "ports") == 0) {
        for (uint32_t round = 0; round < 4; round++) {
            for (uint32_t port = 0; port < 0x1000; port++) {
                if (!port_is_exempt(port)) {
                    poke_port((uint16_t)port);
                }
            }
        }
    }
    if (all || strcmp(target, "chips") == 0) {
        for (uint32_t i = 0; i < 3000; i++) {
            poke_memory(IOAPIC_BASE + ((uint32_t)noise() & 0x7f));
            poke_memory(0xfed00000u + ((uint32_t)noise() & 0x3ff));
        }
    }
    if (all || strcmp(target, "config") == 0) {
        pci_for_each(poke_config);
    }
    print("hostile done\n");
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}
