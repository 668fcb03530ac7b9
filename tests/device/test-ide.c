/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Legacy IDE over qtest: registers, PIO, bus-master DMA, packets, errors, resets. */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "tests/device/libqtest.h"

#define DISK_BYTES (4 << 20)
#define CD_BYTES   (1 << 20)
#define SECTORS    (DISK_BYTES / 512)
#define BASE       0x1f0
#define CONTROL    0x3f6
#define BM_BAR     4

enum { DATA, ERROR_REG, COUNT, LOW, MID, HIGH, DEVICE, STATUS };
enum { ST_ERR = 1, ST_DRQ = 8, ST_DRDY = 0x40, ST_BSY = 0x80 };
enum {
    READ_SECTORS = 0x20,
    READ_EXT = 0x24,
    WRITE_SECTORS = 0x30,
    VERIFY = 0x40,
    DIAGNOSTIC = 0x90,
    INIT_PARAMS = 0x91,
    PACKET = 0xa0,
    IDENTIFY_PACKET = 0xa1,
    READ_MULTIPLE = 0xc4,
    WRITE_MULTIPLE = 0xc5,
    SET_MULTIPLE = 0xc6,
    READ_DMA = 0xc8,
    WRITE_DMA = 0xca,
    FLUSH = 0xe7,
    IDENTIFY = 0xec,
};

typedef struct Ide {
    char *disk, *cd;
    QTest *qts;
    QPci *pci;
    uint64_t prd, data;
} Ide;

/* ---- The kit ---- */

static uint8_t pattern(unsigned i)
{
    return (uint8_t)(i / 512 * 11 + i % 251);
}

#define PIIX_DEVFN (3 << 3)

static char *make_file(unsigned bytes)
{
    char *path = g_strdup("test-ide-XXXXXX");
    g_autofree uint8_t *data = g_malloc(bytes);
    int fd = g_mkstemp(path);
    for (unsigned i = 0; i < bytes; i++) {
        data[i] = pattern(i);
    }
    g_assert_cmpint(write(fd, data, bytes), ==, bytes);
    close(fd);
    return path;
}

static void ide_open(Ide *ide, const char *options)
{
    *ide = (Ide){ .disk = make_file(DISK_BYTES), .cd = make_file(CD_BYTES) };
    ide->qts = qtest_start("-machine q35,sata=off -device piix3-ide,addr=3 "
                           "-drive if=none,id=d,format=raw,file=%s "
                           "-drive if=none,id=c,format=raw,media=cdrom,file=%s "
                           "-device ide-hd,drive=d,bus=ide.0,unit=0 "
                           "-device ide-cd,id=cd,drive=c,bus=ide.0,unit=1%s",
                           ide->disk, ide->cd, options);
    ide->pci = qpci_find(ide->qts, 0x8086, 0x7010, 0);
    ide->prd = qtest_alloc(ide->qts, 65536, 65536);
    ide->data = qtest_alloc(ide->qts, 1 << 20, 65536);
    qtest_intercept(ide->qts);
}

static void ide_close(Ide *ide)
{
    g_free(ide->pci);
    qtest_stop(ide->qts);
    g_unlink(ide->disk);
    g_unlink(ide->cd);
    g_free(ide->disk);
    g_free(ide->cd);
}

static uint8_t get(Ide *ide, unsigned reg)
{
    return qtest_inb(ide->qts, BASE + reg);
}

static void put(Ide *ide, unsigned reg, uint8_t value)
{
    qtest_outb(ide->qts, BASE + reg, value);
}

/* Waits until the device is not busy: the status. */
static uint8_t wait_ready(Ide *ide)
{
    for (unsigned i = 0;; i++) {
        uint8_t status = qtest_inb(ide->qts, CONTROL);
        if (!(status & ST_BSY)) {
            return status;
        }
        g_assert_cmpuint(i, <, 20000);
        g_usleep(200);
    }
}

static void command(Ide *ide, unsigned unit, uint8_t cmd, uint32_t lba, uint8_t count)
{
    put(ide, DEVICE, (uint8_t)(0xe0 | unit << 4 | (lba >> 24 & 0xf)));
    put(ide, COUNT, count);
    put(ide, LOW, (uint8_t)lba);
    put(ide, MID, (uint8_t)(lba >> 8));
    put(ide, HIGH, (uint8_t)(lba >> 16));
    put(ide, STATUS, cmd);
}

static void read_words(Ide *ide, uint8_t *data, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 2) {
        uint16_t word = qtest_inw(ide->qts, BASE);
        memcpy(data + i, &word, 2);
    }
}

