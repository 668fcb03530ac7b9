/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qtest protocol server: lines of words in, "OK", "FAIL" or "ERR" lines out, and lines "IRQ
 * raise N", "IRQ lower N" at any time. One client at a time; all on the main thread, but interrupt
 * lines, which may change on any.
 */
#include "vmm/machine/qtest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/machine/qtest_private.h"
#include "vmm/memory/address_space.h"
#include "vmm/util/bytes.h"

#define MAX_LINE     (64 * MIB)
#define MAX_TRANSFER (32 * MIB)
#define READ_CHUNK   (64 * KIB)
#define MAX_IRQS     256

typedef struct Qtest {
    Machine *machine;
    CharFrontend *frontend;
    FILE *log;
    int64_t opened_at;
    GString *line;
    bool discarding; /* the rest of a line that was too long */
    bool intercepting;
    GMutex irq_lock; /* levels, and that lines go out in their order; a leaf */
    bool irq_levels[MAX_IRQS];
} Qtest;

static Qtest server;

static void log_line(char kind, const char *text)
{
    if (server.log) {
        double seconds = (double)(clock_now(VM_CLOCK_REALTIME) - server.opened_at) / NS_PER_SEC;
        fprintf(server.log, "[%c +%f] %s\n", kind, seconds, text);
        fflush(server.log);
    }
}

static void send_line(const char *text)
{
    log_line('S', text);
    if (!server.frontend) {
        return;
    }
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    char_write_all(server.frontend, (const uint8_t *)line, strlen(line));
}

static void reply(const char *format, ...) G_GNUC_PRINTF(1, 2);

static void reply(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    send_line(text);
}

static bool number(const char *word, uint64_t *value)
{
    char *end;
    errno = 0;
    *value = strtoull(word, &end, 0);
    if (errno || end == word || *end) {
        reply("ERR '%s' is not a number", word);
        return false;
    }
    return true;
}

static bool transfer_size(const char *word, uint64_t *size)
{
    if (!number(word, size)) {
        return false;
    }
    if (*size > MAX_TRANSFER) {
        reply("ERR a transfer is at most %u bytes", (unsigned)MAX_TRANSFER);
        return false;
    }
    return true;
}

/* The width that the last letter of a command names. */
static unsigned width_of(const char *command)
{
    switch (command[strlen(command) - 1]) {
    case 'b':
        return 1;
    case 'w':
        return 2;
    case 'l':
        return 4;
    default:
        return 8;
    }
}

/* ---- Ports and memory ---- */

static void cmd_in(char **words)
{
    uint64_t addr;
    if (number(words[1], &addr)) {
        uint8_t data[8];
        unsigned width = width_of(words[0]);
        address_space_read(server.machine->io, addr & 0xffff, data, width);
        reply("OK 0x%04" G_GINT64_MODIFIER "x", load_le(data, width));
    }
}

static void cmd_out(char **words)
{
    uint64_t addr;
    uint64_t value;
    if (number(words[1], &addr) && number(words[2], &value)) {
        uint8_t data[8];
        store_le64(data, value);
        address_space_write(server.machine->io, addr & 0xffff, data, width_of(words[0]));
        reply("OK");
    }
}

/* A word more, "smm", asks for what vCPUs in system management mode see. */
static AddressSpace *memory_space(const char *word)
{
    Machine *machine = server.machine;
    return g_strcmp0(word, "smm") == 0 && machine->smm_memory ? machine->smm_memory
                                                              : machine->memory;
}

static void cmd_read_value(char **words)
{
    uint64_t addr;
    if (number(words[1], &addr)) {
        uint8_t data[8];
        unsigned width = width_of(words[0]);
        address_space_read(memory_space(words[2]), addr, data, width);
        reply("OK 0x%016" G_GINT64_MODIFIER "x", load_le(data, width));
    }
}

