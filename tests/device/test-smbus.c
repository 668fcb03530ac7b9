/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SMBus controllers of q35 and pc, and the memory modules' EEPROMs behind them. */
#include <string.h>
#include "tests/device/libqtest.h"
#include "vmm/util/bytes.h"

#define SMB_DEVFN 0xfb
#define PM_DEVFN  0x0b
#define PIIX_PORT 0xb100
#define SPD       0x50
#define NOBODY    0x30

enum { STS = 0, CNT = 2, CMD = 3, ADDR = 4, D0 = 5, D1 = 6, BLOCK = 7, AUX = 13 };
enum { BUSY = 0x01, INTR = 0x02, DEV_ERR = 0x04, FAILED = 0x10, BYTE_DONE = 0x80 };
enum { INTREN = 0x01, KILL = 0x02, LAST_BYTE = 0x20, START = 0x40 };
enum { P_QUICK = 0, P_BYTE = 4, P_BYTE_DATA = 8, P_WORD = 12, P_CALL = 16, P_BLOCK = 20 };
enum { P_I2C_READ = 24 };
enum { READ = 1, BUFFER = 2 };

typedef struct Host {
    QTest *qts;
    QPci *pci; /* q35 */
    uint16_t port;
} Host;

static Host start(const char *machine, const char *ram)
{
    Host host = { .qts = qtest_start("-machine %s -m %s", machine, ram) };
    if (strcmp(machine, "q35") == 0) {
        host.pci = qpci_open(host.qts, SMB_DEVFN);
        host.port = (uint16_t)host.pci->bar[4];
        qpci_config_write(host.qts, 0, SMB_DEVFN, 0x40, 1, 1);
    } else {
        host.port = PIIX_PORT;
    }
    return host;
}

static void stop(Host *host)
{
    g_free(host->pci);
    qtest_stop(host->qts);
}

static uint8_t in(Host *host, unsigned reg)
{
    return qtest_inb(host->qts, (uint16_t)(host->port + reg));
}

static void out(Host *host, unsigned reg, uint8_t value)
{
    qtest_outb(host->qts, (uint16_t)(host->port + reg), value);
}

/* Starts a transaction; busy is seen once, then what came of it, which is cleared. */
static uint8_t run(Host *host, uint8_t address, uint8_t protocol, uint8_t command)
{
    out(host, ADDR, address);
    out(host, CMD, command);
    out(host, CNT, START | protocol);
    g_assert_cmphex(in(host, STS), ==, BUSY);
    uint8_t status = in(host, STS);
    out(host, STS, status);
    return status;
}

static uint8_t read_byte(Host *host, uint8_t address, uint8_t at)
{
    g_assert_cmphex(run(host, (uint8_t)(address << 1 | READ), P_BYTE_DATA, at), ==, INTR);
    return in(host, D0);
}

static void test_transactions(gconstpointer machine)
{
    Host host = start(machine, "256");
    uint8_t spd = SPD << 1;
    g_assert_cmphex(in(&host, STS), ==, 0);
    g_assert_cmphex(run(&host, spd, P_QUICK, 0), ==, INTR);
    g_assert_cmphex(run(&host, spd | READ, P_QUICK, 0), ==, INTR);
    g_assert_cmphex(read_byte(&host, SPD, 2), ==, 8);
    /* Send and receive byte: the pointer, then what it points to, and on. */
    g_assert_cmphex(run(&host, spd, P_BYTE, 1), ==, INTR);
    g_assert_cmphex(run(&host, spd | READ, P_BYTE, 0), ==, INTR);
    g_assert_cmphex(in(&host, D0), ==, 8);
    g_assert_cmphex(run(&host, spd | READ, P_BYTE, 0), ==, INTR);
    g_assert_cmphex(in(&host, D0), ==, 8);
    g_assert_cmphex(run(&host, spd | READ, P_WORD, 0), ==, INTR);
    g_assert_cmphex(in(&host, D0), ==, 128);
    g_assert_cmphex(in(&host, D1), ==, 8);
    /* Writes. */
    out(&host, D0, 0x12);
    out(&host, D1, 0x34);
    g_assert_cmphex(run(&host, spd, P_WORD, 0xff), ==, INTR);
    g_assert_cmphex(read_byte(&host, SPD, 0xff), ==, 0x12);
    g_assert_cmphex(read_byte(&host, SPD, 0), ==, 0x34);
    out(&host, D0, 0x56);
    g_assert_cmphex(run(&host, spd, P_BYTE_DATA, 0x80), ==, INTR);
    g_assert_cmphex(read_byte(&host, SPD, 0x80), ==, 0x56);
    out(&host, D0, 0xaa);
    out(&host, D1, 0xbb);
    g_assert_cmphex(run(&host, spd, P_CALL, 0x90), ==, INTR);
    g_assert_cmphex(read_byte(&host, SPD, 0x91), ==, 0xbb);
    stop(&host);
}

