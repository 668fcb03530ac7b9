/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hyper-V disk images (VHDX format specification 1.00), fixed and dynamic: two headers, two region
 * tables, the metadata and the block allocation table (BAT) that the regions name. A log that was
 * not played back is refused: whoever writes the image has to do that.
 */
#include "block/mapped.h"
#include "vmm/util/bytes.h"

#define VHDX_HEADER_BYTES   4096
#define VHDX_REGIONS_BYTES  65536
#define VHDX_METADATA_BYTES 65536 /* of the table; items come behind it */
#define VHDX_REGIONS_MAX    2047
#define VHDX_ITEMS_MAX      2047
#define VHDX_DISK_MAX       (64ULL << 40)
#define VHDX_LOG_MAX        (64 * MIB)
#define VHDX_LOG_SECTOR     4096
#define VHDX_REQUIRED       1u /* of a region */
#define VHDX_ITEM_REQUIRED  4u
#define VHDX_HAS_PARENT     2u /* file parameters */

enum {
    VHDX_BLOCK_NOT_PRESENT,
    VHDX_BLOCK_UNDEFINED,
    VHDX_BLOCK_ZERO,
    VHDX_BLOCK_UNMAPPED,
    VHDX_BLOCK_UNMAPPED_095 = 5,
    VHDX_BLOCK_FULL,
};

/* GUIDs as they stand in the file. */
static const uint8_t region_bat[16] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                        0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
static const uint8_t region_metadata[16] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                             0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
static const uint8_t item_parameters[16] = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                             0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b };
static const uint8_t item_size[16] = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                       0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8 };
static const uint8_t item_logical[16] = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                          0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f };
static const uint8_t item_physical[16] = { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
                                           0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56 };
static const uint8_t item_page83[16] = { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
                                         0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46 };

typedef struct VhdxState {
    Mapped mapped;
    uint32_t block_size, logical_sector;
    uint64_t chunk_ratio; /* blocks for each bitmap entry between those of blocks */
    uint64_t bat_offset;
} VhdxState;

/* ---- Checksums ---- */

/* CRC-32C of data whose own checksum field, 4 bytes at 4, counts as zero. */
static uint32_t checksum(const uint8_t *data, size_t bytes)
{
    uint32_t table[256], crc = ~0u;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++) {
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0x82f63b78 : 0);
        }
    }
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = i >= 4 && i < 8 ? 0 : data[i];
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xff];
    }
    return ~crc;
}

static bool block_is_valid(const uint8_t *data, size_t bytes, const char *signature)
{
    return !memcmp(data, signature, 4) && load_le32(data + 4) == checksum(data, bytes);
}

/* ---- Headers and log ---- */

/* The one in use of the two: the valid one with the larger sequence number. */
static bool read_header(BlockNode *node, uint8_t *header, GError **error)
{
    static const uint64_t places[] = { 64 * KIB, 128 * KIB };
    uint8_t data[VHDX_HEADER_BYTES];
    uint64_t best = 0;
    bool found = false;
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        if (!mapped_read_header(node->file, "a vhdx header", places[i], data, sizeof(data),
                                error)) {
            return false;
        }
        uint64_t sequence = load_le64(data + 8);
        if (block_is_valid(data, sizeof(data), "head") && load_le16(data + 66) == 1 &&
            (!found || sequence > best)) {
            found = true;
            best = sequence;
            memcpy(header, data, sizeof(data));
        }
    }
    return found || error_set(error, "neither of the two vhdx headers has a valid signature, "
                                     "version and checksum: the image is corrupt");
}

/* Whether an entry that belongs to this log is whole at this place of the ring. Entries do not
 * overlap: a log where those that seem to be there sum up to more than its length is not believed.
 */
