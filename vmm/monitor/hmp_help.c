/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the human monitor says of itself. */
#include "vmm/monitor/hmp.h"

#include <string.h>

static void put_help(GString *out, const HmpCommand *command)
{
    hmp_put_usage(out, command);
    if (command->alias) {
        g_string_append_printf(out, " (or %s)", command->alias);
    }
    g_string_append_printf(out, " -- %s\n", command->help);
}

static int compare(gconstpointer a, gconstpointer b)
{
    const HmpCommand *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static void collect(const HmpCommand *command, void *opaque)
{
    g_ptr_array_add(opaque, (void *)command);
}

static void list(GString *out, bool info)
{
    g_autoptr(GPtrArray) commands = g_ptr_array_new();
    monitor_foreach_hmp(collect, commands);
    g_ptr_array_sort(commands, compare);
    for (guint i = 0; i < commands->len; i++) {
        const HmpCommand *command = g_ptr_array_index(commands, i);
        if (g_str_has_prefix(command->name, "info ") == info) {
            put_help(out, command);
        }
    }
}

static void list_missing(GString *out)
{
    for (const HmpMissing *row = hmp_missing; row->name; row++) {
        const char *rest;
        const HmpCommand *command = hmp_find(row->name, &rest);
        if (!command || *rest) {
            g_string_append_printf(out, "%s -- %s\n", row->name, row->reason);
        }
    }
}

static void hmp_help(GString *out, char **args)
{
    const char *rest;
    const HmpCommand *command = args[0] ? hmp_find(args[0], &rest) : NULL;
    if (!args[0]) {
        list(out, false);
    } else if (g_str_equal(args[0], "info")) {
        list(out, true);
    } else if (g_str_equal(args[0], "missing")) {
        list_missing(out);
    } else if (command && !*rest) {
        put_help(out, command);
    } else {
        for (const HmpMissing *row = hmp_missing; row->name; row++) {
            if (g_str_equal(args[0], row->name)) {
                g_string_append_printf(out, "%s -- QEMU's, and not in this version: %s\n",
                                       row->name, row->reason);
                return;
            }
        }
        g_string_append_printf(out, "There is no command '%.64s': help lists them\n", args[0]);
    }
}

/* `info` with nothing behind it; with what it does not know, the line has been refused before. */
static void hmp_info(GString *out, char **args)
{
    list(out, true);
}

static void hmp_history(GString *out, char **args)
{
    const GPtrArray *history = hmp_context()->history;
    for (guint i = 0; history && i < history->len; i++) {
        g_string_append_printf(out, "%u: '%s'\n", i, (const char *)g_ptr_array_index(history, i));
    }
}

static const HmpCommand hmp[] = {
    { "help", "[COMMAND|info|missing]",
      "the commands, or one; help info: what info shows; help missing: what only QEMU has",
      hmp_help, 0, 1, .alias = "?", .rest = true },
    { "info", NULL, "what can be shown: the same as help info", hmp_info },
    { "info history", NULL, "the lines typed so far", hmp_history },
    { NULL },
};

const MonitorCommands hmp_help_commands = { .hmp = hmp };
