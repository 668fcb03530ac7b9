/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VirtualBox disk images (VDI 1.1), dynamic and static: a header, one map of blocks, the blocks. */
#include "block/mapped.h"
#include "vmm/util/bytes.h"

#define VDI_SIGNATURE    0xbeda107f
#define VDI_VERSION      0x00010001
#define VDI_HEADER_BYTES 512
#define VDI_DISCARDED    0xfffffffe /* and one more: never allocated */
#define VDI_BLOCK_MAX    (256 * MIB)

/* Offsets of the header's fields. */
enum {
    VDI_F_SIGNATURE = 0x40,
    VDI_F_VERSION = 0x44,
    VDI_F_TYPE = 0x4c,
    VDI_F_MAP = 0x154,
    VDI_F_DATA = 0x158,
    VDI_F_SECTOR_SIZE = 0x168,
    VDI_F_DISK_SIZE = 0x170,
    VDI_F_BLOCK_SIZE = 0x178,
    VDI_F_BLOCK_EXTRA = 0x17c,
    VDI_F_BLOCKS = 0x180,
    VDI_F_UUID_LINK = 0x1a8,
    VDI_F_UUID_PARENT = 0x1b8,
};
enum { VDI_TYPE_DYNAMIC = 1, VDI_TYPE_STATIC = 2 };

typedef struct VdiState {
    Mapped mapped;
    uint32_t type, blocks, block_size;
    uint64_t map_offset, data_offset;
} VdiState;

static bool vdi_check_kind(const uint8_t *header, GError **error)
{
    static const uint8_t no_uuid[16];
    uint32_t version = load_le32(header + VDI_F_VERSION), type = load_le32(header + VDI_F_TYPE);
    if (load_le32(header + VDI_F_SIGNATURE) != VDI_SIGNATURE) {
        return error_set(error, "no VDI signature: this is not a vdi image");
    }
    if (version != VDI_VERSION) {
        return error_set(error, "version %u.%u: only 1.1 is supported", version >> 16,
                         version & 0xffff);
    }
    if (type != VDI_TYPE_DYNAMIC && type != VDI_TYPE_STATIC) {
        return error_set(error,
                         "image type %u is neither dynamic (1) nor static (2): make a full copy of "
                         "it with VirtualBox (VBoxManage clonemedium)",
                         type);
    }
    if (memcmp(header + VDI_F_UUID_LINK, no_uuid, sizeof(no_uuid)) != 0 ||
        memcmp(header + VDI_F_UUID_PARENT, no_uuid, sizeof(no_uuid)) != 0) {
        return error_set(error, "it stands on another image (its link or parent UUID is set): make "
                                "a full copy of it with VirtualBox (VBoxManage clonemedium)");
    }
    return true;
}

static bool vdi_check_sizes(BlockNode *node, const uint8_t *header, uint64_t size, GError **error)
{
    VdiState *s = node->state;
    uint32_t sector = load_le32(header + VDI_F_SECTOR_SIZE);
    uint32_t extra = load_le32(header + VDI_F_BLOCK_EXTRA);
    if (sector != 512) {
        return error_set(error, "sector size %u is not 512", sector);
    }
    if (s->block_size < 4096 || s->block_size > VDI_BLOCK_MAX ||
        s->block_size & (s->block_size - 1) || extra) {
        return error_set(error,
                         "block size %u with %u extra bytes: not a power of two of 4 KiB to 256 "
                         "MiB without extra bytes",
                         s->block_size, extra);
    }
    if (s->map_offset % 512 || s->data_offset % 512 || s->map_offset < VDI_HEADER_BYTES) {
        return error_set(error,
                         "block map offset %" G_GUINT64_FORMAT " or data offset %" G_GUINT64_FORMAT
                         " is not a sector behind the header",
                         s->map_offset, s->data_offset);
    }
    if (size > (uint64_t)s->blocks * s->block_size) {
        return error_set(error,
                         "disk size %" G_GUINT64_FORMAT " is more than its %u blocks of %u bytes",
                         size, s->blocks, s->block_size);
    }
    if (!range_inside(s->map_offset, (uint64_t)s->blocks * 4, block_node_length(node->file))) {
        return error_set(error,
                         "the block map (%u blocks at %" G_GUINT64_FORMAT
                         ") is not inside the file: the image is truncated or corrupt",
                         s->blocks, s->map_offset);
    }
    return true;
}

static bool vdi_parse(BlockNode *node, Opts *options, GError **error)
{
    VdiState *s = node->state;
    uint8_t header[VDI_HEADER_BYTES];
    if (!mapped_read_header(node->file, "the vdi header", 0, header, sizeof(header), error) ||
        !vdi_check_kind(header, error)) {
        return false;
    }
    uint64_t size = load_le64(header + VDI_F_DISK_SIZE);
    s->type = load_le32(header + VDI_F_TYPE);
    s->map_offset = load_le32(header + VDI_F_MAP);
    s->data_offset = load_le32(header + VDI_F_DATA);
    s->block_size = load_le32(header + VDI_F_BLOCK_SIZE);
    s->blocks = load_le32(header + VDI_F_BLOCKS);
    if (!vdi_check_sizes(node, header, size, error)) {
        return false;
    }
    atomic_store(&node->length, ALIGN_UP(size, 512));
    return true;
}

static void vdi_free(BlockNode *node)
{
}

static int vdi_map(BlockNode *node, uint64_t offset, bool wait, MappedExtent *extent)
{
    VdiState *s = node->state;
    uint64_t block = offset / s->block_size, inside = offset % s->block_size;
    uint8_t entry[4];
    int ret = mapped_read_table(&s->mapped, node->file, s->map_offset + block * 4, entry,
                                sizeof(entry), wait);
    if (ret < 0) {
        return ret;
    }
    uint32_t place = load_le32(entry);
    extent->bytes = s->block_size - inside;
    if (place < VDI_DISCARDED) {
        extent->kind = MAPPED_DATA;
        extent->holes = s->type == VDI_TYPE_STATIC;
        extent->file = node->file;
        extent->host_offset = s->data_offset + (uint64_t)place * s->block_size + inside;
    }
    return 0;
}

static const MappedOps vdi_ops = { .open = vdi_parse, .close = vdi_free, .map = vdi_map };

static bool vdi_open(BlockNode *node, Opts *options, GError **error)
{
    return mapped_open(node, &vdi_ops, options, error);
}

static void vdi_info(BlockNode *node, BlockImageInfo *info)
{
    VdiState *s = node->state;
    info->cluster_size = s->block_size;
}

static const BlockImageOps vdi_image_ops = {
    .create_options = mapped_no_options,
    .info = vdi_info,
};

static const char *const vdi_options[] = { "file", NULL };

const BlockDriver vdi_driver = {
    .name = "vdi",
    .desc = "VirtualBox disk image (read only)",
    .state_size = sizeof(VdiState),
    .has_file = true,
    .options = vdi_options,
    .open = vdi_open,
    .close = mapped_close,
    .submit = mapped_submit,
    .transfer = mapped_transfer,
    .flush = mapped_flush,
    .image = &vdi_image_ops,
};
