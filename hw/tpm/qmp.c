/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about TPMs. */
#include "hw/tpm/qmp.h"

#include "hw/devices.h"
#include "vmm/tpm/tpm.h"

static json_object *query_tpm(const void *args, GError **error)
{
    return tpm_backends_query();
}

static json_object *query_tpm_models(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    json_object_array_add(list, json_object_new_string(tpm_crb_class.name));
    json_object_array_add(list, json_object_new_string(tpm_tis_class.name));
    return list;
}

static json_object *query_tpm_types(const void *args, GError **error)
{
    json_object *list = json_object_new_array();
    json_object_array_add(list, json_object_new_string("emulator"));
    return list;
}

static const char *text_of(json_object *object, const char *name)
{
    return json_object_get_string(json_object_object_get(object, name));
}

static void hmp_tpm(GString *out, char **args)
{
    json_object *list = tpm_backends_query();
    size_t count = json_object_array_length(list);
    g_string_append(out, count ? "TPM device:\n" : "The machine has no TPM.\n");
    for (size_t i = 0; i < count; i++) {
        json_object *info = json_object_array_get_idx(list, i);
        json_object *options = json_object_object_get(info, "options");
        g_string_append_printf(out, " tpm%zu: model=%s\n  \\ %s: type=%s,chardev=%s\n", i,
                               text_of(info, "model"), text_of(info, "id"),
                               text_of(options, "type"),
                               text_of(json_object_object_get(options, "data"), "chardev"));
    }
    json_object_put(list);
}

static const QmpHandler qmp[] = {
    { "query-tpm", query_tpm },
    { "query-tpm-models", query_tpm_models },
    { "query-tpm-types", query_tpm_types },
    { NULL },
};

static const HmpCommand hmp[] = {
    { "info tpm", NULL, "the TPM and what stands behind it", hmp_tpm },
    { NULL },
};

const MonitorCommands tpm_commands = { .qmp = qmp, .hmp = hmp };
