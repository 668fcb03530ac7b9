/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block jobs over QMP, on the disk of a machine that works on it: what they copy, what chains they
 * leave behind, and the events, which are QEMU 7.2's in name, order and data.
 */
#include <string.h>
#include "tests/device/jobs-kit.h"

#define EXEC(name, arguments) "{'execute': '" name "', 'arguments': {" arguments "}}"

static void put_overlay(Stage *s, const char *name)
{
    stage_qmp(s,
              EXEC("blockdev-snapshot-sync", "'device': 'd', 'snapshot-file': '%s.qcow2', "
                                             "'snapshot-node-name': '%s', 'format': 'qcow2'"),
              name, name);
    stage_work(s, 12);
}

/* top, o1, o2, o3, each with writes of its own. */
static bool open_chain(Stage *s)
{
    if (!stage_prepare(s)) {
        return false;
    }
    stage_start(s, "");
    stage_work(s, 12);
    put_overlay(s, "o1");
    put_overlay(s, "o2");
    put_overlay(s, "o3");
    return true;
}

static void close_chain(Stage *s, const char *image, unsigned images)
{
    stage_work(s, 12);
    stage_quit(s);
    stage_judge(s, image, s->model, images);
    stage_remove(s);
}

static void expect_whole(Stage *s, const char *type, const char *device)
{
    g_autofree char *data = g_strdup_printf(
        "{\"type\":\"%s\",\"device\":\"%s\",\"len\":4194304,\"offset\":4194304,\"speed\":0}", type,
        device);
    g_assert_cmpstr(s->last->str, ==, data);
}

/* ---- Stream ---- */

static void test_stream_of_all(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_qmp(&s, EXEC("block-stream", "'device': 'd'"));
    stage_work(&s, 12);
    stage_expect(&s, "created running " EVENTS_END);
    expect_whole(&s, "stream", "d");
    close_chain(&s, "o3.qcow2", 1);
}

static void test_stream_down_to_a_base(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_qmp(&s, EXEC("block-stream", "'device': 'd', 'base-node': 'top', 'job-id': 'j'"));
    stage_work(&s, 12);
    stage_expect(&s, "created running " EVENTS_END);
    expect_whole(&s, "stream", "j");
    stage_qmp(&s, EXEC("block-stream", "'device': 'd', 'base': 'base.qcow2'"));
    stage_expect(&s, "created running " EVENTS_END);
    close_chain(&s, "o3.qcow2", 2);
}

/* Into an image in the middle, which is open for reading only. */
static void test_stream_in_the_middle(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_qmp(&s, EXEC("block-stream", "'device': 'o2', 'bottom': 'o1', 'job-id': 'j'"));
    stage_work(&s, 12);
    stage_expect(&s, "created running " EVENTS_END);
    stage_qmp(&s, EXEC("block-stream", "'device': 'o2', 'job-id': 'j'"));
    stage_expect(&s, "created running " EVENTS_END);
    stage_refused(&s, EXEC("block-stream", "'device': 'o2'"), "GenericError",
                  "the job needs a name: 'job-id' (the node has none that could serve)");
    close_chain(&s, "o3.qcow2", 2);
}

/* ---- Commit ---- */

static void test_commit_of_middle_images(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_qmp(&s, EXEC("block-commit", "'device': 'd', 'top-node': 'o2', 'base-node': 'top'"));
    stage_work(&s, 12);
    stage_expect(&s, "created running " EVENTS_END);
    expect_whole(&s, "commit", "d");
    stage_qmp(&s, EXEC("block-commit", "'device': 'd', 'top': 'top.qcow2', 'base': 'base.qcow2'"));
    stage_expect(&s, "created running " EVENTS_END);
    close_chain(&s, "o3.qcow2", 2);
}

static void test_commit_of_the_active_image(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_qmp(&s, EXEC("block-commit", "'device': 'd', 'base-node': 'o1', 'job-id': 'c'"));
    stage_work(&s, 12);
    stage_expect(&s, "created running ready BLOCK_JOB_READY");
    stage_work(&s, 12);
    stage_qmp(&s, EXEC("block-job-complete", "'device': 'c'"));
    stage_expect(&s, EVENTS_END);
    g_assert_nonnull(strstr(s.last->str, "\"type\":\"commit\",\"device\":\"c\""));
    close_chain(&s, "o1.qcow2", 3);
}

