/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IDE and AHCI saved in the middle of their work and restored into another machine. */
#include <glib/gstdio.h>
#include <unistd.h>
#include "block/block.h"
#include "hw/pci/pci.h"
#include "tests/unit/pc-machine.h"

#define DISK_BYTES (1 << 20)
#define PIIX       0x0009 /* 01.1 */
#define AHCI       0x00fa /* 1f.2 */
#define BM         0xc000
#define ABAR       0xc1000000ULL
#define LIST       0x100000ULL
#define FIS        0x101000ULL
#define TABLES     0x110000ULL
#define DATA       0x200000ULL
#define BASE       0x1f0
#define CONTROL    0x3f6

static char *path;

static uint8_t pattern(unsigned i)
{
    return (uint8_t)(i / 512 * 13 + i % 251);
}

static void add_drive(Machine *machine, const char *class, unsigned bus, const char *node)
{
    GError *error = NULL;
    g_autofree char *name = g_strdup_printf("ide.%u", bus);
    Device *dev = device_new(device_class_find(class), NULL);
    device_set_prop(dev, "drive", node, &error);
    g_assert_no_error(error);
    device_realize(dev, machine, bus_find(machine, name), &error);
    g_assert_no_error(error);
}

static Machine *start(const char *board)
{
    bool pc = strcmp(board, "pc") == 0;
    Machine *machine = pc_machine_new(board, NULL);
    add_drive(machine, "ide-hd", 0, "disk");
    add_drive(machine, "ide-cd", pc ? 0 : 1, "disc");
    if (pc) {
        pc_config_write(machine, PIIX, 0x20, BM);
        pc_config_write(machine, PIIX, 0x04, 5);
    } else {
        pc_config_write(machine, AHCI, 0x24, (uint32_t)ABAR);
        pc_config_write(machine, AHCI, 0x04, 6);
    }
    return machine;
}

/* Saves, ends that machine, and goes on in another that has the same memory. */
static Machine *move(Machine *machine, const char *board)
{
    g_autoptr(GByteArray) state = g_byte_array_new(), again = g_byte_array_new();
    g_autofree uint8_t *memory = g_malloc(4 << 20);
    GError *error = NULL;
    devices_quiesce(machine);
    devices_save(machine, state);
    g_assert_true(address_space_read(machine->memory, 0x100000, memory, 3 << 20));
    devices_resume(machine);
    machine_free(machine);
    machine = start(board);
    devices_quiesce(machine);
    g_assert_true(address_space_write(machine->memory, 0x100000, memory, 3 << 20));
    devices_load(machine, state->data, state->len, &error);
    g_assert_no_error(error);
    devices_save(machine, again);
    g_assert_cmpmem(again->data, again->len, state->data, state->len);
    devices_resume(machine);
    return machine;
}

static void expect_memory(Machine *machine, uint64_t addr, unsigned bytes, unsigned at)
{
    g_autofree uint8_t *data = g_malloc(bytes);
    g_assert_true(address_space_read(machine->memory, addr, data, bytes));
    for (unsigned i = 0; i < bytes; i++) {
        g_assert_cmphex(data[i], ==, pattern(at + i));
    }
}

/* ---- Legacy ---- */

static void put(Machine *machine, unsigned reg, uint8_t value)
{
    pc_write(machine->io, BASE + reg, value, 1);
}

static uint8_t wait_ready(Machine *machine)
{
    uint8_t status;
    for (unsigned i = 0; (status = (uint8_t)pc_read(machine->io, CONTROL, 1)) & 0x80; i++) {
        g_assert_cmpuint(i, <, 20000);
        g_usleep(200);
    }
    return status;
}

static void command(Machine *machine, uint8_t device, uint8_t cmd, uint32_t lba, uint8_t count)
{
    put(machine, 6, device);
    put(machine, 2, count);
    put(machine, 3, (uint8_t)lba);
    put(machine, 4, (uint8_t)(lba >> 8));
    put(machine, 5, (uint8_t)(lba >> 16));
    put(machine, 7, cmd);
}

static void expect_words(Machine *machine, unsigned bytes, unsigned at)
{
    for (unsigned i = 0; i < bytes; i += 2) {
        uint16_t word = (uint16_t)pc_read(machine->io, BASE, 2);
        g_assert_cmphex(word, ==, pattern(at + i) | pattern(at + i + 1) << 8);
    }
}

