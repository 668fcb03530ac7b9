/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Assembling a machine from the command line. */
#include "vmm/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "block/block.h"
#include "config.h"
#include "net/net.h"
#include "vmm/chardev/chardev.h"
#include "vmm/cli/device_add.h"
#include "vmm/cli/params.h"
#include "vmm/gdbstub/gdbstub.h"
#include "vmm/machine/qtest.h"
#include "vmm/monitor/monitor.h"
#include "vmm/object/object.h"
#include "vmm/tpm/tpm.h"
#include "vmm/util/fdset.h"
#include "vmm/util/id.h"

#define CONSOLE_TERMINAL "terminal0" /* the terminal's chardev, below the console's */
#define CDROM_INDEX      2           /* of -cdrom, in the row of IDE drives */

/* ---- Help of back ends ---- */

static bool asks_help(GPtrArray *list, const char *key)
{
    for (guint i = 0; i < list->len; i++) {
        const char *value = opts_get(g_ptr_array_index(list, i), key);
        if (g_strcmp0(value, "help") == 0 || g_strcmp0(value, "?") == 0) {
            return true;
        }
    }
    return false;
}

bool start_help(const Cli *cli)
{
    g_autoptr(GString) text = g_string_new(NULL);
    if (asks_help(cli->netdevs, "type") || asks_help(cli->nics, "type")) {
        net_backends_help(text);
    } else if (asks_help(cli->chardevs, "backend")) {
        chardevs_help(text);
    } else if (asks_help(cli->tpmdevs, "type")) {
        tpm_backends_help(text);
    } else if (asks_help(cli->blockdevs, "driver") || asks_help(cli->drives, "format")) {
        block_drivers_help(text);
    } else {
        return false;
    }
    fputs(text->str, stdout);
    return true;
}

/* ---- Back ends ---- */

/* Calls make for each element; an error gets "-OPTION KEY=VALUE..." in front. */
static bool for_each_opts(GPtrArray *list, const char *option,
                          bool (*make)(Opts *opts, GError **error), GError **error)
{
    for (guint i = 0; i < list->len; i++) {
        if (!make(g_ptr_array_index(list, i), error)) {
            g_prefix_error(error, "-%s: ", option);
            return false;
        }
    }
    return true;
}

static bool make_object(Opts *opts, GError **error)
{
    g_autofree char *type = g_strdup(opts_get(opts, "qom-type"));
    g_autofree char *id = g_strdup(opts_get(opts, "id"));
    opts_remove(opts, "qom-type");
    opts_remove(opts, "id");
    json_object *props = opts_to_json(opts);
    bool ok = object_create(type, id, props, error) != NULL;
    json_object_put(props);
    return ok;
}

static bool make_chardev(Opts *opts, GError **error)
{
    return chardev_new(opts, error) != NULL;
}

static bool make_blockdev(Opts *opts, GError **error)
{
    if (!opts_has(opts, "node-name")) {
        return error_set(error,
                         "'node-name' is missing: without it nobody could use or delete the node");
    }
    return block_node_open(opts, error) != NULL;
}

static bool make_netdev(Opts *opts, GError **error)
{
    const char *id = opts_get(opts, "id");
    return (!id || id_check(id, error)) && net_backend_new(opts, error) != NULL;
}

/* One of -serial, -monitor, -qmp, -debugcon, -qtest; *id is NULL for "none". */
static bool make_legacy_chardev(const char *text, const char *option, const char *label,
                                unsigned index, const char **id, GError **error)
{
    if (g_str_has_prefix(text, "chardev:")) {
        text += strlen("chardev:");
        if (!chardev_find(text)) {
            return error_set(error, "-%s chardev:%s: nothing has this id; make it with -chardev",
                             option, text);
        }
        *id = text;
        return true;
    }
    GError *cause = NULL;
    g_autofree char *name = g_strdup_printf("%s%u", label, index);
    Chardev *chardev = chardev_new_legacy(text, name, &cause);
    if (!chardev && cause) {
        g_propagate_prefixed_error(error, cause, "-%s %s: ", option, text);
        return false;
    }
    *id = chardev ? chardev_id(chardev) : NULL;
    return true;
}

/* Where the first serial port goes when nothing was said: the terminal, shared with the monitor. */
static const char *default_serial(const Cli *cli)
{
    if (cli->nodefaults || cli->config.nodefaults) {
        return NULL;
    }
    if (cli->daemonize || (cli->display_none && !cli->nographic)) {
        return "null";
    }
    return cli->monitors->len || cli->mons->len ? "stdio" : "mon:stdio";
}

