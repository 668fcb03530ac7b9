/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that nobody should have given: chains in circles, files that name themselves, that are cut
 * off or only look like an image. Each is refused by name, or read for what it still holds; nothing
 * crashes, and nothing is written where it does harm.
 */
#include "tests/unit/qcow2-kit.h"
#include "vmm/memory/rcu.h"

/* HARDENING, row 17 and issue 4: opening is refused, and the message has the text. */
static void refused(const char *name, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = kit_path(name);
    BlockOpenMode mode = { 0 };
    BlockNode *node = block_image_open(path, "qcow2", NULL, &mode, &error);
    g_assert_null(node);
    if (!strstr(error->message, text) || !strstr(error->message, name)) {
        g_error("'%s' is not about '%s' of '%s'", error->message, text, name);
    }
}

static void create(const char *name, const char *options)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(kit_create(name, options, &error));
    g_assert_no_error(error);
}

static void test_two_images_on_each_other(void)
{
    create("a", "size=1M,backing_file=b,backing_fmt=qcow2");
    create("b", "size=1M,backing_file=a,backing_fmt=qcow2");
    refused("a", "its own backing file");
}

static void test_an_image_on_itself(void)
{
    create("self", "size=1M,backing_file=self,backing_fmt=qcow2");
    refused("self", "its own backing file");
    create("linked", "size=1M,backing_file=link,backing_fmt=qcow2");
    g_assert_cmpint(kit_run("ln -sf linked link"), ==, 0);
    refused("linked", "its own backing file");
    create("hard", "size=1M,backing_file=hard2,backing_fmt=qcow2");
    g_assert_cmpint(kit_run("ln -f hard hard2"), ==, 0);
    refused("hard", "its own backing file");
}

static void test_a_circle_through_json(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = kit_path("j");
    g_autofree char *name = g_strdup_printf(
        "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}}", path);
    create("j", "size=1M");
    BlockNode *node = kit_open("j", true, &error);
    g_assert_no_error(error);
    g_assert_true(qcow2_set_backing(node, name, "qcow2", &error));
    block_node_unref(node);
    refused("j", "its own backing file");
}

static void test_a_backing_file_that_vanished(void)
{
    create("base", "size=1M");
    create("top", "size=1M,backing_file=base,backing_fmt=qcow2");
    g_assert_cmpint(kit_run("rm base"), ==, 0);
    refused("top", "base");
}

/* What is written to it as data would go over its own tables. */
static void test_an_image_that_is_its_own_data_file(void)
{
    g_autofree char *options = g_strdup_printf("size=1M,data_file=%s/part", kit_folder);
    create("whole", options);
    g_assert_cmpint(kit_run("rm -f part && ln whole part"), ==, 0);
    refused("whole", "data file");
    g_assert_cmpint(kit_run("rm part && ln -s whole part"), ==, 0);
    refused("whole", "data file");
}

/* Cut at each sector of the first structures, and in each later one. */
static void test_a_file_that_was_cut_off(void)
{
    g_autofree char *path = kit_path("cut");
    g_autofree char *data = NULL;
    g_autofree uint8_t *disk = g_malloc(64 * KIB);
    gsize length;
    create("cut", "size=64k,cluster_size=512");
    BlockNode *node = kit_open("cut", true, NULL);
    memset(disk, 0x5a, 64 * KIB);
    g_assert_cmpint(block_pwrite(node, 0, disk, 64 * KIB), ==, 0);
    BlockSnapshot about = { .name = g_strdup("s"), .icount = UINT64_MAX };
    g_assert_true(qcow2_snapshot_create(node, &about, NULL));
    g_assert_cmpint(block_pwrite(node, 0, disk, 5 * KIB), ==, 0);
    block_node_unref(node);
    g_free(about.name);
    g_free(about.id);
    g_assert_true(g_file_get_contents(path, &data, &length, NULL));
    for (gsize at = 0; at < length; at += at < 8 * KIB ? 128 : 512) {
        g_autoptr(GError) error = NULL;
        BlockOpenMode mode = { .writable = true };
        g_assert_true(g_file_set_contents(path, data, (gssize)at, NULL));
        node = block_image_open(path, "qcow2", NULL, &mode, &error);
        if (!node) {
            g_assert_nonnull(strstr(error->message, "cut"));
            continue;
        }
        block_pread(node, 0, disk, 64 * KIB);
        memset(disk, 0xa5, 4 * KIB);
        block_pwrite(node, 3 * KIB, disk, 4 * KIB);
        block_flush(node);
        block_node_unref(node);
    }
}

