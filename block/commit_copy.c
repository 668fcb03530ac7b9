/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The copying of a commit, for the human monitor and for vireo-img. */
#include "vmm/util/bytes.h"

#include "block/commit_copy.h"

/* The highest image that decides on the first bytes of the range; NULL: none. */
static int find_decider(const CommitCopy *copy, uint64_t offset, uint64_t *bytes, BlockNode **node,
                        bool *zero)
{
    *node = NULL;
    for (unsigned i = 0; i < copy->count; i++) {
        BlockNode *here = copy->images[i];
        uint64_t length = block_node_length(here);
        BlockStatus status;
        if (offset >= length) { /* shorter than the one above: zeroes */
            *node = here;
            *zero = true;
            return 0;
        }
        int ret = block_status(here, offset, MIN(*bytes, length - offset), &status);
        if (ret < 0) {
            return ret;
        }
        *bytes = status.bytes;
        if (status.flags & BLOCK_STATUS_ALLOCATED) {
            *node = here;
            *zero = status.flags & BLOCK_STATUS_ZERO;
            return 0;
        }
    }
    return 0;
}

int commit_copy_part(const CommitCopy *copy, uint64_t offset, uint64_t *bytes, bool *data)
{
    BlockNode *from;
    bool zero = false;
    int ret = find_decider(copy, offset, bytes, &from, &zero);
    *data = ret == 0 && from && !zero;
    if (ret < 0 || !from) {
        return ret;
    }
    if (zero) {
        return block_pwrite_zeroes(copy->base, offset, *bytes, BLOCK_REQ_UNMAP);
    }
    *bytes = MIN(*bytes, COMMIT_PIECE);
    ret = block_pread(from, offset, copy->buffer, *bytes);
    return ret < 0 ? ret : block_pwrite(copy->base, offset, copy->buffer, *bytes);
}
