/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest works on one qcow2 image from four queues on three I/O threads, with requests of each
 * under way, while its user takes snapshots, gives the disk other sizes, streams, commits, backs it
 * up and keeps bitmaps. What the guest reads is what it wrote; qemu-img judges what is left.
 */
#include <stdlib.h>
#include <string.h>
#include "tests/device/block-kit.h"
#include "tests/device/disk-load.h"
#include "tests/unit/qemu-img.h"
#include "tests/unit/seeds.h"

#define FIRST_BYTES  (2u << 20)
#define MOST_BYTES   (4u << 20)
#define MOST_IMAGES  4
#define MOST_BITMAPS 3

typedef enum Work { NOTHING, STREAM, COMMIT, ACTIVE_COMMIT, BACKUP } Work;

/* An image of the chain, named by its number. */
typedef struct Image {
    unsigned number;
    uint64_t bytes;
    bool bitmaps[MOST_BITMAPS];
} Image;

/* What is to be found when all is over. */
typedef struct Kept {
    unsigned image;
    char *snapshot; /* NULL: image b<image>, a backup */
    uint8_t *data;
    uint64_t bytes;
    bool gone; /* what it stood on has changed: nobody promised more */
} Kept;

typedef struct Random {
    BlockStage stage;
    DiskLoad load;
    GRand *rand;
    GArray *chain; /* of Image: the lowest first */
    GPtrArray *kept;
    unsigned next; /* image, snapshot or backup */
    Work work;     /* of the job "j" */
} Random;

static unsigned draw(Random *r, unsigned below)
{
    return (unsigned)g_rand_int_range(r->rand, 0, (gint32)below);
}

static Image *image(Random *r, unsigned from_top)
{
    return &g_array_index(r->chain, Image, r->chain->len - 1 - from_top);
}

#define qmp(r, ...) json_object_put(qtest_qmp_ok((r)->load.qts, __VA_ARGS__))

/* ---- What is kept ---- */

static void kept_free(void *opaque)
{
    Kept *kept = opaque;
    g_free(kept->snapshot);
    g_free(kept->data);
    g_free(kept);
}

static Kept *keep(Random *r, unsigned image_number, char *snapshot)
{
    Kept *kept = g_new0(Kept, 1);
    kept->image = image_number;
    kept->snapshot = snapshot;
    kept->data = g_memdup2(r->load.model, MOST_BYTES);
    kept->bytes = r->load.size;
    g_ptr_array_add(r->kept, kept);
    return kept;
}

/* What the snapshots of an image leave to images below is another thing from here on. */
static void forget(Random *r, unsigned image_number)
{
    for (guint i = 0; i < r->kept->len; i++) {
        Kept *kept = r->kept->pdata[i];
        kept->gone |= kept->snapshot && kept->image == image_number;
    }
}

/* ---- What the user does ---- */

static void put_overlay(Random *r)
{
    Image over = { .number = ++r->next, .bytes = r->load.size };
    if (r->work || r->chain->len == MOST_IMAGES) {
        return;
    }
    qmp(r,
        "{'execute':'blockdev-snapshot-sync','arguments':{'device':'d','snapshot-file':'%s/i%u',"
        "'snapshot-node-name':'n%u','format':'qcow2'}}",
        r->stage.folder, over.number, over.number);
    g_array_append_val(r->chain, over);
}

static void take_snapshot(Random *r)
{
    bool quiet = draw(r, 2);
    char *name = g_strdup_printf("s%u", ++r->next);
    if (r->work) {
        g_free(name);
        return;
    }
    if (quiet) {
        disk_load_wait(&r->load);
    }
    qmp(r, "{'execute':'blockdev-snapshot-internal-sync','arguments':{'device':'d','name':'%s'}}",
        name);
    keep(r, image(r, 0)->number, name)->gone = !quiet;
}

