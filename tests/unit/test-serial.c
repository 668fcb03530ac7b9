/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 16550A by its registers, as its data sheet and drivers know it. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "hw/isa/serial.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

typedef struct Rig {
    Serial serial;
    GMutex lock;
    int irq, raised; /* the line, and how often it rose */
    int peer;        /* the other end of the chardev's socket */
} Rig;

static void rig_irq(void *opaque, int level)
{
    Rig *r = opaque;
    r->raised += level && !r->irq;
    r->irq = level;
}

static void run_pending(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static Rig *rig_new(void)
{
    g_autoptr(GError) error = NULL;
    Rig *r = g_new0(Rig, 1);
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    r->peer = pair[0];
    g_autofree char *text = g_strdup_printf("socket,id=c,fd=%d", pair[1]);
    g_autoptr(Opts) o = opts_parse(text, "backend", &error);
    g_assert_nonnull(chardev_new(o, &error));
    g_mutex_init(&r->lock);
    r->serial.baudbase = 115200;
    g_assert_true(serial_realize(&r->serial, &r->lock, "c", rig_irq, r, &error));
    run_pending();
    return r;
}

static void rig_free(Rig *r)
{
    serial_unrealize(&r->serial);
    g_assert_true(chardev_delete("c", NULL));
    g_mutex_clear(&r->lock);
    close(r->peer);
    g_free(r);
}

static uint8_t in(Rig *r, unsigned reg)
{
    g_mutex_lock(&r->lock);
    uint8_t value = serial_read(&r->serial, reg);
    g_mutex_unlock(&r->lock);
    return value;
}

static void out(Rig *r, unsigned reg, uint8_t value)
{
    g_mutex_lock(&r->lock);
    serial_write(&r->serial, reg, value);
    g_mutex_unlock(&r->lock);
}

static void type(Rig *r, const char *text)
{
    g_assert_cmpint(send(r->peer, text, strlen(text), 0), ==, strlen(text));
    for (int i = 0; i < 10; i++) {
        run_pending();
    }
}

static void assert_sent(Rig *r, const char *text)
{
    char got[64];
    ssize_t n = recv(r->peer, got, sizeof(got), MSG_DONTWAIT);
    g_assert_cmpmem(got, MAX(n, 0), text, strlen(text));
}

static void test_reset_values(void)
{
    Rig *r = rig_new();
    g_assert_cmphex(in(r, IER), ==, 0x00);
    g_assert_cmphex(in(r, IIR), ==, 0x01);
    g_assert_cmphex(in(r, LCR), ==, 0x00);
    g_assert_cmphex(in(r, LSR), ==, 0x60);
    g_assert_cmphex(in(r, MSR), ==, 0xb0);
    g_assert_cmpint(r->irq, ==, 0);
    rig_free(r);
}

static void test_registers_hold_what_they_should(void)
{
    Rig *r = rig_new();
    out(r, SCR, 0xa5);
    g_assert_cmphex(in(r, SCR), ==, 0xa5);
    out(r, IER, 0xff);
    g_assert_cmphex(in(r, IER), ==, 0x0f);
    out(r, MCR, 0xff);
    g_assert_cmphex(in(r, MCR), ==, 0x1f);
    out(r, LSR, 0xff);
    g_assert_cmphex(in(r, LSR), ==, 0x60);
    out(r, LCR, 0x83);
    out(r, DATA, 0x34);
    out(r, IER, 0x12);
    g_assert_cmphex(in(r, DATA), ==, 0x34);
    g_assert_cmphex(in(r, IER), ==, 0x12);
    out(r, LCR, 0x03);
    g_assert_cmphex(in(r, IER), ==, 0x0f); /* the divisor is elsewhere */
    assert_sent(r, "");
    rig_free(r);
}

/* Linux tells a 16550A from its elders by this. */
static void test_fifo_bits_show_in_iir(void)
{
    Rig *r = rig_new();
    out(r, FCR, 0x01);
    g_assert_cmphex(in(r, IIR), ==, 0xc1);
    out(r, FCR, 0x00);
    g_assert_cmphex(in(r, IIR), ==, 0x01);
    out(r, FCR, 0xc0); /* without the enable bit nothing is programmed */
    g_assert_cmphex(in(r, IIR), ==, 0x01);
    rig_free(r);
}

static void test_bytes_are_sent_at_once(void)
{
    Rig *r = rig_new();
    for (const char *p = "hello"; *p; p++) {
        g_assert_true(in(r, LSR) & 0x20);
        out(r, DATA, *p);
    }
    assert_sent(r, "hello");
    g_assert_cmphex(in(r, LSR), ==, 0x60);
    rig_free(r);
}

static void test_transmit_interrupt(void)
{
    Rig *r = rig_new();
    out(r, IER, 0x02); /* enabling it with an empty transmitter interrupts */
    g_assert_cmpint(r->irq, ==, 1);
    g_assert_cmphex(in(r, IIR), ==, 0x02);
    g_assert_cmpint(r->irq, ==, 0); /* reading it acknowledges */
    g_assert_cmphex(in(r, IIR), ==, 0x01);
    out(r, DATA, 'x');
    g_assert_cmpint(r->irq, ==, 1);
    g_assert_cmphex(in(r, IIR), ==, 0x02);
    out(r, IER, 0x00);
    out(r, IER, 0x02);
    g_assert_cmpint(r->irq, ==, 1);
    out(r, IER, 0x00);
    g_assert_cmpint(r->irq, ==, 0);
    rig_free(r);
}

static void test_receive_without_fifo(void)
{
    Rig *r = rig_new();
    out(r, IER, 0x01);
    type(r, "ab");
    g_assert_cmpint(r->irq, ==, 1);
    g_assert_cmphex(in(r, LSR), ==, 0x61);
    g_assert_cmphex(in(r, IIR), ==, 0x04);
    g_assert_cmpint(in(r, DATA), ==, 'a');
    g_assert_cmpint(r->irq, ==, 0);
    run_pending();
    g_assert_cmpint(r->irq, ==, 1);
    g_assert_cmpint(in(r, DATA), ==, 'b');
    run_pending();
    g_assert_cmphex(in(r, LSR), ==, 0x60); /* no overrun: the second byte waited outside */
    rig_free(r);
}

static void test_fifo_trigger_levels(void)
{
    static const unsigned levels[] = { 1, 4, 8, 14 };
    for (unsigned i = 0; i < 4; i++) {
        Rig *r = rig_new();
        out(r, FCR, 0x01 | i << 6);
        out(r, IER, 0x01);
        for (unsigned n = 1; n <= 16; n++) {
            type(r, "x");
            g_assert_cmpint(r->irq, ==, n >= levels[i]);
        }
        g_assert_cmphex(in(r, IIR), ==, 0xc4);
        for (unsigned left = 15; left > 0; left--) {
            in(r, DATA);
            g_assert_cmpint(r->irq, ==, left >= levels[i]);
        }
        rig_free(r);
    }
}

/* Four character times of ten bits at 9600 bit/s. */
static void test_receive_timeout(void)
{
    enum { TIMEOUT = 4166666 };
    Rig *r = rig_new();
    out(r, LCR, 0x03);
    out(r, FCR, 0xc1);
    out(r, IER, 0x01);
    type(r, "ab");
    g_assert_cmpint(r->irq, ==, 0);
    clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + TIMEOUT - 10);
    g_assert_cmpint(r->irq, ==, 0);
    clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + 20);
    g_assert_cmpint(r->irq, ==, 1);
    g_assert_cmphex(in(r, IIR), ==, 0xcc);
    g_assert_cmpint(in(r, DATA), ==, 'a');
    g_assert_cmpint(r->irq, ==, 0); /* taken back by the read, and counted anew */
    clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + TIMEOUT + 10);
    g_assert_cmpint(r->irq, ==, 1);
    g_assert_cmpint(in(r, DATA), ==, 'b');
    clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + 10 * TIMEOUT);
    g_assert_cmpint(r->irq, ==, 0);
    rig_free(r);
}

