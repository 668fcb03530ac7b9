/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AHCI over qtest: registers, PIO, DMA, queued commands, errors, hostile tables, resets, hotplug.
 */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "tests/device/libqtest.h"

#define DISK_BYTES (8 << 20)
#define SECTORS    (DISK_BYTES / 512)
#define ABAR       5
#define SLOTS      32

enum { CAP = 0x00, GHC = 0x04, IS = 0x08, PI = 0x0c, VS = 0x10 };
enum {
    PX_CLB = 0x00,
    PX_FB = 0x08,
    PX_IS = 0x10,
    PX_IE = 0x14,
    PX_CMD = 0x18,
    PX_TFD = 0x20,
    PX_SIG = 0x24,
    PX_SSTS = 0x28,
    PX_SCTL = 0x2c,
    PX_SERR = 0x30,
    PX_SACT = 0x34,
    PX_CI = 0x38,
};
enum { CMD_ST = 1, CMD_FRE = 1 << 4, CMD_CR = 1 << 15 };
enum {
    IS_DHRS = 1,
    IS_PSS = 2,
    IS_SDBS = 8,
    IS_PCS = 1 << 6,
    IS_OFS = 1 << 24,
    IS_HBFS = 1 << 29,
    IS_TFES = 1 << 30
};
enum { RX_PIO = 0x20, RX_D2H = 0x40, RX_SDB = 0x58 };

enum {
    READ_SECTORS = 0x20,
    READ_DMA_EXT = 0x25,
    READ_NATIVE_MAX_EXT = 0x27,
    READ_LOG_EXT = 0x2f,
    WRITE_DMA_EXT = 0x35,
    READ_FPDMA = 0x60,
    WRITE_FPDMA = 0x61,
    VERIFY_EXT = 0x42,
    SMART = 0xb0,
    READ_DMA = 0xc8,
    WRITE_DMA = 0xca,
    STANDBY_NOW = 0xe0,
    CHECK_POWER = 0xe5,
    FLUSH_EXT = 0xea,
    IDENTIFY = 0xec,
    SET_FEATURES = 0xef,
    DSM = 0x06,
};

typedef struct Ahci {
    char *path;
    QTest *qts;
    QPci *pci;
    unsigned port;
    uint64_t list, fis, tables, data;
} Ahci;

typedef struct Command {
    uint8_t command, device;
    uint16_t feature, count;
    uint64_t lba;
    bool write;
} Command;

/* ---- The kit ---- */

static uint32_t px(Ahci *a, unsigned reg)
{
    return (uint32_t)qpci_read(a->pci, ABAR, 0x100 + a->port * 0x80 + reg, 4);
}

static void set_px(Ahci *a, unsigned reg, uint32_t value)
{
    qpci_write(a->pci, ABAR, 0x100 + a->port * 0x80 + reg, value, 4);
}

static uint64_t table_of(Ahci *a, unsigned slot)
{
    return a->tables + slot * 0x1000;
}

static void port_start(Ahci *a)
{
    set_px(a, PX_CLB, (uint32_t)a->list);
    set_px(a, PX_CLB + 4, (uint32_t)(a->list >> 32));
    set_px(a, PX_FB, (uint32_t)a->fis);
    set_px(a, PX_FB + 4, (uint32_t)(a->fis >> 32));
    set_px(a, PX_IS, UINT32_MAX);
    set_px(a, PX_CMD, CMD_FRE);
    set_px(a, PX_CMD, CMD_FRE | CMD_ST);
}

static uint8_t pattern(unsigned i)
{
    return (uint8_t)(i / 512 * 7 + i % 253);
}

static void ahci_open(Ahci *a, const char *options)
{
    g_autofree uint8_t *bytes = g_malloc(DISK_BYTES);
    *a = (Ahci){ .path = g_strdup("test-ahci-XXXXXX") };
    int fd = g_mkstemp(a->path);
    for (unsigned i = 0; i < DISK_BYTES; i++) {
        bytes[i] = pattern(i);
    }
    g_assert_cmpint(write(fd, bytes, DISK_BYTES), ==, DISK_BYTES);
    close(fd);
    a->qts = qtest_start("-drive if=none,id=d,format=raw,file=%s,discard=unmap "
                         "-device ide-hd,id=h,drive=d,bus=ide.0,serial=ser-1%s",
                         a->path, options);
    a->pci = qpci_find(a->qts, 0x8086, 0x2922, 0);
    a->list = qtest_alloc(a->qts, 1024, 1024);
    a->fis = qtest_alloc(a->qts, 256, 256);
    a->tables = qtest_alloc(a->qts, SLOTS * 0x1000, 4096);
    a->data = qtest_alloc(a->qts, 4 << 20, 4096);
    qpci_write(a->pci, ABAR, GHC, 0x80000002, 4);
    port_start(a);
}

static void ahci_close(Ahci *a)
{
    g_free(a->pci);
    qtest_stop(a->qts);
    g_unlink(a->path);
    g_free(a->path);
}

