/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keyboard and mouse controller, its keyboard and mouse, and the monitor's input commands. */
#include <string.h>
#include "tests/device/libqtest.h"

#define KBD_GSI 1
#define AUX_GSI 12
#define MS      1000000LL

static QTest *start(void)
{
    QTest *qts = qtest_start("-m 32");
    qtest_intercept(qts);
    return qts;
}

static void command(QTest *qts, uint8_t value)
{
    qtest_outb(qts, 0x64, value);
}

static void data(QTest *qts, uint8_t value)
{
    qtest_outb(qts, 0x60, value);
}

static uint8_t status(QTest *qts)
{
    return qtest_inb(qts, 0x64);
}

/* The bytes that wait, as hexadecimal text: "fa ab 83"; mouse bytes get an m. */
static char *drain(QTest *qts)
{
    GString *text = g_string_new(NULL);
    for (unsigned i = 0; i < 64 && status(qts) & 1; i++) {
        bool aux = status(qts) & 0x20;
        g_string_append_printf(text, "%s%s%02x", i ? " " : "", aux ? "m" : "",
                               qtest_inb(qts, 0x60));
    }
    return g_string_free(text, FALSE);
}

static void expect(QTest *qts, const char *expected)
{
    g_autofree char *got = drain(qts);
    g_assert_cmpstr(got, ==, expected);
}

static void key(QTest *qts, const char *name, bool down)
{
    json_object_put(qtest_qmp_ok(
        qts,
        "{'execute': 'input-send-event', 'arguments': {'events': [{'type': 'key', 'data': "
        "{'down': %s, 'key': {'type': 'qcode', 'data': '%s'}}}]}}",
        down ? "true" : "false", name));
}

static void tap(QTest *qts, const char *name)
{
    key(qts, name, true);
    key(qts, name, false);
}

static void mode(QTest *qts, uint8_t value)
{
    command(qts, 0x60);
    data(qts, value);
}

static void test_controller_commands(void)
{
    QTest *qts = start();
    g_assert_cmphex(status(qts), ==, 0x18);
    command(qts, 0x20);
    expect(qts, "03");
    command(qts, 0xaa);
    g_assert_cmphex(status(qts) & 0x0d, ==, 0x0d);
    expect(qts, "55");
    command(qts, 0xab);
    expect(qts, "00");
    command(qts, 0xa9);
    expect(qts, "00");
    command(qts, 0xa4);
    expect(qts, "f1");
    command(qts, 0xa7);
    command(qts, 0x20);
    expect(qts, "27");
    command(qts, 0xa8);
    command(qts, 0xad);
    command(qts, 0x20);
    expect(qts, "17");
    command(qts, 0xae);
    command(qts, 0x65);
    data(qts, 0x5a);
    command(qts, 0x25);
    expect(qts, "5a");
    command(qts, 0xdd);
    command(qts, 0xd0);
    expect(qts, "cd");
    command(qts, 0xdf);
    command(qts, 0xd0);
    expect(qts, "cf");
    qtest_stop(qts);
}

static void test_loop_commands(void)
{
    QTest *qts = start();
    mode(qts, 0x03);
    command(qts, 0xd3);
    data(qts, 0xa5);
    qtest_wait_irq(qts, AUX_GSI, true);
    g_assert_false(qts->irq[KBD_GSI]);
    expect(qts, "ma5");
    qtest_wait_irq(qts, AUX_GSI, false);
    command(qts, 0xd2);
    data(qts, 0x1c);
    qtest_wait_irq(qts, KBD_GSI, true);
    expect(qts, "1c");
    qtest_stop(qts);
}

static void test_interrupt_for_each_byte(void)
{
    QTest *qts = start();
    mode(qts, 0x41);
    unsigned before = qts->irq_raised[KBD_GSI];
    tap(qts, "a");
    expect(qts, "1e 9e");
    g_assert_cmpuint(qts->irq_raised[KBD_GSI] - before, ==, 2);
    mode(qts, 0x40);
    tap(qts, "a");
    expect(qts, "1e 9e");
    g_assert_cmpuint(qts->irq_raised[KBD_GSI] - before, ==, 2);
    qtest_stop(qts);
}

