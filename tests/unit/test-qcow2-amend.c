/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2 images resized, emptied and amended. */
#include "tests/unit/qcow2-kit.h"

static BlockNode *make(const char *options)
{
    g_autoptr(GError) error = NULL;
    kit_create("a.qcow2", options, &error);
    g_assert_no_error(error);
    BlockNode *node = kit_open("a.qcow2", true, &error);
    g_assert_no_error(error);
    return node;
}

static void fill(BlockNode *node, uint64_t offset, uint64_t bytes, int value)
{
    g_autofree uint8_t *data = g_malloc(bytes);
    memset(data, value, bytes);
    g_assert_cmpint(block_pwrite(node, offset, data, bytes), ==, 0);
}

static void assert_is(BlockNode *node, uint64_t offset, uint64_t bytes, int value)
{
    g_autofree uint8_t *data = g_malloc(bytes);
    g_assert_cmpint(block_pread(node, offset, data, bytes), ==, 0);
    for (uint64_t i = 0; i < bytes; i++) {
        g_assert_cmpuint(data[i], ==, value);
    }
}

static void resize(BlockNode *node, uint64_t size)
{
    g_autoptr(GError) error = NULL;
    block_resize(node, size, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(block_node_length(node), ==, size);
}

static void assert_clean(BlockNode *node)
{
    BlockCheckResult result = { 0 };
    g_autoptr(GError) error = NULL;
    g_assert_true(qcow2_check(node, 0, &result, &error));
    g_assert_cmpuint(result.corruptions + result.leaks + result.check_errors, ==, 0);
}

static void finish(BlockNode *node)
{
    assert_clean(node);
    block_node_unref(node);
    if (kit_has_qemu) {
        g_assert_cmpint(kit_run("qemu-img check a.qcow2"), ==, 0);
    }
}

static void test_resize(const void *options)
{
    g_autofree char *text = g_strdup_printf("size=1000k,%s", (const char *)options);
    BlockNode *node = make(text);
    fill(node, 0, 1000 * KIB, 1);
    resize(node, 40 * MIB);
    assert_clean(node);
    assert_is(node, 0, 1000 * KIB, 1);
    assert_is(node, 1000 * KIB, MIB, 0);
    fill(node, 39 * MIB, MIB, 2);
    resize(node, 500 * KIB + 512);
    assert_clean(node);
    resize(node, 40 * MIB);
    assert_is(node, 0, 500 * KIB + 512, 1);
    assert_is(node, 500 * KIB + 512, 2 * MIB, 0);
    assert_is(node, 39 * MIB, MIB, 0);
    resize(node, 0);
    resize(node, MIB);
    assert_is(node, 0, MIB, 0);
    finish(node);
}

static void test_sizes_refused(void)
{
    g_autoptr(GError) error = NULL;
    BlockNode *node = make("size=1M,cluster_size=512");
    g_assert_false(block_resize(node, 1000, &error));
    g_clear_error(&error);
    g_assert_false(block_resize(node, 1ULL << 60, &error));
    g_assert_nonnull(strstr(error->message, "too large"));
    g_assert_cmpuint(block_node_length(node), ==, MIB);
    finish(node);
}

static void test_empty(void)
{
    g_autoptr(GError) error = NULL;
    BlockNode *node = make("size=20M");
    fill(node, 0, 3 * MIB, 4);
    BlockSnapshot about = { .name = (char *)"kept" };
    g_assert_true(qcow2_snapshot_create(node, &about, &error));
    fill(node, MIB, 9 * MIB, 5);
    g_assert_true(qcow2_make_empty(node, &error));
    g_assert_no_error(error);
    assert_is(node, 0, 20 * MIB, 0);
    assert_clean(node);
    fill(node, 5 * MIB, MIB, 6);
    g_assert_true(qcow2_snapshot_apply(node, "kept", &error));
    assert_is(node, 0, 3 * MIB, 4);
    g_free(about.id);
    finish(node);
}

static bool amend(BlockNode *node, const char *text, GError **error)
{
    g_autoptr(Opts) options = opts_parse(text, NULL, error);
    return qcow2_amend(node, options, NULL, NULL, error);
}

static void test_amend(void)
{
    g_autoptr(GError) error = NULL;
    BlockNode *node = make("size=20M,compat=0.10");
    Qcow2 *s = node->state;
    fill(node, 0, 3 * MIB, 4);
    g_assert_false(amend(node, "lazy_refcounts=on", &error));
    g_clear_error(&error);
    g_assert_true(amend(node, "compat=1.1,lazy_refcounts=on", &error));
    g_assert_cmpuint(s->h.version, ==, 3);
    for (unsigned bits = 1; bits <= 64; bits *= 2) {
        g_autofree char *text = g_strdup_printf("refcount_bits=%u", bits);
        amend(node, text, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(1u << s->h.refcount_order, ==, bits);
        fill(node, (10 + s->h.refcount_order) * MIB, 100 * KIB, 7);
        assert_clean(node);
    }
    g_assert_true(amend(node, "size=30M,backing_file=base.img,backing_fmt=raw", &error));
    g_assert_cmpstr(block_node_backing_file(node), ==, "base.img");
    g_assert_true(qcow2_set_backing(node, NULL, NULL, &error));
    g_assert_null(block_node_backing_file(node));
    g_assert_false(amend(node, "cluster_size=4k", &error));
    g_clear_error(&error);
    g_assert_false(amend(node, "compat=0.10", &error));
    g_assert_cmpstr(
        error->message, ==,
        "an image of version 2 has counts of 16 bits: refcount_bits=16 has to come first");
    g_clear_error(&error);
    BlockSnapshot about = { .name = (char *)"one" };
    g_assert_true(qcow2_snapshot_create(node, &about, &error));
    g_assert_false(amend(node, "refcount_bits=1", &error));
    g_assert_nonnull(strstr(error->message, "too narrow"));
    assert_is(node, 0, 3 * MIB, 4);
    g_free(about.id);
    finish(node);
}

/* Zero clusters with and without space of their own, above a backing file or none, in tables that
 * snapshots share. */
static void downgrade(const char *options, bool backed)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = kit_path("a.qcow2");
    g_autofree char *base = kit_path("base.raw");
    g_autofree char *data = g_strnfill(4 * MIB, 'b');
    BlockOpenMode mode = { .writable = true, .discard = true };
    BlockSnapshot one = { .name = (char *)"one", .disk_size = 4 * MIB };
    g_assert_true(g_file_set_contents(base, data, 4 * MIB, NULL));
    kit_create("a.qcow2", options, &error);
    BlockNode *node = block_image_open(path, "qcow2", NULL, &mode, &error);
    g_assert_no_error(error);
    fill(node, 0, 2 * MIB, 1);
    g_assert_cmpint(block_pwrite_zeroes(node, MIB, 512 * KIB, 0), ==, 0);
    g_assert_cmpint(block_pwrite_zeroes(node, 3 * MIB, 256 * KIB, 0), ==, 0);
    g_assert_true(qcow2_snapshot_create(node, &one, &error));
    g_assert_cmpint(block_pwrite_zeroes(node, 0, 256 * KIB, BLOCK_REQ_UNMAP), ==, 0);
    g_assert_cmpint(block_pwrite_zeroes(node, 3 * MIB + 512 * KIB, 256 * KIB, 0), ==, 0);
    amend(node, "compat=0.10", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(((Qcow2 *)node->state)->h.version, ==, 2);
    assert_clean(node);
    assert_is(node, 0, 256 * KIB, 0);
    assert_is(node, 256 * KIB, 768 * KIB, 1);
    assert_is(node, MIB, 512 * KIB, 0);
    assert_is(node, MIB + 512 * KIB, 512 * KIB, 1);
    assert_is(node, 2 * MIB, MIB, backed ? 'b' : 0);
    assert_is(node, 3 * MIB, 256 * KIB, 0);
    assert_is(node, 3 * MIB + 512 * KIB, 256 * KIB, 0);
    fill(node, 128 * KIB, MIB, 5);
    assert_clean(node);
    g_assert_true(qcow2_snapshot_apply(node, "one", &error));
    assert_is(node, 0, MIB, 1);
    assert_is(node, MIB, 512 * KIB, 0);
    assert_is(node, 3 * MIB, 256 * KIB, 0);
    assert_is(node, 3 * MIB + 512 * KIB, 256 * KIB, backed ? 'b' : 0);
    g_free(one.id);
    finish(node);
}

static void test_downgrade(void)
{
    downgrade("size=4M", false);
    downgrade("size=4M,cluster_size=4k,lazy_refcounts=on", false);
    downgrade("size=4M,preallocation=metadata", false);
    downgrade("size=4M,backing_file=base.raw,backing_fmt=raw", true);
    downgrade("size=4M,cluster_size=512,backing_file=base.raw,backing_fmt=raw", true);
}

static void test_what_level_0_10_does_not_have(void)
{
    static const struct {
        const char *options, *says;
    } bad[] = {
        { "size=1M,extended_l2=on",
          "the image uses features that version 2 does not know: incompatible_features 0x10" },
        { "size=1M,refcount_bits=32",
          "an image of version 2 has counts of 16 bits: refcount_bits=16 has to come first" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        BlockNode *node = make(bad[i].options);
        g_assert_false(amend(node, "compat=0.10", &error));
        g_assert_cmpstr(error->message, ==, bad[i].says);
        finish(node);
    }
}

/* What the backing file has behind the old end must not come to light. */
static void test_grow_over_backing(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *base = kit_path("base.raw");
    g_autofree char *data = g_strnfill(4 * MIB, 'b');
    g_autofree char *path = kit_path("a.qcow2");
    g_assert_true(g_file_set_contents(base, data, 4 * MIB, NULL));
    kit_create("a.qcow2", "size=1M,backing_file=base.raw,backing_fmt=raw", &error);
    BlockOpenMode mode = { .writable = true };
    BlockNode *node = block_image_open(path, "qcow2", NULL, &mode, &error);
    g_assert_no_error(error);
    resize(node, 6 * MIB);
    assert_is(node, 0, MIB, 'b');
    assert_is(node, MIB, 5 * MIB, 0);
    finish(node);
}

int main(int argc, char **argv)
{
    static const char *const options[] = { "cluster_size=64k", "cluster_size=512",
                                           "cluster_size=16k,extended_l2=on",
                                           "cluster_size=4k,compat=0.10" };
    g_test_init(&argc, &argv, NULL);
    kit_start();
    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++) {
        g_autofree char *name = g_strdup_printf("/qcow2-amend/resize/%s", options[i]);
        g_test_add_data_func(name, options[i], test_resize);
    }
    g_test_add_func("/qcow2-amend/sizes-that-cannot-be", test_sizes_refused);
    g_test_add_func("/qcow2-amend/emptied-beside-a-snapshot", test_empty);
    g_test_add_func("/qcow2-amend/features-and-refcount-width", test_amend);
    g_test_add_func("/qcow2-amend/zero-clusters-are-written-for-level-0-10", test_downgrade);
    g_test_add_func("/qcow2-amend/what-level-0-10-does-not-have",
                    test_what_level_0_10_does_not_have);
    g_test_add_func("/qcow2-amend/grown-over-its-backing-file", test_grow_over_backing);
    return kit_end(g_test_run());
}
