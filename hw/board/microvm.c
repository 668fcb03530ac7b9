/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * microvm: the least that runs a kernel, for a fast start, at QEMU's addresses: virtio-mmio slots,
 * one serial port, power by hardware-reduced ACPI; PCI Express and a clock when asked for.
 */
#include "hw/board/pc.h"
#include "hw/devices.h"
#include "hw/isa/isa.h"
#include "hw/isa/serial.h"
#include "hw/misc/ged.h"
#include "hw/pci/host.h"
#include "hw/virtio/mmio.h"
#include "vmm/util/bytes.h"

#define LOW_RAM_MAX      0xc0000000ULL
#define VIRTIO_BASE      0xfeb00000ULL
#define VIRTIO_SLOTS     8
#define VIRTIO_ACPI_GSI  16 /* to 23 */
#define VIRTIO_ISA_IRQ   5  /* to 12, without ACPI: all that PICs have */
#define PCIE_GSI         12 /* to 15 */
#define PCIE_ECAM        0xe0000000ULL
#define PCIE_MEM32_FIRST 0xc0000000U
#define PCIE_MEM32_LAST  0xdfffffffU
#define PCIE_MEM64_SIZE  (64 * GIB)
#define GED_EVENTS       0xfea00000ULL
#define GED_REGISTERS    0xfea00200ULL
#define GED_GSI          9
#define KVM_PRIVATE_PAGE 0xfeffc000ULL
#define ISA_DEVICES_MAX  8

typedef struct MicrovmBoard {
    PcBoard pc;
    Bus *isa;
    Device *pcie, *slots[VIRTIO_SLOTS];
    bool acpi; /* of -machine acpi= */
    bool isa_serial, auto_cmdline;
    bool usb, option_roms; /* what QEMU's board has and this one not */
    int rtc, want_pcie, pic, ioapic2;
    char *append;
    AcpiIsaDevice isa_devices[ISA_DEVICES_MAX];
    unsigned isa_device_count;
} MicrovmBoard;

static const Property microvm_props[] = {
    PC_SMBIOS_PROP(MicrovmBoard),
    PROP_BOOL("isa-serial", MicrovmBoard, isa_serial, true, "Serial ports as -serial says"),
    PROP_BOOL("auto-kernel-cmdline", MicrovmBoard, auto_cmdline, true,
              "Without ACPI: tell the kernel of the virtio-mmio devices"),
    PROP_ONOFFAUTO("rtc", MicrovmBoard, rtc, ON_OFF_AUTO_AUTO,
                   "The real-time clock (auto: off with KVM)"),
    PROP_ONOFFAUTO("pcie", MicrovmBoard, want_pcie, ON_OFF_AUTO_AUTO,
                   "A PCI Express bus (auto: off)"),
    PROP_ONOFFAUTO("pic", MicrovmBoard, pic, ON_OFF_AUTO_AUTO, "The two 8259s: only on or auto"),
    PROP_ONOFFAUTO("ioapic2", MicrovmBoard, ioapic2, ON_OFF_AUTO_AUTO,
                   "A second I/O APIC: only off or auto"),
    PROP_BOOL("usb", MicrovmBoard, usb, false, "A USB controller: only off"),
    PROP_BOOL("x-option-roms", MicrovmBoard, option_roms, false, "Option ROMs: only off"),
    PROP_END,
};

static bool kvm_runs(const Machine *machine)
{
    return g_str_equal(machine->config->accel, "kvm");
}

/* ---- Building ---- */

static bool build_virtio(Machine *machine, MicrovmBoard *board, GError **error)
{
    unsigned first = board->acpi ? VIRTIO_ACPI_GSI : VIRTIO_ISA_IRQ;

    for (unsigned i = 0; i < VIRTIO_SLOTS; i++) {
        board->slots[i] = virtio_mmio_slot_new(machine, VIRTIO_BASE + i * VIRTIO_MMIO_SIZE,
                                               &machine->gsi[first + i], i, error);
        if (!board->slots[i]) {
            return false;
        }
    }
    return true;
}

static bool build_pcie(Machine *machine, MicrovmBoard *board, GError **error)
{
    static const char *const root_props[] = { "addr", "0.0", NULL };

    if (board->want_pcie != ON_OFF_AUTO_ON) {
        return true;
    }
    if (!board->acpi) {
        return error_set(error, "-machine pcie=on needs ACPI: leave out acpi=off");
    }
    board->pcie = gpex_host_new(machine, PCIE_ECAM, PCIE_GSI, error);
    return board->pcie &&
           pc_add_device(machine, gpex_root_class.name, pci_bus_base(gpex_host_bus(board->pcie)),
                         root_props, error);
}