static void delete_snapshot(Random *r)
{
    for (guint i = 0; i < r->kept->len && !r->work; i++) {
        Kept *kept = r->kept->pdata[i];
        if (kept->snapshot && kept->image == image(r, 0)->number) {
            qmp(r,
                "{'execute':'blockdev-snapshot-delete-internal-sync','arguments':"
                "{'device':'d','name':'%s'}}",
                kept->snapshot);
            g_ptr_array_remove_index(r->kept, i);
            return;
        }
    }
}

static void resize(Random *r)
{
    uint64_t bytes = (1 + draw(r, MOST_BYTES / 65536)) * 65536 - draw(r, 2) * 512;
    if (r->work) {
        return;
    }
    if (bytes < r->load.size) {
        disk_load_wait(&r->load);
    }
    qmp(r, "{'execute':'block_resize','arguments':{'device':'d','size':%" G_GUINT64_FORMAT "}}",
        bytes);
    disk_load_resized(&r->load, bytes);
    image(r, 0)->bytes = bytes;
}

static void start_stream(Random *r)
{
    if (!r->work && r->chain->len > 1) {
        qmp(r, "{'execute':'block-stream','arguments':{'device':'d','job-id':'j'}}");
        r->work = STREAM;
        forget(r, image(r, 0)->number);
    }
}

static void start_commit(Random *r)
{
    bool active = r->chain->len == 2 || draw(r, 2);
    if (r->work || r->chain->len < 2) {
        return;
    }
    const Image *top = image(r, !active), *base = image(r, active ? 1 : 2);
    if (base->bytes > top->bytes || base->bytes > r->load.size) {
        return;
    }
    qmp(r,
        "{'execute':'block-commit','arguments':{'device':'d','job-id':'j','top-node':'n%u',"
        "'base-node':'n%u'}}",
        top->number, base->number);
    r->work = active ? ACTIVE_COMMIT : COMMIT;
    for (unsigned i = 0; i <= !active; i++) {
        forget(r, image(r, i)->number);
    }
}

static void start_backup(Random *r)
{
    if (r->work) {
        return;
    }
    disk_load_wait(&r->load);
    qmp(r,
        "{'execute':'drive-backup','arguments':{'device':'d','job-id':'j','sync':'full',"
        "'target':'%s/i%u','format':'qcow2'}}",
        r->stage.folder, ++r->next);
    keep(r, r->next, NULL);
    r->work = BACKUP;
}

static void change_bitmaps(Random *r)
{
    unsigned i = draw(r, MOST_BITMAPS), other = (i + 1) % MOST_BITMAPS;
    unsigned node = image(r, 0)->number;
    bool *bitmaps = image(r, 0)->bitmaps;
    if (r->work == STREAM || r->work == ACTIVE_COMMIT) {
        return;
    }
    if (!bitmaps[i]) {
        qmp(r,
            "{'execute':'block-dirty-bitmap-add','arguments':{'node':'n%u','name':'b%u',"
            "'granularity':%u,'persistent':true}}",
            node, i, 512u << draw(r, 8));
    } else if (draw(r, 3) == 0) {
        qmp(r, "{'execute':'block-dirty-bitmap-remove','arguments':{'node':'n%u','name':'b%u'}}",
            node, i);
    } else if (bitmaps[other] && draw(r, 2)) {
        qmp(r,
            "{'execute':'block-dirty-bitmap-merge','arguments':{'node':'n%u','target':'b%u',"
            "'bitmaps':['b%u']}}",
            node, i, other);
        return;
    } else {
        qmp(r, "{'execute':'block-dirty-bitmap-clear','arguments':{'node':'n%u','name':'b%u'}}",
            node, i);
        return;
    }
    bitmaps[i] = !bitmaps[i];
}

static void stop_and_go_on(Random *r)
{
    qmp(r, "{'execute':'stop'}");
    qmp(r, "{'execute':'cont'}");
}