/* The first serial port of a machine in the run directory: shared by the terminal, if it has one,
 * and those who attach. */
static bool make_console(Cli *cli, GError **error)
{
    Chardev *terminal = NULL;
    if (cli->console_on_terminal) {
        terminal = chardev_new_legacy("mon:stdio", CONSOLE_TERMINAL, error);
        if (!terminal) {
            return false;
        }
    }
    Chardev *console = chardev_console_new("serial0", terminal, cli->console_fd, error);
    cli->config.serial[0] = console ? chardev_id(console) : NULL;
    return console != NULL;
}

static bool make_serials(Cli *cli, GError **error)
{
    if (cli->console_fd >= 0) {
        return make_console(cli, error);
    }
    if (cli->serials->len == 0) {
        const char *text = default_serial(cli);
        return !text ||
               make_legacy_chardev(text, "serial", "serial", 0, &cli->config.serial[0], error);
    }
    for (guint i = 0; i < cli->serials->len; i++) {
        if (!make_legacy_chardev(g_ptr_array_index(cli->serials, i), "serial", "serial", i,
                                 &cli->config.serial[i], error)) {
            return false;
        }
    }
    return true;
}

static bool make_parallels(Cli *cli, GError **error)
{
    for (guint i = 0; i < cli->parallels->len; i++) {
        if (!make_legacy_chardev(g_ptr_array_index(cli->parallels, i), "parallel", "parallel", i,
                                 &cli->config.parallel[i], error)) {
            return false;
        }
    }
    return true;
}

static bool make_backends(Cli *cli, GError **error)
{
    return for_each_opts(cli->objects, "object", make_object, error) &&
           for_each_opts(cli->chardevs, "chardev", make_chardev, error) &&
           for_each_opts(cli->tpmdevs, "tpmdev", tpm_backend_new, error) &&
           for_each_opts(cli->blockdevs, "blockdev", make_blockdev, error) &&
           for_each_opts(cli->netdevs, "netdev", make_netdev, error) && make_serials(cli, error) &&
           make_parallels(cli, error) &&
           (!cli->debugcon || make_legacy_chardev(cli->debugcon, "debugcon", "debugcon", 0,
                                                  &cli->config.debugcon, error));
}

/* ---- Devices of -drive and -nic ---- */

/* "virtio-blk" on this board: "virtio-blk-pci" or "virtio-blk-device". */
static void set_virtio_driver(const Machine *machine, Opts *opts, const char *kind)
{
    g_autofree char *driver = g_strconcat("virtio-", kind, machine->cls->virtio_suffix, NULL);
    opts_set(opts, "driver", driver);
}

/* if=ide: "ide-hd" or "ide-cd" at its place. */
static bool set_ide_driver(const Machine *machine, Opts *opts, const Drive *drive, GError **error)
{
    g_autofree char *bus = g_strdup_printf("ide.%d", drive->bus);
    g_autofree char *unit = g_strdup_printf("%d", drive->unit);
    if (!machine->cls->ide_units) {
        return error_set(error, "if=ide: machine '%s' has no such disk controller",
                         machine->cls->name);
    }
    opts_set(opts, "driver", drive->is_cdrom ? "ide-cd" : "ide-hd");
    opts_set(opts, "bus", bus);
    opts_set(opts, "unit", unit);
    return true;
}

static bool find_scsi_bus(const Machine *machine, const char *name)
{
    for (guint i = 0; i < machine->buses->len; i++) {
        const Bus *bus = g_ptr_array_index(machine->buses, i);
        if (bus->type == BUS_SCSI && g_str_equal(bus->name, name)) {
            return true;
        }
    }
    return false;
}

/* Drives with if=scsi are behind virtio-scsi adapters, which come with the first that needs them.
 */
static bool set_scsi_driver(Machine *machine, Opts *opts, const Drive *drive, GError **error)
{
    g_autofree char *bus = g_strdup_printf("scsi.%d", drive->bus);
    g_autofree char *target = g_strdup_printf("%d", drive->unit);
    for (int i = 0; i <= drive->bus && !find_scsi_bus(machine, bus); i++) {
        g_autoptr(Opts) adapter = opts_new();
        set_virtio_driver(machine, adapter, "scsi");
        if (!device_add(machine, adapter, error)) {
            g_prefix_error(error, "an adapter for if=scsi: ");
            return false;
        }
    }
    opts_set(opts, "driver", drive->is_cdrom ? "scsi-cd" : "scsi-hd");
    opts_set(opts, "bus", bus);
    opts_set(opts, "scsi-id", target);
    return true;
}

