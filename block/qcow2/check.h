/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking a whole image: what check.c (references), check_tables.c (L1 and L2 tables),
 * check_refcounts.c (what the file says) and repair.c share. Nothing of the driver's memory is
 * believed: everything is read from the file again.
 */
#ifndef BLOCK_QCOW2_CHECK_H
#define BLOCK_QCOW2_CHECK_H

#include "block/internal.h"
#include "block/qcow2/counts.h"
#include "block/qcow2/format.h"
#include "vmm/error.h"

/* An L2 table, once, however many L1 entries show it: snapshots share most of theirs. */
typedef struct Qcow2TableRef {
    uint64_t offset;
    uint64_t total;  /* L1 entries that show it */
    uint64_t active; /* of those, the active L1 table's */
} Qcow2TableRef;

typedef struct Qcow2Checker {
    BlockNode *file;
    Qcow2Header *h;
    unsigned fix; /* BLOCK_FIX_* */
    BlockCheckResult *result;
    uint64_t file_length, clusters; /* clusters of the file */
    Qcow2Counts found;              /* references that were seen */
    Qcow2Counts disk;               /* as the refcount blocks have them */
    GArray *tables;                 /* of Qcow2TableRef, sorted by offset, once complete */
    size_t merged;                  /* of them, sorted and each once */
    uint64_t *l1;                   /* the active table */
    uint64_t l1_bytes;              /* of all L1 tables and bitmap tables so far */
    uint64_t *reftable;             /* as on disk */
    uint64_t reftable_entries;
    GArray *old_structures; /* uint64_t clusters of refcount table and blocks, as counted */
    bool rebuild;           /* refcount blocks cannot be mended where they are */
    bool incomplete;        /* something could not be read: nothing may be freed */
    uint64_t refcount_corruptions;
    bool changed; /* something was written */
} Qcow2Checker;

void qcow2_check_report(Qcow2Checker *c, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* The same, counted as a corruption. */
void qcow2_check_corrupt(Qcow2Checker *c, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* `weight` references to each cluster of the range. */
void qcow2_check_refer(Qcow2Checker *c, uint64_t offset, uint64_t bytes, uint64_t weight);

/* check_tables.c */
/* Counts an L1 table and remembers its L2 tables; active: the disk's own. */
bool qcow2_check_l1(Qcow2Checker *c, uint64_t offset, uint32_t entries, bool active,
                    GError **error);
/* Counts what the L2 tables show. */
bool qcow2_check_l2_tables(Qcow2Checker *c, GError **error);
/* Reports, and with BLOCK_FIX_ERRORS sets right, which clusters are said to be ours alone. */
bool qcow2_check_copied(Qcow2Checker *c, GError **error);

/* check_refcounts.c */
bool qcow2_check_load_refcounts(Qcow2Checker *c, GError **error);
/* Counts the refcount table and its blocks: after everything else. */
void qcow2_check_refblocks(Qcow2Checker *c);
/* Reports where `found` and `disk` differ, and writes the former with the fixes in `fix`. */
bool qcow2_check_compare(Qcow2Checker *c, unsigned fix, GError **error);

/* repair.c: new refcount table and blocks from what was found. */
bool qcow2_check_rebuild(Qcow2Checker *c, GError **error);

/* check.c: the whole of it, on a file by itself. *changed: tables were written. */
bool qcow2_check_file(BlockNode *file, Qcow2Header *h, unsigned fix, BlockCheckResult *result,
                      bool *changed, GError **error);

/* Counts everything anew into refcounts of another width; the image must be without errors. */
bool qcow2_check_recount(BlockNode *file, Qcow2Header *h, uint32_t order, BlockCheckResult *result,
                         GError **error);

#endif