static void write_words(Ide *ide, const uint8_t *data, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 2) {
        qtest_outw(ide->qts, BASE, (uint16_t)(data[i] | data[i + 1] << 8));
    }
}

static void expect_pattern(const uint8_t *data, unsigned bytes, unsigned at)
{
    for (unsigned i = 0; i < bytes; i++) {
        g_assert_cmphex(data[i], ==, pattern(at + i));
    }
}

static void expect_memory(Ide *ide, uint64_t addr, unsigned bytes, unsigned at)
{
    g_autofree uint8_t *data = g_malloc(bytes);
    qtest_memread(ide->qts, addr, data, bytes);
    expect_pattern(data, bytes, at);
}

static void set_prd(Ide *ide, unsigned index, uint32_t addr, uint32_t bytes, bool last)
{
    qtest_write(ide->qts, ide->prd + 8 * index, addr, 4);
    qtest_write(ide->qts, ide->prd + 8 * index + 4, (bytes & 0xffff) | (last ? 1U << 31 : 0), 4);
}

static void bm_start(Ide *ide, bool to_memory)
{
    qpci_write(ide->pci, BM_BAR, 4, (uint32_t)ide->prd, 4);
    qpci_write(ide->pci, BM_BAR, 2, 0x66, 1);
    qpci_write(ide->pci, BM_BAR, 0, to_memory ? 9 : 1, 1);
}

/* Stops the bus master: its status. */
static uint8_t bm_stop(Ide *ide)
{
    uint8_t status = (uint8_t)qpci_read(ide->pci, BM_BAR, 2, 1);
    qpci_write(ide->pci, BM_BAR, 0, 0, 1);
    return status;
}

/* ---- Registers ---- */

static void registers_and_signatures(void)
{
    Ide ide;
    ide_open(&ide, "");
    put(&ide, DEVICE, 0xa0);
    g_assert_cmphex(get(&ide, STATUS), ==, 0x50);
    g_assert_cmphex(get(&ide, COUNT), ==, 1);
    g_assert_cmphex(get(&ide, LOW), ==, 1);
    g_assert_cmphex(get(&ide, MID) | get(&ide, HIGH) << 8, ==, 0);
    g_assert_cmphex(get(&ide, ERROR_REG), ==, 1);
    put(&ide, COUNT, 0x55);
    put(&ide, LOW, 0xaa);
    g_assert_cmphex(get(&ide, COUNT), ==, 0x55);
    g_assert_cmphex(get(&ide, LOW), ==, 0xaa);
    put(&ide, COUNT, 0x12); /* the bytes before are behind HOB */
    qtest_outb(ide.qts, CONTROL, 0x80);
    g_assert_cmphex(get(&ide, COUNT), ==, 0x55);
    qtest_outb(ide.qts, CONTROL, 0x00);
    g_assert_cmphex(get(&ide, COUNT), ==, 0x12);
    /* Software reset. */
    qtest_outb(ide.qts, CONTROL, 0x04);
    g_assert_cmphex(qtest_inb(ide.qts, CONTROL) & ST_BSY, ==, ST_BSY);
    qtest_outb(ide.qts, CONTROL, 0x00);
    g_assert_cmphex(wait_ready(&ide), ==, 0x50);
    put(&ide, DEVICE, 0xb0);
    g_assert_cmphex(get(&ide, STATUS), ==, 0);
    g_assert_cmphex(get(&ide, MID) | get(&ide, HIGH) << 8, ==, 0xeb14);
    put(&ide, DEVICE, 0xa0);
    put(&ide, STATUS, DIAGNOSTIC);
    g_assert_cmphex(get(&ide, ERROR_REG), ==, 1);
    /* A channel without drives. */
    g_assert_cmphex(qtest_inb(ide.qts, 0x177), ==, 0);
    qtest_outb(ide.qts, 0x177, IDENTIFY);
    g_assert_cmphex(qtest_inb(ide.qts, 0x177), ==, 0);
    ide_close(&ide);
}

static void interrupts_are_raised_acknowledged_and_masked(void)
{
    Ide ide;
    ide_open(&ide, "");
    command(&ide, 0, IDENTIFY, 0, 0);
    qtest_wait_irq(ide.qts, 14, true);
    qtest_inb(ide.qts, CONTROL); /* the alternate status leaves it */
    g_assert_true(ide.qts->irq[14]);
    get(&ide, STATUS);
    g_assert_false(ide.qts->irq[14]);
    qtest_outb(ide.qts, CONTROL, 0x02);
    uint8_t page[512];
    read_words(&ide, page, sizeof(page));
    command(&ide, 0, FLUSH, 0, 0);
    wait_ready(&ide);
    g_assert_false(ide.qts->irq[14]);
    qtest_outb(ide.qts, CONTROL, 0x00);
    g_assert_true(ide.qts->irq[14]);
    ide_close(&ide);
}

