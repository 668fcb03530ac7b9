/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options about the process itself: what it inherits, whom it runs as. */
#include "vmm/cli/option_handlers.h"

bool cli_opt_add_fd(Cli *cli, const char *value, GError **error)
{
    Opts *opts = opts_parse(value, NULL, error);
    if (opts) {
        g_ptr_array_add(cli->add_fds, opts);
    }
    return opts != NULL;
}
