/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing the tree of nodes: replacing a node for all its users, backing chains, reopening. */
#include "block/graph.h"
#include "block/jobs/job.h"

#include <errno.h>

/* ---- Standing still ---- */

void graph_change_begin(void)
{
    block_pause_all(); /* jobs go on until then: requests may wait for them */
    jobs_hold();
}

void graph_change_end(void)
{
    jobs_go_on();
    block_resume_all();
}

/* ---- Replacing ---- */

typedef struct Replace {
    BlockNode *from, *to;
    bool undo;          /* users of `to` that this change made go back */
    GPtrArray *changed; /* back ends */
    GError **error;
    bool failed;
} Replace;

static void replace_in_backend(BlockBackend *backend, void *opaque)
{
    Replace *r = opaque;
    if (r->failed || backend->node != r->from) {
        return;
    }
    if (!backend_replace(backend, r->to, r->error)) {
        r->failed = true;
        return;
    }
    g_ptr_array_add(r->changed, backend);
}

static void replace_in_drive(Drive *drive, void *opaque)
{
    Replace *r = opaque;
    if (drive->node == r->from) {
        drive->node = block_node_ref(r->to);
        block_node_unref(r->from);
    }
}

static void swap_child(BlockNode **child, BlockNode *from, BlockNode *to)
{
    if (*child == from) {
        *child = block_node_ref(to);
        block_node_unref(from);
    }
}

static void replace_in_node(BlockNode *node, void *opaque)
{
    Replace *r = opaque;
    if (!node_is_below(node, r->to)) {
        swap_child(&node->backing, r->from, r->to);
        swap_child(&node->file, r->from, r->to);
    }
}

bool graph_replace(BlockNode *from, BlockNode *to, GError **error)
{
    g_autoptr(GPtrArray) changed = g_ptr_array_new();
    Replace r = { .from = from, .to = to, .changed = changed, .error = error };
    block_node_ref(from); /* its last user may go on the way */
    backend_foreach(replace_in_backend, &r);
    if (r.failed) {
        for (guint i = 0; i < changed->len; i++) {
            backend_replace(changed->pdata[i], from, NULL);
        }
    } else {
        drive_foreach(replace_in_drive, &r);
        block_node_foreach(replace_in_node, &r);
        node_update_permissions(from, NULL); /* gives back only */
    }
    block_node_unref(from);
    return !r.failed;
}

/* ---- Chains ---- */

bool graph_set_backing(BlockNode *node, BlockNode *backing, GError **error)
{
    BlockNode *old = node->backing;
    if (backing && node_is_below(node, backing)) {
        return error_set(error, "node '%s' is below '%s' already: this would be a circle",
                         node->name, backing->name);
    }
    node->backing = backing ? block_node_ref(backing) : NULL;
    if (backing && !node_update_permissions(backing, error)) {
        node->backing = old;
        node_update_permissions(backing, NULL);
        block_node_unref(backing);
        return false;
    }
    if (old) {
        node_update_permissions(old, NULL);
        block_node_unref(old);
    }
    return true;
}

BlockNode *graph_skip_filters(BlockNode *node)
{
    while (node && node->driver->is_filter && node->file) {
        node = node->file;
    }
    return node;
}

BlockNode *graph_overlay_of(BlockNode *top, const BlockNode *node)
{
    top = graph_skip_filters(top);
    while (top && top->backing != node && graph_skip_filters(top->backing) != node) {
        top = graph_skip_filters(top->backing);
    }
    return top;
}

/* ---- Reopening ---- */

bool graph_set_readonly(BlockNode *node, bool readonly, GError **error)
{
    if (node->readonly == readonly) {
        return true;
    }
    if (readonly && node->driver->settle) {
        int ret = node->driver->settle(node);
        if (ret < 0) {
            return error_set_errno(error, -ret, "node '%s': its tables cannot be written",
                                   node->name);
        }
    }
    if (readonly && node->driver->retire && !node->driver->retire(node, error)) {
        node->driver->reopen(node, false, NULL); /* to be tried again */
        return false;
    }
    if ((node->file && !graph_set_readonly(node->file, readonly, error)) ||
        (node->data_file && !graph_set_readonly(node->data_file, readonly, error)) ||
        (node->driver->reopen && !node->driver->reopen(node, readonly, error))) {
        if (readonly && node->driver->reopen) {
            node->driver->reopen(node, false, NULL); /* its bitmaps are in use again */
        }
        return false;
    }
    node->readonly = readonly;
    return true;
}

bool graph_put_overlay(BlockNode *node, BlockNode *overlay, GError **error)
{
    if (overlay == node || overlay->refs > 1) {
        return error_set(error, "a device, a job or another node uses the overlay: it must be free "
                                "to become the top of the disk");
    }
    if (!overlay->driver->has_backing) {
        return error_set(error, "the overlay's format knows no backing files: qcow2 does");
    }
    if (overlay->backing) {
        return error_set(error,
                         "the overlay stands on a backing file already: open it with backing=null");
    }
    if (!job_check_free(node, error)) {
        return false;
    }
    graph_change_begin();
    bool ok = graph_set_backing(overlay, node, error);
    if (ok && !graph_replace(node, overlay, error)) {
        graph_set_backing(overlay, NULL, NULL);
        ok = false;
    }
    if (ok) {
        int ret = node->driver->settle ? node->driver->settle(node) : node_flush(node);
        if (ret < 0) {
            report_error("node '%s': flush failed: %s", node->name, g_strerror(-ret));
        }
    }
    graph_change_end();
    return ok;
}

void graph_take_overlay(BlockNode *node, BlockNode *overlay)
{
    g_autoptr(GError) error = NULL;
    block_node_ref(overlay);
    if (!graph_replace(overlay, node, &error) || !graph_set_backing(overlay, NULL, &error)) {
        report_error("node '%s': its overlay stays: %s", node->name, error->message);
    }
    block_node_unref(overlay);
}