/* ---- PIO ---- */

/* Linux passes over a channel whose decode bit is not set. */
static void timing_registers_say_that_the_ports_are_decoded(void)
{
    Ide ide;
    ide_open(&ide, "");
    g_assert_cmphex(qpci_config_read(ide.qts, 0, PIIX_DEVFN, 0x40, 4), ==, 0x80008000);
    qpci_config_write(ide.qts, 0, PIIX_DEVFN, 0x40, 0xa307, 2);
    qpci_config_write(ide.qts, 0, PIIX_DEVFN, 0x44, 0x0b, 1);
    g_assert_cmphex(qpci_config_read(ide.qts, 0, PIIX_DEVFN, 0x40, 4), ==, 0x8000a307);
    g_assert_cmphex(qpci_config_read(ide.qts, 0, PIIX_DEVFN, 0x44, 4), ==, 0x0b);
    ide_close(&ide);
}

static void pio_reads_and_writes(void)
{
    Ide ide;
    uint8_t data[8192];
    ide_open(&ide, "");
    command(&ide, 0, READ_SECTORS, 17, 3);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmphex(wait_ready(&ide), ==, 0x58);
        read_words(&ide, data + 512 * i, 512);
    }
    g_assert_cmphex(wait_ready(&ide), ==, 0x50);
    expect_pattern(data, 1536, 17 * 512);
    command(&ide, 0, SET_MULTIPLE, 0, 8);
    g_assert_cmphex(wait_ready(&ide), ==, 0x50);
    command(&ide, 0, READ_MULTIPLE, 100, 12); /* blocks of 8 and 4 sectors */
    g_assert_cmphex(wait_ready(&ide), ==, 0x58);
    read_words(&ide, data, 4096);
    g_assert_cmphex(wait_ready(&ide), ==, 0x58);
    read_words(&ide, data + 4096, 2048);
    g_assert_cmphex(wait_ready(&ide), ==, 0x50);
    expect_pattern(data, 6144, 100 * 512);
    memset(data, 0x77, sizeof(data));
    command(&ide, 0, WRITE_MULTIPLE, SECTORS - 10, 10);
    g_assert_cmphex(wait_ready(&ide), ==, 0x58);
    write_words(&ide, data, 4096);
    g_assert_cmphex(wait_ready(&ide), ==, 0x58);
    write_words(&ide, data, 1024);
    g_assert_cmphex(wait_ready(&ide), ==, 0x50);
    command(&ide, 0, WRITE_SECTORS, 0, 1);
    write_words(&ide, data, 512);
    g_assert_cmphex(wait_ready(&ide), ==, 0x50);
    command(&ide, 0, FLUSH, 0, 0);
    g_assert_cmphex(wait_ready(&ide), ==, 0x50);
    g_autofree char *file = NULL;
    g_assert_true(g_file_get_contents(ide.disk, &file, NULL, NULL));
    g_assert_cmpmem(file, 512, data, 512);
    g_assert_cmpmem(file + (SECTORS - 10) * 512, 5120, data, 5120);
    expect_pattern((uint8_t *)file + 512, (SECTORS - 11) * 512, 512);
    ide_close(&ide);
}

static void cylinders_heads_and_sectors(void)
{
    Ide ide;
    uint8_t data[512];
    ide_open(&ide, "");
    put(&ide, DEVICE, 0xa5); /* head 5 */
    put(&ide, COUNT, 1);
    put(&ide, LOW, 9);
    put(&ide, MID, 3);
    put(&ide, HIGH, 0);
    put(&ide, STATUS, READ_SECTORS);
    g_assert_cmphex(wait_ready(&ide), ==, 0x58);
    read_words(&ide, data, 512);
    expect_pattern(data, 512, ((3 * 16 + 5) * 63 + 8) * 512);
    /* Another geometry. */
    put(&ide, DEVICE, 0xa7);
    put(&ide, COUNT, 17);
    put(&ide, STATUS, INIT_PARAMS);
    g_assert_cmphex(wait_ready(&ide), ==, 0x50);
    put(&ide, DEVICE, 0xa2);
    put(&ide, COUNT, 1);
    put(&ide, LOW, 1);
    put(&ide, MID, 2);
    put(&ide, HIGH, 0);
    put(&ide, STATUS, READ_SECTORS);
    g_assert_cmphex(wait_ready(&ide), ==, 0x58);
    read_words(&ide, data, 512);
    expect_pattern(data, 512, (2 * 8 + 2) * 17 * 512);
    put(&ide, LOW, 18); /* a sector that the track has not */
    put(&ide, COUNT, 1);
    put(&ide, STATUS, READ_SECTORS);
    g_assert_cmphex(wait_ready(&ide) & ST_ERR, ==, ST_ERR);
    g_assert_cmphex(get(&ide, ERROR_REG), ==, 0x10);
    ide_close(&ide);
}