/* What was copied stays in the base, which nobody sees through what is above it. */
static void test_commit_that_is_cancelled(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_qmp(&s, EXEC("block-commit", "'device': 'd', 'job-id': 'c'"));
    stage_expect(&s, "created running ready BLOCK_JOB_READY");
    stage_qmp(&s, EXEC("job-cancel", "'id': 'c'"));
    stage_expect(&s, "aborting BLOCK_JOB_CANCELLED concluded null");
    close_chain(&s, "o3.qcow2", 5);
}

/* ---- Mirror ---- */

static void mirror_and_complete(const char *arguments, const char *target_options, unsigned images)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_shell(&s, "qemu-img create -q -f qcow2 %s t.qcow2 4M", target_options);
    stage_qmp(&s,
              EXEC("blockdev-add", "'driver': 'qcow2', 'node-name': 't', 'discard': 'unmap', "
                                   "'file': {'driver': 'file', 'filename': 't.qcow2'}%s"),
              *target_options ? ", 'backing': 'o2'" : "");
    stage_qmp(&s, EXEC("blockdev-mirror", "'device': 'd', 'target': 't', %s"), arguments);
    stage_work(&s, 20);
    stage_expect(&s, "created running ready BLOCK_JOB_READY");
    stage_work(&s, 20);
    stage_qmp(&s, EXEC("job-complete", "'id': 'd'"));
    stage_expect(&s, EVENTS_END);
    close_chain(&s, "t.qcow2", images);
}

static void test_mirror_full_takes_the_place(void)
{
    mirror_and_complete("'sync': 'full'", "", 1);
    mirror_and_complete("'sync': 'full', 'granularity': 4096, 'buf-size': 65536", "", 1);
    mirror_and_complete("'sync': 'full', 'replaces': 'o3'", "", 1);
}

static void test_mirror_top_takes_the_place(void)
{
    mirror_and_complete("'sync': 'top'", "-b o2.qcow2 -F qcow2", 5);
}

static void test_mirror_that_writes_to_both_sides(void)
{
    mirror_and_complete("'sync': 'full', 'copy-mode': 'write-blocking'", "", 1);
    mirror_and_complete("'sync': 'top', 'copy-mode': 'write-blocking', 'granularity': 512",
                        "-b o2.qcow2 -F qcow2", 5);
}

static void mirror_and_leave(const char *mode)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_add_target(&s, "t", "qcow2");
    stage_qmp(&s,
              EXEC("blockdev-mirror", "'device': 'd', 'target': 't', 'sync': 'full', "
                                      "'job-id': 'm', 'copy-mode': '%s'"),
              mode);
    stage_work(&s, 20);
    stage_expect(&s, "created running ready BLOCK_JOB_READY");
    stage_work(&s, 20);
    g_autofree uint8_t *then = stage_copy_model(&s);
    stage_qmp(&s, EXEC("block-job-cancel", "'device': 'm'"));
    stage_expect(&s, EVENTS_END);
    stage_qmp(&s, EXEC("blockdev-del", "'node-name': 't'"));
    stage_work(&s, 12);
    stage_judge(&s, "t.qcow2", then, 1);
    close_chain(&s, "o3.qcow2", 5);
}

static void test_mirror_that_is_left_is_a_copy(void)
{
    mirror_and_leave("background");
    mirror_and_leave("write-blocking");
}

