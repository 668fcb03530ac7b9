/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands by subject: each subject's file (vmm/monitor/cmd_*.c, block/qmp.c, net/qmp.c ...)
 * exports one constant MonitorCommands; vmm/commands.c lists them all. All of it on the main
 * thread.
 */
#ifndef VMM_MONITOR_COMMANDS_H
#define VMM_MONITOR_COMMANDS_H

#include <glib.h>
#include <json-c/json.h>
#include "vmm/error.h"

/* A QMP command of the schema. args points to its generated argument struct (qmp-schema.h),
 * checked. Returns the value (qmp_ok() when there is none), a new reference, or NULL and error. */
typedef struct QmpHandler {
    const char *name; /* NULL ends the table */
    json_object *(*run)(const void *args, GError **error);
} QmpHandler;

/*
 * A command of the human monitor: prints to out. args: the words behind the name, NULL-terminated,
 * min_args to max_args of them. A word in double quotes may have blanks, and \" \\ \n \r \'.
 *
 * params is what help shows, and what the Tab key goes by: words separated by blanks, optional ones
 * in brackets. A name in capitals stands for what the user gives (HmpWordKind lists what there is),
 * "on|off" for one of these words, "-f" for a flag, "/FMT" for a format right behind the name.
 */
typedef struct HmpCommand {
    const char *name; /* "stop", "info status"; NULL ends the table */
    const char *params;
    const char *help;
    void (*run)(GString *out, char **args);
    unsigned min_args;
    unsigned max_args;
    const char *alias; /* or NULL */
    bool rest;         /* the last word is the rest of the line, blanks and all */
} HmpCommand;

/* What a name in HmpCommand.params stands for: list adds the words (char *) that there are. */
typedef struct HmpWordKind {
    const char *name; /* "DEVICE"; NULL ends the table */
    void (*list)(GPtrArray *words);
} HmpWordKind;

typedef struct MonitorCommands {
    const QmpHandler *qmp;    /* may be NULL */
    const HmpCommand *hmp;    /* may be NULL */
    const HmpWordKind *words; /* may be NULL */
} MonitorCommands;

/* All of them, NULL-terminated; once, before monitors are made. */
void monitor_commands_register(const MonitorCommands *const *list);

const QmpHandler *monitor_find_qmp(const char *name);
void monitor_foreach_hmp(void (*fn)(const HmpCommand *command, void *opaque), void *opaque);
/* The words of that kind, in a new list that frees them; NULL: there is no such kind. */
GPtrArray *monitor_words(const char *kind);
/* Adds member `name` of each object in the list that a QMP command returns. */
void monitor_words_from_qmp(GPtrArray *words, const char *command, const char *name);

json_object *qmp_ok(void); /* {} */
/* object[name] = text, nothing when NULL. */
void json_add_string(json_object *object, const char *name, const char *text);
void json_add_bool(json_object *object, const char *name, bool value);
void json_add_int(json_object *object, const char *name, int64_t value);

/* "Error: MESSAGE" on out, and frees the error; nothing when NULL. */
void hmp_error(GString *out, GError *error);
/* Runs a QMP command for its effect; prints an error if there is one. Consumes arguments. */
void hmp_run_qmp(GString *out, const char *command, json_object *arguments);
/* Runs a line of the human monitor, which belongs to no session. */
void hmp_execute(const char *line, GString *out);

extern const MonitorCommands control_commands, machine_commands, device_commands, chardev_commands,
    info_commands, memory_commands, cpu_commands, qom_commands, hmp_help_commands,
    hmp_machine_commands, hmp_memory_commands, hmp_cpu_commands, hmp_pages_commands,
    hmp_ports_commands, save_commands, fd_commands, dump_commands, stats_commands;

/* Gives up a dump that is being written: before the machine is freed. */
void dump_commands_end(void);

#endif
