/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * q35: the PC with PCI Express (Intel Q35 and ICH9), at QEMU's addresses. With -kernel the board
 * does what firmware would: PCI resources, chipset bases, ACPI tables, memory map.
 */
#include "hw/board/pc.h"
#include "hw/board/versions.h"
#include "hw/acpi/cpu_hotplug.h"
#include "hw/devices.h"
#include "hw/isa/acpi_pm.h"
#include "hw/isa/ich9.h"
#include "hw/isa/isa.h"
#include "hw/pci/host.h"
#include "hw/smbus/smbus.h"
#include "vmm/util/bytes.h"

#define LOW_RAM_MAX      Q35_ECAM_BASE /* RAM that ends below the ECAM is all low */
#define LOW_RAM_SPLIT    (2 * GIB)     /* else this much is */
#define MEM32_FIRST      0xc0000000U
#define MEM32_LAST       0xfebfffffU
#define MEM64_SIZE       (64 * GIB)
#define MEM64_ALIGN      GIB
#define IO_FIRST         0x1000 /* for BARs that the board places */
#define IO_WINDOW_FIRST  0xd00  /* for those that the system does */
#define KVM_PRIVATE_PAGE 0xfeffc000ULL
#define RESET_PORT       0xcf9
#define RESET_VALUE      0x06 /* hard reset */
#define ISA_DEVICES_MAX  12
#define HPET_ROUTES      0xff0104U /* I/O APIC inputs 2, 8, 16 to 23 */

typedef struct Q35Board {
    PcBoard pc;
    Device *host, *mch, *lpc, *rtc;
    Device *smb; /* NULL: smbus=off */
    bool i8042;
    bool sata, usb;
    bool hpet;
    bool smbus;
    int smm;       /* auto: off */
    bool graphics; /* what a board of QEMU has and this one not yet */
    int vmport;
    char *pcspk_audiodev;
    AcpiIsaDevice isa_devices[ISA_DEVICES_MAX];
    unsigned isa_device_count;
} Q35Board;

static const Property q35_props[] = {
    PC_SMBIOS_PROP(Q35Board),
    PC_FLASH_PROPS(Q35Board),
    PROP_BOOL("i8042", Q35Board, i8042, true, "Keyboard controller, PS/2 keyboard and mouse"),
    PROP_BOOL("hpet", Q35Board, hpet, false, "High precision event timer"),
    PROP_BOOL("sata", Q35Board, sata, true, "AHCI controller with six ports"),
    PROP_BOOL("smbus", Q35Board, smbus, true, "SMBus controller, memory modules' EEPROMs"),
    PROP_BOOL("usb", Q35Board, usb, false, "A USB controller (qemu-xhci)"),
    PROP_STRING("pcspk-audiodev", Q35Board, pcspk_audiodev, NULL,
                "The speaker's sound: only unset"),
    PROP_BOOL("graphics", Q35Board, graphics, false, "Graphics adapter: only off"),
    PROP_ONOFFAUTO("smm", Q35Board, smm, ON_OFF_AUTO_AUTO, PC_SMM_HELP),
    PROP_ONOFFAUTO("vmport", Q35Board, vmport, ON_OFF_AUTO_AUTO, "VMware's port: only off or auto"),
    PROP_END,
};

static bool check_props(const Q35Board *board, GError **error)
{
    const PcAbsent absent[] = {
        { "graphics=on", "a graphics adapter", board->graphics },
        { "vmport=on", "VMware's port", board->vmport == ON_OFF_AUTO_ON },
        { "pcspk-audiodev", "sound", board->pcspk_audiodev != NULL },
    };

    return pc_check_absent(absent, G_N_ELEMENTS(absent), error);
}

/* ---- Building ---- */

