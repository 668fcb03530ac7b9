/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about descriptors that clients pass: by name, and in sets. */
#include <unistd.h>
#include "vmm/monitor/commands.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/monitor/server.h"
#include "vmm/util/fdset.h"
#include "vmm/util/passed_fds.h"

/* ---- Sets live as long as somebody may ask for them ---- */

void monitor_connected(bool connected)
{
    static unsigned count;
    count += connected ? 1 : -1u;
    Machine *machine = machine_get();
    if (count || (machine && machine_is_running(machine))) {
        fdset_keep_unused(count > 0);
    }
}

/* ---- Commands ---- */

static json_object *getfd(const void *opaque, GError **error)
{
    const QmpGetfdArgs *args = opaque;
    int fd = passed_fds_take(error);
    return fd >= 0 && passed_fds_name(args->fdname, fd, error) ? qmp_ok() : NULL;
}

static json_object *closefd(const void *opaque, GError **error)
{
    const QmpClosefdArgs *args = opaque;
    return passed_fds_close(args->fdname, error) ? qmp_ok() : NULL;
}

static json_object *add_fd(const void *opaque, GError **error)
{
    const QmpAddFdArgs *args = opaque;
    int64_t set = args->has_fdset_id ? args->fdset_id : FDSET_ANY;
    int fd = passed_fds_take(error);
    if (fd < 0) {
        return NULL;
    }
    if (args->has_fdset_id && set < 0) {
        close(fd);
        error_set(error, "fdset-id=%" G_GINT64_FORMAT ": the number of a set is not negative", set);
        return NULL;
    }
    set = fdset_add(set, fd, args->opaque, false, error);
    if (set < 0) {
        return NULL;
    }
    json_object *added = json_object_new_object();
    json_add_int(added, "fd", fd);
    json_add_int(added, "fdset-id", set);
    return added;
}

static json_object *remove_fd(const void *opaque, GError **error)
{
    const QmpRemoveFdArgs *args = opaque;
    if (args->has_fd && args->fd < 0) {
        error_set(error, "fd=%" G_GINT64_FORMAT ": descriptors are not negative", args->fd);
        return NULL;
    }
    return fdset_remove(args->fdset_id, args->has_fd ? args->fd : FDSET_ALL, error) ? qmp_ok()
                                                                                    : NULL;
}

static void add_set(int64_t set, const FdsetMember *members, unsigned count, void *opaque)
{
    json_object *fds = json_object_new_array();
    for (unsigned i = 0; i < count; i++) {
        json_object *fd = json_object_new_object();
        json_add_int(fd, "fd", members[i].fd);
        json_add_string(fd, "opaque", members[i].opaque);
        json_object_array_add(fds, fd);
    }
    json_object *info = json_object_new_object();
    json_object_object_add(info, "fds", fds);
    json_add_int(info, "fdset-id", set);
    json_object_array_add(opaque, info);
}

static json_object *query_fdsets(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    fdset_foreach(add_set, list);
    return list;
}

static void run_with_name(GString *out, const char *command, const char *name)
{
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "fdname", name);
    hmp_run_qmp(out, command, arguments);
}

static void hmp_getfd(GString *out, char **args)
{
    run_with_name(out, "getfd", args[0]);
}

static void hmp_closefd(GString *out, char **args)
{
    run_with_name(out, "closefd", args[0]);
}

static const QmpHandler qmp[] = {
    { "getfd", getfd },         { "closefd", closefd },           { "add-fd", add_fd },
    { "remove-fd", remove_fd }, { "query-fdsets", query_fdsets }, { NULL },
};

static const HmpCommand hmp[] = {
    { "getfd", "NAME", "keep the descriptor that was sent along under a name", hmp_getfd, 1, 1 },
    { "closefd", "NAME", "close a descriptor that getfd kept", hmp_closefd, 1, 1 },
    { NULL },
};

const MonitorCommands fd_commands = { .qmp = qmp, .hmp = hmp };
