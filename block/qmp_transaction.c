/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's transaction: several changes of disks at one point in time, or none of them. All back ends
 * stand still from before the first action until all are done, or undone. An action takes the
 * arguments of the command of its name.
 */
#include "block/bitmap_actions.h"
#include "block/graph.h"
#include "block/jobs/job.h"
#include "block/qmp.h"
#include "vmm/monitor/schema.h"

#define MAX_ACTIONS 1024

typedef struct ActionKind ActionKind;

typedef struct Action {
    const ActionKind *kind;
    const QmpCommandDesc *desc; /* of the command; NULL: abort */
    void *args;
    JobGroup **group; /* for its job, NULL: it ends by itself */
    /* What prepare() did. */
    BlockNode *node, *overlay; /* references */
    char *id;                  /* of a job or a snapshot */
    BitmapAction *bitmap;
} Action;

struct ActionKind {
    const char *name;
    bool starts_job;
    bool (*prepare)(Action *action, GError **error);
    void (*undo)(Action *action); /* after it succeeded */
};

/* ---- Overlays ---- */

static bool prepare_snapshot(Action *a, GError **error)
{
    const QmpBlockdevSnapshotArgs *args = a->args;
    BlockNode *node = block_device_node(args->node, error);
    BlockNode *overlay = node ? block_device_node(args->overlay, error) : NULL;
    if (!overlay || !graph_put_overlay(node, overlay, error)) {
        return false;
    }
    a->node = block_node_ref(node);
    a->overlay = block_node_ref(overlay);
    return true;
}

static bool prepare_snapshot_sync(Action *a, GError **error)
{
    BlockNode *node;
    a->overlay = snapshot_sync(a->args, &node, error);
    a->node = a->overlay ? block_node_ref(node) : NULL;
    return a->overlay;
}

static void undo_snapshot(Action *a)
{
    graph_take_overlay(a->node, a->overlay);
}

/* ---- Snapshots inside ---- */

static bool prepare_internal(Action *a, GError **error)
{
    BlockNode *node = snapshot_internal_sync(a->args, &a->id, error);
    a->node = node ? block_node_ref(node) : NULL;
    return node;
}

static void undo_internal(Action *a)
{
    g_autoptr(GError) error = NULL;
    if (!block_node_image_ops(a->node)->snapshot_delete(a->node, a->id, &error)) {
        report_error("node '%s': snapshot '%s' of a transaction that failed stays: %s",
                     block_node_name(a->node), a->id, error->message);
    }
}

/* ---- Jobs: they do nothing before the change of the graph has ended ---- */

static bool start_job(Action *a, GError **error)
{
    json_object *value = monitor_find_qmp(a->kind->name)->run(a->args, error);
    if (!value) {
        return false;
    }
    json_object_put(value);
    Job *job = job_newest();
    a->id = g_strdup(job->id);
    if (a->group) {
        *a->group = *a->group ? *a->group : job_group_new();
        job_group_add(*a->group, job);
    }
    return true;
}

static void undo_job(Action *a)
{
    Job *job = job_find(a->id);
    if (job) {
        job_cancel(job, true, NULL);
    }
}

/* ---- Bitmaps ---- */

static bool prepare_bitmap_add(Action *a, GError **error)
{
    a->bitmap = qmp_bitmap_add(a->args, error);
    return a->bitmap;
}

static bool prepare_bitmap_merge(Action *a, GError **error)
{
    a->bitmap = qmp_bitmap_merge(a->args, error);
    return a->bitmap;
}

#define PREPARE_BITMAP(fn, Args, make)                                                             \
    static bool fn(Action *a, GError **error)                                                      \
    {                                                                                              \
        const Args *args = a->args;                                                                \
        BlockNode *node = bitmap_node(args->node, error);                                          \
        a->bitmap = node ? make(node, args->name, error) : NULL;                                   \
        return a->bitmap;                                                                          \
    }

PREPARE_BITMAP(prepare_bitmap_remove, QmpBlockDirtyBitmapRemoveArgs, bitmap_action_remove)
PREPARE_BITMAP(prepare_bitmap_clear, QmpBlockDirtyBitmapClearArgs, bitmap_action_clear)
PREPARE_BITMAP(prepare_bitmap_enable, QmpBlockDirtyBitmapEnableArgs, bitmap_action_enable)
PREPARE_BITMAP(prepare_bitmap_disable, QmpBlockDirtyBitmapDisableArgs, bitmap_action_disable)

