/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -d and -D. */
#include <stdio.h>
#include "vmm/cli/option_handlers.h"
#include "vmm/log.h"

bool cli_opt_log_items(Cli *cli, const char *value, GError **error)
{
    if (g_str_equal(value, "help") || g_str_equal(value, "?")) {
        g_autoptr(GString) text = g_string_new(NULL);
        log_help(text);
        fputs(text->str, stdout);
        cli->help_shown = true;
        return true;
    }
    return log_add_items(value, error);
}

bool cli_opt_log_file(Cli *cli, const char *value, GError **error)
{
    cli->log_file = value;
    return true;
}