static void test_nobody_is_an_error(gconstpointer machine)
{
    Host host = start(machine, "128");
    for (uint8_t protocol = P_QUICK; protocol <= P_I2C_READ + 4; protocol += 4) {
        g_assert_cmphex(run(&host, NOBODY << 1, protocol, 0), ==, DEV_ERR);
        g_assert_cmphex(run(&host, NOBODY << 1 | READ, protocol, 0), ==, DEV_ERR);
    }
    /* An error that is not cleared ends what comes. */
    out(&host, CNT, START | P_QUICK);
    in(&host, STS);
    out(&host, ADDR, SPD << 1);
    out(&host, CNT, START | P_QUICK);
    g_assert_cmphex(in(&host, STS), ==, BUSY | DEV_ERR);
    g_assert_cmphex(in(&host, STS), ==, DEV_ERR);
    stop(&host);
}

static void test_blocks_through_the_buffer(gconstpointer machine)
{
    Host host = start(machine, "128");
    uint8_t spd = SPD << 1;
    out(&host, AUX, BUFFER);
    in(&host, CNT); /* the buffer's beginning */
    for (uint8_t i = 0; i < 32; i++) {
        out(&host, BLOCK, (uint8_t)(0xc0 + i));
    }
    out(&host, D0, 32);
    g_assert_cmphex(run(&host, spd, P_BLOCK, 0x80), ==, INTR);
    g_assert_cmphex(read_byte(&host, SPD, 0x80), ==, 32);
    g_assert_cmphex(read_byte(&host, SPD, 0xa0), ==, 0xdf);
    out(&host, D0, 0);
    g_assert_cmphex(run(&host, spd | READ, P_BLOCK, 0x80), ==, INTR);
    g_assert_cmphex(in(&host, D0), ==, 32);
    in(&host, CNT);
    for (unsigned i = 0; i < 32; i++) {
        g_assert_cmphex(in(&host, BLOCK), ==, 0xc0 + i);
    }
    /* A count that cannot be: 0xdf bytes, none. */
    g_assert_cmphex(run(&host, spd | READ, P_BLOCK, 0xa0), ==, DEV_ERR);
    out(&host, D0, 33);
    g_assert_cmphex(run(&host, spd, P_BLOCK, 0x80), ==, DEV_ERR);
    out(&host, D0, 0);
    g_assert_cmphex(run(&host, spd, P_BLOCK, 0x80), ==, DEV_ERR);
    stop(&host);
}

