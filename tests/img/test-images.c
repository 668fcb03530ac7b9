/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each command on the same images as qemu-img: the same output and status, and what one makes the
 * other reads. */
#include <string.h>
#include "tests/img/imgtest.h"

#define DATA "aab..c.dd....e.."

/* An image of the data in both folders, made by qemu-img. */
static void make_qcow2(const char *name, const char *options, const char *pattern)
{
    g_autofree char *args =
        g_strdup_printf("convert -f raw -O qcow2 %s made.raw %s", options, name);
    imgtest_make_raw("made.raw", pattern);
    g_auto(Run) run = imgtest_run(TOOL_QEMU, args);
    g_assert_cmpint(run.status, ==, 0);
    imgtest_share(TOOL_QEMU, name);
}

static void assert_identical(Tool tool, const char *a, const char *b)
{
    g_autofree char *args = g_strdup_printf("compare %s %s", a, b);
    g_auto(Run) run = imgtest_run(tool, args);
    if (run.status) {
        g_test_message("%s: %s%s", args, run.out, run.err);
    }
    g_assert_cmpint(run.status, ==, 0);
}

/* What vireo-img made is sound for qemu-img, and holds the same as the other image. */
static void judge(const char *image, const char *same)
{
    g_autofree char *check = g_strdup_printf("check %s", image);
    imgtest_share(TOOL_VIREO, image);
    g_auto(Run) run = imgtest_run(TOOL_QEMU, check);
    if (run.status && run.status != 63) {
        g_test_message("%s: %s%s", check, run.out, run.err);
    }
    g_assert_true(run.status == 0 || run.status == 63);
    if (same) {
        assert_identical(TOOL_QEMU, image, same);
    }
}

/* ---- create, info ---- */

static const char *const size_keys[] = { "actual-size", NULL };

static void create_tells_what_it_makes(void)
{
    imgtest_same("create -f raw r.raw 64M");
    imgtest_same("create r2.raw 1.5G");
    imgtest_same("create -f raw odd.raw 1000");
    imgtest_same("create -q -f raw quiet.raw 1M");
    imgtest_same("create -f raw -o preallocation=falloc full.raw 1M");
    imgtest_same("create -f qcow2 a.qcow2 64M");
    imgtest_same("create -f qcow2 -o cluster_size=4k,lazy_refcounts=on b.qcow2 10M");
    imgtest_same("create -f qcow2 -o compat=0.10 c.qcow2 10M");
    imgtest_same("create -f qcow2 -o preallocation=metadata,refcount_bits=8 d.qcow2 10M");
    imgtest_same("create -f qcow2 -o size=5M e.qcow2");
    imgtest_same("create -f qcow2 -b a.qcow2 -F qcow2 over.qcow2");
    imgtest_same("create -f qcow2 -u -b nosuch.qcow2 -F qcow2 lost.qcow2 10M");
    judge("a.qcow2", "r.raw");
    judge("b.qcow2", NULL);
    judge("c.qcow2", NULL);
    judge("d.qcow2", NULL);
    judge("over.qcow2", "a.qcow2");
}

static void info_describes_images_as_qemu_img_does(void)
{
    make_qcow2("a.qcow2", "-o cluster_size=64k", DATA);
    make_qcow2("b.qcow2", "-o cluster_size=4k,lazy_refcounts=on", DATA);
    imgtest_same_status("create -q -f qcow2 -b a.qcow2 -F qcow2 over.qcow2");
    imgtest_same_json("info --output=json a.qcow2", size_keys);
    imgtest_same_json("info --output=json b.qcow2", size_keys);
    imgtest_same_json("info -U --output=json over.qcow2", size_keys);
    imgtest_same_json("info --output=json --backing-chain over.qcow2", size_keys);
    imgtest_same_json("info -f raw --output=json made.raw", size_keys);
    imgtest_same_json("info --output=json --image-opts driver=qcow2,file.filename=a.qcow2",
                      size_keys);
    imgtest_same("info -f raw made.raw");
    g_autofree char *human = imgtest_vireo("info --backing-chain over.qcow2", 0);
    g_assert_nonnull(strstr(human, "image: over.qcow2\nfile format: qcow2\n"
                                   "virtual size: 1 MiB (1048576 bytes)\n"));
    g_assert_nonnull(strstr(human, "backing file: a.qcow2\nbacking file format: qcow2\n"));
    g_assert_nonnull(strstr(human, "\n\nimage: a.qcow2\n"));
}

