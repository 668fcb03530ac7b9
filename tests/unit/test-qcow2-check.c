/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checking qcow2 images: what qemu-img counts is counted, what is broken is found and mended. */
#include "tests/unit/qcow2-kit.h"
#include "block/qcow2/check.h"

typedef struct Findings {
    GString *lines;
    BlockCheckResult result;
} Findings;

static void add_line(const char *line, void *opaque)
{
    Findings *f = opaque;
    g_string_append_printf(f->lines, "%s\n", line);
}

static bool check(const char *name, unsigned fix, Findings *f)
{
    g_autoptr(GError) error = NULL;
    BlockNode *node = kit_open(name, fix != 0, &error);
    g_assert_no_error(error);
    f->lines = g_string_new(NULL);
    f->result = (BlockCheckResult){ .report = add_line, .opaque = f };
    bool ok = qcow2_check(node, fix, &f->result, &error);
    if (error) {
        g_test_message("%s: %s", name, error->message);
    }
    block_node_unref(node);
    return ok;
}

static void free_findings(Findings *f)
{
    g_string_free(f->lines, TRUE);
}

/* ---- Counting as qemu-img does ---- */

static void assert_same(const char *name)
{
    g_autofree char *json = NULL, *line = g_strdup_printf("qemu-img check --output=json %s", name);
    Findings f;
    kit_run_line(line, &json);
    g_assert_true(check(name, 0, &f));
    g_test_message("%s: %s", name, f.lines->str);
    g_assert_cmpuint(f.result.corruptions, ==, kit_number(json, "corruptions"));
    g_assert_cmpuint(f.result.leaks, ==, kit_number(json, "leaks"));
    g_assert_cmpuint(f.result.check_errors, ==, kit_number(json, "check-errors"));
    g_assert_cmpuint(f.result.image_end_offset, ==, kit_number(json, "image-end-offset"));
    g_assert_cmpuint(f.result.total_clusters, ==, kit_number(json, "total-clusters"));
    g_assert_cmpuint(f.result.allocated_clusters, ==, kit_number(json, "allocated-clusters"));
    g_assert_cmpuint(f.result.fragmented_clusters, ==, kit_number(json, "fragmented-clusters"));
    g_assert_cmpuint(f.result.compressed_clusters, ==, kit_number(json, "compressed-clusters"));
    free_findings(&f);
}

#define WRITES                                                                                     \
    "-c 'write -P 1 0 300k' -c 'write -P 2 1M 64k' -c 'write -z 2M 256k' -c 'discard 1M 32k' "     \
    "-c 'write -P 3 6M 70k' -c 'write -P 4 3M 1000k'"

static void test_same_counts(void)
{
    static const char *const options[] = {
        "cluster_size=64k",
        "cluster_size=512",
        "cluster_size=4k,refcount_bits=1",
        "cluster_size=4k,refcount_bits=64",
        "cluster_size=2M,lazy_refcounts=on",
        "cluster_size=16k,extended_l2=on",
        "cluster_size=64k,compat=0.10",
        "cluster_size=64k,preallocation=metadata",
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++) {
        g_assert_cmpint(kit_run("qemu-img create -q -f qcow2 -o %s a.qcow2 10000k", options[i]), ==,
                        0);
        g_assert_cmpint(kit_run("qemu-io " WRITES " a.qcow2"), ==, 0);
        assert_same("a.qcow2");
        if (!strstr(options[i], "refcount_bits=1")) {
            g_assert_cmpint(kit_run("qemu-img snapshot -c one a.qcow2 && "
                                    "qemu-io -c 'write -P 9 100k 200k' a.qcow2 && "
                                    "qemu-img snapshot -c two a.qcow2 && "
                                    "qemu-io -c 'write -P 8 6M 512k' a.qcow2"),
                            ==, 0);
            assert_same("a.qcow2");
        }
        g_assert_cmpint(kit_run("qemu-img convert -c -O qcow2 -o cluster_size=4k a.qcow2 b.qcow2"),
                        ==, 0);
        assert_same("b.qcow2");
        g_assert_cmpint(kit_run("qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 c.qcow2 && "
                                "qemu-img bitmap --add c.qcow2 map && "
                                "qemu-io -c 'write 1M 100k' c.qcow2"),
                        ==, 0);
        assert_same("c.qcow2");
    }
}

/* ---- Broken images ---- */

typedef struct Image {
    int fd;
    Qcow2Header h;
    uint64_t l2;    /* offset of the first L2 table */
    uint64_t block; /* of the first refcount block */
} Image;

