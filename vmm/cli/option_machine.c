/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options about the machine itself: board, CPUs, memory, clock, identity. */
#include "vmm/cli/option_handlers.h"

#include <stdio.h>
#include <string.h>
#include "vmm/cli/device_add.h"
#include "vmm/cli/help.h"
#include "vmm/cli/params.h"
#include "vmm/kvm/x86/cpu_model.h"
#include "vmm/machine/watchdog.h"
#include "vmm/util/bytes.h"

#define MAX_MEMORY_SLOTS 256
#define MAX_RAM          (16ULL * 1024 * GIB)
#define MAX_CPUS         1024 /* of the option; the board's own limit is checked later */

static bool set_irqchip(Cli *cli, const char *value, GError **error)
{
    bool on;
    if (g_str_equal(value, "split")) {
        cli->config.irqchip_split = true;
        return true;
    }
    if (!parse_bool(value, &on)) {
        return error_set(error, "Parameter 'kernel-irqchip' expects 'on' or 'split', not '%s'",
                         value);
    }
    cli->config.irqchip_split = false;
    if (!on) {
        return error_set(error, "kernel-irqchip=off: Vireo needs at least the local APIC in the "
                                "kernel (kernel-irqchip=split)");
    }
    return true;
}

static bool set_accel(Cli *cli, const char *value, GError **error)
{
    if (g_str_equal(value, "help") || g_str_equal(value, "?")) {
        printf("Accelerators supported by Vireo:\nkvm\nqtest\n");
        cli->help_shown = true;
        return true;
    }
    /* "kvm:tcg" is a list of preferences in QEMU. */
    g_auto(GStrv) names = g_strsplit(value, ":", -1);
    for (char **name = names; *name; name++) {
        if (g_str_equal(*name, "kvm") || g_str_equal(*name, "qtest")) {
            cli->config.accel = g_str_equal(*name, "kvm") ? "kvm" : "qtest";
            return true;
        }
    }
    return error_set(error, "invalid accelerator %s (Vireo has kvm, and qtest for tests)", value);
}

/* What is started, as -kernel and its like say it too. */
static const char **machine_file_key(MachineConfig *config, const char *key)
{
    return g_str_equal(key, "kernel")     ? &config->kernel
           : g_str_equal(key, "initrd")   ? &config->initrd
           : g_str_equal(key, "append")   ? &config->append
           : g_str_equal(key, "firmware") ? &config->bios
                                          : NULL;
}

/* What -machine takes on every board; the rest is the board's. Returns whether the key was one. */
static bool machine_generic_key(Cli *cli, const char *key, const char *value, bool *ok,
                                GError **error)
{
    MachineConfig *config = &cli->config;
    bool *flag = g_str_equal(key, "mem-merge")         ? &config->mem_merge
                 : g_str_equal(key, "dump-guest-core") ? &config->mem_dump
                 : g_str_equal(key, "hmat")            ? &config->hmat
                                                       : NULL;
    const char **file = machine_file_key(config, key);
    if (file) {
        *file = g_intern_string(value); /* to the end, as argv */
    } else if (flag) {
        *ok = parse_bool(value, flag) ||
              error_set(error, "Parameter '%s' expects 'on' or 'off', not '%s'", key, value);
    } else if (g_str_equal(key, "accel")) {
        *ok = set_accel(cli, value, error);
    } else if (g_str_equal(key, "kernel-irqchip") || g_str_equal(key, "kernel_irqchip")) {
        *ok = set_irqchip(cli, value, error);
    } else if (g_str_equal(key, "memory-backend")) {
        g_free((char *)config->memory_backend);
        config->memory_backend = g_strdup(value);
    } else if (g_str_equal(key, "acpi")) {
        bool on = true;
        *ok = parse_bool(value, &on) ||
              error_set(error, "Parameter 'acpi' expects 'on' or 'off', not '%s'", value);
        config->no_acpi = !on;
    } else if (g_str_equal(key, "pit")) {
        bool on = true;
        *ok = g_str_equal(value, "auto") || parse_bool(value, &on) ||
              error_set(error, "Parameter 'pit' expects 'on', 'off' or 'auto', not '%s'", value);
        config->pit_off = !on;
    } else {
        return false;
    }
    return true;
}

