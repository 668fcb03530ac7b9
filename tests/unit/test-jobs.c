/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs and changes of image chains while a guest works on the disk from several loops at once: what
 * it reads is always what it wrote, and what jobs copied is what they promised.
 */
#include <stdlib.h>
#include <unistd.h>
#include "block/graph.h"
#include "block/image.h"
#include "block/jobs/mirror.h"
#include "tests/unit/block-load.h"
#include "tests/unit/qemu-img.h"
#include "vmm/memory/rcu.h"

#define SIZE (6 * MIB + 512)

typedef struct Stage {
    BlockLoad load;
    char *folder;
    Drive *drive;
    GString *events;
} Stage;

static Stage *present; /* whose events arrive */
static GMutex events_lock;

/* ---- Events ---- */

static void note_event(const char *event, json_object *data)
{
    json_object *status;
    g_mutex_lock(&events_lock);
    if (present && !strcmp(event, "JOB_STATUS_CHANGE") &&
        json_object_object_get_ex(data, "status", &status)) {
        g_string_append_printf(present->events, "%s ", json_object_get_string(status));
    } else if (present) {
        g_string_append_printf(present->events, "%s ", event);
    }
    g_mutex_unlock(&events_lock);
    json_object_put(data);
}

static const BlockErrorHooks hooks = { .emit = note_event };

static bool has_event(Stage *s, const char *event)
{
    g_mutex_lock(&events_lock);
    bool has = strstr(s->events->str, event) != NULL;
    g_mutex_unlock(&events_lock);
    return has;
}

/* Runs the main loop until the event has come. */
static void wait_for_event(Stage *s, const char *event)
{
    while (!has_event(s, event)) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(200);
    }
}

static void end_of_job(Stage *s, const char *events)
{
    while (job_find("job")) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(200);
    }
    g_assert_cmpstr(s->events->str, ==, events);
    g_string_truncate(s->events, 0);
}

/* ---- Images ---- */

static char *path_of(Stage *s, const char *name)
{
    return g_build_filename(s->folder, name, NULL);
}

static void make_image(Stage *s, const char *name, const char *backing)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = path_of(s, name);
    g_autofree char *size = g_strdup_printf("%d", (int)SIZE);
    g_autoptr(Opts) options = opts_new();
    opts_set(options, "size", size);
    opts_set(options, "cluster_size", "16k");
    if (backing) {
        opts_set(options, "backing_file", backing);
        opts_set(options, "backing_fmt", "qcow2");
    }
    g_assert_true(block_image_create(path, "qcow2", options, &error));
    g_assert_no_error(error);
}

static BlockNode *open_image(Stage *s, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = path_of(s, name);
    g_autoptr(Opts) options = opts_new();
    BlockOpenMode mode = { .writable = true, .no_backing = true, .discard = true };
    opts_set(options, "node-name", name);
    BlockNode *node = block_image_open(path, "qcow2", options, &mode, &error);
    g_assert_no_error(error);
    return node;
}

/* The image is sound, and holds what `expected` does. */
static void judge(Stage *s, const char *name, const uint8_t *expected)
{
    g_autofree char *path = path_of(s, name);
    qemu_img_judge(path, expected, SIZE);
}

/* ---- The stage: a drive on a.qcow2, worked on ---- */

static void stage_start(Stage *s, uint32_t seed)
{
    g_autoptr(GError) error = NULL;
    load_init(&s->load, SIZE, seed);
    s->events = g_string_new(NULL);
    present = s;
    s->folder = g_strdup("test-jobs-XXXXXX");
    g_assert_nonnull(g_mkdtemp(s->folder));
    make_image(s, "a", NULL);
    g_autofree char *path = path_of(s, "a");
    g_autofree char *text =
        g_strdup_printf("file=%s,format=qcow2,if=none,id=d0,node-name=a,discard=unmap", path);
    g_autoptr(Opts) options = opts_parse(text, NULL, &error);
    s->drive = drive_add(options, NULL, &error);
    g_assert_no_error(error);
    BlockBackend *backend = block_backend_attach("d0", "dev0", false, false, &error);
    g_assert_no_error(error);
    load_attach(&s->load, backend);
    load_work(&s->load, 200);
}

static void stage_end(Stage *s)
{
    static const char *const names[] = { "a", "b", "c" };
    block_backend_drain(s->load.backend);
    block_backend_detach(s->load.backend);
    drives_close();
    g_assert_null(block_node_find("a"));
    load_free(&s->load);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = path_of(s, names[i]);
        unlink(path);
    }
    g_assert_cmpint(rmdir(s->folder), ==, 0);
    g_free(s->folder);
    present = NULL;
    g_string_free(s->events, TRUE);
}