/* if=floppy: a drive on the board's floppy controller, or on one that is made for it. */
static bool set_floppy_driver(Machine *machine, Opts *opts, const Drive *drive, GError **error)
{
    g_autofree char *unit = g_strdup_printf("%d", drive->unit);
    if (!bus_find(machine, "isa.0")) {
        return error_set(error, "if=floppy: machine '%s' has no ISA bus for a floppy controller",
                         machine->cls->name);
    }
    if (!bus_find(machine, "floppy-bus.0")) {
        g_autoptr(Opts) controller = opts_new();
        opts_set(controller, "driver", "isa-fdc");
        if (!device_add(machine, controller, error)) {
            return false;
        }
    }
    opts_set(opts, "driver", "floppy");
    opts_set(opts, "bus", "floppy-bus.0");
    opts_set(opts, "unit", unit);
    return true;
}

static bool make_drive(Machine *machine, Opts *opts, GError **error)
{
    bool cdrom = g_strcmp0(opts_get(opts, "media"), "cdrom") == 0;
    Drive *drive = drive_add(
        opts, cdrom && machine->cls->ide_units ? "ide" : machine->cls->default_disk, error);
    if (!drive) {
        return false;
    }
    if (g_str_equal(drive->interface, "none") ||
        (machine->cls->has_flash && g_str_equal(drive->interface, "pflash"))) {
        return true;
    }
    g_autoptr(Opts) device = opts_new();
    if (g_str_equal(drive->interface, "ide")) {
        if (!set_ide_driver(machine, device, drive, error)) {
            return false;
        }
    } else if (g_str_equal(drive->interface, "scsi")) {
        if (!set_scsi_driver(machine, device, drive, error)) {
            return false;
        }
    } else if (g_str_equal(drive->interface, "floppy")) {
        if (!set_floppy_driver(machine, device, drive, error)) {
            return false;
        }
    } else if (g_str_equal(drive->interface, "virtio")) {
        set_virtio_driver(machine, device, "blk");
    } else {
        return error_set(error, "if=%s: machine '%s' has no such disk controller (it has: %s)",
                         drive->interface, machine->cls->name,
                         machine->cls->ide_units ? "virtio, scsi, ide, floppy, pflash, none"
                                                 : "virtio, scsi, none");
    }
    opts_set(device, "drive", drive->id);
    return device_add(machine, device, error) != NULL;
}

static bool make_nic(Machine *machine, Opts *opts, unsigned index, GError **error)
{
    static const char *const device_keys[] = { "mac", "addr", NULL };
    g_autoptr(Opts) device = opts_new();
    const char *model = opts_get(opts, "model");
    if (!model || g_str_equal(model, "virtio")) {
        set_virtio_driver(machine, device, "net");
    } else {
        opts_set(device, "driver", model);
    }
    opts_remove(opts, "model");
    for (size_t i = 0; device_keys[i]; i++) {
        if (opts_has(opts, device_keys[i])) {
            /* -nic says mac where the back end has none; "addr" is the card's place on its bus. */
            opts_set(device, device_keys[i], opts_get(opts, device_keys[i]));
            opts_remove(opts, device_keys[i]);
        }
    }
    if (!opts_has(opts, "id")) {
        g_autofree char *id = g_strdup_printf("__org.vireo.nic%u", index);
        opts_set(opts, "id", id);
    } else if (!id_check(opts_get(opts, "id"), error)) {
        return false;
    }
    opts_set(device, "netdev", opts_get(opts, "id"));
    return net_backend_new(opts, error) && device_add(machine, device, error);
}

/* Without a word about the network a machine has a card on the user network, as in QEMU. */
static bool add_default_nic(Cli *cli, const Machine *machine)
{
    bool wanted = !cli->nodefaults && !cli->no_net && cli->nics->len == 0 &&
                  cli->netdevs->len == 0 && machine->cls->default_nic &&
                  !g_str_equal(cli->config.accel, "qtest");
#ifndef HAVE_SLIRP
    wanted = false;
#endif
    return wanted;
}

/* Devices that bring their own CD drive, or another idea of one. */
static bool names_disk_device(const Cli *cli)
{
    static const char *const disks[] = { "ide-cd", "ide-hd", "scsi-cd", "scsi-hd", NULL };
    for (guint i = 0; i < cli->devices->len; i++) {
        const char *driver = opts_get(g_ptr_array_index(cli->devices, i), "driver");
        if (driver && g_strv_contains(disks, driver)) {
            return true;
        }
    }
    return false;
}