static void test_nothing_is_lost_when_the_guest_is_slow(void)
{
    Rig *r = rig_new();
    char sent[301];
    for (int i = 0; i < 300; i++) {
        sent[i] = 'a' + i % 26;
    }
    sent[300] = 0;
    out(r, FCR, 0x01);
    type(r, sent);
    g_assert_cmpuint(r->serial.rx.count, ==, 16);
    for (int i = 0; i < 300; i++) {
        while (!(in(r, LSR) & 1)) {
            run_pending();
        }
        g_assert_cmpint(in(r, DATA), ==, sent[i]);
    }
    g_assert_cmphex(in(r, LSR), ==, 0x60);
    rig_free(r);
}

/* The peer stops reading: the transmitter stays busy, and interrupts when it drained. */
static void test_back_pressure_shows_as_a_busy_transmitter(void)
{
    Rig *r = rig_new();
    uint8_t got[4096];
    out(r, FCR, 0x01);
    size_t sent = 0;
    while (in(r, LSR) & 0x20) {
        out(r, DATA, sent++);
    }
    g_assert_cmphex(in(r, LSR), ==, 0x00);
    for (int i = 0; i < 15; i++) {
        out(r, DATA, sent++);
    }
    out(r, DATA, 0xee); /* the FIFO is full: lost, as on the chip */
    out(r, IER, 0x02);
    g_assert_cmpint(r->irq, ==, 0);
    for (size_t at = 0; at < sent;) {
        ssize_t n = recv(r->peer, got, sizeof(got), MSG_DONTWAIT);
        for (ssize_t i = 0; i < n; i++, at++) {
            g_assert_cmpuint(got[i], ==, (uint8_t)at);
        }
        run_pending();
    }
    g_assert_cmphex(in(r, LSR), ==, 0x60);
    g_assert_cmpint(r->irq, ==, 1);
    g_assert_cmphex(in(r, IIR), ==, 0xc2);
    assert_sent(r, "");
    rig_free(r);
}