static uint64_t get64(const Image *i, uint64_t at)
{
    uint8_t data[8];
    g_assert_cmpint(pread(i->fd, data, 8, (off_t)at), ==, 8);
    return load_be64(data);
}

static void put64(const Image *i, uint64_t at, uint64_t value)
{
    uint8_t data[8];
    store_be64(data, value);
    g_assert_cmpint(pwrite(i->fd, data, 8, (off_t)at), ==, 8);
}

static void put_count(const Image *i, uint64_t offset, uint16_t count)
{
    uint8_t data[2];
    store_be16(data, count);
    g_assert_cmpint(pwrite(i->fd, data, 2, (off_t)(i->block + offset / 65536 * 2)), ==, 2);
}

static void open_image(Image *i, const char *name)
{
    g_autofree char *path = kit_path(name);
    uint8_t data[65536];
    g_autoptr(GError) error = NULL;
    i->fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(i->fd, >=, 0);
    g_assert_cmpint(pread(i->fd, data, sizeof(data), 0), ==, sizeof(data));
    qcow2_header_parse(&i->h, data, sizeof(data), UINT32_MAX, &error);
    g_assert_no_error(error);
    i->l2 = get64(i, i->h.l1_offset) & QCOW2_L1_OFFSET;
    i->block = get64(i, i->h.reftable_offset) & QCOW2_REFTABLE_OFFSET;
}

static void close_image(Image *i)
{
    qcow2_header_clear(&i->h);
    close(i->fd);
}

static uint64_t data_offset(const Image *i, unsigned entry)
{
    return get64(i, i->l2 + entry * 8) & QCOW2_L2_OFFSET;
}

static void leak(Image *i)
{
    put_count(i, lseek(i->fd, 0, SEEK_END) - 65536, 0);
    g_assert_cmpint(ftruncate(i->fd, lseek(i->fd, 0, SEEK_END) + 3 * 65536), ==, 0);
    put_count(i, lseek(i->fd, 0, SEEK_END) - 65536, 7);
}

static void count_too_high(Image *i)
{
    put_count(i, data_offset(i, 0), 2);
}

static void count_too_low(Image *i)
{
    put_count(i, data_offset(i, 3), 0);
}

static void count_of_table(Image *i)
{
    put_count(i, i->l2, 0);
    put_count(i, i->h.l1_offset, 3);
}

static void l1_not_copied(Image *i)
{
    put64(i, i->h.l1_offset, i->l2);
}

static void l2_not_copied(Image *i)
{
    put64(i, i->l2 + 8, data_offset(i, 1));
}

static void block_missing(Image *i)
{
    put64(i, i->h.reftable_offset, 0);
}

static void block_misaligned(Image *i)
{
    put64(i, i->h.reftable_offset, i->block + 512);
}

static void block_reserved(Image *i)
{
    put64(i, i->h.reftable_offset, i->block | 1);
}

static void block_at_header(Image *i)
{
    put64(i, i->h.reftable_offset + 8, i->h.l1_offset);
}

static void block_outside(Image *i)
{
    put64(i, i->h.reftable_offset, 1ULL << 40);
}

static void block_twice(Image *i)
{
    put64(i, i->h.reftable_offset + 16, i->block);
}

static void shared_cluster(Image *i)
{
    put64(i, i->l2 + 8, get64(i, i->l2));
}

static void dirty_without_counts(Image *i)
{
    g_autofree uint8_t *zeroes = g_malloc0(65536);
    g_assert_cmpint(pwrite(i->fd, zeroes, 65536, (off_t)i->block), ==, 65536);
    put64(i, QCOW2_H_INCOMPATIBLE, QCOW2_INCOMPAT_DIRTY);
}

static void corrupt_bit(Image *i)
{
    count_too_low(i);
    put64(i, QCOW2_H_INCOMPATIBLE, QCOW2_INCOMPAT_CORRUPT);
}

static void misaligned_zero(Image *i)
{
    put64(i, i->l2 + 8, get64(i, i->l2 + 8) | QCOW2_ZERO | 512);
}

static void misaligned_data(Image *i)
{
    put64(i, i->l2 + 8, get64(i, i->l2 + 8) | 512);
}

static void data_outside(Image *i)
{
    put64(i, i->l2 + 8, (1ULL << 50) | QCOW2_COPIED);
}

static void reserved_l2(Image *i)
{
    put64(i, i->l2 + 8, get64(i, i->l2 + 8) | 2);
}