static void test_keyboard_commands(void)
{
    QTest *qts = start();
    mode(qts, 0x03);
    data(qts, 0xf2);
    expect(qts, "fa ab 83");
    data(qts, 0xee);
    expect(qts, "ee");
    data(qts, 0xff);
    expect(qts, "fa aa");
    data(qts, 0xfe);
    expect(qts, "aa");
    data(qts, 0xed);
    expect(qts, "fa");
    data(qts, 0x07);
    expect(qts, "fa");
    data(qts, 0xf0);
    data(qts, 0x00);
    expect(qts, "fa fa 02");
    data(qts, 0x12);
    expect(qts, "fe");
    data(qts, 0xf5);
    expect(qts, "fa");
    tap(qts, "a");
    expect(qts, "");
    data(qts, 0xf4);
    expect(qts, "fa");
    tap(qts, "a");
    expect(qts, "1c f0 1c");
    mode(qts, 0x43); /* translated, the identity too, as on the real one */
    data(qts, 0xf2);
    expect(qts, "fa ab 41");
    qtest_stop(qts);
}

static void select_set(QTest *qts, uint8_t set)
{
    data(qts, 0xf0);
    data(qts, set);
    expect(qts, "fa fa");
}

static void test_scan_code_sets(void)
{
    QTest *qts = start();
    mode(qts, 0x03);
    tap(qts, "f7");
    tap(qts, "up");
    expect(qts, "83 f0 83 e0 75 e0 f0 75");
    tap(qts, "pause");
    tap(qts, "esc");
    expect(qts, "e1 14 77 e1 f0 14 f0 77 76 f0 76");
    tap(qts, "print");
    expect(qts, "e0 12 e0 7c e0 f0 7c e0 f0 12");
    key(qts, "alt", true);
    tap(qts, "print");
    key(qts, "alt", false);
    expect(qts, "11 84 f0 84 f0 11");
    select_set(qts, 1);
    tap(qts, "ctrl_r");
    tap(qts, "kp_7");
    expect(qts, "e0 1d e0 9d 47 c7");
    tap(qts, "pause");
    expect(qts, "e1 1d 45 e1 9d c5");
    select_set(qts, 3);
    tap(qts, "a");         /* repeats: no release */
    tap(qts, "ctrl");      /* tells both */
    tap(qts, "kp_divide"); /* press only */
    expect(qts, "1c 11 f0 11 77");
    data(qts, 0xfc); /* now tells its release */
    data(qts, 0x1c);
    expect(qts, "fa fa");
    tap(qts, "a");
    expect(qts, "1c f0 1c");
    data(qts, 0xf9);
    expect(qts, "fa");
    tap(qts, "ctrl");
    expect(qts, "11");
    qtest_stop(qts);
}

static void test_typematic(void)
{
    QTest *qts = start();
    mode(qts, 0x43);
    data(qts, 0xf3);
    data(qts, 0x00); /* 250 ms, 30 a second */
    expect(qts, "fa fa");
    key(qts, "x", true);
    key(qts, "x", true); /* the window system's repetition is not the keyboard's */
    expect(qts, "2d");
    qtest_clock_step(qts, 250 * MS);
    expect(qts, "2d");
    qtest_clock_step(qts, 34 * MS);
    expect(qts, "2d");
    key(qts, "x", false);
    qtest_clock_step(qts, 500 * MS);
    expect(qts, "ad");
    qtest_stop(qts);
}

static void test_full_queue(void)
{
    QTest *qts = start();
    mode(qts, 0x03);
    for (unsigned i = 0; i < 40; i++) {
        tap(qts, "a");
    }
    g_autofree char *got = drain(qts);
    g_assert_true(g_str_has_prefix(got, "1c f0 1c 1c f0 1c"));
    g_assert_cmpuint(strlen(got), <=, 17 * 3);
    tap(qts, "b");
    expect(qts, "32 f0 32");
    qtest_stop(qts);
}