static void put_overlay(Stage *s, const char *name, const char *backing)
{
    g_autoptr(GError) error = NULL;
    make_image(s, name, backing);
    BlockNode *overlay = open_image(s, name);
    g_assert_true(graph_put_overlay(s->drive->node, overlay, &error));
    g_assert_no_error(error);
    block_node_unref(overlay);
    g_assert_true(s->drive->node == overlay);
}

static const JobCommon common = { .id = "job", .auto_finalize = true, .auto_dismiss = true };

/* ---- Tests ---- */

static void each_seed(void (*test)(Stage *s))
{
    const char *seeds = g_getenv("JOB_SEEDS");
    uint32_t count = seeds ? (uint32_t)atoi(seeds) : 3;
    for (uint32_t seed = 1; seed <= count; seed++) {
        Stage s = { 0 };
        stage_start(&s, seed);
        test(&s);
        stage_end(&s);
    }
}

static void overlays_once(Stage *s)
{
    load_begin(&s->load);
    put_overlay(s, "b", "a");
    g_usleep(20000);
    put_overlay(s, "c", "b");
    g_usleep(20000);
    load_end(&s->load);
    block_flush(s->drive->node);
    load_work(&s->load, 100);
}

static void an_overlay_comes_under_load(void)
{
    each_seed(overlays_once);
}

static void stream_once(Stage *s)
{
    g_autoptr(GError) error = NULL;
    put_overlay(s, "b", "a");
    load_begin(&s->load);
    g_assert_true(stream_start(s->drive->node, NULL, NULL, &common, &error));
    g_assert_no_error(error);
    end_of_job(s, "created running waiting pending BLOCK_JOB_COMPLETED concluded null ");
    g_usleep(10000);
    load_end(&s->load);
    g_assert_null(s->drive->node->backing);
    g_assert_null(block_node_find("a"));
    block_flush(s->drive->node);
}

static void a_streamed_image_stands_alone(void)
{
    each_seed(stream_once);
}

static void commit_once(Stage *s)
{
    g_autoptr(GError) error = NULL;
    put_overlay(s, "b", "a");
    load_work(&s->load, 50);
    put_overlay(s, "c", "b");
    load_begin(&s->load);
    BlockNode *active = s->drive->node;
    g_assert_true(
        commit_start(active, active->backing, active->backing->backing, NULL, &common, &error));
    g_assert_no_error(error);
    end_of_job(s, "created running waiting pending BLOCK_JOB_COMPLETED concluded null ");
    g_usleep(10000);
    load_end(&s->load);
    g_assert_cmpstr(block_node_name(s->drive->node->backing), ==, "a");
    g_assert_null(block_node_find("b"));
}

static void a_middle_image_goes_down_into_its_base(void)
{
    each_seed(commit_once);
}

static void active_commit_once(Stage *s)
{
    g_autoptr(GError) error = NULL;
    put_overlay(s, "b", "a");
    load_begin(&s->load);
    BlockNode *active = s->drive->node;
    g_assert_true(commit_start(active, active, active->backing, NULL, &common, &error));
    g_assert_no_error(error);
    wait_for_event(s, "BLOCK_JOB_READY");
    g_assert_true(job_complete(job_find("job"), &error));
    end_of_job(s, "created running ready BLOCK_JOB_READY waiting pending BLOCK_JOB_COMPLETED "
                  "concluded null ");
    g_assert_cmpstr(block_node_name(s->drive->node), ==, "a");
    g_usleep(10000);
    load_end(&s->load);
    g_assert_null(block_node_find("b"));
}

static void the_active_image_goes_down_into_its_base(void)
{
    each_seed(active_commit_once);
}

static void mirror_once(Stage *s)
{
    g_autoptr(GError) error = NULL;
    MirrorOptions options = { .common = common, .target_is_zero = true, .granularity = 65536 };
    make_image(s, "b", NULL);
    BlockNode *target = open_image(s, "b");
    load_begin(&s->load);
    g_assert_true(mirror_start(s->drive->node, target, &options, &error));
    g_assert_no_error(error);
    block_node_unref(target);
    wait_for_event(s, "BLOCK_JOB_READY");
    g_assert_true(job_complete(job_find("job"), &error));
    end_of_job(s, "created running ready BLOCK_JOB_READY waiting pending BLOCK_JOB_COMPLETED "
                  "concluded null ");
    g_assert_cmpstr(block_node_name(s->drive->node), ==, "b");
    g_assert_null(block_node_find("a"));
    g_usleep(10000);
    load_end(&s->load);
}

static void a_mirror_takes_the_disks_place_under_load(void)
{
    each_seed(mirror_once);
}

