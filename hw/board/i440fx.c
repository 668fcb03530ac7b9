/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pc: the PC of 1996 (Intel i440FX and PIIX), at QEMU's addresses. With -kernel the board does what
 * firmware would: PCI resources, chipset bases, ACPI tables, memory map.
 */
#include <linux/pci_regs.h>
#include "hw/acpi/cpu_hotplug.h"
#include "hw/board/pc.h"
#include "hw/board/versions.h"
#include "hw/devices.h"
#include "hw/isa/acpi_pm.h"
#include "hw/isa/isa.h"
#include "hw/isa/piix.h"
#include "hw/pci/host.h"
#include "vmm/util/bytes.h"

#define LOW_RAM_MAX      0xe0000000ULL /* RAM that ends below is all low */
#define LOW_RAM_SPLIT    (3 * GIB)     /* else this much is */
#define MEM32_LAST       0xfebfffffU
#define MEM64_SIZE       (64 * GIB)
#define MEM64_ALIGN      GIB
#define IO_FIRST         0x1000 /* for BARs that the board places */
#define IO_WINDOW_FIRST  0xd00  /* for those that the system does */
#define KVM_PRIVATE_PAGE 0xfeffc000ULL
#define RESET_PORT       0xcf9
#define RESET_VALUE      0x06        /* hard reset */
#define HOTPLUG_SLOTS    0xfffffffcU /* all but the chipset's */
#define ISA_DEVICES_MAX  12
#define HPET_ROUTES      0x4U /* I/O APIC input 2 */

typedef struct I440fxBoard {
    PcBoard pc;
    Device *host, *pmc, *piix3, *pm, *rtc;
    bool i8042, usb;
    bool hpet;
    bool smbus;
    int smm;       /* auto: off */
    bool graphics; /* what a board of QEMU has and this one not yet */
    int vmport;
    char *pcspk_audiodev;
    AcpiIsaDevice isa_devices[ISA_DEVICES_MAX];
    unsigned isa_device_count;
} I440fxBoard;

static const Property i440fx_props[] = {
    PC_SMBIOS_PROP(I440fxBoard),
    PC_FLASH_PROPS(I440fxBoard),
    PROP_BOOL("i8042", I440fxBoard, i8042, true, "Keyboard controller, PS/2 keyboard and mouse"),
    PROP_BOOL("hpet", I440fxBoard, hpet, false, "High precision event timer"),
    PROP_BOOL("smbus", I440fxBoard, smbus, true, "SMBus controller, memory modules' EEPROMs"),
    PROP_BOOL("usb", I440fxBoard, usb, false, "A USB controller (qemu-xhci)"),
    PROP_STRING("pcspk-audiodev", I440fxBoard, pcspk_audiodev, NULL,
                "The speaker's sound: only unset"),
    PROP_BOOL("graphics", I440fxBoard, graphics, false, "Graphics adapter: only off"),
    PROP_ONOFFAUTO("smm", I440fxBoard, smm, ON_OFF_AUTO_AUTO, PC_SMM_HELP),
    PROP_ONOFFAUTO("vmport", I440fxBoard, vmport, ON_OFF_AUTO_AUTO,
                   "VMware's port: only off or auto"),
    PROP_END,
};

static bool check_props(const I440fxBoard *board, GError **error)
{
    const PcAbsent absent[] = {
        { "graphics=on", "a graphics adapter", board->graphics },
        { "vmport=on", "VMware's port", board->vmport == ON_OFF_AUTO_ON },
        { "pcspk-audiodev", "sound", board->pcspk_audiodev != NULL },
    };

    return pc_check_absent(absent, G_N_ELEMENTS(absent), error);
}

/* ---- Building ---- */

static bool build_pci(Machine *machine, I440fxBoard *board, GError **error)
{
    static const char *const pmc_props[] = { "addr", "0.0", NULL };
    static const char *const isa_props[] = { "addr", "1.0", "multifunction", "on", NULL };
    static const char *const ide_props[] = { "addr", "1.1", NULL };
    static const char *const usb_props[] = { "addr", "1.2", NULL }; /* PIIX3's controller's place */
    static const char *const pm_props[] = { "addr", "1.3", NULL };

    board->host = pc_add_device(machine, i440fx_host_class.name, NULL, NULL, error);
    if (!board->host) {
        return false;
    }
    Bus *pci = pci_bus_base(i440fx_host_bus(board->host));
    board->pmc = pc_add_device(machine, i440fx_class.name, pci, pmc_props, error);
    if (!board->pmc) {
        return false;
    }
    board->piix3 = pc_add_device(machine, piix3_class.name, pci, isa_props, error);
    if (!board->piix3) {
        return false;
    }
    i440fx_host_connect_intx(board->host, piix3_set_intx, board->piix3);
    if (!pc_add_device(machine, piix3_ide_class.name, pci, ide_props, error)) {
        return false;
    }
    board->pm = pc_add_device(machine, piix4_pm_class.name, pci, pm_props, error);
    if (!board->pm) {
        return false;
    }
    if (board->smbus && !piix4_pm_add_smbus(board->pm, error)) {
        return false;
    }
    return !board->usb || pc_add_device(machine, qemu_xhci_class.name, pci, usb_props, error);
}

