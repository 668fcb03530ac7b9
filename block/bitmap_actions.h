/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What users do with dirty bitmaps (QMP, vireo-img), in two steps, so that a transaction can do
 * several things or none: bitmap_action_X() prepares, and has its effect already; then either
 * commit or abort, which ends the action, and frees it. Actions that are aborted are so in the
 * reverse order of their making. Messages are QEMU's. Main thread.
 */
#ifndef BLOCK_BITMAP_ACTIONS_H
#define BLOCK_BITMAP_ACTIONS_H

#include "block/bitmap.h"

typedef struct BitmapAction BitmapAction;

void bitmap_action_commit(BitmapAction *action); /* cannot fail; NULL is nothing to do */
void bitmap_action_abort(BitmapAction *action);  /* everything as it was; NULL too */

/* NULL: error. granularity: bytes, 0: chosen. */
BitmapAction *bitmap_action_add(BlockNode *node, const char *name, uint64_t granularity,
                                bool persistent, bool disabled, GError **error);
/* An abort gives a persistent bitmap back to the image only when that is closed. */
BitmapAction *bitmap_action_remove(BlockNode *node, const char *name, GError **error);
BitmapAction *bitmap_action_clear(BlockNode *node, const char *name, GError **error);
BitmapAction *bitmap_action_enable(BlockNode *node, const char *name, GError **error);
BitmapAction *bitmap_action_disable(BlockNode *node, const char *name, GError **error);
/* sources: of BlockBitmap, at least one; see bitmap_lookup(). */
BitmapAction *bitmap_action_merge(BlockNode *node, const char *target, const GPtrArray *sources,
                                  GError **error);

/* The node that "node" means in these commands, and a bitmap of it, for reading. NULL: error. */
BlockNode *bitmap_node(const char *name, GError **error);
BlockBitmap *bitmap_lookup(BlockNode *node, const char *name, GError **error);
/* What QMP says of a bitmap: the name of one of the node's own, or {node, name}. NULL: error. */
BlockBitmap *bitmap_source(BlockNode *node, json_object *item, GError **error);
/* The sources of block-dirty-bitmap-merge: each as above. NULL: error; else an array that the
 * caller frees. */
GPtrArray *bitmap_sources(BlockNode *node, json_object *list, GError **error);

#endif
