/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When tables are written without anybody asking: only where the cache needs the room. */
#include "tests/unit/qcow2-kit.h"

#define WRITES 2048
#define STEP   (8 * MIB) /* every slice of the image is changed */

static unsigned commits_after_writes(uint32_t slices)
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
    unsigned commits = (unsigned)s->commits;
    for (unsigned i = 0; i < WRITES; i++) {
        g_assert_cmpint(block_pread(node, i * STEP, data, 4 * KIB), ==, 0);
        g_assert_cmpint(data[0], ==, i % 255 + 1);
        g_assert_cmpint(data[4 * KIB - 1], ==, i % 255 + 1);
    }
    block_node_unref(node);
    g_assert_cmpint(kit_run("qemu-img check c.qcow2"), ==, 0);
    return commits;
}

static void a_cache_for_the_whole_image_waits_for_flushes(void)
{
    g_assert_cmpuint(commits_after_writes(0), ==, 0);
}

static void a_small_cache_makes_room(void)
{
    g_assert_cmpuint(commits_after_writes(128), >, 4);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    kit_start();
    g_test_add_func("/qcow2-commit/whole-image-in-cache",
                    a_cache_for_the_whole_image_waits_for_flushes);
    g_test_add_func("/qcow2-commit/small-cache", a_small_cache_makes_room);
    return kit_end(g_test_run());
}
