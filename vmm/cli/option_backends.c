/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options about devices and what stands behind them; and the Cli's own life. */
#include "vmm/cli/option_handlers.h"

#include <stdio.h>
#include <string.h>
#include "config.h"
#include "vmm/chardev/chardev.h"
#include "vmm/cli/device_add.h"
#include "vmm/cli/params.h"
#include "vmm/device/boot_order.h"
#include "vmm/gdbstub/gdbstub.h"
#include "vmm/machine/numa.h"
#include "vmm/object/object.h"
#include "vmm/util/bytes.h"
#include "vmm/util/id.h"

#define DEFAULT_RAM (512 * MIB)

static void opts_destroy(void *opts)
{
    opts_free(opts);
}

static void free_option_rom(gpointer data)
{
    OptionRom *rom = data;
    g_free(rom->file);
    g_free(rom);
}

void cli_init(Cli *cli)
{
    *cli = (Cli){ .qmp_fd = -1, .console_fd = -1 };
    cli->objects = g_ptr_array_new_with_free_func(opts_destroy);
    cli->chardevs = g_ptr_array_new_with_free_func(opts_destroy);
    cli->blockdevs = g_ptr_array_new_with_free_func(opts_destroy);
    cli->drives = g_ptr_array_new_with_free_func(opts_destroy);
    cli->netdevs = g_ptr_array_new_with_free_func(opts_destroy);
    cli->nics = g_ptr_array_new_with_free_func(opts_destroy);
    cli->devices = g_ptr_array_new_with_free_func(opts_destroy);
    cli->tpmdevs = g_ptr_array_new_with_free_func(opts_destroy);
    cli->audiodevs = g_ptr_array_new_with_free_func(opts_destroy);
    cli->add_fds = g_ptr_array_new_with_free_func(opts_destroy);
    cli->mons = g_ptr_array_new_with_free_func(opts_destroy);
    cli->serials = g_ptr_array_new();
    cli->parallels = g_ptr_array_new();
    cli->monitors = g_ptr_array_new();
    cli->qmps = g_ptr_array_new();
    cli->qmps_pretty = g_ptr_array_new();
    cli->config = (MachineConfig){
        .cls = machine_class_default(),
        .accel = "kvm",
        .ram_size = DEFAULT_RAM,
        .mem_merge = true,
        .mem_dump = true,
        .rtc_base = -1,
        .rtc_clock = VM_CLOCK_HOST,
        .smbios = g_ptr_array_new_with_free_func(opts_destroy),
        .fw_cfg = g_ptr_array_new_with_free_func(opts_destroy),
        .vcpu_pins = g_ptr_array_new_with_free_func(g_free),
        .option_roms = g_ptr_array_new_with_free_func(free_option_rom),
        .boot = { .splash_time = -1, .reboot_timeout = -1 },
    };
}

void cli_free(Cli *cli)
{
    GPtrArray *lists[] = { cli->objects,     cli->chardevs,      cli->blockdevs,     cli->drives,
                           cli->netdevs,     cli->nics,          cli->devices,       cli->mons,
                           cli->serials,     cli->parallels,     cli->monitors,      cli->qmps,
                           cli->qmps_pretty, cli->config.smbios, cli->config.fw_cfg, cli->tpmdevs,
                           cli->audiodevs,   cli->add_fds };
    privileges_clear(&cli->privileges);
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        g_ptr_array_unref(lists[i]);
    }
    g_ptr_array_unref(cli->config.option_roms);
    g_ptr_array_unref(cli->config.vcpu_pins);
    json_object_put(cli->config.machine_props);
    g_free((char *)cli->config.memory_backend);
    g_free((char *)cli->config.name);
    g_free((char *)cli->config.cpu_model);
    numa_free(cli->config.numa);
    g_free(cli->process_name);
    g_free(cli->config.boot.order);
    g_free(cli->config.boot.once);
    g_free(cli->config.boot.splash);
}