/* The command and its FIS, without data; PRDT entries come behind. */
static void build(Ahci *a, unsigned slot, const Command *c, unsigned prdtl)
{
    uint64_t header = a->list + slot * 32, table = table_of(a, slot);
    uint8_t fis[20] = { 0x27, 0x80, c->command };
    fis[3] = (uint8_t)c->feature;
    fis[11] = (uint8_t)(c->feature >> 8);
    for (unsigned i = 0; i < 3; i++) {
        fis[4 + i] = (uint8_t)(c->lba >> (8 * i));
        fis[8 + i] = (uint8_t)(c->lba >> (24 + 8 * i));
    }
    fis[7] = c->device | 0x40;
    fis[12] = (uint8_t)c->count;
    fis[13] = (uint8_t)(c->count >> 8);
    qtest_write(a->qts, header, 5 | (c->write ? 1 << 6 : 0) | (uint32_t)prdtl << 16, 4);
    qtest_write(a->qts, header + 4, 0, 4);
    qtest_write(a->qts, header + 8, table, 8);
    qtest_memwrite(a->qts, table, fis, sizeof(fis));
}

static void prd(Ahci *a, unsigned slot, unsigned index, uint64_t addr, uint32_t bytes)
{
    uint64_t entry = table_of(a, slot) + 0x80 + 16 * index;
    qtest_write(a->qts, entry, addr, 8);
    qtest_write(a->qts, entry + 12, bytes - 1, 4);
}

static void wait_clear(Ahci *a, unsigned reg, uint32_t bits)
{
    for (unsigned i = 0; px(a, reg) & bits; i++) {
        g_assert_cmpuint(i, <, 20000);
        g_usleep(200);
    }
}

/* Waits until PxIS has one of the bits. */
static void wait_is(Ahci *a, uint32_t bits)
{
    for (unsigned i = 0; !(px(a, PX_IS) & bits); i++) {
        g_assert_cmpuint(i, <, 20000);
        g_usleep(200);
    }
}

static void run_raw(Ahci *a)
{
    set_px(a, PX_IS, UINT32_MAX);
    set_px(a, PX_CI, 1);
    wait_clear(a, PX_CI, 1);
    g_assert_cmphex(px(a, PX_TFD) & 0x89, ==, 0);
}

static void run(Ahci *a, Command c, uint64_t addr, uint32_t bytes)
{
    build(a, 0, &c, bytes ? 1 : 0);
    if (bytes) {
        prd(a, 0, 0, addr, bytes);
    }
    run_raw(a);
}

/* A command that must fail: PxTFD. The port runs again afterwards. */
static uint32_t run_failing(Ahci *a, Command c, uint64_t addr, uint32_t bytes)
{
    build(a, 0, &c, bytes ? 1 : 0);
    if (bytes) {
        prd(a, 0, 0, addr, bytes);
    }
    set_px(a, PX_IS, UINT32_MAX);
    set_px(a, PX_CI, 1);
    wait_is(a, IS_TFES | IS_HBFS);
    uint32_t tfd = px(a, PX_TFD);
    g_assert_cmphex(px(a, PX_CI) & 1, ==, 1); /* the failing command stays */
    set_px(a, PX_CMD, CMD_FRE);
    wait_clear(a, PX_CMD, CMD_CR);
    port_start(a);
    return tfd;
}

static void expect_pattern(Ahci *a, uint64_t addr, uint64_t lba, unsigned sectors)
{
    g_autofree uint8_t *data = g_malloc(sectors * 512);
    qtest_memread(a->qts, addr, data, sectors * 512);
    for (unsigned i = 0; i < sectors * 512; i++) {
        g_assert_cmphex(data[i], ==, pattern((unsigned)lba * 512 + i));
    }
}

static uint16_t word(Ahci *a, unsigned n)
{
    return (uint16_t)qtest_read(a->qts, a->data + 2 * n, 2);
}

/* ---- Registers ---- */

static void registers_say_what_is_there(void)
{
    Ahci a;
    ahci_open(&a, "");
    g_assert_cmphex(qpci_config_read(a.qts, 0, 0xfa, 0x08, 4) >> 8, ==, 0x010601);
    qpci_config_write(a.qts, 0, 0xfa, 0x92, 0xffff, 2); /* PCS: Linux turns its ports on */
    g_assert_cmphex(qpci_config_read(a.qts, 0, 0xfa, 0x92, 2), ==, 0x003f);
    g_assert_cmphex(qpci_read(a.pci, ABAR, CAP, 4), ==, 0xc0141f05);
    g_assert_cmphex(qpci_read(a.pci, ABAR, PI, 4), ==, 0x3f);
    g_assert_cmphex(qpci_read(a.pci, ABAR, GHC, 4), ==, 0x80000002);
    g_assert_cmphex(px(&a, PX_SSTS), ==, 0x113);
    g_assert_cmphex(px(&a, PX_SIG), ==, 0x00000101);
    g_assert_cmphex(px(&a, PX_TFD), ==, 0x150);
    a.port = 1;
    g_assert_cmphex(px(&a, PX_SSTS), ==, 0);
    g_assert_cmphex(px(&a, PX_TFD), ==, 0x7f);
    g_assert_cmphex(px(&a, PX_SIG), ==, 0xffffffff);
    /* The index-data pair shows the same registers. */
    qpci_write(a.pci, 4, 0x10, 0x100 + PX_SSTS, 4);
    g_assert_cmphex(qpci_read(a.pci, 4, 0x14, 4), ==, 0x113);
    /* Reset of the adapter. */
    qpci_write(a.pci, ABAR, GHC, 0x80000003, 4);
    g_assert_cmphex(qpci_read(a.pci, ABAR, GHC, 4), ==, 0x80000000);
    a.port = 0;
    g_assert_cmphex(px(&a, PX_CMD) & (CMD_ST | CMD_CR | CMD_FRE), ==, 0);
    g_assert_cmphex(px(&a, PX_IE), ==, 0);
    ahci_close(&a);
}