static bool log_entry_at(const uint8_t *log, uint32_t length, uint32_t at, const uint8_t *guid,
                         uint64_t *seen)
{
    const uint8_t *head = log + at;
    uint32_t bytes = load_le32(head + 8);
    if (memcmp(head, "loge", 4) != 0 || memcmp(head + 32, guid, 16) != 0 || bytes > length ||
        bytes < VHDX_LOG_SECTOR || bytes % VHDX_LOG_SECTOR) {
        return false;
    }
    *seen += bytes;
    if (*seen > length) {
        return true;
    }
    g_autofree uint8_t *whole = g_malloc(bytes);
    uint32_t first = MIN(bytes, length - at);
    memcpy(whole, head, first);
    memcpy(whole + first, log, bytes - first);
    return load_le32(whole + 4) == checksum(whole, bytes);
}

static bool check_log(BlockNode *node, const uint8_t *header, GError **error)
{
    static const uint8_t none[16];
    const uint8_t *guid = header + 48;
    uint16_t version = load_le16(header + 64);
    uint32_t length = load_le32(header + 68);
    uint64_t offset = load_le64(header + 72), seen = 0;
    if (!memcmp(guid, none, sizeof(none)) || !length) {
        return true;
    }
    if (version) {
        return error_set(error, "log version %u is not 0", version);
    }
    if (length % MIB || length > VHDX_LOG_MAX) {
        return error_set(error, "log length %u is not a multiple of 1 MiB up to 64 MiB", length);
    }
    g_autofree uint8_t *log = g_malloc(length);
    if (!mapped_read_header(node->file, "the log", offset, log, length, error)) {
        return false;
    }
    for (uint32_t at = 0; at < length; at += VHDX_LOG_SECTOR) {
        if (log_entry_at(log, length, at, guid, &seen)) {
            return error_set(error, "its log holds changes that are not in the image yet: whoever "
                                    "wrote it did not close it. 'qemu-img check -r all' or Hyper-V "
                                    "plays it back");
        }
    }
    return true;
}

/* ---- Regions ---- */

typedef struct VhdxRegion {
    uint64_t offset;
    uint32_t length;
} VhdxRegion;

static bool read_region_table(BlockNode *node, uint8_t *table, GError **error)
{
    static const uint64_t places[] = { 192 * KIB, 256 * KIB };
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        if (!mapped_read_header(node->file, "a vhdx region table", places[i], table,
                                VHDX_REGIONS_BYTES, error)) {
            return false;
        }
        if (block_is_valid(table, VHDX_REGIONS_BYTES, "regi")) {
            return true;
        }
    }
    return error_set(error, "neither of the two region tables has a valid signature and checksum: "
                            "the image is corrupt");
}

static bool find_regions(BlockNode *node, VhdxRegion *bat, VhdxRegion *metadata, GError **error)
{
    g_autofree uint8_t *table = g_malloc(VHDX_REGIONS_BYTES);
    if (!read_region_table(node, table, error)) {
        return false;
    }
    uint32_t count = load_le32(table + 8);
    if (count > VHDX_REGIONS_MAX) {
        return error_set(error, "region count %u is more than %u", count, VHDX_REGIONS_MAX);
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *entry = table + 16 + (size_t)i * 32;
        VhdxRegion *region = !memcmp(entry, region_bat, 16)        ? bat
                             : !memcmp(entry, region_metadata, 16) ? metadata
                                                                   : NULL;
        if (!region && load_le32(entry + 28) & VHDX_REQUIRED) {
            return error_set(error, "region %u is required and of a kind that is not known", i);
        }
        if (region && region->length) {
            return error_set(error, "region %u: there is one of this kind already", i);
        }
        if (region) {
            region->offset = load_le64(entry + 16);
            region->length = load_le32(entry + 24);
        }
    }
    return (bat->length && metadata->length) ||
           error_set(error, "the region table names no %s",
                     bat->length ? "metadata" : "block allocation table");
}

/* ---- Metadata ---- */

typedef struct VhdxItem {
    const uint8_t *guid;
    const char *name;
    uint32_t bytes;
    uint8_t value[8];
    bool found;
} VhdxItem;

