/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options about the process itself: what it inherits, whom it runs as. */
#include "vmm/cli/option_handlers.h"

#include "vmm/cli/params.h"

bool cli_opt_add_fd(Cli *cli, const char *value, GError **error)
{
    Opts *opts = opts_parse(value, NULL, error);
    if (opts) {
        g_ptr_array_add(cli->add_fds, opts);
    }
    return opts != NULL;
}

bool cli_opt_runas(Cli *cli, const char *value, GError **error)
{
    return privileges_set_user(&cli->privileges, value, error);
}

bool cli_opt_chroot(Cli *cli, const char *value, GError **error)
{
    return privileges_set_root(&cli->privileges, value, error);
}

bool cli_opt_async_teardown(Cli *cli, const char *value, GError **error)
{
    cli->async_teardown = true;
    return true;
}

bool cli_opt_run_with(Cli *cli, const char *value, GError **error)
{
    g_autoptr(Opts) opts = opts_parse(value, NULL, error);
    if (!opts || !opts_get_bool(opts, "async-teardown", &cli->async_teardown, error)) {
        return false;
    }
    const char *root = opts_get(opts, "chroot"), *user = opts_get(opts, "user");
    return cli_check_params(opts, "run-with", "run-with", error) &&
           (!root || cli_opt_chroot(cli, root, error)) &&
           (!user || cli_opt_runas(cli, user, error));
}

bool cli_opt_sandbox(Cli *cli, const char *value, GError **error)
{
    return sandbox_parse(&cli->sandbox, value, error);
}
