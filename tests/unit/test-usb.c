/* SPDX-License-Identifier: GPL-2.0-or-later */
/* USB in the middle of its work: a disk's data phase is saved and goes on in another machine; the
 * paths that the firmware gets. */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "block/block.h"
#include "tests/unit/pc-machine.h"
#include "vmm/cli/opts.h"
#include "vmm/device/boot_order.h"

#define XHCI      0x0020 /* 04.0 */
#define BAR       0xc1000000u
#define OPER      (BAR + 0x40)
#define INTR      (BAR + 0x1020)
#define BELL      (BAR + 0x2000)
#define COMMANDS  0x100000
#define EVENTS    0x101000
#define TABLE     0x102000
#define DCBAA     0x103000
#define INPUT     0x104000
#define CONTEXT   0x105000
#define RING(n)   (0x106000 + 0x1000 * (n)) /* endpoint n: 1, 3, 4 */
#define BUFFER    0x110000
#define RAM_USED  0x20000 /* bytes from COMMANDS on */
#define DISK_SIZE 65536
#define EP_IN     3
#define EP_OUT    4

static const char *const devices[] = { "qemu-xhci,addr=4.0,slots=2,intrs=1",
                                       "usb-storage,drive=disk,bootindex=1", NULL };

typedef struct Driver {
    Machine *machine;
    unsigned event; /* next */
    unsigned next[5];
} Driver;

static void open_disk(const char *path)
{
    GError *error = NULL;
    g_autofree char *text =
        g_strdup_printf("raw,node-name=disk,file.driver=file,file.filename=%s", path);
    g_autoptr(Opts) opts = opts_parse(text, "driver", NULL);
    block_node_open(opts, &error);
    g_assert_no_error(error);
}

static char *make_disk(void)
{
    uint8_t bytes[DISK_SIZE];
    char *path = g_strdup("/tmp/test-usb-XXXXXX");
    int fd = g_mkstemp(path);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = i / 512 + i % 251;
    }
    g_assert_cmpint(write(fd, bytes, sizeof(bytes)), ==, sizeof(bytes));
    close(fd);
    return path;
}

static void put(Driver *d, uint64_t addr, uint64_t value)
{
    pc_write(d->machine->memory, addr, value, 8);
}

static void put32(Driver *d, uint64_t addr, uint32_t value)
{
    pc_write(d->machine->memory, addr, value, 4);
}

static void trb(Driver *d, unsigned ring, uint64_t parameter, uint32_t status, uint32_t control)
{
    uint64_t at = (ring ? RING(ring) : COMMANDS) + 16 * d->next[ring]++;
    put(d, at, parameter);
    put32(d, at + 8, status);
    put32(d, at + 12, control | 1);
}

/* The completion code of the next event of that type. */
static unsigned event(Driver *d, unsigned type)
{
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t at = EVENTS + 16 * d->event;
        uint32_t control = pc_read(d->machine->memory, at + 12, 4);
        if (!(control & 1)) {
            g_usleep(500);
            continue;
        }
        d->event++;
        if ((control >> 10 & 0x3f) == type) {
            return pc_read(d->machine->memory, at + 11, 1);
        }
    }
    g_error("no event");
}

static void command(Driver *d, unsigned type, uint64_t parameter, unsigned slot)
{
    trb(d, 0, parameter, 0, type << 10 | slot << 24);
    put32(d, BELL, 0);
    g_assert_cmpuint(event(d, 33), ==, 1);
}

static void transfer(Driver *d, unsigned epid, uint64_t addr, unsigned len)
{
    trb(d, epid, addr, len, 1 << 10 | 1 << 5);
    put32(d, BELL + 4, epid);
}

static void start(Driver *d)
{
    pc_config_write(d->machine, XHCI, 0x10, BAR);
    pc_config_write(d->machine, XHCI, 0x04, 6);
}

static void endpoint_context(Driver *d, unsigned epid, unsigned type)
{
    put(d, INPUT + 32 * (epid + 1), (uint64_t)(512 << 16 | type << 3) << 32);
    put(d, INPUT + 32 * (epid + 1) + 8, RING(epid) | 1);
}

static void set_up(Driver *d)
{
    start(d);
    put(d, TABLE, EVENTS);
    put32(d, TABLE + 8, 128);
    put32(d, OPER + 0x30, DCBAA);
    put32(d, OPER + 0x18, COMMANDS | 1);
    put32(d, INTR + 8, 1);
    put32(d, INTR + 0x18, EVENTS);
    put32(d, INTR + 0x10, TABLE);
    put32(d, INTR + 0x14, 0);
    put32(d, OPER, 1);
    command(d, 9, 0, 0);
    put(d, DCBAA + 8, CONTEXT);
    put32(d, INPUT + 4, 3);
    put(d, INPUT + 32, 1ULL << 48 | 1 << 27); /* port 1 */
    endpoint_context(d, 1, 4);
    command(d, 11, INPUT, 1);
    put32(d, INPUT + 4, 1 | 1 << EP_IN | 1 << EP_OUT);
    endpoint_context(d, EP_IN, 6);
    endpoint_context(d, EP_OUT, 2);
    command(d, 12, INPUT, 1);
    trb(d, 1, 0x0000000000010900, 8, 2 << 10 | 1 << 6); /* set configuration 1 */
    trb(d, 1, 0, 0, 4 << 10 | 1 << 5 | 1 << 16);
    put32(d, BELL + 4, 1);
    g_assert_cmpuint(event(d, 32), ==, 1);
}

