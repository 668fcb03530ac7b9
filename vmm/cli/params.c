/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cli/params.h"

#include <string.h>
#include "config.h"
#include "vmm/chardev/chardev.h"
#include "vmm/machine/options.h"

/* Groups as QEMU calls them. Those without names take what a device, object or back end takes. */
static const struct {
    const char *group;
    const char *names;
} groups[] = {
    { "accel", "" },
    { "add-fd", "fd set opaque" },
    { "action", "reboot shutdown panic watchdog" },
    { "boot-opts", "order once menu splash splash-time reboot-timeout strict" },
    { "chardev", "" },
    { "device", "" },
    { "drive", "" },
    { "fw_cfg", "name file string" },
    { "global", "driver property value" },
    { "machine", "type" },
    { "memory", "size slots maxmem" },
    { "mon", "id chardev mode pretty" },
    { "msg", "timestamp" },
    { "name", "guest process debug-threads" },
    { "netdev", "" },
    { "nic", "" },
    { "numa", "" },
    { "object", "" },
    { "option-rom", "romfile bootindex" },
    { "overcommit", "mem-lock cpu-pm" },
    { "rtc", "base clock driftfix" },
    { "run-with", "async-teardown chroot user" },
#ifdef HAVE_SECCOMP
    { "sandbox", "enable obsolete elevateprivileges spawn resourcecontrol" },
#endif
    { "smbios", "" },
    { "smp-opts", "cpus maxcpus sockets dies cores threads" },
    { "tpmdev", "" },
    { "trace", "enable events file" },
};

/* Names that are not strings, in every group alike. */
static const struct {
    const char *type;
    const char *names;
} kinds[] = {
    { "boolean",
      "abstract acpi append async-teardown auto-read-only cache.direct cache.no-flush "
      "cache.writeback "
      "copy-on-read "
      "cpu-pm debug-threads delay dump-guest-core enable force-share hmat ipv4 ipv6 logappend "
      "mem-lock "
      "mem-merge menu mux nodelay pretty read-only readonly server signal snapshot strict telnet "
      "tight timestamp wait" },
    { "number",
      "bootindex bus cores cpus dies fd index maxcpus reboot-timeout reconnect reconnect-ms set "
      "slots sockets splash-time threads to unit" },
    { "size", "maxmem offset size" },
};

static const char *const *added[G_N_ELEMENTS(groups)];

static bool has_word(const char *words, const char *word)
{
    g_auto(GStrv) list = g_strsplit(words, " ", -1);
    return g_strv_contains((const char *const *)list, word);
}

static const char *kind_of(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (has_word(kinds[i].names, name)) {
            return kinds[i].type;
        }
    }
    return "string";
}

static size_t find_group(const char *group)
{
    size_t i = 0;
    while (i < G_N_ELEMENTS(groups) && !g_str_equal(groups[i].group, group)) {
        i++;
    }
    return i;
}

void cli_params_add(const char *group, const char *const *names)
{
    size_t i = find_group(group);
    g_assert(i < G_N_ELEMENTS(groups));
    added[i] = names;
}

/* ---- Names of a group ---- */

static void add_name(GPtrArray *names, const char *name)
{
    if (*name && !g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL)) {
        g_ptr_array_add(names, g_strdup(name));
    }
}

static void add_chardev_option(const char *name, void *opaque)
{
    if (!g_str_equal(name, "id")) {
        add_name(opaque, name);
    }
}

static void add_board(const MachineClass *cls, void *opaque)
{
    for (const Property *prop = cls->props; prop && prop->name; prop++) {
        add_name(opaque, prop->name);
    }
}

static GPtrArray *group_names(size_t group)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) words = g_strsplit(groups[group].names, " ", -1);
    for (char **word = words; *word; word++) {
        add_name(names, *word);
    }
    for (const char *const *name = added[group]; name && *name; name++) {
        add_chardev_option(*name, names);
    }
    if (g_str_equal(groups[group].group, "chardev")) {
        chardev_options_foreach(add_chardev_option, names);
    } else if (g_str_equal(groups[group].group, "machine")) {
        for (const MachineOption *option = machine_options; option->name; option++) {
            add_name(names, option->name);
        }
        machine_class_foreach(add_board, names);
    }
    return names;
}

bool cli_check_params(Opts *opts, const char *option, const char *group, GError **error)
{
    size_t i = find_group(group);
    g_assert(i < G_N_ELEMENTS(groups));
    g_autoptr(GPtrArray) names = group_names(i);
    g_ptr_array_add(names, NULL);
    return opts_check_unused(opts, option, (const char *const *)names->pdata, error);
}

/* ---- query-command-line-options ---- */

static const char *machine_kind(const char *name)
{
    for (const MachineOption *option = machine_options; option->name; option++) {
        if (g_str_equal(option->name, name)) {
            return g_str_equal(option->type, "bool") ? "boolean" : "string";
        }
    }
    return NULL;
}

static void find_board_prop(const MachineClass *cls, void *opaque)
{
    const char **slot = opaque;
    for (const Property *prop = cls->props; prop && prop->name; prop++) {
        if (g_strcmp0(prop->name, slot[0]) == 0) {
            slot[1] = prop->type == PROP_TYPE_BOOL   ? "boolean"
                      : prop->type == PROP_TYPE_SIZE ? "size"
                                                     : "string";
        }
    }
}

static const char *param_kind(const char *group, const char *name)
{
    if (!g_str_equal(group, "machine")) {
        return kind_of(name);
    }
    const char *slot[2] = { name, machine_kind(name) };
    if (!slot[1]) {
        machine_class_foreach(find_board_prop, slot);
    }
    return slot[1] ? slot[1] : "string";
}

static json_object *describe_group(size_t i)
{
    json_object *info = json_object_new_object();
    json_object *list = json_object_new_array();
    g_autoptr(GPtrArray) names = group_names(i);
    for (guint j = 0; j < names->len; j++) {
        const char *name = g_ptr_array_index(names, j);
        json_object *param = json_object_new_object();
        json_object_object_add(param, "name", json_object_new_string(name));
        json_object_object_add(param, "type",
                               json_object_new_string(param_kind(groups[i].group, name)));
        json_object_array_add(list, param);
    }
    json_object_object_add(info, "option", json_object_new_string(groups[i].group));
    json_object_object_add(info, "parameters", list);
    return info;
}

json_object *cli_params_to_json(const char *group, GError **error)
{
    if (group && find_group(group) == G_N_ELEMENTS(groups)) {
        error_set(error, "there are no options called '%s'", group);
        return NULL;
    }
    json_object *list = json_object_new_array();
    for (size_t i = 0; i < G_N_ELEMENTS(groups); i++) {
        if (!group || g_str_equal(group, groups[i].group)) {
            json_object_array_add(list, describe_group(i));
        }
    }
    return list;
}
