/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fw_cfg: items, the directory, DMA, what users and the command line put there; hostile drivers. */
#include <glib/gstdio.h>
#include <string.h>
#include "tests/device/libqtest-fw-cfg.h"
#include "vmm/util/bytes.h"

#define SELECTOR   0x510
#define DATA       0x511
#define DMA_HIGH   0x514
#define DMA_LOW    0x518
#define KEY_DIR    0x19
#define RAM_SIZE   (32 * MIB)
#define STRUCTURE  0x1000ULL
#define BUFFER     0x2000ULL
#define CMOS_FIRST 0x3d
#define CMOS_THIRD 0x38

enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

static QTest *start(const char *args)
{
    return qtest_start("-m 32 %s", args);
}

static void read_bytes(QTest *qts, void *data, size_t len)
{
    uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++) {
        bytes[i] = qtest_inb(qts, DATA);
    }
}

static uint64_t read_item(QTest *qts, uint16_t key, unsigned size)
{
    uint8_t bytes[8] = { 0 };
    qtest_outw(qts, SELECTOR, key);
    read_bytes(qts, bytes, size);
    return load_le(bytes, size);
}

/* Runs one DMA command; the control word afterwards. */
static uint32_t dma(QTest *qts, uint32_t control, uint32_t len, uint64_t addr)
{
    uint8_t structure[16];
    store_be32(structure, control);
    store_be32(structure + 4, len);
    store_be64(structure + 8, addr);
    qtest_memwrite(qts, STRUCTURE, structure, sizeof(structure));
    qtest_outl(qts, DMA_HIGH, 0);
    qtest_outl(qts, DMA_LOW, GUINT32_SWAP_LE_BE((uint32_t)STRUCTURE));
    qtest_memread(qts, STRUCTURE, structure, sizeof(structure));
    return load_be32(structure);
}

/* The whole file with a NUL behind it. */
static char *read_file(QTest *qts, const char *name, uint32_t *size)
{
    QfwFile file;
    if (!qfw_find(qts, name, &file)) {
        return NULL;
    }
    char *data = g_malloc0(file.size + 1);
    qtest_outw(qts, SELECTOR, file.key);
    read_bytes(qts, data, file.size);
    if (size) {
        *size = file.size;
    }
    return data;
}

static void assert_file(QTest *qts, const char *name, const char *text)
{
    uint32_t size;
    g_autofree char *data = read_file(qts, name, &size);
    g_assert_cmpstr(data, ==, text);
    g_assert_cmpuint(size, >=, strlen(text));
}

/* ---- Items ---- */

static void test_numbered_items(void)
{
    QTest *qts = start("-smp 2,maxcpus=4 -uuid 12345678-1234-5678-9abc-def012345678");
    char signature[4];
    uint8_t uuid[16];
    qtest_outw(qts, SELECTOR, 0);
    read_bytes(qts, signature, 4);
    g_assert_cmpmem(signature, 4, "QEMU", 4);
    g_assert_cmphex(read_item(qts, 1, 4), ==, 3);
    g_assert_cmphex(read_item(qts, 3, 8), ==, RAM_SIZE);
    g_assert_cmphex(read_item(qts, 5, 2), ==, 2);
    g_assert_cmphex(read_item(qts, 0x0f, 2), ==, 4);
    g_assert_cmphex(read_item(qts, 0x0e, 2), ==, 0);
    qtest_outw(qts, SELECTOR, 2);
    read_bytes(qts, uuid, 16);
    g_assert_cmphex(load_be64(uuid), ==, 0x1234567812345678);
    g_assert_cmphex(load_be64(uuid + 8), ==, 0x9abcdef012345678);
    qtest_stop(qts);
}

static void test_the_end_reads_zero(void)
{
    QTest *qts = start("");
    g_assert_cmphex(read_item(qts, 1, 8), ==, 3);
    g_assert_cmphex(read_item(qts, 0x3fff, 4), ==, 0);
    g_assert_cmphex(read_item(qts, 0xffff, 4), ==, 0);
    g_assert_cmphex(read_item(qts, 0x8007, 4), ==, 0);
    g_assert_cmphex(read_item(qts, 0x8008, 4), ==, 0);
    /* The bit of a channel that is gone does not matter; single bytes do not select. */
    g_assert_cmphex(read_item(qts, 0x4001, 4), ==, 3);
    qtest_outb(qts, SELECTOR, 0);
    qtest_outb(qts, DATA, 0x55);
    g_assert_cmphex(qtest_inb(qts, DATA), ==, 0);
    g_assert_cmphex(read_item(qts, 1, 4), ==, 3);
    qtest_stop(qts);
}

