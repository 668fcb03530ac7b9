#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux on qcow2 images: an installed Debian on a temporary overlay, fio's verification on images with
and without a backing file; vireo-img says that they are sound afterwards."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness, installed  # noqa: E402
from lablib.guest import Guest, make_disk, scratch  # noqa: E402

FIO = ("fio --name=verify --filename=/dev/vda --rw=randwrite --bs=4k-64k --size=24M --direct=1 "
       "--ioengine=libaio --iodepth=16 --verify=crc32c --verify_fatal=1 --do_verify=1 "
       "--randrepeat=0 --group_reporting --output=/tmp/fio.log || { tail -n 20 /tmp/fio.log; false; }")


def image_tool(*arguments):
    tool = os.path.join(os.path.dirname(os.environ["VIREO"]), "vireo-img")
    subprocess.run([tool, *arguments], check=True)


def verify(options, drive, device="virtio-blk-pci,drive=d0", extra=()):
    path = os.path.join(scratch(), "fio.qcow2")
    image_tool("create", "-q", "-f", "qcow2", *options, path, "64M")
    arguments = [*extra, "-nic", "none",
                 "-drive", f"file={path},format=qcow2,if=none,id=d0,{drive}", "-device", device]
    with Guest(arguments, programs=["fio"]) as guest:
        guest.check(FIO, 240)
        guest.check("blkdiscard -o 8388608 -l 8388608 /dev/vda && sync")
        guest.assert_healthy()
        assert guest.power_off() == 0
    image_tool("check", "-q", path)
    os.unlink(path)


def test_several_queues_on_an_overlay():
    base = make_disk("base.img", 32, b"base")
    verify(["-b", base, "-F", "raw"], "cache=none,discard=unmap",
           "virtio-blk-pci,drive=d0,num-queues=2,iothread=io0", ["-object", "iothread,id=io0"])
    os.unlink(base)


def test_small_clusters_through_the_page_cache():
    verify(["-o", "cluster_size=4k,extended_l2=off"], "cache=writeback")


def wait_for_job(qmp, name, status):
    while True:
        data = qmp.event("JOB_STATUS_CHANGE", 240)["data"]
        if data["id"] == name:
            assert data["status"] not in ("aborting", "null"), data
            if data["status"] == status:
                return


def test_mirror_and_commit_under_full_load():
    """fio works on the disk all the time, and looks at what it wrote when the jobs are over."""
    base, top, copy = (os.path.join(scratch(), name) for name in ("base.qcow2", "top.qcow2", "copy.qcow2"))
    for path in (base, copy):
        image_tool("create", "-q", "-f", "qcow2", path, "64M")
    arguments = ["-nic", "none", "-object", "iothread,id=io0",
                 "-blockdev", f"qcow2,node-name=disk,file.driver=file,file.filename={base}",
                 "-device", "virtio-blk-pci,drive=disk,num-queues=2,iothread=io0"]
    with Guest(arguments, cpus=2, programs=["fio"], qmp=True) as guest:
        qmp = guest.qmp
        guest.check("(bad=0; until [ -e /tmp/enough ]; do { " + FIO + "; } || { bad=1; break; }; done; "
                    "echo $bad >/tmp/end) &")
        qmp.command("blockdev-snapshot-sync", node_name="disk", snapshot_file=top,
                    snapshot_node_name="top", format="qcow2")
        qmp.command("block-commit", job_id="commit", device="top")
        wait_for_job(qmp, "commit", "ready")
        qmp.command("job-complete", id="commit")
        wait_for_job(qmp, "commit", "concluded")
        qmp.command("blockdev-add", driver="qcow2", node_name="copy",
                    file={"driver": "file", "filename": copy})
        qmp.command("blockdev-mirror", job_id="mirror", device="disk", target="copy", sync="full")
        wait_for_job(qmp, "mirror", "ready")
        guest.check("touch /tmp/enough; until [ -s /tmp/end ]; do sleep .1; done; "
                    "grep 0 /tmp/end", 300)
        guest.check("sync")
        qmp.command("block-job-cancel", device="mirror")  # of a ready one: the copy is kept
        wait_for_job(qmp, "mirror", "concluded")
        guest.assert_healthy()
        assert guest.power_off() == 0
    for path in (base, copy):
        image_tool("check", "-q", path)
    image_tool("compare", "-q", base, copy)
    for path in (base, top, copy):
        os.unlink(path)


def test_an_installed_debian_writes_to_a_temporary_overlay():
    def state():
        stat = os.stat(installed.disk_path())
        return stat.st_mtime_ns, stat.st_size, stat.st_blocks
    before = state()
    with installed.boot(["-nic", "none", "-snapshot", *installed.attach("virtio")]) as machine:
        check = machine.console.check
        check("dd if=/dev/urandom of=/root/r bs=1M count=8 oflag=direct && cp /root/r /tmp/s && sync")
        check("echo 3 >/proc/sys/vm/drop_caches && cmp /root/r /tmp/s")
        installed.assert_healthy(machine)
        machine.console.send("poweroff\n")
        assert machine.wait(120) == 0
    assert state() == before, "the disk below the overlay was written to"


harness.run(globals())
