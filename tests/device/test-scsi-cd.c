/* SPDX-License-Identifier: GPL-2.0-or-later */
/* scsi-cd over qtest: what it tells of discs, reading, trays and media. */
#include <glib/gstdio.h>
#include <string.h>
#include "tests/device/scsi-kit.h"
#include "vmm/util/bytes.h"

#define SECTORS (DISK_BYTES / 2048)

static void cd_open(Hba *h, uint64_t bytes)
{
    *h = (Hba){ .path = scsi_make_file(bytes), .path2 = scsi_make_file(1 << 20) };
    h->qts = qtest_start("-drive if=none,id=d,format=raw,media=cdrom,file=%s -device "
                         "virtio-scsi-pci,id=s -device scsi-cd,id=c,drive=d",
                         h->path);
    hba_find(h);
    clear_attention(h, 0);
}

static void test_disc(void)
{
    Hba h;
    uint8_t b[64];
    cd_open(&h, DISK_BYTES);
    command(&h, CDB(0x12, 0, 0, 0, 36), 36, 0);
    get_data(&h, b, 36);
    g_assert_cmphex(b[0], ==, 5);
    g_assert_cmphex(b[1], ==, 0x80);
    g_assert_cmpmem(b + 8, 24, "QEMU    QEMU CD-ROM     ", 24);
    command(&h, CDB(0x25), 8, 0);
    get_data(&h, b, 8);
    g_assert_cmpuint(load_be32(b), ==, SECTORS - 1);
    g_assert_cmpuint(load_be32(b + 4), ==, 2048);
    command(&h, CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 64), 64, 0);
    get_data(&h, b, 20);
    g_assert_cmpmem(b, 12, "\0\x12\1\1\0\x14\1\0\0\0\0\0", 12);
    g_assert_cmphex(b[14], ==, 0xaa);
    g_assert_cmpuint(load_be32(b + 16), ==, SECTORS);
    command(&h, CDB(0x43, 2, 0, 0, 0, 0, 0xaa, 0, 64), 64, 0);
    get_data(&h, b, 12);
    g_assert_cmpuint(b[9] * 60 * 75 + b[10] * 75 + b[11], ==, SECTORS + 150);
    command(&h, CDB(0x43, 0, 0, 0, 0, 0, 7, 0, 64), 64, 0);
    assert_sense(&h, 5, 0x24, 0);
    command(&h, CDB(0x51, 0, 0, 0, 0, 0, 0, 0, 34), 34, 0);
    get_data(&h, b, 3);
    g_assert_cmphex(b[2], ==, 0x0e);
    command(&h, CDB(0x46, 0, 0, 0, 0, 0, 0, 0, 64), 64, 0);
    get_data(&h, b, 8);
    g_assert_cmphex(load_be16(b + 6), ==, 8);
    g_assert_cmpuint(command(&h, CDB(0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 64), 64, 0), ==, GOOD);
    get_data(&h, b, 16);
    g_assert_cmphex(b[8], ==, 0x2a);
    g_assert_cmpuint(b[7], ==, 0);
    g_assert_cmpuint(command(&h, CDB(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8), 8, 0), ==, GOOD);
    command(&h, CDB(0xad, 0, 0, 0, 0, 0, 0, 0, 8, 0), 2048, 0);
    assert_sense(&h, 5, 0x30, 0);
    hba_close(&h);
}

static void test_dvd(void)
{
    Hba h;
    uint8_t b[24];
    cd_open(&h, 1ULL << 32);
    command(&h, CDB(0x46, 0, 0, 0, 0, 0, 0, 0, 8), 8, 0);
    get_data(&h, b, 8);
    g_assert_cmphex(load_be16(b + 6), ==, 0x10);
    g_assert_cmpuint(command(&h, CDB(0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4), 2052, 0), ==, GOOD);
    get_data(&h, b, 24);
    g_assert_cmpuint(load_be16(b), ==, 2050);
    g_assert_cmphex(load_be32(b + 8), ==, 0x30000);
    g_assert_cmphex(load_be32(b + 12), ==, 0x30000 + (1 << 21) - 1);
    hba_close(&h);
}

