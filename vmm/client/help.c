/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `vireo help`, `-help` and the manual page say of the commands. */
#include <stdio.h>
#include <string.h>
#include "vmm/client/commands.h"

static const char intro[] =
    "vireo FILE... starts a machine from disk images and ISOs, with memory and CPUs after the\n"
    "host, a user network with ssh forwarded, and its serial console on the terminal. Any option\n"
    "may follow, and wins. These commands find machines that were started so (or with -run-dir\n"
    "on) by name:\n";

static const char outro[] =
    "Examples:\n"
    "  vireo disk.qcow2                        run it on this terminal\n"
    "  vireo disk.qcow2 install.iso            the same, started from the CD this once\n"
    "  vireo disk.qcow2 -m 4G -daemonize       in the background ...\n"
    "  vireo console disk                      ... and its console\n"
    "A file that is called like a command is opened as ./list. vireo -help lists the options.\n";

void client_help(GString *out)
{
    g_string_append(out, "\nMachines by name:\n");
    for (const ClientCommand *c = client_commands; c->name; c++) {
        g_string_append_printf(out, "vireo %s %s\n%16s%s\n", c->name, c->args, "", c->help);
    }
}

static void describe(const ClientCommand *command)
{
    printf("usage: vireo %s %s\n%s.\n", command->name, command->args, command->help);
    for (const ClientOption *o = command->options; o->name; o++) {
        g_autofree char *form = g_strconcat(o->name, o->arg ? "=" : "", o->arg, NULL);
        printf("  %-20s %s\n", form, o->help);
    }
}

int client_run_help(const ClientArgs *args, GError **error)
{
    if (!args->name) {
        printf("%s\n", intro);
        for (const ClientCommand *c = client_commands; c->name; c++) {
            printf("  vireo %s %s\n        %s\n", c->name, c->args, c->help);
        }
        printf("\n%s", outro);
        return 0;
    }
    for (const ClientCommand *c = client_commands; c->name; c++) {
        if (strcmp(c->name, args->name) == 0) {
            describe(c);
            return 0;
        }
    }
    g_autofree char *near = client_suggest(args->name);
    error_set(error, "'%s' is not a command%s%s%s", args->name, near ? "; did you mean '" : "",
              near ? near : "", near ? "'?" : "");
    return 1;
}

/* ---- The manual page ---- */

static void append_escaped(GString *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '-') {
            g_string_append_c(out, '\\');
        }
        g_string_append_c(out, *p);
    }
}

void client_man(GString *out)
{
    g_string_append(out, ".SH COMMANDS\n");
    append_escaped(out, intro);
    for (const ClientCommand *c = client_commands; c->name; c++) {
        g_string_append_printf(out, ".TP\n\\fBvireo %s\\fR \\fI", c->name);
        append_escaped(out, c->args);
        g_string_append(out, "\\fR\n");
        append_escaped(out, c->help);
        g_string_append(out, "\n");
        for (const ClientOption *o = c->options; o->name; o++) {
            g_string_append(out, ".br\n\\fB");
            append_escaped(out, o->name);
            g_string_append_printf(out, "\\fR%s%s: ", o->arg ? "=" : "", o->arg ? o->arg : "");
            append_escaped(out, o->help);
            g_string_append(out, "\n");
        }
    }
}
