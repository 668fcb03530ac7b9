/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The power fails while a job works on qcow2 images and a guest writes to them. At any moment every
 * image opens, check finds leaks at most, the chain that the guest's disk is shows every sector
 * that a flush had covered, and a copy that was reported as done is there.
 */
#include <stdlib.h>
#include <unistd.h>
#include "block/image.h"
#include "block/jobs/mirror.h"
#include "tests/unit/crash-guest.h"
#include "tests/unit/qemu-img.h"
#include "tests/unit/seeds.h"
#include "vmm/memory/rcu.h"
#include "vmm/util/bytes.h"

#define SECTOR          POWER_SECTOR
#define BYTES           (512 * KIB)
#define SECTORS         (BYTES / SECTOR)
#define INCOMPATIBLE_AT 79 /* the lowest byte of the header's incompatible features */

static const char *const images[] = { "base", "mid", "top", "target" };
static const JobCommon common = { .id = "job", .auto_finalize = true, .auto_dismiss = true };

static char *folder;

typedef struct Case Case;

typedef struct Life {
    CrashGuest guest;
    const Case *kind;
    uint32_t seed;
    Drive *drive;
    JobCommon job;
    unsigned asked, ended; /* the job's end: it was allowed, it had come */
    uint8_t *copy;         /* what the target is to hold then; NULL: it is not looked at */
} Life;

struct Case {
    const char *name;
    bool (*start)(Life *l, GError **error);
    bool completes;    /* when it is ready */
    bool copies;       /* the target becomes the disk as it was at the start */
    bool left;         /* ... at the end: the mirror is cancelled when it is ready */
    const char *after; /* what the guest's disk is then */
};

/* ---- Images ---- */

/* Options behind those of an image that open what it stands on, as the headers say. */
static char *chain_of(const char *image)
{
    static const BlockOpenMode look = { .for_check = true, .no_backing = true };
    g_autofree char *at = g_strdup(image);
    g_autoptr(GString) prefix = g_string_new("");
    GString *text = g_string_new("");
    for (;;) {
        g_autoptr(GError) error = NULL;
        BlockNode *node = power_open(at, "qcow2", "", &look, &error);
        g_assert_no_error(error);
        g_free(at);
        at = g_strdup(block_node_backing_file(node));
        block_node_unref(node);
        if (!at) {
            return g_string_free(text, FALSE);
        }
        g_string_append(prefix, "backing.");
        g_string_append_printf(text, "%s%sdriver=qcow2,%snode-name=%s,%sfile.driver=logged",
                               text->len ? "," : "", prefix->str, prefix->str, at, prefix->str);
        g_string_append_printf(text, ",%sfile.filename=%s", prefix->str, at);
    }
}

static BlockNode *open_chain(const char *image, bool writable)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *below = chain_of(image);
    g_autofree char *more = g_strdup_printf("node-name=%s%s%s", image, *below ? "," : "", below);
    BlockOpenMode mode = { .writable = writable };
    BlockNode *node = power_open(image, "qcow2", more, &mode, &error);
    g_assert_no_error(error);
    return node;
}

static void make_image(Life *l, const char *name, const char *backing)
{
    static const char *const layouts[] = { "cluster_size=4k", "cluster_size=16k,extended_l2=on",
                                           "cluster_size=1k,refcount_bits=8", "cluster_size=64k",
                                           "cluster_size=4k,lazy_refcounts=on" };
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(folder, name, NULL), *data = NULL;
    g_autofree char *text =
        g_strdup_printf("size=%d,%s%s%s", (int)BYTES,
                        layouts[g_rand_int_range(l->guest.rand, 0, G_N_ELEMENTS(layouts))],
                        backing ? ",backing_fmt=qcow2,backing_file=" : "", backing ? backing : "");
    g_autoptr(Opts) options = opts_parse(text, NULL, &error);
    gsize length;
    g_assert_true(block_image_create(path, "qcow2", options, &error));
    g_assert_no_error(error);
    g_assert_true(g_file_get_contents(path, &data, &length, NULL));
    power_add_file(l->guest.power, name, data, length);
    unlink(path);
}

/* Something of this image's own, here and there. */
static void fill_image(Life *l, const char *name)
{
    uint8_t data[16 * SECTOR];
    BlockNode *node = open_chain(name, true);
    uint32_t value = ++l->guest.model.last_value;
    for (int i = 0; i < 20; i++) {
        uint64_t count = (uint64_t)g_rand_int_range(l->guest.rand, 1, 17);
        uint64_t first = (uint64_t)g_rand_int_range(l->guest.rand, 0, (gint32)(SECTORS - count));
        bool zeroes = g_rand_int_range(l->guest.rand, 0, 4) == 0;
        for (uint64_t k = 0; k < count; k++) {
            crash_fill(data + k * SECTOR, first + k, value);
            crash_model_learn(&l->guest.model, first + k, zeroes ? 0 : value);
        }
        g_assert_cmpint(zeroes ? block_pwrite_zeroes(node, first * SECTOR, count * SECTOR, 0)
                               : block_pwrite(node, first * SECTOR, data, count * SECTOR),
                        ==, 0);
    }
    block_node_unref(node);
}