static bool read_item(BlockNode *node, const VhdxRegion *region, const uint8_t *entry,
                      VhdxItem *item, GError **error)
{
    uint32_t offset = load_le32(entry + 16), bytes = load_le32(entry + 20);
    if (item->found || bytes != item->bytes || offset < VHDX_METADATA_BYTES ||
        !range_inside(offset, bytes, region->length)) {
        return error_set(error,
                         "metadata item '%s' (%u bytes at %u) is there twice, or not of %u bytes "
                         "inside its region",
                         item->name, bytes, offset, item->bytes);
    }
    item->found = true;
    return mapped_read_header(node->file, item->name, region->offset + offset, item->value, bytes,
                              error);
}

static bool read_items(BlockNode *node, const VhdxRegion *region, VhdxItem *items, size_t count,
                       GError **error)
{
    g_autofree uint8_t *table = g_malloc(VHDX_METADATA_BYTES);
    uint64_t end = block_node_length(node->file);
    if (region->length < VHDX_METADATA_BYTES ||
        !range_inside(region->offset, region->length, end)) {
        return error_set(error,
                         "the metadata region (%u bytes at %" G_GUINT64_FORMAT
                         ") is too short or not inside the file: the image is truncated or corrupt",
                         region->length, region->offset);
    }
    if (!mapped_read_header(node->file, "the metadata table", region->offset, table,
                            VHDX_METADATA_BYTES, error)) {
        return false;
    }
    uint16_t entries = load_le16(table + 10);
    if (memcmp(table, "metadata", 8) != 0 || entries > VHDX_ITEMS_MAX) {
        return error_set(error, "the metadata table has no signature, or %u items: more than %u",
                         entries, VHDX_ITEMS_MAX);
    }
    for (unsigned i = 0; i < entries; i++) {
        const uint8_t *entry = table + 32 + (size_t)i * 32;
        VhdxItem *item = NULL;
        for (size_t k = 0; k < count && !item; k++) {
            item = !memcmp(entry, items[k].guid, 16) ? &items[k] : NULL;
        }
        if (item && !read_item(node, region, entry, item, error)) {
            return false;
        }
        if (!item && load_le32(entry + 24) & VHDX_ITEM_REQUIRED &&
            memcmp(entry, item_page83, 16) != 0 && memcmp(entry, item_physical, 16) != 0) {
            return error_set(error,
                             "metadata item %u is required and of a kind that is not known: "
                             "perhaps this is a differencing disk",
                             i);
        }
    }
    return true;
}

static bool read_metadata(BlockNode *node, const VhdxRegion *region, GError **error)
{
    VhdxState *s = node->state;
    VhdxItem items[] = { { item_parameters, "file parameters", 8, { 0 }, false },
                         { item_size, "virtual disk size", 8, { 0 }, false },
                         { item_logical, "logical sector size", 4, { 0 }, false } };
    if (!read_items(node, region, items, G_N_ELEMENTS(items), error)) {
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(items); i++) {
        if (!items[i].found) {
            return error_set(error, "metadata item '%s' is missing", items[i].name);
        }
    }
    s->block_size = load_le32(items[0].value);
    s->logical_sector = load_le32(items[2].value);
    uint64_t size = load_le64(items[1].value);
    if (load_le32(items[0].value + 4) & VHDX_HAS_PARENT) {
        return error_set(error,
                         "it is a differencing disk: merge it into its parent first (Hyper-V "
                         "Merge-VHD)");
    }
    if (s->block_size < MIB || s->block_size > 256 * MIB || s->block_size & (s->block_size - 1)) {
        return error_set(error, "block size %u is not a power of two of 1 to 256 MiB",
                         s->block_size);
    }
    if (s->logical_sector != 512 && s->logical_sector != 4096) {
        return error_set(error, "logical sector size %u is neither 512 nor 4096",
                         s->logical_sector);
    }
    if (size > VHDX_DISK_MAX || size % s->logical_sector) {
        return error_set(
            error, "virtual disk size %" G_GUINT64_FORMAT " is not a multiple of %u up to 64 TiB",
            size, s->logical_sector);
    }
    s->chunk_ratio = ((uint64_t)s->logical_sector << 23) / s->block_size;
    atomic_store(&node->length, size);
    return true;
}

