/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The TPM's two interfaces with the real swtpm behind them, and with one that does not obey. */
#include <string.h>
#include "tests/device/fake-swtpm.h"
#include "tests/device/libqtest-fw-cfg.h"
#include "tests/device/tpm-kit.h"
#include "vmm/util/bytes.h"

#define BASE       0xfed40000ULL
#define LOCALITY   0x1000ULL
#define BUFFER_MAX 4096

enum { ACCESS = 0x00, INT_ENABLE = 0x08, INT_VECTOR = 0x0c, INT_STATUS = 0x10, CAPABILITY = 0x14 };
enum { STS = 0x18, FIFO = 0x24, INTERFACE_ID = 0x30, XFIFO = 0x80, DID_VID = 0xf00, RID = 0xf04 };
enum { A_REQUEST = 0x02, A_PENDING = 0x04, A_SEIZE = 0x08, A_SEIZED = 0x10, A_ACTIVE = 0x20 };
enum { S_EXPECT = 0x08, S_AVAILABLE = 0x10, S_GO = 0x20, S_READY = 0x40, S_VALID = 0x80 };
enum { LOC_STATE = 0x00, LOC_CTRL = 0x08, LOC_STS = 0x0c, CRB_ID = 0x30, CTRL_REQ = 0x40 };
enum { CTRL_STS = 0x44, CTRL_CANCEL = 0x48, CTRL_START = 0x4c, CMD_SIZE = 0x58, CMD_ADDR = 0x5c };
enum { RSP_SIZE = 0x64, RSP_ADDR = 0x68, CRB_BUFFER = 0x80 };
#define S_CANCEL (1U << 24)

static QTest *start(const char *path, const char *device)
{
    return qtest_start("-chardev socket,id=c,path=%s -tpmdev emulator,id=t,chardev=c "
                       "-device %s,tpmdev=t",
                       path, device);
}

static uint32_t tis_read(QTest *qts, unsigned locality, unsigned reg)
{
    return (uint32_t)qtest_read(qts, BASE + locality * LOCALITY + reg, 4);
}

static uint8_t tis_access(QTest *qts, unsigned locality)
{
    return (uint8_t)qtest_read(qts, BASE + locality * LOCALITY + ACCESS, 1);
}

static void tis_write(QTest *qts, unsigned locality, unsigned reg, uint32_t value)
{
    qtest_write(qts, BASE + locality * LOCALITY + reg, value, 4);
}

static void tis_request(QTest *qts, unsigned locality)
{
    qtest_write(qts, BASE + locality * LOCALITY + ACCESS, A_REQUEST, 1);
    g_assert_cmphex(tis_access(qts, locality) & A_ACTIVE, ==, A_ACTIVE);
}

static void tis_put(QTest *qts, unsigned locality, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        qtest_write(qts, BASE + locality * LOCALITY + FIFO, data[i], 1);
    }
}

static void tis_wait(QTest *qts, unsigned locality, uint32_t bits)
{
    while ((tis_read(qts, locality, STS) & bits) != bits) {
        g_usleep(500);
    }
}

/* Writes a command and starts it. */
static void tis_start(QTest *qts, unsigned locality, const uint8_t *command, size_t len)
{
    tis_write(qts, locality, STS, S_READY);
    tis_wait(qts, locality, S_READY);
    tis_put(qts, locality, command, len - 1);
    g_assert_cmphex(tis_read(qts, locality, STS) & (S_VALID | S_EXPECT), ==, S_VALID | S_EXPECT);
    tis_put(qts, locality, command + len - 1, 1);
    g_assert_cmphex(tis_read(qts, locality, STS) & (S_VALID | S_EXPECT), ==, S_VALID);
    tis_write(qts, locality, STS, S_GO);
}

/* The whole answer; its length. */
static size_t tis_finish(QTest *qts, unsigned locality, uint8_t *answer)
{
    tis_wait(qts, locality, S_VALID | S_AVAILABLE);
    size_t len = 0, burst = tis_read(qts, locality, STS) >> 8 & 0xffff;
    while (tis_read(qts, locality, STS) & S_AVAILABLE) {
        g_assert_cmpuint(len, <, BUFFER_MAX);
        answer[len++] = (uint8_t)qtest_read(qts, BASE + locality * LOCALITY + FIFO, 1);
    }
    g_assert_cmpuint(burst, ==, len);
    g_assert_cmpuint(load_be32(answer + 2), ==, len);
    g_assert_cmphex(qtest_read(qts, BASE + locality * LOCALITY + FIFO, 1), ==, 0xff);
    return len;
}