bool cli_finish(Cli *cli, GError **error)
{
    MachineConfig *config = &cli->config;
    if (!smp_complete(&config->smp, config->cls->prefer_sockets, error)) {
        g_prefix_error(error, "-smp: ");
        return false;
    }
    if (config->smp.maxcpus > config->cls->max_cpus) {
        return error_set(error, "-smp: %u CPUs are more than machine '%s' can have: %u at most",
                         config->smp.maxcpus, config->cls->name, config->cls->max_cpus);
    }
    if (!smp_check_pins(config, error)) {
        return false;
    }
    if (!config->kernel && (config->initrd || config->append)) {
        return error_set(error, "-%s is of use with -kernel alone",
                         config->initrd ? "initrd" : "append");
    }
    if (config->cls->bare) {
        if (config->kernel || config->ram_size != DEFAULT_RAM || config->memory_backend) {
            return error_set(error, "machine '%s' has neither memory nor CPUs: no -%s for it",
                             config->cls->name, config->kernel ? "kernel" : "m");
        }
        config->ram_size = 0;
        config->ram_max = 0;
    }
    config->nographic = cli->nographic;
    config->nodefaults = cli->nodefaults;
    return true;
}

static bool add_opts(GPtrArray *list, const char *value, const char *implied, GError **error)
{
    Opts *opts = opts_parse(value, implied, error);
    if (!opts) {
        return false;
    }
    g_ptr_array_add(list, opts);
    return true;
}

static bool add_text(GPtrArray *list, const char *value)
{
    g_ptr_array_add(list, (char *)value);
    return true;
}

bool cli_opt_help(Cli *cli, const char *value, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    cli_help(text);
    fputs(text->str, stdout);
    cli->help_shown = true;
    return true;
}

bool cli_opt_version(Cli *cli, const char *value, GError **error)
{
    printf("Vireo " VIREO_VERSION "\n");
    cli->help_shown = true;
    return true;
}

bool cli_opt_nothing(Cli *cli, const char *value, GError **error)
{
    return true;
}

static void print_object_class(const ObjectClass *cls, void *opaque)
{
    printf("  %-24s %s\n", cls->name, cls->desc);
}

static void print_object_props(const ObjectClass *cls)
{
    printf("%s options:\n", cls->name);
    for (const Property *prop = cls->props; prop->name; prop++) {
        printf("  %s=<%s> - %s\n", prop->name, property_type_name(prop), prop->desc);
    }
}

bool cli_opt_object(Cli *cli, const char *value, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(value, "qom-type", error);
    if (!opts) {
        return false;
    }
    const char *type = opts_get(opts, "qom-type");
    if (g_strcmp0(type, "help") == 0) {
        printf("Types of -object:\n");
        object_class_foreach(print_object_class, NULL);
        cli->help_shown = true;
        return true;
    }
    if (type && opts_has(opts, "help") && object_class_find(type)) {
        print_object_props(object_class_find(type));
        cli->help_shown = true;
        return true;
    }
    if (!type || !opts_has(opts, "id")) {
        return error_set(error, "Parameter '%s' is missing", type ? "id" : "qom-type");
    }
    g_ptr_array_add(cli->objects, g_steal_pointer(&opts));
    return true;
}

bool cli_opt_device(Cli *cli, const char *value, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(value, "driver", error);
    if (!opts) {
        return false;
    }
    const char *driver = opts_get(opts, "driver");
    g_autoptr(GString) text = g_string_new(NULL);
    if (g_strcmp0(driver, "help") == 0 || g_strcmp0(driver, "?") == 0) {
        device_help_list(text);
    } else if (driver && opts_has(opts, "help") && device_class_find(driver)) {
        device_help_class(device_class_find(driver), text);
    } else {
        g_ptr_array_add(cli->devices, g_steal_pointer(&opts));
        return true;
    }
    fputs(text->str, stdout);
    cli->help_shown = true;
    return true;
}

bool cli_opt_global(Cli *cli, const char *value, GError **error)
{
    return device_add_global(value, error);
}

bool cli_opt_pflash(Cli *cli, const char *value, GError **error)
{
    Opts *opts = opts_new();
    opts_set(opts, "if", "pflash");
    opts_set(opts, "format", "raw");
    opts_set(opts, "file", value);
    g_ptr_array_add(cli->drives, opts);
    return true;
}

bool cli_opt_drive(Cli *cli, const char *value, GError **error)
{
    return add_opts(cli->drives, value, "file", error);
}