/* ---- convert, compare, map, dd ---- */

static void convert_copies_between_formats(void)
{
    imgtest_make_raw("made.raw", DATA);
    g_free(imgtest_vireo("convert -f raw -O qcow2 made.raw a.qcow2", 0));
    judge("a.qcow2", "made.raw");
    g_free(imgtest_vireo("convert -O raw a.qcow2 back.raw", 0));
    judge("back.raw", "made.raw");
    g_free(imgtest_vireo("convert -W -m 4 -O qcow2 -o cluster_size=4k a.qcow2 b.qcow2", 0));
    judge("b.qcow2", "made.raw");
    g_free(imgtest_vireo("convert -S 0 -t none -O raw a.qcow2 full.raw", 0));
    judge("full.raw", "made.raw");
    imgtest_same("map --output=json -f raw full.raw");
}

/* From plain data and from clusters of an image; what the host cannot copy is read and written. */
static void convert_lets_the_host_copy(void)
{
    imgtest_make_raw("made.raw", "ab..c.dd");
    g_free(imgtest_vireo("convert -f raw -O qcow2 made.raw q.qcow2", 0));
    g_free(imgtest_vireo("convert -c -f raw -O qcow2 made.raw c.qcow2", 0));
    g_free(imgtest_vireo("convert -C -f raw -O raw made.raw 1.raw", 0));
    g_free(imgtest_vireo("convert -C -O raw q.qcow2 2.raw", 0));
    g_free(imgtest_vireo("convert -C -m 1 -O raw c.qcow2 3.raw", 0));
    g_free(imgtest_vireo("convert -C -W -O qcow2 q.qcow2 4.raw", 0));
    g_free(imgtest_vireo("convert -C -f raw -O raw made.raw made.raw 5.raw", 0));
    for (int i = 1; i < 5; i++) {
        g_autofree char *compare = g_strdup_printf("compare -f raw made.raw %d.raw", i);
        g_free(imgtest_vireo(compare, 0));
    }
    g_free(imgtest_vireo("convert -f raw -O raw made.raw made.raw twice.raw", 0));
    g_free(imgtest_vireo("compare -f raw -F raw 5.raw twice.raw", 0));
    g_free(imgtest_vireo("convert -C -f raw -O raw made.raw made.raw", 1));
}

static void convert_joins_several_inputs(void)
{
    imgtest_make_raw("one.raw", "ab.");
    imgtest_make_raw("two.raw", ".cd");
    imgtest_make_raw("both.raw", "ab..cd");
    g_free(imgtest_vireo("convert -f raw -O qcow2 one.raw two.raw both.qcow2", 0));
    judge("both.qcow2", "both.raw");
}

static void convert_writes_into_an_image_that_exists(void)
{
    imgtest_make_raw("made.raw", DATA);
    imgtest_make_raw("old.raw", "zzzzzzzzzzzzzzzz");
    g_free(imgtest_vireo("convert -n -f raw -O raw made.raw old.raw", 0));
    judge("old.raw", "made.raw");
    g_free(imgtest_vireo("convert -n -f raw --target-image-opts made.raw "
                         "driver=raw,file.filename=old.raw",
                         0));
    judge("old.raw", "made.raw");
}

static void convert_leaves_out_what_the_backing_file_has(void)
{
    make_qcow2("base.qcow2", "", DATA);
    imgtest_same_status("create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2");
    imgtest_same_status("convert -B base.qcow2 -F qcow2 -O qcow2 over.qcow2 copy.qcow2");
    imgtest_same("map copy.qcow2");
    judge("copy.qcow2", "base.qcow2");
}

static void convert_compresses(void)
{
    imgtest_make_raw("made.raw", DATA);
    g_auto(Run) run = imgtest_run(TOOL_VIREO, "convert -c -f raw -O qcow2 made.raw c.qcow2");
    if (run.status && strstr(run.err, "cannot be compressed")) {
        g_test_skip("this qcow2 does not compress");
        return;
    }
    g_assert_cmpint(run.status, ==, 0);
    judge("c.qcow2", "made.raw");
    imgtest_same("check c.qcow2");
}