static void errors_are_told(void)
{
    Ide ide;
    ide_open(&ide, "");
    command(&ide, 0, READ_SECTORS, SECTORS - 1, 2);
    g_assert_cmphex(wait_ready(&ide), ==, 0x51);
    g_assert_cmphex(get(&ide, ERROR_REG), ==, 0x10);
    command(&ide, 0, 0xfe, 0, 0);
    g_assert_cmphex(wait_ready(&ide), ==, 0x51);
    g_assert_cmphex(get(&ide, ERROR_REG), ==, 0x04);
    command(&ide, 0, 0x60, 0, 8); /* queued commands are SATA's */
    g_assert_cmphex(wait_ready(&ide), ==, 0x51);
    command(&ide, 0, SET_MULTIPLE, 0, 3);
    g_assert_cmphex(wait_ready(&ide), ==, 0x51);
    command(&ide, 0, VERIFY, 0, 0);
    g_assert_cmphex(wait_ready(&ide), ==, 0x50);
    ide_close(&ide);
}

/* ---- DMA ---- */

static void dma_reads_and_writes(void)
{
    Ide ide;
    ide_open(&ide, "");
    for (unsigned order = 0; order < 2; order++) { /* the command first, or the bus master */
        set_prd(&ide, 0, (uint32_t)ide.data + 2, 1000, false);
        set_prd(&ide, 1, (uint32_t)ide.data + 5000, 128 * 512 - 1000, true);
        if (order) {
            bm_start(&ide, true);
            command(&ide, 0, READ_DMA, 40, 128);
        } else {
            command(&ide, 0, READ_DMA, 40, 128);
            bm_start(&ide, true);
        }
        qtest_wait_irq(ide.qts, 14, true);
        g_assert_cmphex(bm_stop(&ide) & 7, ==, 4);
        g_assert_cmphex(get(&ide, STATUS), ==, 0x50);
        expect_memory(&ide, ide.data + 2, 1000, 40 * 512);
        expect_memory(&ide, ide.data + 5000, 128 * 512 - 1000, 40 * 512 + 1000);
        qtest_memset(ide.qts, ide.data, 0, 128 * 512);
    }
    qtest_memset(ide.qts, ide.data, 0x3c, 65536);
    set_prd(&ide, 0, (uint32_t)ide.data, 0, true); /* 0 is 64 KiB */
    command(&ide, 0, WRITE_DMA, 4096, 128);
    bm_start(&ide, false);
    qtest_wait_irq(ide.qts, 14, true);
    bm_stop(&ide);
    g_assert_cmphex(get(&ide, STATUS), ==, 0x50);
    g_autofree char *file = NULL;
    g_assert_true(g_file_get_contents(ide.disk, &file, NULL, NULL));
    g_assert_cmphex(file[4096 * 512], ==, 0x3c);
    g_assert_cmphex(file[4096 * 512 + 65535], ==, 0x3c);
    expect_pattern((uint8_t *)file + 4096 * 512 + 65536, 512, 4096 * 512 + 65536);
    ide_close(&ide);
}

static void a_longer_table_leaves_the_master_active(void)
{
    Ide ide;
    ide_open(&ide, "");
    set_prd(&ide, 0, (uint32_t)ide.data, 8192, true);
    command(&ide, 0, READ_DMA, 0, 8);
    bm_start(&ide, true);
    qtest_wait_irq(ide.qts, 14, true);
    g_assert_cmphex(bm_stop(&ide) & 7, ==, 5);
    g_assert_cmphex(qpci_read(ide.pci, BM_BAR, 2, 1) & 1, ==, 0);
    ide_close(&ide);
}

