/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo list: the machines that run. All are asked at once, so that one that hangs costs no more
 * than its own answer. */
#include <stdio.h>
#include <string.h>
#include "vmm/client/commands.h"

#define ASKED_AT_ONCE 16

typedef struct ListRow {
    const RunEntry *entry;
    char *status; /* a word in any case */
    char *problem;
    pid_t pid;            /* 0: unknown */
    unsigned ssh_port;    /* 0: none */
    int64_t cpus, memory; /* -1: unknown */
} ListRow;

static void row_clear(gpointer data)
{
    ListRow *row = data;
    g_free(row->status);
    g_free(row->problem);
}

static void ask_ssh(QmpClient *client, ListRow *row)
{
    GArray *forwards = facts_forwards(client, NULL);
    const Forward *ssh = forwards ? facts_ssh(forwards) : NULL;
    row->ssh_port = ssh ? ssh->host_port : 0;
    if (forwards) {
        g_array_unref(forwards);
    }
}

static void ask(ListRow *row)
{
    GError *error = NULL;
    g_autoptr(QmpClient) client = qmp_client_open(row->entry, CLIENT_TIMEOUT_MS, &error);
    if (client) {
        row->pid = qmp_client_pid(client);
        row->status = facts_status(client, &error);
    }
    if (row->status) {
        ask_ssh(client, row);
    } else {
        row->status = g_strdup("no answer");
        row->problem = g_strdup(error->message);
    }
    g_clear_error(&error);
}

/* What the threads of ask_all() share. */
typedef struct Round {
    GArray *rows;
    gint next; /* that nobody asks yet */
} Round;

static gpointer ask_in_turn(gpointer opaque)
{
    Round *round = opaque;
    for (guint i; (i = (guint)g_atomic_int_add(&round->next, 1)) < round->rows->len;) {
        ask(&g_array_index(round->rows, ListRow, i));
    }
    return NULL;
}

static GArray *ask_all(GPtrArray *machines)
{
    GArray *rows = g_array_sized_new(FALSE, TRUE, sizeof(ListRow), machines->len);
    g_array_set_clear_func(rows, row_clear);
    g_array_set_size(rows, machines->len);
    for (guint i = 0; i < machines->len; i++) {
        ListRow *row = &g_array_index(rows, ListRow, i);
        row->entry = g_ptr_array_index(machines, i);
        json_object *info = row->entry->info;
        row->cpus = info ? facts_number(info, "cpus", -1) : -1;
        row->memory = info ? facts_number(info, "memory", -1) : -1;
    }
    Round round = { .rows = rows };
    GThread *threads[ASKED_AT_ONCE];
    guint count = MIN(machines->len, ASKED_AT_ONCE);
    for (guint i = 0; i < count; i++) {
        threads[i] = g_thread_new("ask", ask_in_turn, &round);
    }
    for (guint i = 0; i < count; i++) {
        g_thread_join(threads[i]);
    }
    return rows;
}

static json_object *row_json(const ListRow *row)
{
    json_object *o = json_object_new_object();
    int64_t uptime = facts_uptime(row->entry);
    json_object_object_add(o, "name", json_object_new_string(row->entry->name));
    json_object_object_add(o, "status", json_object_new_string(row->status));
    if (row->pid) {
        json_object_object_add(o, "pid", json_object_new_int(row->pid));
    }
    if (row->cpus >= 0) {
        json_object_object_add(o, "cpus", json_object_new_int64(row->cpus));
    }
    if (row->memory >= 0) {
        json_object_object_add(o, "memory", json_object_new_int64(row->memory));
    }
    if (uptime >= 0) {
        json_object_object_add(o, "uptime", json_object_new_int64(uptime));
    }
    if (row->ssh_port) {
        json_object_object_add(o, "ssh-port", json_object_new_int(row->ssh_port));
    }
    if (row->problem) {
        json_object_object_add(o, "problem", json_object_new_string(row->problem));
    }
    return o;
}

/* Columns are counted in characters, not in bytes. */
static void print_column(const char *text, int width)
{
    int pad = width - (int)g_utf8_strlen(text, -1);
    printf("%s%*s  ", text, MAX(pad, 0), "");
}

static void print_number(unsigned number, int width, const char *missing)
{
    g_autofree char *text = number ? g_strdup_printf("%u", number) : g_strdup(missing);
    print_column(text, width);
}

static void print_row(const ListRow *row, int name_width)
{
    g_autofree char *name = facts_printable(row->entry->name);
    g_autofree char *memory = row->memory < 0 ? g_strdup("?") : facts_size((uint64_t)row->memory);
    g_autofree char *uptime = facts_duration(facts_uptime(row->entry));
    print_column(name, name_width);
    print_column(row->status, 10);
    print_number(row->pid, 7, "?");
    print_number(row->cpus > 0 ? (unsigned)row->cpus : 0, 4, "?");
    print_column(memory, 9);
    print_column(uptime, 12);
    if (row->ssh_port) {
        printf("%u\n", row->ssh_port);
    } else {
        printf("-\n");
    }
}

static void print_table(const GArray *rows)
{
    int width = 12;
    for (guint i = 0; i < rows->len; i++) {
        const ListRow *row = &g_array_index(rows, ListRow, i);
        g_autofree char *name = facts_printable(row->entry->name);
        width = MAX(width, (int)g_utf8_strlen(name, -1));
    }
    if (!rows->len) {
        printf("no machine runs\n");
        return;
    }
    print_column("NAME", width);
    printf("STATUS      PID      CPUS  MEMORY     UPTIME        SSH PORT\n");
    for (guint i = 0; i < rows->len; i++) {
        const ListRow *row = &g_array_index(rows, ListRow, i);
        print_row(row, width);
    }
}

int client_run_list(const ClientArgs *args, GError **error)
{
    g_autoptr(GPtrArray) machines = rundir_list(error);
    if (!machines) {
        return 1;
    }
    g_autoptr(GArray) rows = ask_all(machines);
    if (!client_wants_json(args, 0)) {
        print_table(rows);
        return 0;
    }
    json_object *list = json_object_new_array();
    for (guint i = 0; i < rows->len; i++) {
        json_object_array_add(list, row_json(&g_array_index(rows, ListRow, i)));
    }
    client_print_json(list);
    json_object_put(list);
    return 0;
}