static void test_loopback(void)
{
    Rig *r = rig_new();
    in(r, MSR);
    out(r, MCR, 0x10);
    g_assert_cmphex(in(r, MSR), ==, 0x0b); /* CTS, DSR and DCD fell */
    out(r, MCR, 0x1a);
    g_assert_cmphex(in(r, MSR) & 0xf0, ==, 0x90); /* RTS is CTS, OUT2 is DCD: Linux's test */
    out(r, MCR, 0x14);
    g_assert_cmphex(in(r, MSR) & 0xf4, ==, 0x40); /* OUT1 is RI; its rise is no event */
    out(r, MCR, 0x10);
    g_assert_cmphex(in(r, MSR) & 0x04, ==, 0x04); /* its fall is */
    out(r, DATA, 'L');
    g_assert_cmphex(in(r, LSR), ==, 0x61);
    out(r, DATA, 'M');
    g_assert_cmphex(in(r, LSR), ==, 0x63); /* overrun */
    g_assert_cmphex(in(r, LSR), ==, 0x61); /* told once */
    g_assert_cmpint(in(r, DATA), ==, 'M');
    type(r, "outside");
    g_assert_cmphex(in(r, LSR), ==, 0x60);
    out(r, MCR, 0x08);
    run_pending();
    g_assert_cmpint(in(r, DATA), ==, 'o'); /* it waited */
    assert_sent(r, "");
    rig_free(r);
}

static void test_fifo_overrun_keeps_the_oldest(void)
{
    Rig *r = rig_new();
    out(r, MCR, 0x10);
    out(r, FCR, 0x01);
    for (int i = 0; i < 20; i++) {
        out(r, DATA, 'a' + i);
    }
    g_assert_cmphex(in(r, LSR), ==, 0x63);
    for (int i = 0; i < 16; i++) {
        g_assert_cmpint(in(r, DATA), ==, 'a' + i);
    }
    g_assert_cmphex(in(r, LSR), ==, 0x60);
    rig_free(r);
}

static void test_interrupt_priorities(void)
{
    Rig *r = rig_new();
    in(r, MSR);
    out(r, MCR, 0x10); /* modem changes */
    out(r, DATA, 'a');
    out(r, DATA, 'b'); /* overrun, data, transmitter empty */
    out(r, IER, 0x0f);
    g_assert_cmphex(in(r, IIR), ==, 0x06);
    in(r, LSR);
    g_assert_cmphex(in(r, IIR), ==, 0x04);
    in(r, DATA);
    g_assert_cmphex(in(r, IIR), ==, 0x02);
    g_assert_cmphex(in(r, IIR), ==, 0x00);
    in(r, MSR);
    g_assert_cmphex(in(r, IIR), ==, 0x01);
    g_assert_cmpint(r->irq, ==, 0);
    rig_free(r);
}

static void test_clearing_fifos(void)
{
    Rig *r = rig_new();
    out(r, FCR, 0x01);
    type(r, "abc");
    g_assert_cmphex(in(r, LSR), ==, 0x61);
    out(r, FCR, 0x03);
    g_assert_cmphex(in(r, LSR), ==, 0x60);
    type(r, "d");
    g_assert_cmpint(in(r, DATA), ==, 'd');
    rig_free(r);
}

static void test_break_is_a_zero_with_a_flag(void)
{
    g_autoptr(GError) error = NULL;
    Rig *r = g_new0(Rig, 1);
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    g_autofree char *text = g_strdup_printf("socket,id=c,telnet=on,fd=%d", pair[1]);
    g_autoptr(Opts) o = opts_parse(text, "backend", &error);
    g_assert_nonnull(chardev_new(o, &error));
    r->peer = pair[0];
    r->serial.baudbase = 115200;
    g_mutex_init(&r->lock);
    g_assert_true(serial_realize(&r->serial, &r->lock, "c", rig_irq, r, &error));
    run_pending();
    out(r, IER, 0x04);
    type(r, "\xff\xf3");
    g_assert_cmpint(r->irq, ==, 1);
    g_assert_cmphex(in(r, IIR), ==, 0x06);
    g_assert_cmphex(in(r, LSR), ==, 0x71);
    g_assert_cmpint(in(r, DATA), ==, 0);
    g_assert_cmpint(r->irq, ==, 0);
    rig_free(r);
}

