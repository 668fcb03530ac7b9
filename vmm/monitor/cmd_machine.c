/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about the machine: state, life, CPUs. */
#include <unistd.h>
#include "vmm/machine/accel.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/watchdog.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/object/iothread.h"
#include "vmm/object/object.h"

static char *uuid_text(const uint8_t *uuid)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (int i = 0; i < 16; i++) {
        g_string_append_printf(text, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                               uuid[i]);
    }
    return g_strdup(text->str);
}

static json_object *query_name(const void *args, GError **error)
{
    json_object *info = json_object_new_object();
    json_add_string(info, "name", machine_get()->config->name);
    return info;
}

static json_object *query_uuid(const void *args, GError **error)
{
    g_autofree char *text = uuid_text(machine_get()->config->uuid);
    json_object *info = json_object_new_object();
    json_add_string(info, "UUID", text);
    return info;
}

static json_object *query_status(const void *args, GError **error)
{
    const Machine *machine = machine_get();
    json_object *info = json_object_new_object();
    json_add_bool(info, "running", machine_is_running(machine));
    json_add_bool(info, "singlestep", false);
    json_add_string(info, "status", run_state_name(machine_run_state(machine)));
    return info;
}

static json_object *stop(const void *args, GError **error)
{
    Machine *machine = machine_get();
    if (machine_is_running(machine)) {
        machine_stop(machine, RUN_STATE_PAUSED);
    }
    return qmp_ok();
}

static json_object *cont(const void *args, GError **error)
{
    return machine_cont(machine_get(), error) ? qmp_ok() : NULL;
}

static json_object *system_reset(const void *args, GError **error)
{
    machine_request_reset(machine_get(), SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
    return qmp_ok();
}

static json_object *system_powerdown(const void *args, GError **error)
{
    machine_request_powerdown(machine_get());
    return qmp_ok();
}

static json_object *system_wakeup(const void *args, GError **error)
{
    Machine *machine = machine_get();
    if (!machine->can_sleep) {
        error_set(error, "a machine of this kind does not sleep: there is nothing to wake");
        return NULL;
    }
    if (machine_run_state(machine) != RUN_STATE_SUSPENDED) {
        error_set(error, "the guest is not suspended, so there is nothing to wake");
        return NULL;
    }
    machine_request_wakeup(machine, WAKEUP_OTHER);
    return qmp_ok();
}

static json_object *inject_nmi(const void *args, GError **error)
{
    Machine *machine = machine_get();
    if (!machine->accel->nmi) {
        error_set(error, "the accelerator '%s' has no NMI", machine->accel->name);
        return NULL;
    }
    machine->accel->nmi(machine);
    return qmp_ok();
}

static json_object *set_watchdog_action(const void *args, GError **error)
{
    const QmpWatchdogSetActionArgs *in = args;
    watchdog_set_action((int)in->action); /* the schema's order is the action's */
    return qmp_ok();
}

static json_object *set_action(const void *args, GError **error)
{
    static const int panics[] = {
        [QMP_PANIC_ACTION_PAUSE] = PANIC_PAUSE,
        [QMP_PANIC_ACTION_SHUTDOWN] = PANIC_SHUTDOWN,
        [QMP_PANIC_ACTION_EXIT_FAILURE] = PANIC_EXIT_FAILURE,
        [QMP_PANIC_ACTION_NONE] = PANIC_NONE,
    };
    const QmpSetActionArgs *in = args;
    Machine *machine = machine_get();
    LifeActions actions = machine_actions(machine);
    if (in->has_reboot) {
        actions.reboot_exits = in->reboot == QMP_REBOOT_ACTION_SHUTDOWN;
    }
    if (in->has_shutdown) {
        actions.shutdown_pauses = in->shutdown == QMP_SHUTDOWN_ACTION_PAUSE;
    }
    if (in->has_panic) {
        actions.panic = panics[in->panic];
    }
    if (in->has_watchdog) {
        watchdog_set_action((int)in->watchdog);
    }
    machine_set_actions(machine, actions);
    return qmp_ok();
}

static json_object *query_kvm(const void *args, GError **error)
{
    json_object *info = json_object_new_object();
    json_add_bool(info, "enabled", g_str_equal(machine_get()->accel->name, "kvm"));
    json_add_bool(info, "present", access("/dev/kvm", F_OK) == 0);
    return info;
}

static json_object *query_target(const void *args, GError **error)
{
    json_object *info = json_object_new_object();
    json_add_string(info, "arch", "x86_64");
    return info;
}

static void add_machine(const MachineClass *cls, void *opaque)
{
    json_object *info = json_object_new_object();
    json_add_string(info, "name", cls->name);
    json_add_string(info, "alias", cls->alias);
    if (cls->is_default) {
        json_add_bool(info, "is-default", true);
    }
    json_add_int(info, "cpu-max", cls->max_cpus);
    json_add_bool(info, "hotpluggable-cpus", cls->cpu_hotplug);
    json_add_bool(info, "numa-mem-supported", false);
    json_add_bool(info, "deprecated", false);
    if (!cls->bare) {
        json_add_string(info, "default-cpu-type", "host-x86_64-cpu");
    }
    json_add_string(info, "default-ram-id", cls->bare ? "ram" : "pc.ram");
    json_object_array_add(opaque, info);
}

static json_object *query_machines(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    machine_class_foreach(add_machine, list);
    return list;
}

static json_object *query_current_machine(const void *args, GError **error)
{
    json_object *info = json_object_new_object();
    json_add_bool(info, "wakeup-suspend-support", machine_get()->can_sleep);
    return info;
}

/* ---- Switches of migration, which clients set before they start anything ---- */

static bool migrate_capabilities[QMP_MIGRATION_CAPABILITY_EVENTS + 1];

static json_object *query_migrate_capabilities(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    for (size_t i = 0; i < G_N_ELEMENTS(migrate_capabilities); i++) {
        json_object *info = json_object_new_object();
        json_add_string(info, "capability", qmp_MigrationCapability_values[i]);
        json_add_bool(info, "state", migrate_capabilities[i]);
        json_object_array_add(list, info);
    }
    return list;
}

static json_object *migrate_set_capabilities(const void *opaque, GError **error)
{
    json_object *list = ((const QmpMigrateSetCapabilitiesArgs *)opaque)->capabilities;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        const char *name = json_object_get_string(json_object_object_get(item, "capability"));
        for (size_t j = 0; j < G_N_ELEMENTS(migrate_capabilities); j++) {
            if (g_str_equal(name, qmp_MigrationCapability_values[j])) {
                migrate_capabilities[j] =
                    json_object_get_boolean(json_object_object_get(item, "state"));
            }
        }
    }
    return qmp_ok();
}