static void test_directory_is_sorted(void)
{
    QTest *qts = start("-fw_cfg opt/zz,string=z -fw_cfg name=opt/aa,string=a");
    uint8_t entry[64], count[4];
    g_autofree char *last = g_strdup("");
    unsigned ours = 0;
    qtest_outw(qts, SELECTOR, KEY_DIR);
    read_bytes(qts, count, 4);
    for (uint32_t i = 0; i < load_be32(count); i++) {
        read_bytes(qts, entry, sizeof(entry));
        const char *name = (const char *)entry + 8;
        g_assert_cmpstr(last, <, name);
        g_assert_cmphex(load_be16(entry + 4), ==, 0x20 + i);
        ours += g_str_has_prefix(name, "opt/");
        g_free(last);
        last = g_strdup(name);
    }
    g_assert_cmpuint(ours, ==, 2);
    assert_file(qts, "opt/aa", "a");
    assert_file(qts, "opt/zz", "z");
    qtest_stop(qts);
}

/* ---- DMA ---- */

static void test_dma_reads_skips_and_selects(void)
{
    QTest *qts = start("-fw_cfg opt/text,string=0123456789");
    char data[17] = { 0 };
    QfwFile file;
    g_assert_true(qfw_find(qts, "opt/text", &file));
    g_assert_cmphex(qtest_inl(qts, DMA_HIGH), ==, 0x554d4551); /* "QEMU" */
    g_assert_cmphex(qtest_inl(qts, DMA_LOW), ==, 0x47464320);  /* " CFG" */
    g_assert_cmphex(dma(qts, (uint32_t)file.key << 16 | DMA_SELECT | DMA_SKIP, 3, 0), ==, 0);
    g_assert_cmphex(dma(qts, DMA_READ, 4, BUFFER), ==, 0);
    qtest_memread(qts, BUFFER, data, 4);
    g_assert_cmpstr(data, ==, "3456");
    /* What is left, then zeroes. */
    qtest_memset(qts, BUFFER, 0xff, 16);
    g_assert_cmphex(dma(qts, DMA_READ, 8, BUFFER), ==, 0);
    qtest_memread(qts, BUFFER, data, 16);
    g_assert_cmpmem(data, 9, "789\0\0\0\0\0\xff", 9);
    g_assert_cmphex(qtest_inb(qts, DATA), ==, 0);
    qtest_stop(qts);
}

/* HARDENING 15: addresses and lengths that do not fit. */
static void test_dma_is_bounded(void)
{
    QTest *qts = start("-fw_cfg opt/text,string=0123456789");
    QfwFile file;
    g_assert_true(qfw_find(qts, "opt/text", &file));
    uint32_t select = (uint32_t)file.key << 16 | DMA_SELECT;
    g_assert_cmphex(dma(qts, select | DMA_READ, 10, RAM_SIZE - 4), ==, DMA_ERROR);
    g_assert_cmphex(dma(qts, select | DMA_READ, 10, UINT64_MAX - 4), ==, DMA_ERROR);
    g_assert_cmphex(dma(qts, select | DMA_READ, UINT32_MAX, BUFFER), ==, DMA_ERROR);
    g_assert_cmphex(dma(qts, select | DMA_READ, 10, 0xfee00000), ==, DMA_ERROR);
    g_assert_cmphex(dma(qts, select | DMA_READ, 0, UINT64_MAX), ==, 0);
    g_assert_cmphex(dma(qts, select | DMA_SKIP, UINT32_MAX, 0), ==, 0);
    g_assert_cmphex(dma(qts, DMA_SKIP, UINT32_MAX, 0), ==, 0);
    g_assert_cmphex(qtest_inb(qts, DATA), ==, 0);
    /* An item that nobody made, a file that is not to be written, no command at all. */
    g_assert_cmphex(dma(qts, 0x3ff0U << 16 | DMA_SELECT | DMA_READ, 4, BUFFER), ==, 0);
    g_assert_cmphex(dma(qts, 0x3ff0U << 16 | DMA_SELECT | DMA_WRITE, 4, BUFFER), ==, DMA_ERROR);
    g_assert_cmphex(dma(qts, select | DMA_WRITE, 4, BUFFER), ==, DMA_ERROR);
    g_assert_cmphex(dma(qts, select, 4, BUFFER), ==, 0);
    g_assert_cmphex(dma(qts, 0, 4, BUFFER), ==, 0);
    assert_file(qts, "opt/text", "0123456789");
    qtest_stop(qts);
}

