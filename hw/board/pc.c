/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the x86 boards share: see the header. */
#include "hw/board/pc.h"

#include "hw/acpi/cpu_hotplug.h"
#include "hw/acpi/memory_hotplug.h"
#include "hw/devices.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/smbios.h"
#include "hw/isa/isa.h"
#include "hw/isa/serial.h"
#include "hw/misc/hpet.h"
#include "vmm/memory/dma.h"
#include "vmm/util/bytes.h"

#define PC_EBDA_START     0x9fc00
#define PC_LEGACY_END     0xa0000
#define PC_ROM_START      0xe0000
#define PC_ACPI_RESERVE   (256 * KIB)
#define PC_ACPI_TOP_ALIGN (64 * KIB)

void pc_map_ram(Machine *machine, uint64_t low_size)
{
    PcBoard *pc = machine->board;
    uint64_t size = machine->ram->size;

    machine->ram_below_4g = MIN(size, low_size);
    machine->ram_above_4g = size - machine->ram_below_4g;
    if (machine->config->ram_slots) {
        machine->device_memory_base = ALIGN_UP(PC_ABOVE_4G + machine->ram_above_4g, GIB);
        machine->device_memory_size = machine->config->ram_max - machine->config->ram_size +
                                      machine->config->ram_slots * GIB; /* room to align each */
    }
    mem_region_init_ram(&pc->ram_low, "ram-below-4g", machine->ram, 0, machine->ram_below_4g,
                        false);
    address_space_map(machine->memory, &pc->ram_low, 0, 0);
    if (!machine->ram_above_4g) {
        return;
    }
    mem_region_init_ram(&pc->ram_high, "ram-above-4g", machine->ram, machine->ram_below_4g,
                        machine->ram_above_4g, false);
    address_space_map(machine->memory, &pc->ram_high, PC_ABOVE_4G, 0);
}

bool pc_check_absent(const PcAbsent *absent, unsigned count, GError **error)
{
    for (unsigned i = 0; i < count; i++) {
        if (absent[i].wrong) {
            return error_set(error, "-machine %s: QEMU has %s, Vireo does not; leave it out",
                             absent[i].setting, absent[i].what);
        }
    }
    return true;
}

Device *pc_add_device(Machine *machine, const char *name, Bus *bus, const char *const *props,
                      GError **error)
{
    const DeviceClass *cls = device_class_find(name);
    Device *dev;

    if (!cls) {
        error_set(error, "this build has no device '%s', which machine '%s' needs", name,
                  machine->cls->name);
        return NULL;
    }
    dev = device_new(cls, NULL);
    for (; props && props[0]; props += 2) {
        if (!device_set_prop(dev, props[0], props[1], error)) {
            g_prefix_error(error, "%s: ", name);
            device_free(dev);
            return NULL;
        }
    }
    if (!device_realize(dev, machine, bus, error)) {
        g_prefix_error(error, "%s: ", name);
        device_free(dev);
        return NULL;
    }
    return dev;
}

bool pc_add_hpet(Machine *machine, uint32_t routes, GError **error)
{
    PcBoard *pc = machine->board;
    if (machine->config->no_hpet) {
        return true;
    }
    pc->hpet = hpet_new(machine, routes, error);
    return pc->hpet != NULL;
}

uint32_t pc_hpet_id(const PcBoard *pc)
{
    return pc->hpet ? hpet_block_id(pc->hpet) : 0;
}