static void test_reading(void)
{
    Hba h;
    g_autofree uint8_t *b = g_malloc(40 * 2352);
    cd_open(&h, DISK_BYTES);
    g_assert_cmpuint(command(&h, CDB(0x28, 0, 0, 0, 0, 16, 0, 0, 2), 4096, 0), ==, GOOD);
    get_data(&h, b, 4096);
    for (unsigned i = 0; i < 4096; i++) {
        g_assert_cmpuint(b[i], ==, (uint8_t)(64 + i / 512 + (64 * 512 + i) % 251));
    }
    command(&h, CDB(0x28, 0, 0, 0, 7, 0xff, 0, 0, 2), 4096, 0);
    assert_sense(&h, 5, 0x21, 0);
    /* Data of sectors, and whole ones: more than the drive takes at once. */
    g_assert_cmpuint(command(&h, CDB(0xbe, 0, 0, 0, 0, 16, 0, 0, 2, 0x10), 4096, 0), ==, GOOD);
    g_assert_cmpuint(command(&h, CDB(0xbe, 0, 0, 0, 0, 16, 0, 0, 40, 0xf8), 40 * 2352, 0), ==,
                     GOOD);
    g_assert_cmpuint(h.residual, ==, 0);
    get_data(&h, b, 40 * 2352);
    for (unsigned sector = 0; sector < 40; sector++) {
        const uint8_t *raw = b + sector * 2352;
        unsigned frame = sector + 16 + 150;
        g_assert_cmpmem(raw, 12, "\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0", 12);
        g_assert_cmphex(raw[13], ==, frame / 75);
        g_assert_cmphex(raw[14], ==, frame % 75 / 10 << 4 | frame % 75 % 10);
        g_assert_cmphex(raw[15], ==, 1);
        g_assert_cmpuint(raw[16 + 5], ==,
                         (uint8_t)((sector + 16) * 4 + ((sector + 16) * 2048 + 5) % 251));
    }
    command(&h, CDB(0xbe, 0, 0, 0, 7, 0xff, 0, 0, 2, 0xf8), 4704, 0);
    assert_sense(&h, 5, 0x21, 0);
    command(&h, CDB(0xbe, 0x04, 0, 0, 0, 0, 0, 0, 1, 0xf8), 2352, 0);
    assert_sense(&h, 5, 0x64, 0);
    command(&h, CDB(0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0x28), 2352, 0);
    assert_sense(&h, 5, 0x24, 0);
    g_assert_cmpuint(command(&h, CDB(0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0), 0, 0), ==, GOOD);
    command(&h, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1), 0, 2048);
    assert_sense(&h, 5, 0x20, 0);
    hba_close(&h);
}

