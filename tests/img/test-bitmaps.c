/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent dirty bitmaps: vireo-img's commands do as qemu-img's, and each reads the other's. */
#include <string.h>
#include "tests/img/imgtest.h"

static const char *const size_keys[] = { "actual-size", NULL };

/* What vireo-img has made is sound for qemu-img, and it sees the same bitmaps there. */
static void judge(const char *image)
{
    g_autofree char *check = g_strdup_printf("check -q %s", image);
    g_autofree char *info = g_strdup_printf("info --output=json %s", image);
    imgtest_share(TOOL_VIREO, image);
    g_auto(Run) run = imgtest_run(TOOL_QEMU, check);
    if (run.status) {
        g_test_message("%s: %s%s", check, run.out, run.err);
    }
    g_assert_cmpint(run.status, ==, 0);
    imgtest_same_json(info, size_keys);
}

static void make(const char *options)
{
    g_autofree char *args = g_strdup_printf("create -q -f qcow2 %s a.qcow2 16M", options);
    imgtest_same(args);
}

static void bitmaps_come_and_go(void)
{
    static const char *const steps[] = {
        "bitmap --add a.qcow2 b0",
        "bitmap --add -g 4k --disable a.qcow2 b1",
        "bitmap --add --add a.qcow2 b2",
        "bitmap --add a.qcow2 b0",
        "bitmap --clear --enable a.qcow2 b1",
        "bitmap --merge b0 --merge b1 a.qcow2 b1",
        "bitmap --merge none a.qcow2 b1",
        "bitmap --merge b1 a.qcow2 none",
        "bitmap --disable a.qcow2 none",
        "bitmap --remove a.qcow2 none",
        "bitmap --add -f qcow2 -g 4G a.qcow2 b3",
        "bitmap --remove a.qcow2 b0",
        "bitmap --remove --add --disable a.qcow2 b1",
    };
    static const char *const layouts[] = { "-o cluster_size=64k", "-o cluster_size=512",
                                           "-o cluster_size=2M,extended_l2=on", "-o compat=0.10" };
    for (size_t l = 0; l < G_N_ELEMENTS(layouts); l++) {
        make(layouts[l]);
        for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
            imgtest_same_status(steps[i]);
            imgtest_same_json("info --output=json a.qcow2", size_keys);
        }
        judge("a.qcow2");
    }
}

static void info_shows_them_to_people(void)
{
    make("");
    imgtest_same_status("bitmap --add a.qcow2 b0");
    imgtest_same_status("bitmap --add -g 1M --disable a.qcow2 b1");
    g_autofree char *info = imgtest_vireo("info a.qcow2", 0);
    g_assert_nonnull(strstr(info, "    bitmaps:\n"
                                  "        [0]:\n"
                                  "            flags:\n"
                                  "                [0]: auto\n"
                                  "            name: b0\n"
                                  "            granularity: 65536\n"
                                  "        [1]:\n"
                                  "            flags:\n"
                                  "            name: b1\n"
                                  "            granularity: 1048576\n"));
}

static void bitmaps_come_from_other_images(void)
{
    imgtest_same("create -q -f qcow2 other.qcow2 16M");
    imgtest_same("create -q -f qcow2 small.qcow2 1M");
    make("");
    imgtest_same_status("bitmap --add -g 512 other.qcow2 x");
    imgtest_same_status("bitmap --add small.qcow2 x");
    imgtest_same_status("bitmap --add --merge x -b other.qcow2 -F qcow2 a.qcow2 b");
    imgtest_same_status("bitmap --merge x -b small.qcow2 -F qcow2 a.qcow2 b");
    imgtest_same_status("bitmap --merge y -b other.qcow2 -F qcow2 a.qcow2 b");
    judge("a.qcow2");
    judge("other.qcow2");
}

static void convert_takes_them_along(void)
{
    make("");
    imgtest_same_status("bitmap --add a.qcow2 b0");
    imgtest_same_status("bitmap --add -g 4k --disable a.qcow2 b1");
    imgtest_same_json("measure --output=json -O qcow2 a.qcow2", NULL);
    imgtest_same("measure -O qcow2 -o cluster_size=4k a.qcow2");
    imgtest_same_status("convert --bitmaps -O qcow2 -o cluster_size=4k a.qcow2 c.qcow2");
    imgtest_same_json("info --output=json c.qcow2", size_keys);
    judge("c.qcow2");
    imgtest_same_status("convert --bitmaps -O raw a.qcow2 c.raw");
    imgtest_same_status("convert --skip-broken-bitmaps -O qcow2 a.qcow2 d.qcow2");
    imgtest_same_status("convert --bitmaps -f raw -O qcow2 c.raw d.qcow2");
    imgtest_same_status("convert -O qcow2 a.qcow2 e.qcow2");
    imgtest_same_json("info --output=json e.qcow2", size_keys);
}

static void sizes_and_snapshots_change_under_them(void)
{
    make("");
    imgtest_same_status("bitmap --add -g 512 a.qcow2 b0");
    imgtest_same_status("resize a.qcow2 300M");
    judge("a.qcow2");
    imgtest_same_status("snapshot -c s a.qcow2");
    imgtest_same_status("snapshot -d s a.qcow2");
    imgtest_same_status("amend -o refcount_bits=8 a.qcow2");
    imgtest_same_status("resize --shrink a.qcow2 1M");
    judge("a.qcow2");
}

static void inconsistent_bitmaps_can_only_be_removed(void)
{
    make("");
    imgtest_same_status("bitmap --add a.qcow2 b0");
    imgtest_mark_in_use("a.qcow2");
    imgtest_same_json("info --output=json a.qcow2", size_keys);
    imgtest_same_status("bitmap --enable a.qcow2 b0");
    imgtest_same_status("bitmap --clear a.qcow2 b0");
    imgtest_same_status("convert --bitmaps -O qcow2 a.qcow2 c.qcow2");
    imgtest_same_status("convert --bitmaps --skip-broken-bitmaps -O qcow2 a.qcow2 c.qcow2");
    imgtest_same_json("info --output=json c.qcow2", size_keys);
    imgtest_same_status("resize a.qcow2 20M");
    imgtest_same("check a.qcow2");
    imgtest_same_status("bitmap --remove a.qcow2 b0");
    judge("a.qcow2");
}

#define ADD(name) g_test_add_func("/img/bitmaps/" #name, name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    imgtest_begin();
    if (!imgtest_has_qemu()) {
        imgtest_end();
        g_print("1..0 # SKIP qemu-img is not installed\n");
        return 0;
    }
    ADD(bitmaps_come_and_go);
    ADD(info_shows_them_to_people);
    ADD(bitmaps_come_from_other_images);
    ADD(convert_takes_them_along);
    ADD(sizes_and_snapshots_change_under_them);
    ADD(inconsistent_bitmaps_can_only_be_removed);
    int status = g_test_run();
    imgtest_end();
    return status;
}