static bool build_pci(Machine *machine, Q35Board *board, GError **error)
{
    static const char *const mch_props[] = { "addr", "0.0", NULL };
    static const char *const sata_props[] = { "addr", "1f.2", "multifunction", "on", NULL };
    static const char *const smb_props[] = { "addr", "1f.3", "multifunction", "on", NULL };
    static const char *const usb_props[] = { "addr", "1d.0", NULL };
    static const char *const lpc_props[] = { "addr", "1f.0", "multifunction", "on", NULL };

    board->host = pc_add_device(machine, q35_host_class.name, NULL, NULL, error);
    if (!board->host) {
        return false;
    }
    Bus *pcie = pci_bus_base(q35_host_bus(board->host));
    board->mch = pc_add_device(machine, q35_mch_class.name, pcie, mch_props, error);
    if (!board->mch) {
        return false;
    }
    board->lpc = pc_add_device(machine, ich9_lpc_class.name, pcie, lpc_props, error);
    if (!board->lpc) {
        return false;
    }
    q35_host_connect_intx(board->host, ich9_lpc_set_intx, board->lpc);
    if (machine->smm_memory && !ich9_lpc_add_smi_features(board->lpc, board->pc.fw_cfg, error)) {
        return false;
    }
    if (board->sata && !pc_add_device(machine, ich9_ahci_class.name, pcie, sata_props, error)) {
        return false;
    }
    if (board->smbus) {
        board->smb = pc_add_device(machine, ich9_smb_class.name, pcie, smb_props, error);
        if (!board->smb) {
            return false;
        }
    }
    return !board->usb || pc_add_device(machine, qemu_xhci_class.name, pcie, usb_props, error);
}

static bool build_isa(Machine *machine, Q35Board *board, GError **error)
{
    Bus *isa = ich9_lpc_isa_bus(board->lpc);

    board->rtc = pc_add_device(machine, mc146818rtc_class.name, isa, NULL, error);
    if (!board->rtc) {
        return false;
    }
    mc146818_set_memory(board->rtc, machine->ram_below_4g, machine->ram_above_4g,
                        machine->config->smp.cpus);
    if (board->i8042 && !pc_add_device(machine, i8042_class.name, isa, NULL, error)) {
        return false;
    }
    return pc_add_hotplug(machine, CPU_HOTPLUG_PORT_Q35, ich9_lpc_raise_gpe, board->lpc, error) &&
           pc_add_device(machine, port92_class.name, isa, NULL, error) &&
           pc_add_device(machine, i8237_class.name, isa, NULL, error) &&
           pc_add_serials(machine, isa, error);
}