/* ---- Commands ---- */

static void identify_describes_the_disk(void)
{
    Ahci a;
    uint8_t text[40], fis[20];
    ahci_open(&a, ",model=A-model,ver=1.2,wwn=0x5000c50012345678,rotation_rate=1");
    run(&a, (Command){ .command = IDENTIFY }, a.data, 512);
    g_assert_cmphex(px(&a, PX_IS) & (IS_PSS | IS_DHRS), ==, IS_PSS | IS_DHRS);
    qtest_memread(a.qts, a.fis + RX_PIO, fis, sizeof(fis));
    g_assert_cmphex(fis[0], ==, 0x5f);
    g_assert_cmphex(fis[15], ==, 0x50);
    g_assert_cmphex(fis[16] | fis[17] << 8, ==, 512);
    g_assert_cmpuint(qtest_read(a.qts, a.list + 4, 4), ==, 512); /* PRDBC */
    qtest_memread(a.qts, a.data + 20, text, 20);
    g_assert_cmpmem(text, 6, "es-r 1", 6);
    qtest_memread(a.qts, a.data + 54, text, 40);
    g_assert_cmpmem(text, 8, "-Aomed l", 8);
    g_assert_cmpuint(word(&a, 60) | word(&a, 61) << 16, ==, SECTORS);
    g_assert_cmpuint(word(&a, 100) | word(&a, 101) << 16, ==, SECTORS);
    g_assert_cmpuint(word(&a, 75), ==, 31);
    g_assert_cmphex(word(&a, 76) & 0x100, ==, 0x100);
    g_assert_cmphex(word(&a, 108), ==, 0x5000);
    g_assert_cmphex(word(&a, 111), ==, 0x5678);
    g_assert_cmphex(word(&a, 169), ==, 1);
    g_assert_cmphex(word(&a, 217), ==, 1);
    g_assert_cmphex(word(&a, 106), ==, 0);
    ahci_close(&a);
}

static void sectors_of_4096_bytes(void)
{
    Ahci a;
    ahci_open(&a, ",logical_block_size=4096,physical_block_size=4096");
    run(&a, (Command){ .command = IDENTIFY }, a.data, 512);
    g_assert_cmphex(word(&a, 106), ==, 0x5000);
    g_assert_cmpuint(word(&a, 117) | word(&a, 118) << 16, ==, 2048);
    g_assert_cmpuint(word(&a, 100) | word(&a, 101) << 16, ==, SECTORS / 8);
    run(&a, (Command){ .command = READ_DMA_EXT, .lba = 3, .count = 2 }, a.data, 8192);
    expect_pattern(&a, a.data, 24, 16);
    g_assert_cmphex(
        run_failing(&a, (Command){ .command = READ_DMA_EXT, .lba = SECTORS / 8 - 1, .count = 2 },
                    a.data, 8192),
        ==, 0x1051);
    ahci_close(&a);
}

static void data_moves_both_ways(void)
{
    Ahci a;
    ahci_open(&a, "");
    run(&a, (Command){ .command = READ_SECTORS, .lba = 5, .count = 3 }, a.data, 1536);
    expect_pattern(&a, a.data, 5, 3);
    run(&a, (Command){ .command = READ_DMA, .lba = 100, .count = 0 }, a.data, 256 * 512);
    expect_pattern(&a, a.data, 100, 256);
    g_assert_cmpuint(qtest_read(a.qts, a.list + 4, 4), ==, 256 * 512);
    qtest_memset(a.qts, a.data, 0x5a, 4096);
    run(&a, (Command){ .command = WRITE_DMA_EXT, .lba = SECTORS - 8, .count = 8, .write = true },
        a.data, 4096);
    run(&a, (Command){ .command = FLUSH_EXT }, 0, 0);
    run(&a, (Command){ .command = VERIFY_EXT, .lba = 0, .count = 4096 }, 0, 0);
    run(&a, (Command){ .command = READ_DMA_EXT, .lba = SECTORS - 9, .count = 9 }, a.data + 8192,
        4608);
    expect_pattern(&a, a.data + 8192, SECTORS - 9, 1);
    g_assert_cmphex(qtest_read(a.qts, a.data + 8192 + 512, 8), ==, 0x5a5a5a5a5a5a5a5aULL);
    g_assert_cmphex(qtest_read(a.qts, a.data + 8192 + 4600, 8), ==, 0x5a5a5a5a5a5a5a5aULL);
    ahci_close(&a);
}