static void reserved_l1(Image *i)
{
    put64(i, i->h.l1_offset, get64(i, i->h.l1_offset) | 1);
}

static void table_misaligned(Image *i)
{
    put64(i, i->h.l1_offset, get64(i, i->h.l1_offset) + 512);
}

static void table_outside(Image *i)
{
    put64(i, i->h.l1_offset, (1ULL << 45) | QCOW2_COPIED);
}

static void compressed_outside(Image *i)
{
    put64(i, i->l2 + 8, qcow2_compressed_entry(&i->h, 1ULL << 40, 1000));
}

typedef struct Damage {
    const char *what;
    void (*make)(Image *image);
    const char *line;                     /* among those reported */
    bool mended, same_data, other_counts; /* than qemu-img's: it tells more, or less, of it */
} Damage;

static const Damage damages[] = {
    { "leak", leak, "*Leaked cluster * refcount=7 reference=0*", true, true, false },
    { "count too high", count_too_high, "*Leaked cluster * refcount=2 reference=1*", true, true,
      false },
    { "count too low", count_too_low, "*ERROR cluster * refcount=0 reference=1*", true, true,
      false },
    { "counts of tables", count_of_table, "*ERROR cluster * refcount=0 reference=1*", true, true,
      false },
    { "L1 not copied", l1_not_copied, "*ERROR OFLAG_COPIED L2 cluster: l1_index=0*", true, true,
      false },
    { "L2 not copied", l2_not_copied, "*ERROR OFLAG_COPIED data cluster*", true, true, false },
    { "block missing", block_missing, "*ERROR cluster 0 refcount=0 reference=1*", true, true,
      true },
    { "block misaligned", block_misaligned, "*ERROR refcount block 0 is not cluster aligned*", true,
      true, true },
    { "block reserved", block_reserved, "*ERROR entry 0 of the refcount table: bits*", true, true,
      true },
    { "block at L1", block_at_header, "*ERROR refcount block 1 is counted 2 times*", true, true,
      true },
    { "block outside", block_outside, "*ERROR refcount block 0 lies behind the end of the file*",
      true, true, true },
    { "block twice", block_twice, "*ERROR refcount block 2 is counted 2 times*", true, true, true },
    { "shared cluster", shared_cluster, "*ERROR cluster * refcount=1 reference=2*", true, false,
      false },
    { "dirty", dirty_without_counts, "*ERROR cluster 0 refcount=0 reference=1*", true, true, true },
    { "corrupt bit", corrupt_bit, "*ERROR cluster * refcount=0 reference=1*", true, true, false },
    { "misaligned zero", misaligned_zero, "*Preallocated cluster is not properly aligned*", true,
      false, true },
    { "misaligned data", misaligned_data, "*Data cluster is not properly aligned*", false, false,
      true },
    { "data outside", data_outside, "*exceeding the end of the file*", false, false, true },
    { "reserved in L2", reserved_l2, "*an L2 entry has bits set that must be 0*", false, false,
      false },
    { "reserved in L1", reserved_l1, "*an L1 entry has bits set that must be 0*", false, false,
      false },
    { "table misaligned", table_misaligned, "*Table is not cluster aligned*", false, false, true },
    { "table outside", table_outside, "*exceeding the end of the file*", false, false, true },
    { "compressed outside", compressed_outside, "*exceeding the end of the file*", false, false,
      false },
};

static void judge_repaired(const Damage *d)
{
    g_assert_cmpint(kit_run("qemu-img check d.qcow2"), ==, 0);
    if (d->same_data) {
        g_assert_cmpint(kit_run("qemu-img compare -q good.qcow2 d.qcow2"), ==, 0);
    }
}

static void test_damage(const void *data)
{
    const Damage *d = data;
    Findings found, again;
    Image image;
    g_assert_cmpint(kit_run("cp --sparse=always good.qcow2 d.qcow2"), ==, 0);
    open_image(&image, "d.qcow2");
    d->make(&image);
    close_image(&image);
    g_assert_true(check("d.qcow2", 0, &found));
    g_test_message("%s", found.lines->str);
    g_assert_cmpuint(found.result.corruptions + found.result.leaks, >, 0);
    g_assert_true(g_pattern_match_simple(d->line, found.lines->str));
    if (!d->other_counts) {
        assert_same("d.qcow2");
    }
    free_findings(&found);
    g_assert_true(check("d.qcow2", BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &found));
    g_test_message("%s", found.lines->str);
    g_assert_true(check("d.qcow2", 0, &again));
    g_test_message("%s", again.lines->str);
    if (d->mended) {
        g_assert_cmpuint(found.result.corruptions + found.result.leaks, ==, 0);
        g_assert_cmpuint(found.result.corruptions_fixed + found.result.leaks_fixed, >, 0);
        g_assert_cmpuint(again.result.corruptions + again.result.leaks, ==, 0);
        judge_repaired(d);
    } else {
        g_assert_cmpuint(found.result.corruptions, >, 0);
        g_assert_cmpuint(again.result.corruptions, >, 0);
    }
    free_findings(&found);
    free_findings(&again);
}

