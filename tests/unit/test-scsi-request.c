/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SCSI requests whose data moves in windows: any sizes, cancelled, saved and restored between two.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>
#include "tests/unit/scsi-unit.h"

#define IMAGE_BYTES (1 << 20)

static char *path;

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at / 512 * 7 + at % 253);
}

static void make_image(void)
{
    g_autofree uint8_t *data = g_malloc(IMAGE_BYTES);
    path = g_strdup("test-scsi-XXXXXX");
    int fd = g_mkstemp(path);
    for (int i = 0; i < IMAGE_BYTES; i++) {
        data[i] = pattern(i);
    }
    g_assert_cmpint(write(fd, data, IMAGE_BYTES), ==, IMAGE_BYTES);
    close(fd);
}

static void open_kind(Unit *unit, const ScsiLunClass *cls)
{
    g_autofree char *options =
        g_strdup_printf("format=raw,file=%s%s", path, cls == &scsi_cd_lun ? ",media=cdrom" : "");
    unit_open(unit, cls, options);
}

static const uint16_t sizes_one[] = { 8192, 0 };
static const uint16_t sizes_bytes[] = { 1, 7, 513, 2, 4095, 0 };
static const uint16_t sizes_packets[] = { 64, 0 };
static const uint16_t *const size_lists[] = { sizes_one, sizes_bytes, sizes_packets };

static const uint8_t read_cdb[16] = { OP_READ_10, 0, 0, 0, 0, 9, 0, 0, 40 };
static const uint8_t write_cdb[16] = { OP_WRITE_10, 0, 0, 0, 0, 100, 0, 0, 40 };
static const uint8_t raw_cdb[16] = { OP_READ_CD, 0, 0, 0, 0, 5, 0, 0, 20, 0xf8 };
static const uint8_t opcodes_cdb[16] = { OP_MAINTENANCE_IN, 0x0c, 0, 0, 0, 0, 0, 0, 16, 0 };

static void check_read(const Unit *unit)
{
    g_assert_cmpuint(unit->request.status, ==, SCSI_GOOD);
    g_assert_cmpuint(unit->request.moved, ==, 40 * 512);
    g_assert_cmpuint(unit->data->len, ==, 40 * 512);
    for (unsigned i = 0; i < unit->data->len; i++) {
        g_assert_cmpuint(unit->data->data[i], ==, pattern(9 * 512 + i));
    }
}

static void test_read(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(size_lists); i++) {
        Unit unit;
        open_kind(&unit, &scsi_disk_lun);
        unit_run(&unit, read_cdb, size_lists[i], UINT_MAX);
        check_read(&unit);
        g_assert_cmpuint(unit.done_count, ==, 1);
        unit_close(&unit);
    }
}

static void test_write(void)
{
    uint8_t back[40 * 512];
    for (unsigned i = 0; i < G_N_ELEMENTS(size_lists); i++) {
        Unit unit;
        open_kind(&unit, &scsi_disk_lun);
        g_byte_array_set_size(unit.data, sizeof(back));
        for (unsigned k = 0; k < sizeof(back); k++) {
            unit.data->data[k] = (uint8_t)(k * 31 + i);
        }
        unit_run(&unit, write_cdb, size_lists[i], UINT_MAX);
        g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
        int fd = open(path, O_RDONLY);
        g_assert_cmpint(pread(fd, back, sizeof(back), 100 * 512), ==, sizeof(back));
        close(fd);
        g_assert_cmpmem(back, sizeof(back), unit.data->data, unit.data->len);
        unit_close(&unit);
    }
}

static void check_raw(const Unit *unit)
{
    g_assert_cmpuint(unit->request.status, ==, SCSI_GOOD);
    g_assert_cmpuint(unit->data->len, ==, 20 * 2352);
    for (unsigned i = 0; i < 20; i++) {
        const uint8_t *raw = unit->data->data + i * 2352;
        g_assert_cmpuint(raw[15], ==, 1);
        for (unsigned k = 0; k < 2048; k++) {
            g_assert_cmpuint(raw[16 + k], ==, pattern((5 + i) * 2048 + k));
        }
    }
}

