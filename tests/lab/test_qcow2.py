#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux on qcow2 images: an installed Debian on a temporary overlay, fio's verification on images with
and without a backing file; vireo-img says that they are sound afterwards."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness, installed, tools  # noqa: E402
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


SECRET = ("--object", "secret,id=key,data=letmein")


def test_an_encrypted_disk_keeps_its_file_system():
    """Two machines, one after the other; e2fsck judges what qemu-img deciphers, cryptsetup the key
    of a copy as luks, and nobody finds the text in the image."""
    path, raw, luks = (os.path.join(scratch(), name) for name in ("key.qcow2", "key.raw", "key.luks"))
    text = b"nobody reads this without the key. "
    image_tool("create", "-q", *SECRET, "-f", "qcow2", "-o",
               "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=100", path, "32M")
    arguments = ["-nic", "none", "-object", "secret,id=key,data=letmein",
                 "-drive", f"file={path},format=qcow2,encrypt.key-secret=key,if=virtio,discard=unmap"]
    with Guest(arguments) as guest:
        guest.check("mke2fs /dev/vda && mkdir /tmp/d && mount -t ext2 /dev/vda /tmp/d")
        guest.check(f"yes '{text.decode()}' | head -c 4000000 >/tmp/d/text && md5sum </tmp/d/text "
                    ">/tmp/d/sum && umount /tmp/d")
        guest.assert_healthy()
        assert guest.power_off() == 0
    with Guest(arguments) as guest:
        guest.check("mkdir /tmp/d && mount -t ext2 /dev/vda /tmp/d && "
                    '[ "$(md5sum </tmp/d/text)" = "$(cat /tmp/d/sum)" ]')
        guest.check("umount /tmp/d")
        guest.assert_healthy()
        assert guest.power_off() == 0
    source = f"driver=qcow2,file.filename={path},encrypt.key-secret=key"
    for command in (["check", "-q", *SECRET, "--image-opts", source],
                    ["convert", *SECRET, "--image-opts", "-O", "raw", source, raw]):
        subprocess.run(["qemu-img", *command], check=True)
    subprocess.run([tools.find("e2fsck"), "-f", "-n", raw], check=True)
    image_tool("convert", *SECRET, "--image-opts", "-O", "luks", "-o", "key-secret=key,iter-time=100",
               source, luks)
    subprocess.run([tools.find("cryptsetup"), "open", "--test-passphrase", "--type", "luks1",
                    "--key-file=-", luks], input=b"letmein", check=True)
    with open(raw, "rb") as plain, open(path, "rb") as image:
        assert text in plain.read() and text not in image.read()
    for name in (path, raw, luks):
        os.unlink(name)


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