/* HARDENING 5, 6, 8, 24. */
static void hostile_tables_fail(void)
{
    Ide ide;
    ide_open(&ide, "");
    const uint32_t bad[] = { 0xfec00000, 0xd0000000, 0xfffffffe };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        set_prd(&ide, 0, bad[i], 4096, true);
        command(&ide, 0, i & 1 ? WRITE_DMA : READ_DMA, 0, 8);
        bm_start(&ide, true);
        qtest_wait_irq(ide.qts, 14, true);
        g_assert_cmphex(bm_stop(&ide) & 7, ==, 6); /* error, not active */
        g_assert_cmphex(get(&ide, STATUS), ==, 0x51);
    }
    set_prd(&ide, 0, (uint32_t)ide.data, 1024, true); /* too short */
    command(&ide, 0, WRITE_DMA, 0, 8);
    bm_start(&ide, true);
    qtest_wait_irq(ide.qts, 14, true);
    g_assert_cmphex(bm_stop(&ide) & 7, ==, 4);
    g_assert_cmphex(get(&ide, STATUS), ==, 0x51);
    /* No last descriptor: 8192 of two bytes each, then it ends. */
    for (unsigned i = 0; i < 8192; i += 64) {
        uint32_t batch[128];
        for (unsigned j = 0; j < 64; j++) {
            batch[2 * j] = (uint32_t)ide.data;
            batch[2 * j + 1] = 2;
        }
        qtest_memwrite(ide.qts, ide.prd + 8 * i, batch, sizeof(batch));
    }
    command(&ide, 0, READ_DMA, 0, 0);
    bm_start(&ide, true);
    qtest_wait_irq(ide.qts, 14, true);
    bm_stop(&ide);
    g_assert_cmphex(get(&ide, STATUS), ==, 0x51);
    /* The table itself outside of memory. */
    ide.prd = 0xe0000000;
    command(&ide, 0, READ_DMA, 0, 8);
    bm_start(&ide, true);
    qtest_wait_irq(ide.qts, 14, true);
    g_assert_cmphex(bm_stop(&ide) & 7, ==, 6);
    ide_close(&ide);
}

/* HARDENING 11: what runs when a reset comes goes where it was to go, or nowhere. */
static void reset_storm_writes_nowhere_else(void)
{
    Ide ide;
    ide_open(&ide, "");
    qtest_memset(ide.qts, ide.data, 0xee, 65536);
    set_prd(&ide, 0, (uint32_t)ide.data, 0, true);
    for (unsigned round = 0; round < 200; round++) {
        command(&ide, 0, WRITE_DMA, 2048, 128);
        bm_start(&ide, false);
        switch (round % 3) {
        case 0:
            qtest_outb(ide.qts, CONTROL, 0x04);
            qtest_outb(ide.qts, CONTROL, 0x00);
            break;
        case 1: /* new registers while it runs */
            put(&ide, LOW, 0);
            put(&ide, MID, 0);
            qpci_write(ide.pci, BM_BAR, 0, 0, 1);
            qtest_outb(ide.qts, CONTROL, 0x04);
            qtest_outb(ide.qts, CONTROL, 0x00);
            break;
        default:
            json_object_put(qtest_qmp_ok(ide.qts, "{'execute':'system_reset'}"));
            json_object_put(qtest_event(ide.qts, "RESET"));
            g_free(ide.pci);
            ide.pci = qpci_find(ide.qts, 0x8086, 0x7010, 0);
            break;
        }
        wait_ready(&ide);
        qpci_write(ide.pci, BM_BAR, 0, 0, 1);
    }
    command(&ide, 0, WRITE_DMA, 2048, 128);
    bm_start(&ide, false);
    qtest_wait_irq(ide.qts, 14, true);
    bm_stop(&ide);
    command(&ide, 0, FLUSH, 0, 0);
    wait_ready(&ide);
    g_autofree char *file = NULL;
    g_assert_true(g_file_get_contents(ide.disk, &file, NULL, NULL));
    for (unsigned i = 0; i < DISK_BYTES; i++) {
        bool written = i >= 2048 * 512 && i < 2048 * 512 + 65536;
        g_assert_cmphex((uint8_t)file[i], ==, written ? 0xee : pattern(i));
    }
    ide_close(&ide);
}

/* ---- Packets (HARDENING 12) ---- */

static void packet(Ide *ide, const uint8_t *cdb, uint16_t limit, bool dma)
{
    put(ide, DEVICE, 0xb0);
    put(ide, ERROR_REG, dma); /* the feature register */
    put(ide, MID, (uint8_t)limit);
    put(ide, HIGH, (uint8_t)(limit >> 8));
    put(ide, STATUS, PACKET);
    g_assert_cmphex(wait_ready(ide) & ST_DRQ, ==, ST_DRQ);
    g_assert_cmphex(get(ide, COUNT) & 3, ==, 1);
    write_words(ide, cdb, 12);
}