static void add_iothread(Object *obj, void *opaque)
{
    if (obj->cls != &iothread_class) {
        return;
    }
    IoThreadInfo thread = iothread_info(obj);
    json_object *info = json_object_new_object();
    json_add_string(info, "id", thread.id);
    json_add_int(info, "thread-id", thread.thread_id);
    json_add_int(info, "poll-max-ns", thread.poll_max_ns);
    json_add_int(info, "poll-grow", thread.poll_grow);
    json_add_int(info, "poll-shrink", thread.poll_shrink);
    json_add_int(info, "aio-max-batch", 0);
    json_object_array_add(opaque, info);
}

static json_object *query_iothreads(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    object_foreach(add_iothread, list);
    return list;
}

/* ---- The human monitor ---- */

static void hmp_stop(GString *out, char **args)
{
    hmp_run_qmp(out, "stop", NULL);
}

static void hmp_cont(GString *out, char **args)
{
    hmp_run_qmp(out, "cont", NULL);
}

static void hmp_reset(GString *out, char **args)
{
    hmp_run_qmp(out, "system_reset", NULL);
}

static void hmp_powerdown(GString *out, char **args)
{
    hmp_run_qmp(out, "system_powerdown", NULL);
}

static void hmp_wakeup(GString *out, char **args)
{
    hmp_run_qmp(out, "system_wakeup", NULL);
}

static void hmp_nmi(GString *out, char **args)
{
    hmp_run_qmp(out, "inject-nmi", NULL);
}

static const QmpHandler qmp[] = {
    { "query-name", query_name },
    { "query-uuid", query_uuid },
    { "query-status", query_status },
    { "stop", stop },
    { "cont", cont },
    { "system_reset", system_reset },
    { "system_powerdown", system_powerdown },
    { "system_wakeup", system_wakeup },
    { "inject-nmi", inject_nmi },
    { "set-action", set_action },
    { "watchdog-set-action", set_watchdog_action },
    { "query-kvm", query_kvm },
    { "query-target", query_target },
    { "query-machines", query_machines },
    { "query-current-machine", query_current_machine },
    { "query-migrate-capabilities", query_migrate_capabilities },
    { "migrate-set-capabilities", migrate_set_capabilities },
    { "query-iothreads", query_iothreads },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "stop", NULL, "pause the machine", hmp_stop, .alias = "s" },
    { "cont", NULL, "continue it", hmp_cont, .alias = "c" },
    { "system_reset", NULL, "reset it", hmp_reset },
    { "system_powerdown", NULL, "press the power button", hmp_powerdown },
    { "system_wakeup", NULL, "wake a suspended guest", hmp_wakeup },
    { "nmi", NULL, "inject a non-maskable interrupt", hmp_nmi },
    { NULL },
};

const MonitorCommands machine_commands = { .qmp = qmp, .hmp = hmp };
