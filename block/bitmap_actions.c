/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What users do with dirty bitmaps, and how it is undone. */
#include "block/bitmap_actions.h"

#include "block/graph.h"
#include "vmm/error.h"

typedef enum Kind { ADD, REMOVE, CONTENTS, ENABLED } Kind;

struct BitmapAction {
    Kind kind;
    BlockNode *node;
    BlockBitmap *bitmap;
    BitmapContents before; /* CONTENTS */
    bool was_enabled;      /* ENABLED */
};

static BitmapAction *new_action(Kind kind, BlockBitmap *bitmap)
{
    BitmapAction *action = g_new0(BitmapAction, 1);
    action->kind = kind;
    action->bitmap = bitmap;
    action->node = block_node_ref(bitmap->node);
    action->was_enabled = bitmap->enabled;
    return action;
}

static void end_action(BitmapAction *action)
{
    bitmap_contents_clear(&action->before);
    block_node_unref(action->node);
    g_free(action);
}

void bitmap_action_commit(BitmapAction *action)
{
    if (action) {
        if (action->kind == REMOVE) {
            bitmap_free(action->bitmap);
        }
        end_action(action);
    }
}

void bitmap_action_abort(BitmapAction *action)
{
    if (!action) {
        return;
    }
    graph_change_begin();
    switch (action->kind) {
    case ADD:
        bitmap_free(action->bitmap);
        break;
    case REMOVE:
        bitmap_show(action->bitmap);
        break;
    case CONTENTS:
        bitmap_put_back(action->bitmap, &action->before);
        break;
    case ENABLED:
        bitmap_set_enabled(action->bitmap, action->was_enabled);
        break;
    }
    graph_change_end();
    end_action(action);
}

/* ---- Finding ---- */

BlockNode *bitmap_node(const char *name, GError **error)
{
    const Drive *drive = drive_find(name);
    BlockNode *node = drive ? drive->node : block_node_find(name);
    if (!node) {
        error_set(error, "there is no node '%s' (query-named-block-nodes lists them)", name);
    }
    return node;
}

BlockBitmap *bitmap_lookup(BlockNode *node, const char *name, GError **error)
{
    BlockBitmap *bitmap = bitmap_find(node, name);
    if (!bitmap) {
        error_set(error, "the node has no bitmap '%s'", name);
    }
    return bitmap;
}

static BlockBitmap *find_usable(BlockNode *node, const char *name, unsigned allow, GError **error)
{
    BlockBitmap *bitmap = bitmap_lookup(node, name, error);
    return bitmap && bitmap_check(bitmap, allow, error) ? bitmap : NULL;
}

BlockBitmap *bitmap_source(BlockNode *node, json_object *item, GError **error)
{
    json_object *node_name, *name;
    if (json_object_is_type(item, json_type_string)) {
        return bitmap_lookup(node, json_object_get_string(item), error);
    }
    if (!json_object_is_type(item, json_type_object) ||
        !json_object_object_get_ex(item, "node", &node_name) ||
        !json_object_object_get_ex(item, "name", &name) || json_object_object_length(item) != 2 ||
        !json_object_is_type(node_name, json_type_string) ||
        !json_object_is_type(name, json_type_string)) {
        error_set(error, "Parameter 'bitmaps' expects names, or objects with 'node' and 'name'");
        return NULL;
    }
    BlockNode *other = bitmap_node(json_object_get_string(node_name), error);
    return other ? bitmap_lookup(other, json_object_get_string(name), error) : NULL;
}

GPtrArray *bitmap_sources(BlockNode *node, json_object *list, GError **error)
{
    g_autoptr(GPtrArray) sources = g_ptr_array_new();
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        BlockBitmap *source = bitmap_source(node, json_object_array_get_idx(list, i), error);
        if (!source) {
            return NULL;
        }
        g_ptr_array_add(sources, source);
    }
    return g_steal_pointer(&sources);
}

/* ---- Doing ---- */