static void test_send_key(void)
{
    QTest *qts = start();
    mode(qts, 0x43);
    json_object_put(qtest_qmp_ok(
        qts, "{'execute': 'send-key', 'arguments': {'keys': [{'type': 'qcode', 'data': 'ctrl'}, "
             "{'type': 'qcode', 'data': 'alt'}, {'type': 'number', 'data': 211}]}}"));
    expect(qts, "1d 38 e0 53");
    qtest_clock_step(qts, 100 * MS);
    expect(qts, "e0 d3 b8 9d");
    qtest_clock_step(qts, 100 * MS);
    g_free(qtest_hmp(qts, "sendkey shift-b 10"));
    expect(qts, "2a 30");
    qtest_clock_step(qts, 10 * MS);
    expect(qts, "b0 aa");
    g_autofree char *bad = qtest_hmp(qts, "sendkey nonsense");
    g_assert_nonnull(strstr(bad, "nonsense"));
    g_autofree char *refused = qtest_qmp_error(
        qts, "{'execute': 'send-key', 'arguments': {'keys': [{'type': 'qcode', 'data': 'zz'}]}}");
    g_assert_nonnull(strstr(refused, "zz"));
    qtest_stop(qts);
}

static void mouse_command(QTest *qts, uint8_t value)
{
    command(qts, 0xd4);
    data(qts, value);
}

static void move(QTest *qts, int dx, int dy)
{
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'input-send-event', 'arguments': {'events': ["
                                 "{'type': 'rel', 'data': {'axis': 'x', 'value': %d}}, "
                                 "{'type': 'rel', 'data': {'axis': 'y', 'value': %d}}]}}",
                                 dx, dy));
}

static void click(QTest *qts, const char *button, bool down)
{
    json_object_put(qtest_qmp_ok(qts,
                                 "{'execute': 'input-send-event', 'arguments': {'events': ["
                                 "{'type': 'btn', 'data': {'button': '%s', 'down': %s}}]}}",
                                 button, down ? "true" : "false"));
}

static void set_rate(QTest *qts, uint8_t rate)
{
    mouse_command(qts, 0xf3);
    mouse_command(qts, rate);
    expect(qts, "mfa mfa");
}

static void test_mouse_packets(void)
{
    QTest *qts = start();
    mode(qts, 0x03);
    mouse_command(qts, 0xff);
    expect(qts, "mfa maa m00");
    move(qts, 5, 5);
    expect(qts, "");
    mouse_command(qts, 0xf4);
    expect(qts, "mfa");
    move(qts, 5, 3);
    expect(qts, "m28 m05 mfd");
    move(qts, -300, 0);
    expect(qts, "m18 m01 m00 m18 md3 m00");
    click(qts, "left", true);
    click(qts, "right", true);
    expect(qts, "m09 m00 m00 m0b m00 m00");
    mouse_command(qts, 0xe9);
    expect(qts, "mfa m25 m02 m64");
    mouse_command(qts, 0xe7); /* 2:1 */
    expect(qts, "mfa");
    move(qts, 7, 0);
    expect(qts, "m0b m0e m00");
    mouse_command(qts, 0xf0); /* told only when asked */
    expect(qts, "mfa");
    move(qts, 1, 0);
    expect(qts, "");
    mouse_command(qts, 0xeb);
    expect(qts, "mfa m0b m01 m00");
    mouse_command(qts, 0xee); /* echo */
    mouse_command(qts, 0x42);
    expect(qts, "mfa m42");
    mouse_command(qts, 0xec);
    expect(qts, "mfa");
    qtest_stop(qts);
}