/* As Linux's i2c-i801 does without the buffer. */
static void test_blocks_byte_by_byte(gconstpointer machine)
{
    Host host = start(machine, "128");
    uint8_t spd = SPD << 1;
    out(&host, AUX, 0);
    out(&host, ADDR, spd);
    out(&host, CMD, 0x80);
    out(&host, D0, 3);
    out(&host, BLOCK, 0x11);
    out(&host, CNT, START | P_BLOCK);
    g_assert_cmphex(in(&host, STS), ==, BUSY);
    g_assert_cmphex(in(&host, STS), ==, BUSY | BYTE_DONE);
    out(&host, BLOCK, 0x22);
    out(&host, STS, BYTE_DONE);
    g_assert_cmphex(in(&host, STS), ==, BUSY | BYTE_DONE);
    out(&host, BLOCK, 0x33);
    out(&host, STS, BYTE_DONE);
    out(&host, STS, BYTE_DONE);
    g_assert_cmphex(in(&host, STS), ==, INTR);
    out(&host, STS, INTR);

    out(&host, ADDR, spd | READ);
    out(&host, CNT, START | P_BLOCK);
    in(&host, STS);
    g_assert_cmphex(in(&host, STS), ==, BUSY | BYTE_DONE);
    g_assert_cmphex(in(&host, D0), ==, 3);
    for (uint8_t i = 1; i <= 3; i++) {
        g_assert_cmphex(in(&host, STS), ==, BUSY | BYTE_DONE);
        g_assert_cmphex(in(&host, BLOCK), ==, 0x11 * i);
        out(&host, STS, BYTE_DONE);
    }
    g_assert_cmphex(in(&host, STS), ==, INTR);
    out(&host, STS, INTR);

    /* An I2C read goes on until it is told to end; what is killed has failed. */
    out(&host, ADDR, spd);
    out(&host, D1, 0x80);
    out(&host, CNT, START | P_I2C_READ);
    in(&host, STS);
    for (unsigned i = 0; i < 60; i++) {
        out(&host, STS, BYTE_DONE);
    }
    g_assert_cmphex(in(&host, STS), ==, BUSY | BYTE_DONE);
    out(&host, CNT, P_I2C_READ | LAST_BYTE); /* of the byte that is still to come */
    out(&host, STS, BYTE_DONE);
    g_assert_cmphex(in(&host, STS), ==, BUSY | BYTE_DONE);
    out(&host, STS, BYTE_DONE);
    g_assert_cmphex(in(&host, STS), ==, INTR);
    out(&host, STS, INTR);
    out(&host, CNT, START | P_I2C_READ | LAST_BYTE); /* one byte */
    in(&host, STS);
    g_assert_cmphex(in(&host, STS), ==, BUSY | BYTE_DONE);
    g_assert_cmphex(in(&host, BLOCK), ==, 3);
    out(&host, STS, BYTE_DONE);
    g_assert_cmphex(in(&host, STS), ==, INTR);
    out(&host, STS, INTR);
    out(&host, CNT, START | P_I2C_READ);
    in(&host, STS);
    out(&host, CNT, KILL);
    g_assert_cmphex(in(&host, STS) & (FAILED | BUSY), ==, FAILED);
    out(&host, CNT, 0);
    out(&host, STS, 0xff);
    g_assert_cmphex(read_byte(&host, SPD, 0x81), ==, 0x11);
    stop(&host);
}

/* The longest block leaves the buffer's index at its beginning, not behind its end. */
static void test_the_longest_block(gconstpointer machine)
{
    Host host = start(machine, "128");
    out(&host, AUX, 0);
    out(&host, ADDR, SPD << 1);
    out(&host, CMD, 0x80);
    out(&host, D0, 32);
    out(&host, BLOCK, 0x40);
    out(&host, CNT, START | P_BLOCK);
    in(&host, STS);
    for (uint8_t i = 1; i <= 32; i++) {
        g_assert_cmphex(in(&host, STS), ==, BUSY | BYTE_DONE);
        out(&host, BLOCK, (uint8_t)(0x40 + i));
        out(&host, STS, BYTE_DONE);
    }
    g_assert_cmphex(in(&host, STS), ==, INTR);
    out(&host, STS, INTR);
    out(&host, AUX, BUFFER);
    for (uint8_t i = 0; i < 32; i++) {
        g_assert_cmphex(in(&host, BLOCK), ==, 0x40 + i);
    }
    for (unsigned i = 0; i < 64; i++) {
        out(&host, BLOCK, 0xff);
    }
    g_assert_cmphex(in(&host, CMD), ==, 0x80);
    g_assert_cmphex(in(&host, BLOCK), ==, 0xff);
    g_assert_cmphex(run(&host, SPD << 1 | READ, P_BLOCK, 0x80), ==, INTR);
    g_assert_cmphex(in(&host, D0), ==, 32);
    stop(&host);
}

