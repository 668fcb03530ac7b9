/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an x86 board tells its firmware through fw_cfg and CMOS. */
#include <string.h>
#include "hw/board/pc.h"
#include "hw/devices.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/smbios.h"
#include "hw/firmware/table_loader.h"
#include "hw/isa/isa.h"
#include "hw/isa/serial.h"
#include "hw/misc/hpet.h"
#include "hw/pci/pci.h"
#include "vmm/cli/opts.h"
#include "vmm/device/boot_order.h"
#include "vmm/machine/apic_id.h"
#include "vmm/machine/cpus.h"
#include "vmm/util/bytes.h"

#define FILE_RSDP     "etc/acpi/rsdp"
#define FILE_TABLES   "etc/acpi/tables"
#define FILE_LOADER   "etc/table-loader"
#define FILE_ORDER    "bootorder"
#define LINUXBOOT_ROM "linuxboot_dma.bin"
#define GENROM_PATH   "/rom@genroms/" LINUXBOOT_ROM

#define KVM_PRIVATE_PAGE 0xfeffc000ULL
#define KVM_PRIVATE_SIZE 0x4000
#define E820_ENTRY_SIZE  20
#define DEFAULT_ORDER    "cad"
#define MAX_ORDER        3 /* drives that CMOS has room for */
#define CMOS_BOOT_THIRD  0x38
#define CMOS_BOOT_FIRST  0x3d
#define MAX_OPTION_ROM   (1 * MIB)
#define MAX_SPLASH       (16 * MIB)
#define MAX_USER_FILE    (256 * MIB)
#define STATE_ENABLED    0x80

const char *const pc_smbios_entries[] = { "32", "64", NULL };

/* ---- From the start ---- */

#define HPET_FW_MAX   8
#define HPET_FW_BYTES 15 /* of each: block id, address, shortest period, page protection */

static void set_hpet(PcBoard *pc)
{
    uint8_t item[1 + HPET_FW_MAX * HPET_FW_BYTES] = { 1 };
    if (!pc->hpet) {
        return;
    }
    store_le32(item + 1, hpet_block_id(pc->hpet));
    store_le64(item + 5, HPET_BASE);
    store_le16(item + 13, HPET_MIN_TICK);
    fw_cfg_set(pc->fw_cfg, FW_CFG_HPET, item, sizeof(item));
}

bool pc_add_fw_cfg(Machine *machine, GError **error)
{
    PcBoard *pc = machine->board;
    const MachineConfig *config = machine->config;
    unsigned apic_ids = smp_apic_id(&config->smp, config->smp.maxcpus - 1) + 1;

    pc->fw_cfg = fw_cfg_new(machine, error);
    if (!pc->fw_cfg) {
        return false;
    }
    g_autofree uint8_t *numa = g_malloc0((1 + apic_ids) * 8);
    fw_cfg_set(pc->fw_cfg, FW_CFG_UUID, config->uuid, sizeof(config->uuid));
    fw_cfg_set_int(pc->fw_cfg, FW_CFG_RAM_SIZE, machine->ram->size, 8);
    fw_cfg_set_int(pc->fw_cfg, FW_CFG_NOGRAPHIC, config->nographic, 2);
    fw_cfg_set_int(pc->fw_cfg, FW_CFG_NB_CPUS, config->smp.cpus, 2);
    fw_cfg_set_int(pc->fw_cfg, FW_CFG_MAX_CPUS, apic_ids, 2);
    fw_cfg_set_int(pc->fw_cfg, FW_CFG_BOOT_MENU, config->boot.menu, 2);
    fw_cfg_set_int(pc->fw_cfg, FW_CFG_IRQ0_OVERRIDE, 1, 4);
    set_hpet(pc);
    fw_cfg_set(pc->fw_cfg, FW_CFG_NUMA, numa, (1 + apic_ids) * 8);
    return true;
}

/* ---- A kernel that firmware starts ---- */

/* Firmware finds it by its file's name, whatever directory that is in. */
static bool add_option_rom(Device *fw, const char *path, GError **error)
{
    g_autofree char *name = g_path_get_basename(path);
    g_autofree char *file = g_strconcat("genroms/", name, NULL);
    size_t len;
    g_autofree uint8_t *data = boot_data_read(path, MAX_OPTION_ROM, &len, error);
    return data && fw_cfg_add_file(fw, file, data, len, error);
}

