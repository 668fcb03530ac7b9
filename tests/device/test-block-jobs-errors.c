/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block jobs that cannot do what they are asked, and those whose requests fail: refusals in QEMU
 * 7.2's words, the error policies, and the end of the machine or of its disk while a job runs.
 */
#include <signal.h>
#include <string.h>
#include "tests/device/jobs-kit.h"

#define EXEC(name, arguments) "{'execute': '" name "', 'arguments': {" arguments "}}"

static bool open_stage(Stage *s)
{
    if (!stage_prepare(s)) {
        return false;
    }
    stage_start(s, "");
    stage_work(s, 8);
    return true;
}

/* ---- Refusals ---- */

static void test_names_that_are_not_there(void)
{
    Stage s;
    if (!open_stage(&s)) {
        return;
    }
    const struct {
        const char *command, *class, *text;
    } cases[] = {
        { EXEC("block-stream", "'device': 'x'"), "GenericError",
          "there is no drive 'x' and no node 'x'" },
        { EXEC("block-stream", "'device': 'd', 'base': 'x'"), "GenericError",
          "no image below the disk has the file name 'x'" },
        { EXEC("block-stream", "'device': 'd', 'base-node': 'x'"), "GenericError",
          "there is no node 'x' (query-named-block-nodes lists them)" },
        { EXEC("block-stream", "'device': 'd', 'base-node': 'top'"), "GenericError",
          "node 'top' does not lie below 'd': there is nothing to stop at" },
        { EXEC("block-stream", "'device': 'd', 'job-id': '9'"), "GenericError",
          "'job-id' 9: it begins with a letter; letters, digits, '-', '.' and '_' follow" },
        { EXEC("block-commit", "'device': 'x'"), "DeviceNotFound",
          "there is no drive and no device 'x' (query-block lists them)" },
        { EXEC("block-commit", "'device': 'd', 'top': 'x'"), "GenericError",
          "'top': no image of the disk has the file name 'x'" },
        { EXEC("block-commit", "'device': 'd', 'top-node': 'top', 'base-node': 'top'"),
          "GenericError", "'base' and 'top' are the same image: nothing could be committed" },
        { EXEC("block-commit", "'device': 'd', 'speed': -1"), "GenericError",
          "'speed' is negative: 0 is no limit" },
        { EXEC("blockdev-mirror", "'device': 'd', 'target': 'x', 'sync': 'full'"), "GenericError",
          "there is no drive 'x' and no node 'x'" },
        { EXEC("drive-mirror", "'device': 'd', 'target': 'no/x.qcow2', 'sync': 'full'"),
          "GenericError", "Could not create 'no/x.qcow2': No such file or directory" },
        { EXEC("blockdev-snapshot", "'node': 'd', 'overlay': 'x'"), "GenericError",
          "there is no drive 'x' and no node 'x'" },
        { EXEC("blockdev-snapshot", "'node': 'd', 'overlay': 'd'"), "GenericError",
          "a device, a job or another node uses the overlay: it must be free to become the top of "
          "the disk" },
        { EXEC("job-cancel", "'id': 'x'"), "GenericError",
          "there is no job 'x' (query-jobs lists them)" },
        { EXEC("block-job-cancel", "'device': 'x'"), "DeviceNotActive",
          "there is no block job 'x' (query-block-jobs lists them)" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        stage_refused(&s, cases[i].command, cases[i].class, cases[i].text);
    }
    stage_work(&s, 8);
    stage_quit(&s);
    stage_judge(&s, "top.qcow2", s.model, 2);
    stage_remove(&s);
}

static void add_node(Stage *s, const char *name, const char *size, bool readonly)
{
    stage_shell(s, "qemu-img create -q -f qcow2 %s.qcow2 %s", name, size);
    stage_qmp(s,
              EXEC("blockdev-add", "'driver': 'qcow2', 'node-name': '%s', 'read-only': %s, "
                                   "'file': {'driver': 'file', 'filename': '%s.qcow2'}"),
              name, readonly ? "true" : "false", name);
}

static void test_targets_that_do_not_fit(void)
{
    Stage s;
    if (!open_stage(&s)) {
        return;
    }
    add_node(&s, "small", "2M", false);
    add_node(&s, "large", "8M", false);
    add_node(&s, "ro", "4M", true);
    add_node(&s, "t", "4M", false);
    static const char sizes[] =
        "source and target are not of the same size: make the target as large as the disk";
    static const char *const names[] = { "small", "large" };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *command = g_strdup_printf(
            EXEC("blockdev-backup", "'device': 'd', 'target': '%s', 'sync': 'full'"), names[i]);
        stage_refused(&s, command, "GenericError", sizes);
        stage_qmp(&s, EXEC("blockdev-mirror", "'device': 'd', 'target': '%s', 'sync': 'full'"),
                  names[i]);
        stage_expect(&s, "created running aborting BLOCK_JOB_COMPLETED concluded null");
        g_assert_nonnull(strstr(s.last->str, sizes));
    }
    stage_refused(&s, EXEC("blockdev-mirror", "'device': 'd', 'target': 'ro', 'sync': 'full'"),
                  "GenericError", "the target was opened read-only: a mirror is written to");
    stage_refused(&s, EXEC("blockdev-mirror", "'device': 'd', 'target': 'top', 'sync': 'full'"),
                  "GenericError", "the target is the disk itself: a mirror needs another node");
    static const char range[] = "'granularity' lies between 512 bytes and 64 MiB";
    stage_refused(&s,
                  EXEC("blockdev-mirror",
                       "'device': 'd', 'target': 't', 'sync': 'full', 'granularity': 1000"),
                  "GenericError", "'granularity' has to be a power of two");
    stage_refused(
        &s,
        EXEC("blockdev-mirror", "'device': 'd', 'target': 't', 'sync': 'full', 'granularity': 256"),
        "GenericError", range);
    stage_refused(
        &s, EXEC("blockdev-mirror", "'device': 'd', 'target': 't', 'sync': 'full', 'buf-size': -1"),
        "GenericError", "'buf-size' is negative");
    stage_refused(&s,
                  EXEC("blockdev-mirror",
                       "'device': 'd', 'target': 't', 'sync': 'full', 'replaces': 'large'"),
                  "GenericError",
                  "'large' cannot give its place to a copy of 'top': something between the two "
                  "changes what is read");
    stage_end(&s);
}