static bool can_persist(BlockNode *node, const char *name, uint64_t granularity, GError **error)
{
    const BlockImageOps *ops = block_node_image_ops(node);
    granularity = granularity ? granularity : bitmap_default_granularity(node);
    if (!ops || !ops->bitmap_can_store) {
        return error_set(error,
                         "'%s' cannot keep bitmaps in its image (persistent=on): only qcow2 can",
                         node->name);
    }
    if (node->readonly) {
        return error_set(error, "node '%s' is read-only: nothing can be stored in it", node->name);
    }
    if (!ops->bitmap_can_store(node, name, granularity, error)) {
        g_prefix_error(error, "bitmap '%s' cannot be stored in '%s': ", name, node->name);
        return false;
    }
    return true;
}

BitmapAction *bitmap_action_add(BlockNode *node, const char *name, uint64_t granularity,
                                bool persistent, bool disabled, GError **error)
{
    bool power = granularity && granularity >= 512 && !(granularity & (granularity - 1));
    if (persistent && *name && (power || !granularity) &&
        !can_persist(node, name, granularity, error)) {
        return NULL;
    }
    graph_change_begin();
    BlockBitmap *bitmap = bitmap_new(node, name, granularity, error);
    if (bitmap) {
        bitmap->persistent = persistent;
        bitmap_set_enabled(bitmap, !disabled);
    }
    graph_change_end();
    return bitmap ? new_action(ADD, bitmap) : NULL;
}

BitmapAction *bitmap_action_remove(BlockNode *node, const char *name, GError **error)
{
    BlockBitmap *bitmap = find_usable(node, name, BITMAP_ALLOW_INCONSISTENT, error);
    const BlockImageOps *ops = block_node_image_ops(node);
    BitmapAction *action = NULL;
    if (!bitmap) {
        return NULL;
    }
    graph_change_begin();
    if (!bitmap->persistent || !ops || !ops->bitmap_remove_stored ||
        ops->bitmap_remove_stored(node, name, error)) {
        bitmap_hide(bitmap);
        action = new_action(REMOVE, bitmap);
    }
    graph_change_end();
    return action;
}

BitmapAction *bitmap_action_clear(BlockNode *node, const char *name, GError **error)
{
    BlockBitmap *bitmap = find_usable(node, name, 0, error);
    BitmapContents before;
    if (!bitmap) {
        return NULL;
    }
    graph_change_begin();
    bool ok = bitmap_take(bitmap, &before, error);
    graph_change_end();
    if (!ok) {
        return NULL;
    }
    BitmapAction *action = new_action(CONTENTS, bitmap);
    action->before = before;
    return action;
}

static BitmapAction *enable(BlockNode *node, const char *name, bool on, GError **error)
{
    BlockBitmap *bitmap = find_usable(node, name, 0, error);
    if (!bitmap) {
        return NULL;
    }
    BitmapAction *action = new_action(ENABLED, bitmap);
    graph_change_begin();
    bitmap_set_enabled(bitmap, on);
    graph_change_end();
    return action;
}

BitmapAction *bitmap_action_enable(BlockNode *node, const char *name, GError **error)
{
    return enable(node, name, true, error);
}

BitmapAction *bitmap_action_disable(BlockNode *node, const char *name, GError **error)
{
    return enable(node, name, false, error);
}

static bool check_sources(const BlockBitmap *to, const GPtrArray *sources, GError **error)
{
    for (guint i = 0; i < sources->len; i++) {
        const BlockBitmap *from = sources->pdata[i];
        if (!bitmap_check(from, BITMAP_ALLOW_READONLY, error)) {
            return false;
        }
        if (from->length != to->length) {
            return error_set(error,
                             "bitmaps of disks of different sizes cannot be merged: the target is "
                             "of %" G_GUINT64_FORMAT " bytes, the source of %" G_GUINT64_FORMAT,
                             to->length, from->length);
        }
    }
    return true;
}

BitmapAction *bitmap_action_merge(BlockNode *node, const char *target, const GPtrArray *sources,
                                  GError **error)
{
    BlockBitmap *to = find_usable(node, target, 0, error);
    BitmapContents before;
    if (!to || !check_sources(to, sources, error)) {
        return NULL;
    }
    graph_change_begin();
    bool ok = bitmap_copy(to, &before, error);
    for (guint i = 0; ok && i < sources->len; i++) {
        bitmap_merge(to, sources->pdata[i]);
    }
    graph_change_end();
    if (!ok) {
        return NULL;
    }
    BitmapAction *action = new_action(CONTENTS, to);
    action->before = before;
    return action;
}