static bool add_linuxboot(Device *fw, GError **error)
{
    g_autofree char *path = boot_data_find(LINUXBOOT_ROM);
    if (!path) {
        return error_set(error,
                         "-kernel with -bios needs the option ROM '%s', which is not installed "
                         "(Debian: apt-get install qemu-system-data); name a directory with -L, or "
                         "leave out -bios to start the kernel directly",
                         LINUXBOOT_ROM);
    }
    return add_option_rom(fw, path, error);
}

bool pc_add_firmware_kernel(Machine *machine, GError **error)
{
    PcBoard *pc = machine->board;
    const MachineConfig *config = machine->config;
    FirmwareKernel kernel;
    Device *fw = pc->fw_cfg;

    if (!add_linuxboot(fw, error) ||
        !firmware_kernel_load(&kernel, config->kernel, config->initrd, config->append,
                              machine->ram_below_4g, error)) {
        return false;
    }
    pc->firmware_kernel = true;
    fw_cfg_set_int(fw, FW_CFG_SETUP_ADDR, kernel.setup_addr, 4);
    fw_cfg_set_int(fw, FW_CFG_SETUP_SIZE, kernel.setup_size, 4);
    fw_cfg_take(fw, FW_CFG_SETUP_DATA, kernel.setup, kernel.setup_size);
    fw_cfg_set_int(fw, FW_CFG_KERNEL_ADDR, kernel.kernel_addr, 4);
    fw_cfg_set_int(fw, FW_CFG_KERNEL_SIZE, kernel.kernel_size, 4);
    fw_cfg_take(fw, FW_CFG_KERNEL_DATA, kernel.kernel, kernel.kernel_size);
    fw_cfg_set_int(fw, FW_CFG_CMDLINE_ADDR, kernel.cmdline_addr, 4);
    fw_cfg_set_int(fw, FW_CFG_CMDLINE_SIZE, strlen(kernel.cmdline) + 1, 4);
    fw_cfg_set_string(fw, FW_CFG_CMDLINE_DATA, kernel.cmdline);
    g_free(kernel.cmdline);
    fw_cfg_set_int(fw, FW_CFG_INITRD_SIZE, kernel.initrd_size, 4);
    if (kernel.initrd) {
        fw_cfg_set_int(fw, FW_CFG_INITRD_ADDR, kernel.initrd_addr, 4);
        fw_cfg_take(fw, FW_CFG_INITRD_DATA, kernel.initrd, kernel.initrd_size);
    }
    return true;
}

/* ---- Tables ---- */

/* The RSDP stands alone in its file; offsets in the tables' file begin behind it. */
static const char *locate(uint32_t *offset)
{
    if (*offset < ACPI_TABLES_OFFSET) {
        return FILE_RSDP;
    }
    *offset -= ACPI_TABLES_OFFSET;
    return FILE_TABLES;
}

static GByteArray *make_script(Machine *machine, const AcpiLinks *links)
{
    GByteArray *script = g_byte_array_new();

    loader_allocate(script, FILE_RSDP, 16, LOADER_ZONE_FSEG);
    loader_allocate(script, FILE_TABLES, 64, LOADER_ZONE_HIGH);
    pc_areas_allocate(machine, script);
    for (guint i = 0; i < links->pointers->len; i++) {
        AcpiPointer pointer = g_array_index(links->pointers, AcpiPointer, i);
        const char *file = locate(&pointer.offset);
        loader_add_pointer(script, file, pointer.file ? pointer.file : FILE_TABLES, pointer.offset,
                           (uint8_t)pointer.size);
    }
    for (guint i = 0; i < links->checksums->len; i++) {
        AcpiChecksum sum = g_array_index(links->checksums, AcpiChecksum, i);
        uint32_t moved = sum.offset;
        const char *file = locate(&moved);
        locate(&sum.start);
        loader_add_checksum(script, file, moved, sum.start, sum.length);
    }
    pc_areas_write_back(machine, script);
    return script;
}