static void test_raw(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(size_lists); i++) {
        Unit unit;
        open_kind(&unit, &scsi_cd_lun);
        unit_run(&unit, raw_cdb, size_lists[i], UINT_MAX);
        check_raw(&unit);
        unit_close(&unit);
    }
}

static void test_parameter_list(void)
{
    static const uint8_t cdb[16] = { OP_MODE_SELECT_6, 0x10, 0, 0, 24 };
    static const uint8_t list[24] = { 0, 0, 0, 0, 8, 0x12 };
    Unit unit;
    open_kind(&unit, &scsi_disk_lun);
    g_byte_array_append(unit.data, list, sizeof(list));
    unit_run(&unit, cdb, sizes_bytes, UINT_MAX);
    g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
    g_assert_false(block_backend_write_cache(unit.disk.backend));
    unit_close(&unit);
}

static void test_cancel_between_windows(void)
{
    static const uint8_t *const cdbs[] = { read_cdb, opcodes_cdb };
    for (unsigned i = 0; i < G_N_ELEMENTS(cdbs); i++) {
        Unit unit;
        open_kind(&unit, &scsi_disk_lun);
        unit_run(&unit, cdbs[i], sizes_packets, 3);
        g_assert_true(unit.stopped);
        unit_wait(&unit, unit_cancel_on_loop);
        g_assert_true(unit.done && unit.request.cancelled);
        g_assert_cmpuint(unit.request.status, ==, SCSI_TASK_ABORTED);
        g_assert_cmpuint(unit.request.moved, ==, 192);
        unit_run(&unit, read_cdb, sizes_one, UINT_MAX);
        g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
        g_assert_cmpuint(unit.done_count, ==, 2);
        unit_close(&unit);
    }
}

/* Stops after some windows, goes through a saved state into a fresh request, and on. */
static void save_and_load(Unit *unit)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) state = g_byte_array_new();
    uint64_t counted = unit->counted;
    state_save(&scsi_request_state, &unit->request, state);
    scsi_request_cleanup(&unit->request);
    unit_prepare(unit);
    unit->counted = counted;
    const uint8_t *cursor = state->data;
    g_assert_true(
        state_load(&scsi_request_state, &unit->request, &cursor, state->data + state->len, &error));
    g_assert_no_error(error);
}

static void test_saved_between_windows(void)
{
    static const unsigned stops[] = { 0, 1, 4, 40, 100 };
    for (unsigned i = 0; i < G_N_ELEMENTS(stops); i++) {
        Unit unit;
        g_test_message("after %u windows", stops[i]);
        open_kind(&unit, &scsi_disk_lun);
        unit_run(&unit, read_cdb, sizes_packets, stops[i]);
        save_and_load(&unit);
        unit.windows_left = UINT_MAX;
        unit_wait(&unit, unit_resume_on_loop);
        check_read(&unit);
        /* A reply's bytes are part of the state. */
        g_byte_array_set_size(unit.data, 0);
        unit_run(&unit, opcodes_cdb, sizes_one, UINT_MAX);
        g_autofree uint8_t *whole = g_memdup2(unit.data->data, unit.data->len);
        guint len = unit.data->len;
        g_byte_array_set_size(unit.data, 0);
        unit_run(&unit, opcodes_cdb, sizes_packets, MIN(stops[i], 4));
        save_and_load(&unit);
        unit.windows_left = UINT_MAX;
        unit_wait(&unit, unit_resume_on_loop);
        g_assert_cmpmem(unit.data->data, unit.data->len, whole, len);
        unit_close(&unit);
        open_kind(&unit, &scsi_cd_lun);
        unit_run(&unit, raw_cdb, sizes_packets, stops[i] * 6);
        save_and_load(&unit);
        unit.windows_left = UINT_MAX;
        unit_wait(&unit, unit_resume_on_loop);
        check_raw(&unit);
        unit_close(&unit);
    }
}