static void send_command(Driver *d, const char *cdb, unsigned len, uint32_t bytes, bool in)
{
    uint8_t cbw[32] = { 'U', 'S', 'B', 'C', 0x44, 0x33, 0x22, 0x11 };
    store_le32(cbw + 8, bytes);
    cbw[12] = in ? 0x80 : 0;
    cbw[14] = len;
    memcpy(cbw + 15, cdb, len);
    address_space_write(d->machine->memory, BUFFER, cbw, sizeof(cbw));
    transfer(d, EP_OUT, BUFFER, 31);
    g_assert_cmpuint(event(d, 32), ==, 1);
}

static void expect_status(Driver *d, unsigned status)
{
    transfer(d, EP_IN, BUFFER, 13);
    g_assert_cmpuint(event(d, 32), ==, 1);
    g_assert_cmphex(pc_read(d->machine->memory, BUFFER, 8), ==, 0x1122334453425355);
    g_assert_cmpuint(pc_read(d->machine->memory, BUFFER + 12, 1), ==, status);
}

static void expect_sector(Driver *d, unsigned sector)
{
    uint8_t data[512];
    g_assert_cmpuint(event(d, 32), ==, 1);
    address_space_read(d->machine->memory, BUFFER + 0x1000, data, sizeof(data));
    for (unsigned i = 0; i < sizeof(data); i++) {
        g_assert_cmpuint(data[i], ==, (uint8_t)(sector + (sector * 512 + i) % 251));
    }
}

/* Devices and memory go into a new machine, as a snapshot's would. */
static void move(Driver *d, const char *path)
{
    GError *error = NULL;
    g_autofree uint8_t *memory = g_malloc(RAM_USED);
    g_autoptr(GByteArray) state = g_byte_array_new(), again = g_byte_array_new();
    devices_quiesce(d->machine);
    devices_save(d->machine, state);
    address_space_read(d->machine->memory, COMMANDS, memory, RAM_USED);
    machine_free(d->machine);
    block_node_unref(block_node_find("disk"));
    open_disk(path);
    d->machine = pc_machine_new("q35", devices);
    address_space_write(d->machine->memory, COMMANDS, memory, RAM_USED);
    devices_quiesce(d->machine);
    devices_load(d->machine, state->data, state->len, &error);
    g_assert_no_error(error);
    devices_save(d->machine, again);
    g_assert_cmpmem(again->data, again->len, state->data, state->len);
    devices_resume(d->machine);
}

static void test_a_data_phase_goes_on(void)
{
    static const char ready[6] = { 0 }, read4[10] = { 0x28, 0, 0, 0, 0, 7, 0, 0, 4 };
    g_autofree char *path = make_disk();
    open_disk(path);
    Driver d = { .machine = pc_machine_new("q35", devices) };
    set_up(&d);
    send_command(&d, ready, 6, 0, false);
    expect_status(&d, 1); /* unit attention */
    move(&d, path);
    send_command(&d, read4, 10, 2048, true);
    for (unsigned i = 0; i < 4; i++) {
        transfer(&d, EP_IN, BUFFER + 0x1000, 512);
        expect_sector(&d, 7 + i);
        move(&d, path); /* between two windows of the request, and before the status */
    }
    expect_status(&d, 0);
    /* A packet that waits for its phase. */
    transfer(&d, EP_IN, BUFFER + 0x1000, 13);
    move(&d, path);
    send_command(&d, ready, 6, 0, false);
    g_assert_cmpuint(event(&d, 32), ==, 1);
    g_assert_cmphex(pc_read(d.machine->memory, BUFFER + 0x1000, 4), ==, 0x53425355);
    machine_free(d.machine);
    block_node_unref(block_node_find("disk"));
    g_unlink(path);
}

static void test_firmware_paths(void)
{
    static const char *const behind_hub[] = { "qemu-xhci,addr=4.0", "usb-hub,port=1",
                                              "usb-storage,port=1.2,drive=disk,bootindex=1", NULL };
    g_autofree char *path = make_disk();
    open_disk(path);
    Machine *machine = pc_machine_new("q35", behind_hub);
    g_autofree char *text = boot_order_text(machine, false);
    g_assert_cmpstr(text, ==, "/pci@i0cf8/usb@4/hub@1/storage@2/channel@0/disk@0,0");
    machine_free(machine);
    block_node_unref(block_node_find("disk"));
    g_unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/usb/a-saved-data-phase-goes-on", test_a_data_phase_goes_on);
    g_test_add_func("/usb/firmware-paths", test_firmware_paths);
    return g_test_run();
}
