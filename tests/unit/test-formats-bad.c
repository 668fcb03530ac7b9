/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Corrupt, truncated and hostile images of the read-only formats: an error that names file and
 * field, or -EIO for what is not there; never other data, never a file the image has no right to.
 */
#include <errno.h>
#include <unistd.h>
#include "block/internal.h"
#include "tests/unit/format-kit.h"
#include "vmm/util/bytes.h"

#define DISK (3 * MIB)

static uint8_t *disk;

/* One field of an image's header and what is said of it. */
typedef struct Field {
    int64_t offset;
    unsigned bytes; /* little-endian; big for vpc */
    uint64_t value;
    const char *message;
} Field;

static void convert(const char *format, const char *options, const char *name)
{
    kit_run("qemu-img convert -f raw -O %s %s disk.raw %s", format, options, name);
}

static void check_fields(const char *format, const char *good, const Field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t data[8];
        store_le(data, fields[i].value, fields[i].bytes);
        kit_patch(good, "bad.img", fields[i].offset, data, fields[i].bytes);
        kit_refused("bad.img", format, fields[i].message);
    }
}

/* The first byte's sector cannot be read; it can in the good image. */
static void check_unreadable(const char *name, const char *format, uint64_t offset)
{
    uint8_t sector[512];
    BlockNode *node = kit_open(name, format);
    g_assert_cmpint(block_pread(node, offset, sector, sizeof(sector)), ==, -EIO);
    block_node_unref(node);
}

/* ---- Header fields ---- */

static void vmdk_header_fields_are_checked(void)
{
    static const Field fields[] = {
        { 0, 4, 0x12345678, "no vmdk signature" },
        { 4, 4, 9, "version 9" },
        { 4, 4, 0, "version 0" },
        { 12, 8, 1ULL << 60, "capacity" },
        { 12, 8, 1ULL << 50, "grain directory" },
        { 20, 8, 0, "grain size 0 is not a power of two of 8 to 32768 sectors" },
        { 20, 8, 4, "grain size 4" },
        { 20, 8, 100, "grain size 100" },
        { 20, 8, 1ULL << 40, "grain size" },
        { 20, 8, 1ULL << 63, "grain size" },
        { 28, 8, 1ULL << 60, "descriptor" },
        { 36, 8, 1ULL << 60, "descriptor" },
        { 44, 4, 0, "grain table of 0 entries" },
        { 44, 4, 513, "grain table of 513 entries" },
        { 56, 8, 0, "grain directory" },
        { 56, 8, 1ULL << 62, "grain directory" },
        { 56, 8, UINT64_MAX, "no footer" },
        { 64, 8, 1ULL << 60, "truncated" },
        { 77, 2, 2, "compression method 2" },
    };
    convert("vmdk", "", "good.vmdk");
    check_fields("vmdk", "good.vmdk", fields, G_N_ELEMENTS(fields));
    convert("vmdk", "-o subformat=streamOptimized", "good.vmdk");
    static const Field large = { 20, 8, 8192, "grain size 8192" };
    check_fields("vmdk", "good.vmdk", &large, 1);
}

static void vdi_header_fields_are_checked(void)
{
    static const Field fields[] = {
        { 0x40, 4, 0, "no VDI signature" },
        { 0x44, 4, 0x00010000, "version 1.0" },
        { 0x4c, 4, 4, "image type 4" },
        { 0x154, 4, 1000, "block map offset 1000" },
        { 0x154, 4, 0, "block map offset 0" },
        { 0x154, 4, 0xfffffe00, "block map" },
        { 0x158, 4, 1000, "data offset 1000" },
        { 0x168, 4, 4096, "sector size 4096" },
        { 0x170, 8, UINT64_MAX, "disk size" },
        { 0x170, 8, DISK + 1 * MIB, "disk size" },
        { 0x178, 4, 0, "block size 0" },
        { 0x178, 4, 12345, "block size 12345" },
        { 0x178, 4, 1u << 31, "block size" },
        { 0x17c, 4, 512, "extra bytes" },
        { 0x180, 4, 0, "0 blocks" },
        { 0x180, 4, UINT32_MAX, "block map" },
        { 0x1a8, 4, 1, "UUID" },
        { 0x1b8 + 12, 4, 1, "UUID" },
    };
    convert("vdi", "", "good.vdi");
    check_fields("vdi", "good.vdi", fields, G_N_ELEMENTS(fields));
}

static void put_vpc_checksum(uint8_t *footer)
{
    uint32_t sum = 0;
    store_be32(footer + 64, 0);
    for (int i = 0; i < 512; i++) {
        sum += footer[i];
    }
    store_be32(footer + 64, ~sum);
}