typedef struct DrivePlace {
    int bus, unit;
    bool taken;
} DrivePlace;

static void find_ide_place(Drive *drive, void *opaque)
{
    DrivePlace *place = opaque;
    place->taken |= g_str_equal(drive->interface, "ide") && drive->bus == place->bus &&
                    drive->unit == place->unit;
}

/* Without a word about it a machine has an empty CD drive where -cdrom would be, as in QEMU. */
static bool make_default_cdrom(const Cli *cli, Machine *machine, GError **error)
{
    int units = (int)machine->cls->ide_units;
    if (cli->nodefaults || !units || names_disk_device(cli)) {
        return true;
    }
    DrivePlace place = { .bus = CDROM_INDEX / units, .unit = CDROM_INDEX % units };
    g_autofree char *bus = g_strdup_printf("ide.%d", place.bus);
    drive_foreach(find_ide_place, &place);
    if (place.taken || !bus_find(machine, bus)) {
        return true;
    }
    g_autofree char *text = g_strdup_printf("if=ide,index=%d,media=cdrom", CDROM_INDEX);
    g_autoptr(Opts) opts = opts_parse(text, NULL, error);
    if (!opts || !make_drive(machine, opts, error)) {
        g_prefix_error(error, "the default CD drive: ");
        return false;
    }
    return true;
}

static bool make_devices(Cli *cli, Machine *machine, GError **error)
{
    if (add_default_nic(cli, machine)) {
        g_ptr_array_add(cli->nics, opts_parse("user", "type", NULL));
    }
    drive_set_ide_units(machine->cls->ide_units);
    drive_set_snapshots(cli->snapshot);
    for (guint i = 0; i < cli->drives->len; i++) {
        if (!make_drive(machine, g_ptr_array_index(cli->drives, i), error)) {
            g_prefix_error(error, "-drive: ");
            return false;
        }
    }
    if (!make_default_cdrom(cli, machine, error)) {
        return false;
    }
    for (guint i = 0; i < cli->nics->len; i++) {
        if (!make_nic(machine, g_ptr_array_index(cli->nics, i), i, error)) {
            g_prefix_error(error, "-nic: ");
            return false;
        }
    }
    for (guint i = 0; i < cli->devices->len; i++) {
        Opts *opts = g_ptr_array_index(cli->devices, i);
        g_autofree char *driver = g_strdup(opts_get(opts, "driver"));
        if (!device_add(machine, opts, error)) {
            g_prefix_error(error, "-device %s: ", driver ? driver : "");
            return false;
        }
    }
    return true;
}

/* ---- Monitors ---- */

static bool make_monitor_list(GPtrArray *texts, const char *option, bool qmp, bool pretty,
                              GError **error)
{
    for (guint i = 0; i < texts->len; i++) {
        const char *id = NULL;
        g_autofree char *label = g_strdup_printf("compat_%s", option);
        const char *text = g_ptr_array_index(texts, i);
        if (!make_legacy_chardev(text, option, label, i, &id, error)) {
            return false;
        }
        Chardev *chardev = id ? chardev_find(id) : NULL;
        if (chardev &&
            !(qmp ? monitor_add_qmp(chardev, pretty, error) : monitor_add_hmp(chardev, error))) {
            g_prefix_error(error, "-%s %s: ", option, text);
            return false;
        }
    }
    return true;
}

static bool make_mon(Opts *opts, GError **error)
{
    static const char *const modes[] = { "readline", "control", NULL };
    int mode = 0;
    bool pretty = false;
    const char *id = opts_get(opts, "chardev");
    if (!opts_get_enum(opts, "mode", modes, &mode, error) ||
        !opts_get_bool(opts, "pretty", &pretty, error) ||
        !cli_check_params(opts, "monitor", "mon", error)) {
        return false;
    }
    if (!id) {
        return error_set(error, "Parameter 'chardev' is missing");
    }
    Chardev *chardev = chardev_find(id);
    if (!chardev) {
        return error_set(error, "there is no chardev \"%s\"", id);
    }
    return (mode ? monitor_add_qmp(chardev, pretty, error) : monitor_add_hmp(chardev, error));
}

/* "mon:stdio" brings its own human monitor. */
static bool make_mux_monitor(const Cli *cli, GError **error)
{
    if (cli->console_fd >= 0) {
        return !cli->console_on_terminal || monitor_add_hmp(chardev_find(CONSOLE_TERMINAL), error);
    }
    const char *serial = cli->config.serial[0];
    Chardev *chardev = serial ? chardev_find(serial) : NULL;
    bool implicit = cli->serials->len == 0 && chardev &&
                    g_strcmp0(default_serial(cli), "mon:stdio") == 0;
    for (guint i = 0; i < cli->serials->len && !implicit; i++) {
        if (g_str_has_prefix(g_ptr_array_index(cli->serials, i), "mon:")) {
            implicit = true;
            chardev = chardev_find(cli->config.serial[i]);
        }
    }
    return !implicit || monitor_add_hmp(chardev, error);
}

