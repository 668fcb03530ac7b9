/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `vireo list`, `vireo stop NAME` and their like: commands that talk to running machines. One table
 * of them yields parsing, help and the manual page. Main thread; before any machine code.
 */
#ifndef VMM_CLIENT_CLIENT_H
#define VMM_CLIENT_CLIENT_H

#include <glib.h>
#include <stdbool.h>

#define CLIENT_OPTIONS_MAX 3

typedef struct ClientOption {
    const char *name;          /* with its dashes; NULL ends the list */
    const char *arg;           /* NULL: takes none */
    const char *const *values; /* that it can have, NULL-terminated; NULL: any */
    const char *help;
} ClientOption;

typedef struct ClientArgs {
    const char *values[CLIENT_OPTIONS_MAX]; /* by the option's place; "" where it takes no value */
    const char *name;                       /* the machine's, or the first word; NULL: none */
    char **rest;                            /* words behind the name, for commands with `rest` */
} ClientArgs;

typedef struct ClientCommand {
    const char *name; /* NULL ends the table */
    const char *args; /* as the help shows them, "" for none */
    const char *help;
    ClientOption options[CLIENT_OPTIONS_MAX + 1];
    bool takes_name; /* of a machine */
    bool needs_name; /* also where only one machine runs */
    bool rest;       /* everything behind the name is its own affair */
    bool takes_word; /* the word is no machine's name */
    int (*run)(const ClientArgs *args, GError **error); /* the exit status; error: 1 */
} ClientCommand;

extern const ClientCommand client_commands[];

/* Whether the first word of a command line is one of the commands. */
bool client_is_command(const char *word);
/* The command that the word is nearly, or NULL. The caller frees. */
char *client_suggest(const char *word);
/* argv[0] is the command. The exit status. */
int client_main(int argc, char **argv);

/* The section of `-help`, the manual page's. */
void client_help(GString *out);
void client_man(GString *out);
/* Appends shell functions that know the commands and their options. */
void client_completion(GString *out);

#endif