/* The file as it is now; the first time it is added. */
static bool set_file(PcBoard *pc, const char *name, const uint8_t *data, size_t len, GError **error)
{
    if (!pc->described) {
        return fw_cfg_add_file(pc->fw_cfg, name, data, len, error);
    }
    fw_cfg_replace_file(pc->fw_cfg, name, data, len);
    return true;
}

bool pc_add_acpi_files(Machine *machine, const AcpiConfig *config, GError **error)
{
    PcBoard *pc = machine->board;
    AcpiLinks links;
    g_autoptr(GByteArray) block = acpi_build_links(config, &links);
    g_autoptr(GByteArray) script = make_script(machine, &links);

    acpi_links_clear(&links);
    return set_file(pc, FILE_RSDP, block->data, ACPI_RSDP_SIZE, error) &&
           set_file(pc, FILE_TABLES, block->data + ACPI_TABLES_OFFSET,
                    block->len - ACPI_TABLES_OFFSET, error) &&
           set_file(pc, FILE_LOADER, script->data, script->len, error);
}

static bool add_smbios(Machine *machine, PcBoard *pc, GError **error)
{
    g_autoptr(GByteArray) anchor = g_byte_array_new();
    g_autoptr(GByteArray)
        tables = smbios_build_files(machine, machine->cls->desc, machine->cls->name,
                                    pc->smbios_entry == SMBIOS_ENTRY_64, anchor, error);

    return tables &&
           fw_cfg_add_file(pc->fw_cfg, "etc/smbios/smbios-anchor", anchor->data, anchor->len,
                           error) &&
           fw_cfg_add_file(pc->fw_cfg, "etc/smbios/smbios-tables", tables->data, tables->len,
                           error);
}

static void put_e820(GByteArray *out, uint64_t start, uint64_t length, MemoryMapType type)
{
    uint8_t entry[E820_ENTRY_SIZE];

    if (length) {
        store_le64(entry, start);
        store_le64(entry + 8, length);
        store_le32(entry + 16, type);
        g_byte_array_append(out, entry, sizeof(entry));
    }
}

static bool add_e820(Machine *machine, PcBoard *pc, GError **error)
{
    g_autoptr(GByteArray) map = g_byte_array_new();

    put_e820(map, KVM_PRIVATE_PAGE, KVM_PRIVATE_SIZE, MEMORY_MAP_RESERVED);
    put_e820(map, 0, machine->ram_below_4g, MEMORY_MAP_RAM);
    put_e820(map, PC_ABOVE_4G, machine->ram_above_4g, MEMORY_MAP_RAM);
    return fw_cfg_add_file(pc->fw_cfg, "etc/e820", map->data, map->len, error);
}

/* ---- Screens and waiting ---- */

static void find_display(Device *dev, void *opaque)
{
    *(bool *)opaque |= dev->cls->category == DEVICE_CATEGORY_DISPLAY;
}

static void find_first_serial(Device *dev, void *opaque)
{
    uint16_t *port = opaque, iobase;
    unsigned irq, index;

    if (isa_serial_resources(dev, &iobase, &irq, &index) && index == 0) {
        *port = iobase;
    }
}

/* Without a screen the firmware's text goes to the first serial port. */
static bool add_console(Machine *machine, PcBoard *pc, GError **error)
{
    bool display = false;
    uint16_t port = 0;

    device_foreach(machine, find_display, &display);
    device_foreach(machine, find_first_serial, &port);
    return !port || (display && !machine->config->nographic) ||
           fw_cfg_add_file_int(pc->fw_cfg, "etc/sercon-port", port, 2, error);
}

static bool add_splash(PcBoard *pc, const char *path, GError **error)
{
    size_t len;
    g_autofree uint8_t *data = boot_data_read(path, MAX_SPLASH, &len, error);
    bool bitmap = data && len > 2 && memcmp(data, "BM", 2) == 0;
    bool jpeg = data && len > 2 && memcmp(data, "\xff\xd8", 2) == 0;

    if (data && !bitmap && !jpeg) {
        error_set(error, "'%s' is neither a JPEG nor a BMP picture", path);
    }
    if (!bitmap && !jpeg) {
        g_prefix_error(error, "-boot splash: ");
        return false;
    }
    return fw_cfg_add_file(pc->fw_cfg, bitmap ? "bootsplash.bmp" : "bootsplash.jpg", data, len,
                           error);
}