/* QMP in the run directory. */
static bool make_run_qmp(const Cli *cli, GError **error)
{
    g_autoptr(Opts) options = opts_new();
    g_autofree char *fd = g_strdup_printf("%d", cli->qmp_fd);
    if (cli->qmp_fd < 0) {
        return true;
    }
    opts_set(options, "backend", "socket");
    opts_set(options, "id", "run-dir-qmp");
    opts_set(options, "fd", fd);
    opts_set(options, "server", "on");
    opts_set(options, "wait", "off");
    fcntl(cli->qmp_fd, F_SETFD, 0); /* as an inherited one comes; the chardev sets close-on-exec */
    Chardev *chardev = chardev_new(options, error);
    return chardev && monitor_add_qmp(chardev, false, error);
}

static bool make_monitors(Cli *cli, GError **error)
{
    return make_run_qmp(cli, error) && make_mux_monitor(cli, error) &&
           make_monitor_list(cli->monitors, "monitor", false, false, error) &&
           make_monitor_list(cli->qmps, "qmp", true, false, error) &&
           make_monitor_list(cli->qmps_pretty, "qmp-pretty", true, true, error) &&
           for_each_opts(cli->mons, "mon", make_mon, error);
}

static bool make_qtest(const Cli *cli, Machine *machine, GError **error)
{
    const char *id = NULL;
    if (!cli->qtest) {
        return true;
    }
    return make_legacy_chardev(cli->qtest, "qtest", "qtest", 0, &id, error) &&
           (!id || qtest_server_start(machine, chardev_find(id), cli->qtest_log, error));
}

static bool make_gdbstub(const Cli *cli, Machine *machine, GError **error)
{
    if (cli->gdb && !gdbstub_start(machine, cli->gdb, error)) {
        g_prefix_error(error, "-gdb %s: ", cli->gdb);
        return false;
    }
    return true;
}

/* ---- Disks that fail ---- */

static void stop_on_io_error(void)
{
    Machine *machine = machine_get();
    if (machine) {
        machine_request_stop(machine, RUN_STATE_IO_ERROR);
    }
}

/* Once the devices go on: a request that completed before would find its queue not running. */
static void retry_kept(void *opaque)
{
    Machine *machine = machine_get();
    if (machine && machine_is_running(machine)) {
        block_resume_stopped();
    }
}

static LoopTask retry_task = LOOP_TASK_INIT(retry_kept, NULL);

static void retry_when_running(void *opaque, RunState state, bool running)
{
    if (running) {
        event_loop_post(event_loop_main(), &retry_task);
    }
}

static const BlockErrorHooks block_hooks = { .emit = monitor_emit, .stop = stop_on_io_error };

Machine *start_machine(Cli *cli, GError **error)
{
    block_set_error_hooks(&block_hooks);
    if (cli->config.mem_lock && mlockall(MCL_CURRENT | MCL_FUTURE) < 0) {
        error_set_errno(error, errno,
                        "-overcommit mem-lock=on: cannot lock memory (ulimit -l says how much may "
                        "be)");
        return NULL;
    }
    bool sets = for_each_opts(cli->add_fds, "add-fd", fdset_add_inherited, error);
    fdset_close_inherited();
    if (!sets || !make_backends(cli, error)) {
        start_undo(NULL);
        return NULL;
    }
    Machine *machine = machine_new(&cli->config, error);
    if (!machine || !make_devices(cli, machine, error) || !make_monitors(cli, error) ||
        !machine_finish(machine, error) || !make_qtest(cli, machine, error) ||
        !make_gdbstub(cli, machine, error)) {
        start_undo(machine);
        return NULL;
    }
    net_warn_unused();
    machine_add_run_notifier(machine, retry_when_running, NULL);
    return machine;
}

void start_undo(Machine *machine)
{
    event_loop_cancel_task(event_loop_main(), &retry_task);
    block_jobs_end();
    gdbstub_stop();
    monitors_close();
    qtest_server_stop();
    machine_free(machine);
    tpm_backends_free();
    net_close_all();
    block_close_all();
    chardev_close_all();
    objects_delete_all();
    fdset_close_all();
}
