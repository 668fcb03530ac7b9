/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -trace: which trace points are on from the start, and where their log goes. */
#include <stdio.h>
#include <string.h>
#include "vmm/cli/option_handlers.h"
#include "vmm/cli/params.h"
#include "vmm/trace/trace.h"

/* The name, and the keys of what it tells. */
static void print_point(const char *name, const char *format, bool on, void *opaque)
{
    g_auto(GStrv) words = g_strsplit(format, " ", -1);
    printf("%-28s", name);
    for (char **word = words; *word; word++) {
        printf(" %.*s", (int)strcspn(*word, "="), *word);
    }
    printf("\n");
}

bool cli_opt_trace(Cli *cli, const char *value, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(value, "enable", error);
    if (!opts) {
        return false;
    }
    const char *enable = opts_get(opts, "enable");
    const char *events = opts_get(opts, "events");
    const char *file = opts_get(opts, "file");
    if (g_strcmp0(enable, "help") == 0 || g_strcmp0(enable, "?") == 0) {
        trace_foreach(NULL, print_point, NULL);
        cli->help_shown = true;
        return true;
    }
    return cli_check_params(opts, "-trace", "trace", error) &&
           (!file || trace_set_file(file, error)) && (!events || trace_apply_file(events, error)) &&
           (!enable || trace_apply(enable, error));
}
