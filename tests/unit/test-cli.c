/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line: what options set, and what is said of wrong ones. */
#include "vmm/cli/cli.h"

#include <string.h>
#include "vmm/util/bytes.h"

static const Property board_props[] = { PROP_END };
static const MachineClass board = {
    .name = "testboard",
    .alias = "tb",
    .desc = "for tests",
    .is_default = true,
    .max_cpus = 255,
    .props = board_props,
};
static const MachineClass *const boards[] = { &board, NULL };

/* Splits at spaces; the words live until the process ends, as argv does. */
static bool parse(Cli *cli, const char *line, GError **error)
{
    char **words = g_strsplit(line, " ", -1);
    bool ok = cli_parse(cli, (int)g_strv_length(words), words, error);
    g_test_queue_destroy((GDestroyNotify)g_strfreev, words);
    return ok;
}

static void test_qemus_usual_line_is_understood(void)
{
    Cli cli;
    g_assert_true(parse(&cli,
                        "vireo -m 2G -smp 2 -kernel k -initrd i -append console=ttyS0 "
                        "-drive file=disk.img,format=raw,if=virtio "
                        "-nic user,hostfwd=tcp:127.0.0.1:2222-:22 -nographic",
                        NULL));
    g_assert_cmpuint(cli.config.ram_size, ==, 2 * GIB);
    g_assert_cmpuint(cli.config.smp.cpus, ==, 2);
    g_assert_cmpstr(cli.config.append, ==, "console=ttyS0");
    g_assert_cmpuint(cli.drives->len, ==, 1);
    g_assert_cmpstr(opts_get(cli.nics->pdata[0], "hostfwd"), ==, "tcp:127.0.0.1:2222-:22");
    g_assert_true(cli.nographic);
    cli_free(&cli);
}

static void test_two_dashes_are_one(void)
{
    Cli cli;
    g_assert_true(parse(&cli, "vireo --no-reboot -S", NULL));
    g_assert_true(cli.config.actions.reboot_exits);
    g_assert_true(cli.config.start_paused);
    cli_free(&cli);
}

static void test_memory_without_suffix_is_in_mebibytes(void)
{
    Cli cli;
    g_assert_true(parse(&cli, "vireo -m size=300", NULL));
    g_assert_cmpuint(cli.config.ram_size, ==, 300 * MIB);
    cli_free(&cli);
}

static void test_machine_options_are_taken_apart(void)
{
    Cli cli;
    g_assert_true(parse(&cli, "vireo -machine tb,accel=kvm,kernel-irqchip=split,vmport=off", NULL));
    g_assert_true(cli.config.irqchip_split);
    g_assert_cmpint(json_object_object_length(cli.config.machine_props), ==, 1);
    cli_free(&cli);
}