/* While a job has a node, nothing else changes it; afterwards everything may. */
static void test_nodes_that_are_busy(void)
{
    Stage s;
    if (!open_stage(&s)) {
        return;
    }
    static const char busy[] =
        "node 'd' is busy: a job (mirror) works with it; cancel it, or wait for its end";
    add_node(&s, "t", "4M", false);
    add_node(&s, "u", "4M", false);
    stage_qmp(&s, EXEC("blockdev-mirror", "'device': 'd', 'target': 't', 'sync': 'none', "
                                          "'job-id': 'm'"));
    stage_expect(&s, "created running ready BLOCK_JOB_READY");
    stage_refused(&s, EXEC("blockdev-backup", "'device': 'd', 'target': 'u', 'sync': 'full'"),
                  "GenericError", busy);
    stage_refused(&s, EXEC("block-stream", "'device': 'd'"), "GenericError", busy);
    stage_refused(&s, EXEC("block-commit", "'device': 'd'"), "GenericError", busy);
    stage_refused(&s, EXEC("blockdev-snapshot", "'node': 'top', 'overlay': 'u'"), "GenericError",
                  busy);
    stage_refused(&s, EXEC("blockdev-snapshot-sync", "'device': 'd', 'snapshot-file': 'o.qcow2'"),
                  "GenericError", busy);
    stage_refused(&s,
                  EXEC("blockdev-snapshot-sync", "'device': 'u', 'snapshot-file': 'o.qcow2', "
                                                 "'snapshot-node-name': 't'"),
                  "GenericError", "snapshot-node-name: there is a node 't' already");
    stage_shell(&s, "test ! -e o.qcow2");
    stage_refused(&s, EXEC("blockdev-snapshot-internal-sync", "'device': 'd', 'name': 'x'"),
                  "GenericError", busy);
    stage_refused(&s, EXEC("block_resize", "'device': 'd', 'size': 8388608"), "GenericError",
                  "Device 'd' is in use");
    g_free(qtest_qmp_error(s.qts, EXEC("blockdev-del", "'node-name': 't'")));
    stage_refused(&s,
                  EXEC("blockdev-mirror", "'device': 'u', 'target': 't', 'sync': 'full', "
                                          "'job-id': 'n'"),
                  "GenericError",
                  "node 't' is busy: a job (mirror) works with it; cancel it, or wait for its end");
    stage_refused(&s, EXEC("block-stream", "'device': 't', 'job-id': 'm'"), "GenericError",
                  "there is a job 'm' already: give another 'job-id'");
    stage_work(&s, 8);
    stage_qmp(&s, EXEC("job-cancel", "'id': 'm'"));
    /* What was refused above left nothing behind, but for jobs that were made and went. */
    json_object_put(qtest_event(s.qts, "BLOCK_JOB_CANCELLED"));
    stage_expect(&s, "concluded null");
    stage_qmp(&s, EXEC("blockdev-del", "'node-name': 't'"));
    stage_qmp(&s, EXEC("block_resize", "'device': 'd', 'size': 8388608"));
    stage_end(&s);
}

