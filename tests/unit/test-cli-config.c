/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -readconfig and -set: the same options from a file, and keys that come later. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include "vmm/cli/cli.h"
#include "vmm/cli/option_handlers.h"
#include "vmm/util/bytes.h"

static const Property board_props[] = { PROP_END };
static const MachineClass board = {
    .name = "testboard",
    .desc = "for tests",
    .is_default = true,
    .max_cpus = 255,
    .props = board_props,
};
static const MachineClass *const boards[] = { &board, NULL };

static bool parse(Cli *cli, const char *line, GError **error)
{
    char **words = g_strsplit(line, " ", -1);
    bool ok = cli_parse(cli, (int)g_strv_length(words), words, error);
    g_test_queue_destroy((GDestroyNotify)g_strfreev, words);
    return ok;
}

static void test_a_file_says_what_a_line_says(void)
{
    static const char *const text = "# a machine\n"
                                    "\n"
                                    "[machine]\n"
                                    "  type = \"testboard\"\n"
                                    "\taccel=\"kvm\"  \n"
                                    "  kernel = \"vmlinuz\"\n"
                                    "  append = \"root=/dev/vda,ro a=b\"\n"
                                    "[memory]\r\n"
                                    "  size = \"300\"\r\n"
                                    "[smp-opts]\n"
                                    "  cpus = \"2\"\n"
                                    "[name]\n"
                                    "  guest = \"one, two\"\n"
                                    "[object \"r0\"]\n"
                                    "  qom-type = \"rng-builtin\"\n"
                                    "[ drive \"d0\" ]\n"
                                    "  file = \"a,b.img\"\n"
                                    "  if = \"none\"\n"
                                    "  cache.direct = \"on\"\n"
                                    "[device \"x\"]\n"
                                    "  driver = \"virtio-blk-pci\"\n"
                                    "  serial = \"\"\n";
    Cli cli;
    g_autoptr(GError) error = NULL;
    g_assert_true(g_file_set_contents("test-cli.conf", text, -1, NULL));
    g_assert_true(parse(&cli, "vireo -readconfig test-cli.conf", &error));
    g_assert_no_error(error);
    g_assert_cmpuint(cli.config.ram_size, ==, 300 * MIB);
    g_assert_cmpuint(cli.config.smp.cpus, ==, 2);
    g_assert_cmpstr(cli.config.name, ==, "one, two");
    g_assert_cmpstr(cli.config.kernel, ==, "vmlinuz");
    g_assert_cmpstr(cli.config.append, ==, "root=/dev/vda,ro a=b");
    g_assert_cmpstr(opts_get(cli.objects->pdata[0], "id"), ==, "r0");
    Opts *drive = cli.drives->pdata[0];
    g_assert_cmpstr(opts_get(drive, "id"), ==, "d0");
    g_assert_cmpstr(opts_get(drive, "file"), ==, "a,b.img");
    g_assert_cmpstr(opts_get(drive, "cache.direct"), ==, "on");
    Opts *device = cli.devices->pdata[0];
    g_assert_cmpstr(opts_get(device, "driver"), ==, "virtio-blk-pci");
    g_assert_cmpstr(opts_get(device, "serial"), ==, "");
    cli_free(&cli);
    g_unlink("test-cli.conf");
}

