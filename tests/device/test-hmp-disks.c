/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's commands about disks, under QEMU 7.2's names and with its words. */
#include <string.h>
#include "tests/device/jobs-kit.h"

/* The line says that, and no more; "*" at its end stands for anything. */
static void expect(Stage *s, const char *line, const char *says)
{
    g_autofree char *text = qtest_hmp(s->qts, line);
    g_strchomp(text);
    if (!g_pattern_match_simple(says, text)) {
        g_test_message("%s: '%s', not '%s'", line, text, says);
    }
    g_assert_true(g_pattern_match_simple(says, text));
}

static bool start(Stage *s)
{
    if (!stage_prepare(s)) {
        return false;
    }
    stage_start(s, "");
    stage_work(s, 12);
    return true;
}

static void test_commit_empties_the_overlay(void)
{
    Stage s;
    if (!start(&s)) {
        return;
    }
    expect(&s, "commit nosuch", "Error: *'nosuch'*");
    expect(&s, "commit d", "");
    stage_work(&s, 12);
    expect(&s, "commit all", "");
    stage_work(&s, 12);
    expect(&s, "snapshot_blkdev d over.qcow2", "");
    stage_work(&s, 12);
    expect(&s, "commit d", "");
    stage_quit(&s);
    stage_judge(&s, "top.qcow2", s.model, 2);
    stage_judge(&s, "over.qcow2", s.model, 3);
    stage_shell(&s, "test $(qemu-img map --output=json over.qcow2 | grep -c '\"depth\": 0') = 0");
    stage_remove(&s);
}

static void test_a_disk_without_a_backing_file_has_nothing_to_commit_to(void)
{
    Stage s;
    if (!stage_prepare(&s)) {
        return;
    }
    stage_start_with(&s, "-drive if=none,id=d,format=qcow2,file=base.qcow2 "
                         "-device virtio-blk-pci,id=v,drive=d");
    expect(&s, "commit d", "Error: 'commit' error for 'd': it has no backing file*");
    expect(&s, "commit all", "");
    stage_quit(&s);
    stage_remove(&s);
}

static void test_jobs_are_started_and_steered(void)
{
    Stage s;
    if (!start(&s)) {
        return;
    }
    expect(&s, "info block-jobs", "No active jobs");
    expect(&s, "drive_mirror -f d m.qcow2", "");
    stage_expect(&s, "created running ready BLOCK_JOB_READY");
    expect(&s, "info block-jobs", "Type mirror, device d: Completed *");
    expect(&s, "block_job_set_speed d 10", "");
    expect(&s, "block_job_set_speed d ten", "Error: 'ten' is not a size*");
    expect(&s, "block_job_pause d", "");
    expect(&s, "block_job_resume d", "");
    stage_work(&s, 8);
    expect(&s, "block_job_complete d", "");
    stage_expect(&s, "standby ready " EVENTS_END);
    stage_work(&s, 8);
    expect(&s, "drive_mirror -f d n.qcow2", "");
    stage_expect(&s, "created running ready BLOCK_JOB_READY");
    expect(&s, "block_job_cancel -f d", "");
    stage_expect(&s, "aborting BLOCK_JOB_CANCELLED concluded null");
    expect(&s, "block_job_cancel d", "Error: *'d'*");
    expect(&s, "block_job_cancel -f", "Error: which job?");
    stage_quit(&s);
    stage_judge(&s, "m.qcow2", s.model, 1);
    stage_remove(&s);
}

static void test_backup_and_stream(void)
{
    Stage s;
    if (!start(&s)) {
        return;
    }
    g_autofree uint8_t *then = stage_copy_model(&s);
    expect(&s, "drive_backup -f -c d b.qcow2", "");
    stage_expect(&s, "created running " EVENTS_END);
    expect(&s, "drive_backup d c.qcow2", "");
    stage_expect(&s, "created running " EVENTS_END);
    expect(&s, "drive_backup -n d nosuch.qcow2 qcow2", "Error: *nosuch.qcow2*");
    expect(&s, "drive_backup -f d", "Error: which disk, to which file?");
    stage_work(&s, 8);
    expect(&s, "block_stream d 100", "");
    stage_expect(&s, "created running " EVENTS_END);
    stage_work(&s, 8);
    stage_quit(&s);
    stage_judge(&s, "b.qcow2", then, 1);
    stage_judge(&s, "c.qcow2", then, 2);
    stage_judge(&s, "top.qcow2", s.model, 1);
    stage_shell(&s, "qemu-img check --output=json b.qcow2 | grep -q '\"compressed-clusters\": "
                    "[1-9]'");
    stage_remove(&s);
}

