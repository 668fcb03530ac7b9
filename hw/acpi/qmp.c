/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about ACPI's slots and the generation ID. */
#include "hw/acpi/qmp.h"

#include "hw/acpi/cpu_hotplug.h"
#include "hw/acpi/memory_hotplug.h"
#include "hw/acpi/vmgenid.h"
#include "hw/misc/pc_dimm.h"

static json_object *query_acpi_ospm_status(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    AcpiSlots *cpus = cpu_hotplug_slots(machine_get());
    if (cpus) {
        acpi_slots_ospm_status(cpus, list);
    }
    AcpiSlots *memory = memory_hotplug_slots(machine_get());
    if (memory) {
        acpi_slots_ospm_status(memory, list);
    }
    return list;
}

static json_object *query_memory_devices(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    pc_dimms_to_json(machine_get(), list);
    return list;
}

static void hmp_memory_devices(GString *out, char **args)
{
    json_object *list = json_object_new_array();
    pc_dimms_to_json(machine_get(), list);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *data = NULL;
        json_object_object_get_ex(json_object_array_get_idx(list, i), "data", &data);
        g_string_append(out, "Memory device [dimm]:\n");
        json_object_object_foreach(data, key, value)
        {
            g_string_append_printf(out, "  %s: %s\n", key, json_object_get_string(value));
        }
    }
    json_object_put(list);
}

static json_object *query_vm_generation_id(const void *args, GError **error)
{
    Device *dev = vmgenid_find(machine_get());
    if (!dev) {
        error_set(error, "the machine has no generation ID: start it with -device vmgenid");
        return NULL;
    }
    json_object *result = json_object_new_object();
    json_add_string(result, "guid", vmgenid_guid(dev));
    return result;
}

static void hmp_vm_generation_id(GString *out, char **args)
{
    GError *error = NULL;
    json_object *result = query_vm_generation_id(NULL, &error);
    hmp_error(out, error);
    if (result) {
        g_string_append_printf(out, "%s\n",
                               json_object_get_string(json_object_object_get(result, "guid")));
        json_object_put(result);
    }
}

static const QmpHandler qmp[] = {
    { "query-acpi-ospm-status", query_acpi_ospm_status },
    { "query-memory-devices", query_memory_devices },
    { "query-vm-generation-id", query_vm_generation_id },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "info memory-devices", NULL, "the DIMMs in the machine's slots", hmp_memory_devices },
    { "info vm-generation-id", NULL, "the UUID of the machine's generation", hmp_vm_generation_id },
    { NULL },
};

const MonitorCommands acpi_commands = { .qmp = qmp, .hmp = hmp };
