/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual PC and Hyper-V disk images (VHD 1.0, "vpc"), fixed and dynamic: a footer at the end, and
 * for a dynamic disk a copy of it at the start, a second header and a table of blocks. Each block
 * begins with a bitmap of sectors, which a dynamic disk's reader needs not: unused ones are zero.
 *
 * How large the disk is, the programs that make them do not agree on: Virtual PC goes by the
 * geometry, others by the size field. The footer's creator decides, as in QEMU.
 */
#include "block/mapped.h"
#include "vmm/util/bytes.h"

#define VPC_FOOTER_BYTES 512
#define VPC_HEADER_BYTES 1024
#define VPC_NO_BLOCK     0xffffffff
#define VPC_MAX_GEOMETRY (65535ULL * 16 * 255) /* sectors: the size field counts from there on */

/* Offsets of fields: of the footer, of the dynamic disk's header. */
enum {
    VPC_F_DATA_OFFSET = 16,
    VPC_F_CREATOR = 28,
    VPC_F_CURRENT_SIZE = 48,
    VPC_F_CYLINDERS = 56,
    VPC_F_HEADS = 58,
    VPC_F_SECTORS = 59,
    VPC_F_TYPE = 60,
    VPC_F_CHECKSUM = 64,
    VPC_D_TABLE_OFFSET = 16,
    VPC_D_ENTRIES = 28,
    VPC_D_BLOCK_SIZE = 32,
};
enum { VPC_TYPE_FIXED = 2, VPC_TYPE_DYNAMIC = 3, VPC_TYPE_DIFFERENCING = 4 };

typedef struct VpcState {
    Mapped mapped;
    bool dynamic;
    uint32_t entries, block_size, bitmap_bytes;
    uint64_t table_offset;
} VpcState;

static bool check_footer(const uint8_t *footer, GError **error)
{
    uint32_t sum = 0;
    for (int i = 0; i < VPC_FOOTER_BYTES; i++) {
        bool field = i >= VPC_F_CHECKSUM && i < VPC_F_CHECKSUM + 4;
        sum += field ? 0 : footer[i];
    }
    if (~sum != load_be32(footer + VPC_F_CHECKSUM)) {
        return error_set(error,
                         "the checksum of the vpc footer is %08x, not %08x: the image is corrupt",
                         load_be32(footer + VPC_F_CHECKSUM), ~sum);
    }
    if (load_be32(footer + VPC_F_TYPE) == VPC_TYPE_DIFFERENCING) {
        return error_set(error,
                         "it is a differencing disk: merge it into its parent first (Hyper-V "
                         "Merge-VHD)");
    }
    return true;
}

/* A dynamic disk begins with a copy of its footer; a fixed one has it at the end only. */
static bool read_footer(BlockNode *node, uint8_t *footer, GError **error)
{
    VpcState *s = node->state;
    uint64_t length = block_node_length(node->file);
    if (!mapped_read_header(node->file, "the vpc footer", 0, footer, VPC_FOOTER_BYTES, error)) {
        return false;
    }
    s->dynamic = !memcmp(footer, "conectix", 8);
    if (!s->dynamic) {
        if (!mapped_read_header(node->file, "the vpc footer", length - VPC_FOOTER_BYTES, footer,
                                VPC_FOOTER_BYTES, error)) {
            return false;
        }
        if (memcmp(footer, "conectix", 8) != 0) {
            return error_set(error, "no vpc footer, neither at the start nor at the end: this is "
                                    "not a vpc image, or it is truncated");
        }
    }
    return check_footer(footer, error);
}

enum { SIZE_AUTO, SIZE_CURRENT, SIZE_CHS };
static const char *const size_names[] = { "auto", "current_size", "chs", NULL };

static uint64_t disk_sectors(const uint8_t *footer, int how)
{
    static const char by_size[][4] = {
        { 'w', 'i', 'n', ' ' }, { 'q', 'e', 'm', '2' }, { 'd', '2', 'v', ' ' },
        { 't', 'a', 'p', 0 },   { 'C', 'T', 'X', 'S' }, { 'w', 'a', 0, 0 },
    };
    uint64_t chs =
        (uint64_t)load_be16(footer + VPC_F_CYLINDERS) * footer[VPC_F_HEADS] * footer[VPC_F_SECTORS];
    bool current = how == SIZE_CURRENT || chs == VPC_MAX_GEOMETRY;
    for (size_t i = 0; how == SIZE_AUTO && i < G_N_ELEMENTS(by_size); i++) {
        current |= !memcmp(footer + VPC_F_CREATOR, by_size[i], 4);
    }
    return current ? load_be64(footer + VPC_F_CURRENT_SIZE) / 512 : chs;
}

