/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images as tools see them: creating, describing, checking and changing whole images, below
 * vireo-img and the monitor's commands. Everything here blocks; main thread, with no request in
 * flight, unless a comment says else.
 */
#ifndef BLOCK_IMAGE_H
#define BLOCK_IMAGE_H

#include "block/block.h"

typedef enum BlockOptionType {
    BLOCK_OPTION_STRING,
    BLOCK_OPTION_BOOL,
    BLOCK_OPTION_NUMBER,
    BLOCK_OPTION_SIZE,
} BlockOptionType;

/* One of `create -o`; a table of these ends with a NULL name. */
typedef struct BlockCreateOption {
    const char *name;
    BlockOptionType type;
    const char *help;
    const char *value; /* by default; NULL: none */
} BlockCreateOption;

typedef struct BlockImageInfo {
    uint32_t cluster_size; /* bytes; 0: the format has none */
    bool dirty, corrupt, encrypted, compressed;
    uint64_t vm_state_offset; /* where a saved machine goes; 0: nowhere */
    json_object *specific; /* ImageInfoSpecific's "data" as QEMU's, owned by the caller, or NULL */
} BlockImageInfo;

enum { BLOCK_FIX_LEAKS = 1, BLOCK_FIX_ERRORS = 2 };

typedef struct BlockCheckResult {
    uint64_t corruptions, leaks, check_errors;
    uint64_t corruptions_fixed, leaks_fixed;
    uint64_t image_end_offset;
    uint64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
    /* One line each of what was found, as it is found; may be NULL. */
    void (*report)(const char *line, void *opaque);
    void *opaque;
} BlockCheckResult;

typedef struct BlockSnapshot {
    char *id, *name;
    uint64_t vm_state_size; /* bytes */
    uint64_t disk_size;     /* bytes */
    uint64_t date_seconds;  /* since 1970 */
    uint32_t date_ns;
    uint64_t vm_clock_ns;
    uint64_t icount; /* UINT64_MAX: not known */
} BlockSnapshot;

typedef struct BlockMeasure {
    uint64_t required, fully_allocated; /* bytes of the file */
    uint64_t bitmaps;                   /* bytes for bitmaps; UINT64_MAX: the format has none */
} BlockMeasure;

typedef void BlockProgress(double percent, void *opaque);

/* Between pieces of long work: false: stop. The worker's thread. */
typedef bool BlockGoOn(void *opaque);

/* A new image that is planned: nodes are as long as they must be, objects were looked up. */
typedef struct BlockCreation BlockCreation;
struct BlockCreation {
    /* Writes it. Blocking; any thread that no loop runs on. go_on may be NULL. */
    bool (*fill)(BlockCreation *creation, BlockGoOn *go_on, void *opaque, GError **error);
    void (*free)(BlockCreation *creation); /* main thread */
};

typedef struct BlockImageOps {
    const BlockCreateOption *create_options;
    const BlockCreateOption *amend_options; /* NULL: those of creation */
    bool can_compress;                      /* takes BLOCK_REQ_COMPRESSED */
    /* Writes an empty image into file (open for writing, of length 0 or a device). "size" and the
     * table's names are in options; "backing_file", "backing_fmt" are recorded, not opened. */
    bool (*create)(BlockNode *file, Opts *options, GError **error);
    /* The same in two steps, of which the second is the long one. NULL: create does not take
     * long. */
    BlockCreation *(*plan)(BlockNode *file, Opts *options, GError **error);
    void (*info)(BlockNode *node, BlockImageInfo *info);
    bool (*check)(BlockNode *node, unsigned fix, BlockCheckResult *result, GError **error);
    /* How large a file must be for `size` bytes of which `data` (in `runs` of whole clusters, as
     * create options say) hold something. in: the image to be converted, or NULL. */
    bool (*measure)(Opts *options, BlockNode *in, BlockMeasure *measure, GError **error);
    bool (*amend)(BlockNode *node, Opts *options, BlockProgress *progress, void *opaque,
                  GError **error);
    /* Names another backing file; NULL: none. The data is the caller's care. */
    bool (*set_backing)(BlockNode *node, const char *file, const char *format, GError **error);
    GPtrArray *(*snapshot_list)(BlockNode *node, GError **error); /* of BlockSnapshot */
    bool (*snapshot_create)(BlockNode *node, BlockSnapshot *snapshot, GError **error);
    bool (*snapshot_apply)(BlockNode *node, const char *id, GError **error);
    bool (*snapshot_delete)(BlockNode *node, const char *id, GError **error);
    /* Shows the snapshot's content from here on: the node is open read-only, nothing is changed. */
    bool (*snapshot_load)(BlockNode *node, const char *id, GError **error);
    /* Space for a range behind a resize; mode is one of create's "preallocation". */
    bool (*preallocate)(BlockNode *node, uint64_t offset, uint64_t bytes, const char *mode,
                        GError **error);
    /* Whether the image can keep one more bitmap (bitmap.h). NULL: the format keeps none. */
    bool (*bitmap_can_store)(BlockNode *node, const char *name, uint64_t granularity,
                             GError **error);
    /* What the image keeps of a bitmap goes; nothing is no error. Inside a graph change. */
    bool (*bitmap_remove_stored)(BlockNode *node, const char *name, GError **error);
    /* Everything the active layer has, dropped: what `commit` does to the overlay afterwards. */
    bool (*make_empty)(BlockNode *node, GError **error);
} BlockImageOps;

