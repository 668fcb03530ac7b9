/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When tables are written without anybody asking: only where the cache needs the room. */
#include "tests/unit/qcow2-kit.h"

#define WRITES 2048
#define STEP   (8 * MIB) /* every slice of the image is changed */

#define SLICES (16 * GIB / (32 * MIB))

/* Changes every slice once, without a flush; with few slices in the cache, where it is not 0. What
 * is dirty then. */
static uint32_t dirty_after_writes(uint32_t slices)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *data = g_malloc0(4 * KIB);
    g_autofree char *path = kit_path("c.qcow2");
    BlockOpenMode mode = { .writable = true };
    kit_create("c.qcow2", "size=16G", &error);
    g_assert_no_error(error);
    BlockNode *node = block_image_open(path, "qcow2", NULL, &mode, &error);
    g_assert_no_error(error);
    Qcow2 *s = node->state;
    if (slices) {
        s->slice_limit = slices;
    }
    for (unsigned i = 0; i < WRITES; i++) {
        memset(data, (int)(i % 255 + 1), 4 * KIB);
        g_assert_cmpint(block_pwrite(node, i * STEP, data, 4 * KIB), ==, 0);
    }
    uint32_t dirty = __atomic_load_n(&s->dirty_slices, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < WRITES; i++) {
        g_assert_cmpint(block_pread(node, i * STEP, data, 4 * KIB), ==, 0);
        g_assert_cmpint(data[0], ==, i % 255 + 1);
        g_assert_cmpint(data[4 * KIB - 1], ==, i % 255 + 1);
    }
    block_node_unref(node);
    g_assert_cmpint(kit_run("qemu-img check c.qcow2"), ==, 0);
    return dirty;
}

static void a_cache_for_the_whole_image_waits_for_flushes(void)
{
    g_assert_cmpuint(dirty_after_writes(0), ==, SLICES);
}

static void a_small_cache_makes_room(void)
{
    g_assert_cmpuint(dirty_after_writes(128), <, SLICES);
}

/* Clusters that come and go while nobody flushes do not make the file grow for ever. */
static void freed_clusters_come_back(void)
{
    enum { STEADY = 64, MOST_ROUNDS = 4000 };
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *data = g_malloc0(64 * KIB);
    g_autofree char *path = kit_path("f.qcow2");
    BlockOpenMode mode = { .writable = true, .discard = true };
    kit_create("f.qcow2", "size=1G,cluster_size=2M", &error);
    g_assert_no_error(error);
    BlockNode *node = block_image_open(path, "qcow2", NULL, &mode, &error);
    g_assert_no_error(error);
    uint64_t most = 0;
    unsigned steady = 0, rounds = 0;
    for (; steady < STEADY && rounds < MOST_ROUNDS; rounds++) {
        g_assert_cmpint(block_pwrite(node, 0, data, 64 * KIB), ==, 0);
        BlockStatus status;
        g_assert_cmpint(block_status_above(node, NULL, 0, 64 * KIB, &status, NULL), ==, 0);
        steady = status.host_offset <= most ? steady + 1 : 0;
        most = MAX(most, status.host_offset);
        g_assert_cmpint(block_discard(node, 0, 2 * MIB), ==, 0);
        g_usleep(1000);
    }
    block_node_unref(node);
    g_assert_cmpuint(rounds, <, MOST_ROUNDS);
    g_assert_cmpint(kit_run("qemu-img check f.qcow2"), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    kit_start();
    g_test_add_func("/qcow2-commit/whole-image-in-cache",
                    a_cache_for_the_whole_image_waits_for_flushes);
    g_test_add_func("/qcow2-commit/small-cache", a_small_cache_makes_room);
    g_test_add_func("/qcow2-commit/freed-clusters-come-back", freed_clusters_come_back);
    return kit_end(g_test_run());
}
