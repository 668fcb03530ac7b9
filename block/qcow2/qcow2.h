/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qcow2 driver: what its files share.
 *
 * An open image keeps its tables in memory as far as they were needed: the L1 table and the
 * refcount table whole, L2 tables in slices, refcount blocks whole. Requests look entries up
 * without a lock, inside an RCU section; `lock` guards every change of tables in memory and is
 * never held across I/O. A request that needs what is not in memory, or a cluster that another
 * request is just making, parks on that object's list of waiters and goes on when it is woken.
 *
 * Tables reach the file by commits (commit.c) only, which keep the order that a crash needs:
 *   1. blocks of refcounts, new L2 tables, everything that nothing on disk points to yet
 *   2. a flush: these, and all data that was written until now, are on the disk
 *   3. L2 slices and L1 entries that show it
 *   4. a flush; then clusters that nothing on disk shows any longer may be used again
 * What one commit writes is copied when it begins; changes made meanwhile wait for the next.
 */
#ifndef BLOCK_QCOW2_QCOW2_H
#define BLOCK_QCOW2_QCOW2_H

#include <errno.h>
#include "block/internal.h"
#include "block/qcow2/format.h"
#include "vmm/memory/rcu.h"

typedef struct Qcow2 Qcow2;

/* Who waits for an object; woken on his own loop. Belongs to one list at a time. */
typedef struct Qcow2Waiter {
    EventLoop *loop;
    void (*run)(void *opaque); /* called on loop when it is woken */
    void *opaque;
    int error; /* what it waited for failed so; 0: it is worth trying again */
    LoopTask task;
    struct Qcow2Waiter *next;
} Qcow2Waiter;

typedef struct Qcow2WaitList {
    Qcow2Waiter *first, *last;
} Qcow2WaitList;

/* A part of an L2 table. */
typedef struct Qcow2Slice {
    uint32_t l1_index, number; /* which slice of that table */
    bool ready;                /* its entries stand; atomic */
    bool dirty;                /* newer than what a commit took */
    bool writing;              /* a commit has a copy that is not on disk yet */
    unsigned pins;             /* allocations that will change it */
    bool referenced;           /* since the clock's hand passed; atomic */
    Qcow2WaitList waiters;
    struct Qcow2Slice *clock_next, *clock_prev;
    BlockRequest io;
    struct iovec iov;
    Qcow2 *image;
    uint64_t entries[]; /* big-endian, as on disk */
} Qcow2Slice;

typedef struct Qcow2Table {
    Qcow2Slice *_Atomic slices[16];
    bool is_new; /* not shown by the L1 entry on disk: written in a commit's first step */
} Qcow2Table;

typedef struct Qcow2RefBlock {
    uint64_t index; /* in the refcount table */
    bool loading, dirty;
    bool is_new;                   /* not shown by the refcount table on disk */
    bool writing;                  /* a commit has a copy that is not on disk yet */
    uint32_t dirty_from, dirty_to; /* bytes */
    bool referenced;               /* since the clock's hand passed */
    guint place;                   /* in `loaded` */
    Qcow2WaitList waiters;
    BlockRequest io;
    struct iovec iov;
    Qcow2 *image;
    uint8_t *data;
} Qcow2RefBlock;

/* A write that makes clusters, or gives them other contents than entries show: others that touch
 * these guest clusters wait until its entries stand. */
typedef struct Qcow2Alloc {
    uint64_t first, count; /* guest clusters */
    Qcow2WaitList waiters;
    struct Qcow2Alloc *next, **link;
} Qcow2Alloc;

/* A range of clusters whose references are to be dropped when a commit has made the disk forget
 * them. */
typedef struct Qcow2Free {
    uint64_t offset, clusters;
    bool discard; /* give the space back to the host */
} Qcow2Free;

/* Counts of requests that use clusters, by the epoch in which they began: what is freed in an epoch
 * is used again when no request of it is left. Written by one loop only, where it has one. */
typedef struct Qcow2LoopCount {
    EventLoop *loop;
    _Atomic uint32_t in_flight[2];
} Qcow2LoopCount;

#define QCOW2_MAX_LOOPS 32 /* that do not share their counters */

typedef struct Qcow2Commit Qcow2Commit;
typedef struct Qcow2Encryption Qcow2Encryption;