/* Reads all data of a packet by PIO: bytes; the status afterwards in *status. */
static unsigned packet_data(Ide *ide, uint8_t *data, unsigned room, unsigned limit, uint8_t *status)
{
    unsigned bytes = 0;
    while ((*status = wait_ready(ide)) & ST_DRQ) {
        unsigned n = get(ide, MID) | get(ide, HIGH) << 8;
        g_assert_cmphex(get(ide, COUNT) & 3, ==, 2);
        g_assert_cmpuint(n, >, 0);
        g_assert_cmpuint(n, <=, limit);
        g_assert_cmpuint(bytes + n, <=, room);
        read_words(ide, data + bytes, n);
        bytes += n;
    }
    return bytes;
}

/* Unit attentions are told first. */
static void settle(Ide *ide)
{
    const uint8_t ready[12] = { 0 };
    for (unsigned i = 0; i < 4; i++) {
        packet(ide, ready, 0xfffe, false);
        if (!(wait_ready(ide) & ST_ERR)) {
            return;
        }
        const uint8_t sense[12] = { 0x03, 0, 0, 0, 18 };
        uint8_t data[64], status;
        packet(ide, sense, 0xfffe, false);
        packet_data(ide, data, sizeof(data), 0xfffe, &status);
    }
    g_assert_not_reached();
}

static void a_packet_device_is_identified(void)
{
    Ide ide;
    uint8_t page[512];
    ide_open(&ide, "");
    command(&ide, 1, IDENTIFY, 0, 0);
    g_assert_cmphex(wait_ready(&ide) & ST_ERR, ==, ST_ERR);
    g_assert_cmphex(get(&ide, MID) | get(&ide, HIGH) << 8, ==, 0xeb14);
    command(&ide, 1, IDENTIFY_PACKET, 0, 0);
    g_assert_cmphex(wait_ready(&ide) & ST_DRQ, ==, ST_DRQ);
    read_words(&ide, page, 512);
    g_assert_cmphex(page[0] | page[1] << 8, ==, 0x85c0);
    g_assert_cmpmem(page + 54, 12, "EQUMD DVR-MO", 12);
    ide_close(&ide);
}

static void packets_read_the_disc(void)
{
    Ide ide;
    uint8_t data[32768], status;
    ide_open(&ide, "");
    settle(&ide);
    const uint8_t read10[12] = { 0x28, 0, 0, 0, 0, 10, 0, 0, 5 };
    const uint16_t limits[] = { 0xfffe, 0xffff, 0, 2048, 4096, 1000, 3 };
    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        unsigned most = limits[i] == 0xffff || !limits[i] ? 0xfffe : MAX(limits[i] & ~1U, 2);
        packet(&ide, read10, limits[i], false);
        g_assert_cmpuint(packet_data(&ide, data, sizeof(data), most, &status), ==, 5 * 2048);
        g_assert_cmphex(status, ==, 0x50);
        g_assert_cmphex(get(&ide, COUNT) & 3, ==, 3);
        expect_pattern(data, 5 * 2048, 10 * 2048);
    }
    set_prd(&ide, 0, (uint32_t)ide.data, 3000, false);
    set_prd(&ide, 1, (uint32_t)ide.data + 3000, 5 * 2048 - 3000, true);
    packet(&ide, read10, 0, true);
    bm_start(&ide, true);
    qtest_wait_irq(ide.qts, 14, true);
    g_assert_cmphex(bm_stop(&ide) & 7, ==, 4);
    g_assert_cmphex(get(&ide, STATUS), ==, 0x50);
    expect_memory(&ide, ide.data, 5 * 2048, 10 * 2048);
    ide_close(&ide);
}

static void packets_beyond_the_disc_fail(void)
{
    Ide ide;
    uint8_t data[65536], status;
    ide_open(&ide, "");
    settle(&ide);
    const uint8_t cdbs[][12] = {
        { 0x28, 0, 0, 0, 0x01, 0xff, 0, 0, 2 },                      /* over the end */
        { 0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1 },                /* far over */
        { 0xa8, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },             /* READ(12) of everything */
        { 0xbe, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x10 }, /* READ CD */
        { 0x43, 0, 9, 9, 9, 9, 9, 0xff, 0xff },       /* READ TOC of a strange format */
        { 0x5a, 0, 0x3f, 0, 0, 0, 0, 0xff, 0xff },    /* MODE SENSE of all pages */
        { 0x4a, 1, 0, 0, 0xff, 0, 0, 0xff, 0xff },    /* GET EVENT STATUS */
        { 0x46, 0, 0xff, 0xff, 0, 0, 0, 0xff, 0xff }, /* GET CONFIGURATION */
        { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
        { 0x2a, 0, 0, 0, 0, 0, 0, 0, 1 },          /* WRITE */
        { 0x55, 0x10, 0, 0, 0, 0, 0, 0xff, 0xff }, /* MODE SELECT */
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cdbs); i++) {
        packet(&ide, cdbs[i], 0xfffe, false);
        for (unsigned n = 0; (status = wait_ready(&ide)) & ST_DRQ; n++) {
            unsigned bytes = get(&ide, MID) | get(&ide, HIGH) << 8;
            g_assert_cmpuint(n, <, 64);
            memset(data, 0xff, bytes);
            if (get(&ide, COUNT) & 2) {
                read_words(&ide, data, bytes);
            } else {
                write_words(&ide, data, bytes);
            }
        }
        g_assert_cmphex(i < 3 ? status & ST_ERR : ST_ERR, ==, ST_ERR);
        settle(&ide);
    }
    ide_close(&ide);
}

