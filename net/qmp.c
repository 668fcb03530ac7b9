/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about networks. */
#include "net/qmp.h"

#include <string.h>
#include "net/net.h"
#include "vmm/device/device.h"
#include "vmm/machine/machine.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/util/id.h"

static json_object *netdev_add(const void *opaque, GError **error)
{
    const QmpNetdevAddArgs *args = opaque;
    if (!id_check(args->id, error)) {
        return NULL;
    }
    json_object *all = json_object_get(args->rest);
    json_add_string(all, "type", args->type);
    json_add_string(all, "id", args->id);
    g_autoptr(Opts) options = opts_from_json(all, error);
    json_object_put(all);
    return options && net_backend_new(options, error) ? qmp_ok() : NULL;
}

static json_object *netdev_del(const void *opaque, GError **error)
{
    const QmpNetdevDelArgs *args = opaque;
    if (!net_backend_find(args->id)) {
        error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND,
                       "there is no netdev and no network device '%s'", args->id);
        return NULL;
    }
    return net_backend_delete(args->id, error) ? qmp_ok() : NULL;
}

/* The back end behind a name, which may be the card's. */
static char *backend_of(const char *name)
{
    Device *dev = net_backend_find(name) ? NULL : device_find(machine_get(), name);
    json_object *value = dev ? device_get_prop(dev, "netdev", NULL) : NULL;
    char *id = g_strdup(value ? json_object_get_string(value) : name);
    json_object_put(value);
    return id;
}

static json_object *set_link(const void *opaque, GError **error)
{
    const QmpSetLinkArgs *args = opaque;
    g_autofree char *id = backend_of(args->name);
    if (!net_backend_find(id)) {
        error_set_code(error, VIREO_ERROR_DEVICE_NOT_FOUND,
                       "there is no netdev and no network device '%s'", args->name);
        return NULL;
    }
    return net_backend_set_link(id, args->up, error) ? qmp_ok() : NULL;
}

/* ---- The human monitor ---- */

static void info_line(NetBackend *backend, void *opaque)
{
    g_autofree char *info = net_backend_info(backend);
    g_string_append_printf(opaque, "%s\n", info);
}

static void hmp_info_network(GString *out, char **args)
{
    net_backend_foreach(info_line, out);
}

static void hmp_netdev_add(GString *out, char **args)
{
    GError *error = NULL;
    g_autoptr(Opts) options = opts_parse(args[0], "type", &error);
    if (options) {
        hmp_run_qmp(out, "netdev_add", opts_to_json(options));
    }
    hmp_error(out, error);
}

static void hmp_netdev_del(GString *out, char **args)
{
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "id", args[0]);
    hmp_run_qmp(out, "netdev_del", arguments);
}

static void connections_of(NetBackend *backend, void *opaque)
{
    g_autofree char *text = net_user_connections(backend);
    if (text) {
        g_string_append_printf(opaque, "%s:\n%s", net_backend_id(backend), text);
    }
}

static void hmp_info_usernet(GString *out, char **args)
{
    net_backend_foreach(connections_of, out);
}

static void hmp_set_link(GString *out, char **args)
{
    bool up;
    if (!parse_bool(args[1], &up)) {
        g_string_append(out, "usage: set_link NAME on|off\n");
        return;
    }
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "name", args[0]);
    json_add_bool(arguments, "up", up);
    hmp_run_qmp(out, "set_link", arguments);
}

typedef struct FirstUser {
    NetBackend *backend;
} FirstUser;

static void find_user(NetBackend *backend, void *opaque)
{
    FirstUser *first = opaque;
    if (!first->backend && strcmp(net_backend_type(backend), "user") == 0) {
        first->backend = backend;
    }
}

/* hostfwd_add [ID] RULE: without an id, of the first user network. */
static void change_hostfwd(GString *out, char **args, bool add)
{
    GError *error = NULL;
    FirstUser first = { 0 };
    const char *rule = args[1] ? args[1] : args[0];
    if (args[1]) {
        first.backend = net_backend_find(args[0]);
    } else {
        net_backend_foreach(find_user, &first);
    }
    if (!first.backend) {
        g_string_append(out, "Error: no user network of that name\n");
        return;
    }
    bool ok = add ? net_user_hostfwd_add(first.backend, rule, &error)
                  : net_user_hostfwd_remove(first.backend, rule, &error);
    if (ok && !add) {
        g_string_append_printf(out, "%s: the port is closed, nothing is forwarded any more\n",
                               rule);
    }
    hmp_error(out, error);
}

static void hmp_hostfwd_add(GString *out, char **args)
{
    change_hostfwd(out, args, true);
}

static void hmp_hostfwd_remove(GString *out, char **args)
{
    change_hostfwd(out, args, false);
}

static const QmpHandler qmp[] = {
    { "netdev_add", netdev_add },
    { "netdev_del", netdev_del },
    { "set_link", set_link },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "info network", NULL, "the network back ends", hmp_info_network },
    { "info usernet", NULL, "connections and forwarded ports of user networks", hmp_info_usernet },
    { "netdev_add", "NETTYPE,id=ID[,PROP=VALUE...]", "make a network back end, as -netdev",
      hmp_netdev_add, 1, 1 },
    { "netdev_del", "NETDEV", "remove a network back end", hmp_netdev_del, 1, 1 },
    { "set_link", "NETDEV on|off", "plug or unplug a cable; by the card's id too", hmp_set_link, 2,
      2 },
    { "hostfwd_add", "[NETDEV] [tcp|udp]:[HOST]:PORT-[GUEST]:PORT",
      "forward a port of the host to the guest", hmp_hostfwd_add, 1, 2 },
    { "hostfwd_remove", "[NETDEV] [tcp|udp]:[HOST]:PORT", "stop forwarding it", hmp_hostfwd_remove,
      1, 2 },
    { NULL },
};

static void add_name(NetBackend *backend, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(net_backend_id(backend)));
}

static void list_netdevs(GPtrArray *words)
{
    net_backend_foreach(add_name, words);
}

static void add_type(const char *type, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(type));
}

static void list_types(GPtrArray *words)
{
    net_backend_types_foreach(add_type, words);
}

static const HmpWordKind words[] = { { "NETDEV", list_netdevs },
                                     { "NETTYPE", list_types },
                                     { NULL } };

const MonitorCommands net_commands = { .qmp = qmp, .hmp = hmp, .words = words };
