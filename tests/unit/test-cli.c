/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line: what options set, and what is said of wrong ones. */
#include "vmm/cli/cli.h"

#include <string.h>
#include "vmm/cli/option_handlers.h"
#include "vmm/cli/params.h"
#include "vmm/util/bytes.h"

#define QEMU "/usr/bin/qemu-system-x86_64"

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

static void test_the_last_of_two_counts(void)
{
    Cli cli;
    g_assert_true(parse(&cli,
                        "vireo -name a,process=p -name b -name process=q -m 64 -m 32 "
                        "-machine memory-backend=m -machine memory-backend=n",
                        NULL));
    g_assert_cmpstr(cli.config.name, ==, "b");
    g_assert_cmpstr(cli.process_name, ==, "q");
    g_assert_cmpuint(cli.config.ram_size, ==, 32 * MIB);
    g_assert_cmpstr(cli.config.memory_backend, ==, "n");
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
        { "-m=2G", "a word of its own: -m 2G" },
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
        { "-vcpu affinity=0", "'vcpunum' is missing" },
        { "-vcpu vcpunum=0", "'affinity' is missing" },
        { "-vcpu vcpunum=0,affinity=1-0", "'1-0' is not a list of CPUs" },
        { "-vcpu vcpunum=0,afinity=1", "did you mean 'affinity'" },
        { "-vcpu vcpunum=0-3,affinity=0 -vcpu vcpunum=3,affinity=0", "about vCPU 3 already" },
        { "-smp 2,maxcpus=4 -vcpu vcpunum=1-4,affinity=0", "vCPUs 0 to 3" },
        { "-accel qtest -vcpu vcpunum=0,affinity=0", "accelerator 'qtest' has none" },
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

static bool is_taken(const char *name)
{
    for (const CliOption *option = cli_options; option->name; option++) {
        if (g_str_equal(option->name, name) || g_strcmp0(option->alias, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Each option that begins a line of QEMU's help, "-hda/-hdb file" and "-h or -help" too. */
static void test_qemus_options_are_taken_or_refused_with_a_reason(void)
{
    g_autofree char *help = NULL;
    if (!g_file_test(QEMU, G_FILE_TEST_IS_EXECUTABLE)) {
        g_test_skip("there is no " QEMU);
        return;
    }
    g_assert_true(g_spawn_command_line_sync(QEMU " -help", &help, NULL, NULL, NULL));
    g_autoptr(GRegex)
        line = g_regex_new("^--?[^ \\n]+( or -[^ \\n]+)*", G_REGEX_MULTILINE, 0, NULL);
    g_autoptr(GRegex) word = g_regex_new("-([A-Za-z][A-Za-z0-9_-]*)", 0, 0, NULL);
    g_autoptr(GMatchInfo) lines = NULL;
    unsigned count = 0;
    for (g_regex_match(line, help, 0, &lines); g_match_info_matches(lines);
         g_match_info_next(lines, NULL)) {
        g_autofree char *text = g_match_info_fetch(lines, 0);
        g_autoptr(GMatchInfo) words = NULL;
        for (g_regex_match(word, text, 0, &words); g_match_info_matches(words);
             g_match_info_next(words, NULL)) {
            g_autofree char *name = g_match_info_fetch(words, 1);
            g_test_message("-%s", name);
            g_assert_true(is_taken(name) || cli_absent_reason(name));
            count++;
        }
    }
    g_assert_cmpuint(count, >, 100);
}

static void test_no_option_is_both_taken_and_refused(void)
{
    for (const CliOption *option = cli_options; option->name; option++) {
        g_test_message("-%s", option->name);
        g_assert_null(cli_absent_reason(option->name));
        g_assert_true(!option->alias || !cli_absent_reason(option->alias));
    }
}

/* What query-command-line-options tells is an option of the table, and a section of -readconfig. */
static void test_told_groups_are_options(void)
{
    json_object *list = cli_params_to_json(NULL, NULL);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *name;
        json_object_object_get_ex(json_object_array_get_idx(list, i), "option", &name);
        unsigned found = 0;
        for (const CliOption *option = cli_options; option->name; option++) {
            found += g_strcmp0(option->group, json_object_get_string(name)) == 0;
        }
        g_test_message("%s", json_object_get_string(name));
        g_assert_cmpuint(found, ==, 1);
    }
    json_object_put(list);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    machine_classes_register(boards);
    g_test_add_func("/cli/qemus-usual-line", test_qemus_usual_line_is_understood);
    g_test_add_func("/cli/disk-images-come-first", test_disk_images_come_first);
    g_test_add_func("/cli/the-last-of-two-counts", test_the_last_of_two_counts);
    g_test_add_func("/cli/two-dashes-are-one", test_two_dashes_are_one);
    g_test_add_func("/cli/memory-is-in-mebibytes", test_memory_without_suffix_is_in_mebibytes);
    g_test_add_func("/cli/machine-options", test_machine_options_are_taken_apart);
    g_test_add_func("/cli/wrong-lines", test_wrong_lines_say_what_is_wrong);
    g_test_add_func("/cli/smp-prefers-cores", test_smp_prefers_cores);
    g_test_add_func("/cli/help-lists-every-option", test_help_lists_every_option);
    g_test_add_func("/cli/qemus-options", test_qemus_options_are_taken_or_refused_with_a_reason);
    g_test_add_func("/cli/taken-or-refused", test_no_option_is_both_taken_and_refused);
    g_test_add_func("/cli/told-groups-are-options", test_told_groups_are_options);
    return g_test_run();
}
