/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands' functions, and what several use. */
#ifndef VMM_CLIENT_COMMANDS_H
#define VMM_CLIENT_COMMANDS_H

#include "vmm/client/client.h"
#include "vmm/client/qmp_client.h"

#define CLIENT_TIMEOUT_MS 3000 /* for a machine's answers */

int client_run_list(const ClientArgs *args, GError **error);
int client_run_info(const ClientArgs *args, GError **error);
int client_run_console(const ClientArgs *args, GError **error);
int client_run_ssh(const ClientArgs *args, GError **error);
int client_run_stop(const ClientArgs *args, GError **error);
int client_run_help(const ClientArgs *args, GError **error);

/* ---- facts.c: what a machine says of itself. Any thread. ---- */
/* A port of the host that leads to the guest. */
typedef struct Forward {
    bool udp;
    char host[64], guest[64]; /* addresses; "*" for all */
    unsigned host_port, guest_port;
} Forward;

GArray *facts_forwards(QmpClient *client, GError **error); /* Forward */
/* The port of the host that leads to the guest's TCP port 22, or NULL. */
const Forward *facts_ssh(const GArray *forwards);
/* "running", "paused" ...; NULL and error. The caller frees. */
char *facts_status(QmpClient *client, GError **error);
int64_t facts_uptime(const RunEntry *entry); /* seconds; -1: unknown */
int64_t facts_number(json_object *object, const char *key, int64_t missing);
/* Text, with control characters replaced: what is printed must not command the terminal. */
char *facts_text(json_object *object, const char *key);
char *facts_printable(const char *text);
char *facts_duration(int64_t seconds); /* "3 days 04:05", "04:05:06" */
char *facts_size(uint64_t bytes);      /* "2 GiB" */
bool client_wants_json(const ClientArgs *args, unsigned option);
/* One document on standard output. */
void client_print_json(json_object *object);

#endif