static bool read_dynamic(BlockNode *node, const uint8_t *footer, uint64_t size, GError **error)
{
    VpcState *s = node->state;
    uint8_t header[VPC_HEADER_BYTES];
    if (!mapped_read_header(node->file, "the dynamic disk's header",
                            load_be64(footer + VPC_F_DATA_OFFSET), header, sizeof(header), error)) {
        return false;
    }
    if (memcmp(header, "cxsparse", 8) != 0) {
        return error_set(error, "the dynamic disk's header does not begin with 'cxsparse'");
    }
    s->table_offset = load_be64(header + VPC_D_TABLE_OFFSET);
    s->entries = load_be32(header + VPC_D_ENTRIES);
    s->block_size = load_be32(header + VPC_D_BLOCK_SIZE);
    if (s->block_size < 512 || s->block_size & (s->block_size - 1)) {
        return error_set(error, "block size %u is not a power of two of at least 512",
                         s->block_size);
    }
    s->bitmap_bytes = (uint32_t)ALIGN_UP(s->block_size / (8 * 512), 512);
    s->bitmap_bytes = MAX(s->bitmap_bytes, 512);
    if ((uint64_t)s->entries * s->block_size < size) {
        return error_set(error,
                         "disk size %" G_GUINT64_FORMAT " is more than its %u blocks of %u bytes",
                         size, s->entries, s->block_size);
    }
    if (!range_inside(s->table_offset, (uint64_t)s->entries * 4, block_node_length(node->file))) {
        return error_set(error,
                         "the block table (%u blocks at %" G_GUINT64_FORMAT
                         ") is not inside the file: the image is truncated or corrupt",
                         s->entries, s->table_offset);
    }
    return true;
}

static bool vpc_parse(BlockNode *node, Opts *options, GError **error)
{
    VpcState *s = node->state;
    uint8_t footer[VPC_FOOTER_BYTES];
    int how = SIZE_AUTO;
    if (!opts_get_enum(options, "force_size_calc", size_names, &how, error) ||
        !read_footer(node, footer, error)) {
        return false;
    }
    uint64_t sectors = disk_sectors(footer, how);
    if (sectors > INT64_MAX / 512) {
        return error_set(error, "current size %" G_GUINT64_FORMAT " is too large",
                         load_be64(footer + VPC_F_CURRENT_SIZE));
    }
    if (s->dynamic && !read_dynamic(node, footer, sectors * 512, error)) {
        return false;
    }
    uint64_t space = block_node_length(node->file) - VPC_FOOTER_BYTES;
    if (!s->dynamic && sectors * 512 > space) {
        return error_set(error,
                         "disk size %" G_GUINT64_FORMAT ", but the file has %" G_GUINT64_FORMAT
                         " bytes before its footer",
                         sectors * 512, space);
    }
    atomic_store(&node->length, sectors * 512);
    return true;
}

static void vpc_free(BlockNode *node)
{
}

static int vpc_map(BlockNode *node, uint64_t offset, bool wait, MappedExtent *extent)
{
    VpcState *s = node->state;
    extent->file = node->file;
    if (!s->dynamic) {
        extent->kind = MAPPED_DATA;
        extent->holes = true;
        extent->host_offset = offset;
        extent->bytes = block_node_length(node) - offset;
        return 0;
    }
    uint64_t block = offset / s->block_size, inside = offset % s->block_size;
    uint8_t entry[4];
    int ret = mapped_read_table(&s->mapped, node->file, s->table_offset + block * 4, entry,
                                sizeof(entry), wait);
    if (ret < 0) {
        return ret;
    }
    uint32_t sector = load_be32(entry);
    extent->bytes = s->block_size - inside;
    if (sector != VPC_NO_BLOCK) {
        extent->kind = MAPPED_DATA;
        extent->host_offset = (uint64_t)sector * 512 + s->bitmap_bytes + inside;
    }
    return 0;
}

static const MappedOps vpc_ops = { .open = vpc_parse, .close = vpc_free, .map = vpc_map };

static bool vpc_open(BlockNode *node, Opts *options, GError **error)
{
    return mapped_open(node, &vpc_ops, options, error);
}

static void vpc_info(BlockNode *node, BlockImageInfo *info)
{
    VpcState *s = node->state;
    info->cluster_size = s->dynamic ? s->block_size : 0;
}

static const BlockImageOps vpc_image_ops = {
    .create_options = mapped_no_options,
    .info = vpc_info,
};

static const char *const vpc_options[] = { "file", "force_size_calc", NULL };

const BlockDriver vpc_driver = {
    .name = "vpc",
    .desc = "Virtual PC and Hyper-V disk image, VHD (read only)",
    .state_size = sizeof(VpcState),
    .has_file = true,
    .options = vpc_options,
    .open = vpc_open,
    .close = mapped_close,
    .submit = mapped_submit,
    .transfer = mapped_transfer,
    .flush = mapped_flush,
    .image = &vpc_image_ops,
};