static void vpc_footer_fields_are_checked(void)
{
    static const Field fields[] = {
        { 16, 8, UINT64_MAX, "dynamic disk's header" },
        { 16, 8, 0, "cxsparse" },
        { 48, 8, UINT64_MAX, "current size" },
        { 48, 8, 1ULL << 62, "disk size" },
        { 60, 4, 4, "differencing disk" },
    };
    convert("vpc", "-o force_size=on", "good.vpc");
    size_t size;
    g_autofree uint8_t *image = kit_read_file("good.vpc", &size);
    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        uint8_t footer[512];
        memcpy(footer, image, sizeof(footer));
        if (fields[i].bytes == 8) {
            store_be64(footer + fields[i].offset, fields[i].value);
        } else {
            store_be32(footer + fields[i].offset, (uint32_t)fields[i].value);
        }
        put_vpc_checksum(footer);
        kit_patch("good.vpc", "bad.img", 0, footer, sizeof(footer));
        kit_refused("bad.img", "vpc", fields[i].message);
    }
    kit_patch("good.vpc", "bad.img", 100, "x", 1);
    kit_refused("bad.img", "vpc", "checksum");
}

static void vpc_dynamic_fields_are_checked(void)
{
    static const Field fields[] = {
        { 512 + 16, 8, UINT64_MAX, "block table" }, { 512 + 28, 4, 0, "0 blocks" },
        { 512 + 28, 4, UINT32_MAX, "block table" }, { 512 + 32, 4, 0, "block size 0" },
        { 512 + 32, 4, 0x00030000, "block size" },
    };
    convert("vpc", "", "good.vpc");
    check_fields("vpc", "good.vpc", fields, G_N_ELEMENTS(fields));
    convert("vpc", "-o subformat=fixed,force_size=on", "good.vpc");
    g_assert_cmpint(truncate("good.vpc", DISK), ==, 0);
    kit_refused("good.vpc", "vpc", "no vpc footer");
}

/* ---- VHDX ---- */

static uint32_t crc32c(const uint8_t *data, size_t bytes)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
        }
    }
    return ~crc;
}

static void put_crc(uint8_t *data, size_t bytes)
{
    store_le32(data + 4, 0);
    store_le32(data + 4, crc32c(data, bytes));
}

typedef struct Vhdx {
    uint8_t *image;
    size_t size;
    uint64_t bat, metadata;
    uint8_t *items[8]; /* the table's entries */
} Vhdx;

static void vhdx_load(Vhdx *v, const char *name)
{
    v->image = kit_read_file(name, &v->size);
    for (int i = 0; i < 2; i++) {
        const uint8_t *entry = v->image + 192 * KIB + 16 + i * 32;
        *(entry[0] == 0x66 ? &v->bat : &v->metadata) = load_le64(entry + 16);
    }
    for (int i = 0; i < 8; i++) {
        v->items[i] = v->image + v->metadata + 32 + i * 32;
    }
}

static uint8_t *vhdx_item(Vhdx *v, uint8_t first)
{
    for (int i = 0; i < 8; i++) {
        if (v->items[i][0] == first) {
            return v->items[i];
        }
    }
    g_assert_not_reached();
}

static void vhdx_refused(Vhdx *v, const char *message)
{
    kit_write_file("bad.img", v->image, v->size);
    kit_refused("bad.img", "vhdx", message);
    g_free(v->image);
}

static void vhdx_metadata_is_checked(void)
{
    static const struct {
        uint8_t guid; /* its first byte */
        unsigned offset, bytes;
        uint64_t value;
        const char *message;
    } fields[] = {
        { 0x37, 0, 4, 0, "block size 0" },       { 0x37, 0, 4, 3 * MIB, "block size" },
        { 0x37, 0, 4, 1u << 31, "block size" },  { 0x37, 4, 4, 2, "differencing disk" },
        { 0x24, 0, 8, UINT64_MAX, "disk size" }, { 0x24, 0, 8, 1ULL << 45, "allocation table" },
        { 0x24, 0, 8, 1000, "disk size 1000" },  { 0x1d, 0, 4, 0, "logical sector size 0" },
        { 0x1d, 0, 4, 520, "sector size 520" },
    };
    convert("vhdx", "-o block_size=1M", "good.vhdx");
    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        Vhdx v;
        vhdx_load(&v, "good.vhdx");
        uint32_t offset = load_le32(vhdx_item(&v, fields[i].guid) + 16);
        store_le(v.image + v.metadata + offset + fields[i].offset, fields[i].value,
                 fields[i].bytes);
        vhdx_refused(&v, fields[i].message);
    }
}