/* Limits come, change and go with requests under way. */
static void change_limits(Random *r)
{
    qmp(r,
        "{'execute':'block_set_io_throttle','arguments':{'device':'d','bps':0,'bps_rd':0,'bps_wr':"
        "0,"
        "'iops':%u,'iops_rd':0,'iops_wr':0}}",
        draw(r, 3) * (500 + draw(r, 2000)));
}

/* Refused, whether or not a job has the disk; and no harm is done. */
static void ask_the_impossible(Random *r)
{
    static const char *const commands[] = {
        "{'execute':'block_resize','arguments':{'device':'d','size':4611686018427387904}}",
        "{'execute':'block-stream','arguments':{'device':'d','job-id':'k','base':'/no/where'}}",
        "{'execute':'drive-mirror','arguments':{'device':'d','target':'/no/where','sync':'full'}}",
        "{'execute':'blockdev-snapshot-internal-sync','arguments':{'device':'d','name':''}}",
        "{'execute':'eject','arguments':{'device':'d'}}",
        "{'execute':'blockdev-del','arguments':{'node-name':'n0'}}",
    };
    g_free(qtest_qmp_error(r->load.qts, "%s", commands[draw(r, G_N_ELEMENTS(commands))]));
}

/* ---- The job goes on ---- */

static void job_has_ended(Random *r)
{
    guint last = r->chain->len - 1;
    Image base;
    switch (r->work) {
    case STREAM:
        g_array_remove_range(r->chain, 0, last);
        break;
    case COMMIT:
        g_array_index(r->chain, Image, last - 2).bytes = image(r, 1)->bytes;
        g_array_remove_index(r->chain, last - 1);
        break;
    case ACTIVE_COMMIT:
        base = *image(r, 1);
        base.bytes = r->load.size;
        g_array_remove_index(r->chain, last);
        g_array_index(r->chain, Image, last - 1) = base;
        break;
    default:
        break;
    }
    r->work = NOTHING;
}

/* Its end, where an event tells it. */
static void look_at_job(Random *r)
{
    json_object *event;
    while (r->work && (event = g_queue_pop_head(&r->load.qts->events))) {
        const char *name = json_text(event, "event");
        if (!strcmp(name, "BLOCK_JOB_READY")) {
            qmp(r, "{'execute':'job-complete','arguments':{'id':'j'}}");
        } else if (!strcmp(name, "BLOCK_JOB_COMPLETED")) {
            g_assert_null(json_at(event, "data.error"));
        } else if (!strcmp(name, "JOB_STATUS_CHANGE") &&
                   !strcmp(json_text(event, "data.status"), "null")) {
            job_has_ended(r);
        }
        json_object_put(event);
    }
}

static void wait_for_job(Random *r)
{
    while (r->work) {
        qmp(r, "{'execute':'query-jobs'}"); /* events come before its answer */
        look_at_job(r);
        disk_load_work(&r->load, 5);
    }
}

/* ---- One life ---- */

static void start_machine(Random *r)
{
    static const char *const layouts[] = { "cluster_size=4k", "cluster_size=64k",
                                           "cluster_size=16k,extended_l2=on",
                                           "cluster_size=4k,lazy_refcounts=on",
                                           "cluster_size=32k,refcount_bits=64" };
    Image first = { .number = 0, .bytes = FIRST_BYTES };
    g_array_append_val(r->chain, first);
    g_assert_cmpint(block_img(&r->stage, NULL, "create -q -f qcow2 -o %s i0 %u",
                              layouts[draw(r, G_N_ELEMENTS(layouts))], FIRST_BYTES),
                    ==, 0);
    QTest *qts = qtest_start(
        "-drive if=none,id=d,node-name=n0,format=qcow2,discard=unmap,file=%s/i0 "
        "-object iothread,id=a -object iothread,id=b -object iothread,id=c "
        "-device '{\"driver\":\"virtio-blk-pci\",\"drive\":\"d\",\"num-queues\":4,"
        "\"iothread-vq-mapping\":[{\"iothread\":\"a\",\"vqs\":[0,3]},{\"iothread\":\"b\","
        "\"vqs\":[1]},{\"iothread\":\"c\",\"vqs\":[2]}]}'",
        r->stage.folder);
    disk_load_open(&r->load, qts, FIRST_BYTES, MOST_BYTES, r->rand);
}

