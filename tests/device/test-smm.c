/* SPDX-License-Identifier: GPL-2.0-or-later */
/* System management mode: what is SMRAM and who sees it, which commands are SMIs, what is locked,
 * what firmware agrees upon, flash memory that only that mode writes. */
#include <glib/gstdio.h>
#include <unistd.h>
#include "tests/device/libqtest-fw-cfg.h"
#include "vmm/util/bytes.h"

#define MCH      0x00
#define LPC      (0x1f << 3)
#define PM_FN    0x0b /* PIIX4 */
#define PM       0x600
#define EXT_TSEG 0x50
#define SMRAM    0x9d
#define ESMRAMC  0x9e
#define F_SMBASE 0x9f
#define TSEGMB   0xac
#define PMCON    0xa0
#define PC_SMRAM 0x72
#define DEVACTB  0x58
#define TOP      (32ULL << 20) /* of RAM */
#define APM      0xb2
#define SMI_EN   (PM + 0x30)
#define SMI_STS  (PM + 0x34)
#define GLBSTS   (PM + 0x18)
#define GLBCTL   (PM + 0x28)
#define ALL_ONES 0xffffffff

enum { ENABLE = 0x08, LOCK = 0x10, CLOSED = 0x20, OPEN = 0x40, SEGMENT = 0x02 };
enum { TSEG_ON = 1, TSEG_2M = 2, TSEG_8M = 4, TSEG_EXT = 6, HIGH = 0x80, ESMRAMC_RESET = 0x38 };
enum { GLOBAL = 1, APMC = 0x20, TCO = 0x2000 };

static void place_pm(QTest *qts)
{
    qpci_config_write(qts, 0, LPC, 0x40, PM | 1, 4);
    qpci_config_write(qts, 0, LPC, 0x44, 0x80, 1);
}

static QTest *start(const char *more)
{
    QTest *qts = qtest_start("-machine q35,smm=on -m 32 %s", more);

    place_pm(qts);
    return qts;
}

static void reset(QTest *qts)
{
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
}

static void set(QTest *qts, uint8_t reg, uint8_t value)
{
    qpci_config_write(qts, 0, MCH, reg, value, 1);
}

static uint32_t get(QTest *qts, uint8_t reg)
{
    return qpci_config_read(qts, 0, MCH, reg, 1);
}

/* As a vCPU in system management mode. */
static uint32_t smm_read(QTest *qts, uint64_t addr)
{
    g_autofree char *answer = qtest_command(qts, "readl 0x%" G_GINT64_MODIFIER "x smm", addr);

    return (uint32_t)g_ascii_strtoull(answer, NULL, 0);
}

static void smm_write(QTest *qts, uint64_t addr, uint32_t value, char width)
{
    g_free(qtest_command(qts, "write%c 0x%" G_GINT64_MODIFIER "x 0x%x smm", width, addr, value));
}

/* ---- What is SMRAM ---- */

static void test_absent(void)
{
    QTest *qts = qtest_start("-machine q35 -m 32");

    place_pm(qts);
    g_assert_cmphex(get(qts, SMRAM), ==, 0);
    set(qts, SMRAM, ENABLE | OPEN);
    set(qts, ESMRAMC, TSEG_ON);
    set(qts, F_SMBASE, 0xff);
    g_assert_cmphex(qpci_config_read(qts, 0, MCH, 0x9c, 4), ==, 0);
    g_assert_cmphex(qtest_inl(qts, SMI_EN), ==, APMC); /* as firmware knows it */
    qtest_outl(qts, SMI_EN, GLOBAL);
    g_assert_cmphex(qtest_inl(qts, SMI_EN), ==, APMC);
    qtest_outb(qts, APM, 1);
    g_assert_cmphex(qtest_inl(qts, SMI_STS), ==, 0);
    qtest_stop(qts);
}