static void compare_tells_differences(void)
{
    imgtest_make_raw("a.raw", DATA);
    imgtest_make_raw("b.raw", "aab..c.dd....f..");
    imgtest_make_raw("longer.raw", DATA "....");
    imgtest_make_raw("more.raw", DATA "..x.");
    make_qcow2("a.qcow2", "", DATA);
    imgtest_same("compare a.raw a.qcow2");
    imgtest_same("compare -q a.raw a.qcow2");
    imgtest_same("compare a.raw b.raw");
    imgtest_same("compare -q a.raw b.raw");
    imgtest_same("compare b.raw a.qcow2");
    imgtest_same("compare a.raw longer.raw");
    imgtest_same("compare -s a.raw longer.raw");
    imgtest_same("compare more.raw a.raw");
    imgtest_same("compare -s a.raw a.qcow2");
    imgtest_same("compare -f raw -F qcow2 a.raw a.qcow2");
}

static void map_shows_where_data_is(void)
{
    imgtest_make_raw("top.raw", "a..b");
    make_qcow2("a.qcow2", "-o cluster_size=64k", DATA);
    imgtest_same_status("create -q -f qcow2 -b a.qcow2 -F qcow2 over.qcow2 2M");
    imgtest_same("map a.qcow2");
    imgtest_same("map --output=json a.qcow2");
    imgtest_same("map --output=json -s 64k -l 192k a.qcow2");
    imgtest_same("map -s 64k -l 192k a.qcow2");
    imgtest_same("map over.qcow2");
    imgtest_same("map --output=json over.qcow2");
    imgtest_same("map -f raw top.raw");
    imgtest_same("map -f raw --output=json top.raw");
}

static void dd_copies_blocks(void)
{
    make_qcow2("a.qcow2", "", DATA);
    imgtest_same_status("dd if=a.qcow2 of=all.raw");
    judge("all.raw", "made.raw");
    imgtest_same_status("dd if=a.qcow2 of=some.raw bs=64k count=3 skip=1");
    imgtest_same("info -f raw some.raw");
    imgtest_make_raw("part.raw", "ab");
    judge("some.raw", "part.raw");
    imgtest_same_status("dd -O qcow2 if=a.qcow2 of=past.qcow2 bs=1M skip=10");
}

/* ---- External data files ---- */

static void an_external_data_file_is_read_without_a_format(void)
{
    imgtest_make_raw("made.raw", DATA);
    imgtest_same_status("convert -O qcow2 -o data_file=d.raw made.raw a.qcow2");
    imgtest_same_json("info --output=json a.qcow2", size_keys);
    imgtest_same("check a.qcow2");
    imgtest_same("compare a.qcow2 made.raw");
    imgtest_same_status("convert -O raw a.qcow2 copy.raw");
    imgtest_same("compare copy.raw made.raw");
    imgtest_same_json("map --output=json a.qcow2", NULL);
    /* info opens no file that the image names. */
    imgtest_same_status("amend -f qcow2 -o data_file=none a.qcow2");
    imgtest_same_json("info --output=json a.qcow2", size_keys);
    imgtest_same_status("check a.qcow2");
}

static void amend_names_a_data_file_and_ends_its_being_raw(void)
{
    imgtest_make_raw("made.raw", DATA);
    imgtest_same_status("convert -O qcow2 -o data_file=d.raw,data_file_raw=on made.raw a.qcow2");
    imgtest_same_status("amend -f qcow2 -o data_file_raw=on a.qcow2");
    imgtest_same_status("amend -f qcow2 -o data_file_raw=off a.qcow2");
    imgtest_same_json("info --output=json a.qcow2", size_keys);
    imgtest_same("check a.qcow2");
    imgtest_same("compare a.qcow2 made.raw");
    imgtest_same_status("amend -f qcow2 -o data_file_raw=on a.qcow2"); /* no way back */
    imgtest_same_status("amend -f qcow2 -o data_file=made.raw a.qcow2");
    imgtest_same_json("info --output=json a.qcow2", size_keys);
    imgtest_same("compare a.qcow2 made.raw");
    imgtest_same_status("amend -f qcow2 -o data_file= a.qcow2");
    imgtest_same_json("info --output=json a.qcow2", size_keys);
    make_qcow2("b.qcow2", "", DATA);
    imgtest_same_status("amend -f qcow2 -o data_file=d.raw b.qcow2");
}

static void a_data_file_is_not_written_without_a_format(void)
{
    static const char *const commands[] = { "resize a.qcow2 2M", "check -r all a.qcow2",
                                            "amend -o lazy_refcounts=on a.qcow2",
                                            "snapshot -c x a.qcow2", "bench -w -c 1 a.qcow2" };
    imgtest_make_raw("made.raw", DATA);
    imgtest_same_status("convert -O qcow2 -o data_file=d.raw made.raw a.qcow2");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_auto(Run) run = imgtest_run(TOOL_VIREO, commands[i]);
        g_assert_cmpint(run.status, ==, 1);
        g_assert_nonnull(strstr(run.err, "names the data file 'd.raw'"));
    }
    imgtest_same("compare a.qcow2 made.raw");
}