static void test_wrong_files_say_which_line(void)
{
    static const char *const wrong[][2] = {
        { "[device \"a\"\n", "line 1: a section is [GROUP]" },
        { "[machine] x\n", "line 1: a section is" },
        { "\n[devcie]\n", "line 2: [devcie]: there is no such section (did you mean 'device'?)" },
        { "[zzzzzzzzzzzz]\n", "they are machine" },
        { "[]\n", "line 1: []" },
        { "size = \"1\"\n", "line 1: 'size' stands before the first section" },
        { "[memory]\nsize\n", "line 2: KEY = \"VALUE\"" },
        { "[memory]\nsize = 12\n", "line 2: KEY = \"VALUE\"" },
        { "[memory]\nsize = \"12\n", "line 2: KEY = \"VALUE\"" },
        { "[memory]\nsize = \"1\"2\"\n", "line 2: KEY = \"VALUE\"" },
        { "[memory]\nsize = \"\n", "line 2: KEY = \"VALUE\"" },
        { "[memory]\n= \"1\"\n", "line 2: '' is not the name of a key" },
        { "[memory]\na,b = \"1\"\n", "line 2: 'a,b' is not the name of a key" },
        { "[memory]\nsize = \"12Q\"\n[name]\n", "line 1: [memory]: Parameter 'size'" },
        { "#\n[smp-opts]\ncoers = \"2\"\n", "line 2: [smp-opts]: -smp: unknown option 'coers'" },
        { "[smp-opts \"a\"]\ncpus = \"2\"\n", "unknown option 'id'" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        Cli cli;
        g_autoptr(GError) error = NULL;
        cli_init(&cli);
        bool ok = cli_take_config(&cli, wrong[i][0], &error);
        g_test_message("%s: %s", wrong[i][0], error ? error->message : "taken");
        g_assert_false(ok);
        g_assert_nonnull(strstr(error->message, wrong[i][1]));
        cli_free(&cli);
    }
}

static void expect_refused(const char *line, const char *text)
{
    Cli cli;
    g_autoptr(GError) error = NULL;
    g_assert_false(parse(&cli, line, &error));
    g_test_message("%s: %s", line, error->message);
    g_assert_nonnull(strstr(error->message, text));
    cli_free(&cli);
}

static void test_files_that_cannot_be_read(void)
{
    expect_refused("vireo -readconfig nix.conf",
                   "-readconfig nix.conf: cannot open 'nix.conf': No");
    expect_refused("vireo -readconfig .", "cannot read '.': Is a directory");
    g_autofree char *big = g_strnfill((1 << 20) + 1, '#');
    g_assert_true(g_file_set_contents("test-cli.conf", big, -1, NULL));
    expect_refused("vireo -readconfig test-cli.conf", "larger than 1 MiB");
    g_assert_true(g_file_set_contents("test-cli.conf", "[name]\n\0guest", 13, NULL));
    expect_refused("vireo -readconfig test-cli.conf", "not a text");
    g_unlink("test-cli.conf");
}

static void test_set_adds_and_replaces(void)
{
    Cli cli;
    g_assert_true(parse(&cli,
                        "vireo -device virtio-blk-pci,id=d0,serial=A -drive if=none,id=d0.1,file=x "
                        "-drive if=none,id=d0,file=y -blockdev raw,node-name=n,file=m "
                        "-set device.d0.serial=B,C -set drive.d0.cache.direct=on "
                        "-set drive.d0.1.file=z=1 -set blockdev.n.read-only=on",
                        NULL));
    g_assert_cmpstr(opts_get(cli.devices->pdata[0], "serial"), ==, "B,C");
    g_assert_cmpstr(opts_get(cli.drives->pdata[0], "file"), ==, "z=1");
    g_assert_cmpstr(opts_get(cli.drives->pdata[1], "cache.direct"), ==, "on");
    g_assert_cmpstr(opts_get(cli.drives->pdata[1], "file"), ==, "y");
    g_assert_cmpstr(opts_get(cli.blockdevs->pdata[0], "read-only"), ==, "on");
    cli_free(&cli);
    static const char *const shapeless[] = {
        "",       "device",      "device.x", "device.x=1", "device.x.=1",
        ".x.y=1", "device..y=1", "=",        "a=b.c.d",    "a.b=.c"
    };
    for (size_t i = 0; i < G_N_ELEMENTS(shapeless); i++) {
        g_autofree char *line = g_strconcat("vireo -set ", shapeless[i], NULL);
        expect_refused(line, "GROUP.ID.KEY=VALUE is expected");
    }
    expect_refused("vireo -set machine.x.y=1", "'machine' is no group of options with ids");
    expect_refused("vireo -set device.x.y=1 -device a,id=x",
                   "there is no -device with id=x before");
    expect_refused("vireo -device a,id=x.y -set device.x.y=1", "no -device with id=x before");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    machine_classes_register(boards);
    g_test_add_func("/config/file-says-what-a-line-says", test_a_file_says_what_a_line_says);
    g_test_add_func("/config/wrong-files-say-which-line", test_wrong_files_say_which_line);
    g_test_add_func("/config/unreadable-files", test_files_that_cannot_be_read);
    g_test_add_func("/config/set-adds-and-replaces", test_set_adds_and_replaces);
    return g_test_run();
}
