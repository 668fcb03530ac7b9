/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about ACPI's slots. */
#include "hw/acpi/qmp.h"

#include "hw/acpi/cpu_hotplug.h"

static json_object *query_acpi_ospm_status(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    AcpiSlots *cpus = cpu_hotplug_slots(machine_get());
    if (cpus) {
        acpi_slots_ospm_status(cpus, list);
    }
    return list;
}

static const QmpHandler qmp[] = {
    { "query-acpi-ospm-status", query_acpi_ospm_status },
    { NULL },
};

const MonitorCommands acpi_commands = { .qmp = qmp };