static void test_dma_structure_outside_ram(void)
{
    QTest *qts = start("");
    static const uint64_t bad[] = { RAM_SIZE - 8, 0xb0000, 0xfee00000, 0xffffffffffffffff };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        qtest_outl(qts, DMA_HIGH, GUINT32_SWAP_LE_BE((uint32_t)(bad[i] >> 32)));
        qtest_outl(qts, DMA_LOW, GUINT32_SWAP_LE_BE((uint32_t)bad[i]));
    }
    /* The high half does not outlive a command. */
    g_assert_cmphex(dma(qts, DMA_SELECT | 1U << 16 | DMA_READ, 4, BUFFER), ==, 0);
    g_assert_cmphex(qtest_read(qts, BUFFER, 4), ==, 3);
    qtest_stop(qts);
}

static void test_every_port_in_every_width(void)
{
    QTest *qts = start("");
    for (uint16_t port = SELECTOR; port < SELECTOR + 16; port++) {
        for (unsigned value = 0; value < 3; value++) {
            qtest_outb(qts, port, (uint8_t)(value * 0x7f));
            qtest_outw(qts, port, (uint16_t)(value * 0x7fff));
            qtest_outl(qts, port, value * 0x7fffffff);
            qtest_inb(qts, port);
            qtest_inw(qts, port);
            qtest_inl(qts, port);
        }
    }
    g_assert_cmphex(read_item(qts, 1, 4), ==, 3);
    qtest_stop(qts);
}

/* ---- What is told ---- */

static void test_boot_order(void)
{
    QTest *qts =
        start("-blockdev null-co,node-name=a,size=1M -blockdev null-co,node-name=b,size=1M "
              "-device virtio-blk-pci,drive=a,bootindex=9,addr=3 "
              "-device virtio-blk-pci,drive=b,bootindex=4,addr=7.1 -boot strict=on");
    assert_file(qts, "bootorder", "/pci@i0cf8/scsi@7,1/disk@0,0\n/pci@i0cf8/scsi@3/disk@0,0\nHALT");
    qtest_stop(qts);
    qts = start("-boot strict=on");
    assert_file(qts, "bootorder", "");
    qtest_stop(qts);
}

static uint8_t cmos(QTest *qts, uint8_t index)
{
    qtest_outb(qts, 0x70, index);
    return qtest_inb(qts, 0x71);
}

static void test_boot_drives(void)
{
    QTest *qts = start("");
    g_assert_cmphex(cmos(qts, CMOS_FIRST), ==, 0x12);
    g_assert_cmphex(cmos(qts, CMOS_THIRD), ==, 0x30);
    qtest_stop(qts);
    qts = start("-boot order=nc,once=d,menu=on,splash-time=500,reboot-timeout=1000");
    g_assert_cmphex(cmos(qts, CMOS_FIRST), ==, 0x03);
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_cmphex(cmos(qts, CMOS_FIRST), ==, 0x24);
    g_assert_cmphex(cmos(qts, CMOS_THIRD), ==, 0);
    g_assert_cmphex(read_item(qts, 0x0e, 2), ==, 1);
    g_autofree char *said = qtest_hmp(qts, "boot_set dc");
    g_autofree char *wrong = qtest_hmp(qts, "boot_set dd");
    g_assert_cmpstr(said, ==, "");
    g_assert_true(g_str_has_prefix(wrong, "Error: boot order dd: 'd' is there twice"));
    json_object_put(qtest_qmp_ok(qts, "{'execute': 'system_reset'}"));
    json_object_put(qtest_event(qts, "RESET"));
    g_assert_cmphex(cmos(qts, CMOS_FIRST), ==, 0x23);
    assert_file(qts, "etc/boot-menu-wait", "\xf4\x01");
    assert_file(qts, "etc/boot-fail-wait", "\xe8\x03");
    qtest_stop(qts);
}

