/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk starts through SeaBIOS: boot sector, boot order, reset, disks that cannot be booted. */
#include "guest-run.h"

#include <string.h>

#define SECTOR    512
#define DISK_SIZE (1 << 20)

/* A disk with the boot sector and `text` in the sector behind it. */
static const char *boot_disk(GuestRun *run, const char *name, const char *text)
{
    const char *path = guest_run_disk(run, name, DISK_SIZE);
    g_autofree char *sector_path =
        g_build_filename(g_getenv("GUESTS") ? g_getenv("GUESTS") : ".", "bootsector.bin", NULL);
    g_autofree char *disk = g_malloc0(DISK_SIZE), *sector = NULL;
    gsize len;
    GError *error = NULL;

    g_file_get_contents(sector_path, &sector, &len, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(len, ==, SECTOR);
    memcpy(disk, sector, SECTOR);
    memcpy(disk + SECTOR, text, strlen(text));
    g_file_set_contents(path, disk, DISK_SIZE, &error);
    g_assert_no_error(error);
    return path;
}

static void add_disk(GuestRun *run, const char *path, const char *device)
{
    static unsigned number;

    number++;
    guest_run_args(run, "-drive file=%s,format=raw,if=none,id=d%u -device %s,drive=d%u", path,
                   number, device, number);
}

static void test_boots_a_virtio_disk(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);

    guest_run_args(run, "-drive file=%s,format=raw,if=virtio",
                   boot_disk(run, "disk", "x second sector\r\n"));
    guest_run_start(run);
    guest_run_expect(run, "boot sector, drive 80");
    guest_run_expect(run, "x second sector");
    guest_run_expect(run, "memory above 16 MiB: 0e"); /* 256 MiB less 16 and the firmware's part */
    g_assert_cmpint(guest_run_wait(run), ==, 0x21);
}

static void test_boots_a_sata_disk(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);

    guest_run_args(run, "-drive file=%s,format=raw,if=ide", boot_disk(run, "disk", "x sata\r\n"));
    guest_run_start(run);
    guest_run_expect(run, "boot sector, drive 80");
    guest_run_expect(run, "x sata");
    g_assert_cmpint(guest_run_wait(run), ==, 0x21);
}

/* ---- Encrypted disks ---- */

#define SECRETS "-object secret,id=right,data=letmein -object secret,id=wrong,data=nonsense "

/* The disk that boot_disk() makes, converted by qemu-img; NULL, and the test skipped, without it.
 */
static const char *encrypted_disk(GuestRun *run, const char *format, const char *options)
{
    const char *plain = boot_disk(run, "plain", "x unlocked\r\n");
    const char *path = guest_run_disk(run, "encrypted", SECTOR);
    g_autofree char *program = g_find_program_in_path("qemu-img");
    g_autofree char *line = g_strdup_printf(
        "qemu-img convert --object secret,id=right,data=letmein -f raw -O %s -o %s %s %s", format,
        options, plain, path);
    int status = -1;
    if (!program) {
        g_test_skip("qemu-img is not installed");
        return NULL;
    }
    /* It gives up where the host is too busy to measure how fast it is. */
    for (int i = 0; i < 50 && status != 0; i++) {
        g_assert_true(g_spawn_command_line_sync(line, NULL, NULL, &status, NULL));
    }
    g_assert_cmpint(status, ==, 0);
    return path;
}

static void check_encrypted(const char *format, const char *options, const char *key)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL), refused = guest_run_new(NULL);
    const char *disk = encrypted_disk(run, format, options);

    if (!disk) {
        return;
    }
    guest_run_args(run, SECRETS "-drive file=%s,format=%s,%s=right,if=virtio", disk, format, key);
    guest_run_start(run);
    guest_run_expect(run, "boot sector, drive 80");
    guest_run_expect(run, "x unlocked");
    g_assert_cmpint(guest_run_wait(run), ==, 0x21);
    guest_run_args(refused, SECRETS "-drive file=%s,format=%s,%s=wrong,if=virtio", disk, format,
                   key);
    guest_run_start(refused);
    g_assert_cmpint(guest_run_wait(refused), ==, 1);
    if (!guest_run_is_qemu()) {
        g_assert_nonnull(strstr(guest_run_errors(refused), disk));
        g_assert_nonnull(strstr(guest_run_errors(refused), "no key slot opens with the password"));
    }
}