static void undo_bitmap(Action *a)
{
    bitmap_action_abort(g_steal_pointer(&a->bitmap));
}

/* ---- Nothing ---- */

static bool prepare_abort(Action *a, GError **error)
{
    return error_set(error, "the action 'abort' was met: everything is undone");
}

static const ActionKind kinds[] = {
    { "abort", true, prepare_abort, NULL },
    { "block-dirty-bitmap-add", false, prepare_bitmap_add, undo_bitmap },
    { "block-dirty-bitmap-clear", false, prepare_bitmap_clear, undo_bitmap },
    { "block-dirty-bitmap-disable", false, prepare_bitmap_disable, undo_bitmap },
    { "block-dirty-bitmap-enable", false, prepare_bitmap_enable, undo_bitmap },
    { "block-dirty-bitmap-merge", false, prepare_bitmap_merge, undo_bitmap },
    { "block-dirty-bitmap-remove", false, prepare_bitmap_remove, undo_bitmap },
    { "blockdev-backup", true, start_job, undo_job },
    { "blockdev-snapshot", false, prepare_snapshot, undo_snapshot },
    { "blockdev-snapshot-internal-sync", false, prepare_internal, undo_internal },
    { "blockdev-snapshot-sync", false, prepare_snapshot_sync, undo_snapshot },
    { "drive-backup", true, start_job, undo_job },
};

/* ---- The whole ---- */

static void action_clear(void *data)
{
    Action *a = data;
    bitmap_action_commit(a->bitmap);
    if (a->desc) {
        qmp_args_free(a->desc, a->args);
    }
    if (a->overlay) {
        block_node_unref(a->overlay);
    }
    if (a->node) {
        block_node_unref(a->node);
    }
    g_free(a->id);
}

static const ActionKind *find_kind(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (!strcmp(kinds[i].name, name)) {
            return &kinds[i];
        }
    }
    return NULL;
}

static bool read_action(Action *a, json_object *object, bool grouped, GError **error)
{
    const char *name = json_object_get_string(json_object_object_get(object, "type"));
    json_object *data = json_object_object_get(object, "data");
    a->kind = find_kind(name);
    if (!json_object_is_type(data, json_type_object)) {
        return error_set(error, "'data' has to be of type object");
    }
    if (grouped && !a->kind->starts_job) {
        return error_set(error,
                         "action '%s' is no job that could end with others: "
                         "completion-mode=grouped takes jobs only",
                         name);
    }
    a->desc = qmp_command_find(name);
    a->args = a->desc ? qmp_args_new(a->desc, data, error) : NULL;
    return a->args || !a->desc;
}

/* The arguments of all are looked at before anything stops. */
static bool read_actions(GArray *actions, json_object *list, JobGroup **group, GError **error)
{
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        Action action = { .group = group };
        if (!read_action(&action, json_object_array_get_idx(list, i), group != NULL, error)) {
            return false;
        }
        g_array_append_val(actions, action);
    }
    return true;
}

static bool run_actions(GArray *actions, GError **error)
{
    guint done = 0;
    graph_change_begin();
    while (done < actions->len) {
        Action *a = &g_array_index(actions, Action, done);
        if (!a->kind->prepare(a, error)) {
            break;
        }
        done++;
    }
    bool ok = done == actions->len;
    while (!ok && done > 0) {
        Action *a = &g_array_index(actions, Action, --done);
        if (a->kind->undo) {
            a->kind->undo(a);
        }
    }
    graph_change_end();
    return ok;
}

static bool is_grouped(json_object *properties)
{
    json_object *mode = NULL;
    return properties && json_object_object_get_ex(properties, "completion-mode", &mode) &&
           !strcmp(json_object_get_string(mode), "grouped");
}

static json_object *transaction(const void *opaque, GError **error)
{
    const QmpTransactionArgs *args = opaque;
    JobGroup *group = NULL;
    if (json_object_array_length(args->actions) > MAX_ACTIONS) {
        error_set(error, "a transaction of more than %d actions", MAX_ACTIONS);
        return NULL;
    }
    GArray *actions = g_array_new(FALSE, FALSE, sizeof(Action));
    g_array_set_clear_func(actions, action_clear);
    bool ok =
        read_actions(actions, args->actions, is_grouped(args->properties) ? &group : NULL, error) &&
        run_actions(actions, error);
    g_array_unref(actions);
    return ok ? qmp_ok() : NULL;
}

static const QmpHandler qmp[] = {
    { "transaction", transaction },
    { NULL },
};

const MonitorCommands transaction_commands = { .qmp = qmp };
