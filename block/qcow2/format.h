/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qcow2 file format, versions 2 and 3, as its specification has it (docs/interop/qcow2 of the
 * QEMU project): constants, the header in the host's byte order, and what can be said of a table
 * entry by looking at it. No state, no I/O.
 */
#ifndef BLOCK_QCOW2_FORMAT_H
#define BLOCK_QCOW2_FORMAT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "vmm/util/bytes.h"

#define QCOW2_MAGIC 0x514649fbu /* "QFI\xfb" */

/* Header, section "Header": offsets of fields. */
enum {
    QCOW2_H_MAGIC = 0,
    QCOW2_H_VERSION = 4,
    QCOW2_H_BACKING_OFFSET = 8,
    QCOW2_H_BACKING_SIZE = 16,
    QCOW2_H_CLUSTER_BITS = 20,
    QCOW2_H_SIZE = 24,
    QCOW2_H_CRYPT_METHOD = 32,
    QCOW2_H_L1_SIZE = 36,
    QCOW2_H_L1_OFFSET = 40,
    QCOW2_H_REFTABLE_OFFSET = 48,
    QCOW2_H_REFTABLE_CLUSTERS = 56,
    QCOW2_H_NB_SNAPSHOTS = 60,
    QCOW2_H_SNAPSHOTS_OFFSET = 64,
    QCOW2_H_V2_LENGTH = 72,
    QCOW2_H_INCOMPATIBLE = 72,
    QCOW2_H_COMPATIBLE = 80,
    QCOW2_H_AUTOCLEAR = 88,
    QCOW2_H_REFCOUNT_ORDER = 96,
    QCOW2_H_HEADER_LENGTH = 100,
    QCOW2_H_V3_LENGTH = 104,
    QCOW2_H_COMPRESSION = 104,
    QCOW2_H_FULL_LENGTH = 112,
};

enum {
    QCOW2_INCOMPAT_DIRTY = 1 << 0,
    QCOW2_INCOMPAT_CORRUPT = 1 << 1,
    QCOW2_INCOMPAT_DATA_FILE = 1 << 2,
    QCOW2_INCOMPAT_COMPRESSION = 1 << 3,
    QCOW2_INCOMPAT_EXTL2 = 1 << 4,
    QCOW2_INCOMPAT_KNOWN = 0x1f,
    QCOW2_COMPAT_LAZY_REFCOUNTS = 1 << 0,
    QCOW2_AUTOCLEAR_BITMAPS = 1 << 0,
    QCOW2_AUTOCLEAR_DATA_FILE_RAW = 1 << 1,
    QCOW2_AUTOCLEAR_KNOWN = 0x3,
};

enum { QCOW2_CRYPT_NONE, QCOW2_CRYPT_AES, QCOW2_CRYPT_LUKS };
enum { QCOW2_COMPRESSION_ZLIB, QCOW2_COMPRESSION_ZSTD };

/* Header extensions. */
#define QCOW2_EXT_END            0u
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXT_FEATURES       0x6803f857u
#define QCOW2_EXT_BITMAPS        0x23852875u
#define QCOW2_EXT_CRYPTO         0x0537be77u
#define QCOW2_EXT_DATA_FILE      0x44415441u

#define QCOW2_MIN_CLUSTER_BITS 9
#define QCOW2_MAX_CLUSTER_BITS 21
#define QCOW2_MAX_L1_BYTES     (32 * MIB)
#define QCOW2_MAX_REFTABLE     (8 * MIB) /* bytes */
#define QCOW2_MAX_SNAPSHOTS    65536
#define QCOW2_MAX_BACKING_NAME 1023

/* L1 entries: section "Cluster mapping". */
#define QCOW2_COPIED      (1ULL << 63) /* refcount is exactly one; L2 entries too */
#define QCOW2_L1_OFFSET   0x00fffffffffffe00ULL
#define QCOW2_L1_RESERVED 0x7f000000000001ffULL
/* L2 entries. */
#define QCOW2_COMPRESSED      (1ULL << 62)
#define QCOW2_ZERO            (1ULL << 0) /* version 3, without extended entries */
#define QCOW2_L2_OFFSET       0x00fffffffffffe00ULL
#define QCOW2_L2_RESERVED     0x3f000000000001feULL
#define QCOW2_REFTABLE_OFFSET 0xfffffffffffffe00ULL
#define QCOW2_SUBCLUSTERS     32

/* A header extension that this version does not know: kept as it is. */
typedef struct Qcow2Extension {
    uint32_t type, length;
    uint8_t *data;
} Qcow2Extension;