static void test_smram(void)
{
    QTest *qts = start("");

    g_assert_cmphex(get(qts, SMRAM), ==, SEGMENT);
    g_assert_cmphex(qtest_read(qts, 0xa0000, 4), ==, ALL_ONES);
    g_assert_cmphex(smm_read(qts, 0xa0000), ==, ALL_ONES); /* not enabled */
    set(qts, SMRAM, ENABLE | OPEN);
    qtest_write(qts, 0xa0000, 0x11223344, 4);
    g_assert_cmphex(qtest_read(qts, 0xa0000, 4), ==, 0x11223344);
    set(qts, SMRAM, ENABLE);
    g_assert_cmphex(qtest_read(qts, 0xa0000, 4), ==, ALL_ONES);
    qtest_write(qts, 0xa0000, 0, 4);
    g_assert_cmphex(smm_read(qts, 0xa0000), ==, 0x11223344);
    set(qts, SMRAM, ENABLE | OPEN | CLOSED);
    g_assert_cmphex(qtest_read(qts, 0xa0000, 4), ==, ALL_ONES);
    set(qts, ESMRAMC, HIGH);
    g_assert_cmphex(smm_read(qts, 0xa0000), ==, ALL_ONES);
    g_assert_cmphex(smm_read(qts, 0xfeda0000), ==, 0x11223344);
    g_assert_cmphex(qtest_read(qts, 0xfeda0000, 4), ==, ALL_ONES);
    qtest_stop(qts);
}

static void expect_hidden_from(QTest *qts, uint64_t start)
{
    g_assert_cmphex(qtest_read(qts, start, 4), ==, start ? ALL_ONES : 0);
    g_assert_cmphex(qtest_read(qts, TOP - 4, 4), ==, ALL_ONES);
    g_assert_cmphex(qtest_read(qts, start - 4, 4), ==, 0);
    g_assert_cmphex(smm_read(qts, start), ==, 0);
    g_assert_cmphex(smm_read(qts, TOP - 4), ==, 0);
}

static void test_tseg_sizes(void)
{
    static const struct {
        uint8_t size;
        uint64_t mib;
    } sizes[] = { { 0, 1 }, { TSEG_2M, 2 }, { TSEG_8M, 8 }, { TSEG_EXT, 16 } };
    QTest *qts = start("");

    g_assert_cmphex(get(qts, ESMRAMC), ==, ESMRAMC_RESET);
    qpci_config_write(qts, 0, MCH, EXT_TSEG, 0xffff, 2);
    g_assert_cmphex(qpci_config_read(qts, 0, MCH, EXT_TSEG, 2), ==, 16);
    set(qts, ESMRAMC, TSEG_ON);
    g_assert_cmphex(qtest_read(qts, TOP - 4, 4), ==, 0); /* not enabled as a whole */
    set(qts, SMRAM, ENABLE | OPEN);
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        set(qts, ESMRAMC, sizes[i].size | TSEG_ON);
        expect_hidden_from(qts, TOP - (sizes[i].mib << 20));
    }
    set(qts, ESMRAMC, TSEG_EXT);
    g_assert_cmphex(qtest_read(qts, TOP - 4, 4), ==, 0);
    qtest_stop(qts);
}

static void test_extended_tseg_size(void)
{
    QTest *qts = start("-global mch.extended-tseg-mbytes=24");

    g_assert_cmphex(qpci_config_read(qts, 0, MCH, EXT_TSEG, 2), ==, 24);
    set(qts, SMRAM, ENABLE);
    set(qts, ESMRAMC, TSEG_EXT | TSEG_ON);
    expect_hidden_from(qts, TOP - (24ULL << 20));
    qtest_stop(qts);
    qts = start("-global mch.extended-tseg-mbytes=0");
    qpci_config_write(qts, 0, MCH, EXT_TSEG, 0xffff, 2);
    g_assert_cmphex(qpci_config_read(qts, 0, MCH, EXT_TSEG, 2), ==, 0xffff);
    qtest_stop(qts);
    qts = start("-global mch.extended-tseg-mbytes=64"); /* more than there is: never shown */
    set(qts, SMRAM, ENABLE);
    set(qts, ESMRAMC, TSEG_EXT | TSEG_ON);
    g_assert_cmphex(qtest_read(qts, TOP - 4, 4), ==, 0);
    qtest_stop(qts);
    qtest_assert_refused("-machine q35,smm=on -global mch.extended-tseg-mbytes=4096",
                         "at most 4095 MiB");
}

