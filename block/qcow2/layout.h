/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How large the parts of an image must be: for create, measure and repair. */
#ifndef BLOCK_QCOW2_LAYOUT_H
#define BLOCK_QCOW2_LAYOUT_H

#include "block/qcow2/encrypt.h"
#include "block/qcow2/format.h"
#include "vmm/cli/opts.h"

typedef enum Qcow2Preallocation {
    QCOW2_PREALLOCATION_OFF,
    QCOW2_PREALLOCATION_METADATA,
    QCOW2_PREALLOCATION_FALLOC,
    QCOW2_PREALLOCATION_FULL,
} Qcow2Preallocation;

/* Where the parts of a new image lie; bytes and clusters of the file. */
typedef struct Qcow2Layout {
    uint64_t reftable_clusters;
    uint64_t blocks, blocks_offset;
    uint64_t l1_clusters;
    uint64_t tables, tables_offset;      /* L2, when preallocated */
    uint64_t data_clusters, data_offset; /* of the data file, if there is one */
    uint64_t clusters;                   /* of the whole file */
} Qcow2Layout;

/* create.c. What create options say, without size and offsets; *h is cleared by the caller with
 * qcow2_header_clear() when it succeeded, and e->key_secret freed. */
bool qcow2_header_from_options(Qcow2Header *h, Opts *options, Qcow2Preallocation *mode,
                               Qcow2EncryptOptions *e, GError **error);
/* Sets the offsets and sizes of h's tables, for h->size. */
bool qcow2_layout_plan(Qcow2Layout *layout, Qcow2Header *h, bool preallocated, GError **error);
/* Refcount blocks and clusters of the table that count `others` clusters, and themselves; the sum
 * of all three. */
uint64_t qcow2_refcount_structures(const Qcow2Header *h, uint64_t others, uint64_t *blocks,
                                   uint64_t *table);

#endif