/* ---- resize, measure, check, bench ---- */

static void resize_changes_the_length(void)
{
    imgtest_make_raw("a.raw", DATA);
    imgtest_same("resize -f raw a.raw +64k");
    imgtest_same("resize -f raw a.raw 2M");
    imgtest_same("resize -f raw -q a.raw 2M");
    imgtest_same("resize -f raw --shrink a.raw -1M");
    imgtest_same("resize -f raw --preallocation=falloc a.raw +64k");
    g_autofree char *info = imgtest_vireo("info -f raw a.raw", 0);
    g_assert_nonnull(strstr(info, "(1114112 bytes)"));
    judge("a.raw", NULL);
}

/* The parts of an image that it decides itself, or has data for: "from-to depth present data". */
static char *places_of(Tool tool, const char *name)
{
    g_autofree char *args = g_strdup_printf("map -f qcow2 --output=json %s", name);
    g_autofree char *last = g_strdup("");
    g_autoptr(GString) places = g_string_new(NULL);
    g_auto(Run) run = imgtest_run(tool, args);
    json_object *list = json_tokener_parse(run.out);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *part = json_object_array_get_idx(list, i);
        g_autofree char *what =
            g_strdup_printf("depth %s present %s data %s\n",
                            json_object_get_string(json_object_object_get(part, "depth")),
                            json_object_get_string(json_object_object_get(part, "present")),
                            json_object_get_string(json_object_object_get(part, "data")));
        if (strcmp(what, last) != 0) {
            g_string_append_printf(places, "from %s %s",
                                   json_object_get_string(json_object_object_get(part, "start")),
                                   what);
        }
        g_free(last);
        last = g_steal_pointer(&what);
    }
    json_object_put(list);
    return g_string_free(g_steal_pointer(&places), FALSE);
}

/* What check says of where in the file the clusters are. */
static const char *const check_ends[] = { "image-end-offset", "fragmented-clusters", NULL };

/* check and map say the same, but for that. */
static void assert_same_places(const char *name)
{
    g_autofree char *check = g_strdup_printf("check -f qcow2 --output=json %s", name);
    g_autofree char *theirs = places_of(TOOL_QEMU, name);
    g_autofree char *ours = places_of(TOOL_VIREO, name);
    imgtest_same_json(check, check_ends);
    g_assert_cmpstr(ours, ==, theirs);
}

static int64_t blocks_of(const char *name)
{
    g_autofree char *args = g_strdup_printf("info --output=json %s", name);
    g_autofree char *text = imgtest_vireo(args, 0);
    json_object *info = json_tokener_parse(text), *size = NULL;
    g_assert_true(json_object_object_get_ex(info, "actual-size", &size));
    int64_t bytes = json_object_get_int64(size);
    json_object_put(info);
    return bytes;
}

static void resize_preallocates_what_it_adds(void)
{
    static const char *const options[] = {
        "",
        "-o cluster_size=4k",
        "-o cluster_size=512,refcount_bits=64",
        "-o compat=0.10,cluster_size=4k",
        "-o extended_l2=on,cluster_size=16k",
        "-o preallocation=metadata",
    };
    static const char *const modes[] = { "off", "metadata", "falloc", "full" };
    for (size_t i = 0; i < G_N_ELEMENTS(options) * G_N_ELEMENTS(modes); i++) {
        size_t mode = i % 4;
        g_autofree char *resize =
            g_strdup_printf("resize --preallocation=%s -f qcow2 a.qcow2 5000k", modes[mode]);
        make_qcow2("a.qcow2", options[i / 4], "aab..c.dd....e..a");
        int64_t before = blocks_of("a.qcow2");
        imgtest_same(resize);
        assert_same_places("a.qcow2");
        int64_t more = blocks_of("a.qcow2") - before;
        g_test_message("%s: %" G_GINT64_FORMAT " bytes more", resize, more);
        g_assert_true(mode >= 2 ? more >= 3900 * 1024 : more < 2000 * 1024);
        imgtest_same("resize -f raw made.raw 5000k");
        judge("a.qcow2", "made.raw");
    }
}