static bool add_waits(const BootConfig *boot, PcBoard *pc, GError **error)
{
    return fw_cfg_add_file_int(pc->fw_cfg, "etc/boot-fail-wait", (uint64_t)boot->reboot_timeout, 4,
                               error) &&
           (boot->splash_time < 0 || fw_cfg_add_file_int(pc->fw_cfg, "etc/boot-menu-wait",
                                                         (uint64_t)boot->splash_time, 2, error)) &&
           (!boot->splash || add_splash(pc, boot->splash, error));
}

/* ---- The user's files ---- */

static bool add_user_file(Device *fw, Opts *opts, GError **error)
{
    static const char *const known[] = { "name", "file", "string", NULL };
    const char *name = opts_get(opts, "name"), *text = opts_get(opts, "string");
    const char *path = opts_get(opts, "file");
    g_autofree uint8_t *data = NULL;
    size_t len = text ? strlen(text) : 0;

    if (!opts_check_unused(opts, "-fw_cfg", known, error)) {
        return false;
    }
    if (!name || !*name) {
        return error_set(error, "name=NAME is missing");
    }
    if (!path == !text || (text && !*text)) {
        return error_set(error, "name=%s: give one of file=FILE and string=TEXT", name);
    }
    if (path) {
        data = boot_data_read(path, MAX_USER_FILE, &len, error);
    }
    if ((!text && !data) ||
        !fw_cfg_add_file(fw, name, text ? (const void *)text : data, len, error)) {
        return false;
    }
    if (!g_str_has_prefix(name, "opt/")) {
        report_warning("-fw_cfg name=%s: names of users' files begin with \"opt/\"; others belong "
                       "to firmware and machine",
                       name);
    }
    return true;
}

static bool add_user_files(Machine *machine, PcBoard *pc, GError **error)
{
    GPtrArray *list = machine->config->fw_cfg;

    for (guint i = 0; list && i < list->len; i++) {
        if (!add_user_file(pc->fw_cfg, g_ptr_array_index(list, i), error)) {
            g_prefix_error(error, "-fw_cfg: ");
            return false;
        }
    }
    return true;
}

static bool add_user_roms(Machine *machine, PcBoard *pc, GError **error)
{
    GPtrArray *list = machine->config->option_roms;

    if (list && list->len && machine->config->kernel && !pc->firmware_kernel) {
        return error_set(error, "-option-rom: the kernel is started directly, without the firmware "
                                "that would run a ROM: give -bios, or leave out -kernel");
    }
    for (guint i = 0; list && i < list->len; i++) {
        const OptionRom *rom = g_ptr_array_index(list, i);
        g_autofree char *path = boot_data_find(rom->file);
        if (!add_option_rom(pc->fw_cfg, path ? path : rom->file, error)) {
            g_prefix_error(error, "-option-rom %s: ", rom->file);
            return false;
        }
    }
    return true;
}

/* ---- The end of building ---- */

bool pc_finish_fw_cfg(Machine *machine, uint64_t mem64_first, GError **error)
{
    PcBoard *pc = machine->board;
    const AcpiSleep *sleep = &pc->sleep;
    /* S0 to S5: a bit and the sleep type */
    const uint8_t states[6] = {
        STATE_ENABLED,
        0,
        0,
        (sleep->s3 ? STATE_ENABLED : 0) | sleep->s3_type,
        (sleep->s4 ? STATE_ENABLED : 0) | sleep->s4_type,
        STATE_ENABLED,
    };
    Device *fw = pc->fw_cfg;

    if (!add_e820(machine, pc, error) || (!pc->image && !add_smbios(machine, pc, error)) ||
        !add_waits(&machine->config->boot, pc, error) || !add_console(machine, pc, error) ||
        !fw_cfg_add_file(fw, "etc/system-states", states, sizeof(states), error) ||
        !fw_cfg_add_file(fw, FILE_ORDER, NULL, 0, error) ||
        (mem64_first &&
         !fw_cfg_add_file_int(fw, "etc/reserved-memory-end", mem64_first, 8, error)) ||
        !add_user_files(machine, pc, error) || !add_user_roms(machine, pc, error)) {
        return false;
    }
    fw_cfg_finish(fw);
    isa_fdc_set_cmos(machine, pc_find_device(machine, &mc146818rtc_class));
    return true;
}