static void test_boots_a_luks_disk(void)
{
    check_encrypted("luks", "key-secret=right,iter-time=10", "key-secret");
}

static void test_boots_an_encrypted_qcow2_disk(void)
{
    check_encrypted("qcow2", "encrypt.format=luks,encrypt.key-secret=right,encrypt.iter-time=10",
                    "encrypt.key-secret");
}

#define CD_SECTOR  2048
#define CD_SIZE    (64 * CD_SECTOR)
#define CD_CATALOG 18
#define CD_IMAGE   19

/* A disc that El Torito 1.0 boots without emulation: the boot sector, its text in sector 1. */
static const char *boot_disc(GuestRun *run, const char *text)
{
    const char *disk = boot_disk(run, "sector", text), *path = guest_run_disk(run, "disc", CD_SIZE);
    g_autofree char *disc = g_malloc0(CD_SIZE), *image = NULL;
    GError *error = NULL;

    g_file_get_contents(disk, &image, NULL, &error);
    g_assert_no_error(error);
    memcpy(disc + CD_SECTOR, text, strlen(text));
    memcpy(disc + 16 * CD_SECTOR, "\001CD001\001", 8);
    memcpy(disc + 17 * CD_SECTOR, "\000CD001\001EL TORITO SPECIFICATION", 30);
    disc[17 * CD_SECTOR + 71] = CD_CATALOG;
    static const unsigned char validation[] = { 1, 0, 0, 0, [28] = 0xaa, 0x55, 0x55, 0xaa };
    static const unsigned char entry[] = { 0x88, 0, 0, 0, 0, 0, 1, 0, CD_IMAGE };
    memcpy(disc + CD_CATALOG * CD_SECTOR, validation, sizeof(validation));
    memcpy(disc + CD_CATALOG * CD_SECTOR + 32, entry, sizeof(entry));
    memcpy(disc + CD_IMAGE * CD_SECTOR, image, SECTOR);
    g_file_set_contents(path, disc, CD_SIZE, &error);
    g_assert_no_error(error);
    return path;
}

static void test_boots_an_ide_disk(void)
{
    g_autoptr(GuestRun) run = guest_run_new("pc");

    guest_run_args(run, "-hda %s", boot_disk(run, "disk", "x ide\r\n"));
    guest_run_start(run);
    guest_run_expect(run, "boot sector, drive 80");
    guest_run_expect(run, "x ide");
    g_assert_cmpint(guest_run_wait(run), ==, 0x21);
}

static void test_boots_a_cd(gconstpointer board)
{
    g_autoptr(GuestRun) run = guest_run_new(board);

    guest_run_args(run, "-cdrom %s", boot_disc(run, "x disc\r\n"));
    guest_run_start(run);
    guest_run_expect(run, "boot sector, drive e0");
    guest_run_expect(run, "x disc");
    g_assert_cmpint(guest_run_wait(run), ==, 0x21);
}

static void test_boots_a_sata_cd(void)
{
    test_boots_a_cd("q35");
}

static void test_boots_an_ide_cd(void)
{
    test_boots_a_cd("pc");
}

/* Without a screen the firmware and int 10h are seen on the first serial port. */
static void test_screen_text_goes_to_the_serial_port(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    const char *disk = boot_disk(run, "disk", "x\r\n");
    g_autofree char *log = g_strdup_printf("%s.log", disk), *text = NULL;

    guest_run_args(run, "-serial file:%s -drive file=%s,format=raw,if=virtio", log, disk);
    guest_run_start(run);
    g_assert_cmpint(guest_run_wait(run), ==, 0x21);
    g_assert_true(g_file_get_contents(log, &text, NULL, NULL));
    g_assert_nonnull(strstr(text, "SeaBIOS"));
    g_assert_nonnull(strstr(text, "boot sector, drive 80"));
}

static void test_bootindex_chooses_the_disk(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);

    add_disk(run, boot_disk(run, "one", "x first\r\n"), "virtio-blk-pci,bootindex=2");
    add_disk(run, boot_disk(run, "two", "x second\r\n"), "virtio-blk-pci,bootindex=1");
    guest_run_start(run);
    guest_run_expect(run, "x second");
    g_assert_cmpint(guest_run_wait(run), ==, 0x21);
    g_assert_null(strstr(guest_run_output(run), "x first"));
}