static void a_reset_in_the_middle_of_a_packet(void)
{
    Ide ide;
    uint8_t data[4096];
    ide_open(&ide, "");
    settle(&ide);
    const uint8_t read10[12] = { 0x28, 0, 0, 0, 0, 10, 0, 0, 5 };
    for (unsigned round = 0; round < 40; round++) {
        packet(&ide, read10, 2048, false);
        if (round & 1) {
            wait_ready(&ide);
            read_words(&ide, data, 100);
        }
        if (round & 2) {
            put(&ide, STATUS, 0x08); /* DEVICE RESET */
        } else {
            qtest_outb(ide.qts, CONTROL, 0x04);
            qtest_outb(ide.qts, CONTROL, 0x00);
        }
        put(&ide, DEVICE, 0xb0);
        g_assert_cmphex(wait_ready(&ide) & (ST_DRQ | ST_ERR), ==, 0);
        settle(&ide);
    }
    ide_close(&ide);
}

static void discs_are_changed(void)
{
    Ide ide;
    uint8_t data[64], status;
    g_autofree char *other = make_file(DISK_BYTES);
    ide_open(&ide, "");
    settle(&ide);
    const uint8_t ready[12] = { 0 }, sense[12] = { 0x03, 0, 0, 0, 18 };
    const uint8_t capacity[12] = { 0x25 };
    json_object_put(qtest_qmp_ok(ide.qts, "{'execute':'eject','arguments':{'id':'cd'}}"));
    json_object_put(qtest_event(ide.qts, "DEVICE_TRAY_MOVED"));
    bool gone = false;
    for (unsigned i = 0; i < 4 && !gone; i++) {
        packet(&ide, ready, 0xfffe, false);
        g_assert_cmphex(wait_ready(&ide) & ST_ERR, ==, ST_ERR);
        packet(&ide, sense, 0xfffe, false);
        packet_data(&ide, data, sizeof(data), 0xfffe, &status);
        gone = (data[2] & 0xf) == 2 && data[12] == 0x3a;
    }
    g_assert_true(gone);
    json_object_put(qtest_qmp_ok(ide.qts,
                                 "{'execute':'blockdev-change-medium','arguments':{'id':'cd',"
                                 "'filename':'%s','format':'raw'}}",
                                 other));
    settle(&ide);
    packet(&ide, capacity, 0xfffe, false);
    g_assert_cmpuint(packet_data(&ide, data, sizeof(data), 0xfffe, &status), ==, 8);
    g_assert_cmpuint(data[2] << 8 | data[3], ==, DISK_BYTES / 2048 - 1);
    ide_close(&ide);
    g_unlink(other);
}

static void an_empty_drive_has_no_medium(void)
{
    QTest *qts = qtest_start("-cdrom ''");
    g_autofree char *info = qtest_hmp(qts, "info block");
    g_assert_nonnull(strstr(info, "ide2-cd0: [not inserted]"));
    qtest_stop(qts);
}

/* ---- Anything ---- */

static void random_registers(void)
{
    Ide ide;
    GRand *random = g_rand_new_with_seed(3);
    ide_open(&ide, "");
    for (unsigned i = 0; i < 64; i++) {
        set_prd(&ide, i, (uint32_t)(ide.data + g_rand_int(random) % 60000), g_rand_int(random),
                i == 63);
    }
    qpci_write(ide.pci, BM_BAR, 4, (uint32_t)ide.prd, 4);
    for (unsigned i = 0; i < 6000; i++) {
        uint32_t value = g_rand_int(random);
        switch (value >> 28) {
        case 0:
            qpci_write(ide.pci, BM_BAR, value >> 8 & 3, value & 0xff, 1);
            break;
        case 1:
            qtest_outl(ide.qts, BASE + (value >> 16 & 7), value);
            break;
        case 2:
            qtest_inl(ide.qts, BASE + (value >> 16 & 7));
            break;
        case 3:
            qtest_outb(ide.qts, CONTROL, value & 0x86);
            break;
        default:
            qtest_outb(ide.qts, BASE + (value >> 16 & 7), (uint8_t)value);
            break;
        }
    }
    qtest_outb(ide.qts, CONTROL, 0x04);
    qtest_outb(ide.qts, CONTROL, 0x00);
    wait_ready(&ide);
    command(&ide, 0, IDENTIFY, 0, 0);
    g_assert_cmphex(wait_ready(&ide), ==, 0x58);
    g_rand_free(random);
    ide_close(&ide);
}