static void test_mirror_of_what_changes_only(void)
{
    Stage s;
    if (!stage_prepare(&s)) {
        return;
    }
    stage_start(&s, "");
    stage_add_target(&s, "t", "raw");
    stage_qmp(&s, EXEC("blockdev-mirror", "'device': 'd', 'target': 't', 'sync': 'none', "
                                          "'granularity': 65536"));
    stage_expect(&s, "created running ready BLOCK_JOB_READY");
    g_assert_cmphex(stage_write(&s, 0, 0x11), ==, 0);
    stage_qmp(&s, EXEC("block-job-cancel", "'device': 'd'"));
    stage_expect(&s, EVENTS_END);
    stage_quit(&s);
    memset(s.model + STAGE_PART, 0, STAGE_BYTES - STAGE_PART);
    stage_judge(&s, "t.raw", s.model, 1);
    stage_remove(&s);
}

static void drive_mirror(const char *arguments, const char *image, unsigned images)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_shell(&s, "qemu-img create -q -f raw there.raw 4M");
    stage_qmp(&s, EXEC("drive-mirror", "'device': 'd', 'target': '%s', %s"), image, arguments);
    stage_work(&s, 20);
    stage_expect(&s, "created running ready BLOCK_JOB_READY");
    stage_work(&s, 12);
    stage_qmp(&s, EXEC("job-complete", "'id': 'd'"));
    stage_expect(&s, EVENTS_END);
    close_chain(&s, image, images);
}

static void test_drive_mirror_makes_its_target(void)
{
    drive_mirror("'sync': 'full', 'node-name': 'new'", "t.qcow2", 1);
    drive_mirror("'sync': 'full', 'format': 'raw', 'unmap': false", "t.raw", 1);
    drive_mirror("'sync': 'top'", "t.qcow2", 5);
    drive_mirror("'sync': 'none'", "t.qcow2", 6);
    drive_mirror("'sync': 'full', 'mode': 'existing', 'format': 'raw'", "there.raw", 1);
}

/* ---- Backup ---- */

static void backup(const char *command, const char *arguments, const char *image, unsigned images)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_shell(&s, "qemu-img create -q -f raw there.raw 4M");
    stage_add_target(&s, "t", "qcow2");
    g_autofree uint8_t *then = stage_copy_model(&s);
    stage_qmp(&s,
              "{'execute': '%s', 'arguments': {'device': 'd', 'job-id': 'b', "
              "'speed': 1048576, %s}}",
              command, arguments);
    stage_work(&s, 30); /* what it overwrites is copied first */
    stage_qmp(&s, EXEC("block-job-set-speed", "'device': 'b', 'speed': 0"));
    stage_work(&s, 12);
    stage_expect(&s, "created running " EVENTS_END);
    expect_whole(&s, "backup", "b");
    stage_work(&s, 12);
    stage_quit(&s);
    stage_judge(&s, image, then, images);
    stage_judge(&s, "o3.qcow2", s.model, 5);
    stage_remove(&s);
}

static void test_backup_is_the_disk_as_it_was(void)
{
    backup("blockdev-backup", "'target': 't', 'sync': 'full'", "t.qcow2", 1);
    backup("drive-backup", "'target': 'n.qcow2', 'sync': 'full'", "n.qcow2", 1);
    backup("drive-backup", "'target': 'n.qcow2', 'sync': 'top'", "n.qcow2", 5);
    backup("drive-backup",
           "'target': 'there.raw', 'sync': 'full', 'mode': 'existing', "
           "'format': 'raw'",
           "there.raw", 1);
}

/* Only what is overwritten is copied; the rest is the source's file. */
static void test_backup_of_what_is_overwritten(void)
{
    Stage s;
    if (!stage_prepare(&s)) {
        return;
    }
    stage_start(&s, "");
    g_autofree uint8_t *then = stage_copy_model(&s);
    stage_qmp(&s, EXEC("drive-backup", "'device': 'd', 'target': 'n.qcow2', 'sync': 'none'"));
    stage_work(&s, 30);
    stage_qmp(&s, EXEC("job-pause", "'id': 'd'"));
    stage_expect(&s, "created running paused");
    stage_work(&s, 12);
    stage_qmp(&s, EXEC("job-resume", "'id': 'd'"));
    stage_qmp(&s, EXEC("job-cancel", "'id': 'd'"));
    stage_expect(&s, "running aborting BLOCK_JOB_CANCELLED concluded null");
    stage_quit(&s);
    stage_judge(&s, "n.qcow2", then, 3);
    stage_remove(&s);
}