static bool check_bat(BlockNode *node, const VhdxRegion *bat, GError **error)
{
    VhdxState *s = node->state;
    uint64_t length = block_node_length(node);
    uint64_t blocks = length / s->block_size + (length % s->block_size != 0);
    uint64_t entries = blocks ? blocks + (blocks - 1) / s->chunk_ratio : 0;
    if (entries * 8 > bat->length ||
        !range_inside(bat->offset, entries * 8, block_node_length(node->file))) {
        return error_set(error,
                         "the block allocation table (%u bytes at %" G_GUINT64_FORMAT
                         ") is too short for %" G_GUINT64_FORMAT
                         " entries or not inside the file: the image is truncated or corrupt",
                         bat->length, bat->offset, entries);
    }
    s->bat_offset = bat->offset;
    return true;
}

static bool vhdx_parse(BlockNode *node, Opts *options, GError **error)
{
    g_autofree uint8_t *header = g_malloc(VHDX_HEADER_BYTES);
    VhdxRegion bat = { 0 }, metadata = { 0 };
    uint8_t identifier[8];
    if (!mapped_read_header(node->file, "the vhdx identifier", 0, identifier, sizeof(identifier),
                            error)) {
        return false;
    }
    if (memcmp(identifier, "vhdxfile", 8) != 0) {
        return error_set(error, "no vhdx signature: this is not a vhdx image");
    }
    return read_header(node, header, error) && check_log(node, header, error) &&
           find_regions(node, &bat, &metadata, error) && read_metadata(node, &metadata, error) &&
           check_bat(node, &bat, error);
}

static void vhdx_free(BlockNode *node)
{
}

/* ---- Mapping ---- */

static int vhdx_map(BlockNode *node, uint64_t offset, bool wait, MappedExtent *extent)
{
    VhdxState *s = node->state;
    uint64_t block = offset / s->block_size, inside = offset % s->block_size;
    uint64_t index = block + block / s->chunk_ratio;
    uint8_t data[8];
    int ret = mapped_read_table(&s->mapped, node->file, s->bat_offset + index * 8, data,
                                sizeof(data), wait);
    if (ret < 0) {
        return ret;
    }
    uint64_t entry = load_le64(data);
    extent->bytes = s->block_size - inside;
    switch (entry & 7) {
    case VHDX_BLOCK_NOT_PRESENT:
    case VHDX_BLOCK_UNDEFINED:
    case VHDX_BLOCK_ZERO:
    case VHDX_BLOCK_UNMAPPED:
    case VHDX_BLOCK_UNMAPPED_095:
        return 0;
    case VHDX_BLOCK_FULL:
        break;
    default:
        return mapped_corrupt(node, "block %" G_GUINT64_FORMAT " has state %u", block,
                              (unsigned)(entry & 7));
    }
    uint64_t place = entry & ~(MIB - 1);
    if (place < MIB || place > INT64_MAX) {
        return mapped_corrupt(node, "block %" G_GUINT64_FORMAT " is at %" G_GUINT64_FORMAT, block,
                              place);
    }
    extent->kind = MAPPED_DATA;
    extent->file = node->file;
    extent->host_offset = place + inside;
    return 0;
}

static const MappedOps vhdx_ops = { .open = vhdx_parse, .close = vhdx_free, .map = vhdx_map };

static bool vhdx_open(BlockNode *node, Opts *options, GError **error)
{
    return mapped_open(node, &vhdx_ops, options, error);
}

static void vhdx_info(BlockNode *node, BlockImageInfo *info)
{
    VhdxState *s = node->state;
    info->cluster_size = s->block_size;
}

static const BlockImageOps vhdx_image_ops = {
    .create_options = mapped_no_options,
    .info = vhdx_info,
};

static const char *const vhdx_options[] = { "file", NULL };

const BlockDriver vhdx_driver = {
    .name = "vhdx",
    .desc = "Hyper-V disk image (read only)",
    .state_size = sizeof(VhdxState),
    .has_file = true,
    .options = vhdx_options,
    .open = vhdx_open,
    .close = mapped_close,
    .submit = mapped_submit,
    .transfer = mapped_transfer,
    .flush = mapped_flush,
    .image = &vhdx_image_ops,
};
