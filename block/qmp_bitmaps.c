/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's commands about dirty bitmaps. */
#include "block/bitmap_actions.h"
#include "block/qmp.h"
#include "vmm/monitor/qmp-schema.h"

static json_object *answer(BitmapAction *action)
{
    if (!action) {
        return NULL;
    }
    bitmap_action_commit(action);
    return qmp_ok();
}

BitmapAction *qmp_bitmap_add(const QmpBlockDirtyBitmapAddArgs *args, GError **error)
{
    BlockNode *node = block_device_node(args->node, error);
    if (node && args->has_granularity && args->granularity < 512) {
        error_set(error, "a bitmap's granularity is a power of two, 512 bytes or more");
        return NULL;
    }
    uint64_t granularity = args->has_granularity ? (uint64_t)args->granularity : 0;
    return node ? bitmap_action_add(node, args->name, granularity, args->persistent, args->disabled,
                                    error)
                : NULL;
}

BitmapAction *qmp_bitmap_merge(const QmpBlockDirtyBitmapMergeArgs *args, GError **error)
{
    BlockNode *node = bitmap_node(args->node, error);
    if (!node || !bitmap_lookup(node, args->target, error)) {
        return NULL;
    }
    g_autoptr(GPtrArray) sources = bitmap_sources(node, args->bitmaps, error);
    return sources ? bitmap_action_merge(node, args->target, sources, error) : NULL;
}

static json_object *add(const void *args, GError **error)
{
    return answer(qmp_bitmap_add(args, error));
}

static json_object *merge(const void *args, GError **error)
{
    return answer(qmp_bitmap_merge(args, error));
}

#define ON_ONE(fn, Args, action)                                                                   \
    static json_object *fn(const void *opaque, GError **error)                                     \
    {                                                                                              \
        const Args *args = opaque;                                                                 \
        BlockNode *node = bitmap_node(args->node, error);                                          \
        return node ? answer(action(node, args->name, error)) : NULL;                              \
    }

ON_ONE(remove_bitmap, QmpBlockDirtyBitmapRemoveArgs, bitmap_action_remove)
ON_ONE(clear, QmpBlockDirtyBitmapClearArgs, bitmap_action_clear)
ON_ONE(enable, QmpBlockDirtyBitmapEnableArgs, bitmap_action_enable)
ON_ONE(disable, QmpBlockDirtyBitmapDisableArgs, bitmap_action_disable)

static const QmpHandler qmp[] = {
    { "block-dirty-bitmap-add", add },
    { "block-dirty-bitmap-remove", remove_bitmap },
    { "block-dirty-bitmap-clear", clear },
    { "block-dirty-bitmap-enable", enable },
    { "block-dirty-bitmap-disable", disable },
    { "block-dirty-bitmap-merge", merge },
    { NULL },
};

const MonitorCommands bitmap_commands = { .qmp = qmp };