static bool build_isa(Machine *machine, I440fxBoard *board, GError **error)
{
    Bus *isa = piix3_isa_bus(board->piix3);

    board->rtc = pc_add_device(machine, mc146818rtc_class.name, isa, NULL, error);
    if (!board->rtc) {
        return false;
    }
    mc146818_set_memory(board->rtc, machine->ram_below_4g, machine->ram_above_4g,
                        machine->config->smp.cpus);
    if (board->i8042 && !pc_add_device(machine, i8042_class.name, isa, NULL, error)) {
        return false;
    }
    return pc_add_hotplug(machine, CPU_HOTPLUG_PORT_PC, piix4_pm_raise_gpe, board->pm, error) &&
           pc_add_device(machine, port92_class.name, isa, NULL, error) &&
           pc_add_device(machine, i8237_class.name, isa, NULL, error) &&
           pc_add_device(machine, isa_fdc_class.name, isa, NULL, error) &&
           pc_add_serials(machine, isa, error);
}

static bool i440fx_build(Machine *machine, GError **error)
{
    I440fxBoard *board = machine->board;
    bool ok;

    if (!check_props(board, error) ||
        (board->smm == ON_OFF_AUTO_ON && !machine_enable_smm(machine, error))) {
        return false;
    }
    address_space_begin(machine->memory);
    address_space_begin(machine->io);
    pc_map_ram(machine, machine->ram->size < LOW_RAM_MAX ? LOW_RAM_MAX : LOW_RAM_SPLIT);
    ok = (!board->hpet || pc_add_hpet(machine, HPET_ROUTES, error)) &&
         irqchip_create_user(machine, error) && pc_add_fw_cfg(machine, error) &&
         build_pci(machine, board, error) && build_isa(machine, board, error);
    address_space_commit(machine->io);
    address_space_commit(machine->memory);
    return ok;
}

/* ---- Describing ---- */

/* Where firmware places memory BARs: from the first of these that is above RAM. */
static uint32_t mem32_first(const Machine *machine)
{
    return machine->ram_below_4g <= 0x80000000U   ? 0x80000000U
           : machine->ram_below_4g <= 0xc0000000U ? 0xc0000000U
                                                  : 0xe0000000U;
}

/* Above RAM, on a boundary of its own size where that is possible. */
static void mem64_window(const Machine *machine, uint64_t *first, uint64_t *last)
{
    *first = ALIGN_UP(pc_memory_end(machine), MEM64_ALIGN);
    *last = *first + MEM64_SIZE - 1;
}

static void describe_isa(Device *dev, void *opaque)
{
    I440fxBoard *board = opaque;
    AcpiIsaDevice isa;

    if (board->isa_device_count < ISA_DEVICES_MAX && pc_describe_isa(dev, &isa)) {
        board->isa_devices[board->isa_device_count++] = isa;
    }
}

static bool describe(Machine *machine, I440fxBoard *board, GError **error)
{
    const AcpiPmBlock pm = {
        .sleep = board->pc.sleep,
        .base = PIIX_PMBASE,
        .gpe_base = PIIX_GPE_BASE,
        .gpe_len = PIIX_GPE_LEN,
        .sci_irq = PIIX_SCI_GSI,
        .smi_command = PIIX_APM_PORT,
        .acpi_enable = PIIX_APM_ACPI_ENABLE,
        .acpi_disable = PIIX_APM_ACPI_DISABLE,
    };
    static const AcpiPciHotplug hotplug = {
        .port = PIIX_PCIHP_PORT,
        .gpe = PIIX_GPE_PCIHP,
        .slots = HOTPLUG_SLOTS,
    };
    AcpiPci pci = {
        .last_bus = 255,
        .io_first = IO_WINDOW_FIRST,
        .io_last = 0xffff,
        .mem32_first = mem32_first(machine),
        .mem32_last = MEM32_LAST,
        .piix_links = true,
        .hotplug = &hotplug,
    };
    AcpiConfig config = {
        .smp = &machine->config->smp,
        .numa = machine->config->numa,
        .hmat = machine->config->hmat,
        .ram_below_4g = machine->ram_below_4g,
        .has_pic = true,
        .level_isa_irqs = 1U << PIIX_SCI_GSI | 1U << 5 | 1U << 10 | 1U << 11,
        .ioapic_base = PC_IOAPIC_BASE,
        .pm = &pm,
        .reset_port = RESET_PORT,
        .reset_value = RESET_VALUE,
        .has_rtc = true,
        .has_i8042 = board->i8042,
        .hpet_id = pc_hpet_id(&board->pc),
        .pci = &pci,
        .isa_devfn = PCI_DEVFN(PIIX_SLOT, PIIX_ISA_FUNCTION),
        .isa_devices = board->isa_devices,
    };

    mem64_window(machine, &pci.mem64_first, &pci.mem64_last);
    board->isa_device_count = 0;
    device_foreach(machine, describe_isa, board);
    config.isa_device_count = board->isa_device_count;
    pc_describe_hotplug(machine, CPU_HOTPLUG_PORT_PC, &config);
    return pc_build_acpi(machine, &config, error);
}