/* Leaks only: errors stay as they are. */
static void test_leaks_only(void)
{
    Findings f;
    Image image;
    g_assert_cmpint(kit_run("cp good.qcow2 d.qcow2"), ==, 0);
    open_image(&image, "d.qcow2");
    leak(&image);
    l2_not_copied(&image);
    close_image(&image);
    g_assert_true(check("d.qcow2", BLOCK_FIX_LEAKS, &f));
    g_assert_cmpuint(f.result.leaks_fixed, ==, 1);
    g_assert_cmpuint(f.result.leaks, ==, 0);
    g_assert_cmpuint(f.result.corruptions, >, 0);
    g_assert_cmpuint(f.result.corruptions_fixed, ==, 0);
    free_findings(&f);
    assert_same("d.qcow2");
}

/* An image that was not closed is mended when it is opened for writing, but not for reading. */
static void test_dirty_is_mended(void)
{
    g_autofree char *path = kit_path("d.qcow2");
    g_autoptr(GError) error = NULL;
    Image image;
    g_assert_cmpint(kit_run("cp good.qcow2 d.qcow2"), ==, 0);
    open_image(&image, "d.qcow2");
    dirty_without_counts(&image);
    close_image(&image);
    BlockOpenMode mode = { .writable = false };
    BlockNode *node = block_image_open(path, "qcow2", NULL, &mode, &error);
    g_assert_no_error(error);
    block_node_unref(node);
    mode.writable = true;
    node = block_image_open(path, "qcow2", NULL, &mode, &error);
    g_assert_no_error(error);
    block_node_unref(node);
    g_assert_cmpint(kit_run("qemu-img check d.qcow2 && qemu-img compare good.qcow2 d.qcow2"), ==,
                    0);
}

/* Tables that show the same table, L1 tables that overlap: work stays in bounds. */
static void test_overlapping_l1(void)
{
    Findings f;
    Image image;
    g_assert_cmpint(kit_run("cp good.qcow2 d.qcow2"), ==, 0);
    open_image(&image, "d.qcow2");
    uint8_t field[4];
    store_be32(field, 4 * MIB); /* entries: 32 MiB in a file of less */
    g_assert_cmpint(pwrite(image.fd, field, 4, QCOW2_H_L1_SIZE), ==, 4);
    close_image(&image);
    g_autoptr(GError) error = NULL;
    BlockNode *node = kit_open("d.qcow2", false, &error);
    if (node) {
        bool changed;
        f.result = (BlockCheckResult){ 0 };
        Qcow2 *s = node->state;
        g_assert_false(qcow2_check_file(node->file, &s->h, 0, &f.result, &changed, &error));
        g_assert_cmpuint(f.result.check_errors, >, 0);
        block_node_unref(node);
    }
    g_assert_nonnull(error);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    kit_start();
    if (!kit_has_qemu) {
        g_print("1..0 # SKIP qemu-img and qemu-io are not installed\n");
        return kit_end(0);
    }
    g_assert_cmpint(
        kit_run("qemu-img create -q -f qcow2 good.qcow2 100M && qemu-io " WRITES " good.qcow2"), ==,
        0);
    g_test_add_func("/qcow2-check/counts-are-those-of-qemu-img", test_same_counts);
    for (unsigned i = 0; i < G_N_ELEMENTS(damages); i++) {
        g_autofree char *name = g_strdup_printf("/qcow2-check/damage/%s", damages[i].what);
        g_test_add_data_func(g_strdelimit(name, " ", '-'), &damages[i], test_damage);
    }
    g_test_add_func("/qcow2-check/repair-of-leaks-alone", test_leaks_only);
    g_test_add_func("/qcow2-check/dirty-image-is-mended-at-opening", test_dirty_is_mended);
    g_test_add_func("/qcow2-check/huge-l1-tables-are-refused", test_overlapping_l1);
    return kit_end(g_test_run());
}