typedef struct MachineKeys {
    Cli *cli;
    GError **error;
    bool ok;
} MachineKeys;

static void machine_key(const char *key, const char *value, void *opaque)
{
    MachineKeys *keys = opaque;
    Cli *cli = keys->cli;
    if (!keys->ok || machine_generic_key(cli, key, value, &keys->ok, keys->error)) {
        return;
    }
    if (!cli->config.machine_props) {
        cli->config.machine_props = json_object_new_object();
    }
    json_object_object_add(cli->config.machine_props, key, json_object_new_string(value));
}

bool cli_opt_machine(Cli *cli, const char *value, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(value, "type", error);
    if (!opts) {
        return false;
    }
    const char *type = opts_get(opts, "type");
    if (g_strcmp0(type, "help") == 0 || g_strcmp0(type, "?") == 0) {
        cli->help_shown = true;
        help_machines();
        return true;
    }
    if (type) {
        const MachineClass *cls = machine_class_find(type);
        if (!cls) {
            g_autofree char *near = machine_class_suggest(type);
            return error_set(error, "there is no machine '%s'%s%s%s", type,
                             near ? "; did you mean '" : " (-machine help lists them)",
                             near ? near : "", near ? "'?" : "");
        }
        cli->config.cls = cls;
        opts_remove(opts, "type");
    }
    if (opts_has(opts, "help")) {
        cli->help_shown = true;
        help_machine(cli->config.cls);
        return true;
    }
    MachineKeys keys = { cli, error, true };
    opts_foreach_all(opts, machine_key, &keys);
    return keys.ok;
}

bool cli_opt_accel(Cli *cli, const char *value, GError **error)
{
    static const char *const known[] = { "accel", "kernel-irqchip", NULL };
    g_autoptr(Opts) opts = opts_parse(value, "accel", error);
    if (!opts) {
        return false;
    }
    if (opts_has(opts, "help")) {
        cli->help_shown = true;
        return help_accel(opts_get(opts, "accel"), error);
    }
    const char *accel = opts_get(opts, "accel");
    const char *irqchip = opts_get(opts, "kernel-irqchip");
    return (!accel || set_accel(cli, accel, error)) &&
           (!irqchip || set_irqchip(cli, irqchip, error)) &&
           opts_check_unused(opts, "-accel", known, error);
}

bool cli_opt_enable_kvm(Cli *cli, const char *value, GError **error)
{
    return set_accel(cli, "kvm", error);
}

bool cli_opt_cpu(Cli *cli, const char *value, GError **error)
{
    CpuModel model;
    if (g_str_equal(value, "help") || g_str_equal(value, "?")) {
        cli->help_shown = true;
        help_cpus();
        return true;
    }
    if (g_str_has_suffix(value, ",help") || g_str_has_suffix(value, ",?")) {
        cli->help_shown = true;
        return help_cpu(value, error);
    }
    if (!cpu_model_parse(&model, value, NULL, error)) {
        return false;
    }
    g_free((char *)cli->config.cpu_model);
    cli->config.cpu_model = g_strdup(value);
    return true;
}

bool cli_opt_smp(Cli *cli, const char *value, GError **error)
{
    static const char *const names[] = { "cpus",  "maxcpus", "sockets", "dies",
                                         "cores", "threads", NULL };
    g_autoptr(Opts) opts = opts_parse(value, "cpus", error);
    if (!opts) {
        return false;
    }
    SmpConfig *smp = &cli->config.smp;
    unsigned *fields[] = { &smp->cpus, &smp->maxcpus, &smp->sockets,
                           &smp->dies, &smp->cores,   &smp->threads };
    for (size_t i = 0; names[i]; i++) {
        uint64_t number = 0;
        bool given = opts_has(opts, names[i]);
        if (!opts_get_uint(opts, names[i], MAX_CPUS, &number, error)) {
            return false;
        }
        if (given && number == 0) {
            return error_set(error, "-smp %s=0: at least 1", names[i]);
        }
        *fields[i] = (unsigned)number;
    }
    return cli_check_params(opts, "-smp", "smp-opts", error);
}