static void test_snapshots(void)
{
    Stage s;
    if (!start(&s)) {
        return;
    }
    g_autofree uint8_t *then = stage_copy_model(&s);
    expect(&s, "snapshot_blkdev_internal d x", "");
    expect(&s, "snapshot_blkdev_internal d x", "Error: *'x'*");
    expect(&s, "snapshot_blkdev_internal d y", "");
    expect(&s, "info snapshots", "Snapshots in the image of 'd':*1 *x *2 *y *");
    expect(&s, "snapshot_delete_blkdev_internal d y", "");
    expect(&s, "snapshot_delete_blkdev_internal d y", "Error: *");
    stage_work(&s, 8);
    expect(&s, "snapshot_blkdev d", "Error: which disk, into which new file?");
    stage_shell(&s, "qemu-img create -q -f qcow2 -b top.qcow2 -F qcow2 there.qcow2");
    expect(&s, "snapshot_blkdev -n d there.qcow2 qcow2", "");
    stage_work(&s, 8);
    stage_quit(&s);
    stage_judge(&s, "there.qcow2", s.model, 3);
    stage_shell(&s, "test $(qemu-img snapshot -l top.qcow2 | grep -c ' x ') = 1 && "
                    "qemu-img snapshot -a x top.qcow2");
    stage_judge(&s, "top.qcow2", then, 2);
    stage_remove(&s);
}

static void test_size_and_limits(void)
{
    Stage s;
    if (!start(&s)) {
        return;
    }
    expect(&s, "block_resize d 8", "");
    expect(&s, "block_resize d 9000k", "");
    expect(&s, "block_resize d much", "Error: 'much' is not a size*");
    expect(&s, "block_resize nosuch 8", "Error: *'nosuch'*");
    expect(&s, "block_set_io_throttle d 0 1000 2000 0 300 400", "");
    expect(&s, "info block d", "*bps_rd=1000 bps_wr=2000*iops_rd=300 iops_wr=400*");
    expect(&s, "block_set_io_throttle d 0 0 0 0 0 x", "Error: 'x' is not a number for iops_wr");
    expect(&s, "block_set_io_throttle d 0 0 0 0 0", "usage: *");
    expect(&s, "block_set_io_throttle d 0 0 0 0 0 0", "");
    stage_quit(&s);
    stage_shell(&s, "qemu-img info top.qcow2 | grep -q '(9216000 bytes)'");
    stage_remove(&s);
}

static void test_drives_come_and_go(void)
{
    Stage s;
    if (!start(&s)) {
        return;
    }
    expect(&s, "drive_add 0 if=none,id=n,file=base.raw,format=raw", "Error: *base.raw*");
    stage_shell(&s, "qemu-img create -q -f raw n.raw 1M");
    expect(&s, "drive_add 0 if=none,id=n,file=n.raw,format=raw", "OK");
    expect(&s, "drive_add 0 if=virtio,file=n.raw,format=raw", "Error: *if=none*");
    expect(&s, "info block n", "n (*): n.raw (raw)*");
    expect(&s, "drive_del n", "");
    expect(&s, "drive_del n", "Error: Device 'n' not found");
    expect(&s, "drive_del top", "Error: 'top' is a node: blockdev-del deletes it");
    expect(&s, "drive_del d", "Error: drive 'd' belongs to a device*");
    stage_quit(&s);
    stage_remove(&s);
}

static void test_the_nbd_server(void)
{
    Stage s;
    if (!start(&s)) {
        return;
    }
    expect(&s, "nbd_server_start nowhere", "Error: 'nowhere' is no address*");
    expect(&s, "nbd_server_start -w unix:sock", "Error: -w says how -a exports the disks*");
    expect(&s, "nbd_server_add d", "Error: *");
    g_autofree char *line = g_strdup_printf("nbd_server_start unix:%s/sock", s.folder);
    g_autofree char *all = g_strdup_printf("nbd_server_start -a unix:%s/sock", s.folder);
    g_autofree char *write = g_strdup_printf("nbd_server_start -a -w unix:%s/sock", s.folder);
    expect(&s, line, "");
    expect(&s, "nbd_server_add nosuch", "Error: *'nosuch'*");
    expect(&s, "nbd_server_add d disk", "");
    stage_shell(&s, "qemu-img info 'nbd+unix:///disk?socket=sock' | grep -q '4 MiB'");
    expect(&s, "nbd_server_remove -f disk", ""); /* its client may still be leaving */
    expect(&s, "nbd_server_remove disk", "Error: *'disk'*");
    expect(&s, "nbd_server_stop", "");
    expect(&s, "nbd_server_stop", "Error: *");
    /* All of them, or no server: this disk's device does not share its writes. */
    expect(&s, write, "Error: *'v'*");
    expect(&s, "nbd_server_stop", "Error: *");
    expect(&s, all, "");
    stage_shell(&s, "qemu-img info 'nbd+unix:///d?socket=sock' | grep -q '4 MiB'");
    expect(&s, "nbd_server_stop", "");
    stage_quit(&s);
    stage_remove(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hmp-disks/commit_empties_the_overlay", test_commit_empties_the_overlay);
    g_test_add_func("/hmp-disks/a_disk_without_a_backing_file_has_nothing_to_commit_to",
                    test_a_disk_without_a_backing_file_has_nothing_to_commit_to);
    g_test_add_func("/hmp-disks/jobs_are_started_and_steered", test_jobs_are_started_and_steered);
    g_test_add_func("/hmp-disks/backup_and_stream", test_backup_and_stream);
    g_test_add_func("/hmp-disks/snapshots", test_snapshots);
    g_test_add_func("/hmp-disks/size_and_limits", test_size_and_limits);
    g_test_add_func("/hmp-disks/drives_come_and_go", test_drives_come_and_go);
    g_test_add_func("/hmp-disks/the_nbd_server", test_the_nbd_server);
    return g_test_run();
}
