/* SPDX-License-Identifier: GPL-2.0-or-later */
/* TPM back ends: -tpmdev, who uses which, query-tpm. */
#include "vmm/tpm/internal.h"

#include <string.h>
#include "vmm/util/id.h"

static GPtrArray *backends; /* TpmBackend * */

static TpmBackend *find(const char *id)
{
    for (guint i = 0; backends && i < backends->len; i++) {
        TpmBackend *b = g_ptr_array_index(backends, i);
        if (g_str_equal(b->id, id)) {
            return b;
        }
    }
    return NULL;
}

void tpm_backends_help(GString *out)
{
    g_string_append(out, "TPM back ends:\n  emulator   swtpm behind a unix socket: "
                         "id=ID,chardev=CHARDEV\n");
}

static bool check_type(Opts *opts, GError **error)
{
    const char *type = opts_get(opts, "type");
    if (!type) {
        return error_set(error, "'type' is missing: -tpmdev emulator,id=ID,chardev=CHARDEV");
    }
    if (g_str_equal(type, "passthrough")) {
        return error_set(error, "QEMU has the back end 'passthrough', Vireo does not: give the "
                                "guest a TPM of its own with swtpm and -tpmdev emulator");
    }
    return g_str_equal(type, "emulator") ||
           error_set(error, "there is no back end '%s': emulator", type);
}

static void backend_free(TpmBackend *b)
{
    tpm_emulator_end(b);
    g_free(b->id);
    g_free(b->chardev_id);
    g_free(b);
}

bool tpm_backend_new(Opts *opts, GError **error)
{
    static const char *const known[] = { "type", "id", "chardev", NULL };
    if (!check_type(opts, error)) {
        return false;
    }
    const char *id = opts_get(opts, "id"), *chardev = opts_get(opts, "chardev");
    if (!opts_check_unused(opts, "emulator", known, error)) {
        return false;
    }
    if (!id || !chardev) {
        return error_set(error, "'%s' is missing: -tpmdev emulator,id=ID,chardev=CHARDEV",
                         id ? "chardev" : "id");
    }
    if (!id_check(id, error)) {
        return false;
    }
    if (find(id)) {
        return error_set(error, "there is a TPM back end '%s' already", id);
    }
    TpmBackend *b = g_new0(TpmBackend, 1);
    b->id = g_strdup(id);
    b->chardev_id = g_strdup(chardev);
    if (!tpm_emulator_start(b, error)) {
        g_prefix_error(error, "id=%s: ", id);
        backend_free(b);
        return false;
    }
    if (!backends) {
        backends = g_ptr_array_new();
    }
    g_ptr_array_add(backends, b);
    return true;
}

void tpm_backends_free(void)
{
    for (guint i = 0; backends && i < backends->len; i++) {
        backend_free(g_ptr_array_index(backends, i));
    }
    g_clear_pointer(&backends, g_ptr_array_unref);
}

static TpmBackend *find_free(const char *id, GError **error)
{
    TpmBackend *b = id ? find(id) : NULL;
    if (!id) {
        error_set(error, "'tpmdev' is missing: the id of a -tpmdev");
    } else if (!b) {
        error_set(error,
                  "tpmdev=%s: no such TPM back end; define it with -tpmdev "
                  "emulator,id=%s,chardev=CHARDEV",
                  id, id);
    } else if (b->model) {
        error_set(error, "tpmdev=%s is used by another device", id);
    } else {
        return b;
    }
    return NULL;
}

TpmBackend *tpm_backend_attach(const char *id, const char *model, uint32_t *buffer_size,
                               TpmAnswered *answered, void *opaque, GError **error)
{
    TpmBackend *b = find_free(id, error);
    if (!b) {
        return NULL;
    }
    g_assert(*buffer_size <= TPM_BUFFER_MAX);
    b->model = model;
    b->answered = answered;
    b->opaque = opaque;
    *buffer_size = b->buffer_size = MIN(*buffer_size, b->offered_size);
    return b;
}

void tpm_backend_detach(TpmBackend *b)
{
    tpm_backend_quiesce(b);
    b->model = NULL;
    b->answered = NULL;
}

json_object *tpm_backends_query(void)
{
    json_object *list = json_object_new_array();
    for (guint i = 0; backends && i < backends->len; i++) {
        const TpmBackend *b = g_ptr_array_index(backends, i);
        if (!b->model) {
            continue;
        }
        json_object *info = json_object_new_object(), *options = json_object_new_object();
        json_object *data = json_object_new_object();
        json_object_object_add(data, "chardev", json_object_new_string(b->chardev_id));
        json_object_object_add(options, "type", json_object_new_string("emulator"));
        json_object_object_add(options, "data", data);
        json_object_object_add(info, "id", json_object_new_string(b->id));
        json_object_object_add(info, "model", json_object_new_string(b->model));
        json_object_object_add(info, "options", options);
        json_object_array_add(list, info);
    }
    return list;
}