/* A state that lies is refused, or the request ends somehow; nothing else happens. */
static void test_hostile_states(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    static const uint8_t *const cdbs[] = { read_cdb, write_cdb, opcodes_cdb };
    Unit unit;
    unsigned loaded = 0;
    unit_open(&unit, &scsi_disk_lun, "driver=null-co,size=1M");
    for (unsigned round = 0; round < 3000; round++) {
        g_autoptr(GByteArray) state = g_byte_array_new();
        unit_run(&unit, cdbs[round % 3], sizes_packets, 2);
        state_save(&scsi_request_state, &unit.request, state);
        unit_wait(&unit, unit_cancel_on_loop);
        for (unsigned k = g_rand_int_range(random, 1, 4); k; k--) {
            state->data[g_rand_int_range(random, 0, (gint32)state->len)] =
                (uint8_t)g_rand_int(random);
        }
        unit_prepare(&unit);
        const uint8_t *cursor = state->data;
        g_autoptr(GError) error = NULL;
        bool ok = state_load(&scsi_request_state, &unit.request, &cursor, state->data + state->len,
                             &error);
        if (ok && unit.request.started) {
            loaded++;
            unit.counted = unit.request.moved;
            unit.windows_left = UINT_MAX;
            unit_wait(&unit, unit_resume_on_loop);
            g_assert_true(unit.done);
        }
        scsi_request_cleanup(&unit.request);
        g_byte_array_set_size(unit.data, 0);
    }
    g_assert_cmpuint(loaded, >, 0);
    unit_close(&unit);
}

static void test_attentions_and_sense(void)
{
    static const uint8_t ready[16] = { OP_TEST_UNIT_READY };
    static const uint8_t sense[16] = { OP_REQUEST_SENSE, 0, 0, 0, 18 };
    static const uint8_t inquiry[16] = { OP_INQUIRY, 0, 0, 0, 36 };
    Unit unit;
    open_kind(&unit, &scsi_disk_lun);
    scsi_lun_attention(&unit.lun, SCSI_UA_MODE | SCSI_UA_RESET);
    unit_run(&unit, inquiry, sizes_one, UINT_MAX);
    g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
    unit_run(&unit, ready, sizes_one, UINT_MAX);
    g_assert_cmpuint(unit.request.status, ==, SCSI_CHECK_CONDITION);
    g_assert_cmphex(unit.request.sense[12], ==, 0x29);
    /* Without autosense the sense is kept for REQUEST SENSE, once. */
    g_byte_array_set_size(unit.data, 0);
    unit_run(&unit, sense, sizes_one, UINT_MAX);
    g_assert_cmphex(unit.data->data[12], ==, 0x29);
    g_byte_array_set_size(unit.data, 0);
    unit_run(&unit, sense, sizes_one, UINT_MAX);
    g_assert_cmphex(unit.data->data[12], ==, 0x2a); /* the next attention */
    g_byte_array_set_size(unit.data, 0);
    unit_run(&unit, sense, sizes_one, UINT_MAX);
    g_assert_cmphex(unit.data->data[2], ==, 0);
    unit_run(&unit, ready, sizes_one, UINT_MAX);
    g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
    unit_close(&unit);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    make_image();
    g_test_add_func("/scsi/read-in-windows", test_read);
    g_test_add_func("/scsi/write-in-windows", test_write);
    g_test_add_func("/scsi/raw-sectors-in-windows", test_raw);
    g_test_add_func("/scsi/parameter-list-in-windows", test_parameter_list);
    g_test_add_func("/scsi/cancel-between-windows", test_cancel_between_windows);
    g_test_add_func("/scsi/saved-between-windows", test_saved_between_windows);
    g_test_add_func("/scsi/hostile-states", test_hostile_states);
    g_test_add_func("/scsi/attentions-and-sense", test_attentions_and_sense);
    int status = g_test_run();
    g_unlink(path);
    g_free(path);
    return status;
}
