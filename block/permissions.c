/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who may do what with a file: the wishes of all back ends whose trees of nodes stand on it, summed
 * up and shown to other programs as locks.
 */
#include "block/internal.h"

typedef struct Wish {
    const BlockNode *protocol;
    bool found;
    unsigned perm, shared;
} Wish;

/* What a user of node wants from the protocol below it. A format's file is written as the image is;
 * a backing node is only read, and must not change below its overlay. */
static void add_wishes(Wish *wish, const BlockNode *node, unsigned perm, unsigned shared)
{
    if (node == wish->protocol) {
        wish->found = true;
        wish->perm |= perm;
        wish->shared &= shared;
    }
    unsigned below = perm & BLOCK_PERM_WRITE && node->driver->has_backing ? BLOCK_PERM_RESIZE : 0;
    if (node->file) {
        add_wishes(wish, node->file, perm | below, shared & ~below);
    }
    if (node->data_file) {
        add_wishes(wish, node->data_file, perm | below, shared & ~below);
    }
    for (guint i = 0; node->extents && i < node->extents->len; i++) {
        add_wishes(wish, node->extents->pdata[i], perm, shared);
    }
    if (node->backing) {
        unsigned write = BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE;
        add_wishes(wish, node->backing, BLOCK_PERM_CONSISTENT_READ,
                   shared & BLOCK_PERM_WRITE ? BLOCK_PERM_ALL : BLOCK_PERM_ALL & ~write);
    }
}

static Wish backend_wish(const BlockBackend *backend, const BlockNode *protocol)
{
    Wish wish = { .protocol = protocol, .shared = BLOCK_PERM_ALL };
    unsigned perm = BLOCK_PERM_CONSISTENT_READ | (backend->readonly ? 0 : BLOCK_PERM_WRITE);
    if (backend->node) {
        add_wishes(&wish, backend->node, perm,
                   backend->share_rw ? BLOCK_PERM_ALL
                                     : BLOCK_PERM_ALL & ~(unsigned)BLOCK_PERM_WRITE);
    }
    return wish;
}

static void sum_up(BlockBackend *backend, void *opaque)
{
    Wish *sum = opaque;
    Wish wish = backend_wish(backend, sum->protocol);
    sum->perm |= wish.perm;
    sum->shared &= wish.shared;
}

static bool update_protocol(BlockNode *node, GError **error)
{
    Wish sum = { .protocol = node, .shared = BLOCK_PERM_ALL };
    backend_foreach(sum_up, &sum);
    if (node->force_share) {
        sum.perm = 0;
        sum.shared = BLOCK_PERM_ALL;
    }
    if (!node->driver->set_permissions ||
        (node->permitted && sum.perm == node->perm && sum.shared == node->shared)) {
        return true;
    }
    if (!node->driver->set_permissions(node, sum.perm, sum.shared, error)) {
        return false;
    }
    node->permitted = true;
    node->perm = sum.perm;
    node->shared = sum.shared;
    return true;
}

bool node_update_permissions(BlockNode *node, GError **error)
{
    for (guint i = 0; node->extents && i < node->extents->len; i++) {
        if (!node_update_permissions(node->extents->pdata[i], error)) {
            return false;
        }
    }
    return (!node->file || node_update_permissions(node->file, error)) &&
           (!node->data_file || node_update_permissions(node->data_file, error)) &&
           (!node->backing || node_update_permissions(node->backing, error)) &&
           update_protocol(node, error);
}

typedef struct ConflictCheck {
    BlockBackend *self;
    const BlockNode *protocol;
    const char *other;
} ConflictCheck;

static void check_other(BlockBackend *backend, void *opaque)
{
    ConflictCheck *check = opaque;
    if (backend == check->self || backend->inside) {
        return;
    }
    Wish mine = backend_wish(check->self, check->protocol);
    Wish theirs = backend_wish(backend, check->protocol);
    if (theirs.found && (mine.perm & ~theirs.shared || theirs.perm & ~mine.shared)) {
        check->other = backend->device_id;
    }
}

static bool check_tree(ConflictCheck *check, const BlockNode *node)
{
    if (!node->file && !node->force_share) {
        check->protocol = node;
        backend_foreach(check_other, check);
    }
    for (guint i = 0; node->extents && i < node->extents->len; i++) {
        if (!check_tree(check, node->extents->pdata[i])) {
            return false;
        }
    }
    return !check->other && (!node->file || check_tree(check, node->file)) &&
           (!node->data_file || check_tree(check, node->data_file)) &&
           (!node->backing || check_tree(check, node->backing));
}

bool node_check_conflict(BlockBackend *backend, GError **error)
{
    ConflictCheck check = { .self = backend };
    return backend->inside || check_tree(&check, backend->node) ||
           error_set(error,
                     "device '%s': block node '%s' is in use by device '%s': share-rw=on for "
                     "both allows it",
                     backend->device_id, backend->node->name, check.other);
}
