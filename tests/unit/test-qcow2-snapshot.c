/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Internal snapshots of qcow2 images: what they hold, beside a model; images of qemu-img's and for
 * qemu-img. */
#include "tests/unit/qcow2-kit.h"

#define DISK (4 * MIB)
#define MOST 6

typedef struct Model {
    BlockNode *node;
    uint8_t *now;
    char *ids[MOST];
    uint8_t *then[MOST];
    unsigned count;
    uint64_t size; /* of the disk */
} Model;

static void open_model(Model *m)
{
    g_autoptr(GError) error = NULL;
    m->node = kit_open("s.qcow2", true, &error);
    g_assert_no_error(error);
}

static void compare_all(Model *m)
{
    g_autofree uint8_t *data = g_malloc(DISK);
    g_assert_cmpuint(block_node_length(m->node), ==, DISK);
    g_assert_cmpint(block_pread(m->node, 0, data, DISK), ==, 0);
    g_assert_true(memcmp(data, m->now, DISK) == 0);
}

static void print_line(const char *line, void *opaque)
{
    g_test_message("%s", line);
}

static void check_clean(Model *m)
{
    BlockCheckResult result = { .report = print_line };
    g_autoptr(GError) error = NULL;
    bool ok = qcow2_check(m->node, 0, &result, &error);
    g_assert_no_error(error);
    g_assert_true(ok);
    g_assert_cmpuint(result.corruptions, ==, 0);
    g_assert_cmpuint(result.leaks, ==, 0);
    g_assert_cmpuint(result.check_errors, ==, 0);
    g_assert_cmpuint(((Qcow2 *)m->node->state)->h.incompatible & QCOW2_INCOMPAT_DIRTY, ==, 0);
}

static void random_write(Model *m)
{
    uint64_t offset = (uint64_t)g_test_rand_int_range(0, DISK / 512) * 512;
    uint64_t bytes = (uint64_t)g_test_rand_int_range(1, 600) * 512;
    bytes = MIN(bytes, DISK - offset);
    int kind = g_test_rand_int_range(0, 8);
    if (kind == 0) {
        g_assert_cmpint(block_pwrite_zeroes(m->node, offset, bytes, BLOCK_REQ_UNMAP), ==, 0);
        memset(m->now + offset, 0, bytes);
        return;
    }
    memset(m->now + offset, g_test_rand_int_range(0, 256), bytes);
    g_assert_cmpint(block_pwrite(m->node, offset, m->now + offset, bytes), ==, 0);
}

static void snapshot_now(Model *m)
{
    g_autoptr(GError) error = NULL;
    BlockSnapshot about = { .name = g_strdup("a name"),
                            .date_seconds = 1700000000,
                            .icount = UINT64_MAX };
    bool ok = qcow2_snapshot_create(m->node, &about, &error);
    g_assert_no_error(error);
    g_assert_true(ok);
    m->then[m->count] = g_memdup2(m->now, DISK);
    m->ids[m->count++] = about.id;
    g_free(about.name);
}

static void delete_some(Model *m)
{
    g_autoptr(GError) error = NULL;
    unsigned i = (unsigned)g_test_rand_int_range(0, (gint32)m->count);
    bool ok = qcow2_snapshot_delete(m->node, m->ids[i], &error);
    g_assert_no_error(error);
    g_assert_true(ok);
    g_free(m->ids[i]);
    g_free(m->then[i]);
    m->count--;
    m->ids[i] = m->ids[m->count];
    m->then[i] = m->then[m->count];
}

static void apply_some(Model *m)
{
    g_autoptr(GError) error = NULL;
    unsigned i = (unsigned)g_test_rand_int_range(0, (gint32)m->count);
    bool ok = qcow2_snapshot_apply(m->node, m->ids[i], &error);
    g_assert_no_error(error);
    g_assert_true(ok);
    memcpy(m->now, m->then[i], DISK);
}

static void random_step(Model *m)
{
    int what = g_test_rand_int_range(0, 10);
    if (what < 6) {
        random_write(m);
    } else if (what < 8 && m->count < MOST) {
        snapshot_now(m);
    } else if (what == 8 && m->count) {
        delete_some(m);
    } else if (m->count) {
        apply_some(m);
    }
}

static void test_random(const void *options)
{
    Model m = { .now = g_malloc0(DISK) };
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf("size=4M,%s", (const char *)options);
    kit_create("s.qcow2", text, &error);
    g_assert_no_error(error);
    open_model(&m);
    for (unsigned i = 0; i < 150; i++) {
        random_step(&m);
        if (i % 5 == 0) {
            check_clean(&m);
            compare_all(&m);
        }
    }
    compare_all(&m);
    block_node_unref(m.node);
    if (kit_has_qemu) {
        g_assert_cmpint(kit_run("qemu-img check s.qcow2"), ==, 0);
    }
    for (unsigned i = 0; i < m.count; i++) {
        g_autofree char *raw = kit_path("then.raw");
        g_assert_true(g_file_set_contents(raw, (char *)m.then[i], DISK, NULL));
        if (kit_has_qemu) {
            g_assert_cmpint(kit_run("qemu-img convert -l snapshot.id=%s -O raw s.qcow2 out.raw && "
                                    "cmp out.raw then.raw",
                                    m.ids[i]),
                            ==, 0);
        }
        g_free(m.ids[i]);
        g_free(m.then[i]);
    }
    g_free(m.now);
}

