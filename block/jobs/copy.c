/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying, and the threads that do it. */
#include "block/jobs/copy.h"

#include "vmm/memory/rcu.h"

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

void copy_team_fail(CopyTeam *team, int ret, const char *what)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&team->ret, &none, ret)) {
        atomic_store(&team->what, what);
    }
}

int copy_range(BlockNode *source, BlockNode *target, uint64_t offset, uint64_t bytes,
               uint8_t *buffer)
{
    while (bytes) {
        BlockStatus status;
        int ret = block_status_above(source, NULL, offset, bytes, &status, NULL);
        if (ret < 0) {
            return ret;
        }
        uint64_t n = MIN(status.bytes, bytes);
        if (status.flags & BLOCK_STATUS_ZERO && !(status.flags & BLOCK_STATUS_DATA)) {
            ret = block_pwrite_zeroes(target, offset, n, BLOCK_REQ_UNMAP);
        } else {
            ret = block_pread(source, offset, buffer, n);
            ret = ret ? ret : block_pwrite(target, offset, buffer, n);
        }
        if (ret < 0) {
            return ret;
        }
        offset += n;
        bytes -= n;
    }
    return 0;
}