static void test_boots_again_after_reset(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);

    guest_run_qmp(run);
    guest_run_args(run, "-drive file=%s,format=raw,if=virtio", boot_disk(run, "disk", "here\r\n"));
    guest_run_start(run);
    for (unsigned i = 0; i < 3; i++) {
        guest_run_expect(run, "here\r\nmemory");
        g_free(guest_run_command(run, "system_reset"));
    }
    guest_run_expect(run, "memory");
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
}

static void test_boots_on_microvm(void)
{
    g_autoptr(GuestRun) run = guest_run_new("microvm,rtc=on");

    guest_run_args(run, "-drive file=%s,format=raw,if=virtio", boot_disk(run, "disk", "x\r\n"));
    guest_run_start(run);
    guest_run_expect(run, "boot sector, drive 80");
    g_assert_cmpint(guest_run_wait(run), ==, 0x21);
}

/* -kernel with -bios: the firmware's option ROM fetches the kernel by fw_cfg. */
static void test_firmware_starts_the_kernel(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    const char *initrd = guest_run_disk(run, "initrd", 70000);

    guest_run_args(run, "-bios bios-256k.bin -initrd %s", initrd);
    guest_run_boot(run, "bz", "test=boot through=firmware");
    guest_run_pass(run);
    g_assert_nonnull(strstr(guest_run_output(run), "through=firmware"));
    g_assert_nonnull(strstr(guest_run_output(run), "initrd 70000 sum"));
}

static void expect_in_file(const char *path, const char *text)
{
    for (unsigned tries = 0; tries < 6000; tries++) {
        g_autofree char *all = NULL;
        if (g_file_get_contents(path, &all, NULL, NULL) && strstr(all, text) != NULL) {
            return;
        }
        g_usleep(10000);
    }
    g_error("no '%s' in %s", text, path);
}

/* The firmware says so and the machine stays steerable. */
static void test_disk_without_a_boot_sector(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    const char *disk = guest_run_disk(run, "noise", DISK_SIZE);
    g_autofree char *log = g_strdup_printf("%s.log", disk);

    guest_run_qmp(run);
    guest_run_args(run,
                   "-serial file:%s -drive file=%s,format=raw,if=virtio -boot reboot-timeout=1",
                   log, disk);
    guest_run_start(run);
    expect_in_file(log, "not a bootable disk");
    expect_in_file(log, "No bootable device.");
    expect_in_file(log, "Retrying in");
    g_free(guest_run_command(run, "query-status"));
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_test_add("/guest/firmware/boots-a-virtio-disk", test_boots_a_virtio_disk);
    guest_test_add("/guest/firmware/boots-a-sata-disk", test_boots_a_sata_disk);
    guest_test_add("/guest/firmware/boots-an-ide-disk", test_boots_an_ide_disk);
    if (HAVE_ENCRYPTION) {
        guest_test_add("/guest/firmware/boots-a-luks-disk", test_boots_a_luks_disk);
        guest_test_add("/guest/firmware/boots-an-encrypted-qcow2-disk",
                       test_boots_an_encrypted_qcow2_disk);
    }
    guest_test_add("/guest/firmware/boots-a-cd/sata", test_boots_a_sata_cd);
    guest_test_add("/guest/firmware/boots-a-cd/ide", test_boots_an_ide_cd);
    guest_test_add("/guest/firmware/screen-text-goes-to-the-serial-port",
                   test_screen_text_goes_to_the_serial_port);
    guest_test_add("/guest/firmware/bootindex-chooses-the-disk", test_bootindex_chooses_the_disk);
    guest_test_add("/guest/firmware/boots-again-after-reset", test_boots_again_after_reset);
    guest_test_add("/guest/firmware/boots-on-microvm", test_boots_on_microvm);
    guest_test_add("/guest/firmware/firmware-starts-the-kernel", test_firmware_starts_the_kernel);
    guest_test_add("/guest/firmware/disk-without-a-boot-sector", test_disk_without_a_boot_sector);
    return g_test_run();
}
