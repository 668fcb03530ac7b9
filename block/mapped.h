/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Read-only image formats whose data never moves: vmdk, vdi, vhdx, vpc. Such a format says where a
 * byte of the disk is; reading, status and the blocking forms are done here. Its tables stay in the
 * file: pages of them are kept in a cache of bounded size, so that neither a header nor the size of
 * a disk decides how much memory an image takes.
 */
#ifndef BLOCK_MAPPED_H
#define BLOCK_MAPPED_H

#include "block/internal.h"

#define MAPPED_PAGE_BYTES 65536
#define MAPPED_PAGES      256

typedef enum MappedKind {
    MAPPED_NONE,   /* not in this image: the backing node's, or zeroes */
    MAPPED_ZERO,   /* zeroes, whatever stands below */
    MAPPED_DATA,   /* plain in `file` at host_offset */
    MAPPED_PACKED, /* compressed: unpack() gives it */
} MappedKind;

typedef struct MappedExtent {
    MappedKind kind;
    bool holes;     /* DATA: what is a hole of the file reads as zeroes here */
    uint64_t bytes; /* from the offset asked for; at least 1, may reach behind the disk's end */
    BlockNode *file;
    uint64_t host_offset;
} MappedExtent;

typedef struct MappedOps {
    /* Reads the image's header, sets the length; the node's name, limits and mode are set. What it
     * made is freed by close(), also when it fails. Messages need not name the file. */
    bool (*open)(BlockNode *node, Opts *options, GError **error);
    void (*close)(BlockNode *node);
    /* Where offset (below the length) is: 0, -EAGAIN when a table would have to be read and wait
     * is false, or another -errno. Any thread; blocks only with wait. */
    int (*map)(BlockNode *node, uint64_t offset, bool wait, MappedExtent *extent);
    /* Data of one PACKED extent; blocks. 0 or -errno. */
    int (*unpack)(BlockNode *node, uint64_t offset, void *data, uint64_t bytes);
    /* False: the backing node is not the one this image was made on. May be NULL. Any thread. */
    bool (*backing_fits)(BlockNode *node);
} MappedOps;

typedef struct MappedPage {
    const BlockNode *file;
    uint64_t index;
    uint8_t *data; /* NULL: free */
} MappedPage;

/* The first member of the state of such a format. */
typedef struct Mapped {
    const MappedOps *ops;
    GMutex lock;             /* leaf, held for a copy of a few bytes; guards: */
    MappedPage *pages;       /* MAPPED_PAGES */
    _Atomic bool complained; /* of a corrupt image: once */
} Mapped;

/* For BlockDriver.open, .close, .submit, .transfer, .flush. */
bool mapped_open(BlockNode *node, const MappedOps *ops, Opts *options, GError **error);
void mapped_close(BlockNode *node);
void mapped_submit(BlockNode *node, BlockRequest *request);
int mapped_transfer(BlockNode *node, uint64_t offset, void *data, uint64_t bytes, bool write);
int mapped_flush(BlockNode *node);
extern const BlockCreateOption mapped_no_options[]; /* such images cannot be made */

/* A few bytes (at most a page) of a table in file, through the cache: 0, -EAGAIN as in map(), -EIO
 * behind the file's end. Any thread. */
int mapped_read_table(Mapped *mapped, BlockNode *file, uint64_t offset, void *data, unsigned bytes,
                      bool wait);
/* Tells the user, once for a node, what of the image is corrupt; returns -EIO. Any thread. */
int mapped_corrupt(BlockNode *node, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* At open: bytes of the header, which must lie inside the file; `what` names them. */
bool mapped_read_header(BlockNode *file, const char *what, uint64_t offset, void *data,
                        uint64_t bytes, GError **error);

#endif