/* fw_cfg's DMA is any device's: it neither reads nor writes there. */
static void test_tseg_is_hidden_from_dma(void)
{
    QTest *qts = start("");
    const uint64_t at = TOP - 0x1000;
    uint8_t structure[16] = { 0 };

    store_be32(structure, 0x02 | 0x08); /* select item 0 and read */
    store_be32(structure + 4, 4);
    store_be64(structure + 8, at);
    set(qts, SMRAM, ENABLE);
    set(qts, ESMRAMC, TSEG_ON);
    qtest_memwrite(qts, 0x1000, structure, sizeof(structure));
    qtest_outl(qts, 0x514, 0);
    qtest_outl(qts, 0x518, GUINT32_SWAP_LE_BE(0x1000));
    g_assert_cmphex(qtest_read(qts, 0x1000, 4), ==, GUINT32_SWAP_LE_BE(1)); /* an error */
    g_assert_cmphex(smm_read(qts, at), ==, 0);
    qtest_stop(qts);
}

static void test_lock_holds_until_reset(void)
{
    QTest *qts = start("");

    qpci_config_write(qts, 0, MCH, TSEGMB, 0x01f00000, 4);
    set(qts, ESMRAMC, TSEG_ON);
    set(qts, SMRAM, ENABLE | LOCK | OPEN);
    g_assert_cmphex(get(qts, SMRAM), ==, ENABLE | LOCK | SEGMENT);
    set(qts, SMRAM, OPEN);
    g_assert_cmphex(get(qts, SMRAM), ==, ENABLE | LOCK | SEGMENT);
    qpci_config_write(qts, 0, MCH, 0x9c, 0, 4);
    g_assert_cmphex(qpci_config_read(qts, 0, MCH, 0x9c, 4), ==, 0x00391a00);
    qpci_config_write(qts, 0, MCH, TSEGMB, 0, 4);
    g_assert_cmphex(qpci_config_read(qts, 0, MCH, TSEGMB, 4), ==, 0x01f00000);
    g_assert_cmphex(qtest_read(qts, TOP - 4, 4), ==, ALL_ONES);
    g_assert_cmphex(qtest_read(qts, 0xa0000, 4), ==, ALL_ONES);
    set(qts, SMRAM, CLOSED);
    g_assert_cmphex(get(qts, SMRAM), ==, ENABLE | LOCK | CLOSED | SEGMENT);
    reset(qts);
    g_assert_cmphex(qpci_config_read(qts, 0, MCH, 0x9c, 4), ==, 0x00380200);
    g_assert_cmphex(qtest_read(qts, TOP - 4, 4), ==, 0);
    set(qts, SMRAM, OPEN | ENABLE);
    g_assert_cmphex(get(qts, SMRAM), ==, OPEN | ENABLE | SEGMENT);
    qtest_stop(qts);
}