static bool set_memory_slots(Cli *cli, Opts *opts, GError **error)
{
    MachineConfig *config = &cli->config;
    uint64_t slots = 0, max = config->ram_size;
    const char *text = opts_get(opts, "maxmem");
    if (!opts_get_uint(opts, "slots", MAX_MEMORY_SLOTS, &slots, error)) {
        return false;
    }
    if (text && (!parse_size(text, MIB, &max) || max > MAX_RAM)) {
        return error_set(error,
                         "Parameter 'maxmem' expects a size (MiB, or a number with a suffix k, "
                         "M, G, T) up to 16 TiB, not '%s'",
                         text);
    }
    if (max < config->ram_size) {
        return error_set(error,
                         "maxmem=%s is less than the memory that the machine starts "
                         "with: it counts that memory too",
                         text);
    }
    if (slots && max == config->ram_size) {
        return error_set(error, "memory slots were specified but maximum memory size equals to "
                                "initial memory size: give maxmem=");
    }
    config->ram_slots = (unsigned)slots;
    config->ram_max = ALIGN_UP(max, 8 * KIB);
    return true;
}

bool cli_opt_m(Cli *cli, const char *value, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(value, "size", error);
    if (!opts) {
        return false;
    }
    const char *size = opts_get(opts, "size");
    if (size && !parse_size(size, MIB, &cli->config.ram_size)) {
        return error_set(error,
                         "Parameter 'size' expects a size (MiB, or a number with a suffix k, "
                         "M, G, T), not '%s'",
                         size);
    }
    if (cli->config.ram_size < MIB) {
        return error_set(error, "a machine needs at least 1 MiB of memory");
    }
    if (cli->config.ram_size > MAX_RAM) {
        return error_set(error, "a machine has at most 16 TiB of memory");
    }
    cli->config.ram_size = ALIGN_UP(cli->config.ram_size, 8 * KIB);
    return set_memory_slots(cli, opts, error) && cli_check_params(opts, "-m", "memory", error);
}

bool cli_opt_mem_path(Cli *cli, const char *value, GError **error)
{
    cli->config.mem_path = value;
    return true;
}

bool cli_opt_mem_prealloc(Cli *cli, const char *value, GError **error)
{
    cli->config.mem_prealloc = true;
    return true;
}

bool cli_opt_overcommit(Cli *cli, const char *value, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(value, NULL, error);
    return opts && opts_get_bool(opts, "mem-lock", &cli->config.mem_lock, error) &&
           opts_get_bool(opts, "cpu-pm", &cli->config.cpu_pm, error) &&
           cli_check_params(opts, "-overcommit", "overcommit", error);
}

bool cli_opt_name(Cli *cli, const char *value, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(value, "guest", error);
    if (!opts) {
        return false;
    }
    bool threads = true; /* Vireo's threads always have names */
    const char *guest = opts_get(opts, "guest");
    if (guest) {
        g_free((char *)cli->config.name);
        cli->config.name = g_strdup(guest);
    }
    const char *process = opts_get(opts, "process");
    if (process) {
        g_free(cli->process_name);
        cli->process_name = g_strdup(process);
    }
    return opts_get_bool(opts, "debug-threads", &threads, error) &&
           cli_check_params(opts, "-name", "name", error);
}

bool cli_opt_uuid(Cli *cli, const char *value, GError **error)
{
    if (!g_uuid_string_is_valid(value)) {
        return error_set(error, "a UUID has 32 hexadecimal digits "
                                "(xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)");
    }
    unsigned byte = 0;
    for (const char *p = value; *p && byte < 16; p++) {
        if (*p != '-') {
            cli->config.uuid[byte++] =
                (uint8_t)(g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1]));
            p++;
        }
    }
    cli->config.has_uuid = true;
    return true;
}

