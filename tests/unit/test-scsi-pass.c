/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Units whose commands go to a device of the host, against an ioctl of the test's own. */
#include <errno.h>
#include <glib/gstdio.h>
#include <scsi/sg.h>
#include <unistd.h>
#include "block/internal.h"
#include "tests/unit/pc-machine.h"
#include "tests/unit/scsi-unit.h"

#define IMAGE_BYTES (1 << 20)
#define BLOCKS      (IMAGE_BYTES / 512)

/* The host's device; fields are set while no command runs. */
static struct {
    uint8_t type;
    uint8_t data[IMAGE_BYTES];
    uint8_t status;
    uint8_t sense[18];
    unsigned sense_len;
    unsigned short host_status;
    int error; /* errno of SG_IO, 0: none */
    int residual;
    uint32_t limits; /* blocks, in page b0 */
    /* what came */
    uint8_t cdb[16];
    unsigned cdb_len, timeout, length;
    int direction;
    unsigned commands; /* atomic */
    uint8_t seen[256];
    bool held; /* under lock: commands wait */
} host;
static GMutex lock;
static GCond cond;
static char *path;
static int (*real_ioctl)(int fd, unsigned long request, void *arg);

static const uint16_t sizes_one[] = { 8192, 0 };
static const uint16_t sizes_bytes[] = { 1, 7, 513, 2, 4095, 0 };

static void fill_in(struct sg_io_hdr *io)
{
    uint8_t *out = io->dxferp;
    const uint8_t *cdb = io->cmdp;
    uint32_t len = io->dxfer_len;
    switch (cdb[0]) {
    case OP_INQUIRY:
        memset(out, 0, len);
        out[0] = host.type;
        if (cdb[1] & 1 && len >= 16) {
            out[1] = cdb[2];
            store_be32(out + 8, host.limits);
            store_be32(out + 12, UINT32_MAX);
        }
        break;
    case OP_READ_CAPACITY_10:
        store_be32(out, BLOCKS - 1);
        store_be32(out + 4, 512);
        break;
    case OP_READ_10:
        g_assert_cmpuint(load_be32(cdb + 2) * 512 + len, <=, IMAGE_BYTES);
        memcpy(out, host.data + load_be32(cdb + 2) * 512, len);
        break;
    case OP_WRITE_10:
        g_assert_cmpuint(load_be32(cdb + 2) * 512 + len, <=, IMAGE_BYTES);
        memcpy(host.data + load_be32(cdb + 2) * 512, out, len);
        break;
    default:
        if (io->dxfer_direction == SG_DXFER_FROM_DEV) {
            memset(out, 0x5a, len);
        }
        break;
    }
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
    struct sg_io_hdr *io = arg;
    if (request == SG_GET_VERSION_NUM) {
        *(int *)arg = 40000;
        return 0;
    }
    if (request != SG_IO) {
        errno = ENOTTY;
        return -1;
    }
    g_mutex_lock(&lock);
    while (host.held) {
        g_cond_wait(&cond, &lock);
    }
    g_mutex_unlock(&lock);
    memset(host.cdb, 0, sizeof(host.cdb));
    memcpy(host.cdb, io->cmdp, io->cmd_len);
    host.cdb_len = io->cmd_len;
    host.timeout = io->timeout;
    host.length = io->dxfer_len;
    host.direction = io->dxfer_direction;
    host.seen[io->cmdp[0]] = 1;
    if (host.error) {
        errno = host.error;
        return -1;
    }
    if (!host.status && io->dxfer_len) {
        fill_in(io);
    }
    io->status = host.status;
    io->host_status = host.host_status;
    io->resid = host.residual;
    io->sb_len_wr = (unsigned char)host.sense_len;
    memcpy(io->sbp, host.sense, host.sense_len);
    __atomic_fetch_add(&host.commands, 1, __ATOMIC_RELEASE);
    return 0;
}

static unsigned commands(void)
{
    return __atomic_load_n(&host.commands, __ATOMIC_ACQUIRE);
}

static void hold(bool on)
{
    g_mutex_lock(&lock);
    host.held = on;
    g_cond_broadcast(&cond);
    g_mutex_unlock(&lock);
}