static void test_smram_at_the_first_smbase(void)
{
    QTest *qts = start("");

    qtest_write(qts, 0x30000, 0x55667788, 4);
    set(qts, F_SMBASE, 2); /* nobody asked */
    g_assert_cmphex(get(qts, F_SMBASE), ==, 0);
    set(qts, F_SMBASE, 0xff);
    g_assert_cmphex(get(qts, F_SMBASE), ==, 1);
    g_assert_cmphex(qtest_read(qts, 0x30000, 4), ==, 0x55667788);
    set(qts, F_SMBASE, 2);
    g_assert_cmphex(qtest_read(qts, 0x30000, 4), ==, ALL_ONES);
    g_assert_cmphex(qtest_read(qts, 0x4fffc, 4), ==, ALL_ONES);
    g_assert_cmphex(qtest_read(qts, 0x50000, 4), ==, 0);
    g_assert_cmphex(qtest_read(qts, 0x2fffc, 4), ==, 0);
    g_assert_cmphex(smm_read(qts, 0x30000), ==, 0x55667788);
    set(qts, F_SMBASE, 0xff);
    set(qts, F_SMBASE, 0);
    g_assert_cmphex(get(qts, F_SMBASE), ==, 2);
    reset(qts);
    g_assert_cmphex(get(qts, F_SMBASE), ==, 0);
    g_assert_cmphex(qtest_read(qts, 0x30000, 4), ==, 0x55667788);
    qtest_stop(qts);
    qts = start("-global mch.smbase-smram=off");
    set(qts, F_SMBASE, 0xff);
    g_assert_cmphex(get(qts, F_SMBASE), ==, 0);
    qtest_stop(qts);
}

static void test_pc(void)
{
    QTest *qts = qtest_start("-machine pc,smm=on -m 32");

    qpci_config_write(qts, 0, MCH, PC_SMRAM, ENABLE | OPEN, 1);
    qtest_write(qts, 0xbfffc, 0x99, 4);
    qpci_config_write(qts, 0, MCH, PC_SMRAM, ENABLE | LOCK, 1);
    g_assert_cmphex(qtest_read(qts, 0xbfffc, 4), ==, ALL_ONES);
    g_assert_cmphex(smm_read(qts, 0xbfffc), ==, 0x99);
    g_assert_cmphex(smm_read(qts, 0xc0000), ==, ALL_ONES);
    qpci_config_write(qts, 0, MCH, PC_SMRAM, ENABLE | OPEN, 1);
    g_assert_cmphex(qtest_read(qts, 0xbfffc, 4), ==, ALL_ONES);
    qtest_stop(qts);
}

/* ---- SMIs ---- */

static void expect_smi(QTest *qts, uint8_t command, bool taken)
{
    qtest_outl(qts, SMI_STS, APMC);
    qtest_outb(qts, APM, command);
    g_assert_cmphex(qtest_inb(qts, APM), ==, command);
    g_assert_cmphex(qtest_inl(qts, SMI_STS), ==, taken ? APMC : 0);
}

static void test_apm_commands(void)
{
    QTest *qts = start("");

    g_assert_cmphex(qtest_inl(qts, SMI_EN), ==, 0);
    expect_smi(qts, 0x77, false);
    qtest_outl(qts, SMI_EN, GLOBAL);
    expect_smi(qts, 0x77, false);
    qtest_outl(qts, SMI_EN, APMC);
    expect_smi(qts, 0x77, false);
    qtest_outl(qts, SMI_EN, APMC | GLOBAL);
    expect_smi(qts, 0x77, true);
    qtest_outb(qts, APM + 1, 0x44); /* the status port is storage */
    g_assert_cmphex(qtest_inb(qts, APM + 1), ==, 0x44);
    expect_smi(qts, 2, true);
    g_assert_cmphex(qtest_inw(qts, PM + 4) & 1, ==, 1); /* ACPI is on, too */
    expect_smi(qts, 3, true);
    g_assert_cmphex(qtest_inw(qts, PM + 4) & 1, ==, 0);
    reset(qts);
    place_pm(qts);
    g_assert_cmphex(qtest_inl(qts, SMI_EN), ==, 0);
    g_assert_cmphex(qtest_inl(qts, SMI_STS), ==, 0);
    qtest_stop(qts);
}