static void test_state_survives_a_move(void)
{
    g_autoptr(GError) error = NULL;
    Rig *r = rig_new();
    out(r, LCR, 0x83);
    out(r, DATA, 7);
    out(r, LCR, 0x03);
    out(r, FCR, 0xc1);
    out(r, SCR, 0x5a);
    out(r, IER, 0x01);
    type(r, "pending");
    g_autoptr(GByteArray) saved = g_byte_array_new();
    state_save(&serial_state, &r->serial, saved);
    g_mutex_lock(&r->lock);
    serial_reset(&r->serial);
    g_mutex_unlock(&r->lock);
    g_assert_cmphex(in(r, LSR), ==, 0x60);
    const uint8_t *cursor = saved->data;
    g_assert_true(state_load(&serial_state, &r->serial, &cursor, saved->data + saved->len, &error));
    g_assert_no_error(error);
    g_assert_cmphex(in(r, SCR), ==, 0x5a);
    g_assert_cmphex(in(r, IER), ==, 0x01);
    g_assert_cmpuint(r->serial.divider, ==, 7);
    clock_virtual_step(clock_now(VM_CLOCK_VIRTUAL) + NS_PER_SEC);
    g_assert_cmpint(r->irq, ==, 1); /* the timer came along */
    for (const char *p = "pending"; *p; p++) {
        g_assert_cmpint(in(r, DATA), ==, *p);
    }
    rig_free(r);
}

static void test_a_hostile_state_is_refused(void)
{
    Rig *r = rig_new();
    g_autoptr(GByteArray) saved = g_byte_array_new();
    r->serial.rx.count = 200;
    state_save(&serial_state, &r->serial, saved);
    r->serial.rx.count = 0;
    const uint8_t *cursor = saved->data;
    g_autoptr(GError) error = NULL;
    g_assert_false(
        state_load(&serial_state, &r->serial, &cursor, saved->data + saved->len, &error));
    g_assert_nonnull(error);
    g_mutex_lock(&r->lock);
    serial_reset(&r->serial);
    g_mutex_unlock(&r->lock);
    rig_free(r);
}

static void test_nonsense_in_every_register(void)
{
    Rig *r = rig_new();
    uint8_t drain[4096];
    for (int i = 0; i < 200000; i++) {
        unsigned reg = g_test_rand_int_range(0, 8);
        if (g_test_rand_bit()) {
            out(r, reg, g_test_rand_int());
        } else {
            in(r, reg);
        }
        if (i % 1000 == 0) {
            type(r, "0123456789abcdef0123");
            while (recv(r->peer, drain, sizeof(drain), MSG_DONTWAIT) > 0) {
            }
        }
        g_assert_cmpuint(r->serial.rx.count, <=, 16);
        g_assert_cmpuint(r->serial.tx.count, <=, 16);
        g_assert_cmpint(r->irq, ==, r->serial.irq_level);
    }
    rig_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
    clock_set_manual();
    g_test_add_func("/serial/reset-values", test_reset_values);
    g_test_add_func("/serial/registers-hold", test_registers_hold_what_they_should);
    g_test_add_func("/serial/fifo-bits-show-in-iir", test_fifo_bits_show_in_iir);
    g_test_add_func("/serial/bytes-are-sent-at-once", test_bytes_are_sent_at_once);
    g_test_add_func("/serial/transmit-interrupt", test_transmit_interrupt);
    g_test_add_func("/serial/receive-without-fifo", test_receive_without_fifo);
    g_test_add_func("/serial/fifo-trigger-levels", test_fifo_trigger_levels);
    g_test_add_func("/serial/receive-timeout", test_receive_timeout);
    g_test_add_func("/serial/slow-guest-loses-nothing",
                    test_nothing_is_lost_when_the_guest_is_slow);
    g_test_add_func("/serial/back-pressure", test_back_pressure_shows_as_a_busy_transmitter);
    g_test_add_func("/serial/loopback", test_loopback);
    g_test_add_func("/serial/fifo-overrun-keeps-the-oldest", test_fifo_overrun_keeps_the_oldest);
    g_test_add_func("/serial/interrupt-priorities", test_interrupt_priorities);
    g_test_add_func("/serial/clearing-fifos", test_clearing_fifos);
    g_test_add_func("/serial/break", test_break_is_a_zero_with_a_flag);
    g_test_add_func("/serial/state-survives", test_state_survives_a_move);
    g_test_add_func("/serial/hostile-state-is-refused", test_a_hostile_state_is_refused);
    g_test_add_func("/serial/nonsense-in-every-register", test_nonsense_in_every_register);
    return g_test_run();
}