static uint8_t *read_all(BlockNode *node)
{
    uint8_t *data = g_malloc(BYTES);
    g_assert_cmpuint(block_node_length(node), ==, BYTES);
    g_assert_cmpint(block_pread(node, 0, data, BYTES), ==, 0);
    return data;
}

/* ---- Jobs ---- */

static BlockNode *open_target(void)
{
    g_autoptr(GError) error = NULL;
    BlockOpenMode mode = { .writable = true, .discard = true };
    BlockNode *node = power_open("target", "qcow2", "node-name=target", &mode, &error);
    g_assert_no_error(error);
    return node;
}

static bool start_stream(Life *l, GError **error)
{
    return stream_start(l->drive->node, NULL, NULL, &l->job, error);
}

static bool start_stream_above_base(Life *l, GError **error)
{
    return stream_start(l->drive->node, block_node_find("base"), NULL, &l->job, error);
}

static bool start_commit(Life *l, GError **error)
{
    return commit_start(l->drive->node, block_node_find("mid"), block_node_find("base"), NULL,
                        &l->job, error);
}

static bool start_active_commit(Life *l, GError **error)
{
    return commit_start(l->drive->node, l->drive->node, block_node_find("base"), NULL, &l->job,
                        error);
}

static bool start_mirror(Life *l, GError **error)
{
    MirrorOptions options = {
        .common = l->job, .target_is_zero = true, .granularity = 4096, .write_blocking = l->seed & 1
    };
    BlockNode *target = open_target();
    bool ok = mirror_start(l->drive->node, target, &options, error);
    block_node_unref(target);
    return ok;
}

static bool start_backup(Life *l, GError **error)
{
    BlockNode *target = open_target();
    BackupOptions options = { .common = l->job, .sync = MIRROR_FULL };
    bool ok = backup_start(l->drive->node, target, &options, error);
    block_node_unref(target);
    return ok;
}

static const Case cases[] = {
    { "stream", start_stream, .after = "top" },
    { "stream-above-a-base", start_stream_above_base, .after = "top" },
    { "commit", start_commit, .after = "top" },
    { "active-commit", start_active_commit, .completes = true, .after = "base" },
    { "mirror", start_mirror, .completes = true, .after = "target" },
    { "mirror-that-is-left", start_mirror, .left = true, .after = "top" },
    { "backup", start_backup, .copies = true, .after = "top" },
};

static void wait_for_ready(void)
{
    while (job_find("job") && !job_is_ready(job_find("job"))) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(200);
    }
    g_assert_nonnull(job_find("job"));
}

static void wait_for_end(void)
{
    while (job_find("job")) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(200);
    }
}

static void run_job(Life *l)
{
    g_autoptr(GError) error = NULL;
    l->copy = l->kind->copies ? read_all(l->drive->node) : NULL;
    l->asked = power_tick(l->guest.power);
    g_assert_true(l->kind->start(l, &error));
    g_assert_no_error(error);
    crash_guest_begin(&l->guest);
    if (l->kind->completes || l->kind->left) {
        wait_for_ready();
        g_usleep(3000);
    }
    if (l->kind->left) {
        crash_guest_end(&l->guest);
        l->copy = read_all(l->drive->node);
        g_assert_true(job_cancel(job_find("job"), false, &error));
        wait_for_end();
        l->ended = power_tick(l->guest.power);
        crash_guest_begin(&l->guest);
    } else if (l->kind->completes) {
        l->asked = power_tick(l->guest.power);
        g_assert_true(job_complete(job_find("job"), &error));
    }
    wait_for_end();
    l->ended = l->ended ? l->ended : power_tick(l->guest.power);
    g_usleep(2000);
    crash_guest_end(&l->guest);
}

/* ---- Crashes ---- */

/* The first sector that cannot be what the image shows; SECTORS: there is none. */
static uint64_t find_wrong(Life *l, const char *image, unsigned when)
{
    BlockNode *node = open_chain(image, false);
    g_autofree uint8_t *data = read_all(node);
    unsigned flushed = crash_model_flushed_until(&l->guest.model, when);
    uint64_t i = 0;
    while (i < SECTORS && crash_model_allows(&l->guest.model, i, crash_value(data + i * SECTOR, i),
                                             flushed, when)) {
        i++;
    }
    block_node_unref(node);
    return i;
}

/* Where the job ends, the disk is what it was, or what it is then. */
static void check_disk(Life *l, unsigned when, const char *what)
{
    uint64_t wrong = SECTORS;
    const char *image = when < l->asked ? "top" : l->kind->after;
    if (when < l->ended) {
        wrong = find_wrong(l, "top", when);
        image = wrong < SECTORS && when >= l->asked ? image : "top";
    }
    if (when >= l->ended || (wrong < SECTORS && strcmp(image, "top") != 0)) {
        wrong = find_wrong(l, image, when);
    }
    if (wrong < SECTORS) {
        g_error("%s: sector %d of %s cannot be so", what, (int)wrong, image);
    }
}