static void test_smi_lock(void)
{
    QTest *qts = start("");

    qtest_outl(qts, SMI_EN, APMC | GLOBAL);
    qpci_config_write(qts, 0, LPC, PMCON, 0xffff, 2);
    g_assert_cmphex(qpci_config_read(qts, 0, LPC, PMCON, 2), ==, 0x10);
    qtest_outl(qts, SMI_EN, 0);
    g_assert_cmphex(qtest_inl(qts, SMI_EN), ==, GLOBAL);
    qtest_outl(qts, SMI_EN, APMC | TCO);
    g_assert_cmphex(qtest_inl(qts, SMI_EN), ==, APMC | TCO | GLOBAL);
    qpci_config_write(qts, 0, LPC, PMCON, 0, 2);
    g_assert_cmphex(qpci_config_read(qts, 0, LPC, PMCON, 2), ==, 0x10);
    reset(qts);
    place_pm(qts);
    g_assert_cmphex(qpci_config_read(qts, 0, LPC, PMCON, 2), ==, 0);
    qtest_outl(qts, SMI_EN, GLOBAL);
    qtest_outl(qts, SMI_EN, 0);
    g_assert_cmphex(qtest_inl(qts, SMI_EN), ==, 0);
    qtest_stop(qts);
}

static void test_apm_commands_of_pc(void)
{
    QTest *qts = qtest_start("-machine pc,smm=on -m 32");

    qpci_config_write(qts, 0, PM_FN, 0x40, PM, 4);
    qpci_config_write(qts, 0, PM_FN, 0x80, 1, 1);
    g_assert_cmphex(qpci_config_read(qts, 0, PM_FN, DEVACTB, 4), ==, 0);
    qtest_outl(qts, GLBCTL, 1);
    qtest_outb(qts, APM, 1);
    g_assert_cmphex(qtest_inl(qts, GLBSTS), ==, 0);
    qpci_config_write(qts, 0, PM_FN, DEVACTB, 0x02000000, 4);
    qtest_outb(qts, APM, 1);
    g_assert_cmphex(qtest_inl(qts, GLBSTS), ==, 0x20);
    qtest_outl(qts, GLBSTS, 0x20);
    qtest_outl(qts, GLBCTL, 0);
    qtest_outb(qts, APM, 0xf1);
    g_assert_cmphex(qtest_inl(qts, GLBSTS), ==, 0);
    g_assert_cmphex(qtest_inw(qts, PM + 4) & 1, ==, 1);
    reset(qts);
    g_assert_cmphex(qpci_config_read(qts, 0, PM_FN, DEVACTB, 4), ==, 0);
    qtest_stop(qts);
}

/* ---- What firmware agrees upon ---- */

static uint64_t file_value(QTest *qts, const char *name)
{
    uint32_t size;
    g_autofree uint8_t *data = qfw_read(qts, name, &size);

    g_assert_nonnull(data);
    return load_le(data, size);
}

static void ask(QTest *qts, uint64_t features)
{
    uint8_t data[8];

    store_le64(data, features);
    g_assert_true(qfw_write(qts, "etc/smi/requested-features", 0, data, sizeof(data)));
}

static void test_features(void)
{
    QTest *qts = start("-smp 1,maxcpus=2");
    uint8_t one = 1;

    g_assert_cmphex(file_value(qts, "etc/smi/supported-features"), ==, 1);
    ask(qts, 3);
    g_assert_cmphex(file_value(qts, "etc/smi/features-ok"), ==, 0);
    ask(qts, 1ULL << 63);
    g_assert_cmphex(file_value(qts, "etc/smi/features-ok"), ==, 0);
    g_assert_false(qfw_write(qts, "etc/smi/features-ok", 0, &one, 1));
    g_assert_false(qfw_write(qts, "etc/smi/supported-features", 0, &one, 1));
    ask(qts, 1);
    g_assert_cmphex(file_value(qts, "etc/smi/features-ok"), ==, 1);
    ask(qts, 3); /* too late: it holds */
    g_assert_cmphex(file_value(qts, "etc/smi/features-ok"), ==, 1);
    g_autofree char *refusal = qtest_qmp_error(
        qts, "{'execute': 'device_add', 'arguments': {'driver': 'host-x86_64-cpu', 'id': 'c', "
             "'socket-id': 0, 'core-id': 1, 'thread-id': 0}}");
    g_assert_nonnull(strstr(refusal, "firmware manages"));
    reset(qts);
    g_assert_cmphex(file_value(qts, "etc/smi/requested-features"), ==, 0);
    g_assert_cmphex(file_value(qts, "etc/smi/features-ok"), ==, 1); /* nothing was asked for */
    qtest_stop(qts);
    qts = qtest_start("-machine q35 -m 32");
    uint32_t size;
    g_assert_null(qfw_read(qts, "etc/smi/supported-features", &size));
    qtest_stop(qts);
}