static void judge_image(Random *r, const char *name, const uint8_t *data, uint64_t bytes)
{
    g_autofree char *model = block_path(&r->stage, "model");
    g_assert_true(g_file_set_contents(model, (const char *)data, (gssize)bytes, NULL));
    g_assert_cmpint(block_img(&r->stage, NULL, "compare -q -f qcow2 -F raw %s model", name), ==, 0);
}

/* qemu-img shows a snapshot as long as the disk is now. */
static void judge_snapshot(Random *r, const char *name, const Kept *kept)
{
    g_autofree char *path = block_path(&r->stage, "shown"), *data = NULL;
    gsize length;
    g_assert_cmpint(block_img(&r->stage, NULL, "convert -l snapshot.name=%s -f qcow2 -O raw %s %s",
                              kept->snapshot, name, path),
                    ==, 0);
    g_assert_true(g_file_get_contents(path, &data, &length, NULL));
    g_assert_true(memcmp(data, kept->data, MIN(length, kept->bytes)) == 0);
}

static void judge_all(Random *r)
{
    for (guint i = 0; i < r->chain->len; i++) {
        g_assert_cmpint(block_img(&r->stage, NULL, "check -q i%u", image(r, i)->number), ==, 0);
    }
    g_autofree char *top = g_strdup_printf("i%u", image(r, 0)->number);
    judge_image(r, top, r->load.model, r->load.size);
    for (guint i = 0; i < r->kept->len; i++) {
        const Kept *kept = r->kept->pdata[i];
        g_autofree char *name = g_strdup_printf("i%u", kept->image);
        if (!kept->gone && kept->snapshot) {
            judge_snapshot(r, name, kept);
        } else if (!kept->gone) {
            judge_image(r, name, kept->data, kept->bytes);
        }
    }
}

static void one_life(uint32_t seed, unsigned steps)
{
    static void (*const acts[])(Random *) = {
        put_overlay,    put_overlay,    take_snapshot,      delete_snapshot, resize,
        start_stream,   start_commit,   start_commit,       start_backup,    change_bitmaps,
        stop_and_go_on, change_bitmaps, ask_the_impossible, change_limits,
    };
    Random r = { .rand = g_rand_new_with_seed(seed) };
    g_test_message("seed %u", seed);
    if (!block_stage_open(&r.stage)) {
        g_rand_free(r.rand);
        return;
    }
    r.chain = g_array_new(FALSE, FALSE, sizeof(Image));
    r.kept = g_ptr_array_new_with_free_func(kept_free);
    start_machine(&r);
    for (unsigned i = 0; i < steps; i++) {
        disk_load_work(&r.load, 1 + draw(&r, 40));
        acts[draw(&r, G_N_ELEMENTS(acts))](&r);
        look_at_job(&r);
    }
    wait_for_job(&r);
    disk_load_check(&r.load);
    qtest_stop(r.load.qts);
    judge_all(&r);
    disk_load_close(&r.load);
    g_ptr_array_unref(r.kept);
    g_array_unref(r.chain);
    block_stage_close(&r.stage);
    g_rand_free(r.rand);
}

static void what_four_queues_wrote_is_there_whatever_the_user_does(void)
{
    Seeds seeds = seeds_of_environment(3);
    for (uint32_t seed = seeds.from; seed < seeds.end; seed++) {
        one_life(seed, 40);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/disk-random/what-four-queues-wrote-is-there-whatever-the-user-does",
                    what_four_queues_wrote_is_there_whatever_the_user_does);
    return g_test_run();
}