static void test_wrong_lines_say_what_is_wrong(void)
{
    static const char *const wrong[][2] = {
        { "-kernle x", "did you mean '-kernel'" },
        { "-m", "requires an argument" },
        { "-m 12Q", "'12Q'" },
        { "-m 0", "at least 1 MiB" },
        { "-m 1G,slots=2", "give maxmem=" },
        { "-m 1G,slots=300,maxmem=2G", "slots" },
        { "-m 1G,slots=2,maxmem=512M", "less than the memory" },
        { "-smp 0", "at least 1" },
        { "-smp 4,sockets=3", "do not make up maxcpus" },
        { "-smp 256", "more than machine" },
        { "-smp cpus=2,maxcpus=1", "maxcpus" },
        { "-smp 2,coers=2", "did you mean 'cores'" },
        { "-machine nosuch", "no machine 'nosuch'" },
        { "-machine tb,accel=tcg", "invalid accelerator" },
        { "-machine tb,kernel-irqchip=off", "kernel-irqchip" },
        { "-uuid 12", "UUID" },
        { "-rtc base=yesterday", "yesterday" },
        { "-initrd x", "of use with -kernel" },
        { "-vnc :1", "QEMU has this option" },
        { "-echr 256", "'256'" },
        { "-display gtk", "only 'none'" },
        { "-object iothread", "'id' is missing" },
        { "-global nodot", "driver.property=value" },
        { "-global nosuch.a=b", "no device" },
        { "-global driver=nosuch,property=a,value=b", "no device" },
        { "-global driver=x,property=a", "go together" },
        { "-action panic=explode", "explode" },
        { "-boot order=cxz", "'x' is no drive" },
        { "-boot cdc", "'c' is there twice" },
        { "-boot once=d,onec=c", "did you mean 'once'" },
        { "-boot splash-time=99999", "-1 to 65535" },
        { "-boot menu=perhaps", "perhaps" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        Cli cli;
        g_autoptr(GError) error = NULL;
        g_autofree char *line = g_strconcat("vireo ", wrong[i][0], NULL);
        g_assert_false(parse(&cli, line, &error));
        if (!strstr(error->message, wrong[i][1])) {
            g_test_message("%s: %s", line, error->message);
            g_test_fail();
        }
        cli_free(&cli);
    }
}

static void test_disk_images_come_first(void)
{
    Cli cli;
    g_assert_true(parse(&cli, "vireo -drive file=z,if=none one.img -S two.img -boot once=d", NULL));
    g_assert_cmpuint(cli.drives->len, ==, 3);
    g_assert_cmpstr(opts_get(g_ptr_array_index(cli.drives, 0), "file"), ==, "one.img");
    g_assert_cmpstr(opts_get(g_ptr_array_index(cli.drives, 1), "file"), ==, "two.img");
    g_assert_cmpstr(opts_get(g_ptr_array_index(cli.drives, 2), "file"), ==, "z");
    g_assert_cmpstr(cli.config.boot.once, ==, "d");
    g_assert_null(cli.config.boot.order);
    g_assert_cmpint(cli.config.boot.reboot_timeout, ==, -1);
    cli_free(&cli);
}

static void test_smp_prefers_cores(void)
{
    SmpConfig smp = { .cpus = 6, .threads = 2 };
    g_assert_true(smp_complete(&smp, false, NULL));
    g_assert_cmpuint(smp.sockets, ==, 1);
    g_assert_cmpuint(smp.cores, ==, 3);
    SmpConfig by_topology = { .sockets = 2, .cores = 4 };
    g_assert_true(smp_complete(&by_topology, false, NULL));
    g_assert_cmpuint(by_topology.cpus, ==, 8);
    g_assert_cmpuint(by_topology.maxcpus, ==, 8);
    SmpConfig huge = { .sockets = 1024, .dies = 1024, .cores = 1024, .threads = 1024 };
    g_autoptr(GError) error = NULL;
    g_assert_false(smp_complete(&huge, false, &error));
}

static void test_help_lists_every_option(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    cli_help(text);
    g_assert_nonnull(strstr(text->str, "\n-kernel FILE\n"));
    g_assert_nonnull(strstr(text->str, "-nographic"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    machine_classes_register(boards);
    g_test_add_func("/cli/qemus-usual-line", test_qemus_usual_line_is_understood);
    g_test_add_func("/cli/disk-images-come-first", test_disk_images_come_first);
    g_test_add_func("/cli/two-dashes-are-one", test_two_dashes_are_one);
    g_test_add_func("/cli/memory-is-in-mebibytes", test_memory_without_suffix_is_in_mebibytes);
    g_test_add_func("/cli/machine-options", test_machine_options_are_taken_apart);
    g_test_add_func("/cli/wrong-lines", test_wrong_lines_say_what_is_wrong);
    g_test_add_func("/cli/smp-prefers-cores", test_smp_prefers_cores);
    g_test_add_func("/cli/help-lists-every-option", test_help_lists_every_option);
    return g_test_run();
}