static void pass_open(Unit *unit, ScsiPass *pass, const ScsiLunClass *cls)
{
    g_autofree char *options = g_strdup_printf("format=raw,file=%s", path);
    memset(&host, 0, sizeof(host));
    for (unsigned i = 0; i < IMAGE_BYTES; i++) {
        host.data[i] = (uint8_t)(i / 512 * 7 + i % 253);
    }
    unit_open(unit, cls, options);
    unit->lun.autosense = true;
    unit->lun.block_size = cls->type == TYPE_CD ? 2048 : 512;
    *pass = (ScsiPass){ .timeout = 7, .max_transfer = 64 * KIB };
    unit->lun.opaque = pass;
}

static void run(Unit *unit, const uint8_t cdb[16])
{
    g_byte_array_set_size(unit->data, 0);
    scsi_request_cleanup(&unit->request);
    unit_run(unit, cdb, sizes_one, UINT_MAX);
}

static void test_reading_and_writing(void)
{
    static const uint8_t read[16] = { OP_READ_10, 0, 0, 0, 0, 9, 0, 0, 40 };
    static const uint8_t write[16] = { OP_WRITE_10, 0, 0, 0, 0, 100, 0, 0, 3 };
    Unit unit;
    ScsiPass pass;
    pass_open(&unit, &pass, &scsi_generic_disk_lun);
    unit_run(&unit, read, sizes_bytes, UINT_MAX);
    g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
    g_assert_cmpmem(unit.data->data, unit.data->len, host.data + 9 * 512, 40 * 512);
    g_assert_cmpuint(host.cdb_len, ==, 10);
    g_assert_cmpuint(host.timeout, ==, 7000);
    g_assert_cmpint(host.direction, ==, SG_DXFER_FROM_DEV);

    scsi_request_cleanup(&unit.request);
    g_byte_array_set_size(unit.data, 3 * 512);
    memset(unit.data->data, 0xa7, 3 * 512);
    unit_run(&unit, write, sizes_bytes, UINT_MAX);
    g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
    g_assert_cmphex(host.data[100 * 512], ==, 0xa7);
    g_assert_cmphex(host.data[103 * 512 - 1], ==, 0xa7);
    g_assert_cmphex(host.data[103 * 512], !=, 0xa7);
    unit_close(&unit);
}

static void test_blocks_go_through_the_block_layer(void)
{
    static const uint8_t read[16] = { OP_READ_10, 0, 0, 0, 0, 9, 0, 0, 40 };
    static const uint8_t ready[16] = { OP_TEST_UNIT_READY };
    Unit unit;
    ScsiPass pass;
    pass_open(&unit, &pass, &scsi_block_disk_lun);
    run(&unit, read);
    g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
    g_assert_cmpuint(unit.data->len, ==, 40 * 512);
    g_assert_cmpuint(commands(), ==, 0);
    run(&unit, ready);
    g_assert_cmpuint(commands(), ==, 1);
    unit_close(&unit);
}

/* Every opcode that may reach a disk or a CD drive. */
static const uint8_t safe_disk[] = { 0x00, 0x01, 0x08, 0x0a, 0x0b, 0x12, 0x15, 0x1a, 0x1b,
                                     0x1e, 0x25, 0x28, 0x2a, 0x2b, 0x2e, 0x2f, 0x34, 0x35,
                                     0x37, 0x41, 0x42, 0x4d, 0x55, 0x5a, 0x88, 0x8a, 0x8e,
                                     0x8f, 0x90, 0x91, 0x93, 0x9e, 0xa8, 0xaa, 0xae, 0xaf };
static const uint8_t safe_cd[] = { 0x00, 0x08, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2b,
                                   0x2f, 0x35, 0x42, 0x43, 0x44, 0x46, 0x4a, 0x4d, 0x51, 0x52,
                                   0x55, 0x5a, 0x5c, 0xa4, 0xa8, 0xad, 0xb9, 0xbb, 0xbd, 0xbe };

static void check_list(const ScsiLunClass *cls, const uint8_t *safe, unsigned count)
{
    static const uint8_t byte1[] = { 0, 1, 0x10, 0x1f, 0xff };
    Unit unit;
    ScsiPass pass;
    pass_open(&unit, &pass, cls);
    pass.max_transfer = MIB;
    host.error = EIO; /* nothing is done: only what comes is looked at */
    for (unsigned op = 0; op < 256; op++) {
        for (unsigned i = 0; i < sizeof(byte1); i++) {
            uint8_t cdb[16] = { (uint8_t)op, byte1[i], 0x10 };
            g_byte_array_set_size(unit.data, 0);
            run(&unit, cdb);
        }
    }
    uint8_t want[256] = { 0 };
    for (unsigned i = 0; i < count; i++) {
        want[safe[i]] = 1;
    }
    for (unsigned op = 0; op < 256; op++) {
        g_test_message("%02x", op);
        g_assert_cmpuint(host.seen[op], ==, want[op]);
    }
    unit_close(&unit);
}