bool pc_add_serials(Machine *machine, Bus *bus, GError **error)
{
    const MachineConfig *config = machine->config;

    for (unsigned i = 0; i < G_N_ELEMENTS(config->parallel); i++) {
        char index[2] = { '0' + i, 0 };
        const char *props[] = { "index", index, "chardev", config->parallel[i], NULL };
        if (config->parallel[i] && !pc_add_device(machine, "isa-parallel", bus, props, error)) {
            return false;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(config->serial); i++) {
        char index[2] = { '0' + i, 0 };
        const char *props[] = { "index", index, "chardev", config->serial[i], NULL };
        if (config->serial[i] && !pc_add_device(machine, "isa-serial", bus, props, error)) {
            return false;
        }
    }
    if (config->debugcon) {
        const char *props[] = { "iobase", "0xe9", "chardev", config->debugcon, NULL };
        return pc_add_device(machine, "isa-debugcon", bus, props, error) != NULL;
    }
    return true;
}

bool pc_describe_isa(Device *dev, AcpiIsaDevice *out)
{
    static const char *const ports[] = { "COM1", "COM2", "COM3", "COM4" };
    static const char *const printers[] = { "LPT1", "LPT2", "LPT3" };
    uint16_t iobase;
    unsigned irq, index, dma;

    if (isa_serial_resources(dev, &iobase, &irq, &index) && index < G_N_ELEMENTS(ports)) {
        *out = (AcpiIsaDevice){ .name = ports[index],
                                .hid = "PNP0501",
                                .io = iobase,
                                .io_len = 8,
                                .irq = irq,
                                .uid = index + 1 };
        return true;
    }
    if (isa_parallel_resources(dev, &iobase, &irq, &index)) {
        *out = (AcpiIsaDevice){ .name = printers[index],
                                .hid = "PNP0400",
                                .io = iobase,
                                .io_len = iobase % 8 ? 3 : 8, /* with room for EPP, or without */
                                .irq = irq,
                                .uid = index + 1 };
        return true;
    }
    if (isa_fdc_resources(dev, &iobase, &irq, &dma)) {
        *out = (AcpiIsaDevice){ .name = "FDC0",
                                .hid = "PNP0700",
                                .io = iobase + 2,
                                .io_len = 4,
                                .io2 = iobase + 7,
                                .io2_len = 1,
                                .irq = irq,
                                .dma = dma < 8 ? dma : 0 };
        return true;
    }
    if (dev->cls == &mc146818rtc_class) {
        *out =
            (AcpiIsaDevice){ .name = "RTC", .hid = "PNP0B00", .io = 0x70, .io_len = 2, .irq = 8 };
        return true;
    }
    if (dev->cls == &fw_cfg_class) {
        *out = (AcpiIsaDevice){
            .name = "FWCF", .hid = "QEMU0002", .io = FW_CFG_PORT, .io_len = FW_CFG_PORTS
        };
        return true;
    }
    if (dev->cls == &pvpanic_class) {
        *out = (AcpiIsaDevice){
            .name = "PEVT", .hid = "QEMU0001", .io = pvpanic_port(dev), .io_len = 1
        };
        return true;
    }
    return false;
}

uint64_t pc_memory_end(const Machine *machine)
{
    return MAX(PC_ABOVE_4G + machine->ram_above_4g,
               machine->device_memory_base + machine->device_memory_size);
}

void pc_describe_hotplug(const Machine *machine, unsigned cpu_port, AcpiConfig *config)
{
    config->cpus = machine->cpus;
    config->cpu_hotplug_port = (uint16_t)cpu_port;
    if (machine->config->ram_slots) {
        config->memory_hotplug_port = MEMORY_HOTPLUG_PORT;
        config->memory_slots = machine->config->ram_slots;
        config->hotplug_memory_base = machine->device_memory_base;
        config->hotplug_memory_size = machine->device_memory_size;
    }
}

bool pc_add_hotplug(Machine *machine, unsigned port, void (*raise)(void *opaque, unsigned bit),
                    void *opaque, GError **error)
{
    g_autofree char *iobase = g_strdup_printf("%u", port);
    const char *props[] = { "iobase", iobase, NULL };
    PcBoard *pc = machine->board;

    pc->raise_gpe = raise;
    pc->gpe_opaque = opaque;
    if (!pc_add_device(machine, acpi_cpu_hotplug_class.name, NULL, props, error)) {
        return false;
    }
    acpi_slots_connect(cpu_hotplug_slots(machine), raise, opaque);
    if (machine->config->ram_slots) {
        if (!pc_add_device(machine, acpi_memory_hotplug_class.name, NULL, NULL, error)) {
            return false;
        }
        acpi_slots_connect(memory_hotplug_slots(machine), raise, opaque);
    }
    return true;
}

/* ---- Loading ---- */

static bool load_kernel(Machine *machine, const char *append, GError **error)
{
    const MachineConfig *config = machine->config;
    PcBoard *pc = machine->board;

    pc->smbios = smbios_build(machine, machine->cls->desc, machine->cls->name, PC_SMBIOS_BASE,
                              MIB - PC_SMBIOS_BASE, error);
    if (!pc->smbios) {
        return false;
    }
    pc->image = boot_image_load(config->kernel, config->initrd, append, error);
    return pc->image != NULL;
}

static bool load_default_firmware(Machine *machine, GError **error)
{
    const char *name = machine->cls->default_firmware;
    g_autofree char *path = name ? boot_data_find(name) : NULL;

    if (g_str_equal(machine->config->accel, "qtest")) {
        return true;
    }
    if (!path) {
        return error_set(error,
                         "nothing to boot: firmware '%s' is not installed (Debian: apt-get install "
                         "seabios); name a directory with -L or an image with -bios FILE, or give "
                         "a kernel with -kernel FILE",
                         name ? name : "");
    }
    return boot_firmware_map(machine, path, machine->cls->firmware_in_ram, error);
}

bool pc_load(Machine *machine, const char *append, GError **error)
{
    const MachineConfig *config = machine->config;
    bool in_flash = false;

    if (machine->cls->has_flash && !pc_add_flash(machine, &in_flash, error)) {
        return false;
    }
    if (config->kernel && !config->bios && !in_flash) {
        return load_kernel(machine, append, error);
    }
    if (!config->kernel && (config->initrd || config->append)) {
        return error_set(error, "-%s needs a kernel: give it with -kernel FILE",
                         config->initrd ? "initrd" : "append");
    }
    if (!config->bios && !in_flash) {
        return load_default_firmware(machine, error);
    }
    return (in_flash ||
            boot_firmware_map(machine, config->bios, machine->cls->firmware_in_ram, error)) &&
           (!config->kernel || pc_add_firmware_kernel(machine, error));
}

bool pc_build_acpi(Machine *machine, const AcpiConfig *config, GError **error)
{
    PcBoard *pc = machine->board;
    uint64_t top = ALIGN_DOWN(machine->ram_below_4g, PC_ACPI_TOP_ALIGN);
    AcpiConfig all = *config;

    if (!pc_areas_describe(machine, &all, error)) {
        return false;
    }
    if (!pc->image) {
        bool ok = pc_add_acpi_files(machine, &all, error);
        pc->described = ok;
        return ok;
    }
    if (top < MIB + 2 * PC_ACPI_RESERVE) {
        return error_set(error, "-m: %" G_GUINT64_FORMAT " KiB are too little to boot a kernel",
                         (guint64)(machine->ram->size / KIB));
    }
    pc->areas_base = pc_areas_reserve(machine, top);
    pc->acpi_base = pc->areas_base - PC_ACPI_RESERVE;
    g_clear_pointer(&pc->acpi, g_byte_array_unref);
    pc->acpi = acpi_build(&all, pc->acpi_base);
    pc->described = true;
    if (pc->acpi->len > PC_ACPI_RESERVE) {
        return error_set(error, "the ACPI tables take %u bytes; %llu are reserved for them",
                         pc->acpi->len, PC_ACPI_RESERVE);
    }
    return true;
}

bool pc_tables_stale(const Machine *machine)
{
    const PcBoard *pc = machine->board;
    return pc->described && pc->booted && machine_waking(machine) == WAKEUP_NONE;
}

static void map_add(MemoryMap *map, uint64_t start, uint64_t length, MemoryMapType type)
{
    if (length) {
        map->entries[map->count++] = (MemoryMapEntry){ start, length, type };
    }
}

/* reserved: in order, above low RAM and below 4 GiB. */
void pc_make_map(Machine *machine, const MemoryMapEntry *reserved, unsigned count)
{
    PcBoard *pc = machine->board;
    MemoryMap *map = &pc->map;
    uint64_t low = machine->ram_below_4g, usable = pc->acpi ? pc->acpi_base : low;

    map->count = 0;
    map_add(map, 0, MIN(low, PC_EBDA_START), MEMORY_MAP_RAM);
    map_add(map, PC_EBDA_START, PC_LEGACY_END - PC_EBDA_START, MEMORY_MAP_RESERVED);
    map_add(map, PC_ROM_START, MIB - PC_ROM_START, MEMORY_MAP_RESERVED);
    if (usable > MIB) {
        map_add(map, MIB, usable - MIB, MEMORY_MAP_RAM);
    }
    if (pc->acpi) {
        uint64_t end = pc->areas_base < ALIGN_DOWN(low, PC_ACPI_TOP_ALIGN) ? pc->areas_base : low;
        map_add(map, usable, end - usable, MEMORY_MAP_ACPI);
        map_add(map, end, low - end, MEMORY_MAP_RESERVED);
    }
    for (unsigned i = 0; i < count; i++) {
        map->entries[map->count++] = reserved[i];
    }
    map_add(map, PC_ABOVE_4G, machine->ram_above_4g, MEMORY_MAP_RAM);
}

static bool boot_kernel(Machine *machine, GError **error)
{
    PcBoard *pc = machine->board;
    uint64_t rsdp = pc->acpi ? pc->acpi_base : 0;
    BootCpu cpu = { .mode = BOOT_CPU_FIRMWARE };

    if (pc->acpi) {
        dma_write(machine->memory, pc->acpi_base, pc->acpi->data, pc->acpi->len);
        dma_write(machine->memory, PC_RSDP_ADDRESS, pc->acpi->data, ACPI_RSDP_SIZE);
        pc_areas_place(machine);
    }
    dma_write(machine->memory, PC_SMBIOS_BASE, pc->smbios->data, pc->smbios->len);
    if (!boot_image_place(pc->image, machine, &pc->map, rsdp, &cpu, error)) {
        return false;
    }
    machine->accel->vcpu_set_boot(machine, &cpu);
    return true;
}

bool pc_check_reset(Machine *machine, bool ok, const GError *error)
{
    if (!ok) {
        report_error("%s", error->message);
        machine_request_exit(machine, EXIT_FAILURE);
    }
    return ok;
}

void pc_boot(Machine *machine)
{
    PcBoard *pc = machine->board;
    g_autoptr(GError) error = NULL;

    if (pc->image) {
        pc_check_reset(machine, boot_kernel(machine, &error), error);
    }
}

void pc_destroy(Machine *machine)
{
    PcBoard *pc = machine->board;

    address_space_unmap(&pc->ram_low);
    address_space_unmap(&pc->ram_high);
    g_clear_pointer(&pc->image, boot_image_free);
    irqchip_destroy_user(machine);
    g_clear_pointer(&pc->acpi, g_byte_array_unref);
    g_clear_pointer(&pc->smbios, g_byte_array_unref);
    g_clear_pointer(&pc->boot_order, g_free);
}