static void check_copy(Life *l, unsigned when, const char *what)
{
    if (l->copy && when >= l->ended) {
        BlockNode *node = open_chain("target", false);
        g_autofree uint8_t *data = read_all(node);
        if (memcmp(data, l->copy, BYTES) != 0) {
            g_error("%s: the copy is not the disk", what);
        }
        block_node_unref(node);
    }
}

static void check_sound(Power *cut, const char *image, const char *what)
{
    if (power_byte(cut, image, INCOMPATIBLE_AT) & 1) { /* to be repaired by who writes to it */
        g_autoptr(GError) error = NULL;
        BlockOpenMode mode = { .writable = true, .no_backing = true };
        BlockNode *node = power_open(image, "qcow2", "", &mode, &error);
        g_assert_no_error(error);
        block_node_unref(node);
    }
    BlockCheckResult result = power_check(image, 0);
    if (result.corruptions || result.check_errors) {
        g_error("%s: %s has %d corruptions", what, image, (int)result.corruptions);
    }
}

static void check_by_qemu(Power *cut)
{
    for (size_t i = 0; i < G_N_ELEMENTS(images); i++) {
        g_autofree char *path = g_build_filename(folder, images[i], NULL);
        power_save(cut, images[i], path);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(images); i++) {
        g_autofree char *path = g_build_filename(folder, images[i], NULL);
        int code = qemu_img_check(path);
        g_assert_true(code == 0 || code == 3);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(images); i++) {
        g_autofree char *path = g_build_filename(folder, images[i], NULL);
        unlink(path);
    }
}

static void crash_at(Life *l, unsigned when, bool by_qemu)
{
    Power *cut = power_cut(l->guest.power, when, l->guest.rand);
    g_autofree char *what = g_strdup_printf("%s, seed %u: power lost at %u (the end: %u to %u)",
                                            l->kind->name, l->seed, when, l->asked, l->ended);
    power_used = cut;
    check_disk(l, when, what);
    check_copy(l, when, what);
    for (size_t i = 0; i < G_N_ELEMENTS(images); i++) {
        check_sound(cut, images[i], what);
    }
    if (by_qemu) {
        check_by_qemu(cut);
    }
    check_disk(l, when, what); /* repaired, it is the same */
    power_used = l->guest.power;
    power_free(cut);
}

/* ---- One life ---- */

static void life_start(Life *l, const Case *kind, uint32_t seed)
{
    g_autoptr(GError) error = NULL;
    *l = (Life){ .kind = kind, .seed = seed, .job = common };
    crash_guest_init(&l->guest, SECTORS, seed);
    l->job.speed = g_rand_boolean(l->guest.rand) ? 0 : 12 * MIB;
    for (size_t i = 0; i < G_N_ELEMENTS(images); i++) {
        bool apart = i == 0 || !strcmp(images[i], "target");
        make_image(l, images[i], apart ? NULL : images[i - 1]);
        if (i < 3) {
            fill_image(l, images[i]);
        }
    }
    g_autofree char *below = chain_of("top");
    g_autofree char *text =
        g_strdup_printf("file.driver=logged,file.filename=top,format=qcow2,if=none,id=d0,"
                        "node-name=top,discard=%s,%s",
                        g_rand_boolean(l->guest.rand) ? "unmap" : "ignore", below);
    g_autoptr(Opts) options = opts_parse(text, NULL, &error);
    l->drive = drive_add(options, NULL, &error);
    g_assert_no_error(error);
    crash_guest_attach(&l->guest);
}

static void one_life(const Case *kind, uint32_t seed)
{
    Life l;
    life_start(&l, kind, seed);
    unsigned began = power_tick(l.guest.power);
    crash_guest_work(&l.guest, 20);
    run_job(&l);
    crash_guest_detach(&l.guest);
    unsigned end = power_time(l.guest.power);
    for (int i = 0; i < 14; i++) {
        crash_at(&l, began + (unsigned)g_rand_int_range(l.guest.rand, 0, (gint32)(end - began) + 1),
                 i == 0);
    }
    for (int i = 0; i < 8; i++) { /* where it ends */
        unsigned span = l.ended + 20 - l.asked;
        crash_at(&l, l.asked + (unsigned)g_rand_int_range(l.guest.rand, 0, (gint32)span), i == 0);
    }
    crash_at(&l, l.ended, false);
    crash_at(&l, end, true);
    g_free(l.copy);
    crash_guest_clear(&l.guest);
}

static void a_lost_power_leaves_the_disk_and_its_copies(gconstpointer data)
{
    Seeds seeds = seeds_of_environment(1);
    for (uint32_t seed = seeds.from; seed < seeds.end; seed++) {
        one_life(data, seed);
    }
}

int main(int argc, char **argv)
{
    rcu_thread_register();
    event_loop_main();
    block_test_driver = &power_driver;
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("test-qcow2-crash-jobs-XXXXXX", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/crash/jobs/%s", cases[i].name);
        g_test_add_data_func(path, &cases[i], a_lost_power_leaves_the_disk_and_its_copies);
    }
    int ret = g_test_run();
    rmdir(folder);
    g_free(folder);
    return ret;
}
