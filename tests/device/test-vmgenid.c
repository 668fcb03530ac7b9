/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The generation ID and vmcoreinfo: what fw_cfg shows, what the monitor says, what is refused. */
#include <string.h>
#include "tests/device/libqtest-fw-cfg.h"
#include "vmm/util/bytes.h"

#define GUID       "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87"
#define GUID_FILE  "etc/vmgenid_guid"
#define ADDR_FILE  "etc/vmgenid_addr"
#define NOTE_FILE  "etc/vmcoreinfo"
#define AT_GUID    40
#define PAGE_SIZE  4096
#define COMMAND    128
#define FILE_SPACE 56

static const uint8_t guid_bytes[16] = { 0xaf, 0x6e, 0x4e, 0x32, 0xd1, 0xd1, 0xf6, 0x4b,
                                        0xbf, 0x41, 0xb9, 0xbb, 0x6c, 0x91, 0xfb, 0x87 };

static void assert_says(QTest *qts, const char *guid)
{
    json_object *answer = qtest_qmp_ok(qts, "{'execute': 'query-vm-generation-id'}");
    g_assert_cmpstr(json_text(answer, "guid"), ==, guid);
    json_object_put(answer);
}

static void test_the_page_has_the_guid(void)
{
    QTest *qts = qtest_start("-device vmgenid,guid=324E6EAF-d1d1-4bf6-bf41-b9bb6c91fb87");
    uint8_t zeroes[PAGE_SIZE] = { 0 };
    uint32_t size;
    g_autofree uint8_t *page = qfw_read(qts, GUID_FILE, &size);
    g_assert_nonnull(page);
    g_assert_cmpuint(size, ==, PAGE_SIZE);
    g_assert_cmpmem(page + AT_GUID, 16, guid_bytes, 16);
    memset(page + AT_GUID, 0, 16);
    g_assert_cmpmem(page, size, zeroes, size);
    assert_says(qts, GUID);
    g_autofree char *text = qtest_hmp(qts, "info vm-generation-id");
    g_assert_nonnull(strstr(text, GUID));
    qtest_stop(qts);
}

static void test_auto_makes_another_each_time(void)
{
    g_autofree char *first = NULL;
    for (int i = 0; i < 2; i++) {
        QTest *qts = qtest_start("-device vmgenid%s", i ? ",guid=auto" : "");
        json_object *answer = qtest_qmp_ok(qts, "{'execute': 'query-vm-generation-id'}");
        const char *guid = json_text(answer, "guid");
        g_assert_true(g_uuid_string_is_valid(guid));
        g_assert_cmpstr(guid, !=, first);
        g_free(first);
        first = g_strdup(guid);
        json_object_put(answer);
        qtest_stop(qts);
    }
}

/* The page is placed before the tables point to it, and its address comes back at last. */
static void test_firmware_is_told_to_place_it(void)
{
    QTest *qts = qtest_start("-device vmgenid,guid=" GUID);
    uint32_t size;
    g_autofree uint8_t *script = qfw_read(qts, "etc/table-loader", &size);
    int placed = -1, pointed = -1, written = -1;
    for (uint32_t i = 0; i < size / COMMAND; i++) {
        const uint8_t *entry = script + i * COMMAND;
        const char *file = (const char *)entry + 4, *source = file + FILE_SPACE;
        if (load_le32(entry) == 1 && strcmp(file, GUID_FILE) == 0) {
            placed = (int)i;
            g_assert_cmpuint(load_le32(entry + 4 + FILE_SPACE), ==, PAGE_SIZE);
        }
        if (load_le32(entry) == 2 && strcmp(source, GUID_FILE) == 0) {
            pointed = (int)i;
            g_assert_cmpuint(entry[4 + 2 * FILE_SPACE + 4], ==, 4);
        }
        if (load_le32(entry) == 4) {
            written = (int)i;
            g_assert_cmpstr(file, ==, ADDR_FILE);
            g_assert_cmpstr(source, ==, GUID_FILE);
            g_assert_cmpuint(load_le32(entry + 4 + 2 * FILE_SPACE), ==, 0);
            g_assert_cmpuint(load_le32(entry + 4 + 2 * FILE_SPACE + 4), ==, AT_GUID);
            g_assert_cmpuint(entry[4 + 2 * FILE_SPACE + 8], ==, 8);
        }
    }
    g_assert_cmpint(placed, >=, 0);
    g_assert_cmpint(pointed, >, placed);
    g_assert_cmpint(written, >, pointed);
    qtest_stop(qts);
}