static bool build_isa(Machine *machine, MicrovmBoard *board, GError **error)
{
    bool clock = board->rtc == ON_OFF_AUTO_ON ||
                 (board->rtc == ON_OFF_AUTO_AUTO && !kvm_runs(machine));

    board->isa = bus_new(BUS_ISA, "isa.0", machine, NULL);
    if (clock) {
        Device *rtc = pc_add_device(machine, mc146818rtc_class.name, board->isa, NULL, error);
        if (!rtc) {
            return false;
        }
        mc146818_set_memory(rtc, machine->ram_below_4g, machine->ram_above_4g,
                            machine->config->smp.cpus);
    } else if (machine->config->boot.order || machine->config->boot.once) {
        return error_set(error, "-boot order= and once= are kept in the clock's memory, which a "
                                "microvm has with -machine rtc=on; or give the device bootindex=N");
    }
    /* Without ACPI the keyboard controller is how a system restarts. */
    if (!board->acpi && !pc_add_device(machine, i8042_class.name, board->isa, NULL, error)) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(machine->config->parallel); i++) {
        if (machine->config->parallel[i]) {
            return error_set(error, "-parallel: a microvm has no parallel ports; -chardev with "
                                    "-device isa-parallel,chardev=ID makes one");
        }
    }
    return !board->isa_serial || pc_add_serials(machine, board->isa, error);
}

static bool check_props(const MicrovmBoard *board, GError **error)
{
    const PcAbsent absent[] = {
        { "pic=off", "a microvm without 8259s", board->pic == ON_OFF_AUTO_OFF },
        { "ioapic2=on", "a second I/O APIC", board->ioapic2 == ON_OFF_AUTO_ON },
        { "usb=on", "a USB controller", board->usb },
        { "x-option-roms=on", "option ROMs", board->option_roms },
    };

    return pc_check_absent(absent, G_N_ELEMENTS(absent), error);
}

static bool microvm_build(Machine *machine, GError **error)
{
    MicrovmBoard *board = machine->board;
    bool ok;

    if (!check_props(board, error)) {
        return false;
    }
    board->acpi = !machine->config->no_acpi;
    address_space_begin(machine->memory);
    address_space_begin(machine->io);
    pc_map_ram(machine, LOW_RAM_MAX);
    ok = irqchip_create_user(machine, error) && pc_add_fw_cfg(machine, error) &&
         build_isa(machine, board, error) && build_virtio(machine, board, error) &&
         build_pcie(machine, board, error) &&
         (!board->acpi || acpi_ged_new(machine, GED_EVENTS, GED_REGISTERS, GED_GSI, error));
    address_space_commit(machine->io);
    address_space_commit(machine->memory);
    return ok;
}

/* ---- Describing ---- */

static void mem64_window(const Machine *machine, uint64_t *first, uint64_t *last)
{
    *first = ALIGN_UP(PC_ABOVE_4G + machine->ram_above_4g, GIB);
    *last = *first + PCIE_MEM64_SIZE - 1;
}

static uint32_t pcie_gsi(unsigned slot, unsigned pin)
{
    return PCIE_GSI + ((slot + pin) & 3);
}

static void describe_isa(Device *dev, void *opaque)
{
    MicrovmBoard *board = opaque;
    AcpiIsaDevice isa;

    if (board->isa_device_count < ISA_DEVICES_MAX && pc_describe_isa(dev, &isa)) {
        board->isa_devices[board->isa_device_count++] = isa;
    }
}

static unsigned describe_virtio(const MicrovmBoard *board, AcpiVirtioMmio *out)
{
    unsigned count = 0;

    for (unsigned i = 0; i < VIRTIO_SLOTS; i++) {
        if (virtio_mmio_slot_used(board->slots[i])) {
            out[count++] = (AcpiVirtioMmio){ VIRTIO_BASE + i * VIRTIO_MMIO_SIZE, VIRTIO_MMIO_SIZE,
                                             VIRTIO_ACPI_GSI + i };
        }
    }
    return count;
}