/* Pieces of every even length; sector borders fall anywhere, windows end anywhere. */
static void scattered_memory(void)
{
    enum { COUNT = 200 };
    Ahci a;
    ahci_open(&a, "");
    Command c = { .command = READ_DMA_EXT, .lba = 33 };
    uint32_t bytes = 0;
    uint64_t addr = a.data;
    uint64_t pieces[COUNT], lengths[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        lengths[i] = 2 + 2 * (i * 37 % 700);
        if (i == COUNT - 1) {
            lengths[i] += 512 - (bytes + lengths[i]) % 512;
        }
        pieces[i] = addr;
        prd(&a, 0, i, addr, (uint32_t)lengths[i]);
        addr += lengths[i] + 2 * (i % 9);
        bytes += (uint32_t)lengths[i];
    }
    c.count = (uint16_t)(bytes / 512);
    g_assert_cmpuint(bytes % 512, ==, 0);
    build(&a, 0, &c, COUNT);
    run_raw(&a);
    for (unsigned i = 0, at = 33 * 512; i < COUNT; i++) {
        uint8_t data[2048];
        qtest_memread(a.qts, pieces[i], data, lengths[i]);
        for (unsigned j = 0; j < lengths[i]; j++, at++) {
            g_assert_cmphex(data[j], ==, pattern(at));
        }
    }
    ahci_close(&a);
}

static void small_commands(void)
{
    Ahci a;
    uint8_t fis[20];
    ahci_open(&a, "");
    run(&a, (Command){ .command = READ_NATIVE_MAX_EXT }, 0, 0);
    qtest_memread(a.qts, a.fis + RX_D2H, fis, sizeof(fis));
    g_assert_cmpuint(fis[4] | fis[5] << 8 | fis[6] << 16, ==, SECTORS - 1);
    run(&a, (Command){ .command = CHECK_POWER }, 0, 0);
    qtest_memread(a.qts, a.fis + RX_D2H, fis, sizeof(fis));
    g_assert_cmphex(fis[12], ==, 0xff);
    run(&a, (Command){ .command = STANDBY_NOW }, 0, 0);
    run(&a, (Command){ .command = CHECK_POWER }, 0, 0);
    qtest_memread(a.qts, a.fis + RX_D2H, fis, sizeof(fis));
    g_assert_cmphex(fis[12], ==, 0);
    run(&a, (Command){ .command = SET_FEATURES, .feature = 0x82 }, 0, 0);
    run(&a, (Command){ .command = IDENTIFY }, a.data, 512);
    g_assert_cmphex(word(&a, 85) & 0x20, ==, 0);
    run(&a, (Command){ .command = SET_FEATURES, .feature = 0x02 }, 0, 0);
    run(&a, (Command){ .command = SET_FEATURES, .feature = 0x03, .count = 0x42 }, 0, 0);
    run(&a, (Command){ .command = IDENTIFY }, a.data, 512);
    g_assert_cmphex(word(&a, 85) & 0x20, ==, 0x20);
    g_assert_cmphex(word(&a, 88), ==, 0x043f);
    g_assert_cmphex(run_failing(&a, (Command){ .command = 0xff }, 0, 0), ==, 0x451);
    g_assert_cmphex(run_failing(&a, (Command){ .command = 0x00 }, 0, 0), ==, 0x451);
    ahci_close(&a);
}

static void smart_tells_of_a_healthy_disk(void)
{
    Ahci a;
    uint8_t page[512], sum = 0, fis[20];
    ahci_open(&a, "");
    run(&a, (Command){ .command = SMART, .feature = 0xd0, .lba = 0xc24f00 }, a.data, 512);
    qtest_memread(a.qts, a.data, page, 512);
    for (unsigned i = 0; i < 512; i++) {
        sum += page[i];
    }
    g_assert_cmphex(sum, ==, 0);
    g_assert_cmpuint(page[2], ==, 1);
    run(&a, (Command){ .command = SMART, .feature = 0xda, .lba = 0xc24f00 }, 0, 0);
    qtest_memread(a.qts, a.fis + RX_D2H, fis, sizeof(fis));
    g_assert_cmphex(fis[5], ==, 0x4f);
    g_assert_cmphex(fis[6], ==, 0xc2);
    run(&a, (Command){ .command = SMART, .feature = 0xd4, .lba = 0xc24f01 }, 0, 0); /* self-test */
    run(&a, (Command){ .command = SMART, .feature = 0xd5, .lba = 0xc24f06, .count = 1 }, a.data,
        512);
    qtest_memread(a.qts, a.data, page, 512);
    g_assert_cmpuint(page[508], ==, 1);
    run(&a, (Command){ .command = SMART, .feature = 0xd9, .lba = 0xc24f00 }, 0, 0);
    run_failing(&a, (Command){ .command = SMART, .feature = 0xd0, .lba = 0xc24f00 }, a.data, 512);
    run_failing(&a, (Command){ .command = SMART, .feature = 0xd8, .lba = 0 }, 0, 0);
    ahci_close(&a);
}