/* ---- The modules ---- */

static void read_spd(Host *host, unsigned slot, uint8_t *spd)
{
    for (unsigned i = 0; i < 128; i++) {
        spd[i] = read_byte(host, (uint8_t)(SPD + slot), (uint8_t)i);
    }
}

/* Bytes of memory, as a JEDEC DDR2 SPD says it; 0: no module. */
static uint64_t spd_size(const uint8_t *spd)
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < 63; i++) {
        sum = (uint8_t)(sum + spd[i]);
    }
    g_assert_cmphex(sum, ==, spd[63]);
    if (!spd[0]) {
        return 0;
    }
    g_assert_cmphex(spd[2], ==, 8);
    uint64_t rank = (1ULL << (spd[3] + spd[4])) * spd[17] * spd[6] / 8;
    uint64_t density = spd[31] & 0x1f ? (uint64_t)(spd[31] & 0x1f) * GIB
                                      : (uint64_t)(spd[31] & 0xe0) * (4 * MIB);
    g_assert_cmpuint(rank, ==, density);
    return rank * ((spd[5] & 7) + 1U);
}

static void check_modules(const char *machine, const char *ram, uint64_t expected)
{
    Host host = start(machine, ram);
    uint64_t total = 0;
    for (unsigned slot = 0; slot < 8; slot++) {
        uint8_t spd[128];
        read_spd(&host, slot, spd);
        total += spd_size(spd);
    }
    g_assert_cmpuint(total, ==, expected);
    stop(&host);
}

static void test_modules_describe_the_memory(void)
{
    check_modules("q35", "128", 128 * MIB);
    check_modules("q35", "3G", 3 * GIB);
    check_modules("q35", "6784", 6784 * MIB);
    check_modules("pc", "512", 512 * MIB);
    check_modules("pc", "100", 0);
}

/* ---- The functions around it ---- */

static void test_q35_function(void)
{
    Host host = start("q35", "128");
    g_assert_cmphex(qpci_config_read(host.qts, 0, SMB_DEVFN, 0, 4), ==, 0x29308086);
    g_assert_cmphex(qpci_config_read(host.qts, 0, SMB_DEVFN, 8, 4), ==, 0x0c050002);
    g_assert_cmphex(qpci_config_read(host.qts, 0, SMB_DEVFN, 0x3d, 1), ==, 1);
    g_assert_cmpuint(host.pci->bar_size[4], ==, 64);
    qtest_intercept(host.qts);
    out(&host, ADDR, SPD << 1);
    out(&host, CNT, START | INTREN | P_QUICK);
    qtest_wait_irq(host.qts, 16, true);
    g_assert_cmphex(in(&host, STS), ==, INTR);
    out(&host, STS, INTR);
    qtest_wait_irq(host.qts, 16, false);
    /* Disabled, or a plain I2C bus, it does not answer. */
    qpci_config_write(host.qts, 0, SMB_DEVFN, 0x40, 0, 1);
    g_assert_cmphex(in(&host, STS), ==, 0xff);
    qpci_config_write(host.qts, 0, SMB_DEVFN, 0x40, 5, 1);
    g_assert_cmphex(in(&host, ADDR), ==, 0xff);
    qpci_config_write(host.qts, 0, SMB_DEVFN, 0x40, 1, 1);
    g_assert_cmphex(in(&host, ADDR), ==, SPD << 1);
    stop(&host);
}