/* The plan, carried out at once; NULL: that failed. Main thread. */
bool block_creation_run(BlockCreation *creation, GError **error);

void block_snapshot_free(BlockSnapshot *snapshot);
GPtrArray *block_snapshots_new(void); /* frees its BlockSnapshots */

/* The image by itself, its `specific` for the caller to put. */
BlockImageInfo block_image_describe(BlockNode *node);
/* QEMU's ImageInfo of this image alone; snapshots may be NULL. */
json_object *block_image_to_json(BlockNode *node, const char *name, const GPtrArray *snapshots);
/* The same with "backing-image" below it, unless flat; *depth: images below. */
json_object *block_chain_to_json(BlockNode *node, bool flat, int *depth);

/* Whether a driver of this name is known, and what it can do; NULL: unknown. */
const BlockImageOps *block_image_ops(const char *driver, GError **error);
bool block_format_exists(const char *driver);
bool block_is_protocol(const char *driver); /* "file", "nbd" ...: no format over another node */

/* Opens an image and what it stands on: filename, "json:{...}" or "proto:...", or options (may be
 * NULL) as -blockdev takes them. format NULL: found out. */
typedef struct BlockOpenMode {
    bool writable;
    bool force_share; /* without locks: with writable off only */
    bool for_check;   /* opens also what must be repaired before it can be written */
    bool no_backing;  /* leave the backing file closed: `info`, `check`, `rebase -u` */
    bool cache_direct, no_flush, discard;
    bool no_io;    /* what it says of itself alone is wanted: an encrypted image needs no key */
    bool trusting; /* an image whose format was found out may name its backing file: the user of a
                      tool looks at what he opens */
} BlockOpenMode;
BlockNode *block_image_open(const char *filename, const char *format, Opts *options,
                            const BlockOpenMode *mode, GError **error);
/* Makes the file (with the protocol of its name) and the image in it. options: "size" and those of
 * the format's table; what remains unknown is an error. */
bool block_image_create(const char *filename, const char *format, Opts *options, GError **error);

/* Whether qcow2 images with the legacy AES encryption may be opened: tools only, as with QEMU. Main
 * thread, at start. */
void block_allow_legacy_encryption(bool on);

/* Writes what the image has only while it is closed, its bitmaps: nothing is written to it any
 * more. What the close does by itself cannot fail in a way that anybody hears of. */
bool block_node_retire(BlockNode *node, GError **error);

/* Structure of an open image. */
BlockNode *block_node_backing(BlockNode *node); /* NULL: none, or not opened */
BlockNode *block_node_file(BlockNode *node);
const char *block_node_backing_file(const BlockNode *node);   /* as the image says; NULL: none */
const char *block_node_backing_format(const BlockNode *node); /* NULL: not said */
char *block_node_backing_path(const BlockNode *node); /* as opened from here (g_free); NULL: none */
const BlockImageOps *block_node_image_ops(const BlockNode *node); /* NULL: none */
uint64_t block_node_allocated(BlockNode *node);                   /* bytes on the host */

#endif
