/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device test kit: PCI functions through 0xCF8, set up as firmware would. */
#include <linux/pci_regs.h>
#include "tests/device/libqtest.h"

#define IO_START  0xc000
#define MEM_START 0xc0000000ULL

static void select_register(QTest *qts, uint8_t bus, uint8_t devfn, uint16_t reg)
{
    qtest_outl(qts, 0xcf8, 0x80000000u | (uint32_t)bus << 16 | (uint32_t)devfn << 8 | (reg & 0xfc));
}

uint32_t qpci_config_read(QTest *qts, uint8_t bus, uint8_t devfn, uint16_t reg, unsigned size)
{
    select_register(qts, bus, devfn, reg);
    uint16_t port = 0xcfc + (reg & 3);
    return size == 1   ? qtest_inb(qts, port)
           : size == 2 ? qtest_inw(qts, port)
                       : qtest_inl(qts, port);
}

void qpci_config_write(QTest *qts, uint8_t bus, uint8_t devfn, uint16_t reg, uint32_t value,
                       unsigned size)
{
    select_register(qts, bus, devfn, reg);
    uint16_t port = 0xcfc + (reg & 3);
    if (size == 1) {
        qtest_outb(qts, port, (uint8_t)value);
    } else if (size == 2) {
        qtest_outw(qts, port, (uint16_t)value);
    } else {
        qtest_outl(qts, port, value);
    }
}

static uint32_t config(QPci *pci, uint16_t reg, unsigned size)
{
    return qpci_config_read(pci->qts, pci->bus, pci->devfn, reg, size);
}

static void set_config(QPci *pci, uint16_t reg, uint32_t value, unsigned size)
{
    qpci_config_write(pci->qts, pci->bus, pci->devfn, reg, value, size);
}

/* Each slot has its own part of the apertures, so that functions need not know each other. */
static uint64_t place(QPci *pci, unsigned index, uint64_t size, bool io)
{
    static const uint64_t io_slot = 0x100;
    static const uint64_t mem_slot = 0x100000;
    uint64_t slot = pci->devfn >> 3;
    uint64_t start = io ? IO_START + slot * io_slot : MEM_START + slot * mem_slot;
    uint64_t used = 0;
    for (unsigned i = 0; i < index; i++) {
        if (pci->bar_size[i] && pci->bar_io[i] == io) {
            uint64_t end = pci->bar[i] + pci->bar_size[i] - start;
            used = MAX(used, end);
        }
    }
    used = (used + size - 1) / size * size;
    g_assert_cmpuint(used + size, <=, io ? io_slot : mem_slot);
    return start + used;
}

static unsigned map_bar(QPci *pci, unsigned index)
{
    uint16_t reg = (uint16_t)(PCI_BASE_ADDRESS_0 + index * 4);
    set_config(pci, reg, 0xffffffff, 4);
    uint32_t value = config(pci, reg, 4);
    if (value == 0) {
        return 1;
    }
    bool io = value & PCI_BASE_ADDRESS_SPACE_IO;
    bool wide = !io && (value & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;
    uint32_t mask = value & (io ? ~3u : ~15u);
    pci->bar_io[index] = io;
    pci->bar_size[index] = (uint32_t)(~mask + 1);
    if (io) {
        pci->bar_size[index] &= 0xffff;
    }
    pci->bar[index] = place(pci, index, pci->bar_size[index], io);
    set_config(pci, reg, (uint32_t)pci->bar[index], 4);
    if (wide) {
        set_config(pci, reg + 4, 0, 4);
    }
    return wide ? 2 : 1;
}

QPci *qpci_open(QTest *qts, uint8_t devfn)
{
    QPci *pci = g_new0(QPci, 1);
    pci->qts = qts;
    pci->devfn = devfn;
    g_assert_cmphex(config(pci, PCI_VENDOR_ID, 2), !=, 0xffff);
    set_config(pci, PCI_COMMAND, 0, 2);
    for (unsigned i = 0; i < 6;) {
        i += map_bar(pci, i);
    }
    set_config(pci, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    return pci;
}

QPci *qpci_find(QTest *qts, uint16_t vendor, uint16_t device, unsigned n)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        uint32_t id = qpci_config_read(qts, 0, (uint8_t)devfn, PCI_VENDOR_ID, 4);
        if (id == ((uint32_t)device << 16 | vendor) && n-- == 0) {
            return qpci_open(qts, (uint8_t)devfn);
        }
    }
    return NULL;
}

uint8_t qpci_find_capability(QPci *pci, uint8_t id, uint8_t after)
{
    uint8_t at = (uint8_t)config(pci, after ? after + 1 : PCI_CAPABILITY_LIST, 1);
    for (unsigned i = 0; at && i < 64; i++) {
        if (config(pci, at, 1) == id) {
            return at;
        }
        at = (uint8_t)config(pci, at + 1, 1);
    }
    return 0;
}

uint64_t qpci_read(QPci *pci, unsigned bar, uint64_t offset, unsigned size)
{
    if (pci->bar_io[bar]) {
        uint16_t port = (uint16_t)(pci->bar[bar] + offset);
        return size == 1   ? qtest_inb(pci->qts, port)
               : size == 2 ? qtest_inw(pci->qts, port)
                           : qtest_inl(pci->qts, port);
    }
    return qtest_read(pci->qts, pci->bar[bar] + offset, size);
}

void qpci_write(QPci *pci, unsigned bar, uint64_t offset, uint64_t value, unsigned size)
{
    if (!pci->bar_io[bar]) {
        qtest_write(pci->qts, pci->bar[bar] + offset, value, size);
        return;
    }
    uint16_t port = (uint16_t)(pci->bar[bar] + offset);
    if (size == 1) {
        qtest_outb(pci->qts, port, (uint8_t)value);
    } else if (size == 2) {
        qtest_outw(pci->qts, port, (uint16_t)value);
    } else {
        qtest_outl(pci->qts, port, (uint32_t)value);
    }
}

uint64_t qpci_msix_aim(QPci *pci, unsigned vector, uint32_t data)
{
    uint8_t cap = qpci_find_capability(pci, PCI_CAP_ID_MSIX, 0);
    g_assert_cmphex(cap, !=, 0);
    uint32_t table = config(pci, cap + PCI_MSIX_TABLE, 4);
    uint64_t entry = (table & PCI_MSIX_TABLE_OFFSET) + vector * PCI_MSIX_ENTRY_SIZE;
    unsigned bar = table & PCI_MSIX_TABLE_BIR;
    uint64_t word = qtest_alloc(pci->qts, 4, 4);
    qtest_write(pci->qts, word, 0, 4);
    set_config(pci, cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
    qpci_write(pci, bar, entry + PCI_MSIX_ENTRY_LOWER_ADDR, word, 4);
    qpci_write(pci, bar, entry + PCI_MSIX_ENTRY_UPPER_ADDR, 0, 4);
    qpci_write(pci, bar, entry + PCI_MSIX_ENTRY_DATA, data, 4);
    qpci_write(pci, bar, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 0, 4);
    return word;
}
