/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's reads and writes of I/O ports, as a vCPU does them. */
#include "vmm/monitor/hmp.h"

#include "vmm/machine/machine.h"
#include "vmm/util/bytes.h"

#define PORT_LAST 0xffff

static bool read_port(const char **text, uint64_t *port, GError **error)
{
    return hmp_value(text, port, false, error) &&
           (*port <= PORT_LAST || error_set(error, "ports are numbers up to 0x%x", PORT_LAST));
}

/* What stands in front of the port: /b, /h or /w; 4 bytes without it, as in QEMU. */
static bool take_size(const char **text, unsigned *size, GError **error)
{
    HmpFormat format = { .count = 1, .format = 'x', .size = 4 };
    *size = 4;
    if (!hmp_take_format(text, &format, error)) {
        return false;
    }
    *size = format.size;
    return *size <= 4 || error_set(error, "a port is read and written in 1, 2 or 4 bytes");
}

/* i/FMT PORT[.INDEX]: the index is written to the port first, and the next one read. */
static bool input(GString *out, const char *text, GError **error)
{
    AddressSpace *io = machine_get()->io;
    uint8_t data[8] = { 0 };
    uint64_t port, index;
    unsigned size;
    if (!take_size(&text, &size, error)) {
        return false;
    }
    if (!read_port(&text, &port, error)) {
        return false;
    }
    if (*text == '.') {
        text++;
        if (!hmp_value(&text, &index, true, error)) {
            return false;
        }
        data[0] = (uint8_t)index;
        address_space_write(io, port, data, 1);
        port = (port + 1) & PORT_LAST;
    } else if (*text) {
        return error_set(error, "behind the port stands '%.32s'", text);
    }
    address_space_read(io, port, data, size);
    g_string_append_printf(out, "port%c[0x%04x] = 0x%0*" G_GINT64_MODIFIER "x\n",
                           size == 1   ? 'b'
                           : size == 2 ? 'w'
                                       : 'l',
                           (unsigned)port, (int)size * 2, load_le(data, size));
    return true;
}

static bool output(const char *text, GError **error)
{
    uint8_t data[8] = { 0 };
    uint64_t port, value;
    unsigned size;
    if (!take_size(&text, &size, error) || !read_port(&text, &port, error) ||
        !hmp_value(&text, &value, true, error)) {
        return false;
    }
    store_le(data, value, size);
    address_space_write(machine_get()->io, port, data, size);
    return true;
}

static void hmp_input(GString *out, char **args)
{
    GError *error = NULL;
    input(out, args[0], &error);
    hmp_error(out, error);
}

static void hmp_output(GString *out, char **args)
{
    GError *error = NULL;
    output(args[0], &error);
    hmp_error(out, error);
}

static const HmpCommand hmp[] = {
    { "i", "/FMT PORT[.INDEX]",
      "read a port (/b 1, /h 2, /w 4 bytes); INDEX is written to it first, and the next one read",
      hmp_input, 1, 1, .rest = true },
    { "o", "/FMT PORT VALUE", "write to a port", hmp_output, 1, 1, .rest = true },
    { NULL },
};

const MonitorCommands hmp_ports_commands = { .hmp = hmp };