/* ---- Snapshots inside ---- */

static void test_snapshots_inside_the_image(void)
{
    Stage s;
    if (!stage_prepare(&s)) {
        return;
    }
    stage_start(&s, "");
    stage_work(&s, 20);
    g_autofree uint8_t *then = stage_copy_model(&s);
    stage_qmp(&s, EXEC("blockdev-snapshot-internal-sync", "'device': 'd', 'name': 'x'"));
    stage_refused(&s, EXEC("blockdev-snapshot-internal-sync", "'device': 'd', 'name': 'x'"),
                  "GenericError", "there is a snapshot 'x' on 'd' already: give another name");
    stage_refused(&s, EXEC("blockdev-snapshot-internal-sync", "'device': 'd', 'name': ''"),
                  "GenericError", "Name is empty");
    stage_work(&s, 20);
    stage_qmp(&s, EXEC("blockdev-snapshot-internal-sync", "'device': 'd', 'name': 'y'"));
    stage_refused(&s, EXEC("blockdev-snapshot-delete-internal-sync", "'device': 'd'"),
                  "GenericError", "say which snapshot: 'id', 'name' or both");
    stage_refused(&s, EXEC("blockdev-snapshot-delete-internal-sync", "'device': 'd', 'id': '7'"),
                  "GenericError", "no snapshot has the id '7' and the name 'null' on 'd'");
    json_object *gone = qtest_qmp_ok(
        s.qts, EXEC("blockdev-snapshot-delete-internal-sync", "'device': 'd', 'name': 'y'"));
    g_assert_cmpstr(json_text(gone, "id"), ==, "2");
    json_object_put(gone);
    stage_work(&s, 20);
    stage_quit(&s);
    stage_judge(&s, "top.qcow2", s.model, 2);
    stage_shell(&s, "test $(qemu-img snapshot -l top.qcow2 | grep -c ' [xy] ') = 1 && "
                    "qemu-img snapshot -a x top.qcow2");
    stage_judge(&s, "top.qcow2", then, 2);
    stage_remove(&s);
}

/* ---- Steering ---- */

static void expect_job(Stage *s, const char *path, const char *value)
{
    json_object *list = qtest_qmp_ok(s->qts, "{'execute': 'query-block-jobs'}");
    g_assert_cmpuint(json_object_array_length(list), ==, 1);
    g_assert_cmpstr(json_text(json_object_array_get_idx(list, 0), path), ==, value);
    json_object_put(list);
}

static void test_finalize_and_dismiss_by_hand(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_qmp(&s, EXEC("block-stream", "'device': 'd', 'job-id': 'j', 'auto-finalize': false, "
                                       "'auto-dismiss': false"));
    stage_expect(&s, "created running waiting pending BLOCK_JOB_PENDING");
    g_assert_cmpstr(s.last->str, ==, "{\"type\":\"stream\",\"id\":\"j\"}");
    stage_work(&s, 12);
    stage_refused(
        &s, EXEC("job-dismiss", "'id': 'j'"), "GenericError",
        "job 'j' is pending, where 'dismiss' is not possible (query-jobs tells how far it is)");
    stage_qmp(&s, EXEC("job-finalize", "'id': 'j'"));
    stage_expect(&s, "BLOCK_JOB_COMPLETED concluded");
    json_object *jobs = qtest_qmp_ok(s.qts, "{'execute': 'query-jobs'}");
    g_assert_cmpstr(json_object_to_json_string_ext(jobs, JSON_C_TO_STRING_PLAIN), ==,
                    "[{\"id\":\"j\",\"type\":\"stream\",\"status\":\"concluded\","
                    "\"current-progress\":4194304,\"total-progress\":4194304}]");
    json_object_put(jobs);
    /* The node is free, though the job is remembered. */
    stage_qmp(&s, EXEC("block-stream", "'device': 'd', 'job-id': 'k'"));
    stage_expect(&s, "created running " EVENTS_END);
    stage_qmp(&s, EXEC("job-dismiss", "'id': 'j'"));
    stage_expect(&s, "null");
    close_chain(&s, "o3.qcow2", 1);
}

