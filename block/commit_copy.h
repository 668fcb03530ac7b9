/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Committing: what images decide goes down into the image that they stand on. */
#ifndef BLOCK_COMMIT_COPY_H
#define BLOCK_COMMIT_COPY_H

#include "block/block.h"

#define COMMIT_PIECE (2 * MIB) /* bytes of the buffer, and of one piece of data */

typedef struct CommitCopy {
    BlockNode *const *images; /* the top first; each is looked at by itself */
    unsigned count;
    BlockNode *base; /* open for writing, and as long as the top */
    void *buffer;
} CommitCopy;

/* Does the first bytes of [offset, offset + *bytes), and says in *bytes how many these were; true
 * in *data: they were read and written, not skipped or made zeroes. 0 or -errno. Blocking. */
int commit_copy_part(const CommitCopy *copy, uint64_t offset, uint64_t *bytes, bool *data);

#endif
