/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The node that a user names with filter-node-name. A job's work needs none: it looks at requests
 * where they come by. So the node stands beside the disk's chain, under QEMU's names, passes on
 * what is asked of it, and goes with the job; who refers to it keeps a plain view of the disk.
 */
#include "block/jobs/job.h"

static bool filter_open(BlockNode *node, Opts *options, GError **error)
{
    node->filename = g_strdup(node->file->filename);
    node->limits = node->file->limits;
    atomic_store(&node->length, block_node_length(node->file));
    return true;
}

static void filter_close(BlockNode *node)
{
}

static void filter_refresh(BlockNode *node)
{
    atomic_store(&node->length, block_node_length(node->file));
}

static void filter_submit(BlockNode *node, BlockRequest *request)
{
    block_node_submit(node->file, request);
}

static int filter_transfer(BlockNode *node, uint64_t offset, void *data, uint64_t bytes, bool write)
{
    return write ? node_pwrite(node->file, offset, data, bytes)
                 : node_pread(node->file, offset, data, bytes);
}

static int filter_flush(BlockNode *node)
{
    return node_flush(node->file);
}

static bool filter_resize(BlockNode *node, uint64_t size, GError **error)
{
    return block_resize(node->file, size, error);
}

#define FILTER(driver_name)                                                                        \
    {                                                                                              \
        .name = driver_name, .desc = "A job's", .has_file = true, .is_filter = true,               \
        .open = filter_open, .close = filter_close, .submit = filter_submit,                       \
        .transfer = filter_transfer, .flush = filter_flush, .resize = filter_resize,               \
        .refresh = filter_refresh,                                                                 \
    }

static const BlockDriver filters[] = {
    [JOB_FILTER_BACKUP] = FILTER("copy-before-write"),
    [JOB_FILTER_COMMIT] = FILTER("commit_top"),
    [JOB_FILTER_MIRROR] = FILTER("mirror_top"),
    [JOB_FILTER_STREAM] = FILTER("copy-on-read"),
};

bool job_name_filter(Job *job, JobFilter kind, const char *name, BlockNode *node, GError **error)
{
    job->filter = name ? node_put_filter(&filters[kind], name, node, error) : NULL;
    return !name || job->filter;
}