/* -hda to -hdd, -cdrom: a drive at the given place of the machine's disk controller. */
static bool add_at(Cli *cli, const char *file, const char *index, const char *media)
{
    Opts *opts = opts_new();
    opts_set(opts, "file", file);
    opts_set(opts, "if", "ide");
    opts_set(opts, "index", index);
    opts_set(opts, "media", media);
    g_ptr_array_add(cli->drives, opts);
    return true;
}

bool cli_opt_hda(Cli *cli, const char *value, GError **error)
{
    return add_at(cli, value, "0", "disk");
}

bool cli_opt_hdb(Cli *cli, const char *value, GError **error)
{
    return add_at(cli, value, "1", "disk");
}

bool cli_opt_hdc(Cli *cli, const char *value, GError **error)
{
    return add_at(cli, value, "2", "disk");
}

bool cli_opt_hdd(Cli *cli, const char *value, GError **error)
{
    return add_at(cli, value, "3", "disk");
}

static bool add_floppy(Cli *cli, const char *file, const char *index)
{
    Opts *opts = opts_new();
    opts_set(opts, "file", file);
    opts_set(opts, "if", "floppy");
    opts_set(opts, "index", index);
    g_ptr_array_add(cli->drives, opts);
    return true;
}

bool cli_opt_fda(Cli *cli, const char *value, GError **error)
{
    return add_floppy(cli, value, "0");
}

bool cli_opt_fdb(Cli *cli, const char *value, GError **error)
{
    return add_floppy(cli, value, "1");
}

bool cli_opt_cdrom(Cli *cli, const char *value, GError **error)
{
    return add_at(cli, value, "2", "cdrom");
}

bool cli_opt_snapshot(Cli *cli, const char *value, GError **error)
{
    cli->snapshot = true;
    return true;
}

bool cli_opt_blockdev(Cli *cli, const char *value, GError **error)
{
    return add_opts(cli->blockdevs, value, "driver", error);
}

bool cli_opt_nic(Cli *cli, const char *value, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(value, "type", error);
    if (!opts) {
        return false;
    }
    if (g_strcmp0(opts_get(opts, "type"), "none") == 0) {
        cli->no_net = true;
        return true;
    }
    g_ptr_array_add(cli->nics, g_steal_pointer(&opts));
    return true;
}

bool cli_opt_netdev(Cli *cli, const char *value, GError **error)
{
    return add_opts(cli->netdevs, value, "type", error);
}

bool cli_opt_net(Cli *cli, const char *value, GError **error)
{
    if (!g_str_equal(value, "none")) {
        return error_set(error, "Vireo has no hubs: -nic %s makes a card with its back end", value);
    }
    cli->no_net = true;
    return true;
}

bool cli_opt_chardev(Cli *cli, const char *value, GError **error)
{
    return add_opts(cli->chardevs, value, "backend", error);
}

bool cli_opt_tpmdev(Cli *cli, const char *value, GError **error)
{
    return add_opts(cli->tpmdevs, value, "type", error);
}

bool cli_opt_serial(Cli *cli, const char *value, GError **error)
{
    if (cli->serials->len == G_N_ELEMENTS(cli->config.serial)) {
        return error_set(error, "a machine has %zu serial ports: these are more",
                         G_N_ELEMENTS(cli->config.serial));
    }
    return add_text(cli->serials, value);
}

bool cli_opt_debugcon(Cli *cli, const char *value, GError **error)
{
    cli->debugcon = value;
    return true;
}

bool cli_opt_nographic(Cli *cli, const char *value, GError **error)
{
    cli->nographic = true;
    return true;
}

bool cli_opt_echr(Cli *cli, const char *value, GError **error)
{
    uint64_t character;
    if (!parse_uint(value, UINT8_MAX, &character)) {
        return error_set(error, "'%s' is not the number of a character, 0 to 255", value);
    }
    chardev_set_mux_escape((uint8_t)character);
    return true;
}

/* -display, -vga: this version has none of them, and "none" says so. */
static bool only_none(const char *value, const char *what, GError **error)
{
    return g_str_equal(value, "none") ||
           error_set(error, "this version has no %s: only 'none'", what);
}

bool cli_opt_display(Cli *cli, const char *value, GError **error)
{
    cli->display_none = true;
    return only_none(value, "display", error);
}