struct Qcow2 {
    BlockNode *node;
    BlockNode *protocol; /* what is at the bottom of `data` */
    BlockNode *data;     /* where guest data is: node->file, or the external data file */
    Qcow2Header h;
    /* Derived from h. */
    uint64_t cluster_size;
    unsigned cluster_bits, l2_bits, entry_size, slice_bits, slice_entries, slices_per_table;
    uint32_t slice_bytes, subcluster_size;
    bool subclusters;

    GMutex lock; /* guards all below, but for what says otherwise; leaf but for loops' queues */

    /* L1: in the host's byte order; read without the lock. */
    _Atomic uint64_t *l1;
    Qcow2Table *_Atomic *tables;
    uint32_t l1_entries;    /* of both arrays: h.l1_size */
    GArray *l1_dirty;       /* uint32_t indices that a commit has to write */
    Qcow2Slice *clock_hand; /* ring of all slices */
    uint32_t slice_count, slice_limit, dirty_slices;
    GPtrArray *retired;  /* slices out of the tables, freed after a grace period */
    unsigned background; /* commits and grace periods under way: quiesce waits for them */

    /* Refcounts. */
    uint64_t *reftable; /* offsets of blocks */
    uint64_t reftable_entries;
    Qcow2RefBlock **refblocks; /* those in memory, by index */
    GPtrArray *loaded;         /* the same, a ring for the clock's hand */
    guint loaded_hand;
    uint32_t dirty_refblocks;
    GArray *reftable_dirty; /* uint64_t indices */
    bool reftable_moved;    /* the whole table is to be written to its new place */
    bool reftable_shown;    /* the header may tell of that place, or not */
    uint64_t free_hint;     /* no free cluster below this one */
    uint64_t fresh_from;    /* bytes: from here on the file was never written: it reads as zeroes */
    uint64_t compressed_at; /* end of the last compressed cluster, inside its cluster; 0: none */

    Qcow2Alloc *allocs;

    /* Freeing: `fresh_frees` since the last commit began, `stable_frees` no longer shown by the
     * disk, `old_frees` not used by new requests either. */
    GArray *fresh_frees, *stable_frees, *old_frees;
    uint32_t free_items; /* of fresh_frees; atomic */
    uint64_t free_bytes; /* in them; atomic */
    _Atomic unsigned epoch;
    Qcow2LoopCount *_Atomic loops[QCOW2_MAX_LOOPS];
    _Atomic int loop_count;

    Qcow2Commit *commit;       /* running, or NULL */
    Qcow2WaitList next_commit; /* flushes that need another one after it */
    GCond idle;                /* with lock: background became 0 */
    int commit_error;          /* of the last commit, for those that joined it */
    uint64_t commits;          /* ended */

    Qcow2Encryption *encryption; /* NULL: none */
    GPtrArray *stored_bitmaps;   /* of Qcow2Stored (bitmap.c): the directory; NULL: not read; main
                                    thread */
    bool bitmaps_retired;        /* what the file says of them is the truth */

    _Atomic bool corrupt; /* something on disk makes no sense: nothing is written any more */
    bool discard_passdown;
    uint64_t cache_bytes; /* for L2 slices */
};

/* ---- waiting (wait.c); lock held, or the list is the caller's own ---- */
void qcow2_wait(Qcow2WaitList *list, Qcow2Waiter *waiter);
void qcow2_wake(Qcow2WaitList *list, int error);
static inline void qcow2_waiter_init(Qcow2Waiter *waiter, EventLoop *loop,
                                     void (*run)(void *opaque), void *opaque)
{
    waiter->loop = loop;
    waiter->run = run;
    waiter->opaque = opaque;
    waiter->error = 0;
}