static void assert_drives(const char *args, const char *names)
{
    QTest *qts = qtest_start_with_defaults("%s", args);
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-block'}");
    g_autoptr(GString) found = g_string_new(NULL);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *entry = json_object_array_get_idx(list, i);
        g_string_append_printf(found, "%s%s", found->len ? " " : "", json_text(entry, "device"));
    }
    g_assert_cmpstr(found->str, ==, names);
    json_object_put(list);
    qtest_stop(qts);
}

static void a_cd_drive_is_there_unless_said_otherwise(void)
{
    assert_drives("-machine q35", "ide2-cd0");
    assert_drives("-machine pc", "ide1-cd0");
    assert_drives("-machine q35 -nodefaults", "");
    assert_drives("-machine q35,sata=off", "");
    assert_drives("-machine microvm", "");
    assert_drives("-machine q35 -drive if=ide,index=2,media=cdrom,id=mine", "mine");
    assert_drives("-machine pc -device ide-cd,id=own,bus=ide.0", "");
}

static void the_default_cd_drive_takes_a_medium(void)
{
    char path[] = "/tmp/vireo-cd-XXXXXX";
    int fd = g_mkstemp(path);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, 1 << 20), ==, 0);
    close(fd);
    QTest *qts = qtest_start_with_defaults("-machine q35");
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'blockdev-change-medium', 'arguments': "
                                 "{'device': 'ide2-cd0', 'filename': '%s', 'format': 'raw'}}",
                                 path));
    json_object *list = qtest_qmp_ok(qts, "{'execute': 'query-block'}");
    g_assert_cmpstr(json_text(json_object_array_get_idx(list, 0), "inserted.file"), ==, path);
    json_object_put(list);
    g_autofree char *said = qtest_hmp(qts, "eject ide2-cd0");
    g_assert_cmpstr(said, ==, "");
    list = qtest_qmp_ok(qts, "{'execute': 'query-block'}");
    g_assert_null(json_at(json_object_array_get_idx(list, 0), "inserted"));
    json_object_put(list);
    qtest_stop(qts);
    g_unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ide/registers-and-signatures", registers_and_signatures);
    g_test_add_func("/ide/interrupts-are-raised-acknowledged-and-masked",
                    interrupts_are_raised_acknowledged_and_masked);
    g_test_add_func("/ide/timing-registers-say-that-the-ports-are-decoded",
                    timing_registers_say_that_the_ports_are_decoded);
    g_test_add_func("/ide/pio-reads-and-writes", pio_reads_and_writes);
    g_test_add_func("/ide/cylinders-heads-and-sectors", cylinders_heads_and_sectors);
    g_test_add_func("/ide/errors-are-told", errors_are_told);
    g_test_add_func("/ide/dma-reads-and-writes", dma_reads_and_writes);
    g_test_add_func("/ide/a-longer-table-leaves-the-master-active",
                    a_longer_table_leaves_the_master_active);
    g_test_add_func("/ide/hostile-tables-fail", hostile_tables_fail);
    g_test_add_func("/ide/reset-storm-writes-nowhere-else", reset_storm_writes_nowhere_else);
    g_test_add_func("/ide/a-packet-device-is-identified", a_packet_device_is_identified);
    g_test_add_func("/ide/packets-read-the-disc", packets_read_the_disc);
    g_test_add_func("/ide/packets-beyond-the-disc-fail", packets_beyond_the_disc_fail);
    g_test_add_func("/ide/a-reset-in-the-middle-of-a-packet", a_reset_in_the_middle_of_a_packet);
    g_test_add_func("/ide/discs-are-changed", discs_are_changed);
    g_test_add_func("/ide/a-cd-drive-is-there-unless-said-otherwise",
                    a_cd_drive_is_there_unless_said_otherwise);
    g_test_add_func("/ide/the-default-cd-drive-takes-a-medium",
                    the_default_cd_drive_takes_a_medium);
    g_test_add_func("/ide/an-empty-drive-has-no-medium", an_empty_drive_has_no_medium);
    g_test_add_func("/ide/random-registers", random_registers);
    return g_test_run();
}
