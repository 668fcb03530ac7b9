/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that make and remove devices and objects. */
#include "vmm/cli/device_add.h"
#include "vmm/device/hotplug.h"
#include "vmm/machine/life.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/object/object.h"

/* ---- Making and removing ---- */

/* Firmware's boot order follows the devices. */
static void reset_before_start(Machine *machine)
{
    if (machine_run_state(machine) == RUN_STATE_PRELAUNCH) {
        machine_reset_now(machine);
    }
}

static json_object *qmp_device_add(const void *opaque, GError **error)
{
    const QmpDeviceAddArgs *args = opaque;
    Machine *machine = machine_get();
    json_object *all = json_object_get(args->rest);
    json_add_string(all, "driver", args->driver);
    json_add_string(all, "bus", args->bus);
    json_add_string(all, "id", args->id);
    g_autoptr(Opts) options = opts_from_json(all, error);
    json_object_put(all);
    if (!options || !device_add(machine, options, error)) {
        return NULL;
    }
    reset_before_start(machine);
    return qmp_ok();
}

static json_object *qmp_device_del(const void *opaque, GError **error)
{
    const QmpDeviceDelArgs *args = opaque;
    Machine *machine = machine_get();
    Device *dev = device_find(machine, args->id);
    if (!dev) {
        error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND, "there is no device '%s'", args->id);
        return NULL;
    }
    if (!dev->id) {
        error_set(error, "Device '%s' belongs to the machine", args->id);
        return NULL;
    }
    if (!device_unplug(dev, error)) {
        return NULL;
    }
    reset_before_start(machine);
    return qmp_ok();
}

static json_object *object_add(const void *opaque, GError **error)
{
    const QmpObjectAddArgs *args = opaque;
    const char *type = qmp_ObjectType_values[args->qom_type];
    return object_create(type, args->id, args->rest, error) ? qmp_ok() : NULL;
}

static json_object *object_del(const void *opaque, GError **error)
{
    return object_delete(((const QmpObjectDelArgs *)opaque)->id, error) ? qmp_ok() : NULL;
}

/* ---- The human monitor ---- */

static void run_options(GString *out, const char *command, const char *text, const char *implied)
{
    GError *error = NULL;
    g_autoptr(Opts) options = opts_parse(text, implied, &error);
    if (options) {
        hmp_run_qmp(out, command, opts_to_json(options));
    }
    hmp_error(out, error);
}

static void hmp_device_add(GString *out, char **args)
{
    run_options(out, "device_add", args[0], "driver");
}

static void hmp_object_add(GString *out, char **args)
{
    run_options(out, "object-add", args[0], "qom-type");
}

static void run_with(GString *out, const char *command, const char *name, const char *value)
{
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, name, value);
    hmp_run_qmp(out, command, arguments);
}

static void hmp_device_del(GString *out, char **args)
{
    run_with(out, "device_del", "id", args[0]);
}

static void hmp_object_del(GString *out, char **args)
{
    run_with(out, "object-del", "id", args[0]);
}

static void hmp_info_qtree(GString *out, char **args)
{
    device_tree_dump(machine_get(), out);
}

static const QmpHandler qmp[] = {
    { "device_add", qmp_device_add },
    { "device_del", qmp_device_del },
    { "object-add", object_add },
    { "object-del", object_del },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "device_add", "DRIVER[,PROP=VALUE...]", "add a device", hmp_device_add, 1, 1 },
    { "device_del", "DEVICE", "remove a device: the guest is asked to let it go", hmp_device_del, 1,
      1 },
    { "object_add", "TYPE,id=ID[,PROP=VALUE...]", "make an object", hmp_object_add, 1, 1 },
    { "object_del", "OBJECT", "delete an object that nobody uses", hmp_object_del, 1, 1 },
    { "info qtree", NULL, "the device tree", hmp_info_qtree },
    { NULL },
};

static void list_children(GPtrArray *words, const char *path)
{
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "path", path);
    json_object *list = qmp_execute("qom-list", arguments, NULL);
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        const char *type = json_object_get_string(json_object_object_get(item, "type"));
        if (type && g_str_has_prefix(type, "child<")) {
            const char *name = json_object_get_string(json_object_object_get(item, "name"));
            g_ptr_array_add(words, g_strdup(name));
        }
    }
    json_object_put(list);
    json_object_put(arguments);
}

static void list_devices(GPtrArray *words)
{
    list_children(words, "/machine/peripheral");
}

static void list_objects(GPtrArray *words)
{
    list_children(words, "/objects");
}

static void list_types(GPtrArray *words, const char *implements)
{
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "implements", implements);
    json_add_bool(arguments, "abstract", false);
    json_object *list = qmp_execute("qom-list-types", arguments, NULL);
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        g_ptr_array_add(words,
                        g_strdup(json_object_get_string(json_object_object_get(item, "name"))));
    }
    json_object_put(list);
    json_object_put(arguments);
}

static void list_drivers(GPtrArray *words)
{
    list_types(words, "device");
}

static void list_object_types(GPtrArray *words)
{
    list_types(words, "user-creatable");
}

static const HmpWordKind words[] = {
    { "DEVICE", list_devices },
    { "OBJECT", list_objects },
    { "DRIVER", list_drivers },
    { "TYPE", list_object_types },
    { NULL },
};

const MonitorCommands device_commands = { .qmp = qmp, .hmp = hmp, .words = words };