static void assert_file(QTest *qts, const char *name, const void *data, uint32_t len)
{
    uint32_t size;
    g_autofree uint8_t *file = qfw_read(qts, name, &size);
    g_assert_nonnull(file);
    g_assert_cmpmem(file, size, data, len);
}

static void reset(QTest *qts)
{
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
}

static void test_a_reset_forgets_the_address(void)
{
    static const uint8_t address[8] = { 0x28, 0x50 }, none[8];
    QTest *qts = qtest_start("-machine pc -device vmgenid");
    g_assert_true(qfw_write(qts, ADDR_FILE, 0, address, 8));
    assert_file(qts, ADDR_FILE, address, 8);
    g_assert_false(qfw_write(qts, ADDR_FILE, 4, address, 8));
    g_assert_false(qfw_write(qts, GUID_FILE, 0, address, 8));
    reset(qts);
    assert_file(qts, ADDR_FILE, none, 8);
    qtest_stop(qts);
}

static void test_what_cannot_be_is_refused(void)
{
    qtest_assert_refused("-device vmgenid,guid=123", "neither a UUID");
    qtest_assert_refused("-device vmgenid -device vmgenid", "one generation ID");
    qtest_assert_refused("-machine microvm -device vmgenid", "no general-purpose events");
    qtest_assert_refused("-no-acpi -device vmgenid", "through ACPI");
    qtest_assert_refused("-device vmcoreinfo -device vmcoreinfo", "at most one");
    QTest *qts = qtest_start("%s", "");
    g_autofree char *error = qtest_qmp_error(qts, "{'execute': 'query-vm-generation-id'}");
    g_assert_nonnull(strstr(error, "no generation ID"));
    g_autofree char *text = qtest_hmp(qts, "info vm-generation-id");
    g_assert_nonnull(strstr(text, "no generation ID"));
    qtest_stop(qts);
}

static void assert_note(QTest *qts, int format, int64_t size, int64_t address)
{
    json_object *note =
        qtest_qmp_ok(qts, "{'execute': 'qom-get', 'arguments': {'path': 'v', 'property': 'note'}}");
    g_assert_cmpint(json_object_get_int(json_at(note, "format")), ==, format);
    g_assert_cmpint(json_object_get_int64(json_at(note, "size")), ==, size);
    g_assert_cmpint(json_object_get_int64(json_at(note, "paddr")), ==, address);
    json_object_put(note);
}

/* As Linux's qemu_fw_cfg driver writes it: one structure, little-endian. */
static void test_the_guest_says_where_its_note_is(void)
{
    static const uint8_t fresh[16] = { 1 };
    uint8_t note[16] = { 1 };
    QTest *qts = qtest_start("-device vmcoreinfo,id=v");
    assert_file(qts, NOTE_FILE, fresh, sizeof(fresh));
    store_le16(note + 2, 1);
    store_le32(note + 4, 4132);
    store_le64(note + 8, 0x12345000);
    g_assert_true(qfw_write(qts, NOTE_FILE, 0, note, sizeof(note)));
    assert_note(qts, 1, 4132, 0x12345000);
    g_assert_true(qfw_write(qts, NOTE_FILE, 0, "\xff\xff\xff\xff\xff\xff\xff\xff", 8));
    assert_note(qts, 0xffff, UINT32_MAX, 0x12345000);
    g_assert_false(qfw_write(qts, NOTE_FILE, 9, note, 8));
    reset(qts);
    assert_note(qts, 0, 0, 0);
    assert_file(qts, NOTE_FILE, fresh, sizeof(fresh));
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmgenid/the-page-has-the-guid", test_the_page_has_the_guid);
    g_test_add_func("/vmgenid/auto-makes-another-each-time", test_auto_makes_another_each_time);
    g_test_add_func("/vmgenid/firmware-is-told-to-place-it", test_firmware_is_told_to_place_it);
    g_test_add_func("/vmgenid/a-reset-forgets-the-address", test_a_reset_forgets_the_address);
    g_test_add_func("/vmgenid/what-cannot-be-is-refused", test_what_cannot_be_is_refused);
    g_test_add_func("/vmcoreinfo/the-guest-says-where-its-note-is",
                    test_the_guest_says_where_its_note_is);
    return g_test_run();
}
