#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An installed Debian 12 on a SATA disk with a SATA CD-ROM drive: boots, sees what QEMU's guests
see, moves data, changes discs."""

import io
import os
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import libraries_of, make_disk, scratch  # noqa: E402
from lablib.machine import Machine  # noqa: E402
from test_disk_boot import assert_healthy, log_in  # noqa: E402


def tools(*names):
    """A raw image that is a tar archive of this machine's programs; those that it has not are left
    out."""
    path = os.path.join(scratch(), "tools.img")
    with tarfile.open(path, "w") as tar:
        for name in names:
            found = next((f"/{where}/{name}" for where in ("usr/sbin", "sbin", "usr/bin")
                          if os.path.exists(f"/{where}/{name}")), None)
            for file in [found, *libraries_of(found)] if found else []:
                with open(file, "rb") as source:
                    data = source.read()
                info = tarfile.TarInfo("tools/" + os.path.basename(file))
                info.size, info.mode = len(data), 0o755
                tar.addfile(info, io.BytesIO(data))
    with open(path, "ab") as out:
        out.truncate((os.path.getsize(path) + 4095) & ~4095)
    return path


def make_iso(name, text):
    folder = os.path.join(scratch(), name + ".d")
    path = os.path.join(scratch(), name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "text"), "w", encoding="utf-8") as file:
        file.write(text)
    try:
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", path, folder], check=True)
    except FileNotFoundError as error:
        raise harness.Skip("xorriso is not here") from error
    return path


def run_tool(machine, line):
    return machine.console.check(f"LD_LIBRARY_PATH=/tmp/tools /tmp/tools/{line}", 60)


def test_debian_on_sata():
    disk, data = os.path.join(scratch(), "grub.img"), make_disk("data.img", 64)
    one, two = make_iso("one.iso", "the first disc"), make_iso("two.iso", "the second disc")
    arguments = ["-M", "q35", "-drive", f"file={disk},format=raw,if=ide,index=0",
                 "-drive", f"file={data},format=raw,if=ide,index=1",
                 "-drive", f"file={tools('hdparm', 'smartctl')},format=raw,if=virtio",
                 "-drive", f"file={one},format=raw,if=none,id=disc,media=cdrom",
                 "-device", "ide-cd,drive=disc,bus=ide.2,id=cd"]
    with Machine(["-m", "1G", "-smp", "2", "-nic", "none", *arguments], qmp=True) as machine:
        log_in(machine)
        check = machine.console.check
        assert check("findmnt -no SOURCE /").startswith("/dev/sda")
        assert check("cat /sys/block/sda/device/queue_depth") in ("31", "32")
        check("dd if=/dev/urandom of=/tmp/r bs=1M count=16 && "
              "dd if=/tmp/r of=/dev/sdb bs=64k oflag=direct && "
              "dd if=/dev/sdb of=/tmp/s bs=64k count=256 iflag=direct && cmp /tmp/r /tmp/s", 120)
        check("modprobe sr_mod; modprobe isofs; mkdir -p /mnt; mount -r /dev/sr0 /mnt")
        assert check("cat /mnt/text") == "the first disc"
        check("umount /mnt")
        machine.qmp.command("blockdev-change-medium", id="cd", filename=two, format="raw",
                            force=True)  # udev keeps the door locked
        check("sleep 3; mount -r /dev/sr0 /mnt")
        assert check("cat /mnt/text") == "the second disc"
        check("umount /mnt; eject /dev/sr0 2>/dev/null; true")
        check("tar -xf /dev/vda -C /tmp")
        if "hdparm" in check("ls /tmp/tools"):
            assert "QEMU HARDDISK" in run_tool(machine, "hdparm -I /dev/sda")
        if "smartctl" in check("ls /tmp/tools"):
            assert "PASSED" in run_tool(machine, "smartctl -H /dev/sda")
        assert_healthy(machine)
        machine.console.send("poweroff\n")
        assert machine.wait(120) == 0


harness.run(globals())
