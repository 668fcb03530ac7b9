/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What shells need to complete the commands: shell functions made from their table. What is around
 * them is in scripts/completion. */
#include "vmm/client/client.h"

static const char *what_it_takes(const ClientCommand *command)
{
    return command->takes_word    ? "command"
           : !command->takes_name ? "nothing"
           : command->rest        ? "user-machine"
                                  : "machine";
}

static void append_options(GString *out, const ClientCommand *command)
{
    for (const ClientOption *option = command->options; option->name; option++) {
        if (!option->arg || !option->values) {
            g_string_append_printf(out, "%s%s ", option->name, option->arg ? "=" : "");
            continue;
        }
        for (const char *const *value = option->values; *value; value++) {
            g_string_append_printf(out, "%s=%s ", option->name, *value);
        }
    }
}

void client_completion(GString *out)
{
    g_string_append(out, "_vireo_commands() {\n    echo");
    for (const ClientCommand *c = client_commands; c->name; c++) {
        g_string_append_printf(out, " %s", c->name);
    }
    g_string_append(out, "\n}\n\n_vireo_command() {\n    case $1 in\n");
    for (const ClientCommand *c = client_commands; c->name; c++) {
        g_string_append_printf(out, "    %s) takes=%s words='", c->name, what_it_takes(c));
        append_options(out, c);
        g_string_append(out, "' ;;\n");
    }
    g_string_append(out, "    *) takes=nothing words='' ;;\n    esac\n}\n");
}