/* ---- Error policies ---- */

static void expect_io_status(Stage *s, const char *value)
{
    json_object *list = qtest_qmp_ok(s->qts, "{'execute': 'query-block-jobs'}");
    g_assert_cmpstr(json_text(json_object_array_get_idx(list, 0), "io-status"), ==, value);
    json_object_put(list);
}

/* A target whose writes fail by the rule. */
static void add_failing(Stage *s, const char *rule)
{
    stage_shell(s, "qemu-img create -q -f qcow2 t.qcow2 4M");
    stage_qmp(s, EXEC("blockdev-add", "'driver': 'qcow2', 'node-name': 'i', 'file': {'driver': "
                                      "'file', 'filename': 't.qcow2'}"));
    stage_qmp(s,
              EXEC("blockdev-add", "'driver': 'blkdebug', 'node-name': 't', 'image': 'i', "
                                   "'inject-error': [{%s}]"),
              rule);
}

#define ONE_WRITE   "'event': 'none', 'iotype': 'write', 'once': true"
#define EVERY_WRITE "'event': 'none', 'iotype': 'write'"
#define ERROR_DATA(operation, action)                                                              \
    "{\"device\":\"j\",\"operation\":\"" operation "\",\"action\":\"" action "\"}"

static void copy_until_error(Stage *s, const char *command, const char *rule, const char *policy)
{
    add_failing(s, rule);
    stage_qmp(s,
              "{'execute': '%s', 'arguments': {'device': 'd', 'job-id': 'j', 'target': 't', "
              "'sync': 'full', 'on-target-error': '%s'}}",
              command, policy);
    stage_expect(s, "created running BLOCK_JOB_ERROR");
}

static void test_report_ends_the_job(void)
{
    static const char *const commands[] = { "blockdev-mirror", "blockdev-backup" };
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        Stage s;
        if (!open_stage(&s)) {
            return;
        }
        copy_until_error(&s, commands[i], ONE_WRITE, "report");
        g_assert_cmpstr(s.last->str, ==, ERROR_DATA("write", "report"));
        stage_expect(&s, "aborting BLOCK_JOB_COMPLETED concluded null");
        g_assert_nonnull(strstr(s.last->str, "\"error\":\"Input/output error\""));
        stage_work(&s, 8);
        stage_end(&s);
    }
}

static void finish_copy(Stage *s, bool mirror)
{
    g_autofree uint8_t *then = stage_copy_model(s);
    if (mirror) {
        stage_expect(s, "ready BLOCK_JOB_READY");
        stage_qmp(s, EXEC("block-job-cancel", "'device': 'j'"));
    }
    stage_expect(s, EVENTS_END);
    stage_work(s, 8);
    stage_quit(s);
    stage_judge(s, "t.qcow2", then, 1);
    stage_remove(s);
}

