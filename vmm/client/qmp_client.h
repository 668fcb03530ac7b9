/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small QMP client: one command after the other, events are skipped, every wait has an end. Any
 * thread. */
#ifndef VMM_CLIENT_QMP_CLIENT_H
#define VMM_CLIENT_QMP_CLIENT_H

#include <json-c/json.h>
#include <sys/types.h>
#include "vmm/client/rundir.h"

typedef struct QmpClient QmpClient;

/* Connects to the machine and agrees on QMP; all that is done with the client must be over within
 * timeout_ms from now. */
QmpClient *qmp_client_open(const RunEntry *entry, unsigned timeout_ms, GError **error);
/* Gives the "return", a new reference; arguments (may be NULL) are consumed. */
json_object *qmp_client_run(QmpClient *client, const char *command, json_object *arguments,
                            GError **error);
/* What a line of the human monitor prints; the caller frees. */
char *qmp_client_hmp(QmpClient *client, const char *line, GError **error);
pid_t qmp_client_pid(const QmpClient *client); /* of the machine's process, by the kernel's word */
void qmp_client_free(QmpClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpClient, qmp_client_free)

/* Connects a stream socket to one of the machine's. -1 and error: nobody listens, nobody takes it
 * until the deadline (g_get_monotonic_time()). Non-blocking. */
int client_connect(const RunEntry *entry, const char *socket, int64_t deadline, GError **error);

#endif