static bool i440fx_finish(Machine *machine, GError **error)
{
    static const MemoryMapEntry reserved[] = {
        { KVM_PRIVATE_PAGE, 0x4000, MEMORY_MAP_RESERVED },
    };
    I440fxBoard *board = machine->board;
    uint64_t mem64_first, mem64_last;

    if (!pc_load(machine, machine->config->append, error)) {
        return false;
    }
    board->pc.sleep = piix4_pm_sleep(board->pm, !board->pc.image);
    machine->can_sleep = board->pc.sleep.s3;
    if (!machine->config->no_acpi && !describe(machine, board, error)) {
        return false;
    }
    if (board->pc.image) {
        pc_make_map(machine, reserved, G_N_ELEMENTS(reserved));
        i440fx_configure((PciDevice *)board->pmc);
    }
    mem64_window(machine, &mem64_first, &mem64_last);
    return pc_finish_fw_cfg(machine, mem64_first, error);
}

/* ---- Starting ---- */

/* As firmware leaves the chipset. */
static bool configure(Machine *machine, I440fxBoard *board, GError **error)
{
    PciApertures apertures = {
        .io_start = IO_FIRST,
        .io_last = 0xffff,
        .mem32_start = mem32_first(machine),
        .mem32_last = MEM32_LAST,
        .irq_line = piix3_irq_line,
        .opaque = board->piix3,
    };
    bool ok;

    mem64_window(machine, &apertures.mem64_start, &apertures.mem64_last);
    i440fx_configure((PciDevice *)board->pmc);
    piix3_configure(board->piix3);
    piix4_pm_configure(board->pm);
    ok = pci_assign_resources(i440fx_host_bus(board->host), &apertures, error);
    ((PciDevice *)board->pm)->config[PCI_INTERRUPT_LINE] = PIIX_SCI_GSI;
    return ok;
}

static bool i440fx_reset(Machine *machine)
{
    I440fxBoard *board = machine->board;
    g_autoptr(GError) error = NULL;
    bool ok = (!pc_tables_stale(machine) || describe(machine, board, &error)) &&
              pc_reset_firmware(machine, &error) &&
              (!board->pc.image || configure(machine, board, &error));

    return pc_check_reset(machine, ok, error);
}

static const BoardDevice i440fx_named[] = {
    { "i440fx", "i440FX-pcihost" },
    { "fw_cfg", "fw_cfg_io" },
    { NULL },
};

#define I440FX_CLASS(ID, VERSION, ...)                                                             \
    [ID] = { .name = "pc-i440fx-" VERSION,                                                         \
             .desc = "Standard PC (i440FX + PIIX, 1996)",                                          \
             .compat = pc_compat[ID],                                                              \
             .prefer_sockets = PC_PREFERS_SOCKETS(ID),                                             \
             .max_cpus = 255,                                                                      \
             .cpu_hotplug = true,                                                                  \
             .size = sizeof(I440fxBoard),                                                          \
             .named = i440fx_named,                                                                \
             .props = i440fx_props,                                                                \
             .build = i440fx_build,                                                                \
             .finish = i440fx_finish,                                                              \
             .reset = i440fx_reset,                                                                \
             .boot = pc_boot,                                                                      \
             .set_boot_order = pc_set_boot_order,                                                  \
             .destroy = pc_destroy,                                                                \
             .default_nic = "virtio-net-pci",                                                      \
             .default_disk = "virtio",                                                             \
             .has_flash = true,                                                                    \
             .virtio_suffix = "-pci",                                                              \
             .ide_units = 2,                                                                       \
             .default_firmware = "bios-256k.bin",                                                  \
             __VA_ARGS__ }

const MachineClass i440fx_machine_classes[PC_VERSIONS] = {
    I440FX_CLASS(PC_7_2, "7.2", .alias = "pc"),
    I440FX_CLASS(PC_7_1, "7.1"),
    I440FX_CLASS(PC_7_0, "7.0"),
    I440FX_CLASS(PC_6_2, "6.2"),
    I440FX_CLASS(PC_6_1, "6.1"),
    I440FX_CLASS(PC_6_0, "6.0"),
};
