/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parameters of the command line's options, as query-command-line-options tells them and as the
 * options check what they are given. Main thread.
 */
#ifndef VMM_CLI_PARAMS_H
#define VMM_CLI_PARAMS_H

#include <json-c/json.h>
#include "vmm/cli/opts.h"

/* All of opts was taken by its option; group is QEMU's name of the option's parameters. */
bool cli_check_params(Opts *opts, const char *option, const char *group, GError **error);
/* What a group takes besides: names of a constant list, NULL-terminated, that other parts keep. */
void cli_params_add(const char *group, const char *const *names);
/* The list of CommandLineOptionInfo, or the one of the group; NULL and error. New reference. */
json_object *cli_params_to_json(const char *group, GError **error);

#endif