static void stop_and_resume(const char *command, const char *rule, const char *policy,
                            const char *io_status)
{
    Stage s;
    if (!open_stage(&s)) {
        return;
    }
    copy_until_error(&s, command, rule, policy);
    g_assert_cmpstr(s.last->str, ==, ERROR_DATA("write", "stop"));
    stage_expect(&s, "paused");
    expect_io_status(&s, io_status);
    stage_qmp(&s, EXEC("job-resume", "'id': 'j'"));
    stage_expect(&s, "running");
    finish_copy(&s, !strcmp(command, "blockdev-mirror"));
}

static void test_stop_waits_for_the_user(void)
{
    stop_and_resume("blockdev-mirror", ONE_WRITE, "stop", "failed");
    stop_and_resume("blockdev-backup", ONE_WRITE, "stop", "failed");
    stop_and_resume("blockdev-mirror", ONE_WRITE ", 'errno': 28", "enospc", "nospace");
    stop_and_resume("blockdev-backup", ONE_WRITE ", 'errno': 28", "enospc", "nospace");
}

static void test_enospc_reports_other_errors(void)
{
    Stage s;
    if (!open_stage(&s)) {
        return;
    }
    copy_until_error(&s, "blockdev-mirror", ONE_WRITE, "enospc");
    g_assert_cmpstr(s.last->str, ==, ERROR_DATA("write", "report"));
    stage_expect(&s, "aborting BLOCK_JOB_COMPLETED concluded null");
    stage_end(&s);
}

static void test_ignore_tries_again(void)
{
    static const char *const commands[] = { "blockdev-mirror", "blockdev-backup" };
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        Stage s;
        if (!open_stage(&s)) {
            return;
        }
        copy_until_error(&s, commands[i], ONE_WRITE, "ignore");
        g_assert_cmpstr(s.last->str, ==, ERROR_DATA("write", "ignore"));
        finish_copy(&s, i == 0);
    }
}

/* A stopped job is cancelled, and the machine works on. */
static void test_a_stopped_job_is_cancelled(void)
{
    Stage s;
    if (!open_stage(&s)) {
        return;
    }
    copy_until_error(&s, "blockdev-mirror", EVERY_WRITE, "stop");
    stage_work(&s, 8);
    stage_qmp(&s, EXEC("job-cancel", "'id': 'j'"));
    json_object_put(qtest_event(s.qts, "BLOCK_JOB_CANCELLED"));
    stage_expect(&s, "concluded null");
    stage_end(&s);
}

/* A write of the guest's never waits for a backup whose target fails: the backup ends instead. */
static void test_a_failing_backup_lets_the_guest_write(void)
{
    Stage s;
    if (!open_stage(&s)) {
        return;
    }
    add_failing(&s, EVERY_WRITE);
    stage_qmp(&s, EXEC("blockdev-backup", "'device': 'd', 'job-id': 'j', 'target': 't', "
                                          "'sync': 'none', 'on-target-error': 'stop'"));
    stage_expect(&s, "created running");
    g_assert_cmphex(stage_write(&s, STAGE_BYTES / 2, 0x77), ==, 0);
    stage_expect(&s, "BLOCK_JOB_ERROR aborting BLOCK_JOB_COMPLETED concluded null");
    stage_work(&s, 8);
    stage_quit(&s);
    stage_judge(&s, "top.qcow2", s.model, 2);
    stage_remove(&s);
}