/* ---- Boot order ---- */

static void match_class(Device *dev, void *opaque)
{
    const void **search = opaque;

    if (dev->cls == search[0] && !search[1]) {
        search[1] = dev;
    }
}

Device *pc_find_device(Machine *machine, const DeviceClass *cls)
{
    const void *search[2] = { cls, NULL };

    device_foreach(machine, match_class, search);
    return (Device *)search[1];
}

/* Nibbles of CMOS: 1 floppy, 2 hard disk, 3 CD-ROM, 4 network; 0 none. */
static bool drive_codes(const char *order, uint8_t *codes, GError **error)
{
    static const char drives[] = "acdn";

    if (strlen(order) > MAX_ORDER) {
        return error_set(error, "boot order %s: these are too many drives: at most %d", order,
                         MAX_ORDER);
    }
    for (unsigned i = 0; order[i]; i++) {
        const char *found = strchr(drives, order[i] == 'b' ? 'a' : order[i]);
        if (!found) {
            return error_set(
                error,
                "boot order %s: nothing can be booted from '%c' (a floppy, c hard disk, d "
                "CD-ROM, n network)",
                order, order[i]);
        }
        if (strchr(order + i + 1, order[i])) {
            return error_set(error, "boot order %s: '%c' is there twice", order, order[i]);
        }
        codes[i] = (uint8_t)(found - drives + 1);
    }
    return true;
}

static char *order_text(Machine *machine, const PcBoard *pc)
{
    g_autofree char *devices = boot_order_text(machine, machine->config->boot.strict);

    if (!pc->firmware_kernel) {
        return g_steal_pointer(&devices);
    }
    return g_strconcat(GENROM_PATH, devices ? "\n" : NULL, devices, NULL);
}

/* -boot once= is for the first start, whatever was set since. */
static const char *present_order(const Machine *machine)
{
    const PcBoard *pc = machine->board;
    const BootConfig *boot = &machine->config->boot;

    if (boot->once && !pc->booted) {
        return boot->once;
    }
    if (pc->boot_order) {
        return pc->boot_order;
    }
    return boot->order ? boot->order : DEFAULT_ORDER;
}

bool pc_set_boot_order(Machine *machine, const char *order, GError **error)
{
    PcBoard *pc = machine->board;
    uint8_t codes[MAX_ORDER] = { 0 };

    if (!drive_codes(order, codes, error)) {
        return false;
    }
    g_free(pc->boot_order);
    pc->boot_order = g_strdup(order);
    return true;
}

bool pc_reset_firmware(Machine *machine, GError **error)
{
    PcBoard *pc = machine->board;
    const BootConfig *boot = &machine->config->boot;
    uint8_t codes[MAX_ORDER] = { 0 }, later[MAX_ORDER];
    Device *rtc = pc_find_device(machine, &mc146818rtc_class);

    if (!drive_codes(boot->order ? boot->order : "", later, error) ||
        !drive_codes(present_order(machine), codes, error)) {
        return false;
    }
    pc->booted = true;
    fw_cfg_set_int(pc->fw_cfg, FW_CFG_NB_CPUS, machine_cpu_count(machine), 2);
    boot_firmware_reset();
    if (rtc) {
        mc146818_set_cmos(rtc, CMOS_BOOT_FIRST, (uint8_t)(codes[1] << 4 | codes[0]));
        mc146818_set_cmos(rtc, CMOS_BOOT_THIRD, (uint8_t)(codes[2] << 4 | boot->any_floppy));
    }
    g_autofree char *text = order_text(machine, pc);
    fw_cfg_replace_file(pc->fw_cfg, FILE_ORDER, text, text ? strlen(text) + 1 : 0);
    return true;
}