static void trim_discards_ranges(void)
{
    Ahci a;
    ahci_open(&a, "");
    qtest_memset(a.qts, a.data, 0, 512);
    qtest_write(a.qts, a.data, 64ULL | 16ULL << 48, 8);
    qtest_write(a.qts, a.data + 16, 1024ULL | 8ULL << 48, 8);
    run(&a, (Command){ .command = DSM, .feature = 1, .count = 1, .write = true }, a.data, 512);
    run(&a, (Command){ .command = READ_DMA_EXT, .lba = 63, .count = 18 }, a.data + 4096, 18 * 512);
    expect_pattern(&a, a.data + 4096, 63, 1);
    expect_pattern(&a, a.data + 4096 + 17 * 512, 80, 1);
    g_assert_cmphex(qtest_read(a.qts, a.data + 4096 + 512, 8), ==, 0);
    qtest_write(a.qts, a.data + 24, (SECTORS - 1ULL) | 2ULL << 48, 8); /* beyond the end */
    run_failing(&a, (Command){ .command = DSM, .feature = 1, .count = 1, .write = true }, a.data,
                512);
    run_failing(&a, (Command){ .command = DSM, .feature = 1, .count = 9, .write = true }, a.data,
                9 * 512);
    ahci_close(&a);
}

/* ---- Queued commands ---- */

static void queue(Ahci *a, unsigned slot, bool write, uint64_t lba, uint16_t sectors, uint64_t addr)
{
    Command c = { .command = write ? WRITE_FPDMA : READ_FPDMA,
                  .feature = sectors,
                  .count = (uint16_t)(slot << 3),
                  .lba = lba,
                  .write = write };
    build(a, slot, &c, 1);
    prd(a, slot, 0, addr, sectors * 512U);
}

static void queue_start(Ahci *a, uint32_t slots)
{
    set_px(a, PX_SACT, slots);
    set_px(a, PX_CI, slots);
}

static void thirty_two_queued_commands(void)
{
    Ahci a;
    ahci_open(&a, "");
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        queue(&a, slot, false, slot * 100, 8, a.data + slot * 4096);
    }
    set_px(&a, PX_IS, UINT32_MAX);
    queue_start(&a, UINT32_MAX);
    wait_clear(&a, PX_SACT, UINT32_MAX);
    g_assert_cmphex(px(&a, PX_CI), ==, 0);
    g_assert_cmphex(px(&a, PX_IS) & (IS_SDBS | IS_TFES), ==, IS_SDBS);
    g_assert_cmphex(qtest_read(a.qts, a.fis + RX_SDB, 1), ==, 0xa1);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        expect_pattern(&a, a.data + slot * 4096, slot * 100, 8);
    }
    ahci_close(&a);
}

static void a_queued_error_names_its_tag(void)
{
    Ahci a;
    ahci_open(&a, "");
    queue(&a, 3, false, 0, 8, a.data);
    queue(&a, 9, false, SECTORS - 1, 2, a.data + 4096);
    set_px(&a, PX_IS, UINT32_MAX);
    queue_start(&a, 1 << 3);
    wait_clear(&a, PX_SACT, 1 << 3);
    queue_start(&a, 1 << 9);
    wait_is(&a, IS_TFES);
    g_assert_cmphex(px(&a, PX_SACT), ==, 1 << 9);
    g_assert_cmphex(px(&a, PX_TFD), ==, 0x1051);
    set_px(&a, PX_CMD, CMD_FRE);
    wait_clear(&a, PX_CMD, CMD_CR);
    g_assert_cmphex(px(&a, PX_SACT), ==, 0);
    port_start(&a);
    run(&a, (Command){ .command = READ_LOG_EXT, .lba = 0x10, .count = 1 }, a.data, 512);
    g_assert_cmphex(qtest_read(a.qts, a.data, 1), ==, 9);
    g_assert_cmphex(qtest_read(a.qts, a.data + 3, 1), ==, 0x10);
    /* A tag that is not the slot's. */
    queue(&a, 5, false, 0, 8, a.data);
    qtest_write(a.qts, table_of(&a, 5) + 12, 6 << 3, 1);
    queue_start(&a, 1 << 5);
    wait_is(&a, IS_TFES);
    ahci_close(&a);
}

static void plain_and_queued_commands_take_turns(void)
{
    Ahci a;
    ahci_open(&a, "");
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned slot = 0; slot < 8; slot++) {
            if (slot % 3 == 2) {
                Command c = { .command = READ_DMA_EXT, .lba = slot * 50, .count = 8 };
                build(&a, slot, &c, 1);
                prd(&a, slot, 0, a.data + slot * 4096, 4096);
            } else {
                queue(&a, slot, false, slot * 50, 8, a.data + slot * 4096);
            }
        }
        queue_start(&a, 0xff & ~(1 << 2 | 1 << 5));
        set_px(&a, PX_CI, 1 << 2 | 1 << 5);
        wait_clear(&a, PX_SACT, 0xff);
        wait_clear(&a, PX_CI, 0xff);
        for (unsigned slot = 0; slot < 8; slot++) {
            expect_pattern(&a, a.data + slot * 4096, slot * 50, 8);
        }
    }
    ahci_close(&a);
}

