/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of a file that an image format makes longer. Every write behind the end would change the
 * file's size, one at a time and each in the file system's journal: the file is made longer ahead
 * of them, in steps, and cut at the end of what was written when it is closed. Nobody writes behind
 * the node's `reach`, so making the file longer never cuts anything off.
 */
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vmm/util/bytes.h"

#define LEAST_AHEAD (1 * MIB)
#define MOST_AHEAD  (64 * MIB)

static void file_used(FileState *s, uint64_t end)
{
    uint64_t old = atomic_load_explicit(&s->used_end, memory_order_relaxed);
    while (old < end && !atomic_compare_exchange_weak(&s->used_end, &old, end)) {
    }
}

void file_set_size(BlockNode *node, uint64_t size)
{
    FileState *s = node->state;
    atomic_store(&s->used_end, size);
    atomic_store(&node->reach, s->block_device ? UINT64_MAX : size);
}

/* What writes up to `end` need: O_DIRECT writes whole blocks. */
static uint64_t size_for(const FileState *s, uint64_t end)
{
    return (end + s->offset_mask) & ~(uint64_t)s->offset_mask;
}

bool file_must_grow(BlockNode *node, uint64_t end)
{
    FileState *s = node->state;
    if (end > atomic_load_explicit(&s->used_end, memory_order_relaxed)) {
        file_used(s, end);
    }
    return size_for(s, end) > atomic_load_explicit(&node->reach, memory_order_acquire);
}

/* With O_DIRECT the space comes with it: a write into a hole would wait for the file system to find
 * some, one write at a time. The page cache is written back in larger pieces. */
static int set_length(BlockNode *node, uint64_t from, uint64_t size)
{
    FileState *s = node->state;
    if (node->cache_direct && fallocate(s->fd, 0, (off_t)from, (off_t)(size - from)) == 0) {
        return 0;
    }
    return ftruncate(s->fd, (off_t)size);
}

/* With the lock. */
static int make_longer(BlockNode *node, uint64_t least, uint64_t ahead)
{
    FileState *s = node->state;
    uint64_t size = least + ahead;
    struct stat st;
    if (fstat(s->fd, &st) < 0) {
        return -errno;
    }
    if ((uint64_t)st.st_size >= least) { /* somebody else did so: it is not ours to cut */
        size = (uint64_t)st.st_size;
        file_used(s, size);
    } else if (set_length(node, (uint64_t)st.st_size, size) <
               0) { /* a limit: no further than needed */
        size = least;
        if (ftruncate(s->fd, (off_t)size) < 0) {
            return -errno;
        }
    }
    atomic_store_explicit(&node->reach, size, memory_order_release);
    return 0;
}

int file_grow(BlockNode *node, uint64_t end)
{
    FileState *s = node->state;
    uint64_t least = size_for(s, end), ahead = CLAMP(end / 4, LEAST_AHEAD, MOST_AHEAD);
    if (end <= block_node_length(node)) { /* a raw image whose file ends within a block */
        ahead = 0;
    }
    g_mutex_lock(&s->size_lock);
    int ret = least > node->reach ? make_longer(node, least, ahead) : 0;
    g_mutex_unlock(&s->size_lock);
    return ret;
}

void file_trim(BlockNode *node)
{
    FileState *s = node->state;
    struct stat st;
    if (s->block_device || node->reach <= s->used_end || fstat(s->fd, &st) < 0 ||
        (uint64_t)st.st_size != node->reach) { /* not as we left it: not ours to cut */
        return;
    }
    if (ftruncate(s->fd, (off_t)s->used_end) == 0) {
        node->reach = s->used_end;
    }
}