static uint32_t tis_run(QTest *qts, unsigned locality, const uint8_t *command, size_t len,
                        uint8_t *answer)
{
    tis_start(qts, locality, command, len);
    tis_finish(qts, locality, answer);
    return tpm2_code(answer);
}

static bool skipped(RealSwtpm *swtpm)
{
    if (!swtpm) {
        g_test_skip("swtpm is not installed");
    }
    return !swtpm;
}

/* ---- The real one ---- */

static void test_tis_runs_commands(void)
{
    RealSwtpm *swtpm = real_swtpm_start();
    uint8_t answer[BUFFER_MAX], again[BUFFER_MAX];
    if (skipped(swtpm)) {
        return;
    }
    QTest *qts = start(swtpm->path, "tpm-tis");
    tis_request(qts, 0);
    g_assert_cmphex(tis_run(qts, 0, tpm2_get_random, TPM2_GET_RANDOM_SIZE, answer), ==,
                    TPM2_RC_INITIALIZE);
    g_assert_cmphex(tis_run(qts, 0, tpm2_startup, TPM2_STARTUP_SIZE, answer), ==, 0);
    g_assert_cmphex(tis_run(qts, 0, tpm2_get_capability, TPM2_GET_CAPABILITY_SIZE, answer), ==, 0);
    g_assert_cmpmem(answer + 23, 4, "2.0\0", 4);
    g_assert_cmphex(tis_run(qts, 0, tpm2_get_random, TPM2_GET_RANDOM_SIZE, answer), ==, 0);
    g_assert_cmphex(tis_run(qts, 0, tpm2_get_random, TPM2_GET_RANDOM_SIZE, again), ==, 0);
    g_assert_cmpuint(load_be16(answer + 10), ==, 16);
    g_assert_cmpint(memcmp(answer + 12, again + 12, 16), !=, 0);
    /* Another locality's command is one to swtpm too. */
    qtest_write(qts, BASE + ACCESS, A_ACTIVE, 1);
    tis_request(qts, 3);
    g_assert_cmphex(tis_run(qts, 3, tpm2_get_random, TPM2_GET_RANDOM_SIZE, answer), ==, 0);
    /* A reset of the machine is one of the TPM. */
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_cmphex(tis_access(qts, 3) & A_ACTIVE, ==, 0);
    tis_request(qts, 0);
    g_assert_cmphex(tis_run(qts, 0, tpm2_get_random, TPM2_GET_RANDOM_SIZE, answer), ==,
                    TPM2_RC_INITIALIZE);
    qtest_stop(qts);
    real_swtpm_free(swtpm);
}

static uint32_t crb_read(QTest *qts, unsigned reg)
{
    return (uint32_t)qtest_read(qts, BASE + reg, 4);
}

static void crb_start(QTest *qts, const void *command, size_t len)
{
    qtest_write(qts, BASE + CTRL_REQ, 1, 4);
    g_assert_cmphex(crb_read(qts, CTRL_REQ), ==, 0);
    g_assert_cmphex(crb_read(qts, CTRL_STS), ==, 0);
    qtest_memwrite(qts, BASE + CRB_BUFFER, command, len);
    qtest_write(qts, BASE + CTRL_START, 1, 4);
}

static uint32_t crb_finish(QTest *qts, uint8_t *answer)
{
    while (crb_read(qts, CTRL_START)) {
        g_usleep(500);
    }
    qtest_memread(qts, BASE + CRB_BUFFER, answer, 64);
    return tpm2_code(answer);
}

static uint32_t crb_run(QTest *qts, const uint8_t *command, size_t len, uint8_t *answer)
{
    crb_start(qts, command, len);
    return crb_finish(qts, answer);
}