/* ---- Interrupts ---- */

static void an_interrupt_tells_of_completion(void)
{
    Ahci a;
    ahci_open(&a, "");
    qtest_intercept(a.qts);
    set_px(&a, PX_IE, IS_DHRS | IS_SDBS | IS_TFES);
    run(&a, (Command){ .command = FLUSH_EXT }, 0, 0);
    g_assert_cmphex(qpci_read(a.pci, ABAR, IS, 4), ==, 1);
    bool any = false;
    for (unsigned gsi = 16; gsi < 24; gsi++) {
        any |= a.qts->irq[gsi];
    }
    g_assert_true(any);
    set_px(&a, PX_IS, UINT32_MAX);
    g_assert_cmphex(qpci_read(a.pci, ABAR, IS, 4), ==, 1); /* latched until it is cleared */
    qpci_write(a.pci, ABAR, IS, 1, 4);
    g_assert_cmphex(qpci_read(a.pci, ABAR, IS, 4), ==, 0);
    for (unsigned gsi = 16; gsi < 24; gsi++) {
        g_assert_false(a.qts->irq[gsi]);
    }
    ahci_close(&a);
}

/* ---- Hostile tables (HARDENING 5, 6, 8, 10, 24) ---- */

static void tables_outside_of_memory_fail(void)
{
    Ahci a;
    ahci_open(&a, "");
    uint64_t self = a.pci->bar[ABAR];
    Command c = { .command = READ_DMA_EXT, .lba = 0, .count = 8 };
    /* The adapter's own registers, nothing, the end of the address space, one byte of a wrap. */
    const uint64_t bad[] = { self, 0xfffffff000000000ULL, UINT64_MAX - 4094, 0xd0000000 };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_cmphex(run_failing(&a, c, bad[i], 4096) & 0xff, ==, 0x51);
        run_failing(&a, (Command){ .command = IDENTIFY }, bad[i], 512);
        c.command = i & 1 ? READ_DMA_EXT : WRITE_DMA_EXT;
    }
    run(&a, (Command){ .command = READ_DMA_EXT, .lba = 7, .count = 1 }, a.data, 512);
    expect_pattern(&a, a.data, 7, 1);
    /* The command table. */
    build(&a, 0, &c, 1);
    qtest_write(a.qts, a.list + 8, 0xffffff0000000080ULL, 8);
    set_px(&a, PX_CI, 1);
    wait_is(&a, IS_HBFS);
    set_px(&a, PX_CMD, CMD_FRE);
    /* The command list, the received FISes. */
    set_px(&a, PX_CLB + 4, 0xffff);
    set_px(&a, PX_FB + 4, 0xffff);
    set_px(&a, PX_IS, UINT32_MAX);
    set_px(&a, PX_CMD, CMD_FRE | CMD_ST);
    set_px(&a, PX_CI, UINT32_MAX);
    wait_is(&a, IS_HBFS);
    set_px(&a, PX_CMD, 0);
    port_start(&a);
    run(&a, (Command){ .command = READ_DMA_EXT, .lba = 7, .count = 1 }, a.data, 512);
    ahci_close(&a);
}

static void too_little_memory_fails(void)
{
    Ahci a;
    ahci_open(&a, "");
    Command c = { .command = READ_DMA_EXT, .lba = 0, .count = 8 };
    g_assert_cmphex(run_failing(&a, c, 0, 0) & 0xff, ==, 0x51);
    g_assert_cmphex(run_failing(&a, c, a.data, 1024) & 0xff, ==, 0x51);
    c.command = WRITE_DMA_EXT;
    g_assert_cmphex(run_failing(&a, c, a.data, 100) & 0xff, ==, 0x51);
    /* 65535 pieces of two bytes: the table leaves memory or not, nothing hangs. */
    c.command = READ_DMA_EXT;
    c.count = 0;
    build(&a, 0, &c, 65535);
    set_px(&a, PX_CI, 1);
    wait_is(&a, IS_TFES | IS_DHRS);
    ahci_close(&a);
}

static void garbage_in_every_slot(void)
{
    Ahci a;
    GRand *random = g_rand_new_with_seed(7);
    ahci_open(&a, "");
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            uint8_t bytes[0x100];
            for (unsigned i = 0; i < sizeof(bytes); i++) {
                bytes[i] = (uint8_t)g_rand_int(random);
            }
            build(&a, slot, &(Command){ .command = 0 }, g_rand_int(random) % 5);
            bytes[0] = 0x27;
            bytes[1] |= round & 1 ? 0x80 : 0;
            qtest_memwrite(a.qts, table_of(&a, slot), bytes, sizeof(bytes));
            for (unsigned i = 0; i < 5; i++) {
                prd(&a, slot, i, a.data + g_rand_int(random) % (1 << 20),
                    1 + g_rand_int(random) % 99);
            }
        }
        set_px(&a, PX_SACT, g_rand_int(random));
        set_px(&a, PX_CI, g_rand_int(random));
        g_usleep(500);
        set_px(&a, PX_CMD, CMD_FRE);
        wait_clear(&a, PX_CMD, CMD_CR);
        port_start(&a);
    }
    g_rand_free(random);
    ahci_close(&a);
}

