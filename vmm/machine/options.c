/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine/options.h"

static json_object *get_accel(const MachineConfig *config)
{
    return json_object_new_string(config->accel);
}

static json_object *get_acpi(const MachineConfig *config)
{
    return json_object_new_boolean(!config->no_acpi);
}

static json_object *get_dump(const MachineConfig *config)
{
    return json_object_new_boolean(config->mem_dump);
}

static json_object *get_hmat(const MachineConfig *config)
{
    return json_object_new_boolean(config->hmat);
}

static json_object *get_irqchip(const MachineConfig *config)
{
    return json_object_new_string(config->irqchip_split ? "split" : "on");
}

static json_object *get_merge(const MachineConfig *config)
{
    return json_object_new_boolean(config->mem_merge);
}

static json_object *get_backend(const MachineConfig *config)
{
    return json_object_new_string(config->memory_backend ? config->memory_backend : "");
}

static json_object *get_kernel(const MachineConfig *config)
{
    return json_object_new_string(config->kernel ? config->kernel : "");
}

static json_object *get_initrd(const MachineConfig *config)
{
    return json_object_new_string(config->initrd ? config->initrd : "");
}

static json_object *get_append(const MachineConfig *config)
{
    return json_object_new_string(config->append ? config->append : "");
}

static json_object *get_firmware(const MachineConfig *config)
{
    return json_object_new_string(config->bios ? config->bios : "");
}

static json_object *get_pit(const MachineConfig *config)
{
    return json_object_new_string(config->pit_off ? "off" : "auto");
}

const MachineOption machine_options[] = {
    { "accel", "kvm|qtest", "What runs the guest", "kvm", get_accel },
    { "acpi", "bool", "ACPI tables", "on", get_acpi },
    { "append", "str", "The kernel's command line, as -append", NULL, get_append },
    { "dump-guest-core", "bool", "Guest memory in Vireo's core dumps", "on", get_dump },
    { "firmware", "str", "Firmware image, as -bios", NULL, get_firmware },
    { "hmat", "bool", "Tell latencies and bandwidths of -numa in ACPI", "off", get_hmat },
    { "initrd", "str", "Initial RAM disk, as -initrd", NULL, get_initrd },
    { "kernel", "str", "Kernel to start, as -kernel", NULL, get_kernel },
    { "kernel-irqchip", "on|split", "Interrupt controllers in the kernel, or the local APICs alone",
      "on", get_irqchip },
    { "mem-merge", "bool", "Let the kernel merge equal pages", "on", get_merge },
    { "memory-backend", "str", "The memory backend that is the main memory", NULL, get_backend },
    { "pit", "OnOffAuto", "The interval timer", "auto", get_pit },
    { .name = NULL },
};