/* ---- Flash memory ---- */

#define FLASH_SIZE 0x10000
#define FLASH      (0x100000000ULL - FLASH_SIZE)

static void test_secure_flash(void)
{
    g_autofree uint8_t *data = g_malloc0(FLASH_SIZE), *stored = NULL;
    g_autofree char *path = NULL, *args = NULL;
    int fd = g_file_open_tmp("vireo-smm-XXXXXX", &path, NULL);

    memset(data, 0xff, FLASH_SIZE);
    g_assert_cmpint(write(fd, data, FLASH_SIZE), ==, FLASH_SIZE);
    close(fd);
    args = g_strdup_printf("-drive if=pflash,format=raw,file=%s "
                           "-global driver=cfi.pflash01,property=secure,value=on",
                           path);
    QTest *qts = start(args);
    qtest_write(qts, FLASH, 0x40, 1); /* from outside: data is read, nothing is written */
    qtest_write(qts, FLASH, 0x11, 1);
    g_assert_cmphex(qtest_read(qts, FLASH, 1), ==, 0xff);
    qtest_write(qts, FLASH, 0x90, 1);
    g_assert_cmphex(qtest_read(qts, FLASH, 1), ==, 0xff);
    smm_write(qts, FLASH + 8, 0x40, 'b');
    smm_write(qts, FLASH + 8, 0x22, 'b');
    g_assert_cmphex(smm_read(qts, FLASH) & 0x10, ==, 0); /* the status: no error */
    g_assert_cmphex(qtest_read(qts, FLASH + 8, 1), ==, 0x22);
    smm_write(qts, FLASH, 0x40, 'b');
    qtest_write(qts, FLASH, 0x33, 1); /* not the data of that command */
    smm_write(qts, FLASH, 0x44, 'b');
    smm_write(qts, FLASH, 0xff, 'b');
    g_assert_cmphex(qtest_read(qts, FLASH, 1), ==, 0x44);
    g_assert_cmphex(smm_read(qts, FLASH) & 0xff, ==, 0x44);
    qtest_stop(qts);
    g_assert_true(g_file_get_contents(path, (char **)&stored, NULL, NULL));
    g_assert_cmphex(stored[0], ==, 0x44);
    g_assert_cmphex(stored[8], ==, 0x22);
    g_unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/smm/off-is-without", test_absent);
    g_test_add_func("/smm/smram-opens-and-closes", test_smram);
    g_test_add_func("/smm/tseg-has-its-sizes", test_tseg_sizes);
    g_test_add_func("/smm/extended-tseg-is-a-property", test_extended_tseg_size);
    g_test_add_func("/smm/tseg-is-hidden-from-dma", test_tseg_is_hidden_from_dma);
    g_test_add_func("/smm/lock-holds-until-reset", test_lock_holds_until_reset);
    g_test_add_func("/smm/first-smbase-becomes-smram", test_smram_at_the_first_smbase);
    g_test_add_func("/smm/pc-has-smram", test_pc);
    g_test_add_func("/smm/apm-commands-are-smis-when-allowed", test_apm_commands);
    g_test_add_func("/smm/smi-lock-holds-until-reset", test_smi_lock);
    g_test_add_func("/smm/pc-allows-smis-in-two-places", test_apm_commands_of_pc);
    g_test_add_func("/smm/firmware-agrees-on-what-there-is", test_features);
    g_test_add_func("/smm/secure-flash-is-written-in-the-mode-only", test_secure_flash);
    return g_test_run();
}