/* What the backing file has behind the old end stays hidden. */
static void resize_preallocates_overlays(void)
{
    static const char *const options[] = { "", ",extended_l2=on" };
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        g_autofree char *create = g_strdup_printf(
            "create -q -f qcow2 -o size=96k,backing_file=base.raw,backing_fmt=raw%s a.qcow2",
            options[i]);
        imgtest_make_raw("base.raw", "abcd");
        imgtest_same(create);
        imgtest_same("resize --preallocation=metadata a.qcow2 192k");
        imgtest_same("resize --preallocation=falloc a.qcow2 600k");
        imgtest_same("resize --preallocation=full a.qcow2 700k");
        imgtest_same_json("check --output=json a.qcow2", check_ends);
        imgtest_make_raw("seen.raw", "ab");
        imgtest_same("resize -q -f raw --shrink seen.raw 96k");
        imgtest_same("resize -q -f raw seen.raw 700k");
        judge("a.qcow2", "seen.raw");
    }
}

static void resize_of_a_raw_data_file_shows_it(void)
{
    imgtest_same("create -q -f qcow2 -o data_file=d.raw,data_file_raw=on a.qcow2 100k");
    imgtest_same("resize -f qcow2 a.qcow2 300k");
    assert_same_places("a.qcow2");
    imgtest_same("resize -f qcow2 --preallocation=full a.qcow2 1M");
    assert_same_places("a.qcow2");
    imgtest_make_raw("d.raw", "abcdefghijklmnop");
    assert_identical(TOOL_VIREO, "--image-opts driver=qcow2,file.filename=a.qcow2",
                     "driver=raw,file.filename=d.raw");
}

static void measure_tells_the_length_of_the_file(void)
{
    imgtest_make_raw("a.raw", DATA);
    imgtest_same("measure -f raw a.raw");
    imgtest_same("measure --size 1G");
    imgtest_same_json("measure --output=json -O raw --size 1G", NULL);
}

static void check_finds_sound_images_sound(void)
{
    make_qcow2("a.qcow2", "", DATA);
    g_auto(Run) run = imgtest_run(TOOL_VIREO, "check a.qcow2");
    if (run.status == 63) {
        g_test_skip("this qcow2 has no check");
        return;
    }
    imgtest_same("check a.qcow2");
    imgtest_same("check -q a.qcow2");
    imgtest_same("check -r all a.qcow2");
    imgtest_same_json("check --output=json a.qcow2", NULL);
}

static void bench_sends_requests(void)
{
    imgtest_make_raw("a.raw", DATA);
    g_autofree char *text = imgtest_vireo("bench -f raw -c 500 -d 8 -s 8k -S 4k a.raw", 0);
    g_assert_true(
        g_str_has_prefix(text, "500 requests (read) of 8192 bytes, 8 of them in flight; the first "
                               "at offset 0, the next 4096 bytes behind it\nRun completed in "));
    g_free(imgtest_vireo("bench -w -f raw -c 500 -d 8 --pattern 7 --flush-interval 16 a.raw", 0));
    g_free(imgtest_vireo("bench -w -f raw -c 500 -d 8 --flush-interval 16 --no-drain -q a.raw", 0));
    g_free(imgtest_vireo("bench -f raw -c 0 -i threads a.raw", 0));
}

/* ---- snapshot, rebase, commit ---- */

static void without_internal_snapshots_the_list_is_empty(void)
{
    imgtest_make_raw("a.raw", DATA);
    imgtest_same("snapshot -l a.raw");
    imgtest_same("snapshot a.raw");
}

static void snapshots_are_made_listed_applied_and_deleted(void)
{
    make_qcow2("a.qcow2", "", DATA);
    imgtest_make_raw("want.raw", DATA);
    g_auto(Run) theirs = imgtest_run(TOOL_QEMU, "snapshot -c a-name-of-some-length a.qcow2");
    g_assert_cmpint(theirs.status, ==, 0);
    imgtest_share(TOOL_QEMU, "a.qcow2");
    g_auto(Run) ours = imgtest_run(TOOL_VIREO, "snapshot -c two a.qcow2");
    if (ours.status && strstr(ours.err, "not supported")) {
        g_test_skip("this qcow2 has no internal snapshots");
        return;
    }
    g_assert_cmpint(ours.status, ==, 0);
    judge("a.qcow2", "want.raw");
    imgtest_same("snapshot -l a.qcow2");
    imgtest_same_json("info --output=json a.qcow2", size_keys);
    imgtest_make_raw("new.raw", "qqqqqqqqqqqqqqqq");
    g_free(imgtest_vireo("convert -n -f raw -O qcow2 new.raw a.qcow2", 0));
    judge("a.qcow2", "new.raw");
    g_free(imgtest_vireo("snapshot -a two a.qcow2", 0));
    judge("a.qcow2", "want.raw");
    g_free(imgtest_vireo("snapshot -d a-name-of-some-length a.qcow2", 0));
    judge("a.qcow2", "want.raw");
    imgtest_same("snapshot -l a.qcow2");
    imgtest_same_status("snapshot -a nosuch a.qcow2");
    imgtest_same_status("snapshot -d nosuch a.qcow2");
}