static bool set_rtc_base(Cli *cli, const char *base, GError **error)
{
    MachineConfig *config = &cli->config;
    config->rtc_localtime = g_str_equal(base, "localtime");
    if (g_str_equal(base, "utc") || config->rtc_localtime) {
        config->rtc_base = -1;
        return true;
    }
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autofree char *midnight = strchr(base, 'T') ? g_strdup(base)
                                                  : g_strconcat(base, "T00:00:00", NULL);
    g_autoptr(GDateTime) date = g_date_time_new_from_iso8601(midnight, utc);
    if (!date) {
        return error_set(error,
                         "invalid datetime format '%s' (valid formats: 2006-06-17T16:01:21, "
                         "2006-06-17, utc, localtime)",
                         base);
    }
    config->rtc_base = g_date_time_to_unix(date);
    return true;
}

bool cli_opt_rtc(Cli *cli, const char *value, GError **error)
{
    static const char *const clocks[] = { "host", "rt", "vm", NULL };
    static const char *const fixes[] = { "none", "slew", NULL };
    static const VmClock values[] = { VM_CLOCK_HOST, VM_CLOCK_REALTIME, VM_CLOCK_VIRTUAL };
    g_autoptr(Opts) opts = opts_parse(value, "base", error);
    if (!opts) {
        return false;
    }
    const char *base = opts_get(opts, "base");
    int clock = 0;
    if ((base && !set_rtc_base(cli, base, error)) ||
        !opts_get_enum(opts, "clock", clocks, &clock, error)) {
        return false;
    }
    cli->config.rtc_clock = values[clock];
    int driftfix = 0;
    if (!opts_get_enum(opts, "driftfix", fixes, &driftfix, error) ||
        (driftfix && !device_add_global("mc146818rtc.lost_tick_policy=slew", error))) {
        return false;
    }
    return cli_check_params(opts, "-rtc", "rtc", error);
}

bool cli_opt_no_acpi(Cli *cli, const char *value, GError **error)
{
    cli->config.no_acpi = true;
    return true;
}

bool cli_opt_no_hpet(Cli *cli, const char *value, GError **error)
{
    cli->config.no_hpet = true;
    return true;
}

bool cli_opt_usb(Cli *cli, const char *value, GError **error)
{
    return cli_opt_machine(cli, "usb=on", error);
}

bool cli_opt_stopped(Cli *cli, const char *value, GError **error)
{
    cli->config.start_paused = true;
    return true;
}

bool cli_opt_no_reboot(Cli *cli, const char *value, GError **error)
{
    cli->config.actions.reboot_exits = true;
    return true;
}

bool cli_opt_no_shutdown(Cli *cli, const char *value, GError **error)
{
    cli->config.actions.shutdown_pauses = true;
    return true;
}

bool cli_opt_watchdog_action(Cli *cli, const char *value, GError **error)
{
    int action = watchdog_find_action(value);
    if (action < 0) {
        return error_set(error,
                         "Unknown -watchdog-action parameter '%s': it is one of reset, "
                         "shutdown, poweroff, pause, debug, none, inject-nmi",
                         value);
    }
    watchdog_set_action(action);
    return true;
}

bool cli_opt_action(Cli *cli, const char *value, GError **error)
{
    static const char *const reboots[] = { "reset", "shutdown", NULL };
    static const char *const shutdowns[] = { "poweroff", "pause", NULL };
    static const char *const panics[] = { "shutdown", "pause", "none", "exit-failure", NULL };
    g_autoptr(Opts) opts = opts_parse(value, NULL, error);
    LifeActions *actions = &cli->config.actions;
    int reboot = actions->reboot_exits, shutdown = actions->shutdown_pauses;
    int panic = actions->panic;
    if (!opts || !opts_get_enum(opts, "reboot", reboots, &reboot, error) ||
        !opts_get_enum(opts, "shutdown", shutdowns, &shutdown, error) ||
        !opts_get_enum(opts, "panic", panics, &panic, error)) {
        return false;
    }
    int watchdog = -1;
    if (!opts_get_enum(opts, "watchdog", watchdog_action_names, &watchdog, error)) {
        return false;
    }
    if (watchdog >= 0) {
        watchdog_set_action(watchdog);
    }
    actions->reboot_exits = reboot;
    actions->shutdown_pauses = shutdown;
    actions->panic = panic;
    return cli_check_params(opts, "-action", "action", error);
}
