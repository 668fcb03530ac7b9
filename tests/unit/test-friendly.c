/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo FILE...: what is made of files by their names and contents, and that options win. */
#include "vmm/cli/friendly.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "vmm/util/bytes.h"

static const Property board_props[] = { PROP_END };
static const MachineClass board = {
    .name = "testboard",
    .desc = "for tests",
    .is_default = true,
    .max_cpus = 255,
    .ide_units = 1,
    .props = board_props,
};
static const MachineClass *const boards[] = { &board, NULL };
static char *dir;

static void make_file(const char *name, size_t at, const char *text, size_t len)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree char *data = g_malloc0(40 * 1024);
    memcpy(data + at, text, len);
    if (strstr(name, "boot")) {
        memcpy(data + 17 * 2048, "\0CD001\1EL TORITO SPECIFICATION", 30);
    }
    g_assert_true(g_file_set_contents(path, data, 40 * 1024, NULL));
}

/* Paths in the line begin with "@". */
static bool prepare(Cli *cli, const char *line, GError **error)
{
    g_autofree char *folder = g_strconcat(dir, "/", NULL);
    g_auto(GStrv) parts = g_strsplit(line, "@", -1);
    g_autofree char *whole = g_strjoinv(folder, parts);
    char **words = g_strsplit(whole, " ", -1);
    RunDir *run = NULL;
    g_test_queue_destroy((GDestroyNotify)g_strfreev, words);
    g_assert_true(cli_parse(cli, (int)g_strv_length(words), words, NULL));
    return friendly_prepare(cli, &run, error);
}

static const char *drive_key(Cli *cli, guint i, const char *key)
{
    return opts_get(g_ptr_array_index(cli->drives, i), key);
}

static void test_options_win(void)
{
    Cli cli;
    g_assert_true(prepare(&cli, "vireo @d.img -run-dir off -m 96 -smp 3", NULL));
    g_assert_cmpuint(cli.config.ram_size, ==, 96 * MIB);
    g_assert_cmpuint(cli.config.smp.cpus, ==, 3);
    cli_free(&cli);
    g_assert_true(prepare(&cli, "vireo @d.img -run-dir off", NULL));
    g_assert_cmpuint(cli.config.ram_size, >=, 512 * MIB);
    g_assert_cmpuint(cli.config.smp.cpus, >=, 1);
    cli_free(&cli);
    g_assert_true(prepare(&cli, "vireo -S @d.img", NULL)); /* as QEMU's */
    g_assert_cmpuint(cli.config.ram_size, ==, 512 * MIB);
    g_assert_cmpuint(cli.config.smp.cpus, ==, 1);
    g_assert_false(cli.run_dir);
    cli_free(&cli);
}

static void test_a_cd_is_started_from_once(void)
{
    Cli cli;
    g_assert_true(prepare(&cli, "vireo @d.qcow2 @boot.iso -run-dir off", NULL));
    g_assert_cmpstr(drive_key(&cli, 0, "format"), ==, "qcow2");
    g_assert_null(drive_key(&cli, 0, "media"));
    g_assert_cmpstr(drive_key(&cli, 1, "media"), ==, "cdrom");
    g_assert_cmpstr(drive_key(&cli, 1, "index"), ==, "2");
    g_assert_cmpstr(cli.config.boot.once, ==, "d");
    cli_free(&cli);
    g_assert_true(prepare(&cli, "vireo @d.img @boot.iso -run-dir off -boot order=c", NULL));
    g_assert_null(cli.config.boot.once);
    cli_free(&cli);
    g_assert_true(prepare(&cli, "vireo @d.img @data.iso -run-dir off -cdrom x", NULL));
    g_assert_null(cli.config.boot.once); /* it has nothing to start */
    g_assert_cmpstr(drive_key(&cli, 1, "media"), ==, "cdrom");
    g_assert_null(drive_key(&cli, 1, "index")); /* -cdrom has that place */
    cli_free(&cli);
}

static void test_contents_do_not_decide_what_a_disk_is(void)
{
    Cli cli;
    g_assert_true(prepare(&cli, "vireo @disguised-boot.img @x.raw -run-dir off", NULL));
    g_assert_null(drive_key(&cli, 0, "media"));
    g_assert_null(drive_key(&cli, 0, "format"));              /* probed, and guarded */
    g_assert_cmpstr(drive_key(&cli, 1, "format"), ==, "raw"); /* whatever is in it */
    g_assert_null(cli.config.boot.once);
    cli_free(&cli);
}

static void test_bad_files_are_named(void)
{
    static const char *const lines[][2] = {
        { "vireo lits", "did you mean 'vireo list'?" },
        { "vireo @missing.qcow2", "missing.qcow2': No such file" },
        { "vireo @not-a-cd.iso", "no CD's file system" },
        { "vireo @.", "neither a file nor a block device" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_autoptr(GError) error = NULL;
        Cli cli;
        g_assert_false(prepare(&cli, lines[i][0], &error));
        if (!strstr(error->message, lines[i][1])) {
            g_error("%s: %s", lines[i][0], error->message);
        }
        cli_free(&cli);
    }
}

static void test_machines_are_called_after_images(void)
{
    static const char *const pairs[][2] = {
        { "/images/debian.qcow2", "debian" },
        { "a.b.IMG", "a.b" },
        { ".img", "_img" },
        { "plain", "plain" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        g_autofree char *name = friendly_name(pairs[i][0]);
        g_assert_cmpstr(name, ==, pairs[i][1]);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    machine_classes_register(boards);
    dir = g_dir_make_tmp("vireo-friendly-XXXXXX", NULL);
    make_file("boot.iso", 16 * 2048, "\1CD001\1", 7);
    make_file("data.iso", 16 * 2048, "\1CD001\1", 7);
    make_file("disguised-boot.img", 16 * 2048, "\1CD001\1", 7);
    make_file("not-a-cd.iso", 0, "x", 1);
    make_file("d.img", 0, "x", 1);
    make_file("d.qcow2", 0, "QFI\xfb", 4);
    make_file("x.raw", 0, "QFI\xfb", 4);
    g_test_add_func("/friendly/options-win", test_options_win);
    g_test_add_func("/friendly/cd", test_a_cd_is_started_from_once);
    g_test_add_func("/friendly/contents-do-not-decide", test_contents_do_not_decide_what_a_disk_is);
    g_test_add_func("/friendly/bad-files", test_bad_files_are_named);
    g_test_add_func("/friendly/names", test_machines_are_called_after_images);
    int status = g_test_run();
    g_autofree char *command = g_strdup_printf("rm -rf '%s'", dir);
    g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL);
    g_free(dir);
    return status;
}