static void test_a_pending_job_is_cancelled(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_qmp(&s, EXEC("block-stream", "'device': 'd', 'auto-finalize': false"));
    stage_expect(&s, "created running waiting pending BLOCK_JOB_PENDING");
    stage_qmp(&s, EXEC("job-cancel", "'id': 'd'"));
    stage_expect(&s, "aborting BLOCK_JOB_CANCELLED concluded null");
    close_chain(&s, "o3.qcow2", 5);
}

static void test_pause_resume_and_speed(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_qmp(&s, EXEC("block-stream", "'device': 'd', 'speed': 1"));
    stage_expect(&s, "created running");
    expect_job(&s, "speed", "1");
    expect_job(&s, "status", "running");
    stage_qmp(&s, EXEC("job-pause", "'id': 'd'"));
    stage_expect(&s, "paused");
    expect_job(&s, "paused", "true");
    stage_refused(&s, EXEC("job-pause", "'id': 'd'"), "GenericError",
                  "the job is paused already, by the user");
    stage_refused(&s, EXEC("block-job-cancel", "'device': 'd'"), "GenericError",
                  "job 'd' is paused: resume it first, so that it can be completed");
    stage_refused(
        &s, EXEC("job-complete", "'id': 'd'"), "GenericError",
        "job 'd' is paused, where 'complete' is not possible (query-jobs tells how far it is)");
    stage_work(&s, 12);
    stage_qmp(&s, EXEC("block-job-resume", "'device': 'd'"));
    stage_expect(&s, "running");
    stage_refused(&s, EXEC("block-job-set-speed", "'device': 'd', 'speed': -1"), "GenericError",
                  "'speed' is negative: 0 is no limit");
    stage_qmp(&s, EXEC("block-job-set-speed", "'device': 'd', 'speed': 0"));
    stage_expect(&s, EVENTS_END);
    close_chain(&s, "o3.qcow2", 1);
}

/* Block jobs have names of their own for what all jobs have. */
static void test_block_jobs_are_steered_by_their_own_commands(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_refused(&s, EXEC("block-job-pause", "'device': 'j'"), "DeviceNotActive",
                  "there is no block job 'j' (query-block-jobs lists them)");
    stage_qmp(&s, EXEC("block-stream", "'device': 'd', 'job-id': 'j', 'speed': 1, "
                                       "'auto-finalize': false, 'auto-dismiss': false"));
    stage_expect(&s, "created running");
    stage_qmp(&s, EXEC("block-job-pause", "'device': 'j'"));
    stage_expect(&s, "paused");
    expect_job(&s, "paused", "true");
    stage_refused(
        &s, EXEC("block-job-finalize", "'id': 'j'"), "GenericError",
        "job 'j' is paused, where 'finalize' is not possible (query-jobs tells how far it is)");
    stage_qmp(&s, EXEC("block-job-resume", "'device': 'j'"));
    stage_qmp(&s, EXEC("block-job-set-speed", "'device': 'j', 'speed': 0"));
    stage_expect(&s, "running waiting pending BLOCK_JOB_PENDING");
    stage_refused(
        &s, EXEC("block-job-dismiss", "'id': 'j'"), "GenericError",
        "job 'j' is pending, where 'dismiss' is not possible (query-jobs tells how far it is)");
    stage_qmp(&s, EXEC("block-job-finalize", "'id': 'j'"));
    stage_expect(&s, "BLOCK_JOB_COMPLETED concluded");
    expect_job(&s, "status", "concluded");
    stage_qmp(&s, EXEC("block-job-dismiss", "'id': 'j'"));
    stage_expect(&s, "null");
    stage_refused(&s, EXEC("block-job-dismiss", "'id': 'j'"), "DeviceNotActive",
                  "there is no block job 'j' (query-block-jobs lists them)");
    close_chain(&s, "o3.qcow2", 1);
}