static void test_crb_runs_commands(void)
{
    RealSwtpm *swtpm = real_swtpm_start();
    uint8_t answer[64], again[64];
    if (skipped(swtpm)) {
        return;
    }
    QTest *qts = start(swtpm->path, "tpm-crb");
    /* Without the locality nothing starts. */
    qtest_memwrite(qts, BASE + CRB_BUFFER, tpm2_startup, TPM2_STARTUP_SIZE);
    qtest_write(qts, BASE + CTRL_START, 1, 4);
    g_assert_cmphex(crb_read(qts, CTRL_START), ==, 0);
    qtest_write(qts, BASE + LOC_CTRL, 1, 4);
    g_assert_cmphex(crb_read(qts, LOC_STS), ==, 1);
    g_assert_cmphex(crb_run(qts, tpm2_startup, TPM2_STARTUP_SIZE, answer), ==, 0);
    g_assert_cmphex(crb_run(qts, tpm2_get_capability, TPM2_GET_CAPABILITY_SIZE, answer), ==, 0);
    g_assert_cmpmem(answer + 23, 4, "2.0\0", 4);
    g_assert_cmphex(crb_run(qts, tpm2_get_random, TPM2_GET_RANDOM_SIZE, answer), ==, 0);
    g_assert_cmphex(crb_run(qts, tpm2_get_random, TPM2_GET_RANDOM_SIZE, again), ==, 0);
    g_assert_cmpint(memcmp(answer + 12, again + 12, 16), !=, 0);
    qtest_write(qts, BASE + CTRL_REQ, 2, 4);
    g_assert_cmphex(crb_read(qts, CTRL_STS), ==, 2);
    qtest_write(qts, BASE + LOC_CTRL, 2, 4);
    g_assert_cmphex(crb_read(qts, LOC_STATE) & 2, ==, 0);
    qtest_stop(qts);
    real_swtpm_free(swtpm);
}

/* ---- Registers, with one that obeys ---- */

static const FakePlan obedient;

