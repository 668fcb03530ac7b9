/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest kit's PCI: configuration access, enumeration, BARs, capabilities, MSI-X. */
#include "pci.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define MEM_WINDOW     0xe8000000u
#define IO_WINDOW      0xd000u

static uint64_t mem_next = MEM_WINDOW;
static uint32_t io_next = IO_WINDOW;

static void select(Bdf bdf, uint32_t reg)
{
    outl(CONFIG_ADDRESS, 0x80000000u | ((uint32_t)bdf << 8) | (reg & 0xfc));
}

uint8_t pci_read8(Bdf bdf, uint32_t reg)
{
    select(bdf, reg);
    return inb((uint16_t)(CONFIG_DATA + (reg & 3)));
}

uint16_t pci_read16(Bdf bdf, uint32_t reg)
{
    select(bdf, reg);
    return inw((uint16_t)(CONFIG_DATA + (reg & 2)));
}

uint32_t pci_read32(Bdf bdf, uint32_t reg)
{
    select(bdf, reg);
    return inl(CONFIG_DATA);
}

void pci_write8(Bdf bdf, uint32_t reg, uint8_t v)
{
    select(bdf, reg);
    outb((uint16_t)(CONFIG_DATA + (reg & 3)), v);
}

void pci_write16(Bdf bdf, uint32_t reg, uint16_t v)
{
    select(bdf, reg);
    outw((uint16_t)(CONFIG_DATA + (reg & 2)), v);
}

void pci_write32(Bdf bdf, uint32_t reg, uint32_t v)
{
    select(bdf, reg);
    outl(CONFIG_DATA, v);
}

uint64_t pci_ecam_base(void)
{
    uint32_t low = pci_read32(0, 0x60);

    if (pci_read32(0, 0) != 0x29c08086) {
        return 0;
    }
    if ((low & 1) == 0) {
        /* No firmware has run: enable it where Vireo and SeaBIOS put it. */
        pci_write32(0, 0x64, 0);
        pci_write32(0, 0x60, 0xb0000001);
        low = pci_read32(0, 0x60);
    }
    return (low & 1) ? low & 0xf0000000u : 0;
}

static void scan_bus(uint32_t bus, void (*found)(Bdf bdf, uint32_t vendor_device))
{
    for (uint32_t slot = 0; slot < 32; slot++) {
        uint32_t functions = 1;

        for (uint32_t fn = 0; fn < functions; fn++) {
            Bdf bdf = (Bdf)(bus << 8 | slot << 3 | fn);
            uint32_t id = pci_read32(bdf, 0);
            uint8_t type;

            if ((id & 0xffff) == 0xffff) {
                continue;
            }
            type = pci_read8(bdf, 0x0e);
            if (fn == 0 && (type & 0x80)) {
                functions = 8;
            }
            found(bdf, id);
            if ((type & 0x7f) == 1 && pci_read8(bdf, 0x19) > bus) {
                scan_bus(pci_read8(bdf, 0x19), found);
            }
        }
    }
}

void pci_for_each(void (*found)(Bdf bdf, uint32_t vendor_device))
{
    scan_bus(0, found);
}

static uint16_t find_vendor, find_first, find_last;
static uint32_t find_left;
static int find_result;

static void find_match(Bdf bdf, uint32_t id)
{
    uint16_t device = (uint16_t)(id >> 16);

    if ((uint16_t)id == find_vendor && device >= find_first && device <= find_last) {
        if (find_left-- == 0) {
            find_result = bdf;
        }
    }
}

int pci_find(uint16_t vendor, uint16_t first, uint16_t last, uint32_t nth)
{
    find_vendor = vendor;
    find_first = first;
    find_last = last;
    find_left = nth;
    find_result = -1;
    pci_for_each(find_match);
    return find_result;
}

uint64_t pci_bar_size(Bdf bdf, uint32_t bar, bool *is_io)
{
    uint32_t reg = 0x10 + bar * 4, old = pci_read32(bdf, reg);
    uint16_t command = pci_read16(bdf, 4);
    uint32_t mask;

    pci_write16(bdf, 4, command & ~3);
    pci_write32(bdf, reg, 0xffffffff);
    mask = pci_read32(bdf, reg);
    pci_write32(bdf, reg, old);
    pci_write16(bdf, 4, command);
    *is_io = mask & 1;
    if (mask == 0) {
        return 0;
    }
    return *is_io ? (uint16_t)(~(mask & ~3u) + 1) : ~(mask & ~15u) + 1;
}

static void bar_assign(Bdf bdf, uint32_t bar)
{
    bool is_io;
    uint64_t size = pci_bar_size(bdf, bar, &is_io);
    uint32_t reg = 0x10 + bar * 4;

    if (size == 0) {
        return;
    }
    if (is_io) {
        io_next = (uint32_t)((io_next + size - 1) & ~(size - 1));
        pci_write32(bdf, reg, io_next);
        io_next += (uint32_t)size;
        return;
    }
    mem_next = (mem_next + size - 1) & ~(size - 1);
    pci_write32(bdf, reg, (uint32_t)mem_next);
    if ((pci_read32(bdf, reg) & 6) == 4) {
        pci_write32(bdf, reg + 4, 0);
    }
    mem_next += size;
}

uint64_t pci_bar_address(Bdf bdf, uint32_t bar)
{
    uint32_t reg = 0x10 + bar * 4, low = pci_read32(bdf, reg);
    bool wide = (low & 7) == 4;
    uint64_t high = wide ? pci_read32(bdf, reg + 4) : 0;

    if ((low & 1) ? (low & ~3u) == 0 : (low & ~15u) == 0 && high == 0) {
        bar_assign(bdf, bar);
        low = pci_read32(bdf, reg);
        high = wide ? pci_read32(bdf, reg + 4) : 0;
    }
    return (low & 1) ? low & ~3u : (high << 32) | (low & ~15u);
}

void pci_enable(Bdf bdf)
{
    pci_write16(bdf, 4, pci_read16(bdf, 4) | 7);
}

uint8_t pci_capability(Bdf bdf, uint8_t id, uint32_t nth)
{
    uint8_t at = 0;

    if (pci_read16(bdf, 6) & 0x10) {
        at = pci_read8(bdf, 0x34) & 0xfc;
    }
    for (uint32_t i = 0; at != 0 && i < 48; i++) {
        if (pci_read8(bdf, at) == id && nth-- == 0) {
            return at;
        }
        at = pci_read8(bdf, at + 1u) & 0xfc;
    }
    return 0;
}

void pci_msix_route(Bdf bdf, uint32_t entry, uint8_t vector)
{
    uint8_t cap = pci_capability(bdf, 0x11, 0);
    uint32_t table;
    uint64_t at;

    expect(cap != 0, "%04x has no MSI-X", bdf);
    table = pci_read32(bdf, cap + 4u);
    at = pci_bar_address(bdf, table & 7) + (table & ~7u) + entry * 16;
    pci_enable(bdf);
    pci_write16(bdf, cap + 2u, 0x8000);
    write32(at, LAPIC_BASE | (lapic_id() << 12));
    write32(at + 4, 0);
    write32(at + 8, vector);
    write32(at + 12, 0);
}
