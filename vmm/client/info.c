/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo info: one machine, asked over QMP. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "vmm/client/commands.h"

/* Runs a query and adds its answer; an answer of another type is dropped. */
static bool add_query(json_object *all, const char *key, QmpClient *client, const char *command,
                      json_type type, GError **error)
{
    json_object *answer = qmp_client_run(client, command, NULL, error);
    if (!answer) {
        return false;
    }
    if (!json_object_is_type(answer, type)) {
        json_object_put(answer);
        answer = NULL;
    }
    json_object_object_add(all, key, answer);
    return true;
}

static json_object *member(json_object *object, const char *key, json_type type)
{
    json_object *value = NULL;
    if (json_object_is_type(object, json_type_object)) {
        json_object_object_get_ex(object, key, &value);
    }
    return json_object_is_type(value, type) ? value : NULL;
}

static void copy_member(json_object *to, const char *key, json_object *from, const char *name)
{
    json_object *value = NULL;
    if (json_object_object_get_ex(from, name, &value)) {
        json_object_object_add(to, key, json_object_get(value));
    }
}

/* What is of use of an element of query-block. */
static json_object *disk_json(json_object *block)
{
    json_object *disk = json_object_new_object();
    json_object *inserted = member(block, "inserted", json_type_object);
    json_object *image = member(inserted, "image", json_type_object);
    copy_member(disk, "device", block, "device");
    if (inserted) {
        copy_member(disk, "file", inserted, "file");
        copy_member(disk, "format", inserted, "drv");
        copy_member(disk, "read-only", inserted, "ro");
    }
    if (image) {
        copy_member(disk, "size", image, "virtual-size");
    }
    return disk;
}

static json_object *disks_json(json_object *blocks)
{
    json_object *disks = json_object_new_array();
    for (size_t i = 0; blocks && i < json_object_array_length(blocks); i++) {
        json_object *block = json_object_array_get_idx(blocks, i);
        if (json_object_is_type(block, json_type_object)) {
            json_object_array_add(disks, disk_json(block));
        }
    }
    return disks;
}

static json_object *lines_json(const char *text)
{
    json_object *list = json_object_new_array();
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_autofree char *clean = facts_printable(g_strstrip(*line));
        if (*clean) {
            json_object_array_add(list, json_object_new_string(clean));
        }
    }
    return list;
}

static json_object *forwards_json(const GArray *forwards)
{
    json_object *list = json_object_new_array();
    for (guint i = 0; i < forwards->len; i++) {
        const Forward *f = &g_array_index(forwards, Forward, i);
        json_object *o = json_object_new_object();
        json_object_object_add(o, "protocol", json_object_new_string(f->udp ? "udp" : "tcp"));
        json_object_object_add(o, "host", json_object_new_string(f->host));
        json_object_object_add(o, "host-port", json_object_new_int((int)f->host_port));
        json_object_object_add(o, "guest", json_object_new_string(f->guest));
        json_object_object_add(o, "guest-port", json_object_new_int((int)f->guest_port));
        json_object_array_add(list, o);
    }
    return list;
}

static bool add_network(json_object *all, QmpClient *client, GError **error)
{
    g_autofree char *network = qmp_client_hmp(client, "info network", error);
    g_autoptr(GArray) forwards = network ? facts_forwards(client, error) : NULL;
    if (!forwards) {
        return false;
    }
    json_object_object_add(all, "network", lines_json(network));
    json_object_object_add(all, "forwards", forwards_json(forwards));
    return true;
}

