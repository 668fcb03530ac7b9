/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing the tree of nodes under a running machine. Main thread. */
#ifndef BLOCK_GRAPH_H
#define BLOCK_GRAPH_H

#include "block/internal.h"

/* Between the two no request of anybody is under way; new ones wait. Nests. */
void graph_change_begin(void);
void graph_change_end(void);

/* Everybody who uses `from` (back ends, drives, nodes above it) uses `to` from here on, but for
 * `to` itself and what is below it. Inside a change. On failure nothing has changed. */
bool graph_replace(BlockNode *from, BlockNode *to, GError **error);
/* The node's backing node becomes another one, or none: takes a reference. Inside a change. */
bool graph_set_backing(BlockNode *node, BlockNode *backing, GError **error);
/* Opens the node and what it is written to for writing, or for reading only. Inside a change. */
bool graph_set_readonly(BlockNode *node, bool readonly, GError **error);

/* An overlay over the node, which everybody above it uses from here on. It is empty, of the same
 * size, and has no backing node yet. */
bool graph_put_overlay(BlockNode *node, BlockNode *overlay, GError **error);
/* The opposite: everybody above the overlay uses the node again, and the overlay stands on nothing.
 * Inside a change. */
void graph_take_overlay(BlockNode *node, BlockNode *overlay);
/* The image that filters show; the node itself when it is no filter. */
BlockNode *graph_skip_filters(BlockNode *node);
/* The image of a chain whose backing node is `node`, or a filter above it; NULL: `node` is top
 * itself, or not below it. */
BlockNode *graph_overlay_of(BlockNode *top, const BlockNode *node);

#endif
