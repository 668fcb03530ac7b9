/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Help on machines, accelerators and CPU models. */
#include "vmm/cli/help.h"

#include <stdio.h>
#include <string.h>
#include "vmm/kvm/x86/cpu_model.h"
#include "vmm/machine/options.h"

static const MachineOption kvm_options[] = {
    { "kernel-irqchip", "on|split", "Interrupt controllers in the kernel, or the local APICs alone",
      "on", NULL },
};

static void add_option(GPtrArray *lines, const MachineOption *option)
{
    g_ptr_array_add(lines,
                    help_option_line(option->name, option->type, option->desc, option->preset));
}

static void print_options(const char *title, GPtrArray *lines)
{
    g_autoptr(GString) text = g_string_new(NULL);
    help_options(title, lines, text);
    fputs(text->str, stdout);
}

static void print_machine(const MachineClass *cls, void *opaque)
{
    if (cls->alias) {
        printf("%-20s %s (alias of %s)\n", cls->alias, cls->desc, cls->name);
    }
    printf("%-20s %s%s\n", cls->name, cls->desc, cls->is_default ? " (default)" : "");
}

void help_machines(void)
{
    printf("Machines (-machine NAME):\n");
    machine_class_foreach(print_machine, NULL);
}

void help_machine(const MachineClass *cls)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *title = g_strconcat(cls->name, "-machine", NULL);
    for (const Property *prop = cls->props; prop && prop->name; prop++) {
        g_ptr_array_add(lines, property_help_line(prop));
    }
    for (const MachineOption *option = machine_options; option->name; option++) {
        add_option(lines, option);
    }
    print_options(title, lines);
}

bool help_accel(const char *accel, GError **error)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    if (g_strcmp0(accel, "qtest") == 0) {
        printf("The accelerator qtest has no options.\n");
        return true;
    }
    if (accel && !g_str_equal(accel, "kvm")) {
        return error_set(error, "invalid accelerator %s (Vireo has kvm, and qtest for tests)",
                         accel);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(kvm_options); i++) {
        add_option(lines, &kvm_options[i]);
    }
    print_options("kvm-accel", lines);
    return true;
}

void help_cpus(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    cpu_model_help(text);
    fputs(text->str, stdout);
}

/* A named model's own values; those of host and max are the host's. */
static void add_cpu_property(GPtrArray *lines, const CpuModel *model, const char *name,
                             json_object *value)
{
    bool flag = json_object_is_type(value, json_type_boolean);
    const char *type = flag ? "bool" : json_object_is_type(value, json_type_int) ? "int" : "str";
    const char *preset = flag ? (json_object_get_boolean(value) ? "on" : "off")
                              : json_object_get_string(value);
    uint32_t masks[FEATURE_WORDS];
    bool unknown = model->host && feature_find(name, masks);
    g_ptr_array_add(lines,
                    help_option_line(name, type, NULL, unknown || !preset[0] ? NULL : preset));
}

bool help_cpu(const char *text, GError **error)
{
    g_autofree char *rest = g_strndup(text, (gsize)(strrchr(text, ',') - text));
    const uint32_t none[FEATURE_WORDS] = { 0 };
    CpuModel model;
    if (!cpu_model_parse(&model, rest, NULL, error)) {
        return false;
    }
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *title = g_strconcat(model.name, "-x86_64-cpu", NULL);
    json_object *props = cpu_model_to_json(&model, none);
    json_object_object_foreach(props, name, value)
    {
        add_cpu_property(lines, &model, name, value);
    }
    json_object_put(props);
    print_options(title, lines);
    return true;
}
