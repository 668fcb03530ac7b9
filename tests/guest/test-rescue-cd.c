/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A CD that grub-mkrescue made starts through SeaBIOS on every kind of drive; GRUB reads its
 * modules and its script from there and powers off. With -m slow also on the drives that
 * test-firmware.c starts a boot sector from. */
#include "guest-run.h"

#include <string.h>

#define MARK "rescue cd: "

/* Only what the script needs: the emulated CPU of a plain host spends its seconds on modules. */
#define MODULES "biosdisk iso9660 serial terminal echo halt normal"

/* Seconds that power-on to script may last on a busy host; by itself it is about 20. */
#define PATIENCE 250

static const char script[] = "serial --unit=0 --speed=115200\nterminal_output serial\n"
                             "echo \"" MARK "$grub_platform from $root\"\nhalt\n";

static void spawn(const char **argv)
{
    GError *error = NULL;
    int status;

    g_spawn_sync(NULL, (char **)argv, NULL,
                 G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
                 NULL, NULL, NULL, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_true(g_spawn_check_wait_status(status, &error));
}

/* The CD's image, or NULL where it cannot be made. */
static char *make_cd(const char *dir)
{
    static const char grub[] = "/usr/lib/grub/i386-pc";
    g_autofree char *mkrescue = g_find_program_in_path("grub-mkrescue"),
                    *xorriso = g_find_program_in_path("xorriso"),
                    *folder = g_build_filename(dir, "tree", "boot", "grub", NULL),
                    *config = g_build_filename(folder, "grub.cfg", NULL),
                    *tree = g_build_filename(dir, "tree", NULL);
    GError *error = NULL;
    char *path = g_build_filename(dir, "rescue.iso", NULL);

    if (mkrescue == NULL || xorriso == NULL || !g_file_test(grub, G_FILE_TEST_IS_DIR)) {
        g_free(path);
        return NULL;
    }
    g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
    g_file_set_contents(config, script, -1, &error);
    g_assert_no_error(error);
    spawn((const char *[]){ mkrescue, "-d", grub, "--themes=", "--fonts=", "--locales=",
                            "--install-modules=" MODULES, "-o", path, tree, NULL });
    return path;
}

static void remove_tree(const char *dir)
{
    spawn((const char *[]){ "rm", "-r", dir, NULL });
}

static void expect_mark(const char *log)
{
    g_autofree char *text = NULL;

    for (unsigned tries = 0; tries < PATIENCE * 10; tries++) {
        g_clear_pointer(&text, g_free);
        if (g_file_get_contents(log, &text, NULL, NULL) &&
            strstr(text, MARK "pc from hd") != NULL) {
            return;
        }
        g_usleep(G_USEC_PER_SEC / 10);
    }
    g_error("GRUB's script did not run; the serial port said: %s", text != NULL ? text : "nothing");
}

static void start_from(const char *machine, const char *drive)
{
    g_autofree char *dir = g_dir_make_tmp("vireo-rescue.XXXXXX", NULL), *cd = make_cd(dir),
                    *log = g_build_filename(dir, "serial", NULL);

    if (cd == NULL) {
        g_test_skip("grub-mkrescue, xorriso or GRUB's modules for the BIOS are not here");
    } else {
        g_autoptr(GuestRun) run = guest_run_new(machine);

        guest_run_args(run,
                       "-serial file:%s -drive file=%s,format=raw,if=none,id=cd,media=cdrom %s",
                       log, cd, drive);
        guest_run_start(run);
        expect_mark(log);
        g_assert_cmpint(guest_run_wait(run), ==, 0);
    }
    remove_tree(dir);
}

static void test_scsi(void)
{
    start_from("q35", "-device virtio-scsi-pci -device scsi-cd,drive=cd");
}

static void test_usb(void)
{
    start_from("q35", "-device qemu-xhci -device usb-storage,drive=cd");
}

static void test_ide(void)
{
    start_from("pc", "-device ide-cd,drive=cd");
}

static void test_ahci(void)
{
    start_from("q35", "-device ide-cd,drive=cd");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_test_add("/guest/rescue-cd/scsi", test_scsi);
    guest_test_add("/guest/rescue-cd/usb", test_usb);
    if (g_test_slow()) {
        guest_test_add("/guest/rescue-cd/ide", test_ide);
        guest_test_add("/guest/rescue-cd/ahci", test_ahci);
    }
    return g_test_run();
}