static bool describe(Machine *machine, MicrovmBoard *board, GError **error)
{
    const AcpiGed ged = {
        .base = GED_EVENTS,
        .registers = GED_REGISTERS,
        .gsi = GED_GSI,
        .reset_value = GED_RESET_VALUE,
    };
    AcpiPci pci = {
        .ecam_base = PCIE_ECAM,
        .last_bus = 255,
        .mem32_first = PCIE_MEM32_FIRST,
        .mem32_last = PCIE_MEM32_LAST,
        .gsi = pcie_gsi,
        .express = true,
    };
    AcpiVirtioMmio virtio[VIRTIO_SLOTS];
    AcpiConfig config = {
        .smp = &machine->config->smp,
        .numa = machine->config->numa,
        .hmat = machine->config->hmat,
        .ram_below_4g = machine->ram_below_4g,
        .ioapic_base = PC_IOAPIC_BASE,
        .ged = &ged,
        .pci = board->pcie ? &pci : NULL,
        .isa_devices = board->isa_devices,
        .virtio_mmio = virtio,
    };

    mem64_window(machine, &pci.mem64_first, &pci.mem64_last);
    config.virtio_mmio_count = describe_virtio(board, virtio);
    device_foreach(machine, describe_isa, board);
    config.isa_device_count = board->isa_device_count;
    for (unsigned i = 0; i < board->isa_device_count; i++) {
        config.has_rtc |= g_str_equal(board->isa_devices[i].hid, "PNP0B00");
    }
    return pc_build_acpi(machine, &config, error);
}

/* virtio_mmio.device=SIZE@BASE:IRQ for each device (Linux: drivers/virtio/virtio_mmio.c). */
static char *kernel_parameters(const Machine *machine, const MicrovmBoard *board)
{
    GString *text = g_string_new(machine->config->append ? machine->config->append : "");

    for (unsigned i = 0; i < VIRTIO_SLOTS; i++) {
        if (virtio_mmio_slot_used(board->slots[i])) {
            g_string_append_printf(text, "%svirtio_mmio.device=%u@0x%llx:%u", text->len ? " " : "",
                                   VIRTIO_MMIO_SIZE, VIRTIO_BASE + i * VIRTIO_MMIO_SIZE,
                                   VIRTIO_ISA_IRQ + i);
        }
    }
    return g_string_free(text, FALSE);
}

static bool microvm_finish(Machine *machine, GError **error)
{
    static const MemoryMapEntry reserved[] = {
        { PCIE_ECAM, ECAM_SIZE, MEMORY_MAP_RESERVED },
        { KVM_PRIVATE_PAGE, 0x4000, MEMORY_MAP_RESERVED },
    };
    MicrovmBoard *board = machine->board;
    unsigned skip = board->pcie ? 0 : 1;

    if (!board->acpi && board->auto_cmdline && machine->config->kernel) {
        board->append = kernel_parameters(machine, board);
    }
    if (!pc_load(machine, board->append ? board->append : machine->config->append, error)) {
        return false;
    }
    if (board->acpi && !describe(machine, board, error)) {
        return false;
    }
    if (board->pc.image) {
        pc_make_map(machine, reserved + skip, G_N_ELEMENTS(reserved) - skip);
    }
    return pc_finish_fw_cfg(machine, 0, error);
}

/* ---- Starting ---- */

static bool configure(Machine *machine, MicrovmBoard *board, GError **error)
{
    PciApertures apertures = {
        .mem32_start = PCIE_MEM32_FIRST,
        .mem32_last = PCIE_MEM32_LAST,
    };

    mem64_window(machine, &apertures.mem64_start, &apertures.mem64_last);
    return !board->pcie || pci_assign_resources(gpex_host_bus(board->pcie), &apertures, error);
}

static bool microvm_reset(Machine *machine)
{
    MicrovmBoard *board = machine->board;
    g_autoptr(GError) error = NULL;
    bool ok = pc_reset_firmware(machine, &error) &&
              (!board->pc.image || configure(machine, board, &error));

    return pc_check_reset(machine, ok, error);
}

static void microvm_destroy(Machine *machine)
{
    MicrovmBoard *board = machine->board;

    g_clear_pointer(&board->append, g_free);
    pc_destroy(machine);
}

const MachineClass microvm_machine_class = {
    .name = "microvm",
    .desc = "microvm (i386)",
    .max_cpus = 255,
    .size = sizeof(MicrovmBoard),
    .props = microvm_props,
    .build = microvm_build,
    .finish = microvm_finish,
    .reset = microvm_reset,
    .boot = pc_boot,
    .destroy = microvm_destroy,
    .default_nic = "virtio-net-device",
    .default_disk = "virtio",
    .virtio_suffix = "-device",
    .default_firmware = "bios-microvm.bin",
    .firmware_in_ram = true,
};