/* A mirror that writes to both sides: the guest's write succeeds, the target catches up. */
static void test_a_failed_second_write_is_caught_up(void)
{
    Stage s;
    if (!open_stage(&s)) {
        return;
    }
    add_failing(&s, "'event': 'none', 'iotype': 'write', 'once': true, 'sector': 1");
    stage_qmp(&s, EXEC("blockdev-mirror", "'device': 'd', 'job-id': 'j', 'target': 't', 'sync': "
                                          "'none', 'copy-mode': 'write-blocking', "
                                          "'on-target-error': 'ignore'"));
    stage_expect(&s, "created running ready BLOCK_JOB_READY");
    g_assert_cmphex(stage_write(&s, 0, 0x66), ==, 0);
    stage_expect(&s, "BLOCK_JOB_ERROR");
    g_assert_cmpstr(s.last->str, ==, ERROR_DATA("write", "ignore"));
    stage_qmp(&s, EXEC("block-job-cancel", "'device': 'j'"));
    stage_expect(&s, EVENTS_END);
    stage_quit(&s);
    memset(s.model + STAGE_PART, 0, STAGE_BYTES - STAGE_PART);
    stage_judge(&s, "t.qcow2", s.model, 1);
    stage_remove(&s);
}

/* Reads that fail below the disk's image: stream and commit, and the source of a mirror. */
static bool open_failing_base(Stage *s)
{
    if (!stage_prepare(s)) {
        return false;
    }
    stage_start_with(s,
                     "-blockdev driver=qcow2,node-name=base,read-only=on,file.driver=file,"
                     "file.filename=base.qcow2 "
                     "-blockdev driver=blkdebug,node-name=bad,read-only=on,image=base,"
                     "inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.once=on "
                     "-blockdev driver=qcow2,node-name=top,backing=bad,file.driver=file,"
                     "file.filename=top.qcow2 "
                     "-device virtio-blk-pci,id=v,drive=top");
    return true;
}

static void test_stream_meets_a_bad_sector(void)
{
    static const char *const policies[] = { "report", "ignore", "stop" };
    for (size_t i = 0; i < G_N_ELEMENTS(policies); i++) {
        Stage s;
        if (!open_failing_base(&s)) {
            return;
        }
        stage_qmp(&s, EXEC("block-stream", "'device': 'top', 'job-id': 'j', 'on-error': '%s'"),
                  policies[i]);
        stage_expect(&s, "created running BLOCK_JOB_ERROR");
        g_assert_nonnull(strstr(s.last->str, policies[i]));
        if (i == 2) {
            stage_expect(&s, "paused");
            stage_qmp(&s, EXEC("job-resume", "'id': 'j'"));
            stage_expect(&s, "running " EVENTS_END);
        } else {
            stage_expect(&s, "aborting BLOCK_JOB_COMPLETED concluded null");
            g_assert_nonnull(strstr(s.last->str, "Input/output error"));
        }
        stage_work(&s, 12);
        stage_quit(&s);
        stage_judge(&s, "top.qcow2", s.model, i == 2 ? 1 : 2);
        stage_remove(&s);
    }
}

/* What a filter hides is seen through it: nothing of the base below it is taken for zeroes. */
static void test_mirror_of_a_source_that_fails_once(void)
{
    Stage s;
    if (!open_failing_base(&s)) {
        return;
    }
    stage_add_target(&s, "t", "qcow2");
    stage_qmp(&s, EXEC("blockdev-mirror", "'device': 'top', 'job-id': 'j', 'target': 't', "
                                          "'sync': 'full', 'on-source-error': 'stop'"));
    stage_expect(&s, "created running BLOCK_JOB_ERROR paused");
    stage_qmp(&s, EXEC("job-resume", "'id': 'j'"));
    stage_expect(&s, "running ready BLOCK_JOB_READY");
    stage_work(&s, 12);
    stage_qmp(&s, EXEC("job-complete", "'id': 'j'"));
    stage_expect(&s, EVENTS_END);
    stage_work(&s, 12);
    stage_quit(&s);
    stage_judge(&s, "t.qcow2", s.model, 1);
    stage_remove(&s);
}

/* ---- The end comes while jobs run ---- */

static void start_slow(Stage *s)
{
    stage_add_target(s, "t", "qcow2");
    stage_qmp(s, EXEC("blockdev-mirror", "'device': 'd', 'job-id': 'j', 'target': 't', 'sync': "
                                         "'full', 'speed': 1"));
    stage_expect(s, "created running");
}