static void test_safe_commands_only(void)
{
    check_list(&scsi_generic_disk_lun, safe_disk, sizeof(safe_disk));
    check_list(&scsi_pass_cd_lun, safe_cd, sizeof(safe_cd));
}

static void assert_refused(Unit *unit, const uint8_t cdb[16], ScsiSense sense)
{
    unsigned before = commands();
    run(unit, cdb);
    g_assert_cmpuint(unit->request.status, ==, SCSI_CHECK_CONDITION);
    g_assert_cmphex(unit->request.sense[2], ==, sense.key);
    g_assert_cmphex(unit->request.sense[12], ==, sense.asc);
    g_assert_cmpuint(commands(), ==, before);
}

static void test_dangerous_fields_are_refused(void)
{
    static const uint8_t cdbs[][16] = {
        { OP_MODE_SELECT_6, 0x11, 0, 0, 12 }, /* saves pages */
        { OP_LOG_SENSE, 1, 0, 0, 0, 0, 0, 0, 64 },
        { OP_READ_10, 0x20, 0, 0, 0, 0, 0, 0, 1 }, /* protection information */
        { OP_VERIFY_10, 2, 0, 0, 0, 0, 0, 0, 1 },
        { OP_READ_10, 0, 0, 0, 0, 0, 0, 0x40, 0 }, /* 8 MiB */
        { OP_SERVICE_ACTION_IN_16, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32 },
    };
    Unit unit;
    ScsiPass pass;
    pass_open(&unit, &pass, &scsi_generic_disk_lun);
    for (unsigned i = 0; i < G_N_ELEMENTS(cdbs); i++) {
        g_test_message("%u", i);
        assert_refused(&unit, cdbs[i], SENSE_INVALID_FIELD);
    }
    unit_close(&unit);
}

static void test_reservations_are_asked_for(void)
{
    static const uint8_t in[16] = { OP_PERSISTENT_RESERVE_IN, 0, 0, 0, 0, 0, 0, 0, 8 };
    static const uint8_t out[16] = { OP_PERSISTENT_RESERVE_OUT, 1, 0, 0, 0, 0, 0, 0, 24 };
    static const uint8_t longer[16] = { OP_PERSISTENT_RESERVE_OUT, 1, 0, 0, 0, 0, 1, 0, 24 };
    static const uint8_t old[16] = { OP_RESERVE_6 };
    Unit unit;
    ScsiPass pass;
    pass_open(&unit, &pass, &scsi_block_disk_lun);
    assert_refused(&unit, in, SENSE_INVALID_OPCODE);
    assert_refused(&unit, out, SENSE_INVALID_OPCODE);
    assert_refused(&unit, old, SENSE_INVALID_OPCODE);
    pass.reservations = true;
    run(&unit, in);
    g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
    run(&unit, out);
    g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
    g_assert_cmpuint(host.length, ==, 24);
    g_assert_cmpint(host.direction, ==, SG_DXFER_TO_DEV);
    assert_refused(&unit, longer, SENSE_INVALID_FIELD);
    unit_close(&unit);
}

static void test_sense_comes_back(void)
{
    static const uint8_t ready[16] = { OP_TEST_UNIT_READY };
    Unit unit;
    ScsiPass pass;
    pass_open(&unit, &pass, &scsi_pass_cd_lun);
    host.status = SCSI_CHECK_CONDITION;
    host.sense_len = 18;
    scsi_build_sense(host.sense, SENSE_NO_MEDIUM);
    run(&unit, ready);
    g_assert_cmpuint(unit.request.status, ==, SCSI_CHECK_CONDITION);
    g_assert_cmpmem(unit.request.sense, unit.request.sense_len, host.sense, 18);
    host.sense_len = 0;
    run(&unit, ready);
    g_assert_cmphex(unit.request.sense[2], ==, SCSI_HARDWARE_ERROR);
    host.status = SCSI_RESERVATION_CONFLICT;
    run(&unit, ready);
    g_assert_cmpuint(unit.request.status, ==, SCSI_RESERVATION_CONFLICT);
    g_assert_cmpuint(unit.request.sense_len, ==, 0);
    unit_close(&unit);
}