static void test_memory_map(void)
{
    QTest *qts = qtest_start("-m 3G");
    uint32_t size;
    g_autofree char *data = read_file(qts, "etc/e820", &size);
    g_assert_cmpuint(size, ==, 60);
    g_assert_cmphex(load_le32(data + 16), ==, 2);
    g_assert_cmphex(load_le64(data + 20), ==, 0);
    g_assert_cmphex(load_le64(data + 28), ==, 2 * GIB);
    g_assert_cmphex(load_le32(data + 36), ==, 1);
    g_assert_cmphex(load_le64(data + 40), ==, 4 * GIB);
    g_assert_cmphex(load_le64(data + 48), ==, 1 * GIB);
    qtest_stop(qts);
}

static void test_serial_console(void)
{
    QfwFile file;
    QTest *qts = start("-serial null");
    assert_file(qts, "etc/sercon-port", "\xf8\x03");
    qtest_stop(qts);
    qts = start("");
    g_assert_false(qfw_find(qts, "etc/sercon-port", &file));
    qtest_stop(qts);
}

static void test_users_file(void)
{
    g_file_set_contents("test-fw-cfg.txt", "from a file", -1, NULL);
    QTest *qts = start("-fw_cfg name=opt/file,file=test-fw-cfg.txt");
    assert_file(qts, "opt/file", "from a file");
    qtest_stop(qts);
    g_unlink("test-fw-cfg.txt");
}

static void test_wrong_options(void)
{
    static const char *const wrong[][2] = {
        { "-fw_cfg opt/a,file=nix", "'nix': No such file" },
        { "-fw_cfg opt/a", "one of file=FILE and string=TEXT" },
        { "-fw_cfg opt/a,file=x,string=y", "one of file=FILE and string=TEXT" },
        { "-fw_cfg string=y", "name=NAME is missing" },
        { "-fw_cfg opt/a,string=x,nmae=y", "did you mean 'name'" },
        { "-fw_cfg opt/a,string=x -fw_cfg opt/a,string=y", "'opt/a' already" },
        { "-fw_cfg etc/e820,string=x", "'etc/e820' already" },
        { "-fw_cfg opt/"
          "0123456789012345678901234567890123456789012345678901234567890123456789,string=x",
          "1 to 55 are possible" },
        { "-boot order=acdn", "too many drives" },
        { "-boot once=e", "nothing can be booted from 'e'" },
        { "-boot splash=nix", "'nix': No such file" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        qtest_assert_refused(wrong[i][0], wrong[i][1]);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fw-cfg/numbered-items", test_numbered_items);
    g_test_add_func("/fw-cfg/the-end-reads-zero", test_the_end_reads_zero);
    g_test_add_func("/fw-cfg/directory-is-sorted", test_directory_is_sorted);
    g_test_add_func("/fw-cfg/dma-reads-skips-and-selects", test_dma_reads_skips_and_selects);
    g_test_add_func("/fw-cfg/dma-is-bounded", test_dma_is_bounded);
    g_test_add_func("/fw-cfg/dma-structure-outside-ram", test_dma_structure_outside_ram);
    g_test_add_func("/fw-cfg/every-port-in-every-width", test_every_port_in_every_width);
    g_test_add_func("/fw-cfg/boot-order", test_boot_order);
    g_test_add_func("/fw-cfg/boot-drives", test_boot_drives);
    g_test_add_func("/fw-cfg/memory-map", test_memory_map);
    g_test_add_func("/fw-cfg/serial-console", test_serial_console);
    g_test_add_func("/fw-cfg/users-file", test_users_file);
    g_test_add_func("/fw-cfg/wrong-options", test_wrong_options);
    return g_test_run();
}