static bool has_console(const RunEntry *entry)
{
    struct stat st;
    return fstatat(entry->dir, RUNDIR_CONSOLE, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISSOCK(st.st_mode);
}

/* All that there is to say, as one object; NULL and error. */
static json_object *collect(const RunEntry *entry, GError **error)
{
    g_autoptr(QmpClient) client = qmp_client_open(entry, CLIENT_TIMEOUT_MS, error);
    if (!client) {
        return NULL;
    }
    g_autofree char *status = facts_status(client, error);
    json_object *raw = json_object_new_object(), *all = json_object_new_object();
    if (!status ||
        !add_query(raw, "memory", client, "query-memory-size-summary", json_type_object, error) ||
        !add_query(raw, "cpus", client, "query-cpus-fast", json_type_array, error) ||
        !add_query(raw, "blocks", client, "query-block", json_type_array, error) ||
        !add_network(all, client, error)) {
        json_object_put(raw);
        json_object_put(all);
        return NULL;
    }
    json_object *memory = member(raw, "memory", json_type_object);
    json_object *cpus = member(raw, "cpus", json_type_array);
    json_object_object_add(all, "name", json_object_new_string(entry->name));
    json_object_object_add(all, "status", json_object_new_string(status));
    json_object_object_add(all, "pid", json_object_new_int(qmp_client_pid(client)));
    json_object_object_add(all, "uptime", json_object_new_int64(facts_uptime(entry)));
    json_object_object_add(all, "cpus",
                           json_object_new_int(cpus ? (int)json_object_array_length(cpus) : 0));
    json_object_object_add(all, "memory",
                           json_object_new_int64(memory
                                                     ? facts_number(memory, "base-memory", 0) +
                                                           facts_number(memory, "plugged-memory", 0)
                                                     : 0));
    json_object_object_add(all, "disks", disks_json(member(raw, "blocks", json_type_array)));
    json_object_object_add(all, "console", json_object_new_boolean(has_console(entry)));
    json_object_put(raw);
    return all;
}

/* ---- For people ---- */

static void print_disks(json_object *disks)
{
    for (size_t i = 0; i < json_object_array_length(disks); i++) {
        json_object *disk = json_object_array_get_idx(disks, i);
        g_autofree char *device = facts_text(disk, "device"), *file = facts_text(disk, "file");
        g_autofree char *format = facts_text(disk, "format");
        g_autofree char *size = facts_size((uint64_t)facts_number(disk, "size", 0));
        json_object *readonly = member(disk, "read-only", json_type_boolean);
        if (file) {
            printf("disk:      %s: %s (%s, %s%s)\n", device && *device ? device : "-", file,
                   format ? format : "?", size,
                   json_object_get_boolean(readonly) ? ", read-only" : "");
        } else {
            printf("disk:      %s: empty\n", device ? device : "-");
        }
    }
}

static void print_network(json_object *all)
{
    json_object *network = member(all, "network", json_type_array);
    json_object *forwards = member(all, "forwards", json_type_array);
    for (size_t i = 0; i < json_object_array_length(network); i++) {
        printf("network:   %s\n", json_object_get_string(json_object_array_get_idx(network, i)));
    }
    for (size_t i = 0; i < json_object_array_length(forwards); i++) {
        json_object *f = json_object_array_get_idx(forwards, i);
        g_autofree char *protocol = facts_text(f, "protocol"), *host = facts_text(f, "host");
        g_autofree char *guest = facts_text(f, "guest");
        printf("port:      %s %s:%d leads to the guest's %s:%d\n", protocol, host,
               (int)facts_number(f, "host-port", 0), guest, (int)facts_number(f, "guest-port", 0));
    }
}

static void print_info(json_object *all)
{
    g_autofree char *name = facts_text(all, "name"), *status = facts_text(all, "status");
    g_autofree char *uptime = facts_duration(facts_number(all, "uptime", -1));
    g_autofree char *memory = facts_size((uint64_t)facts_number(all, "memory", 0));
    bool console = json_object_get_boolean(member(all, "console", json_type_boolean));
    printf("name:      %s\nstatus:    %s\nprocess:   %d\nuptime:    %s\n", name, status,
           (int)facts_number(all, "pid", 0), uptime);
    printf("cpus:      %d\nmemory:    %s\n", (int)facts_number(all, "cpus", 0), memory);
    print_disks(member(all, "disks", json_type_array));
    print_network(all);
    printf("console:   %s%s\n", console ? "vireo console " : "led elsewhere", console ? name : "");
}

int client_run_info(const ClientArgs *args, GError **error)
{
    g_autoptr(RunEntry) entry = rundir_find(args->name, error);
    json_object *all = entry ? collect(entry, error) : NULL;
    if (!all) {
        return 1;
    }
    if (client_wants_json(args, 0)) {
        client_print_json(all);
    } else {
        print_info(all);
    }
    json_object_put(all);
    return 0;
}
