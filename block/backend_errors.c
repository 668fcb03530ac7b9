/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Error policies: report, ignore, stop, enospc; the BLOCK_IO_ERROR event. */
#include <errno.h>
#include "block/internal.h"

static const BlockErrorHooks *hooks;

void block_set_error_hooks(const BlockErrorHooks *error_hooks)
{
    hooks = error_hooks;
}

const BlockErrorHooks *block_error_hooks(void)
{
    return hooks;
}

void block_backend_set_qom_path(BlockBackend *backend, const char *path)
{
    g_free(backend->qom_path);
    backend->qom_path = g_strdup(path);
}

static void emit_event(BlockBackend *backend, const BlockRequest *request, const char *action,
                       int errnum)
{
    if (!hooks || !hooks->emit) {
        return;
    }
    json_object *data = json_object_new_object();
    if (backend->qom_path) {
        json_object_object_add(data, "qom-path", json_object_new_string(backend->qom_path));
    }
    json_object_object_add(data, "device",
                           json_object_new_string(backend->drive ? backend->drive->id : ""));
    json_object_object_add(data, "node-name", json_object_new_string(backend->node->name));
    json_object_object_add(data, "operation",
                           json_object_new_string(request->op == BLOCK_READ ? "read" : "write"));
    json_object_object_add(data, "action", json_object_new_string(action));
    json_object_object_add(data, "nospace", json_object_new_boolean(errnum == ENOSPC));
    json_object_object_add(data, "reason", json_object_new_string(g_strerror(errnum)));
    hooks->emit("BLOCK_IO_ERROR", data);
}

static BlockErrorAction resolve(BlockErrorAction action, int errnum)
{
    if (action == BLOCK_ERROR_ENOSPC) {
        return errnum == ENOSPC ? BLOCK_ERROR_STOP : BLOCK_ERROR_REPORT;
    }
    return action;
}

bool backend_handle_error(BlockBackend *backend, BlockRequest *request, int *ret)
{
    static const char *const names[] = { "report", "ignore", "stop" };
    bool read = request->op == BLOCK_READ;
    int errnum = -*ret;
    BlockErrorAction action =
        resolve(atomic_load(read ? &backend->rerror : &backend->werror), errnum);
    emit_event(backend, request, names[action], errnum);
    if (action == BLOCK_ERROR_IGNORE) {
        *ret = 0;
        return false;
    }
    if (action == BLOCK_ERROR_REPORT) {
        return false;
    }
    atomic_store(&backend->io_nospace, errnum == ENOSPC);
    if (!atomic_exchange(&backend->io_failed, true)) {
        report_warning("device '%s': a %s failed (%s): the machine is stopped, 'cont' tries again",
                       backend->device_id, read ? "read" : "write", g_strerror(errnum));
    }
    if (hooks && hooks->stop) {
        hooks->stop();
    }
    return true;
}