/* over.qcow2 in both folders: all of `pattern`, above base.qcow2. */
static void make_overlay(const char *pattern)
{
    make_qcow2("base.qcow2", "", DATA);
    make_qcow2("over.qcow2", "-B base.qcow2 -F qcow2", pattern);
}

static void commit_writes_the_overlay_into_its_base(void)
{
    make_overlay("xx..yyzz......ww");
    imgtest_same("commit -d over.qcow2");
    judge("base.qcow2", "made.raw");
    imgtest_same("commit -q -b base.qcow2 over.qcow2");
    imgtest_same_status("commit -b nosuch.qcow2 over.qcow2");
    imgtest_same_status("commit base.qcow2");
}

static void rebase_keeps_the_content(void)
{
    make_overlay("xx..yyzz......ww");
    imgtest_make_raw("other.raw", "xxxxyyyyzzzzwwww");
    imgtest_make_raw("want.raw", DATA);
    imgtest_same_status("create -q -f qcow2 -b base.qcow2 -F qcow2 thin.qcow2");
    g_auto(Run) run = imgtest_run(TOOL_VIREO, "rebase -b other.raw -F raw thin.qcow2");
    if (run.status && strstr(run.err, "not supported")) {
        g_test_skip("this qcow2 cannot be given another backing file");
        return;
    }
    g_assert_cmpint(run.status, ==, 0);
    judge("thin.qcow2", "want.raw");
    g_free(imgtest_vireo("rebase -b '' thin.qcow2", 0));
    judge("thin.qcow2", "want.raw");
    g_free(imgtest_vireo("rebase -u -b nosuch -F raw thin.qcow2", 0));
    g_autofree char *info = imgtest_vireo("info thin.qcow2", 0);
    g_assert_nonnull(strstr(info, "backing file: nosuch\nbacking file format: raw\n"));
}

/* ---- Running images ---- */

static void an_image_is_not_converted_onto_itself(void)
{
    imgtest_make_raw("a.raw", DATA);
    imgtest_make_raw("b.raw", DATA);
    g_free(imgtest_vireo("convert -f raw -O raw a.raw a.raw", 1));
    assert_identical(TOOL_VIREO, "a.raw", "b.raw");
}

#define ADD(name) g_test_add_func("/img/images/" #name, name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    imgtest_begin();
    if (!imgtest_has_qemu()) {
        imgtest_end();
        g_print("1..0 # SKIP qemu-img is not installed\n");
        return 0;
    }
    ADD(create_tells_what_it_makes);
    ADD(info_describes_images_as_qemu_img_does);
    ADD(convert_copies_between_formats);
    ADD(convert_lets_the_host_copy);
    ADD(convert_joins_several_inputs);
    ADD(convert_writes_into_an_image_that_exists);
    ADD(convert_leaves_out_what_the_backing_file_has);
    ADD(convert_compresses);
    ADD(compare_tells_differences);
    ADD(map_shows_where_data_is);
    ADD(dd_copies_blocks);
    ADD(resize_changes_the_length);
    ADD(resize_preallocates_what_it_adds);
    ADD(resize_preallocates_overlays);
    ADD(resize_of_a_raw_data_file_shows_it);
    ADD(an_external_data_file_is_read_without_a_format);
    ADD(amend_names_a_data_file_and_ends_its_being_raw);
    ADD(a_data_file_is_not_written_without_a_format);
    ADD(measure_tells_the_length_of_the_file);
    ADD(check_finds_sound_images_sound);
    ADD(bench_sends_requests);
    ADD(without_internal_snapshots_the_list_is_empty);
    ADD(snapshots_are_made_listed_applied_and_deleted);
    ADD(commit_writes_the_overlay_into_its_base);
    ADD(rebase_keeps_the_content);
    ADD(an_image_is_not_converted_onto_itself);
    int status = g_test_run();
    imgtest_end();
    return status;
}