bool cli_opt_vga(Cli *cli, const char *value, GError **error)
{
    return only_none(value, "graphics card", error);
}

bool cli_opt_parallel(Cli *cli, const char *value, GError **error)
{
    if (cli->parallels->len == G_N_ELEMENTS(cli->config.parallel)) {
        return error_set(error, "a machine has %zu parallel ports: these are more",
                         G_N_ELEMENTS(cli->config.parallel));
    }
    return add_text(cli->parallels, value);
}

bool cli_opt_monitor(Cli *cli, const char *value, GError **error)
{
    return add_text(cli->monitors, value);
}

bool cli_opt_qmp(Cli *cli, const char *value, GError **error)
{
    return add_text(cli->qmps, value);
}

bool cli_opt_qmp_pretty(Cli *cli, const char *value, GError **error)
{
    return add_text(cli->qmps_pretty, value);
}

/* What takes ids takes each once. */
static bool check_new_id(const GPtrArray *list, const char *id, const char *what, GError **error)
{
    for (guint i = 0; id && i < list->len; i++) {
        if (g_strcmp0(opts_get(g_ptr_array_index(list, i), "id"), id) == 0) {
            return error_set(error, "the %s '%s' is there already", what, id);
        }
    }
    return true;
}

bool cli_opt_mon(Cli *cli, const char *value, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(value, "chardev", error);
    const char *id = opts ? opts_get(opts, "id") : NULL;
    if (!opts || (id && !id_check(id, error)) || !check_new_id(cli->mons, id, "mon", error)) {
        return false;
    }
    g_ptr_array_add(cli->mons, g_steal_pointer(&opts));
    return true;
}

bool cli_opt_audiodev(Cli *cli, const char *value, GError **error)
{
    static const char *const known[] = { "driver", "id", NULL };
    g_autoptr(Opts) opts = opts_parse(value, "driver", error);
    if (!opts) {
        return false;
    }
    const char *driver = opts_get(opts, "driver"), *id = opts_get(opts, "id");
    if (g_strcmp0(driver, "help") == 0) {
        printf("Drivers of -audiodev:\nnone\n");
        cli->help_shown = true;
        return true;
    }
    if (!driver || !id) {
        return error_set(error, "%s= is missing", driver ? "id" : "driver");
    }
    if (!g_str_equal(driver, "none")) {
        return error_set(error, "this version has no sound: the only driver is 'none', not '%s'",
                         driver);
    }
    if (!check_new_id(cli->audiodevs, id, "audiodev", error) ||
        !opts_check_unused(opts, "-audiodev", known, error)) {
        return false;
    }
    g_ptr_array_add(cli->audiodevs, g_steal_pointer(&opts));
    return true;
}

bool cli_opt_daemonize(Cli *cli, const char *value, GError **error)
{
    cli->daemonize = true;
    return true;
}

bool cli_opt_pidfile(Cli *cli, const char *value, GError **error)
{
    cli->pidfile = value;
    return true;
}

bool cli_opt_gdb(Cli *cli, const char *value, GError **error)
{
    cli->gdb = value;
    return true;
}

bool cli_opt_s(Cli *cli, const char *value, GError **error)
{
    cli->gdb = GDBSTUB_DEFAULT;
    return true;
}

bool cli_opt_msg(Cli *cli, const char *value, GError **error)
{
    bool timestamp = false;
    g_autoptr(Opts) opts = opts_parse(value, NULL, error);
    if (!opts || !opts_get_bool(opts, "timestamp", &timestamp, error) ||
        !cli_check_params(opts, "-msg", "msg", error)) {
        return false;
    }
    report_set_timestamp(timestamp);
    return true;
}

bool cli_opt_run_dir(Cli *cli, const char *value, GError **error)
{
    return parse_bool(value, &cli->run_dir) ||
           error_set(error, "'%s' is neither on nor off", value);
}

bool cli_opt_nodefaults(Cli *cli, const char *value, GError **error)
{
    cli->nodefaults = true;
    return true;
}

bool cli_opt_qtest(Cli *cli, const char *value, GError **error)
{
    cli->qtest = value;
    return true;
}

bool cli_opt_qtest_log(Cli *cli, const char *value, GError **error)
{
    cli->qtest_log = value;
    return true;
}