/* It is slower than the guest, and never done for a moment. */
static void busy_mirror_once(Stage *s)
{
    g_autoptr(GError) error = NULL;
    MirrorOptions options = { .common = common, .target_is_zero = true, .granularity = 4096 };
    make_image(s, "b", NULL);
    BlockNode *target = open_image(s, "b");
    g_assert_true(mirror_start(s->drive->node, target, &options, &error));
    block_node_unref(target);
    wait_for_event(s, "BLOCK_JOB_READY");
    g_assert_true(job_set_speed(job_find("job"), 256 * KIB, &error));
    load_begin(&s->load);
    g_usleep(20000);
    g_assert_true(job_complete(job_find("job"), &error));
    end_of_job(s, "created running ready BLOCK_JOB_READY waiting pending BLOCK_JOB_COMPLETED "
                  "concluded null ");
    g_assert_cmpstr(block_node_name(s->drive->node), ==, "b");
    g_usleep(10000);
    load_end(&s->load);
}

static void a_mirror_ends_while_the_guest_never_rests(void)
{
    each_seed(busy_mirror_once);
}

static void mirror_left_once(Stage *s)
{
    g_autoptr(GError) error = NULL;
    MirrorOptions options = { .common = common, .target_is_zero = true };
    g_autofree uint8_t *then = g_malloc(SIZE);
    make_image(s, "b", NULL);
    BlockNode *target = open_image(s, "b");
    load_begin(&s->load);
    g_assert_true(mirror_start(s->drive->node, target, &options, &error));
    block_node_unref(target);
    wait_for_event(s, "BLOCK_JOB_READY");
    load_end(&s->load);
    memcpy(then, s->load.model, SIZE);
    g_assert_true(job_cancel(job_find("job"), false, &error));
    end_of_job(s, "created running ready BLOCK_JOB_READY waiting pending BLOCK_JOB_COMPLETED "
                  "concluded null ");
    load_work(&s->load, 50);
    g_assert_cmpstr(block_node_name(s->drive->node), ==, "a");
    judge(s, "b", then);
}

static void a_mirror_that_is_left_is_a_copy_of_that_moment(void)
{
    each_seed(mirror_left_once);
}

static void backup_once(Stage *s)
{
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *then = g_malloc(SIZE);
    JobCommon slow = common;
    slow.speed = 40 * MIB;
    make_image(s, "b", NULL);
    BlockNode *target = open_image(s, "b");
    memcpy(then, s->load.model, SIZE);
    BackupOptions options = { .common = slow, .sync = MIRROR_FULL };
    g_assert_true(backup_start(s->drive->node, target, &options, &error));
    g_assert_no_error(error);
    block_node_unref(target);
    load_begin(&s->load);
    g_assert_true(job_pause(job_find("job"), &error));
    g_usleep(20000); /* writes go on: what they need is copied first */
    g_assert_true(job_resume(job_find("job"), &error));
    while (job_find("job")) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(200);
    }
    g_assert_true(has_event(s, "BLOCK_JOB_COMPLETED"));
    load_end(&s->load);
    judge(s, "b", then);
}

static void a_backup_is_the_disk_as_it_was(void)
{
    each_seed(backup_once);
}

static void cancelled_once(Stage *s)
{
    g_autoptr(GError) error = NULL;
    JobCommon slow = common;
    slow.speed = 1;
    put_overlay(s, "b", "a");
    load_work(&s->load, 30);
    load_begin(&s->load);
    g_assert_true(stream_start(s->drive->node, NULL, NULL, &slow, &error));
    g_usleep(5000);
    g_assert_true(job_cancel(job_find("job"), true, &error));
    end_of_job(s, "created running aborting BLOCK_JOB_CANCELLED concluded null ");
    load_end(&s->load);
    g_assert_cmpstr(block_node_name(s->drive->node->backing), ==, "a");
}

static void a_cancelled_job_changes_nothing(void)
{
    each_seed(cancelled_once);
}

#define ADD(name) g_test_add_func("/jobs/" #name, name)

int main(int argc, char **argv)
{
    rcu_thread_register();
    event_loop_main();
    block_set_error_hooks(&hooks);
    g_test_init(&argc, &argv, NULL);
    ADD(an_overlay_comes_under_load);
    ADD(a_streamed_image_stands_alone);
    ADD(a_middle_image_goes_down_into_its_base);
    ADD(the_active_image_goes_down_into_its_base);
    ADD(a_mirror_takes_the_disks_place_under_load);
    ADD(a_mirror_ends_while_the_guest_never_rests);
    ADD(a_mirror_that_is_left_is_a_copy_of_that_moment);
    ADD(a_backup_is_the_disk_as_it_was);
    ADD(a_cancelled_job_changes_nothing);
    return g_test_run();
}
