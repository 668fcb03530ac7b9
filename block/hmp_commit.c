/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's commit. It holds the monitor until it is done, as QEMU's does; block-commit
 * is the job that does not. */
#include <string.h>
#include "block/commit_copy.h"
#include "block/graph.h"
#include "block/jobs/job.h"
#include "block/qmp.h"
#include "vmm/monitor/commands.h"
#include "vmm/util/bytes.h"

#define LOOK_BYTES (64 * MIB)

static int copy_down(BlockNode *image, BlockNode *base)
{
    g_autofree uint8_t *buffer = g_malloc(COMMIT_PIECE);
    CommitCopy copy = { .images = &image, .count = 1, .base = base, .buffer = buffer };
    uint64_t length = block_node_length(image), bytes;
    int ret = 0;
    for (uint64_t offset = 0; ret == 0 && offset < length; offset += bytes) {
        bool data;
        bytes = MIN(length - offset, LOOK_BYTES);
        ret = commit_copy_part(&copy, offset, &bytes, &data);
    }
    return ret ? ret : block_flush(base);
}

/* Inside a change, base open for writing. */
static bool commit_into(BlockNode *image, BlockNode *base, GError **error)
{
    const BlockImageOps *ops = block_node_image_ops(image);
    uint64_t length = block_node_length(image);
    if (block_node_length(base) < length && !block_resize(base, length, error)) {
        return false;
    }
    int ret = copy_down(image, base);
    if (ret < 0) {
        return error_set(error, "%s", g_strerror(-ret));
    }
    return ops->make_empty(image, error);
}

/* What the image decides goes down into its backing image, and the image is emptied. */
static bool commit_image(BlockNode *node, GError **error)
{
    BlockNode *image = graph_skip_filters(node), *base = graph_skip_filters(image->backing);
    const BlockImageOps *ops = block_node_image_ops(image);
    if (!base || !ops || !ops->make_empty) {
        return error_set(error, "it has no backing file, or its format cannot be emptied");
    }
    if (!job_check_free(image, error) || !job_check_free(base, error)) {
        return false;
    }
    graph_change_begin();
    bool was_readonly = base->readonly, ok = graph_set_readonly(base, false, error);
    if (ok) {
        BlockBackend *hold = backend_attach_job(base, "commit", true, error);
        ok = hold && commit_into(image, base, error);
        if (hold) {
            block_backend_detach(hold);
        }
        if (was_readonly) {
            graph_set_readonly(base, true, NULL);
        }
    }
    graph_change_end();
    return ok;
}

static void commit_drive(GString *out, const char *name, BlockNode *node)
{
    GError *error = NULL;
    if (!commit_image(node, &error)) {
        g_prefix_error(&error, "'commit' error for '%s': ", name);
        hmp_error(out, error);
    }
}

static void commit_each(Drive *drive, void *opaque)
{
    if (drive->node && graph_skip_filters(drive->node)->backing) {
        commit_drive(opaque, drive->id, drive->node);
    }
}

static void hmp_commit(GString *out, char **args)
{
    GError *error = NULL;
    if (!strcmp(args[0], "all")) {
        drive_foreach(commit_each, out);
        return;
    }
    BlockNode *node = block_device_node(args[0], &error);
    if (node) {
        commit_drive(out, args[0], node);
    } else {
        hmp_error(out, error);
    }
}

static const HmpCommand hmp[] = {
    { "commit", "DISK|all", "write a disk's image into its backing file, and empty it", hmp_commit,
      1, 1 },
    { NULL },
};

const MonitorCommands commit_commands = { .hmp = hmp };