static void vhdx_tables_are_checked(void)
{
    convert("vhdx", "-o block_size=1M", "good.vhdx");
    for (int i = 0; i < 8; i++) {
        Vhdx v;
        vhdx_load(&v, "good.vhdx");
        uint8_t *regions = v.image + 192 * KIB;
        switch (i) {
        case 0:
            memset(v.image, 0, 8);
            vhdx_refused(&v, "no vhdx signature");
            break;
        case 1:
            v.image[64 * KIB + 100] ^= 1;
            v.image[128 * KIB + 100] ^= 1;
            vhdx_refused(&v, "vhdx headers");
            break;
        case 2:
            regions[1000] ^= 1;
            v.image[256 * KIB + 1000] ^= 1;
            vhdx_refused(&v, "region tables");
            break;
        case 3:
            store_le32(regions + 8, 100000);
            put_crc(regions, 64 * KIB);
            vhdx_refused(&v, "region count 100000");
            break;
        case 4:
            memset(regions + 16, 0x11, 16);
            store_le32(regions + 16 + 28, 1);
            put_crc(regions, 64 * KIB);
            vhdx_refused(&v, "required");
            break;
        case 5:
            store_le16(v.image + v.metadata + 10, 60000);
            vhdx_refused(&v, "60000 items");
            break;
        case 6:
            store_le32(vhdx_item(&v, 0x24) + 16, 0xffffff00);
            vhdx_refused(&v, "virtual disk size");
            break;
        default:
            store_le64(regions + 16 + 16, 1ULL << 62);
            store_le64(regions + 48 + 16, 1ULL << 62);
            put_crc(regions, 64 * KIB);
            vhdx_refused(&v, "not inside the file");
        }
    }
}

/* A log with a whole entry of the image's own log is to be played back by somebody else. */
static void vhdx_with_a_log_is_refused(void)
{
    convert("vhdx", "", "good.vhdx");
    for (int good = 0; good < 2; good++) {
        Vhdx v;
        vhdx_load(&v, "good.vhdx");
        uint64_t log = 0;
        for (int i = 1; i <= 2; i++) {
            uint8_t *header = v.image + i * 64 * KIB;
            memset(header + 48, 0x77, 16);
            put_crc(header, 4096);
            log = load_le64(header + 72);
        }
        uint8_t *entry = v.image + log + 8192;
        memcpy(entry, "loge", 4);
        store_le32(entry + 8, 4096);
        memset(entry + 32, 0x77, 16);
        put_crc(entry, 4096);
        if (good) {
            entry[200] ^= 1; /* torn: does not count */
            kit_write_file("torn.vhdx", v.image, v.size);
            BlockNode *node = kit_open("torn.vhdx", "vhdx");
            kit_compare(node, disk, DISK);
            block_node_unref(node);
            g_free(v.image);
        } else {
            vhdx_refused(&v, "qemu-img check -r all");
        }
    }
}

/* ---- Tables ---- */

static void blocks_outside_the_file_are_errors(void)
{
    uint8_t data[8], wrong[4] = { 0xff, 0xff, 0xff, 0x7f };
    convert("vdi", "", "good.vdi");
    kit_patch("good.vdi", "bad.img", 512, wrong, 4); /* the map stands behind the header */
    check_unreadable("bad.img", "vdi", 0);
    convert("vpc", "", "good.vpc");
    kit_patch("good.vpc", "bad.img", 1536, wrong, 3);
    check_unreadable("bad.img", "vpc", 0);
    convert("vhdx", "-o block_size=1M", "good.vhdx");
    Vhdx v;
    vhdx_load(&v, "good.vhdx");
    g_free(v.image);
    static const uint64_t entries[] = { 6, 7, 0x7ffffffffff00006ULL, 4 };
    for (size_t i = 0; i < G_N_ELEMENTS(entries); i++) {
        store_le64(data, entries[i]);
        kit_patch("good.vhdx", "bad.img", (int64_t)v.bat, data, 8);
        check_unreadable("bad.img", "vhdx", 0);
    }
}

static void grains_and_tables_outside_the_file_are_errors(void)
{
    size_t size;
    convert("vmdk", "", "good.vmdk");
    g_autofree uint8_t *image = kit_read_file("good.vmdk", &size);
    uint64_t directory = load_le64(image + 56) * 512;
    uint64_t table = load_le32(image + directory) * 512ULL;
    uint8_t wrong[4] = { 0xf0, 0xff, 0xff, 0xff };
    kit_patch("good.vmdk", "bad.img", (int64_t)directory, wrong, 4);
    check_unreadable("bad.img", "vmdk", 0);
    kit_patch("good.vmdk", "bad.img", (int64_t)table, wrong, 4);
    check_unreadable("bad.img", "vmdk", 0);
}