static void test_mouse_wheel_and_five_buttons(void)
{
    QTest *qts = start();
    mode(qts, 0x03);
    mouse_command(qts, 0xf2);
    expect(qts, "mfa m00");
    set_rate(qts, 200);
    set_rate(qts, 100);
    set_rate(qts, 80);
    mouse_command(qts, 0xf2);
    expect(qts, "mfa m03");
    mouse_command(qts, 0xf4);
    expect(qts, "mfa");
    click(qts, "wheel-up", true);
    click(qts, "wheel-up", false);
    expect(qts, "m08 m00 m00 mff");
    set_rate(qts, 200);
    set_rate(qts, 200);
    set_rate(qts, 80);
    mouse_command(qts, 0xf2);
    expect(qts, "mfa m04");
    click(qts, "side", true);
    click(qts, "extra", true);
    click(qts, "wheel-down", true);
    expect(qts, "m08 m00 m00 m10 m08 m00 m00 m30 m08 m00 m00 m31");
    json_object *mice = qtest_qmp_ok(qts, "{'execute': 'query-mice'}");
    g_assert_cmpuint(json_object_array_length(mice), ==, 1);
    g_assert_cmpstr(json_text(json_object_array_get_idx(mice, 0), "name"), ==, "QEMU PS/2 Mouse");
    json_object_put(mice);
    qtest_stop(qts);
}

static void test_no_controller(void)
{
    QTest *qts = qtest_start("-m 32 -machine q35,i8042=off");
    g_assert_cmphex(qtest_inb(qts, 0x64), ==, 0xff);
    g_autofree char *error =
        qtest_qmp_error(qts, "{'execute': 'input-send-event', 'arguments': {'events': ["
                             "{'type': 'rel', 'data': {'axis': 'x', 'value': 1}}]}}");
    g_assert_nonnull(strstr(error, "no device"));
    qtest_stop(qts);
}

/* HARDENING rows 15, 24: any bytes in any order, with events meanwhile; then it works again. */
static void test_nonsense(void)
{
    QTest *qts = start();
    g_autoptr(GRand) random = g_rand_new_with_seed(42);
    for (unsigned i = 0; i < 4000; i++) {
        uint8_t value = (uint8_t)g_rand_int(random);
        if (value == 0xd1 || value >= 0xf0) {
            value = 0xd4; /* not the reset */
        }
        qtest_outb(qts, i & 1 ? 0x60 : 0x64, value);
        qtest_inb(qts, g_rand_int(random) & 1 ? 0x60 : 0x64);
        if (i % 200 == 0) {
            tap(qts, "ctrl");
            move(qts, 2000000000, -2000000000);
            qtest_clock_step(qts, 600 * MS);
        }
    }
    command(qts, 0xaa);
    data(qts, 0xff);
    mouse_command(qts, 0xff);
    g_free(drain(qts));
    mode(qts, 0x43);
    g_free(drain(qts));
    data(qts, 0xff);
    expect(qts, "fa aa");
    tap(qts, "q");
    expect(qts, "10 90");
    qtest_stop(qts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8042/controller-commands", test_controller_commands);
    g_test_add_func("/i8042/loop-commands-raise-the-right-line", test_loop_commands);
    g_test_add_func("/i8042/each-byte-is-an-interrupt", test_interrupt_for_each_byte);
    g_test_add_func("/i8042/keyboard-commands", test_keyboard_commands);
    g_test_add_func("/i8042/scan-code-sets", test_scan_code_sets);
    g_test_add_func("/i8042/typematic", test_typematic);
    g_test_add_func("/i8042/full-queue-drops-whole-keys", test_full_queue);
    g_test_add_func("/i8042/send-key-presses-and-releases", test_send_key);
    g_test_add_func("/i8042/mouse-packets", test_mouse_packets);
    g_test_add_func("/i8042/mouse-wheel-and-five-buttons", test_mouse_wheel_and_five_buttons);
    g_test_add_func("/i8042/off", test_no_controller);
    g_test_add_func("/i8042/nonsense-is-survived", test_nonsense);
    return g_test_run();
}