static void cmd_write_value(char **words)
{
    uint64_t addr;
    uint64_t value;
    if (number(words[1], &addr) && number(words[2], &value)) {
        uint8_t data[8];
        store_le64(data, value);
        address_space_write(memory_space(words[3]), addr, data, width_of(words[0]));
        reply("OK");
    }
}

static uint8_t *read_block(char **words, uint64_t *size)
{
    uint64_t addr;
    if (!number(words[1], &addr) || !transfer_size(words[2], size)) {
        return NULL;
    }
    uint8_t *data = g_malloc(*size + 1);
    address_space_read(server.machine->memory, addr, data, *size);
    return data;
}

static void cmd_read(char **words)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t size;
    g_autofree uint8_t *data = read_block(words, &size);
    if (data) {
        g_autoptr(GString) out = g_string_sized_new(size * 2 + 8);
        g_string_append(out, "OK 0x");
        for (uint64_t i = 0; i < size; i++) {
            g_string_append_c(out, digits[data[i] >> 4]);
            g_string_append_c(out, digits[data[i] & 15]);
        }
        send_line(out->str);
    }
}

static void cmd_b64read(char **words)
{
    uint64_t size;
    g_autofree uint8_t *data = read_block(words, &size);
    if (data) {
        g_autofree char *text = g_base64_encode(data, size);
        reply("OK %s", text);
    }
}

static void write_block(uint64_t addr, const uint8_t *data, uint64_t size)
{
    address_space_write(server.machine->memory, addr, data, size);
    reply("OK");
}

/* Hex digits "0x..."; what is missing is zero, as with QEMU. */
static void cmd_write(char **words)
{
    uint64_t addr;
    uint64_t size;
    if (!number(words[1], &addr) || !transfer_size(words[2], &size)) {
        return;
    }
    size_t digits = strlen(words[3]);
    if (digits < 3 || !g_str_has_prefix(words[3], "0x")) {
        reply("ERR the size is no number");
        return;
    }
    g_autofree uint8_t *data = g_malloc0(size + 1);
    for (size_t i = 2; i < digits && (i - 2) / 2 < size; i++) {
        int digit = g_ascii_xdigit_value(words[3][i]);
        if (digit < 0) {
            reply("ERR '%c' is not a hexadecimal digit", words[3][i]);
            return;
        }
        data[(i - 2) / 2] |= (uint8_t)(digit << (i % 2 ? 0 : 4));
    }
    write_block(addr, data, size);
}

static void cmd_b64write(char **words)
{
    uint64_t addr;
    uint64_t size;
    if (!number(words[1], &addr) || !transfer_size(words[2], &size)) {
        return;
    }
    gsize length;
    g_autofree uint8_t *decoded = g_base64_decode(words[3], &length);
    if (length != size) {
        reply("ERR the data has %zu bytes, not %" G_GUINT64_FORMAT, (size_t)length, size);
        return;
    }
    write_block(addr, decoded, size);
}

static void cmd_memset(char **words)
{
    uint64_t addr;
    uint64_t size;
    uint64_t value;
    if (number(words[1], &addr) && transfer_size(words[2], &size) && number(words[3], &value)) {
        g_autofree uint8_t *data = g_malloc(size + 1);
        memset(data, (int)(value & 0xff), size);
        write_block(addr, data, size);
    }
}

/* ---- Time ---- */

static void step_to(int64_t to)
{
    clock_virtual_step(to);
    reply("OK %" G_GINT64_FORMAT, clock_now(VM_CLOCK_VIRTUAL));
}

static void cmd_clock_step(char **words)
{
    int64_t now = clock_now(VM_CLOCK_VIRTUAL);
    int64_t deadline = clock_virtual_deadline();
    uint64_t ns;
    if (!words[1]) {
        step_to(deadline < 0 ? now : MAX(deadline, now));
    } else if (number(words[1], &ns)) {
        step_to(ns > (uint64_t)(INT64_MAX - now) ? INT64_MAX : now + (int64_t)ns);
    }
}