static void damaged_compressed_grains_are_errors(void)
{
    size_t size;
    convert("vmdk", "-o subformat=streamOptimized", "good.vmdk");
    g_autofree uint8_t *image = kit_read_file("good.vmdk", &size);
    uint64_t table = load_le32(image + load_le64(image + 56) * 512) * 512ULL;
    unsigned grain = 0;
    while (!load_le32(image + table + grain * 4)) {
        grain++;
    }
    uint64_t place = load_le32(image + table + grain * 4) * 512ULL;
    static const uint32_t sizes[] = { 0, UINT32_MAX, 131073, 3 };
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        uint8_t data[4];
        store_le32(data, sizes[i]);
        kit_patch("good.vmdk", "bad.img", (int64_t)place + 8, data, 4);
        check_unreadable("bad.img", "vmdk", grain * 65536);
    }
    kit_patch("good.vmdk", "bad.img", (int64_t)place + 12, "\xff\xff\xff", 3);
    check_unreadable("bad.img", "vmdk", grain * 65536);
}

/* ---- Descriptors ---- */

static void write_text(const char *name, const char *lines)
{
    g_autofree char *text = g_strdup_printf("# Disk DescriptorFile\nversion=1\nCID=fffffffe\n"
                                            "parentCID=ffffffff\n%s",
                                            lines);
    kit_write_file(name, text, strlen(text));
}

#define FLAT_TYPE "createType=\"monolithicFlat\"\n"

static void vmdk_descriptor_is_checked(void)
{
    static const struct {
        const char *lines, *message;
    } texts[] = {
        { "", "createType" },
        { "createType=\"seSparse\"\nRW 1 SESPARSE \"disk.raw\"\n", "seSparse" },
        { FLAT_TYPE, "no extent" },
        { FLAT_TYPE "RW 8 SESPARSE \"disk.raw\"\n", "SESPARSE" },
        { FLAT_TYPE "NOACCESS 8 FLAT \"disk.raw\" 0\n", "not to be accessed" },
        { FLAT_TYPE "RW 0 FLAT \"disk.raw\" 0\n", "form" },
        { FLAT_TYPE "RW -1 FLAT \"disk.raw\" 0\n", "form" },
        { FLAT_TYPE "RW 99999999999999999999 FLAT \"disk.raw\" 0\n", "form" },
        { FLAT_TYPE "RW 8 FLAT\n", "form" },
        { FLAT_TYPE "RW 8 FLAT \"disk.raw 0\n", "form" },
        { FLAT_TYPE "RW 8 FLAT \"disk.raw\" x\n", "offset" },
        { FLAT_TYPE "RW 8 FLAT \"disk.raw\" 18014398509481983\n", "truncated" },
        { FLAT_TYPE "RW 6145 FLAT \"disk.raw\" 0\n", "6145" },
        { FLAT_TYPE "RW 8 FLAT \"disk.raw\" 6140\n", "truncated" },
        { FLAT_TYPE "RW 8 FLAT \"not there\" 0\n", "not there" },
        { FLAT_TYPE "RW 8 FLAT \"\" 0\n", "extent ''" },
        { FLAT_TYPE "RW 8 FLAT \".\" 0\n", "no plain file" },
        { FLAT_TYPE "RW 8 SPARSE \"disk.raw\"\n", "sparse extent" },
        { FLAT_TYPE "RW 8 VMFSSPARSE \"disk.raw\"\n", "COWD" },
        { "CID=xyz\n" FLAT_TYPE "RW 8 FLAT \"disk.raw\" 0\n", "CID 'xyz'" },
        { "parentCID=123456789\n" FLAT_TYPE "RW 8 FLAT \"disk.raw\" 0\n", "123456789" },
        { FLAT_TYPE "RW 18014398509481983 ZERO\nRW 18014398509481983 ZERO\n", "8 EiB" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        write_text("bad.vmdk", texts[i].lines);
        kit_refused("bad.vmdk", "vmdk", texts[i].message);
    }
    g_autoptr(GString) many = g_string_new(FLAT_TYPE);
    for (int i = 0; i < 4097; i++) {
        g_string_append(many, "RW 8 ZERO\n");
    }
    write_text("bad.vmdk", many->str);
    kit_refused("bad.vmdk", "vmdk", "more than 4096 extents");
    kit_refused("disk.raw", "vmdk", "no vmdk signature");
}

/* A guest that writes such a text into its raw disk gets no file of the host by it. */
static void guessed_vmdk_names_no_file_elsewhere(void)
{
    g_autofree char *here = g_get_current_dir();
    g_autofree char *base = g_path_get_basename(here);
    g_autofree char *absolute = g_strdup_printf("%s/disk.raw", here);
    g_autofree char *around = g_strdup_printf("../%s/disk.raw", base);
    const char *names[] = { absolute, around, "./disk.raw" };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *lines = g_strdup_printf(FLAT_TYPE "RW 8 FLAT \"%s\" 0\n", names[i]);
        write_text("names.vmdk", lines);
        kit_refused("names.vmdk", NULL, "say format=vmdk if you trust it");
        BlockNode *node = kit_open("names.vmdk", "vmdk");
        kit_compare(node, disk, 4096);
        block_node_unref(node);
    }
    write_text("names.vmdk", FLAT_TYPE "RW 8 FLAT \"nbd:localhost:1\" 0\n");
    kit_refused("names.vmdk", NULL, "nbd:localhost:1");
}

