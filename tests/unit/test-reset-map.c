/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How often the accelerator is told of a new memory map: a memory slot that KVM deletes costs
 * milliseconds of a machine's start. Machines on the qtest accelerator, with a listener where KVM
 * has its own.
 */
#include <glib/gstdio.h>
#include "tests/unit/pc-machine.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/life.h"

#define LOAD_ADDRESS     0x200000
#define MULTIBOOT_MAGIC  0x1badb002u
#define MULTIBOOT_PLACED 0x00010000u /* the header says where to load */
#define PAM1_Q35         0x91

static struct {
    unsigned changes; /* ranges of RAM or ROM that came or went */
    unsigned commits;
} seen;

static void count_range(void *opaque, const FlatRange *range)
{
    seen.changes++;
}

static void count_commit(void *opaque)
{
    seen.commits++;
}

static const MemListener counter = {
    .ram_add = count_range,
    .ram_del = count_range,
    .commit = count_commit,
};

static AccelOps counting_accel;

/* Where KVM takes the map. */
static bool attach(Machine *machine, GError **error)
{
    address_space_set_listener(machine->memory, &counter);
    g_assert_cmpuint(seen.changes, >, 0);
    memset(&seen, 0, sizeof(seen));
    return true;
}

static char *make_file(const char *dir, const char *name, const void *data, size_t len)
{
    char *path = g_build_filename(dir, name, NULL);
    GError *error = NULL;

    g_file_set_contents(path, data, (gssize)len, &error);
    g_assert_no_error(error);
    return path;
}

static char *make_kernel(const char *dir)
{
    const uint32_t header[16] = {
        MULTIBOOT_MAGIC,
        MULTIBOOT_PLACED,
        -(MULTIBOOT_MAGIC + MULTIBOOT_PLACED),
        LOAD_ADDRESS,
        LOAD_ADDRESS,
        LOAD_ADDRESS + sizeof(header),
        LOAD_ADDRESS + sizeof(header),
        LOAD_ADDRESS,
    };

    return make_file(dir, "kernel", header, sizeof(header));
}

static char *make_firmware(const char *dir)
{
    static const uint8_t zeroes[64 * KIB];

    return make_file(dir, "firmware", zeroes, sizeof(zeroes));
}

/* One line of the tests: a board and what it starts. */
typedef struct Start {
    const char *board;
    bool kernel;
} Start;

static Machine *start(const Start *how, MachineConfig *config, const char *file)
{
    GError *error = NULL;

    *config = (MachineConfig){
        .cls = machine_class_find(how->board),
        .accel = "qtest",
        .ram_size = 32 * MIB,
        .ram_max = 32 * MIB,
        .smp = { .cpus = 1, .maxcpus = 1, .sockets = 1, .dies = 1, .cores = 1, .threads = 1 },
        .rtc_clock = VM_CLOCK_VIRTUAL,
        .nodefaults = true,
        .kernel = how->kernel ? file : NULL,
        .bios = how->kernel ? NULL : file,
    };
    memset(&seen, 0, sizeof(seen));
    Machine *machine = machine_new(config, &error);
    g_assert_no_error(error);
    counting_accel = *machine->accel;
    counting_accel.create_vcpus = attach;
    machine->accel = &counting_accel;
    machine_finish(machine, &error);
    g_assert_no_error(error);
    return machine;
}

static void test_start(gconstpointer data)
{
    const Start *how = data;
    g_autofree char *dir = g_dir_make_tmp("vireo-test-XXXXXX", NULL);
    g_autofree char *file = how->kernel ? make_kernel(dir) : make_firmware(dir);
    MachineConfig config;
    Machine *machine = start(how, &config, file);

    g_assert_cmpuint(seen.changes, ==, 0);
    g_assert_cmpuint(seen.commits, <=, 1);
    seen.commits = 0;
    machine_reset_now(machine);
    g_assert_cmpuint(seen.changes, ==, 0);
    g_assert_cmpuint(seen.commits, <=, 1);
    seen.commits = 0;
    machine_free(machine);
    g_assert_cmpuint(seen.changes, ==, 0);
    g_assert_cmpuint(seen.commits, ==, 0);
    g_unlink(file);
    g_rmdir(dir);
}

/* What the guest opened and the reset closes is seen, in one commit. */
static void test_reset_closes_shadow_ram_at_once(void)
{
    static const Start how = { "q35", false };
    g_autofree char *dir = g_dir_make_tmp("vireo-test-XXXXXX", NULL);
    g_autofree char *file = make_firmware(dir);
    MachineConfig config;
    Machine *machine = start(&how, &config, file);

    pc_write(machine->io, 0xcf8, 0x80000000u | (PAM1_Q35 & ~3u), 4);
    pc_write(machine->io, 0xcfc + (PAM1_Q35 & 3), 0x33, 1);
    g_assert_cmpuint(seen.changes, >, 0);
    memset(&seen, 0, sizeof(seen));
    machine_reset_now(machine);
    g_assert_cmpuint(seen.changes, >, 0);
    g_assert_cmpuint(seen.commits, ==, 1);
    machine_free(machine);
    g_unlink(file);
    g_rmdir(dir);
}

static const Start starts[] = {
    { "q35", true },  { "pc", true },  { "microvm", true },
    { "q35", false }, { "pc", false }, { "microvm", false },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rcu_thread_register();
    event_loop_main();
    device_classes_register(device_classes);
    machine_classes_register(machine_classes);
    for (size_t i = 0; i < G_N_ELEMENTS(starts); i++) {
        g_autofree char *name =
            g_strdup_printf("/reset-map/%s-with-%s-leaves-the-map-as-it-was-taken", starts[i].board,
                            starts[i].kernel ? "kernel" : "firmware");
        g_test_add_data_func(name, &starts[i], test_start);
    }
    g_test_add_func("/reset-map/a-reset-closes-shadow-ram-in-one-commit",
                    test_reset_closes_shadow_ram_at_once);
    return g_test_run();
}
