/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to responses (QEMU's docs/interop/qmp-spec). */
#include "vmm/monitor/qmp.h"

#include <string.h>
#include "config.h"
#include "vmm/monitor/commands.h"
#include "vmm/monitor/monitor.h"
#include "vmm/monitor/qmp-schema.h"
#include "vmm/monitor/schema.h"
#include "vmm/trace/trace-monitor.h"

/* The QEMU whose interface is spoken. */
#define QEMU_MAJOR 7
#define QEMU_MINOR 2
#define QEMU_MICRO 0

json_object *qmp_version(void)
{
    json_object *triple = json_object_new_object();
    json_add_int(triple, "micro", QEMU_MICRO);
    json_add_int(triple, "minor", QEMU_MINOR);
    json_add_int(triple, "major", QEMU_MAJOR);
    json_object *version = json_object_new_object();
    json_object_object_add(version, "qemu", triple);
    json_add_string(version, "package", "vireo-" VIREO_VERSION);
    return version;
}

json_object *qmp_greeting(void)
{
    json_object *capabilities = json_object_new_array();
    json_object_array_add(capabilities, json_object_new_string("oob"));
    json_object *inner = json_object_new_object();
    json_object_object_add(inner, "version", qmp_version());
    json_object_object_add(inner, "capabilities", capabilities);
    json_object *greeting = json_object_new_object();
    json_object_object_add(greeting, "QMP", inner);
    return greeting;
}

json_object *qmp_error_response(int code, const char *message)
{
    static const char *const classes[] = {
        [VIREO_ERROR_GENERIC] = "GenericError",
        [VIREO_ERROR_COMMAND_NOT_FOUND] = "CommandNotFound",
        [VIREO_ERROR_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
        [VIREO_ERROR_DEVICE_NOT_FOUND] = "DeviceNotFound",
        [VIREO_ERROR_KVM_MISSING_CAP] = "KVMMissingCap",
    };
    json_object *inner = json_object_new_object();
    json_add_string(inner, "class", classes[code]);
    json_add_string(inner, "desc", message);
    json_object *response = json_object_new_object();
    json_object_object_add(response, "error", inner);
    return response;
}

static int error_code(const GError *error)
{
    return error->domain == VIREO_ERROR && error->code <= VIREO_ERROR_KVM_MISSING_CAP
               ? error->code
               : VIREO_ERROR_GENERIC;
}

json_object *qmp_execute(const char *command, json_object *arguments, GError **error)
{
    const QmpCommandDesc *desc = qmp_command_find(command);
    const QmpHandler *handler = desc ? monitor_find_qmp(command) : NULL;
    if (!handler) {
        error_set_code(error, VIREO_ERROR_COMMAND_NOT_FOUND,
                       "there is no command %s (query-commands lists them)", command);
        return NULL;
    }
    void *args = qmp_args_new(desc, arguments, error);
    if (!args) {
        return NULL;
    }
    json_object *value = handler->run(args, error);
    qmp_args_free(desc, args);
    return value;
}

/* ---- Requests ---- */

typedef struct QmpRequest {
    const char *command;
    json_object *arguments; /* NULL: none */
    bool oob;
} QmpRequest;

static bool known_member(const QmpMode *mode, const char *name)
{
    return strcmp(name, "execute") == 0 || strcmp(name, "arguments") == 0 ||
           strcmp(name, "id") == 0 || (mode->oob && strcmp(name, "exec-oob") == 0);
}

static bool read_request(const QmpMode *mode, json_object *request, QmpRequest *out, GError **error)
{
    if (!json_object_is_type(request, json_type_object)) {
        return error_set(error, "a request is a JSON object: {\"execute\": ...}");
    }
    json_object *command = NULL;
    json_object_object_foreach(request, key, value)
    {
        if (!known_member(mode, key)) {
            return error_set(error, "a request has no member '%s'", key);
        }
        bool execute = strcmp(key, "execute") == 0;
        if (execute || strcmp(key, "exec-oob") == 0) {
            if (!json_object_is_type(value, json_type_string)) {
                return error_set(error, "a request's '%s' has to be a string", key);
            }
            if (command) {
                return error_set(error, "QMP input has both 'execute' and 'exec-oob'");
            }
            command = value;
            out->oob = !execute;
        } else if (strcmp(key, "arguments") == 0) {
            if (!json_object_is_type(value, json_type_object)) {
                return error_set(error, "a request's 'arguments' have to be an object");
            }
            out->arguments = value;
        }
    }
    if (!command) {
        return error_set(error, "a request without 'execute' asks for nothing");
    }
    out->command = json_object_get_string(command);
    return true;
}

bool qmp_request_is_oob(const QmpMode *mode, json_object *request)
{
    QmpRequest parsed = { 0 };
    if (!read_request(mode, request, &parsed, NULL) || !parsed.oob) {
        return false;
    }
    const QmpCommandDesc *desc = qmp_command_find(parsed.command);
    return desc && desc->oob;
}

static json_object *negotiate(QmpMode *mode, const QmpCommandDesc *desc, json_object *arguments,
                              GError **error)
{
    QmpQmpCapabilitiesArgs *args = qmp_args_new(desc, arguments, error);
    if (!args) {
        return NULL;
    }
    mode->oob = args->enable && json_object_array_length(args->enable) > 0;
    mode->negotiated = true;
    qmp_args_free(desc, args);
    return qmp_ok();
}

static json_object *run_request(QmpMode *mode, const QmpRequest *request, GError **error)
{
    const QmpCommandDesc *desc = qmp_command_find(request->command);
    bool capabilities = strcmp(request->command, "qmp_capabilities") == 0;
    if (!mode->negotiated && !capabilities) {
        error_set_code(error, VIREO_ERROR_COMMAND_NOT_FOUND,
                       "'qmp_capabilities' has to come first: it ends the negotiation");
        return NULL;
    }
    if (mode->negotiated && capabilities) {
        error_set_code(error, VIREO_ERROR_COMMAND_NOT_FOUND,
                       "'qmp_capabilities' was given before: once is enough, nothing is changed");
        return NULL;
    }
    if (request->oob && desc && !desc->oob) {
        error_set(error, "the command %s has to wait its turn: use 'execute', not 'exec-oob'",
                  request->command);
        return NULL;
    }
    return capabilities ? negotiate(mode, desc, request->arguments, error)
                        : qmp_execute(request->command, request->arguments, error);
}

json_object *qmp_dispatch(QmpMode *mode, json_object *request)
{
    GError *error = NULL;
    QmpRequest parsed = { 0 };
    json_object *value = NULL;
    json_object *response;
    if (read_request(mode, request, &parsed, &error)) {
        trace_qmp_command(parsed.command, parsed.oob,
                          parsed.arguments ? json_object_to_json_string(parsed.arguments) : NULL);
        value = run_request(mode, &parsed, &error);
    }
    if (error) {
        response = qmp_error_response(error_code(error), error->message);
        g_error_free(error);
        json_object_put(value);
    } else {
        response = json_object_new_object();
        json_object_object_add(response, "return", value);
    }
    json_object *id;
    if (json_object_is_type(request, json_type_object) &&
        json_object_object_get_ex(request, "id", &id)) {
        json_object_object_add(response, "id", json_object_get(id));
    }
    trace_qmp_respond(json_object_to_json_string(response));
    return response;
}
