/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP from bytes to responses. Commands that open files or sockets of the host have their arguments
 * checked, and are not run.
 */
#include <string.h>
#include "tests/fuzz/machine.h"
#include "vmm/util/json.h"
#include "vmm/monitor/qmp.h"
#include "vmm/monitor/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const not_run[] = { "chardev-add",  "object-add",      "blockdev-add",
                                       "netdev_add",   "blockdev-create", "device_add",
                                       "drive-mirror", "drive-backup",    "blockdev-snapshot-sync",
                                       "memsave",      "pmemsave",        "dump-guest-memory" };

static bool is_listed(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(not_run); i++) {
        if (strcmp(not_run[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Of the human monitor only looks are run. */
static bool is_harmless_line(json_object *arguments)
{
    json_object *line;
    return json_object_is_type(arguments, json_type_object) &&
           json_object_object_get_ex(arguments, "command-line", &line) &&
           g_str_has_prefix(json_object_get_string(line), "info ");
}

static bool may_run(json_object *request)
{
    json_object *execute = NULL;
    json_object *arguments = NULL;
    if (!json_object_is_type(request, json_type_object)) {
        return true;
    }
    json_object_object_get_ex(request, "execute", &execute);
    json_object_object_get_ex(request, "arguments", &arguments);
    const char *name = execute ? json_object_get_string(execute) : NULL;
    if (!name || (!is_listed(name) && strcmp(name, "human-monitor-command") != 0)) {
        return true;
    }
    const QmpCommandDesc *desc = qmp_command_find(name);
    if (desc && (!arguments || json_object_is_type(arguments, json_type_object))) {
        qmp_args_free(desc, qmp_args_new(desc, arguments, NULL));
    }
    return !is_listed(name) && is_harmless_line(arguments);
}

static void on_value(void *opaque, json_object *request)
{
    if (may_run(request)) {
        json_object *response = qmp_dispatch(opaque, request);
        g_autoptr(GString) text = g_string_new(NULL);
        json_write(text, response, false);
        json_object_put(response);
    }
    json_object_put(request);
}

static void on_error(void *opaque, const char *message)
{
    g_assert_cmpstr(message, !=, "");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Machine *machine = fuzz_machine("q35");
    QmpMode mode = { .negotiated = true, .oob = true };
    JsonReader reader;
    json_reader_init(&reader, on_value, on_error, &mode);
    json_reader_feed(&reader, (const char *)data, size);
    json_reader_cleanup(&reader);
    fuzz_machine_reset(machine);
    return 0;
}
