/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of commands, and how their arguments are read. */
#include "vmm/client/client.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/cli/opts.h"
#include "vmm/client/commands.h"

static const char *const output_formats[] = { "human", "json", NULL };

#define OPTION_OUTPUT                                                                              \
    {                                                                                              \
        "--output", "FORMAT", output_formats, "human (default) or json"                            \
    }

const ClientCommand client_commands[] = {
    { .name = "list",
      .args = "[--output=json]",
      .help = "the machines that run",
      .options = { OPTION_OUTPUT },
      .run = client_run_list },
    { .name = "info",
      .args = "[NAME] [--output=json]",
      .help = "a machine's disks, network, ports, memory, CPUs, status",
      .options = { OPTION_OUTPUT },
      .takes_name = true,
      .run = client_run_info },
    { .name = "console",
      .args = "[NAME]",
      .help = "its serial console on this terminal; Ctrl-] leaves",
      .takes_name = true,
      .run = client_run_console },
    { .name = "ssh",
      .args = "[USER@]NAME [SSH ARGUMENTS...]",
      .help = "ssh to the guest through the port that is forwarded to it",
      .takes_name = true,
      .needs_name = true,
      .rest = true,
      .run = client_run_ssh },
    { .name = "stop",
      .args = "NAME [--timeout=SECONDS] [--force]",
      .help = "presses the power button and waits until the machine has ended",
      .options = { { "--timeout", "SECONDS", NULL, "wait so long at most (60)" },
                   { "--force", NULL, NULL, "end it at once, without asking the guest" } },
      .takes_name = true,
      .needs_name = true,
      .run = client_run_stop },
    { .name = "help",
      .args = "[COMMAND]",
      .help = "how a command is used",
      .takes_word = true,
      .run = client_run_help },
    { .name = NULL },
};

static const ClientCommand *find_command(const char *word)
{
    for (const ClientCommand *c = client_commands; c->name; c++) {
        if (strcmp(c->name, word) == 0) {
            return c;
        }
    }
    return NULL;
}

bool client_is_command(const char *word)
{
    return find_command(word) != NULL;
}

char *client_suggest(const char *word)
{
    const char *names[G_N_ELEMENTS(client_commands)] = { NULL };
    for (size_t i = 0; client_commands[i].name; i++) {
        names[i] = client_commands[i].name;
    }
    return suggest_nearest(word, names);
}

static bool check_value(const ClientOption *option, const char *value, GError **error)
{
    if (option->values && !g_strv_contains(option->values, value)) {
        g_autofree char *all = g_strjoinv(", ", (char **)option->values);
        return error_set(error, "%s=%s: it is one of %s", option->name, value, all);
    }
    return true;
}

static bool unknown_option(const ClientCommand *command, const char *word, GError **error)
{
    return error_set(error, "unknown option '%s'; vireo help %s tells how it is used", word,
                     command->name);
}

/* "--key=value", "--key value", "--flag"; argv[*at] is the last word that was used. */
static bool take_option(const ClientCommand *command, ClientArgs *args, char **argv, int *at,
                        GError **error)
{
    const char *word = argv[*at];
    size_t len = strcspn(word, "=");
    for (int i = 0; command->options[i].name; i++) {
        const ClientOption *option = &command->options[i];
        if (strlen(option->name) != len || strncmp(option->name, word, len) != 0) {
            continue;
        }
        const char *value = word[len] ? word + len + 1 : option->arg ? argv[*at + 1] : "";
        if (!option->arg && word[len]) {
            return error_set(error, "%s takes no value", option->name);
        }
        if (!value) {
            return error_set(error, "%s needs a value: %s", option->name, option->arg);
        }
        *at += option->arg && !word[len];
        args->values[i] = value;
        return check_value(option, value, error);
    }
    return unknown_option(command, word, error);
}

static bool parse(const ClientCommand *command, ClientArgs *args, int argc, char **argv,
                  GError **error)
{
    for (int i = 1; i < argc; i++) {
        if (args->name && command->rest) {
            args->rest = argv + i;
            return true;
        }
        if (argv[i][0] == '-' && argv[i][1]) {
            if (!take_option(command, args, argv, &i, error)) {
                return false;
            }
        } else if (args->name || !(command->takes_name || command->takes_word)) {
            return error_set(error, "'%s' is one word too many; vireo %s %s", argv[i],
                             command->name, command->args);
        } else {
            args->name = argv[i];
        }
    }
    return args->name || !command->needs_name ||
           error_set(error, "which machine? vireo %s %s (vireo list shows their names)",
                     command->name, command->args);
}

static bool asks_help(int argc, char **argv)
{
    return argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
                        strcmp(argv[1], "-help") == 0);
}

int client_main(int argc, char **argv)
{
    GError *error = NULL;
    const ClientCommand *command = find_command(argv[0]);
    ClientArgs args = { 0 };
    int status = EXIT_FAILURE;
    signal(SIGPIPE, SIG_IGN);
    if (asks_help(argc, argv)) {
        args.name = command->name;
        command = find_command("help");
        status = command->run(&args, &error);
    } else if (parse(command, &args, argc, argv, &error)) {
        status = command->run(&args, &error);
    }
    if (error) {
        report_error("%s: %s", argv[0], error->message);
        g_error_free(error);
        return EXIT_FAILURE;
    }
    if (fflush(stdout) != 0) {
        report_error("%s: cannot write to standard output", argv[0]);
        return EXIT_FAILURE;
    }
    return status;
}