static void test_host_errors_become_sense(void)
{
    static const uint8_t ready[16] = { OP_TEST_UNIT_READY };
    Unit unit;
    ScsiPass pass;
    pass_open(&unit, &pass, &scsi_generic_disk_lun);
    host.host_status = 3; /* time out */
    run(&unit, ready);
    g_assert_cmphex(unit.request.sense[12], ==, 0x2e);
    host.host_status = 1; /* gone */
    run(&unit, ready);
    g_assert_cmphex(unit.request.sense[12], ==, 0x25);
    host.host_status = 2;
    run(&unit, ready);
    g_assert_cmpuint(unit.request.status, ==, SCSI_BUSY);
    host.host_status = 0;
    host.error = EPERM;
    run(&unit, ready);
    g_assert_cmphex(unit.request.sense[12], ==, 0x20);
    g_assert_cmpuint(unit.done_count, ==, 4);
    unit_close(&unit);
}

static void test_short_answers_are_short(void)
{
    static const uint8_t sense[16] = { OP_MODE_SENSE_10, 0, 0x3f, 0, 0, 0, 0, 1, 0 };
    Unit unit;
    ScsiPass pass;
    pass_open(&unit, &pass, &scsi_generic_disk_lun);
    host.residual = 256 - 20;
    run(&unit, sense);
    g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
    g_assert_cmpuint(unit.request.moved, ==, 20);
    host.residual = 100000; /* of a device that lies */
    run(&unit, sense);
    g_assert_cmpuint(unit.request.moved, ==, 0);
    unit_close(&unit);
}

static void test_transfer_limits_are_told(void)
{
    static const uint8_t page[16] = { OP_INQUIRY, 1, 0xb0, 0, 64 };
    static const uint8_t cut[16] = { OP_INQUIRY, 1, 0xb0, 0, 10 };
    Unit unit;
    ScsiPass pass;
    pass_open(&unit, &pass, &scsi_generic_disk_lun);
    run(&unit, page);
    g_assert_cmpuint(load_be32(unit.data->data + 8), ==, 128);
    g_assert_cmpuint(load_be32(unit.data->data + 12), ==, 128);
    host.limits = 16;
    run(&unit, page);
    g_assert_cmpuint(load_be32(unit.data->data + 8), ==, 16);
    run(&unit, cut);
    g_assert_cmpuint(unit.request.moved, ==, 10);
    unit_close(&unit);
}

static void test_too_many_are_put_off(void)
{
    static const uint8_t ready[16] = { OP_TEST_UNIT_READY };
    Unit unit;
    ScsiPass pass;
    pass_open(&unit, &pass, &scsi_generic_disk_lun);
    pass.running = 16;
    run(&unit, ready);
    g_assert_cmpuint(unit.request.status, ==, SCSI_TASK_SET_FULL);
    g_assert_cmpuint(commands(), ==, 0);
    g_assert_cmpuint(pass.running, ==, 16);
    pass.running = 0;
    run(&unit, ready);
    g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
    g_assert_cmpuint(pass.running, ==, 0);
    unit_close(&unit);
}

static void start(Unit *unit, const uint8_t cdb[16])
{
    unit_prepare(unit);
    memcpy(unit->request.cdb, cdb, 16);
    unit->sizes = sizes_one;
    unit->windows_left = UINT_MAX;
    unit->done = false;
    event_loop_call(unit->loop, unit_submit_on_loop, unit);
}

static void *let_go(void *opaque)
{
    hold(false);
    return NULL;
}

static void test_a_drain_waits_for_the_host(void)
{
    static const uint8_t read[16] = { OP_READ_10, 0, 0, 0, 0, 9, 0, 0, 1 };
    Unit unit;
    ScsiPass pass;
    pass_open(&unit, &pass, &scsi_generic_disk_lun);
    hold(true);
    start(&unit, read);
    GThread *thread = g_thread_new("release", let_go, NULL);
    scsi_lun_drain(&unit.lun, false);
    g_assert_true(unit.done);
    g_assert_cmpuint(unit.request.status, ==, SCSI_GOOD);
    g_thread_join(thread);
    unit_close(&unit);
}

static void test_a_cancelled_command_ends_once(void)
{
    static const uint8_t read[16] = { OP_READ_10, 0, 0, 0, 0, 9, 0, 0, 1 };
    Unit unit;
    ScsiPass pass;
    pass_open(&unit, &pass, &scsi_generic_disk_lun);
    hold(true);
    start(&unit, read);
    event_loop_call(unit.loop, unit_cancel_on_loop, &unit);
    hold(false);
    scsi_lun_drain(&unit.lun, false);
    event_loop_call(unit.loop, unit_nothing, NULL);
    g_assert_true(unit.done);
    g_assert_cmpuint(unit.done_count, ==, 1);
    g_assert_cmpuint(unit.request.status, ==, SCSI_TASK_ABORTED);
    g_assert_cmpuint(unit.request.moved, ==, 0);
    unit_close(&unit);
}

