/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying, and the threads that do it. */
#include "block/jobs/copy.h"

#include "vmm/memory/rcu.h"
#include "vmm/util/bytes.h"

static void *team_thread(void *opaque)
{
    CopyTeam *team = opaque;
    rcu_thread_register();
    g_autofree uint8_t *buffer = g_malloc(team->buffer_bytes);
    while (!atomic_load(&team->ret) && team->step(team, buffer)) {
    }
    rcu_thread_unregister();
    return NULL;
}

int copy_team_run(CopyTeam *team, unsigned threads)
{
    GThread *running[16];
    threads = MIN(threads, G_N_ELEMENTS(running));
    for (unsigned i = 0; i < threads; i++) {
        running[i] = g_thread_new("block copy", team_thread, team);
    }
    for (unsigned i = 0; i < threads; i++) {
        g_thread_join(running[i]);
    }
    return atomic_load(&team->ret);
}

void copy_team_fail(CopyTeam *team, int ret)
{
    int none = 0;
    atomic_compare_exchange_strong(&team->ret, &none, ret);
}

static bool is_zero(const BlockStatus *status)
{
    return status->flags & BLOCK_STATUS_ZERO && !(status->flags & BLOCK_STATUS_DATA);
}

/* The same in whole clusters: what is zeroes in part is read and compressed like anything else. */
static int copy_compressed(const CopyWay *way, uint64_t offset, uint64_t bytes, uint8_t *buffer,
                           bool *reading)
{
    while (bytes) {
        BlockStatus status;
        *reading = true;
        int ret = block_status_above(way->source, NULL, offset, bytes, &status, NULL);
        if (ret < 0) {
            return ret;
        }
        uint64_t n = MIN(way->compressed, bytes), zeroes = status.bytes;
        if (zeroes < bytes) {
            zeroes = ALIGN_DOWN(zeroes, way->compressed);
        }
        if (is_zero(&status) && zeroes) {
            n = zeroes;
            *reading = false;
            ret = block_pwrite_zeroes(way->target, offset, n, way->zero_flags);
        } else {
            ret = block_pread(way->source, offset, buffer, n);
            *reading = ret < 0;
            ret = ret ? ret : block_pwrite_compressed(way->target, offset, buffer, n);
        }
        if (ret < 0) {
            return ret;
        }
        offset += n;
        bytes -= n;
    }
    return 0;
}

int copy_range(const CopyWay *way, uint64_t offset, uint64_t bytes, uint8_t *buffer, bool *reading)
{
    if (way->compressed) {
        return copy_compressed(way, offset, bytes, buffer, reading);
    }
    while (bytes) {
        BlockStatus status;
        *reading = true;
        int ret = block_status_above(way->source, NULL, offset, bytes, &status, NULL);
        if (ret < 0) {
            return ret;
        }
        uint64_t n = MIN(status.bytes, bytes);
        if (is_zero(&status)) {
            *reading = false;
            ret = block_pwrite_zeroes(way->target, offset, n, way->zero_flags);
        } else {
            ret = block_pread(way->source, offset, buffer, n);
            *reading = ret < 0;
            ret = ret ? ret : block_pwrite(way->target, offset, buffer, n);
        }
        if (ret < 0) {
            return ret;
        }
        offset += n;
        bytes -= n;
    }
    return 0;
}

unsigned copy_target_bits(BlockNode *target, unsigned bits)
{
    BlockNode *image = graph_skip_filters(target);
    const BlockImageOps *ops = block_node_image_ops(image);
    BlockImageInfo info = { 0 };
    if (!image->backing && image->backing_file && ops && ops->info) {
        ops->info(image, &info);
        json_object_put(info.specific);
    }
    while (bits < 21 && 1ULL << bits < info.cluster_size) {
        bits++;
    }
    return bits;
}