static uint8_t media_event(Hba *h, uint8_t *status)
{
    uint8_t b[8];
    g_assert_cmpuint(command(h, CDB(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 8, 0), ==, GOOD);
    get_data(h, b, 8);
    g_assert_cmphex(b[2], ==, 4);
    *status = b[5];
    return b[4];
}

static void expect_tray(Hba *h, bool open)
{
    json_object *event = qtest_event(h->qts, "DEVICE_TRAY_MOVED");
    g_assert_cmpint(json_object_get_boolean(json_at(event, "data.tray-open")), ==, open);
    json_object_put(event);
}

static void test_tray_of_the_guest(void)
{
    Hba h;
    uint8_t status;
    cd_open(&h, DISK_BYTES);
    g_assert_cmpuint(media_event(&h, &status), ==, 0);
    g_assert_cmpuint(status, ==, 2);
    g_assert_cmpuint(command(&h, CDB(0x1e, 0, 0, 0, 1), 0, 0), ==, GOOD);
    command(&h, CDB(0x1b, 0, 0, 0, 2), 0, 0);
    assert_sense(&h, 5, 0x53, 2);
    g_assert_cmpuint(command(&h, CDB(0x1e), 0, 0), ==, GOOD);
    g_assert_cmpuint(command(&h, CDB(0x1b, 0, 0, 0, 2), 0, 0), ==, GOOD);
    expect_tray(&h, true);
    command(&h, CDB(0), 0, 0);
    assert_sense(&h, 2, 0x3a, 2);
    command(&h, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 2048, 0);
    assert_sense(&h, 2, 0x3a, 2);
    g_assert_cmpuint(command(&h, CDB(0x1b, 0, 0, 0, 3), 0, 0), ==, GOOD);
    expect_tray(&h, false);
    command(&h, CDB(0), 0, 0);
    assert_sense(&h, 6, 0x28, 0);
    g_assert_cmpuint(command(&h, CDB(0), 0, 0), ==, GOOD);
    hba_close(&h);
}

static void test_change_by_the_user(void)
{
    Hba h;
    uint8_t status, b[8];
    cd_open(&h, DISK_BYTES);
    json_object_put(qtest_qmp_ok(h.qts,
                                 "{'execute':'blockdev-change-medium','arguments':{"
                                 "'id':'c','filename':'%s','format':'raw'}}",
                                 h.path2));
    expect_tray(&h, true);
    expect_tray(&h, false);
    command(&h, CDB(0x25), 8, 0);
    assert_sense(&h, 6, 0x28, 0);
    g_assert_cmpuint(media_event(&h, &status), ==, 2);
    g_assert_cmpuint(status, ==, 2);
    g_assert_cmpuint(media_event(&h, &status), ==, 0);
    command(&h, CDB(0x25), 8, 0);
    get_data(&h, b, 8);
    g_assert_cmpuint(load_be32(b), ==, 511);
    /* Locked: the guest is asked. */
    command(&h, CDB(0x1e, 0, 0, 0, 1), 0, 0);
    g_free(qtest_qmp_error(h.qts, "{'execute':'eject','arguments':{'id':'c'}}"));
    g_assert_cmpuint(media_event(&h, &status), ==, 1);
    g_assert_cmpuint(command(&h, CDB(0), 0, 0), ==, GOOD);
    json_object_put(qtest_qmp_ok(h.qts, "{'execute':'eject','arguments':{'id':'c','force':true}}"));
    expect_tray(&h, true);
    command(&h, CDB(0), 0, 0);
    assert_sense(&h, 2, 0x3a, 2);
    command(&h, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 2048, 0);
    assert_sense(&h, 2, 0x3a, 2);
    hba_close(&h);
}

static void assert_refused(Hba *h, const char *request, const char *says)
{
    g_autofree char *error = qtest_qmp_error(h->qts, "%s", request);
    if (!strstr(error, says)) {
        g_error("%s: '%s', without '%s'", request, error, says);
    }
}

/* What eject and blockdev-change-medium do at once. */
static void test_change_in_steps(void)
{
    Hba h;
    uint8_t status, b[8];
    cd_open(&h, DISK_BYTES);
    json_object_put(qtest_qmp_ok(h.qts,
                                 "{'execute':'blockdev-add','arguments':{'driver':'raw',"
                                 "'node-name':'new','read-only':true,'file':{'driver':'file',"
                                 "'filename':'%s'}}}",
                                 h.path2));
#define INSERT(node)                                                                               \
    "{'execute':'blockdev-insert-medium','arguments':{'id':'c','node-name':'" node "'}}"
    static const char take_out[] = "{'execute':'blockdev-remove-medium','arguments':{'id':'c'}}";
    static const char shut[] = "{'execute':'blockdev-close-tray','arguments':{'id':'c'}}";
    assert_refused(&h, take_out, "is shut");
    assert_refused(&h, INSERT("new"), "is shut");
    /* Locked: the guest is asked, and nothing moves. */
    command(&h, CDB(0x1e, 0, 0, 0, 1), 0, 0);
    json_object_put(qtest_qmp_ok(h.qts, "{'execute':'blockdev-open-tray','arguments':{'id':'c'}}"));
    g_assert_cmpuint(media_event(&h, &status), ==, 1);
    g_assert_cmpuint(command(&h, CDB(0), 0, 0), ==, GOOD);
    assert_refused(&h, take_out, "is shut");
    json_object_put(qtest_qmp_ok(
        h.qts, "{'execute':'blockdev-open-tray','arguments':{'id':'c','force':true}}"));
    expect_tray(&h, true);
    assert_refused(&h, INSERT("new"), "holds a medium");
    json_object_put(qtest_qmp_ok(h.qts, take_out));
    json_object_put(qtest_qmp_ok(h.qts, take_out)); /* of an empty drive: no error */
    command(&h, CDB(0), 0, 0);
    assert_sense(&h, 2, 0x3a, 2);
    assert_refused(&h, INSERT("nobody"), "there is no node 'nobody'");
    json_object_put(qtest_qmp_ok(h.qts, INSERT("new")));
    command(&h, CDB(0), 0, 0);
    assert_sense(&h, 2, 0x3a, 2); /* the tray is still out */
    json_object_put(qtest_qmp_ok(h.qts, shut));
    expect_tray(&h, false);
    json_object_put(qtest_qmp_ok(h.qts, shut)); /* and is: no error, no event */
    command(&h, CDB(0x25), 8, 0);
    assert_sense(&h, 6, 0x28, 0);
    command(&h, CDB(0x25), 8, 0);
    get_data(&h, b, 8);
    g_assert_cmpuint(load_be32(b), ==, 511);
    json_object *list = qtest_qmp_ok(h.qts, "{'execute':'query-block'}");
    json_object *drive = json_object_array_get_idx(list, 0);
    g_assert_cmpstr(json_text(drive, "inserted.node-name"), ==, "new");
    g_assert_cmpstr(json_text(drive, "tray_open"), ==, "false");
    json_object_put(list);
    hba_close(&h);
}

static void test_a_fixed_disk_has_no_tray(void)
{
    Hba h;
    hd_open(&h, "", "");
    assert_refused(&h, "{'execute':'blockdev-open-tray','arguments':{'id':'h'}}", "fixed disk");
    assert_refused(&h, "{'execute':'blockdev-close-tray','arguments':{'id':'h'}}", "fixed disk");
    assert_refused(&h, "{'execute':'blockdev-remove-medium','arguments':{'id':'h'}}", "fixed disk");
    assert_refused(&h,
                   "{'execute':'blockdev-insert-medium','arguments':{'id':'h',"
                   "'node-name':'new'}}",
                   "fixed disk");
    hba_close(&h);
}

static void test_empty_drive(void)
{
    Hba h = { .path = scsi_make_file(DISK_BYTES), .path2 = scsi_make_file(DISK_BYTES) };
    uint8_t b[8];
    h.qts = qtest_start("-device virtio-scsi-pci -device scsi-cd,id=c");
    hba_find(&h);
    clear_attention(&h, 0);
    command(&h, CDB(0), 0, 0);
    assert_sense(&h, 2, 0x3a, 1);
    command(&h, CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 64), 64, 0);
    assert_sense(&h, 2, 0x3a, 1);
    g_assert_cmpuint(command(&h, CDB(0x46, 0, 0, 0, 0, 0, 0, 0, 8), 8, 0), ==, GOOD);
    get_data(&h, b, 8);
    g_assert_cmphex(load_be16(b + 6), ==, 0);
    json_object_put(qtest_qmp_ok(h.qts,
                                 "{'execute':'blockdev-change-medium','arguments':{"
                                 "'id':'c','filename':'%s','format':'raw'}}",
                                 h.path));
    command(&h, CDB(0), 0, 0);
    assert_sense(&h, 6, 0x28, 0);
    g_assert_cmpuint(command(&h, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 2048, 0), ==, GOOD);
    hba_close(&h);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scsi-cd/what-it-tells-of-a-disc", test_disc);
    g_test_add_func("/scsi-cd/dvd", test_dvd);
    g_test_add_func("/scsi-cd/reading", test_reading);
    g_test_add_func("/scsi-cd/tray-of-the-guest", test_tray_of_the_guest);
    g_test_add_func("/scsi-cd/change-by-the-user", test_change_by_the_user);
    g_test_add_func("/scsi-cd/change-in-steps", test_change_in_steps);
    g_test_add_func("/scsi-cd/a-fixed-disk-has-no-tray", test_a_fixed_disk_has_no_tray);
    g_test_add_func("/scsi-cd/empty-drive", test_empty_drive);
    return g_test_run();
}