static void cmd_clock_set(char **words)
{
    uint64_t ns;
    if (number(words[1], &ns)) {
        step_to((int64_t)MIN(ns, (uint64_t)INT64_MAX));
    }
}

/* ---- Interrupt lines ---- */

static void irq_changed(void *opaque, int pin, int level)
{
    if (pin < 0 || pin >= MAX_IRQS) {
        return;
    }
    g_mutex_lock(&server.irq_lock);
    if (server.irq_levels[pin] != (level != 0)) {
        server.irq_levels[pin] = level != 0;
        reply("IRQ %s %d", level ? "raise" : "lower", pin);
    }
    g_mutex_unlock(&server.irq_lock);
}

/* The inputs that have a name here are those of the I/O APIC: the machine's GSIs. */
static bool is_ioapic(const char *name)
{
    Device *dev = device_find(server.machine, name);
    const char *shown = dev ? dev->cls->name : name;
    return strstr(shown, "ioapic") != NULL && server.machine->gsi_count > 0;
}

static void intercept(bool on)
{
    Machine *machine = server.machine;
    for (unsigned i = 0; i < machine->gsi_count; i++) {
        machine->gsi[i].intercept_opaque = NULL;
        __atomic_store_n(&machine->gsi[i].intercept, on ? irq_changed : NULL, __ATOMIC_RELEASE);
    }
    server.intercepting = on;
}

static void cmd_irq_intercept_in(char **words)
{
    if (!is_ioapic(words[1])) {
        reply("FAIL no such device");
        return;
    }
    intercept(true);
    reply("OK");
}

/* No device of this machine names its outputs: what they drive can be watched at the I/O APIC. */
static void cmd_irq_intercept_out(char **words)
{
    bool known = device_find(server.machine, words[1]) != NULL;
    reply("FAIL %s", known ? "the device has no named outputs" : "Unknown device");
}

/* set_irq_in PATH NAME NUMBER LEVEL */
static void cmd_set_irq_in(char **words)
{
    uint64_t pin;
    uint64_t level;
    if (!is_ioapic(words[1])) {
        reply("FAIL no such device");
    } else if (number(words[3], &pin) && number(words[4], &level)) {
        if (pin >= server.machine->gsi_count) {
            reply("FAIL no such line");
            return;
        }
        irq_set(&server.machine->gsi[pin], level != 0);
        reply("OK");
    }
}

/* ---- The rest ---- */

static void cmd_endianness(char **words)
{
    reply("OK little");
}

/* Everything is built in. */
static void cmd_module_load(char **words)
{
    reply("OK");
}

typedef struct QtestCommand {
    const char *name;
    unsigned arguments; /* at least */
    void (*run)(char **words);
} QtestCommand;

static const QtestCommand commands[] = {
    { "inb", 1, cmd_in },
    { "inw", 1, cmd_in },
    { "inl", 1, cmd_in },
    { "outb", 2, cmd_out },
    { "outw", 2, cmd_out },
    { "outl", 2, cmd_out },
    { "readb", 1, cmd_read_value },
    { "readw", 1, cmd_read_value },
    { "readl", 1, cmd_read_value },
    { "readq", 1, cmd_read_value },
    { "writeb", 2, cmd_write_value },
    { "writew", 2, cmd_write_value },
    { "writel", 2, cmd_write_value },
    { "writeq", 2, cmd_write_value },
    { "read", 2, cmd_read },
    { "write", 3, cmd_write },
    { "b64read", 2, cmd_b64read },
    { "b64write", 3, cmd_b64write },
    { "memset", 3, cmd_memset },
    { "clock_step", 0, cmd_clock_step },
    { "clock_set", 1, cmd_clock_set },
    { "irq_intercept_in", 1, cmd_irq_intercept_in },
    { "irq_intercept_out", 1, cmd_irq_intercept_out },
    { "set_irq_in", 4, cmd_set_irq_in },
    { "endianness", 0, cmd_endianness },
    { "module_load", 2, cmd_module_load },
};