static void a_pio_read_goes_on(void)
{
    Machine *machine = start("pc");
    command(machine, 0xe0, 0x20, 9, 3);
    g_assert_cmphex(wait_ready(machine), ==, 0x58);
    expect_words(machine, 512, 9 * 512);
    g_assert_cmphex(wait_ready(machine), ==, 0x58);
    expect_words(machine, 100, 10 * 512);
    machine = move(machine, "pc");
    g_assert_cmphex(wait_ready(machine), ==, 0x58);
    expect_words(machine, 412, 10 * 512 + 100);
    g_assert_cmphex(wait_ready(machine), ==, 0x58);
    expect_words(machine, 512, 11 * 512);
    g_assert_cmphex(wait_ready(machine), ==, 0x50);
    machine_free(machine);
}

static void a_pio_write_goes_on(void)
{
    Machine *machine = start("pc");
    command(machine, 0xe0, 0x30, 1000, 2);
    for (unsigned i = 0; i < 512; i += 2) {
        if (i == 64) {
            machine = move(machine, "pc");
        }
        pc_write(machine->io, BASE, i, 2);
    }
    g_assert_cmphex(wait_ready(machine), ==, 0x58);
    for (unsigned i = 512; i < 1024; i += 2) {
        pc_write(machine->io, BASE, i, 2);
    }
    g_assert_cmphex(wait_ready(machine), ==, 0x50);
    g_autofree char *file = NULL;
    g_assert_true(g_file_get_contents(path, &file, NULL, NULL));
    for (unsigned i = 0; i < 1024; i += 2) {
        g_assert_cmphex(load_le16(file + 1000 * 512 + i), ==, i);
    }
    machine_free(machine);
}

static void set_prd(Machine *machine)
{
    pc_write(machine->memory, TABLES, DATA, 4);
    pc_write(machine->memory, TABLES + 4, 0x80000000u | 8192, 4);
    pc_write(machine->io, BM + 4, TABLES, 4);
}

static void dma_that_was_not_begun_is_begun(void)
{
    Machine *machine = start("pc");
    set_prd(machine);
    devices_quiesce(machine); /* the task must leave it */
    command(machine, 0xe0, 0xc8, 77, 16);
    pc_write(machine->io, BM, 9, 1);
    machine = move(machine, "pc");
    g_assert_cmphex(wait_ready(machine), ==, 0x50);
    g_assert_cmphex(pc_read(machine->io, BM + 2, 1) & 7, ==, 4);
    expect_memory(machine, DATA, 8192, 77 * 512);
    machine_free(machine);
}

static void send_packet(Machine *machine, const uint8_t *cdb, uint16_t limit)
{
    put(machine, 6, 0xb0);
    put(machine, 1, 0);
    put(machine, 4, (uint8_t)limit);
    put(machine, 5, (uint8_t)(limit >> 8));
    put(machine, 7, 0xa0);
    for (unsigned i = 0; i < 12; i += 2) {
        pc_write(machine->io, BASE, cdb[i] | cdb[i + 1] << 8, 2);
    }
}

static void a_packet_goes_on(void)
{
    static const uint8_t ready[12] = { 0 }, read10[12] = { 0x28, 0, 0, 0, 0, 20, 0, 0, 6 };
    Machine *machine = start("pc");
    for (unsigned i = 0; i < 4; i++) { /* unit attentions */
        send_packet(machine, ready, 64);
        wait_ready(machine);
    }
    send_packet(machine, read10, 4096);
    unsigned at = 20 * 2048;
    for (unsigned window = 0; window < 3; window++) {
        g_assert_cmphex(wait_ready(machine) & 0x89, ==, 0x08);
        g_assert_cmphex(pc_read(machine->io, BASE + 4, 1) | pc_read(machine->io, BASE + 5, 1) << 8,
                        ==, 4096);
        expect_words(machine, 1000, at);
        machine = move(machine, "pc");
        expect_words(machine, 3096, at + 1000);
        at += 4096;
    }
    g_assert_cmphex(wait_ready(machine), ==, 0x50);
    machine_free(machine);
}

/* ---- AHCI ---- */

static uint64_t px(unsigned reg)
{
    return ABAR + 0x100 + reg;
}

static void build_queue(Machine *machine)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        uint64_t table = TABLES + slot * 0x1000;
        unsigned lba = slot * 60;
        const uint8_t fis[20] = {
            0x27, 0x80, 0x60, 8, (uint8_t)lba,        (uint8_t)(lba >> 8), 0, 0x40,
            0,    0,    0,    0, (uint8_t)(slot << 3)
        };
        pc_write(machine->memory, LIST + slot * 32, 5 | 1 << 16, 4);
        pc_write(machine->memory, LIST + slot * 32 + 8, table, 8);
        address_space_write(machine->memory, table, fis, sizeof(fis));
        pc_write(machine->memory, table + 0x80, DATA + slot * 4096, 8);
        pc_write(machine->memory, table + 0x8c, 4095, 4);
    }
    pc_write(machine->memory, ABAR + 4, 0x80000002, 4);
    pc_write(machine->memory, px(0x00), LIST, 4);
    pc_write(machine->memory, px(0x08), FIS, 4);
    pc_write(machine->memory, px(0x18), 1 << 4, 4);
    pc_write(machine->memory, px(0x18), 1 << 4 | 1, 4);
}