/* The header and its extensions in the host's byte order. */
typedef struct Qcow2Header {
    uint32_t version;
    uint32_t cluster_bits;
    uint64_t size; /* bytes, virtual */
    uint32_t crypt_method;
    uint32_t l1_size; /* entries */
    uint64_t l1_offset;
    uint64_t reftable_offset;
    uint32_t reftable_clusters;
    uint32_t nb_snapshots;
    uint64_t snapshots_offset;
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order; /* log2 of bits */
    uint32_t header_length;
    uint8_t compression;                   /* QCOW2_COMPRESSION_* */
    char *backing_file;                    /* NULL: none */
    char *backing_format;                  /* NULL: not said */
    char *data_file;                       /* external data file's name, NULL: none, or not said */
    uint64_t crypto_offset, crypto_length; /* of the LUKS header, 0: none */
    bool has_bitmaps;
    uint32_t nb_bitmaps;
    uint64_t bitmap_directory_size, bitmap_directory_offset;
    GPtrArray *unknown; /* of Qcow2Extension, or NULL */
    /* Names in the feature table of what is set and not known, for the message; NULL: none. */
    char *unknown_features;
} Qcow2Header;

/* header.c. Parses the first bytes of a file (at least one cluster of it, or all there is) and
 * bounds every field by itself and by the file's length. Errors name the field. Any thread. */
bool qcow2_header_parse(Qcow2Header *h, const uint8_t *data, size_t length, uint64_t file_length,
                        GError **error);
/* The first cluster's content: header, extensions, backing name. `length` is the cluster's size;
 * fails where it does not fit. Any thread. */
bool qcow2_header_write(const Qcow2Header *h, uint8_t *data, size_t length, GError **error);
/* The same in the shortest form: without the names of features; all but the backing file's name in
 * the first sector, and the name at `name_at` (0: there too). False: it does not fit. */
#define QCOW2_H_SECTOR 512 /* what a disk writes whole or not at all */
bool qcow2_header_write_short(const Qcow2Header *h, uint8_t *data, size_t length, uint64_t name_at);
void qcow2_header_clear(Qcow2Header *h);

static inline uint64_t qcow2_cluster_size(const Qcow2Header *h)
{
    return 1ULL << h->cluster_bits;
}

static inline bool qcow2_has_subclusters(const Qcow2Header *h)
{
    return h->incompatible & QCOW2_INCOMPAT_EXTL2;
}

static inline unsigned qcow2_l2_entry_size(const Qcow2Header *h)
{
    return qcow2_has_subclusters(h) ? 16 : 8;
}

/* log2 of the entries of an L2 table. */
static inline unsigned qcow2_l2_bits(const Qcow2Header *h)
{
    return h->cluster_bits - (qcow2_has_subclusters(h) ? 4 : 3);
}

/* log2 of the clusters that a refcount block counts. */
static inline unsigned qcow2_refblock_bits(const Qcow2Header *h)
{
    return h->cluster_bits + 3 - h->refcount_order;
}

static inline uint64_t qcow2_max_refcount(const Qcow2Header *h)
{
    return h->refcount_order == 6 ? UINT64_MAX : (1ULL << (1u << h->refcount_order)) - 1;
}

/* L1 entries that `size` bytes need. */
static inline uint64_t qcow2_l1_entries(const Qcow2Header *h, uint64_t size)
{
    unsigned shift = h->cluster_bits + qcow2_l2_bits(h);
    return (size >> shift) + ((size & ((1ULL << shift) - 1)) != 0);
}

/* Where a compressed cluster's data is: section "Compressed Clusters Descriptor". */
static inline uint64_t qcow2_compressed_offset(const Qcow2Header *h, uint64_t entry)
{
    unsigned bits = 62 - (h->cluster_bits - 8);
    return entry & ((1ULL << bits) - 1);
}

/* Bytes from there on that may belong to it. */
static inline uint64_t qcow2_compressed_bytes(const Qcow2Header *h, uint64_t entry)
{
    unsigned bits = 62 - (h->cluster_bits - 8);
    uint64_t sectors = ((entry & ~(QCOW2_COPIED | QCOW2_COMPRESSED)) >> bits) + 1;
    return sectors * 512 - (qcow2_compressed_offset(h, entry) & 511);
}

static inline uint64_t qcow2_compressed_entry(const Qcow2Header *h, uint64_t offset, uint64_t bytes)
{
    unsigned bits = 62 - (h->cluster_bits - 8);
    uint64_t sectors = ((offset + bytes - 1) >> 9) - (offset >> 9);
    return QCOW2_COMPRESSED | offset | (sectors << bits);
}

/* The count of cluster `index` in a refcount block's raw bytes. */
uint64_t qcow2_refcount_get(const uint8_t *block, unsigned order, uint64_t index);
void qcow2_refcount_set(uint8_t *block, unsigned order, uint64_t index, uint64_t value);

#endif