static void test_piix4_function(void)
{
    Host host = start("pc", "128");
    g_assert_cmphex(qpci_config_read(host.qts, 0, PM_DEVFN, 0x90, 4), ==, 0xb101);
    g_assert_cmphex(qpci_config_read(host.qts, 0, PM_DEVFN, 0xd2, 1), ==, 9);
    g_assert_cmphex(in(&host, AUX), ==, BUFFER);
    stop(&host);
}

static void test_it_can_be_left_out(void)
{
    QTest *qts = qtest_start("-machine q35,smbus=off");
    g_assert_cmphex(qpci_config_read(qts, 0, SMB_DEVFN, 0, 4), ==, 0xffffffff);
    qtest_stop(qts);
    qts = qtest_start("-machine pc,smbus=off");
    g_assert_cmphex(qtest_inb(qts, PIIX_PORT), ==, 0xff);
    g_assert_cmphex(qpci_config_read(qts, 0, PM_DEVFN, 0xd2, 1), ==, 0);
    qtest_stop(qts);
    qtest_assert_refused("-device smbus-eeprom", "smbus-eeprom");
}

static void test_a_reset_brings_the_modules_back(gconstpointer machine)
{
    Host host = start(machine, "128");
    out(&host, D0, 0x55);
    g_assert_cmphex(run(&host, SPD << 1, P_BYTE_DATA, 2), ==, INTR);
    json_object_put(qtest_qmp_ok(host.qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(host.qts, "RESET"));
    if (host.pci) {
        g_free(host.pci);
        host.pci = qpci_open(host.qts, SMB_DEVFN);
        host.port = (uint16_t)host.pci->bar[4];
        qpci_config_write(host.qts, 0, SMB_DEVFN, 0x40, 1, 1);
    }
    g_assert_cmphex(read_byte(&host, SPD, 2), ==, 8);
    stop(&host);
}

static void test_registers_take_anything(gconstpointer machine)
{
    Host host = start(machine, "128");
    g_autoptr(GRand) random = g_rand_new_with_seed(3);
    for (int i = 0; i < 3000; i++) {
        uint16_t port = (uint16_t)(host.port + g_rand_int_range(random, 0, i % 2 ? 16 : 61));
        uint32_t value = g_rand_int(random);
        value = i % 5 ? value : (SPD << 1) + value % 16;
        switch (i % 6) {
        case 0:
            qtest_outl(host.qts, port, value);
            break;
        case 1:
            qtest_inl(host.qts, port);
            break;
        case 2:
            qtest_inw(host.qts, port);
            break;
        default:
            qtest_outb(host.qts, port, (uint8_t)value);
            break;
        }
    }
    out(&host, CNT, KILL);
    out(&host, CNT, 0);
    out(&host, STS, 0xff);
    out(&host, AUX, BUFFER);
    g_assert_cmphex(run(&host, SPD << 1, P_QUICK, 0), ==, INTR);
    stop(&host);
}

static void add(const char *name, GTestDataFunc fn)
{
    static const char *const machines[] = { "q35", "pc" };
    for (size_t i = 0; i < G_N_ELEMENTS(machines); i++) {
        g_autofree char *path = g_strdup_printf("/smbus/%s/%s", machines[i], name);
        g_test_add_data_func(path, machines[i], fn);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("transactions", test_transactions);
    add("nobody-is-an-error", test_nobody_is_an_error);
    add("blocks-through-the-buffer", test_blocks_through_the_buffer);
    add("blocks-byte-by-byte", test_blocks_byte_by_byte);
    add("the-longest-block", test_the_longest_block);
    add("a-reset-brings-the-modules-back", test_a_reset_brings_the_modules_back);
    add("registers-take-anything", test_registers_take_anything);
    g_test_add_func("/smbus/modules-describe-the-memory", test_modules_describe_the_memory);
    g_test_add_func("/smbus/q35-function", test_q35_function);
    g_test_add_func("/smbus/piix4-function", test_piix4_function);
    g_test_add_func("/smbus/it-can-be-left-out", test_it_can_be_left_out);
    return g_test_run();
}
