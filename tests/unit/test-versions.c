/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Versions of the PCs: the tables of what older ones have otherwise, and the state's machine type.
 */
#include <string.h>
#include "hw/board/versions.h"
#include "tests/unit/pc-machine.h"
#include "vmm/cli/cli.h"
#include "vmm/kvm/x86/cpu_model.h"

#define CPU_TYPE "x86_64-cpu"

static void check_cpu_row(const CompatProp *row)
{
    GError *error = NULL;
    CpuModel model;
    bool all = strcmp(row->driver, CPU_TYPE) == 0;
    g_autofree char *name =
        all ? g_strdup("host") : g_strndup(row->driver, strlen(row->driver) - strlen("-" CPU_TYPE));

    cpu_model_init(&model, name, NULL, &error);
    g_assert_no_error(error);
    cpu_model_set(&model, row->property, row->value, &error);
    g_assert_no_error(error);
}

static void check_device_row(const CompatProp *row)
{
    GError *error = NULL;
    const DeviceClass *cls = device_class_find(row->driver);
    size_t base;

    g_assert_nonnull(cls);
    g_assert_cmpstr(cls->name, ==, row->driver); /* no alias: it would never be found */
    g_assert_nonnull(device_class_find_prop(cls, row->property, &base));
    Device *dev = device_new(cls, NULL);
    device_set_prop(dev, row->property, row->value, &error);
    g_assert_no_error(error);
    device_free(dev);
}

static void test_rows_are_properties(void)
{
    for (unsigned version = 0; version < PC_VERSIONS; version++) {
        for (const CompatProp *const *table = pc_compat[version]; *table; table++) {
            for (const CompatProp *row = *table; row->driver; row++) {
                g_test_message("%s.%s=%s", row->driver, row->property, row->value);
                if (g_str_has_suffix(row->driver, CPU_TYPE)) {
                    check_cpu_row(row);
                } else {
                    check_device_row(row);
                }
            }
        }
    }
}

static void test_a_version_has_all_tables_of_newer_ones(void)
{
    for (unsigned version = 1; version < PC_VERSIONS; version++) {
        unsigned i = 0;
        for (; pc_compat[version - 1][i]; i++) {
            g_assert_true(pc_compat[version][i] == pc_compat[version - 1][i]);
        }
        g_assert_true(!pc_compat[version][i] || !pc_compat[version][i + 1]);
    }
}

static void test_cpu_models_follow_the_version(void)
{
    GError *error = NULL;
    CpuModel model;

    g_assert_true(cpu_model_parse(&model, "qemu64,model=9", pc_compat[PC_6_0], &error));
    g_assert_cmpuint(model.family, ==, 6);
    g_assert_cmpuint(model.model, ==, 9); /* the user's word is the last */
    g_assert_cmpuint(model.hyperv.build, ==, 7100);
    g_assert_false(model.vendor_cpuid_only);
    g_assert_true(cpu_model_parse(&model, "EPYC", pc_compat[PC_6_0], &error));
    g_assert_cmpuint(model.family, ==, CPU_NUMBER_UNSET);
    g_assert_true(cpu_model_parse(&model, "qemu64", pc_compat[PC_7_2], &error));
    g_assert_cmpuint(model.hyperv.build, ==, 14393);
    g_assert_true(model.vendor_cpuid_only);
}

static void test_older_versions_prefer_sockets(void)
{
    SmpConfig plain = { .cpus = 4 };
    g_assert_true(smp_complete(&plain, true, NULL));
    g_assert_cmpuint(plain.sockets, ==, 4);
    g_assert_cmpuint(plain.cores, ==, 1);
    SmpConfig sockets = { .cpus = 8, .sockets = 2 };
    g_assert_true(smp_complete(&sockets, true, NULL));
    g_assert_cmpuint(sockets.cores, ==, 4);
    SmpConfig cores = { .cpus = 8, .cores = 2 };
    g_assert_true(smp_complete(&cores, true, NULL));
    g_assert_cmpuint(cores.sockets, ==, 4);
    SmpConfig threads = { .cpus = 8, .sockets = 2, .cores = 2 };
    g_assert_true(smp_complete(&threads, true, NULL));
    g_assert_cmpuint(threads.threads, ==, 2);
}

static void test_state_of_another_type_is_refused(void)
{
    g_autoptr(GByteArray) saved = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    Machine *machine = pc_machine_new("pc-q35-7.1", NULL);
    devices_save(machine, saved);
    g_assert_true(devices_load(machine, saved->data, saved->len, &error));
    machine_free(machine);

    machine = pc_machine_new("q35", NULL);
    g_assert_false(devices_load(machine, saved->data, saved->len, &error));
    g_assert_nonnull(strstr(error->message, "-machine pc-q35-7.1"));
    machine_free(machine);
}

static void test_every_version_is_built(void)
{
    for (const MachineClass *const *cls = machine_classes; *cls; cls++) {
        g_autofree char *near = NULL;
        g_test_message("%s", (*cls)->name);
        Machine *machine = pc_machine_new((*cls)->name, NULL);
        g_assert_true(machine->cls == *cls);
        machine_free(machine);
        near = machine_class_suggest((*cls)->name);
        g_assert_cmpstr(near, ==, (*cls)->name);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/versions/state-of-another-type-is-refused",
                    test_state_of_another_type_is_refused);
    g_test_add_func("/versions/every-version-is-built", test_every_version_is_built);
    g_test_add_func("/versions/rows-are-properties", test_rows_are_properties);
    g_test_add_func("/versions/a-version-has-all-tables-of-newer-ones",
                    test_a_version_has_all_tables_of_newer_ones);
    g_test_add_func("/versions/cpu-models-follow-the-version", test_cpu_models_follow_the_version);
    g_test_add_func("/versions/older-versions-prefer-sockets", test_older_versions_prefer_sockets);
    return g_test_run();
}