static void test_tis_says_what_it_is(void)
{
    FakeSwtpm *fake = fake_swtpm_new(&obedient);
    QTest *qts = start(fake_swtpm_path(fake), "tpm-tis,irq=10");
    g_assert_cmphex(tis_read(qts, 0, DID_VID), ==, 0x00011014);
    g_assert_cmphex(tis_read(qts, 4, RID), ==, 1);
    g_assert_cmphex(tis_read(qts, 0, CAPABILITY), ==, 0x30000697);
    g_assert_cmphex(tis_read(qts, 1, INTERFACE_ID), ==, 0x2100);
    g_assert_cmphex(tis_read(qts, 0, INT_VECTOR), ==, 10);
    g_assert_cmphex(tis_access(qts, 0), ==, 0x81);
    g_assert_cmphex(tis_read(qts, 0, STS), ==, 0xffffffff);
    g_assert_cmphex(tis_read(qts, 0, 0x40), ==, 0xffffffff);
    g_assert_cmphex(qtest_read(qts, BASE + DID_VID + 2, 2), ==, 1);
    tis_write(qts, 0, INTERFACE_ID, 1U << 19);
    g_assert_cmphex(tis_read(qts, 2, INTERFACE_ID), ==, 0x82100);
    tis_request(qts, 0);
    g_assert_cmphex(tis_read(qts, 0, STS), ==, 0x04000000 | 4096 << 8);
    g_assert_cmphex(qtest_read(qts, BASE + STS + 1, 1), ==, 0xff);
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

static void test_localities_take_turns(void)
{
    FakeSwtpm *fake = fake_swtpm_new(&obedient);
    QTest *qts = start(fake_swtpm_path(fake), "tpm-tis");
    tis_request(qts, 1);
    qtest_write(qts, BASE + ACCESS, A_REQUEST, 1);
    qtest_write(qts, BASE + 2 * LOCALITY + ACCESS, A_REQUEST, 1);
    g_assert_cmphex(tis_access(qts, 1), ==, 0x81 | A_ACTIVE | A_PENDING);
    g_assert_cmphex(tis_access(qts, 0), ==, 0x81 | A_REQUEST | A_PENDING);
    qtest_write(qts, BASE + 1 * LOCALITY + ACCESS, A_ACTIVE, 1);
    g_assert_cmphex(tis_access(qts, 2), ==, 0x81 | A_ACTIVE | A_PENDING);
    /* A lower one cannot seize, a higher one can. */
    qtest_write(qts, BASE + 1 * LOCALITY + ACCESS, A_SEIZE, 1);
    g_assert_cmphex(tis_access(qts, 1), ==, 0x81 | A_PENDING);
    qtest_write(qts, BASE + 3 * LOCALITY + ACCESS, A_SEIZE, 1);
    g_assert_cmphex(tis_access(qts, 3), ==, 0x81 | A_ACTIVE | A_PENDING);
    g_assert_cmphex(tis_access(qts, 2), ==, 0x81 | A_SEIZED | A_PENDING);
    qtest_write(qts, BASE + 2 * LOCALITY + ACCESS, A_SEIZED, 1);
    g_assert_cmphex(tis_access(qts, 2), ==, 0x81 | A_PENDING);
    /* Locality 4 is not the guest's. */
    qtest_write(qts, BASE + 4 * LOCALITY + ACCESS, A_SEIZE, 1);
    g_assert_cmphex(tis_access(qts, 4), ==, 0x81 | A_PENDING);
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

static void test_tis_interrupts(void)
{
    FakeSwtpm *fake = fake_swtpm_new(&obedient);
    QTest *qts = start(fake_swtpm_path(fake), "tpm-tis");
    uint8_t answer[BUFFER_MAX];
    qtest_intercept(qts);
    tis_request(qts, 0);
    tis_write(qts, 0, INT_ENABLE, 0x80000081);
    g_assert_cmphex(tis_read(qts, 0, INT_ENABLE), ==, 0x80000081);
    tis_write(qts, 0, STS, S_READY);
    qtest_wait_irq(qts, 5, true);
    g_assert_cmphex(tis_read(qts, 0, INT_STATUS), ==, 0x80);
    tis_write(qts, 0, INT_STATUS, 0x80);
    qtest_wait_irq(qts, 5, false);
    tis_start(qts, 0, tpm2_get_random, TPM2_GET_RANDOM_SIZE);
    qtest_wait_irq(qts, 5, true);
    g_assert_cmphex(tis_read(qts, 0, INT_STATUS), ==, 0x01);
    g_assert_cmpuint(tis_finish(qts, 0, answer), ==, 10);
    tis_write(qts, 0, INT_STATUS, 0xffffffff);
    qtest_wait_irq(qts, 5, false);
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

static void test_crb_says_what_it_is(void)
{
    FakeSwtpm *fake = fake_swtpm_new(&obedient);
    QTest *qts = start(fake_swtpm_path(fake), "tpm-crb");
    g_assert_cmphex(crb_read(qts, LOC_STATE), ==, 0x81);
    g_assert_cmphex(crb_read(qts, CRB_ID), ==, 0x25811);
    g_assert_cmphex(crb_read(qts, CRB_ID + 4), ==, 0x1014);
    g_assert_cmphex(crb_read(qts, CTRL_STS), ==, 2);
    g_assert_cmphex(crb_read(qts, CMD_SIZE), ==, 0xf80);
    g_assert_cmphex(crb_read(qts, CMD_ADDR), ==, BASE + CRB_BUFFER);
    g_assert_cmphex(crb_read(qts, CMD_ADDR + 4), ==, 0);
    g_assert_cmphex(crb_read(qts, RSP_SIZE), ==, 0xf80);
    g_assert_cmphex(qtest_read(qts, BASE + RSP_ADDR, 8), ==, BASE + CRB_BUFFER);
    tis_write(qts, 0, CMD_SIZE, 0xffffffff);
    g_assert_cmphex(crb_read(qts, CMD_SIZE), ==, 0xf80);
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

/* ---- Tables and monitor ---- */

static void check_tables(const char *device, uint64_t control, uint32_t method)
{
    FakeSwtpm *fake = fake_swtpm_new(&obedient);
    QTest *qts = start(fake_swtpm_path(fake), device);
    uint32_t size;
    g_autofree uint8_t *log = qfw_read(qts, "etc/tpm/log", &size);
    g_assert_nonnull(log);
    g_assert_cmpuint(size, ==, 65536);
    g_autofree uint8_t *tables = qfw_read(qts, "etc/acpi/tables", &size);
    const uint8_t *tpm2 = memmem(tables, size, "TPM2", 4);
    g_assert_nonnull(tpm2);
    g_assert_cmpuint(load_le32(tpm2 + 4), ==, 76);
    g_assert_cmphex(load_le64(tpm2 + 40), ==, control);
    g_assert_cmpuint(load_le32(tpm2 + 48), ==, method);
    g_assert_cmpuint(load_le32(tpm2 + 64), ==, 65536);
    g_assert_nonnull(memmem(tables, size, "MSFT0101", 8));
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-tpm'}");
    json_object *info = json_object_array_get_idx(list, 0);
    g_assert_cmpuint(json_object_array_length(list), ==, 1);
    g_assert_cmpstr(json_text(info, "id"), ==, "t");
    g_assert_cmpstr(json_text(info, "model"), ==, device);
    g_assert_cmpstr(json_text(info, "options.type"), ==, "emulator");
    g_assert_cmpstr(json_text(info, "options.data.chardev"), ==, "c");
    json_object_put(list);
    g_autofree char *text = qtest_hmp(qts, "info tpm");
    g_assert_nonnull(strstr(text, device));
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

static void test_tables_and_monitor_name_it(void)
{
    check_tables("tpm-tis", 0, 6);
    check_tables("tpm-crb", BASE + 0x40, 7);
    QTest *qts = qtest_start("%s", "");
    uint32_t size;
    g_assert_null(qfw_read(qts, "etc/tpm/log", &size));
    json_object *models = qtest_qmp_ok(qts, "{'execute': 'query-tpm-models'}");
    g_assert_cmpuint(json_object_array_length(models), ==, 2);
    json_object_put(models);
    json_object *types = qtest_qmp_ok(qts, "{'execute': 'query-tpm-types'}");
    g_assert_cmpstr(json_object_get_string(json_object_array_get_idx(types, 0)), ==, "emulator");
    json_object_put(types);
    qtest_stop(qts);
}

/* ---- swtpm that does not obey ---- */

static void assert_refused(FakePlan plan, const char *says)
{
    FakeSwtpm *fake = fake_swtpm_new(&plan);
    g_autofree char *line = g_strdup_printf(
        "-chardev socket,id=c,path=%s -tpmdev emulator,id=t,chardev=c", fake_swtpm_path(fake));
    qtest_assert_refused(line, says);
    fake_swtpm_free(fake);
}

static void test_what_cannot_be_is_refused(void)
{
    qtest_assert_refused("-tpmdev emulator,id=t,chardev=none", "no character device 'none'");
    qtest_assert_refused("-tpmdev emulator,id=t", "'chardev' is missing");
    qtest_assert_refused("-tpmdev passthrough,id=t", "Vireo does not");
    qtest_assert_refused("-tpmdev nothing,id=t", "no back end 'nothing'");
    qtest_assert_refused("-chardev null,id=c -tpmdev emulator,id=t,chardev=c", "not a unix socket");
    qtest_assert_refused("-device tpm-tis", "'tpmdev' is missing");
    qtest_assert_refused("-device tpm-crb,tpmdev=x", "no such TPM back end");
    assert_refused((FakePlan){ .caps = 1 }, "lacks what is needed");
    assert_refused((FakePlan){ .tag = 0xc4 }, "start swtpm with --tpm2");
    for (uint32_t command = 1; command <= 17; command++) {
        if (command == 1 || command == 14 || command == 16 || command == 17) {
            assert_refused((FakePlan){ .command = command, .fault = FAKE_REFUSES }, "refuses");
            assert_refused((FakePlan){ .command = command, .fault = FAKE_IS_SHORT }, "closed");
            assert_refused((FakePlan){ .command = command, .fault = FAKE_CLOSES }, "closed");
        }
    }
    assert_refused((FakePlan){ .command = 17,
                               .fault = FAKE_SAYS_ANSWER,
                               .answer = "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0",
                               .answer_len = 16 },
                   "buffers of 1 bytes");
}

static void test_one_tpm_for_one_device(void)
{
    FakeSwtpm *fake = fake_swtpm_new(&obedient);
    g_autofree char *line = g_strdup_printf("-chardev socket,id=c,path=%s -tpmdev "
                                            "emulator,id=t,chardev=c -device tpm-tis,tpmdev=t "
                                            "-device tpm-crb,tpmdev=t",
                                            fake_swtpm_path(fake));
    qtest_assert_refused(line, "at most one");
    fake_swtpm_free(fake);
}

/* The guest gets a failure as an answer, now and ever after, and the machine goes on. */
static void assert_survives(const char *device, FakePlan plan)
{
    FakeSwtpm *fake = fake_swtpm_new(&plan);
    QTest *qts = start(fake_swtpm_path(fake), device);
    uint8_t answer[BUFFER_MAX];
    bool crb = strcmp(device, "tpm-crb") == 0;
    for (int i = 0; i < 3; i++) {
        if (crb) {
            qtest_write(qts, BASE + LOC_CTRL, 1, 4);
            g_assert_cmphex(crb_run(qts, tpm2_get_random, TPM2_GET_RANDOM_SIZE, answer), ==,
                            TPM2_RC_FAILURE);
        } else {
            tis_request(qts, 0);
            g_assert_cmphex(tis_run(qts, 0, tpm2_get_random, TPM2_GET_RANDOM_SIZE, answer), ==,
                            TPM2_RC_FAILURE);
        }
        if (i == 1) {
            json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
            json_object_put(qtest_event(qts, "RESET"));
        }
    }
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

static void test_bad_answers_are_failures(gconstpointer device)
{
    static const uint8_t small[10] = { 0x80, 1, 0, 0, 0, 9 };
    static const uint8_t large[10] = { 0x80, 1, 0, 0, 0x10, 1 };
    static const uint8_t huge[10] = { 0x80, 1, 0xff, 0xff, 0xff, 0xff };
    assert_survives(device, (FakePlan){ .data_fault = FAKE_CLOSES });
    assert_survives(device, (FakePlan){ .data_fault = FAKE_IS_SHORT });
    assert_survives(
        device,
        (FakePlan){ .data_fault = FAKE_SAYS_ANSWER, .answer = small, .answer_len = sizeof(small) });
    assert_survives(
        device,
        (FakePlan){ .data_fault = FAKE_SAYS_ANSWER, .answer = large, .answer_len = sizeof(large) });
    assert_survives(
        device,
        (FakePlan){ .data_fault = FAKE_SAYS_ANSWER, .answer = huge, .answer_len = sizeof(huge) });
    assert_survives(device, (FakePlan){ .command = 2, .fault = FAKE_REFUSES }); /* CMD_INIT */
    assert_survives(device, (FakePlan){ .command = 5, .fault = FAKE_CLOSES });  /* SET_LOCALITY */
    assert_survives(device, (FakePlan){ .command = 4, .fault = FAKE_IS_SHORT });
}

/* More than one answer at once: the first is taken, the next command fails. */
static void test_stray_bytes_end_it(void)
{
    static const uint8_t two[20] = { 0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 10 };
    FakePlan plan = { .data_fault = FAKE_SAYS_ANSWER, .answer = two, .answer_len = sizeof(two) };
    FakeSwtpm *fake = fake_swtpm_new(&plan);
    QTest *qts = start(fake_swtpm_path(fake), "tpm-tis");
    uint8_t answer[BUFFER_MAX];
    tis_request(qts, 0);
    g_assert_cmphex(tis_run(qts, 0, tpm2_startup, TPM2_STARTUP_SIZE, answer), ==, 0);
    g_assert_cmphex(tis_run(qts, 0, tpm2_startup, TPM2_STARTUP_SIZE, answer), ==, TPM2_RC_FAILURE);
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

/* A locality that swtpm does not want is a failure of that command only. */
static void test_a_refused_locality_is_no_end(void)
{
    FakePlan plan = { .command = 5, .fault = FAKE_REFUSES };
    FakeSwtpm *fake = fake_swtpm_new(&plan);
    QTest *qts = start(fake_swtpm_path(fake), "tpm-tis");
    uint8_t answer[BUFFER_MAX];
    tis_request(qts, 0);
    for (int i = 0; i < 2; i++) {
        g_assert_cmphex(tis_run(qts, 0, tpm2_startup, TPM2_STARTUP_SIZE, answer), ==,
                        TPM2_RC_FAILURE);
    }
    g_assert_cmpuint(fake_swtpm_commands(fake), ==, 1);
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

static void test_commands_are_cancelled(void)
{
    FakePlan plan = { .data_fault = FAKE_WAITS };
    FakeSwtpm *fake = fake_swtpm_new(&plan);
    QTest *qts = start(fake_swtpm_path(fake), "tpm-tis");
    uint8_t answer[BUFFER_MAX];
    tis_request(qts, 0);
    tis_start(qts, 0, tpm2_startup, TPM2_STARTUP_SIZE);
    g_assert_cmphex(tis_read(qts, 0, STS) & S_AVAILABLE, ==, 0);
    tis_write(qts, 0, STS, S_CANCEL);
    g_assert_cmpuint(tis_finish(qts, 0, answer), ==, 10);
    /* So are those of a locality that another one seizes, or that wants to be ready again. */
    tis_start(qts, 0, tpm2_startup, TPM2_STARTUP_SIZE);
    qtest_write(qts, BASE + 2 * LOCALITY + ACCESS, A_SEIZE, 1);
    while (!(tis_access(qts, 2) & A_ACTIVE)) {
        g_usleep(500);
    }
    g_assert_cmphex(tis_access(qts, 0) & A_SEIZED, ==, A_SEIZED);
    tis_start(qts, 2, tpm2_startup, TPM2_STARTUP_SIZE);
    tis_write(qts, 2, STS, S_READY);
    tis_wait(qts, 2, S_READY);
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

static void test_crb_commands_are_cancelled(void)
{
    FakePlan plan = { .data_fault = FAKE_WAITS };
    FakeSwtpm *fake = fake_swtpm_new(&plan);
    QTest *qts = start(fake_swtpm_path(fake), "tpm-crb");
    uint8_t answer[64];
    qtest_write(qts, BASE + LOC_CTRL, 1, 4);
    crb_start(qts, tpm2_startup, TPM2_STARTUP_SIZE);
    g_assert_cmphex(crb_read(qts, CTRL_START), ==, 1);
    /* The buffer is the TPM's; a second start is none; what started goes on. */
    qtest_write(qts, BASE + CRB_BUFFER, 0x5555, 2);
    g_assert_cmphex(qtest_read(qts, BASE + CRB_BUFFER, 2), ==, 0x0180);
    qtest_write(qts, BASE + CTRL_START, 1, 4);
    qtest_write(qts, BASE + CTRL_START, 0, 4);
    g_assert_cmphex(crb_read(qts, CTRL_START), ==, 1);
    qtest_write(qts, BASE + CTRL_CANCEL, 1, 4);
    g_assert_cmphex(crb_finish(qts, answer), ==, 0);
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

/* Nothing waits for ever for one that says nothing any more: neither the monitor nor a reset. */
static void test_silence_is_bounded(void)
{
    FakePlan plan = { .data_fault = FAKE_IS_SILENT };
    FakeSwtpm *fake = fake_swtpm_new(&plan);
    QTest *qts = start(fake_swtpm_path(fake), "tpm-tis");
    uint8_t answer[BUFFER_MAX];
    tis_request(qts, 0);
    tis_start(qts, 0, tpm2_startup, TPM2_STARTUP_SIZE);
    while (fake_swtpm_commands(fake) < 2) {
        g_usleep(500);
    }
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'query-status'}"));
    g_assert_cmphex(tis_read(qts, 0, STS) & S_AVAILABLE, ==, 0);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    tis_request(qts, 0);
    g_assert_cmphex(tis_run(qts, 0, tpm2_startup, TPM2_STARTUP_SIZE, answer), ==, TPM2_RC_FAILURE);
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

/* ---- A guest that does not obey ---- */

static void test_broken_commands_are_failures(void)
{
    FakeSwtpm *fake = fake_swtpm_new(&obedient);
    QTest *qts = start(fake_swtpm_path(fake), "tpm-tis");
    static const uint8_t empty[6] = { 0x80, 1, 0, 0, 0, 0 };
    uint8_t large[BUFFER_MAX] = { 0x80, 1, 0xff, 0xff, 0xff, 0xff }, answer[BUFFER_MAX];
    tis_request(qts, 0);
    tis_write(qts, 0, STS, S_READY);
    tis_put(qts, 0, empty, sizeof(empty));
    tis_write(qts, 0, STS, S_GO);
    g_assert_cmpuint(tis_finish(qts, 0, answer), ==, 10);
    g_assert_cmphex(tpm2_code(answer), ==, TPM2_RC_FAILURE);
    tis_write(qts, 0, STS, S_READY);
    qtest_memwrite(qts, BASE + XFIFO, large, 4);
    for (unsigned i = 4; i < sizeof(large) + 8; i += 4) {
        qtest_write(qts, BASE + XFIFO, 0xffffffff, 4);
    }
    g_assert_cmphex(tis_read(qts, 0, STS) & S_EXPECT, ==, 0);
    tis_write(qts, 0, STS, S_GO);
    g_assert_cmpuint(tis_finish(qts, 0, answer), ==, 10);
    g_assert_cmphex(tpm2_code(answer), ==, TPM2_RC_FAILURE);
    /* The wrong locality, the wrong order. */
    tis_write(qts, 1, STS, S_READY);
    tis_put(qts, 1, tpm2_startup, TPM2_STARTUP_SIZE);
    tis_write(qts, 1, STS, S_GO);
    tis_write(qts, 0, STS, S_GO);
    tis_write(qts, 0, STS, S_READY | S_GO);
    g_assert_cmpuint(fake_swtpm_commands(fake), ==, 1);
    g_assert_cmphex(tis_run(qts, 0, tpm2_startup, TPM2_STARTUP_SIZE, answer), ==, 0);
    /* Once more, from the beginning. */
    tis_write(qts, 0, STS, 2);
    g_assert_cmpuint(tis_finish(qts, 0, answer), ==, 10);
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

static void test_registers_take_any_width(gconstpointer device)
{
    FakeSwtpm *fake = fake_swtpm_new(&obedient);
    QTest *qts = start(fake_swtpm_path(fake), device);
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    for (int i = 0; i < 3000; i++) {
        unsigned size = 1U << g_rand_int_range(random, 0, 4);
        uint64_t at = BASE + (uint64_t)g_rand_int_range(random, 0, 5 * LOCALITY - 8);
        if (i % 2) {
            at &= ~0xf00ULL;
        }
        if (i % 3) {
            qtest_write(qts, at, g_rand_int(random), size);
        } else {
            qtest_read(qts, at, size);
        }
    }
    qtest_stop(qts);
    fake_swtpm_free(fake);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tpm/tis-runs-commands", test_tis_runs_commands);
    g_test_add_func("/tpm/crb-runs-commands", test_crb_runs_commands);
    g_test_add_func("/tpm/tis-says-what-it-is", test_tis_says_what_it_is);
    g_test_add_func("/tpm/crb-says-what-it-is", test_crb_says_what_it_is);
    g_test_add_func("/tpm/localities-take-turns", test_localities_take_turns);
    g_test_add_func("/tpm/tis-interrupts", test_tis_interrupts);
    g_test_add_func("/tpm/tables-and-monitor-name-it", test_tables_and_monitor_name_it);
    g_test_add_func("/tpm/what-cannot-be-is-refused", test_what_cannot_be_is_refused);
    g_test_add_func("/tpm/one-tpm-for-one-device", test_one_tpm_for_one_device);
    g_test_add_data_func("/tpm/tis/bad-answers-are-failures", "tpm-tis",
                         test_bad_answers_are_failures);
    g_test_add_data_func("/tpm/crb/bad-answers-are-failures", "tpm-crb",
                         test_bad_answers_are_failures);
    g_test_add_func("/tpm/stray-bytes-end-it", test_stray_bytes_end_it);
    g_test_add_func("/tpm/a-refused-locality-is-no-end", test_a_refused_locality_is_no_end);
    g_test_add_func("/tpm/commands-are-cancelled", test_commands_are_cancelled);
    g_test_add_func("/tpm/crb-commands-are-cancelled", test_crb_commands_are_cancelled);
    g_test_add_func("/tpm/silence-is-bounded", test_silence_is_bounded);
    g_test_add_func("/tpm/broken-commands-are-failures", test_broken_commands_are_failures);
    g_test_add_data_func("/tpm/tis/registers-take-any-width", "tpm-tis",
                         test_registers_take_any_width);
    g_test_add_data_func("/tpm/crb/registers-take-any-width", "tpm-crb",
                         test_registers_take_any_width);
    return g_test_run();
}
