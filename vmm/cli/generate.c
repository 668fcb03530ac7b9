/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is made from the table of options: -help and the manual page. */
#include "vmm/cli/cli.h"

#include <string.h>
#include "config.h"
#include "vmm/cli/option_handlers.h"
#include "vmm/client/client.h"

static void append_wrapped(GString *out, const char *text, size_t indent, size_t width)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    size_t column = indent;
    g_string_append_printf(out, "%*s", (int)indent, "");
    for (char **word = words; *word; word++) {
        if (column > indent && column + strlen(*word) + 1 > width) {
            g_string_append_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        }
        g_string_append_printf(out, "%s%s", column > indent ? " " : "", *word);
        column += strlen(*word) + 1;
    }
    g_string_append_c(out, '\n');
}

void cli_help(GString *out)
{
    g_string_append(out, "Vireo " VIREO_VERSION ", a virtual machine monitor for Linux/KVM\n"
                         "usage: vireo FILE... [options]      a machine from disk images and ISOs\n"
                         "       vireo [options] [FILE...]    the same with QEMU's defaults\n"
                         "       vireo COMMAND ...            machines that run (vireo help)\n");
    client_help(out);
    const char *section = "";
    for (const CliOption *option = cli_options; option->name; option++) {
        if (!g_str_equal(section, option->section)) {
            section = option->section;
            g_string_append_printf(out, "\n%s:\n", section);
        }
        g_string_append_printf(out, "-%s", option->name);
        if (option->alias) {
            g_string_append_printf(out, ", -%s", option->alias);
        }
        g_string_append_printf(out, "%s%s\n", option->arg ? " " : "",
                               option->arg ? option->arg : "");
        append_wrapped(out, option->help, 16, 100);
    }
    g_string_append(out,
                    "\nOptions have QEMU's syntax. Examples:\n"
                    "  vireo disk.qcow2\n"
                    "  vireo -m 2G -smp 2 disk.img\n"
                    "  vireo -m 2G -smp 2 -kernel vmlinuz -initrd initrd.img \\\n"
                    "        -append \"console=ttyS0 root=/dev/vda\" \\\n"
                    "        -drive file=disk.img,format=raw,if=virtio -nic user -nographic\n");
}

/* ---- The manual page ---- */

/* Text in roff: '-' as a minus, no line that begins with a control character. */
static void append_roff(GString *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '-') {
            g_string_append(out, "\\-");
        } else if (*p == '\\') {
            g_string_append(out, "\\e");
        } else {
            g_string_append_c(out, *p);
        }
    }
}

static void append_man_option(GString *out, const CliOption *option)
{
    g_string_append(out, ".TP\n\\fB\\-");
    append_roff(out, option->name);
    g_string_append(out, "\\fR");
    if (option->alias) {
        g_string_append(out, ", \\fB\\-");
        append_roff(out, option->alias);
        g_string_append(out, "\\fR");
    }
    if (option->arg) {
        g_string_append(out, " \\fI");
        append_roff(out, option->arg);
        g_string_append(out, "\\fR");
    }
    g_string_append(out, "\n");
    append_roff(out, option->help);
    g_string_append(out, "\n");
}

void cli_man(GString *out)
{
    g_string_append(
        out,
        ".TH VIREO 1 \"\" \"Vireo " VIREO_VERSION "\"\n"
        ".SH NAME\nvireo \\- virtual machine monitor for Linux/KVM\n"
        ".SH SYNOPSIS\n.B vireo\n.IR FILE ... \" \" [ options ]\n.br\n"
        ".B vireo\n.RI [ options ]\n.br\n.B vireo\n.IR COMMAND \" ...\"\n"
        ".SH DESCRIPTION\n"
        "Runs one virtual machine on KVM, with the command line, the QMP monitor and the\n"
        "guest-visible hardware of QEMU. Option arguments are lists key=value,...; a comma in a\n"
        "value is doubled. \\-device, \\-blockdev and \\-netdev take JSON as well.\n"
        "An option that QEMU has and Vireo has not is refused with the reason.\n");
    client_man(out);
    g_string_append(out, ".SH OPTIONS\n");
    const char *section = "";
    for (const CliOption *option = cli_options; option->name; option++) {
        if (!g_str_equal(section, option->section)) {
            section = option->section;
            g_string_append_printf(out, ".SS %s\n", section);
        }
        append_man_option(out, option);
    }
    g_string_append(
        out,
        ".SH KEYS\nWith \\-nographic, Ctrl\\-a h shows the keys; Ctrl\\-a x ends the machine,\n"
        "Ctrl\\-a c switches between console and monitor.\n"
        ".SH EXIT STATUS\n0 when the machine was shut down in order, 1 after an error; with\n"
        "\\-device isa\\-debug\\-exit the status that the guest wrote.\n"
        ".SH EXAMPLES\n.nf\n"
        "vireo \\-m 2G \\-smp 2 \\-kernel vmlinuz \\-initrd initrd.img \\e\n"
        "      \\-append \"console=ttyS0 root=/dev/vda\" \\e\n"
        "      \\-drive file=disk.img,format=raw,if=virtio \\e\n"
        "      \\-nic user,hostfwd=tcp:127.0.0.1:2222\\-:22 \\-nographic\n.fi\n"
        ".SH SEE ALSO\n.BR kvm (4)\n");
}
