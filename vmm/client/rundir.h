/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The running machines of a user: a directory of mode 0700 with a folder for each,
 *     NAME/lock       locked (open file description) while the machine lives
 *     NAME/qmp        QMP
 *     NAME/console    the first serial port, when it was not led elsewhere
 *     NAME/info.json  what the machine was started with
 *     .ports          a byte for each port of the host, locked by the machine that forwards it
 * in $XDG_RUNTIME_DIR/vireo, else /run/user/UID/vireo, else /tmp/vireo-UID. What is found there is
 * not trusted: nothing is followed through a symbolic link, nothing is opened that could block.
 * Main thread, unless said otherwise.
 */
#ifndef VMM_CLIENT_RUNDIR_H
#define VMM_CLIENT_RUNDIR_H

#include <json-c/json.h>
#include <sys/un.h>
#include "vmm/error.h"

#define RUNDIR_QMP      "qmp"
#define RUNDIR_CONSOLE  "console"
#define RUNDIR_NAME_MAX 64 /* bytes of a machine's name */

/* ---- The machine's side ---- */
typedef struct RunDir RunDir;

/* A name for a folder out of any text: what may not stand there becomes '_'; never empty. */
char *rundir_clean_name(const char *text);
/* Takes the name for this process. When it is taken by a running machine: with `number`, NAME-2,
 * NAME-3 ... is tried; without, an error. */
RunDir *rundir_claim(const char *name, bool number, GError **error);
const char *rundir_name(const RunDir *dir);
/* A listening socket in the folder; -1 and error. */
int rundir_listen(RunDir *dir, const char *socket, GError **error);
/* Writes info.json: adds the name, the process and the start to what is given. */
bool rundir_write_info(RunDir *dir, json_object *info, GError **error);
/* The first port of 127.0.0.1 from first to last that nobody listens on and no machine of the user
 * has taken; it stays taken as long as dir. 0 and error. */
unsigned rundir_take_port(RunDir *dir, unsigned first, unsigned last, GError **error);
/* Removes the folder; NULL is nothing. */
void rundir_leave(RunDir *dir);

/* ---- The clients' side ---- */
typedef struct RunEntry {
    char *name;
    int dir, lock;     /* descriptors */
    json_object *info; /* an object; NULL: cannot be read */
} RunEntry;

void rundir_entry_free(RunEntry *entry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RunEntry, rundir_entry_free)

/* The machines that run, by name: RunEntry *, freed with the array. Folders of dead ones are
 * removed. NULL and error when the directory is not ours alone. */
GPtrArray *rundir_list(GError **error);
/* One of them. NULL name: the only one that runs. The error suggests the nearest. */
RunEntry *rundir_find(const char *name, GError **error);
/* Whether the machine still runs. Any thread. */
bool rundir_is_alive(const RunEntry *entry);
/* A socket's address that fits whatever the directory's path; good while `dir` is open. Any thread.
 */
void rundir_socket_address(int dir, const char *socket, struct sockaddr_un *address);

#endif