/* Snapshots that qemu-img made are applied and deleted, of other sizes too. */
static void test_from_qemu(void)
{
    g_autoptr(GError) error = NULL;
    if (!kit_has_qemu) {
        g_test_skip("qemu-img and qemu-io are not installed");
        return;
    }
    g_assert_cmpint(kit_run("qemu-img create -q -f qcow2 s.qcow2 3M && "
                            "qemu-io -c 'write -P 7 1M 1M' s.qcow2 && "
                            "qemu-img snapshot -c first s.qcow2 && "
                            "qemu-img resize -q s.qcow2 900M && "
                            "qemu-io -c 'write -P 8 1M 64k' -c 'write -P 5 800M 64k' s.qcow2 && "
                            "qemu-img snapshot -c second s.qcow2"),
                    ==, 0);
    Model m = { 0 };
    open_model(&m);
    g_autoptr(GPtrArray) list = qcow2_snapshot_list(m.node, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(list->len, ==, 2);
    const BlockSnapshot *first = list->pdata[0], *second = list->pdata[1];
    g_assert_cmpstr(first->id, ==, "1");
    g_assert_cmpstr(first->name, ==, "first");
    g_assert_cmpuint(first->disk_size, ==, 3 * MIB);
    g_assert_cmpuint(second->disk_size, ==, 900 * MIB);
    g_assert_true(qcow2_snapshot_apply(m.node, "first", &error));
    g_assert_cmpuint(block_node_length(m.node), ==, 3 * MIB);
    check_clean(&m);
    uint8_t byte;
    g_assert_cmpint(block_pread(m.node, MIB, &byte, 1), ==, 0);
    g_assert_cmpuint(byte, ==, 7);
    g_assert_true(qcow2_snapshot_apply(m.node, "2", &error));
    g_assert_cmpuint(block_node_length(m.node), ==, 900 * MIB);
    g_assert_cmpint(block_pread(m.node, 800 * MIB, &byte, 1), ==, 0);
    g_assert_cmpuint(byte, ==, 5);
    g_assert_true(qcow2_snapshot_delete(m.node, "second", &error));
    check_clean(&m);
    g_assert_true(qcow2_snapshot_delete(m.node, "1", &error));
    check_clean(&m);
    g_assert_false(qcow2_snapshot_delete(m.node, "1", &error));
    g_assert_nonnull(error);
    block_node_unref(m.node);
    g_assert_cmpint(kit_run("qemu-img check s.qcow2 && qemu-io -c 'read -P 5 800M 64k' -c "
                            "'read -P 8 1M 64k' s.qcow2"),
                    ==, 0);
}

/* A refcount that cannot go higher: refused, and nothing is changed. */
static void test_narrow(void)
{
    g_autoptr(GError) error = NULL;
    Model m = { .now = g_malloc0(DISK) };
    kit_create("s.qcow2", "size=4M,refcount_bits=1", &error);
    g_assert_no_error(error);
    open_model(&m);
    memset(m.now + 70000, 1, 1000);
    g_assert_cmpint(block_pwrite(m.node, 70000, m.now + 70000, 1000), ==, 0);
    BlockSnapshot about = { .name = (char *)"no" };
    g_assert_false(qcow2_snapshot_create(m.node, &about, &error));
    g_assert_true(g_pattern_match_simple("*refcounts of 1 bits*", error->message));
    g_free(about.id);
    check_clean(&m);
    compare_all(&m);
    block_node_unref(m.node);
    g_free(m.now);
}

/* A discard gives the host back what is the active disk's alone, and nothing that a snapshot has.
 */
static void test_discard(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *data = g_malloc(64 * KIB);
    BlockOpenMode mode = { .writable = true, .discard = true };
    g_autofree char *path = kit_path("s.qcow2");
    kit_create("s.qcow2", "size=4M,cluster_size=4k", &error);
    g_assert_no_error(error);
    BlockNode *node = block_image_open(path, "qcow2", NULL, &mode, &error);
    g_assert_no_error(error);
    memset(data, 0x5a, 64 * KIB);
    g_assert_cmpint(block_pwrite(node, MIB, data, 64 * KIB), ==, 0);
    BlockSnapshot about = { .name = (char *)"kept" };
    g_assert_true(qcow2_snapshot_create(node, &about, &error));
    g_free(about.id);
    g_assert_cmpint(block_discard(node, MIB, 64 * KIB), ==, 0);
    for (int i = 0; i < 4; i++) { /* the commits that count it down */
        g_assert_cmpint(block_flush(node), ==, 0);
    }
    g_assert_true(qcow2_snapshot_apply(node, "kept", &error));
    memset(data, 0, 64 * KIB);
    g_assert_cmpint(block_pread(node, MIB, data, 64 * KIB), ==, 0);
    for (unsigned i = 0; i < 64 * KIB; i++) {
        g_assert_cmphex(data[i], ==, 0x5a);
    }
    block_node_unref(node);
    g_assert_cmpint(kit_run("qemu-img check s.qcow2"), ==, 0);
}

int main(int argc, char **argv)
{
    static const char *const options[] = { "cluster_size=64k", "cluster_size=512",
                                           "cluster_size=4k,refcount_bits=4",
                                           "cluster_size=16k,extended_l2=on",
                                           "cluster_size=4k,compat=0.10" };
    g_test_init(&argc, &argv, NULL);
    kit_start();
    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++) {
        g_autofree char *name = g_strdup_printf("/qcow2-snapshot/random/%s", options[i]);
        g_test_add_data_func(name, options[i], test_random);
    }
    g_test_add_func("/qcow2-snapshot/made-by-qemu-img", test_from_qemu);
    g_test_add_func("/qcow2-snapshot/refcounts-too-narrow", test_narrow);
    g_test_add_func("/qcow2-snapshot/a-discard-leaves-what-it-has", test_discard);
    return kit_end(g_test_run());
}