static void image_that_is_its_own_parent_is_refused(void)
{
    write_text("self.vmdk", "parentFileNameHint=\"self.vmdk\"\n" FLAT_TYPE "RW 8 ZERO\n");
    kit_refused("self.vmdk", "vmdk", "its own backing file");
}

/* ---- Truncation ---- */

static void truncated_image_never_shows_other_data(gconstpointer opaque)
{
    const char *const *kind = opaque; /* format, options */
    size_t size;
    g_autofree uint8_t *buffer = g_malloc(65536);
    convert(kind[0], kind[1], "good.img");
    g_autofree uint8_t *image = kit_read_file("good.img", &size);
    uint64_t lengths[48], count = 0;
    static const uint64_t small[] = { 0, 1, 8, 100, 511, 512, 513, 1024, 1536, 4096, 65536 };
    for (size_t i = 0; i < G_N_ELEMENTS(small); i++) {
        lengths[count++] = MIN(small[i], size - 1);
    }
    for (int i = 1; i <= 30; i++) {
        lengths[count++] = ALIGN_DOWN(size * i / 31, 512); /* a file ends with whole sectors */
    }
    lengths[count++] = size - 512;
    for (size_t i = 0; i < count; i++) {
        kit_write_file("cut.img", image, lengths[i]);
        BlockNode *node = kit_try_open("cut.img", kind[0], NULL);
        for (uint64_t offset = 0; node && offset < DISK; offset += 65536) {
            if (offset < block_node_length(node) && block_pread(node, offset, buffer, 65536) == 0) {
                g_assert_cmpmem(buffer, 65536, disk + offset, 65536);
            }
        }
        if (node) {
            block_node_unref(node);
        }
    }
}

static const char *const kinds[][3] = {
    { "vmdk", "", "vmdk" },
    { "vmdk", "-o subformat=streamOptimized", "vmdk-stream" },
    { "vdi", "", "vdi" },
    { "vdi", "-o static=on", "vdi-static" },
    { "vpc", "-o force_size=on", "vpc" },
    { "vpc", "-o subformat=fixed,force_size=on", "vpc-fixed" },
    { "vhdx", "-o block_size=1M", "vhdx" },
};

#define ADD(test) g_test_add_func("/formats/" #test, test)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    event_loop_main();
    kit_start();
    disk = kit_make_raw("disk.raw", DISK, 77);
    ADD(vmdk_header_fields_are_checked);
    ADD(vdi_header_fields_are_checked);
    ADD(vpc_footer_fields_are_checked);
    ADD(vpc_dynamic_fields_are_checked);
    ADD(vhdx_metadata_is_checked);
    ADD(vhdx_tables_are_checked);
    ADD(vhdx_with_a_log_is_refused);
    ADD(blocks_outside_the_file_are_errors);
    ADD(grains_and_tables_outside_the_file_are_errors);
    ADD(damaged_compressed_grains_are_errors);
    ADD(vmdk_descriptor_is_checked);
    ADD(guessed_vmdk_names_no_file_elsewhere);
    ADD(image_that_is_its_own_parent_is_refused);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *path =
            g_strdup_printf("/formats/%s/truncated_image_never_shows_other_data", kinds[i][2]);
        g_test_add_data_func(path, kinds[i], truncated_image_never_shows_other_data);
    }
    int ret = g_test_run();
    kit_stop();
    g_free(disk);
    return ret;
}