/* ---- Resets and pauses with I/O in flight (HARDENING 11) ---- */

static void check_disk(Ahci *a, const uint8_t *model)
{
    g_autofree char *now = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(a->path, &now, &size, NULL));
    g_assert_cmpmem(now, size, model, DISK_BYTES);
}

/* The ways of stopping a port, in turn. */
static void interrupt_port(Ahci *a, unsigned how)
{
    switch (how % 4) {
    case 0: /* COMRESET */
        set_px(a, PX_CMD, CMD_FRE);
        set_px(a, PX_SCTL, 0x301);
        set_px(a, PX_SCTL, 0x300);
        break;
    case 1: /* the adapter */
        qpci_write(a->pci, ABAR, GHC, 0x80000001, 4);
        for (unsigned i = 0; qpci_read(a->pci, ABAR, GHC, 4) & 1; i++) {
            g_assert_cmpuint(i, <, 20000);
            g_usleep(200);
        }
        break;
    case 2: /* the list */
        set_px(a, PX_CMD, CMD_FRE);
        break;
    default: /* the machine */
        json_object_put(qtest_qmp_ok(a->qts, "{'execute':'system_reset'}"));
        json_object_put(qtest_event(a->qts, "RESET"));
        g_free(a->pci);
        a->pci = qpci_find(a->qts, 0x8086, 0x2922, 0);
        qpci_write(a->pci, ABAR, GHC, 0x80000002, 4);
        break;
    }
    wait_clear(a, PX_CMD, CMD_CR);
    set_px(a, PX_CMD, 0);
    port_start(a);
    for (unsigned i = 0; (px(a, PX_SSTS) & 0xf) != 3; i++) {
        g_assert_cmpuint(i, <, 20000);
        g_usleep(200);
    }
}

static void reset_storm_writes_nowhere_else(void)
{
    Ahci a;
    g_autofree uint8_t *model = g_malloc(DISK_BYTES);
    ahci_open(&a, "");
    for (unsigned i = 0; i < DISK_BYTES; i++) {
        model[i] = pattern(i);
    }
    qtest_memset(a.qts, a.data, 0xee, 64 * 512);
    for (unsigned round = 0; round < 80; round++) {
        uint32_t slots = 0;
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            uint64_t lba = 4096 + (round * SLOTS + slot) % 64 * 64;
            queue(&a, slot, true, lba, 64, a.data);
            slots |= 1U << slot;
        }
        queue_start(&a, slots);
        interrupt_port(&a, round);
    }
    /* Each region is whole and new, or was never begun; then all are written for good. */
    for (unsigned i = 0; i < 64; i++) {
        run(&a,
            (Command){ .command = WRITE_DMA_EXT, .lba = 4096 + i * 64, .count = 64, .write = true },
            a.data, 64 * 512);
    }
    memset(model + 4096 * 512, 0xee, 64 * 64 * 512);
    run(&a, (Command){ .command = FLUSH_EXT }, 0, 0);
    check_disk(&a, model);
    ahci_close(&a);
}

static void stop_and_cont_lose_nothing(void)
{
    Ahci a;
    ahci_open(&a, "");
    for (unsigned round = 0; round < 30; round++) {
        qtest_memset(a.qts, a.data, 0, SLOTS * 4096);
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            queue(&a, slot, false, round * 64 + slot * 100, 8, a.data + slot * 4096);
        }
        queue_start(&a, UINT32_MAX);
        json_object_put(qtest_qmp_ok(a.qts, "{'execute':'stop'}"));
        json_object_put(qtest_qmp_ok(a.qts, "{'execute':'cont'}"));
        wait_clear(&a, PX_SACT, UINT32_MAX);
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            expect_pattern(&a, a.data + slot * 4096, round * 64 + slot * 100, 8);
        }
    }
    ahci_close(&a);
}

static void a_software_reset_by_fis(void)
{
    Ahci a;
    uint8_t fis[20] = { 0x27, 0 };
    ahci_open(&a, "");
    run(&a, (Command){ .command = CHECK_POWER }, 0, 0);
    for (unsigned i = 0; i < 2; i++) {
        fis[15] = i ? 0 : 4;
        qtest_memwrite(a.qts, table_of(&a, 0), fis, sizeof(fis));
        set_px(&a, PX_CI, 1);
        wait_clear(&a, PX_CI, 1);
    }
    g_assert_cmphex(px(&a, PX_SIG), ==, 0x101);
    g_assert_cmphex(px(&a, PX_TFD), ==, 0x150);
    ahci_close(&a);
}