static void test_quit_cancels_jobs(void)
{
    Stage s;
    if (!open_stage(&s)) {
        return;
    }
    start_slow(&s);
    stage_work(&s, 8);
    qvirtqueue_free(s.vq);
    qvirtio_free(s.dev);
    json_object_put(qtest_qmp(s.qts, "{'execute': 'quit'}"));
    stage_expect(&s, "aborting BLOCK_JOB_CANCELLED concluded null");
    g_assert_cmpint(qtest_wait_exit(s.qts), ==, 0);
    qtest_free(s.qts);
    stage_judge(&s, "top.qcow2", s.model, 2);
    stage_remove(&s);
}

static void test_sigterm_cancels_jobs(void)
{
    Stage s;
    if (!open_stage(&s)) {
        return;
    }
    add_failing(&s, EVERY_WRITE);
    stage_qmp(&s, EXEC("blockdev-backup", "'device': 'd', 'job-id': 'j', 'target': 't', 'sync': "
                                          "'full', 'on-target-error': 'stop'"));
    stage_expect(&s, "created running BLOCK_JOB_ERROR");
    qvirtqueue_free(s.vq);
    qvirtio_free(s.dev);
    g_assert_cmpint(kill(s.qts->pid, SIGTERM), ==, 0);
    g_assert_cmpint(qtest_wait_exit(s.qts), ==, 0);
    qtest_free(s.qts);
    stage_judge(&s, "top.qcow2", s.model, 2);
    stage_remove(&s);
}

/* The disk is unplugged: the job goes on with the node that it was on. */
static void test_a_job_outlives_its_device(void)
{
    Stage s;
    if (!stage_prepare(&s)) {
        return;
    }
    s.qts = qtest_start("-S -drive if=none,id=d,node-name=top,format=qcow2,file='%s/top.qcow2' "
                        "-device pcie-root-port,id=port "
                        "-device virtio-blk-pci,id=v,drive=d,bus=port",
                        s.folder);
    stage_shell(&s, "qemu-img create -q -f qcow2 t.qcow2 4M");
    stage_qmp(&s,
              EXEC("blockdev-add", "'driver': 'qcow2', 'node-name': 't', 'file': {'driver': "
                                   "'file', 'filename': '%s/t.qcow2'}"),
              s.folder);
    stage_qmp(&s, EXEC("blockdev-mirror", "'device': 'd', 'job-id': 'j', 'target': 't', 'sync': "
                                          "'full', 'speed': 1"));
    stage_expect(&s, "created running");
    stage_qmp(&s, EXEC("device_del", "'id': 'v'"));
    json_object_put(qtest_event(s.qts, "DEVICE_DELETED"));
    stage_qmp(&s, EXEC("block-job-set-speed", "'device': 'j', 'speed': 0"));
    stage_expect(&s, "ready BLOCK_JOB_READY");
    stage_qmp(&s, EXEC("job-complete", "'id': 'j'"));
    stage_expect(&s, EVENTS_END);
    qtest_stop(s.qts);
    stage_judge(&s, "t.qcow2", s.model, 1);
    stage_remove(&s);
}

#define ADD(name) g_test_add_func("/block-jobs-errors/" #name, test_##name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(names_that_are_not_there);
    ADD(targets_that_do_not_fit);
    ADD(nodes_that_are_busy);
    ADD(report_ends_the_job);
    ADD(stop_waits_for_the_user);
    ADD(enospc_reports_other_errors);
    ADD(ignore_tries_again);
    ADD(a_stopped_job_is_cancelled);
    ADD(a_failing_backup_lets_the_guest_write);
    ADD(a_failed_second_write_is_caught_up);
    ADD(stream_meets_a_bad_sector);
    ADD(mirror_of_a_source_that_fails_once);
    ADD(quit_cancels_jobs);
    ADD(sigterm_cancels_jobs);
    ADD(a_job_outlives_its_device);
    return g_test_run();
}