/* A paused mirror that is ready stands by, and completes when it goes on. */
static void test_a_ready_job_stands_by(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_qmp(&s, EXEC("block-commit", "'device': 'd', 'base-node': 'o2'"));
    stage_expect(&s, "created running ready BLOCK_JOB_READY");
    stage_qmp(&s, EXEC("job-pause", "'id': 'd'"));
    stage_expect(&s, "standby");
    stage_work(&s, 12);
    stage_qmp(&s, EXEC("job-complete", "'id': 'd'"));
    stage_qmp(&s, EXEC("job-resume", "'id': 'd'"));
    stage_expect(&s, "ready " EVENTS_END);
    close_chain(&s, "o2.qcow2", 4);
}

/* ---- Chains ---- */

static void test_a_node_is_put_over_another(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_shell(&s, "qemu-img create -q -f qcow2 -b o3.qcow2 -F qcow2 o4.qcow2");
    stage_qmp(&s, EXEC("blockdev-add", "'driver': 'qcow2', 'node-name': 'o4', 'backing': null, "
                                       "'file': {'driver': 'file', 'filename': 'o4.qcow2'}"));
    stage_qmp(&s, EXEC("blockdev-snapshot", "'node': 'o3', 'overlay': 'o4'"));
    g_autofree uint8_t *then = stage_copy_model(&s);
    stage_work(&s, 12);
    stage_quit(&s);
    stage_judge(&s, "o4.qcow2", s.model, 6);
    stage_judge(&s, "o3.qcow2", then, 5);
    stage_remove(&s);
}

/* The header changes, of images open for reading only too; the chain in use stays as it is. */
static void test_an_image_names_another_file(void)
{
    Stage s;
    if (!open_chain(&s)) {
        return;
    }
    stage_shell(&s, "ln -s o2.qcow2 below && ln -s o1.qcow2 lower");
    stage_qmp(&s, EXEC("change-backing-file",
                       "'device': 'd', 'image-node-name': 'o3', 'backing-file': 'below'"));
    stage_qmp(&s, EXEC("change-backing-file",
                       "'device': 'd', 'image-node-name': 'o2', 'backing-file': 'lower'"));
    stage_refused(&s,
                  EXEC("change-backing-file",
                       "'device': 'd', 'image-node-name': 'nobody', 'backing-file': 'x'"),
                  "GenericError", "there is no drive 'nobody' and no node 'nobody'");
    stage_refused(
        &s,
        EXEC("change-backing-file", "'device': 'o1', 'image-node-name': 'o3', 'backing-file': 'x'"),
        "GenericError", "node 'o3' has no backing image in the chain of 'o1'");
    stage_work(&s, 12);
    stage_quit(&s);
    stage_shell(&s, "qemu-img info o3.qcow2 | grep -q '^backing file: below' && "
                    "qemu-img info o2.qcow2 | grep -q '^backing file: lower' && "
                    "qemu-img info o2.qcow2 | grep -q '^backing file format: qcow2$'");
    stage_judge(&s, "o3.qcow2", s.model, 5);
    stage_remove(&s);
}

#define ADD(name) g_test_add_func("/block-jobs/" #name, test_##name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(stream_of_all);
    ADD(stream_down_to_a_base);
    ADD(stream_in_the_middle);
    ADD(commit_of_middle_images);
    ADD(commit_of_the_active_image);
    ADD(commit_that_is_cancelled);
    ADD(mirror_full_takes_the_place);
    ADD(mirror_top_takes_the_place);
    ADD(mirror_that_writes_to_both_sides);
    ADD(mirror_that_is_left_is_a_copy);
    ADD(mirror_of_what_changes_only);
    ADD(drive_mirror_makes_its_target);
    ADD(backup_is_the_disk_as_it_was);
    ADD(backup_of_what_is_overwritten);
    ADD(snapshots_inside_the_image);
    ADD(finalize_and_dismiss_by_hand);
    ADD(a_pending_job_is_cancelled);
    ADD(pause_resume_and_speed);
    ADD(block_jobs_are_steered_by_their_own_commands);
    ADD(a_ready_job_stands_by);
    ADD(a_node_is_put_over_another);
    ADD(an_image_names_another_file);
    return g_test_run();
}