/* ---- Drives that come and go ---- */

static void a_drive_is_plugged_and_unplugged(void)
{
    Ahci a;
    ahci_open(&a, " -blockdev driver=null-co,node-name=n,size=1M,read-zeroes=on");
    a.port = 2;
    set_px(&a, PX_SERR, UINT32_MAX);
    set_px(&a, PX_IS, UINT32_MAX);
    json_object_put(qtest_qmp_ok(a.qts, "{'execute':'device_add','arguments':{'driver':'ide-hd',"
                                        "'id':'new','drive':'n','bus':'ide.2'}}"));
    g_assert_cmphex(px(&a, PX_SSTS), ==, 0x113);
    g_assert_cmphex(px(&a, PX_IS) & IS_PCS, ==, IS_PCS);
    g_assert_cmphex(px(&a, PX_SERR) & 1 << 26, ==, 1 << 26);
    port_start(&a);
    run(&a, (Command){ .command = IDENTIFY }, a.data, 512);
    g_assert_cmpuint(word(&a, 60), ==, 2048);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        queue(&a, slot, false, slot, 8, a.data);
    }
    queue_start(&a, UINT32_MAX);
    json_object_put(qtest_qmp_ok(a.qts, "{'execute':'device_del','arguments':{'id':'new'}}"));
    json_object_put(qtest_event(a.qts, "DEVICE_DELETED"));
    g_assert_cmphex(px(&a, PX_SSTS), ==, 0);
    set_px(&a, PX_CI, 1); /* nobody there: nothing happens */
    a.port = 0;
    run(&a, (Command){ .command = IDENTIFY }, a.data, 512);
    ahci_close(&a);
}

/* ---- Command lines ---- */

static void places_are_checked(void)
{
    int status;
    g_autofree char *taken = qtest_run_failing(
        &status, "-blockdev driver=null-co,node-name=a -blockdev driver=null-co,node-name=b "
                 "-device ide-hd,drive=a,bus=ide.1 -device ide-hd,drive=b,bus=ide.1");
    g_assert_cmpint(status, ==, 1);
    g_assert_nonnull(strstr(taken, "ide.1"));
    g_autofree char *unit = qtest_run_failing(
        &status, "-blockdev driver=null-co,node-name=a -device ide-hd,drive=a,bus=ide.1,unit=1");
    g_assert_nonnull(strstr(unit, "unit"));
    g_autofree char *size = qtest_run_failing(
        &status, "-blockdev driver=null-co,node-name=a -device ide-hd,drive=a,bus=ide.1,"
                 "logical_block_size=2048");
    g_assert_nonnull(strstr(size, "logical_block_size=2048"));
    g_autofree char *none = qtest_run_failing(&status, "-device ide-hd,bus=ide.1");
    g_assert_nonnull(strstr(none, "drive="));
    g_autofree char *off =
        qtest_run_failing(&status, "-machine q35,sata=off -drive if=ide,driver=null-co");
    g_assert_nonnull(strstr(off, "ide.0"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ahci/registers-say-what-is-there", registers_say_what_is_there);
    g_test_add_func("/ahci/identify-describes-the-disk", identify_describes_the_disk);
    g_test_add_func("/ahci/sectors-of-4096-bytes", sectors_of_4096_bytes);
    g_test_add_func("/ahci/data-moves-both-ways", data_moves_both_ways);
    g_test_add_func("/ahci/scattered-memory", scattered_memory);
    g_test_add_func("/ahci/small-commands", small_commands);
    g_test_add_func("/ahci/smart-tells-of-a-healthy-disk", smart_tells_of_a_healthy_disk);
    g_test_add_func("/ahci/trim-discards-ranges", trim_discards_ranges);
    g_test_add_func("/ahci/thirty-two-queued-commands", thirty_two_queued_commands);
    g_test_add_func("/ahci/a-queued-error-names-its-tag", a_queued_error_names_its_tag);
    g_test_add_func("/ahci/plain-and-queued-commands-take-turns",
                    plain_and_queued_commands_take_turns);
    g_test_add_func("/ahci/an-interrupt-tells-of-completion", an_interrupt_tells_of_completion);
    g_test_add_func("/ahci/tables-outside-of-memory-fail", tables_outside_of_memory_fail);
    g_test_add_func("/ahci/too-little-memory-fails", too_little_memory_fails);
    g_test_add_func("/ahci/garbage-in-every-slot", garbage_in_every_slot);
    g_test_add_func("/ahci/reset-storm-writes-nowhere-else", reset_storm_writes_nowhere_else);
    g_test_add_func("/ahci/stop-and-cont-lose-nothing", stop_and_cont_lose_nothing);
    g_test_add_func("/ahci/a-software-reset-by-fis", a_software_reset_by_fis);
    g_test_add_func("/ahci/a-drive-is-plugged-and-unplugged", a_drive_is_plugged_and_unplugged);
    g_test_add_func("/ahci/places-are-checked", places_are_checked);
    return g_test_run();
}
