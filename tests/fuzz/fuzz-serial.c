/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The 16550A under any sequence of accesses, input and time: FIFOs stay in their bounds, the line
 * is what the state says, and saved state is accepted back.
 */
#include "hw/isa/serial.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static GMutex lock;
static int line;

static void set_line(void *opaque, int level)
{
    line = level;
}

static Serial *make(void)
{
    static Serial serial;
    g_autoptr(GError) error = NULL;
    event_loop_main();
    clock_set_manual();
    g_autoptr(Opts) o = opts_parse("ringbuf,id=fuzz,size=64", "backend", &error);
    serial.baudbase = 115200;
    if (!chardev_new(o, &error) ||
        !serial_realize(&serial, &lock, "fuzz", set_line, NULL, &error)) {
        g_error("%s", error->message);
    }
    return &serial;
}

static void save_and_load(Serial *serial)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) saved = g_byte_array_new();
    state_save(&serial_state, serial, saved);
    const uint8_t *cursor = saved->data;
    if (!state_load(&serial_state, serial, &cursor, saved->data + saved->len, &error)) {
        g_error("its own state is refused: %s", error->message);
    }
}

/* Input: pairs of bytes: register and kind of access; value. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Serial *serial;
    serial = serial ? serial : make();
    g_mutex_lock(&lock);
    serial_reset(serial);
    g_mutex_unlock(&lock);
    for (size_t i = 0; i + 1 < size; i += 2) {
        uint8_t op = data[i];
        if (op & 0x80) {
            clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + data[i + 1] * NS_PER_MS / 8);
            continue;
        }
        if (op & 0x40) {
            save_and_load(serial);
            continue;
        }
        g_mutex_lock(&lock);
        if (op & 0x20) {
            serial_read(serial, op % 8);
        } else {
            serial_write(serial, op % 8, data[i + 1]);
        }
        g_assert_cmpuint(serial->rx.count, <=, SERIAL_FIFO_SIZE);
        g_assert_cmpuint(serial->tx.count, <=, SERIAL_FIFO_SIZE);
        g_assert_cmpint(line, ==, serial->irq_level);
        g_mutex_unlock(&lock);
    }
    return 0;
}
