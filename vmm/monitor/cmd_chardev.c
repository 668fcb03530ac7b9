/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands about character devices. */
#include <string.h>
#include "vmm/chardev/chardev.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/util/base64.h"

#define RINGBUF_READ_MAX (16 << 20)

static void add_chardev(Chardev *chardev, void *opaque)
{
    g_autofree char *filename = chardev_filename(chardev);
    json_object *info = json_object_new_object();
    json_add_bool(info, "frontend-open", chardev_frontend_open(chardev));
    json_add_string(info, "filename", filename);
    json_add_string(info, "label", chardev_id(chardev));
    json_object_array_add(opaque, info);
}

static json_object *query_chardev(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    chardev_foreach(add_chardev, list);
    return list;
}

static void add_backend(const char *name, void *opaque)
{
    json_object *info = json_object_new_object();
    json_add_string(info, "name", name);
    json_object_array_add(opaque, info);
}

static json_object *query_chardev_backends(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    chardev_backends_foreach(add_backend, list);
    return list;
}

static Opts *backend_options(const char *id, json_object *backend, GError **error)
{
    json_object *all = json_object_new_object();
    json_add_string(all, "id", id);
    json_object_object_add(all, "backend", json_object_get(backend));
    Opts *options = opts_from_json(all, error);
    json_object_put(all);
    return options;
}

/* ChardevReturn. */
static json_object *describe_made(Chardev *chardev)
{
    if (!chardev) {
        return NULL;
    }
    g_autofree char *filename = chardev_filename(chardev);
    json_object *made = json_object_new_object();
    if (g_str_has_prefix(filename, "pty:")) {
        json_add_string(made, "pty", filename + strlen("pty:"));
    }
    return made;
}

static json_object *chardev_add(const void *opaque, GError **error)
{
    const QmpChardevAddArgs *args = opaque;
    if (chardev_find(args->id)) {
        error_set(error, "there is a chardev '%s' already: ids are unique", args->id);
        return NULL;
    }
    g_autoptr(Opts) options = backend_options(args->id, args->backend, error);
    return describe_made(options ? chardev_new(options, error) : NULL);
}

static json_object *change(const void *opaque, GError **error)
{
    const QmpChardevChangeArgs *args = opaque;
    g_autoptr(Opts) options = backend_options(args->id, args->backend, error);
    return describe_made(options ? chardev_change(args->id, options, error) : NULL);
}

static json_object *chardev_remove(const void *opaque, GError **error)
{
    const QmpChardevRemoveArgs *args = opaque;
    if (!chardev_find(args->id)) {
        error_set(error, "there is no chardev '%s' (query-chardev lists them)", args->id);
        return NULL;
    }
    return chardev_delete(args->id, error) ? qmp_ok() : NULL;
}

static Chardev *find_device(const char *id, GError **error)
{
    Chardev *chardev = chardev_find(id);
    if (!chardev) {
        error_set(error, "there is no chardev '%s' (query-chardev lists them)", id);
    }
    return chardev;
}

static json_object *send_break(const void *opaque, GError **error)
{
    const QmpChardevSendBreakArgs *args = opaque;
    Chardev *chardev = find_device(args->id, error);
    if (!chardev) {
        return NULL;
    }
    chardev_send_break(chardev);
    return qmp_ok();
}

static json_object *ringbuf_write(const void *opaque, GError **error)
{
    const QmpRingbufWriteArgs *args = opaque;
    Chardev *chardev = find_device(args->device, error);
    if (!chardev) {
        return NULL;
    }
    gsize len = strlen(args->data);
    g_autofree uint8_t *data = g_memdup2(args->data, len + 1);
    if (args->has_format && args->format == QMP_DATA_FORMAT_BASE64 &&
        !base64_decode(data, &len, error)) {
        g_prefix_error(error, "'data': ");
        return NULL;
    }
    return chardev_ringbuf_write(chardev, data, len, error) ? qmp_ok() : NULL;
}

