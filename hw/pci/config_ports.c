/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Configuration mechanism #1. */
#include "hw/pci/config_ports.h"
#include "hw/pci/pci_internal.h"

#define CONFIG_DATA_PORT      0xcfc
#define CONFIG_ADDRESS_ENABLE (1U << 31)
#define RESET_CONTROL_OFFSET  1 /* 0xcf9 */
#define RESET_CONTROL_CPU     0x04
#define RESET_CONTROL_MASK    0x0e

static uint64_t address_read(void *opaque, uint64_t offset, unsigned size)
{
    PciConfigPorts *ports = opaque;
    uint64_t value = __atomic_load_n(&ports->address, __ATOMIC_RELAXED);

    if (size == 1 && offset == RESET_CONTROL_OFFSET) {
        return __atomic_load_n(&ports->reset_control, __ATOMIC_RELAXED);
    }
    return value >> (8 * offset) & (UINT64_MAX >> (64 - 8 * size));
}

/* Only a double word reaches the address register; a byte at 0xcf9 is the reset control. */
static void address_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PciConfigPorts *ports = opaque;

    if (size == 4) {
        __atomic_store_n(&ports->address, value & ~3U, __ATOMIC_RELAXED);
        return;
    }
    if (size != 1 || offset != RESET_CONTROL_OFFSET) {
        return;
    }
    uint8_t old =
        __atomic_exchange_n(&ports->reset_control, value & RESET_CONTROL_MASK, __ATOMIC_RELAXED);
    if ((value & RESET_CONTROL_CPU) && !(old & RESET_CONTROL_CPU)) {
        machine_request_reset(ports->machine, SHUTDOWN_CAUSE_GUEST_RESET);
    }
}

static const MemOps address_ops = { .read = address_read, .write = address_write, .max_size = 4 };

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    PciConfigPorts *ports = opaque;
    uint32_t address = __atomic_load_n(&ports->address, __ATOMIC_RELAXED);

    if (!(address & CONFIG_ADDRESS_ENABLE)) {
        return UINT32_MAX;
    }
    return pci_config_read(ports->bus, address >> 16, address >> 8, (address & 0xfc) + offset,
                           size);
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PciConfigPorts *ports = opaque;
    uint32_t address = __atomic_load_n(&ports->address, __ATOMIC_RELAXED);

    if (address & CONFIG_ADDRESS_ENABLE) {
        pci_config_write(ports->bus, address >> 16, address >> 8, (address & 0xfc) + offset, value,
                         size);
    }
}

static const MemOps data_ops = { .read = data_read, .write = data_write, .max_size = 4 };

void pci_config_ports_init(PciConfigPorts *ports, PciBus *bus)
{
    Machine *machine = bus->machine;

    ports->machine = machine;
    ports->bus = bus;
    mem_region_init_io(&ports->address_region, "pci-conf-idx", 4, &address_ops, ports, NULL);
    mem_region_init_io(&ports->data_region, "pci-conf-data", 4, &data_ops, ports, NULL);
    machine_topology_lock(machine);
    address_space_begin(machine->io);
    address_space_map(machine->io, &ports->address_region, PCI_CONFIG_ADDRESS_PORT, 0);
    address_space_map(machine->io, &ports->data_region, CONFIG_DATA_PORT, 0);
    address_space_commit(machine->io);
    machine_topology_unlock(machine);
}

void pci_config_ports_cleanup(PciConfigPorts *ports)
{
    machine_topology_lock(ports->machine);
    address_space_unmap(&ports->address_region);
    address_space_unmap(&ports->data_region);
    machine_topology_unlock(ports->machine);
}

void pci_config_ports_reset(PciConfigPorts *ports)
{
    ports->address = 0;
    ports->reset_control = 0;
}

char *pci_config_ports_firmware_name(const Device *dev)
{
    return g_strdup_printf("pci@i%04x", PCI_CONFIG_ADDRESS_PORT);
}

static const StateField ports_fields[] = {
    STATE_INT(PciConfigPorts, address),
    STATE_INT(PciConfigPorts, reset_control),
    STATE_END,
};

const StateSection pci_config_ports_state = {
    .name = "pci-config-ports",
    .version = 1,
    .fields = ports_fields,
};