static void run_line(const char *line)
{
    log_line('R', line);
    g_auto(GStrv) words = g_strsplit(line, " ", 6);
    if (!words[0] || !words[0][0]) {
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(words[0], commands[i].name) == 0) {
            if (g_strv_length(words) <= commands[i].arguments) {
                reply("ERR %s wants %u arguments", words[0], commands[i].arguments);
            } else {
                commands[i].run(words);
            }
            return;
        }
    }
    reply("FAIL no such command: '%s'", words[0]);
}

/* ---- Lines ---- */

static void take_piece(const char *data, size_t len)
{
    if (server.discarding) {
        return;
    }
    if (server.line->len + len > MAX_LINE) {
        reply("ERR the line is too long");
        g_string_truncate(server.line, 0);
        server.discarding = true;
        return;
    }
    g_string_append_len(server.line, data, (gssize)len);
}

static void end_line(void)
{
    if (!server.discarding) {
        g_autofree char *line = g_strndup(server.line->str, server.line->len);
        g_string_truncate(server.line, 0);
        run_line(g_strchomp(line));
    }
    server.discarding = false;
}

void qtest_input(const uint8_t *data, size_t len)
{
    const char *at = (const char *)data;
    while (len) {
        const char *newline = memchr(at, '\n', len);
        size_t piece = newline ? (size_t)(newline - at) : len;
        take_piece(at, piece);
        if (newline) {
            end_line();
            piece++;
        }
        at += piece;
        len -= piece;
    }
}

static size_t on_can_read(void *opaque)
{
    return READ_CHUNK;
}

static void on_read(void *opaque, const uint8_t *data, size_t len)
{
    qtest_input(data, len);
}

static void on_event(void *opaque, CharEvent event)
{
    if (event != CHAR_EVENT_OPENED && event != CHAR_EVENT_CLOSED) {
        return;
    }
    g_string_truncate(server.line, 0);
    server.discarding = false;
    if (event == CHAR_EVENT_OPENED) {
        server.opened_at = clock_now(VM_CLOCK_REALTIME);
        g_mutex_lock(&server.irq_lock);
        memset(server.irq_levels, 0, sizeof(server.irq_levels));
        g_mutex_unlock(&server.irq_lock);
    } else if (server.intercepting) {
        intercept(false);
    }
    log_line('I', event == CHAR_EVENT_OPENED ? "OPENED" : "CLOSED");
}

static bool open_log(const char *log, GError **error)
{
    if (!log || strcmp(log, "none") == 0) {
        return true;
    }
    server.log = fopen(log, "we");
    return server.log || error_set_errno(error, errno, "-qtest-log: cannot create '%s'", log);
}

void qtest_server_init(Machine *machine)
{
    server.machine = machine;
    server.opened_at = clock_now(VM_CLOCK_REALTIME);
    server.line = g_string_new(NULL);
}

bool qtest_server_start(Machine *machine, Chardev *chardev, const char *log, GError **error)
{
    static const CharFrontendOps ops = { .can_read = on_can_read,
                                         .read = on_read,
                                         .event = on_event };
    if (!chardev) {
        return error_set(error, "-qtest needs a character device");
    }
    qtest_server_init(machine);
    if (!open_log(log, error)) {
        return false;
    }
    server.frontend = char_frontend_attach(chardev, &ops, NULL, error);
    return server.frontend != NULL;
}

void qtest_server_stop(void)
{
    if (server.intercepting) {
        intercept(false);
    }
    if (server.frontend) {
        char_frontend_detach(server.frontend);
    }
    if (server.log) {
        fclose(server.log);
    }
    if (server.line) {
        g_string_free(server.line, TRUE);
    }
    memset(&server, 0, sizeof(server));
}