/* ---- The devices ---- */

static Drive *add_drive(void)
{
    GError *error = NULL;
    g_autofree char *text = g_strdup_printf("if=none,id=hd,format=raw,file=%s", path);
    g_autoptr(Opts) opts = opts_parse(text, NULL, &error);
    Drive *drive = drive_add(opts, NULL, &error);
    g_assert_no_error(error);
    return drive;
}

static void assert_realize_fails(Machine *machine, const char *name, const char *says)
{
    g_autoptr(GError) error = NULL;
    Device *dev = device_new(device_class_find(name), NULL);
    g_assert_true(device_set_prop(dev, "drive", "hd", NULL));
    g_assert_false(device_realize(dev, machine, NULL, &error));
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, says));
    device_free(dev);
}

static void test_what_is_no_scsi_device_is_refused(void)
{
    static const char *const devices[] = { "virtio-scsi-pci", NULL };
    memset(&host, 0, sizeof(host));
    Machine *machine = pc_machine_new("q35", devices);
    add_drive();
    host.type = 0x01;
    assert_realize_fails(machine, "scsi-generic", "SCSI type 0x01");
    host.type = 0x7f;
    assert_realize_fails(machine, "scsi-block", "SCSI type 0x7f");
    host.error = EIO;
    assert_realize_fails(machine, "scsi-block", "does not answer INQUIRY");
    host.error = 0;
    block_sg_ioctl = real_ioctl;
    assert_realize_fails(machine, "scsi-block", "is no SCSI device");
    block_sg_ioctl = fake_ioctl;
    machine_free(machine);
    drive_remove("hd", NULL);
}

static void test_state_of_the_devices(void)
{
    static const char *const devices[] = { "virtio-scsi-pci", "scsi-generic,drive=hd", NULL };
    g_autoptr(GByteArray) first = g_byte_array_new();
    g_autoptr(GByteArray) second = g_byte_array_new();
    GError *error = NULL;
    memset(&host, 0, sizeof(host));
    add_drive();
    Machine *machine = pc_machine_new("q35", devices);
    devices_save(machine, first);
    devices_load(machine, first->data, first->len, &error);
    g_assert_no_error(error);
    devices_save(machine, second);
    g_assert_cmpmem(first->data, first->len, second->data, second->len);
    machine_free(machine);
    drive_remove("hd", NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    path = g_strdup("/tmp/vireo-pass-XXXXXX");
    int fd = g_mkstemp(path);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, IMAGE_BYTES), ==, 0);
    close(fd);
    real_ioctl = block_sg_ioctl;
    block_sg_ioctl = fake_ioctl;
    g_test_add_func("/scsi-pass/reading-and-writing", test_reading_and_writing);
    g_test_add_func("/scsi-pass/blocks-go-through-the-block-layer",
                    test_blocks_go_through_the_block_layer);
    g_test_add_func("/scsi-pass/safe-commands-only", test_safe_commands_only);
    g_test_add_func("/scsi-pass/dangerous-fields-are-refused", test_dangerous_fields_are_refused);
    g_test_add_func("/scsi-pass/reservations-are-asked-for", test_reservations_are_asked_for);
    g_test_add_func("/scsi-pass/sense-comes-back", test_sense_comes_back);
    g_test_add_func("/scsi-pass/host-errors-become-sense", test_host_errors_become_sense);
    g_test_add_func("/scsi-pass/short-answers-are-short", test_short_answers_are_short);
    g_test_add_func("/scsi-pass/transfer-limits-are-told", test_transfer_limits_are_told);
    g_test_add_func("/scsi-pass/too-many-are-put-off", test_too_many_are_put_off);
    g_test_add_func("/scsi-pass/a-drain-waits-for-the-host", test_a_drain_waits_for_the_host);
    g_test_add_func("/scsi-pass/a-cancelled-command-ends-once", test_a_cancelled_command_ends_once);
    g_test_add_func("/scsi-pass/what-is-no-scsi-device-is-refused",
                    test_what_is_no_scsi_device_is_refused);
    g_test_add_func("/scsi-pass/state-of-the-devices", test_state_of_the_devices);
    int status = g_test_run();
    g_unlink(path);
    g_free(path);
    return status;
}
