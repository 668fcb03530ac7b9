/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block-latency-histogram-set, and what query-blockstats says then: QEMU 7.2's. */
#include <string.h>
#include "tests/device/block-kit.h"

#define SET(more) "{'execute': 'block-latency-histogram-set', 'arguments': {'id': 'v0'" more "}}"

typedef struct Rig {
    BlockStage stage;
    BlockDisk disk;
} Rig;

static bool rig_start(Rig *r)
{
    if (!block_stage_open(&r->stage)) {
        return false;
    }
    g_assert_cmpint(block_img(&r->stage, NULL, "create -q -f raw disk.raw 1M"), ==, 0);
    g_autofree char *path = block_path(&r->stage, "disk.raw");
    r->stage.qts = qtest_start("-drive if=none,id=d,format=raw,file=%s "
                               "-device virtio-blk-pci,id=v0,drive=d",
                               path);
    block_disk_open(&r->disk, r->stage.qts, 0);
    return true;
}

static void rig_stop(Rig *r)
{
    block_disk_close(&r->disk);
    qtest_stop(r->stage.qts);
    block_stage_close(&r->stage);
}

/* The disk's histogram of the kind ("rd", "wr", "flush"), "BOUNDARIES BINS" as JSON, or NULL;
 * g_free. *sum: of all bins; *last: what is in the last one. */
static char *histogram(Rig *r, const char *kind, int64_t *sum, int64_t *last)
{
    json_object *list = qtest_qmp_ok(r->stage.qts, "{'execute': 'query-blockstats'}"), *info;
    json_object *stats = json_object_object_get(json_object_array_get_idx(list, 0), "stats");
    g_autofree char *name = g_strdup_printf("%s_latency_histogram", kind);
    char *text = NULL;
    *sum = *last = 0;
    if (json_object_object_get_ex(stats, name, &info)) {
        json_object *bins = json_object_object_get(info, "bins");
        for (size_t i = 0; i < json_object_array_length(bins); i++) {
            *last = json_object_get_int64(json_object_array_get_idx(bins, i));
            *sum += *last;
        }
        g_assert_cmpuint(json_object_array_length(bins), ==,
                         json_object_array_length(json_object_object_get(info, "boundaries")) + 1);
        text = g_strdup(json_object_to_json_string_ext(json_object_object_get(info, "boundaries"),
                                                       JSON_C_TO_STRING_PLAIN));
    }
    json_object_put(list);
    return text;
}

static void expect(Rig *r, const char *kind, const char *boundaries, int64_t requests)
{
    int64_t sum, last;
    g_autofree char *text = histogram(r, kind, &sum, &last);
    g_assert_cmpstr(text, ==, boundaries);
    g_assert_cmpint(sum, ==, requests);
}

static void set(Rig *r, const char *command)
{
    json_object_put(qtest_qmp_ok(r->stage.qts, "%s", command));
}

static void work(Rig *r, unsigned writes, unsigned reads)
{
    for (unsigned i = 0; i < writes; i++) {
        g_assert_cmpint(block_disk_write(&r->disk, i, i + 1), ==, 0);
    }
    for (unsigned i = 0; i < reads; i++) {
        block_disk_read(&r->disk, i);
    }
}

static void test_requests_are_counted_by_kind(void)
{
    Rig r;
    int64_t sum, last;
    if (!rig_start(&r)) {
        return;
    }
    work(&r, 2, 2);
    expect(&r, "rd", NULL, 0);
    set(&r, SET(", 'boundaries': [1000, 1000000, 3600000000000]"));
    expect(&r, "rd", "[1000,1000000,3600000000000]", 0);
    work(&r, 5, 3);
    expect(&r, "rd", "[1000,1000000,3600000000000]", 3);
    expect(&r, "wr", "[1000,1000000,3600000000000]", 5);
    expect(&r, "flush", "[1000,1000000,3600000000000]", 0);
    g_free(histogram(&r, "wr", &sum, &last));
    g_assert_cmpint(last, ==, 0); /* none took an hour */
    rig_stop(&r);
}

static void test_kinds_have_boundaries_of_their_own(void)
{
    Rig r;
    if (!rig_start(&r)) {
        return;
    }
    set(&r, SET(", 'boundaries-read': [5]"));
    work(&r, 1, 1);
    expect(&r, "rd", "[5]", 1);
    expect(&r, "wr", NULL, 0);
    set(&r, SET(", 'boundaries': [7], 'boundaries-write': [9, 18446744073709551615]"));
    work(&r, 2, 1);
    expect(&r, "rd", "[7]", 1);
    expect(&r, "wr", "[9,18446744073709551615]", 2);
    expect(&r, "flush", "[7]", 0);
    set(&r, SET(", 'boundaries-read': []")); /* one bin */
    work(&r, 1, 4);
    expect(&r, "rd", "[]", 4);
    expect(&r, "wr", "[9,18446744073709551615]", 3);
    set(&r, SET(""));
    work(&r, 1, 1);
    expect(&r, "rd", NULL, 0);
    expect(&r, "wr", NULL, 0);
    rig_stop(&r);
}

static void test_boundaries_rise(void)
{
    static const struct {
        const char *command, *text;
    } bad[] = {
        { SET(", 'boundaries': [0]"), "'v0': the boundaries for read do not rise from above 0" },
        { SET(", 'boundaries': [3, 3]"), "'v0': the boundaries for read do not rise from above 0" },
        { SET(", 'boundaries-write': [5, 3]"),
          "'v0': the boundaries for write do not rise from above 0" },
        { SET(", 'boundaries': [4], 'boundaries-flush': [2, 1]"),
          "'v0': the boundaries for flush do not rise from above 0" },
        { "{'execute': 'block-latency-histogram-set', 'arguments': {'id': 'no'}}",
          "there is no drive and no device 'no' (query-block lists them)" },
    };
    Rig r;
    if (!rig_start(&r)) {
        return;
    }
    set(&r, SET(", 'boundaries': [10]"));
    work(&r, 2, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *text = NULL;
        json_object *answer = qtest_qmp(r.stage.qts, "%s", bad[i].command), *error;
        g_assert_true(json_object_object_get_ex(answer, "error", &error));
        text = g_strdup(json_object_get_string(json_object_object_get(error, "desc")));
        g_assert_cmpstr(text, ==, bad[i].text);
        json_object_put(answer);
        expect(&r, "flush", "[10]", 0); /* as it was */
    }
    expect(&r, "wr", "[4]", 0); /* what came before the error holds, as in QEMU */
    rig_stop(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block-latency/requests_are_counted_by_kind",
                    test_requests_are_counted_by_kind);
    g_test_add_func("/block-latency/kinds_have_boundaries_of_their_own",
                    test_kinds_have_boundaries_of_their_own);
    g_test_add_func("/block-latency/boundaries_rise", test_boundaries_rise);
    return g_test_run();
}