static bool q35_build(Machine *machine, GError **error)
{
    Q35Board *board = machine->board;
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

/* Above RAM, on a boundary of its own size where that is possible. */
static void mem64_window(const Machine *machine, uint64_t *first, uint64_t *last)
{
    *first = ALIGN_UP(pc_memory_end(machine), MEM64_ALIGN);
    *last = *first + MEM64_SIZE - 1;
}

static void describe_isa(Device *dev, void *opaque)
{
    Q35Board *board = opaque;
    AcpiIsaDevice isa;

    if (board->isa_device_count < ISA_DEVICES_MAX && pc_describe_isa(dev, &isa)) {
        board->isa_devices[board->isa_device_count++] = isa;
    }
}

static bool describe(Machine *machine, Q35Board *board, GError **error)
{
    const AcpiPmBlock pm = {
        .base = ICH9_PMBASE,
        .gpe_base = ICH9_PMBASE + ACPI_PM_GPE0,
        .gpe_len = ACPI_PM_GPE0_LEN,
        .sci_irq = ICH9_SCI_GSI,
        .smi_command = ICH9_APM_PORT,
        .acpi_enable = ICH9_APM_ACPI_ENABLE,
        .acpi_disable = ICH9_APM_ACPI_DISABLE,
        .sleep = board->pc.sleep,
    };
    AcpiPci pci = {
        .ecam_base = Q35_ECAM_BASE,
        .last_bus = 255,
        .io_first = IO_WINDOW_FIRST,
        .io_last = 0xffff,
        .mem32_first = MEM32_FIRST,
        .mem32_last = MEM32_LAST,
        .gsi = ich9_default_gsi,
        .isa_irq = ich9_default_isa_irq,
        .express = true,
    };
    AcpiConfig config = {
        .smp = &machine->config->smp,
        .numa = machine->config->numa,
        .hmat = machine->config->hmat,
        .ram_below_4g = machine->ram_below_4g,
        .has_pic = true,
        .level_isa_irqs = 1U << ICH9_SCI_GSI | 1U << 10 | 1U << 11,
        .ioapic_base = PC_IOAPIC_BASE,
        .pm = &pm,
        .reset_port = RESET_PORT,
        .reset_value = RESET_VALUE,
        .has_rtc = true,
        .has_i8042 = board->i8042,
        .hpet_id = pc_hpet_id(&board->pc),
        .pci = &pci,
        .isa_devfn = PCI_DEVFN(ICH9_LPC_SLOT, 0),
        .isa_devices = board->isa_devices,
    };

    mem64_window(machine, &pci.mem64_first, &pci.mem64_last);
    board->isa_device_count = 0;
    device_foreach(machine, describe_isa, board);
    config.isa_device_count = board->isa_device_count;
    pc_describe_hotplug(machine, CPU_HOTPLUG_PORT_Q35, &config);
    return pc_build_acpi(machine, &config, error);
}

static bool q35_finish(Machine *machine, GError **error)
{
    static const MemoryMapEntry reserved[] = {
        { Q35_ECAM_BASE, ECAM_SIZE, MEMORY_MAP_RESERVED },
        { ICH9_RCBA, 0x4000, MEMORY_MAP_RESERVED },
        { KVM_PRIVATE_PAGE, 0x4000, MEMORY_MAP_RESERVED },
    };
    Q35Board *board = machine->board;
    uint64_t mem64_first, mem64_last;

    if (!pc_load(machine, machine->config->append, error)) {
        return false;
    }
    board->pc.sleep = ich9_lpc_sleep(board->lpc, !board->pc.image);
    machine->can_sleep = board->pc.sleep.s3;
    if (!machine->config->no_acpi && !describe(machine, board, error)) {
        return false;
    }
    if (board->pc.image) {
        pc_make_map(machine, reserved, G_N_ELEMENTS(reserved));
        q35_mch_configure((PciDevice *)board->mch, Q35_ECAM_BASE);
    }
    mem64_window(machine, &mem64_first, &mem64_last);
    return pc_finish_fw_cfg(machine, mem64_first, error);
}

/* ---- Starting ---- */

/* As firmware leaves the chipset. */
static bool configure(Machine *machine, Q35Board *board, GError **error)
{
    PciApertures apertures = {
        .io_start = IO_FIRST,
        .io_last = 0xffff,
        .mem32_start = MEM32_FIRST,
        .mem32_last = MEM32_LAST,
        .irq_line = ich9_lpc_irq_line,
        .opaque = board->lpc,
    };

    mem64_window(machine, &apertures.mem64_start, &apertures.mem64_last);
    q35_mch_configure((PciDevice *)board->mch, Q35_ECAM_BASE);
    ich9_lpc_configure(board->lpc);
    if (board->smb) {
        ich9_smb_configure(board->smb);
    }
    return pci_assign_resources(q35_host_bus(board->host), &apertures, error);
}

static bool q35_reset(Machine *machine)
{
    Q35Board *board = machine->board;
    g_autoptr(GError) error = NULL;
    bool ok = (!pc_tables_stale(machine) || describe(machine, board, &error)) &&
              pc_reset_firmware(machine, &error) &&
              (!board->pc.image || configure(machine, board, &error));

    return pc_check_reset(machine, ok, error);
}

static const BoardDevice q35_named[] = {
    { "q35", "q35-pcihost" },
    { "fw_cfg", "fw_cfg_io" },
    { NULL },
};

#define Q35_CLASS(ID, VERSION, ...)                                                                \
    [ID] = { .name = "pc-q35-" VERSION,                                                            \
             .desc = "Standard PC (Q35 + ICH9, 2009)",                                             \
             .compat = pc_compat[ID],                                                              \
             .prefer_sockets = PC_PREFERS_SOCKETS(ID),                                             \
             .max_cpus = 255,                                                                      \
             .cpu_hotplug = true,                                                                  \
             .size = sizeof(Q35Board),                                                             \
             .named = q35_named,                                                                   \
             .props = q35_props,                                                                   \
             .build = q35_build,                                                                   \
             .finish = q35_finish,                                                                 \
             .reset = q35_reset,                                                                   \
             .boot = pc_boot,                                                                      \
             .set_boot_order = pc_set_boot_order,                                                  \
             .destroy = pc_destroy,                                                                \
             .default_nic = "virtio-net-pci",                                                      \
             .default_disk = "virtio",                                                             \
             .has_flash = true,                                                                    \
             .virtio_suffix = "-pci",                                                              \
             .ide_units = 1,                                                                       \
             .default_firmware = "bios-256k.bin",                                                  \
             __VA_ARGS__ }

const MachineClass q35_machine_classes[PC_VERSIONS] = {
    Q35_CLASS(PC_7_2, "7.2", .alias = "q35", .is_default = true),
    Q35_CLASS(PC_7_1, "7.1"),
    Q35_CLASS(PC_7_0, "7.0"),
    Q35_CLASS(PC_6_2, "6.2"),
    Q35_CLASS(PC_6_1, "6.1"),
    Q35_CLASS(PC_6_0, "6.0"),
};