static void queued_commands_survive(bool begun)
{
    Machine *machine = start("q35");
    build_queue(machine);
    if (!begun) {
        devices_quiesce(machine);
    }
    pc_write(machine->memory, px(0x34), UINT32_MAX, 4);
    pc_write(machine->memory, px(0x38), UINT32_MAX, 4);
    machine = move(machine, "q35");
    for (unsigned i = 0; pc_read(machine->memory, px(0x34), 4); i++) {
        g_assert_cmpuint(i, <, 20000);
        g_usleep(200);
    }
    g_assert_cmphex(pc_read(machine->memory, px(0x10), 4) & (1 << 30 | 8), ==, 8);
    for (unsigned slot = 0; slot < 32; slot++) {
        expect_memory(machine, DATA + slot * 4096, 4096, slot * 60 * 512);
    }
    machine_free(machine);
}

static void queued_commands_survive_unbegun(void)
{
    queued_commands_survive(false);
}

static void queued_commands_survive_begun(void)
{
    for (unsigned i = 0; i < 8; i++) {
        queued_commands_survive(true);
    }
}

/* Whatever a stream holds, loading ends with an answer and the machine can go on. */
static void broken_streams_are_survived(gconstpointer board)
{
    Machine *machine = start(board);
    g_autoptr(GByteArray) state = g_byte_array_new();
    g_autoptr(GRand) random = g_rand_new_with_seed(5);
    devices_quiesce(machine);
    if (strcmp(board, "pc") == 0) {
        command(machine, 0xe0, 0x30, 1, 2);
        pc_write(machine->io, BASE, 1, 2);
    } else {
        build_queue(machine);
        pc_write(machine->memory, px(0x38), 7, 4);
    }
    devices_save(machine, state);
    for (unsigned i = 0; i < 300; i++) {
        g_autofree uint8_t *copy = g_memdup2(state->data, state->len);
        for (unsigned n = 0; n < 1 + i % 8; n++) {
            copy[g_rand_int_range(random, 0, (gint32)state->len)] = (uint8_t)g_rand_int(random);
        }
        if (devices_load(machine, copy, state->len, NULL)) {
            devices_resume(machine);
            devices_quiesce(machine);
        }
        for (guint d = 0; d < machine->devices->len; d++) {
            device_reset(machine->devices->pdata[d]);
        }
    }
    devices_resume(machine);
    machine_free(machine);
}

static void make_nodes(void)
{
    GError *error = NULL;
    g_autofree uint8_t *data = g_malloc(DISK_BYTES);
    path = g_strdup("test-ide-state-XXXXXX");
    int fd = g_mkstemp(path);
    for (unsigned i = 0; i < DISK_BYTES; i++) {
        data[i] = pattern(i);
    }
    g_assert_cmpint(write(fd, data, DISK_BYTES), ==, DISK_BYTES);
    close(fd);
    g_autofree char *disc_path = g_strconcat(path, ".iso", NULL);
    g_assert_true(g_file_set_contents(disc_path, (char *)data, DISK_BYTES, NULL));
    const char *names[] = { "disk", "disc" }, *files[] = { path, disc_path };
    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *text = g_strdup_printf(
            "driver=raw,node-name=%s,read-only=%s,file.driver=file,file.filename=%s", names[i],
            i ? "on" : "off", files[i]);
        g_autoptr(Opts) opts = opts_parse(text, NULL, &error);
        g_assert_nonnull(block_node_open(opts, &error));
    }
    g_unlink(disc_path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    make_nodes();
    g_test_add_func("/ide-state/a-pio-read-goes-on", a_pio_read_goes_on);
    g_test_add_func("/ide-state/a-packet-goes-on", a_packet_goes_on);
    g_test_add_func("/ide-state/dma-that-was-not-begun-is-begun", dma_that_was_not_begun_is_begun);
    g_test_add_func("/ide-state/queued-commands-survive-unbegun", queued_commands_survive_unbegun);
    g_test_add_func("/ide-state/queued-commands-survive-begun", queued_commands_survive_begun);
    g_test_add_func("/ide-state/a-pio-write-goes-on", a_pio_write_goes_on);
    g_test_add_data_func("/ide-state/broken-streams-are-survived/pc", "pc",
                         broken_streams_are_survived);
    g_test_add_data_func("/ide-state/broken-streams-are-survived/q35", "q35",
                         broken_streams_are_survived);
    int status = g_test_run();
    g_unlink(path);
    return status;
}