static json_object *ringbuf_read(const void *opaque, GError **error)
{
    const QmpRingbufReadArgs *args = opaque;
    Chardev *chardev = find_device(args->device, error);
    if (!chardev) {
        return NULL;
    }
    if (args->size <= 0) {
        error_set(error, "'size' has to be at least 1");
        return NULL;
    }
    g_autoptr(GByteArray) data = g_byte_array_new();
    if (!chardev_ringbuf_read(chardev, (size_t)MIN(args->size, RINGBUF_READ_MAX), data, error)) {
        return NULL;
    }
    bool base64 = args->has_format && args->format == QMP_DATA_FORMAT_BASE64;
    g_autofree char *text =
        base64 ? g_base64_encode(data->data, data->len)
               : g_utf8_make_valid(data->len ? (const char *)data->data : "", data->len);
    return json_object_new_string(text);
}

static void info_line(Chardev *chardev, void *opaque)
{
    g_autofree char *filename = chardev_filename(chardev);
    g_string_append_printf(opaque, "%s: filename=%s\n", chardev_id(chardev), filename);
}

static void hmp_info_chardev(GString *out, char **args)
{
    chardev_foreach(info_line, out);
}

static void hmp_chardev_add(GString *out, char **args)
{
    GError *error = NULL;
    g_autoptr(Opts) options = opts_parse(args[0], "backend", &error);
    if (options) {
        chardev_new(options, &error);
    }
    hmp_error(out, error);
}

static void hmp_chardev_change(GString *out, char **args)
{
    GError *error = NULL;
    g_autoptr(Opts) options = opts_parse(args[1], "backend", &error);
    if (options) {
        opts_set(options, "id", args[0]);
        chardev_change(args[0], options, &error);
    }
    hmp_error(out, error);
}

static void run_with_id(GString *out, const char *command, const char *id)
{
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "id", id);
    hmp_run_qmp(out, command, arguments);
}

static void hmp_chardev_remove(GString *out, char **args)
{
    run_with_id(out, "chardev-remove", args[0]);
}

static void hmp_chardev_send_break(GString *out, char **args)
{
    run_with_id(out, "chardev-send-break", args[0]);
}

static void hmp_ringbuf_write(GString *out, char **args)
{
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "device", args[0]);
    json_add_string(arguments, "data", args[1]);
    hmp_run_qmp(out, "ringbuf-write", arguments);
}

static void hmp_ringbuf_read(GString *out, char **args)
{
    GError *error = NULL;
    json_object *arguments = json_object_new_object();
    json_add_string(arguments, "device", args[0]);
    json_add_int(arguments, "size", g_ascii_strtoll(args[1], NULL, 0));
    json_object *text = qmp_execute("ringbuf-read", arguments, &error);
    if (text) {
        g_string_append_printf(out, "%s\n", json_object_get_string(text));
    }
    hmp_error(out, error);
    json_object_put(text);
    json_object_put(arguments);
}

static const QmpHandler qmp[] = {
    { "query-chardev", query_chardev },
    { "query-chardev-backends", query_chardev_backends },
    { "chardev-add", chardev_add },
    { "chardev-remove", chardev_remove },
    { "chardev-change", change },
    { "chardev-send-break", send_break },
    { "ringbuf-write", ringbuf_write },
    { "ringbuf-read", ringbuf_read },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "info chardev", NULL, "the character devices", hmp_info_chardev },
    { "chardev-add", "BACKEND,id=ID[,PROP=VALUE...]", "make a character device, as -chardev",
      hmp_chardev_add, 1, 1 },
    { "chardev-remove", "CHARDEV", "remove a character device that nobody uses", hmp_chardev_remove,
      1, 1 },
    { "chardev-change", "CHARDEV BACKEND[,PROP=VALUE...]",
      "give a character device another back end", hmp_chardev_change, 2, 2 },
    { "chardev-send-break", "CHARDEV", "send a break to who uses it", hmp_chardev_send_break, 1,
      1 },
    { "ringbuf_write", "CHARDEV TEXT", "write to a ring buffer", hmp_ringbuf_write, 2, 2,
      .rest = true },
    { "ringbuf_read", "CHARDEV SIZE", "read from a ring buffer", hmp_ringbuf_read, 2, 2 },
    { NULL },
};

static void list_chardevs(GPtrArray *words)
{
    monitor_words_from_qmp(words, "query-chardev", "label");
}

static void list_backends(GPtrArray *words)
{
    monitor_words_from_qmp(words, "query-chardev-backends", "name");
}

static const HmpWordKind words[] = {
    { "CHARDEV", list_chardevs },
    { "BACKEND", list_backends },
    { NULL },
};

const MonitorCommands chardev_commands = { .qmp = qmp, .hmp = hmp, .words = words };