static void test_a_magic_number_alone(void)
{
    static const struct {
        const char *format, *magic;
        gsize length;
    } all[] = {
        { "qcow2", "QFI\xfb\0\0\0\3", 8 },
        { "qcow2", "QFI\xfb\0\0\0\2", 8 },
        { "vmdk", "KDMV", 4 },
        { "vmdk", "COWD", 4 },
        { "vhdx", "vhdxfile", 8 },
        { "vpc", "conectix", 8 },
        { "vdi", "<<< Oracle VM VirtualBox Disk Image >>>\n", 40 },
    };
    GRand *rand = g_rand_new_with_seed(4);
    g_autofree char *path = kit_path("foreign");
    for (gsize i = 0; i < G_N_ELEMENTS(all) * 3; i++) {
        guint kind = (guint)(i / 3);
        g_autoptr(GError) error = NULL;
        g_autofree uint8_t *data = g_malloc(128 * KIB);
        BlockOpenMode mode = { 0 };
        for (gsize k = 0; k < 128 * KIB; k++) {
            data[k] = i % 3 == 0 ? 0 : i % 3 == 1 ? 0xff : (uint8_t)g_rand_int(rand);
        }
        memcpy(data, all[kind].magic, all[kind].length);
        g_assert_true(g_file_set_contents(path, (char *)data, 128 * KIB, NULL));
        BlockNode *node = block_image_open(path, all[kind].format, NULL, &mode, &error);
        if (node) {
            g_error("%s with nothing behind its magic was opened", all[kind].format);
        }
        g_assert_nonnull(strstr(error->message, "foreign"));
    }
    g_rand_free(rand);
}

/* Whoever holds an image keeps the other one out, QEMU or Vireo. */
static void test_an_image_in_use(void)
{
    g_autoptr(GError) error = NULL;
    if (!kit_has_qemu) {
        g_test_skip("there is no qemu-img");
        return;
    }
    create("held", "size=1M");
    g_autofree char *path = kit_path("held");
    BlockOpenMode mode = { .writable = true };
    BlockNode *node = block_image_open(path, "qcow2", NULL, &mode, &error);
    BlockBackend *backend =
        block_backend_attach(block_node_name(node), "holder", false, false, &error);
    g_assert_no_error(error);
    g_assert_cmpint(kit_run("qemu-img snapshot -c s held"), !=, 0);
    g_assert_cmpint(kit_run("qemu-img check held"), !=, 0);
    block_backend_detach(backend);
    block_node_unref(node);
    g_assert_cmpint(kit_run("qemu-img snapshot -c s held"), ==, 0);
}

int main(int argc, char **argv)
{
    rcu_thread_register();
    g_test_init(&argc, &argv, NULL);
    kit_start();
    g_test_add_func("/qcow2-bad/two-images-on-each-other", test_two_images_on_each_other);
    g_test_add_func("/qcow2-bad/an-image-on-itself", test_an_image_on_itself);
    g_test_add_func("/qcow2-bad/a-circle-through-json", test_a_circle_through_json);
    g_test_add_func("/qcow2-bad/a-backing-file-that-vanished", test_a_backing_file_that_vanished);
    g_test_add_func("/qcow2-bad/an-image-that-is-its-own-data-file",
                    test_an_image_that_is_its_own_data_file);
    g_test_add_func("/qcow2-bad/a-file-that-was-cut-off", test_a_file_that_was_cut_off);
    g_test_add_func("/qcow2-bad/a-magic-number-alone", test_a_magic_number_alone);
    g_test_add_func("/qcow2-bad/an-image-in-use", test_an_image_in_use);
    return kit_end(g_test_run());
}