/* The image contradicts itself: says so, marks it, and refuses writes from here on. */
void qcow2_mark_corrupt(Qcow2 *s, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* ---- tables (cache.c) ---- */
static inline uint32_t qcow2_l1_index(const Qcow2 *s, uint64_t cluster)
{
    return (uint32_t)(cluster >> s->l2_bits);
}
static inline uint32_t qcow2_slice_number(const Qcow2 *s, uint64_t cluster)
{
    return (uint32_t)(cluster >> s->slice_bits) & (s->slices_per_table - 1);
}
static inline uint32_t qcow2_entry_index(const Qcow2 *s, uint64_t cluster)
{
    return (uint32_t)cluster & (s->slice_entries - 1);
}
/* The slice that has the cluster's entry, when it is in memory; NULL else, also when there is no
 * table. Inside an RCU section, or with the lock held. */
Qcow2Slice *qcow2_slice_find(Qcow2 *s, uint64_t cluster);

typedef enum Qcow2Need {
    QCOW2_READY,
    QCOW2_PARKED, /* the waiter is woken when it is worth trying again */
    QCOW2_FAILED, /* *error */
} Qcow2Need;

/* With the lock held. Brings the slice into memory; there must be an L2 table. */
Qcow2Need qcow2_slice_need(Qcow2 *s, uint64_t cluster, Qcow2Slice **slice, Qcow2Waiter *waiter,
                           int *error);
void qcow2_slice_dirty(Qcow2 *s, Qcow2Slice *slice); /* lock held */
/* Makes the cluster's L2 table exist and be ours alone; may make a new one. Lock held. */
Qcow2Need qcow2_table_need(Qcow2 *s, uint64_t cluster, Qcow2Waiter *waiter, int *error);
void qcow2_cache_init(Qcow2 *s, uint64_t bytes);
void qcow2_cache_free(Qcow2 *s); /* all tables, dirty or not */
/* Frees what was evicted, after a grace period. Loop thread, lock not held. */
void qcow2_cache_reap(Qcow2 *s);

/* Entries: big-endian in memory; loads and stores are single ones. */
static inline uint64_t qcow2_entry(const Qcow2 *s, const Qcow2Slice *slice, uint32_t index)
{
    const uint64_t *p = &slice->entries[s->subclusters ? index * 2 : index];
    return GUINT64_FROM_BE(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}
static inline uint64_t qcow2_bitmap(const Qcow2 *s, const Qcow2Slice *slice, uint32_t index)
{
    return GUINT64_FROM_BE(__atomic_load_n(&slice->entries[index * 2 + 1], __ATOMIC_ACQUIRE));
}
/* Lock held. bitmap: of images with subclusters. */
void qcow2_entry_set(Qcow2 *s, Qcow2Slice *slice, uint32_t index, uint64_t entry, uint64_t bitmap);

/* ---- refcounts (refcount.c); lock held ---- */
/* Finds `count` free clusters in a row (at least `least`), counts them once, and says where they
 * are. fresh: they read as zeroes. waiter NULL: blocks are loaded by blocking reads (offline). */
Qcow2Need qcow2_alloc_clusters(Qcow2 *s, uint64_t count, uint64_t least, uint64_t *offset,
                               uint64_t *got, bool *fresh, Qcow2Waiter *waiter, int *error);
/* Space for `bytes` of compressed data, packed into clusters. */
Qcow2Need qcow2_alloc_bytes(Qcow2 *s, uint64_t bytes, uint64_t *offset, Qcow2Waiter *waiter,
                            int *error);
/* Adds to the counts of the clusters that [offset, offset + bytes) touches. */
Qcow2Need qcow2_refcount_add(Qcow2 *s, uint64_t offset, uint64_t bytes, int64_t add,
                             Qcow2Waiter *waiter, int *error);
/* The count of a cluster; blocking, offline. */
Qcow2Need qcow2_refcount_look(Qcow2 *s, uint64_t cluster, uint64_t *count, int *error);
/* Gives back clusters that no table ever showed. Their blocks are in memory. */
void qcow2_unalloc(Qcow2 *s, uint64_t offset, uint64_t clusters);
/* Drops a reference once the disk has forgotten it. */
void qcow2_free_later(Qcow2 *s, uint64_t offset, uint64_t bytes, bool discard);
bool qcow2_refcount_init(Qcow2 *s, GError **error); /* reads the table; blocking */
void qcow2_refcount_free(Qcow2 *s);
void qcow2_refblocks_trim(Qcow2 *s); /* forgets clean ones beyond the limit */

/* ---- commits (commit.c) ---- */
/* A guest's flush: ends the request when everything up to now is on the disk. Loop thread. */
void qcow2_flush(Qcow2 *s, BlockRequest *request);
/* Begins a commit nobody waits for where too much is dirty. Loop thread; lock not held. */
void qcow2_commit_if_full(Qcow2 *s, EventLoop *loop);
bool qcow2_is_dirty(const Qcow2 *s); /* lock held */
/* Clusters that were freed and that no request uses any more are counted down: where no commit is
 * running and no request either (close, snapshots). Blocking; lock not held. 0 or -errno. */
int qcow2_settle(Qcow2 *s);

/* ---- requests ---- */
void qcow2_submit(BlockNode *node, BlockRequest *request); /* request.c */

/* Guest data: request->position is where in s->data; guest: where on the disk. Loop thread. */
void qcow2_encrypted_submit(Qcow2 *s, BlockRequest *request, uint64_t guest); /* encrypt.c */
static inline void qcow2_data_submit(Qcow2 *s, BlockRequest *request, uint64_t guest)
{
    if (G_UNLIKELY(s->encryption)) {
        qcow2_encrypted_submit(s, request, guest);
    } else {
        block_node_submit(s->data, request);
    }
}

typedef enum Qcow2Kind {
    QCOW2_KIND_UNALLOCATED, /* the backing node's, or zeroes */
    QCOW2_KIND_ZERO,        /* without a cluster */
    QCOW2_KIND_ZERO_ALLOC,  /* with one that is not to be looked at */
    QCOW2_KIND_DATA,
    QCOW2_KIND_COMPRESSED,
} Qcow2Kind;

typedef struct Qcow2Extent {
    Qcow2Kind kind;
    bool copied;   /* every cluster of it is ours alone */
    uint64_t host; /* DATA, ZERO_ALLOC: of the first byte; COMPRESSED: the entry */
    uint64_t bytes;
} Qcow2Extent;

/* What stands at guest byte `offset`, for at most `bytes`, looking no further than one slice.
 * False: the slice is not in memory. -EIO in *error: the entry is nonsense (the image is then
 * marked). Inside an RCU section, or with the lock held. */
bool qcow2_map(Qcow2 *s, uint64_t offset, uint64_t bytes, Qcow2Extent *extent, int *error);

/* Whether the range reads as zeroes, by entries in memory alone. Lock held. */
bool qcow2_reads_zero(Qcow2 *s, uint64_t offset, uint64_t bytes);

/* Requests in flight, by epoch (request.c). */
unsigned qcow2_enter(Qcow2 *s, EventLoop *loop); /* inside the RCU section of its look-up */
void qcow2_leave(Qcow2 *s, EventLoop *loop, unsigned epoch);
bool qcow2_epoch_is_empty(Qcow2 *s, unsigned epoch);

/* An operation: a request that takes more than one look-up and one transfer (op.c). */
typedef struct Qcow2Op {
    Qcow2 *s;
    BlockRequest *parent;
    EventLoop *loop;
    uint64_t cursor, end; /* guest bytes */
    uint64_t start;
    unsigned pending; /* pieces under way, and one for the runner */
    unsigned epoch;
    int ret;
    Qcow2Waiter waiter;
} Qcow2Op;

/* A transfer of an operation. */
typedef struct Qcow2Piece Qcow2Piece;
struct Qcow2Piece {
    Qcow2Op *op;
    BlockRequest io;
    uint64_t offset, bytes; /* of the guest */
    struct iovec *iov;      /* the part of the parent's memory */
    int iov_count;
    /* Writes that make clusters (write.c). */
    Qcow2Alloc alloc;
    bool new_clusters; /* taken for this write: given back where it fails */
    uint64_t clusters;
    Qcow2Slice *slice;   /* pinned */
    uint64_t host;       /* of the first cluster */
    uint64_t head, tail; /* bytes before and behind that are copied along */
    uint8_t *head_data, *tail_data;
    struct iovec *write_iov;
    void *buffer; /* compressed data, or copied data */
    uint64_t entry;
    uint64_t skip;
    uint64_t length; /* bytes in buffer */
    Qcow2Waiter waiter;
};

void qcow2_op_run(Qcow2Op *op);
Qcow2Piece *qcow2_piece_new(Qcow2Op *op, uint64_t bytes); /* of the next bytes; moves the cursor */
void qcow2_piece_done(Qcow2Piece *piece, int ret);        /* frees it */
/* Goes one step on with a write, a discard or a write of zeroes: true when the cursor moved or the
 * operation failed (op->ret), false when it parked. */
bool qcow2_write_step(Qcow2Op *op);    /* write.c */
bool qcow2_populate_step(Qcow2Op *op); /* write.c */
bool qcow2_zero_step(Qcow2Op *op);     /* zero.c */
/* The piece's bytes, which begin `skip` bytes into a compressed cluster (compressed.c). */
void qcow2_read_compressed(Qcow2Piece *piece, uint64_t entry, uint64_t skip);
bool qcow2_compressed_step(Qcow2Op *op); /* writes one cluster compressed */
/* False: packing the data gains nothing worth its time (packable.c). Any thread. */
bool qcow2_is_packable(const uint8_t *data, size_t length);
/* Goes on as `need` says: false: op is parked; where it failed op->ret says so. */
bool qcow2_op_took(Qcow2Op *op, Qcow2Need need, int error);

/* ---- writes that make clusters (write.c); lock held ---- */
/* Another write is just making one of these clusters. */
Qcow2Alloc *qcow2_alloc_find(Qcow2 *s, uint64_t first, uint64_t count);
void qcow2_alloc_begin(Qcow2 *s, Qcow2Alloc *alloc, uint64_t first, uint64_t count);
void qcow2_alloc_end(Qcow2 *s, Qcow2Alloc *alloc); /* wakes who waits for it */
/* Drops what an entry that is replaced pointed to, later. */
void qcow2_entry_free(Qcow2 *s, uint64_t entry, bool discard);

/* ---- whole images, offline: main thread, no request in flight ---- */
BlockCreation *qcow2_plan(BlockNode *file, Opts *options, GError **error);
bool qcow2_create(BlockNode *file, Opts *options, GError **error); /* create.c */
bool qcow2_check(BlockNode *node, unsigned fix, BlockCheckResult *result, GError **error);
/* Mends an image that was not closed, while nobody else has it: at opening. */
bool qcow2_repair_dirty(Qcow2 *s, GError **error);
bool qcow2_resize(BlockNode *node, uint64_t size, GError **error);
/* Clusters for a range that reads as zeroes, and that nobody uses yet (preallocate.c). mode: as
 * create's "preallocation". */
bool qcow2_preallocate(BlockNode *node, uint64_t offset, uint64_t bytes, const char *mode,
                       GError **error);
/* Writes s->h to the first cluster and flushes: the old header or the new one stands, whenever the
 * power fails (header_update.c). */
bool qcow2_update_header(Qcow2 *s, GError **error);
/* Commits everything; then nothing in memory is newer than the file. */
bool qcow2_flush_all(Qcow2 *s, GError **error);
/* Forgets all tables in memory and reads them again: after offline work on the file. */
bool qcow2_reload(Qcow2 *s, GError **error);

/* ---- bitmaps that the image keeps (bitmap.c): main thread, no request in flight ---- */
/* Reads the directory and makes the node's bitmaps. */
bool qcow2_bitmaps_load(Qcow2 *s, GError **error);
/* Tells the file that they are in use: before the first write. */
bool qcow2_bitmaps_use(Qcow2 *s, GError **error);
/* Writes them all, and that they are no longer in use: nothing is written to the image any more. */
bool qcow2_bitmaps_retire(Qcow2 *s, GError **error);
void qcow2_bitmaps_free(Qcow2 *s);
bool qcow2_bitmap_can_store(BlockNode *node, const char *name, uint64_t granularity,
                            GError **error);
bool qcow2_bitmap_remove_stored(BlockNode *node, const char *name, GError **error);
/* Qcow2BitmapInfo of each; NULL: there are none. */
json_object *qcow2_bitmaps_describe(Qcow2 *s);

/* Calls fn while others cannot have the image for writing: for writes before a device has it, or
 * after. */
bool qcow2_with_lock(Qcow2 *s, bool (*fn)(Qcow2 *s, void *opaque, GError **error), void *opaque,
                     GError **error);

/* Another L1 table's contents from here on, of an image that is open read-only. */
bool qcow2_show_tables(Qcow2 *s, uint64_t l1_offset, uint32_t l1_size, uint64_t size,
                       GError **error);

extern const BlockCreateOption qcow2_create_options[], qcow2_amend_options[];
GPtrArray *qcow2_snapshot_list(BlockNode *node, GError **error);
bool qcow2_snapshot_create(BlockNode *node, BlockSnapshot *snapshot, GError **error);
bool qcow2_snapshot_apply(BlockNode *node, const char *id, GError **error);
bool qcow2_snapshot_delete(BlockNode *node, const char *id, GError **error);
bool qcow2_snapshot_load(BlockNode *node, const char *id, GError **error);
bool qcow2_measure(Opts *options, BlockNode *in, BlockMeasure *measure, GError **error);
/* downgrade.c: to compatibility level 0.10. No request is in flight. */
bool qcow2_downgrade(Qcow2 *s, GError **error);
bool qcow2_amend(BlockNode *node, Opts *options, BlockProgress *progress, void *opaque,
                 GError **error);
bool qcow2_set_backing(BlockNode *node, const char *file, const char *format, GError **error);
bool qcow2_make_empty(BlockNode *node, GError **error);

#endif
