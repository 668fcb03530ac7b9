#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux on SCSI: disks and CD drives behind virtio-scsi, media that change."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest, make_disk  # noqa: E402
from lablib.installed import make_iso  # noqa: E402

TOOLS = ["lsscsi", "sg_inq", "sg_vpd", "sg_readcap", "sg_opcodes", "sg_modes"]


def modules(guest):
    guest.check("for m in virtio_scsi sd_mod sr_mod sg isofs; do modprobe $m; done; sleep 1")


def disk_arguments(disk, device="scsi-hd,drive=d0,serial=lab-1,wwn=0x5000c50015ea71ac"):
    return ["-nic", "none", "-device", "virtio-scsi-pci,id=s0",
            "-drive", f"file={disk},format=raw,if=none,id=d0,discard=unmap", "-device", device]


def test_what_the_tools_say_of_a_disk():
    disk = make_disk("scsi.img", 64)
    with Guest(disk_arguments(disk), programs=TOOLS) as guest:
        modules(guest)
        assert "QEMU HARDDISK" in " ".join(guest.check("lsscsi").split())
        assert "lab-1" in guest.check("sg_vpd --page=sn /dev/sda")
        designation = guest.check("sg_vpd --page=di /dev/sda")
        assert "0x5000c50015ea71ac" in designation and "lab-1" in designation, designation
        assert "Unmap command supported (LBPU): 1" in guest.check("sg_vpd --page=lbpv /dev/sda")
        assert "Maximum unmap LBA count: 2097152" in guest.check("sg_vpd --page=bl /dev/sda")
        assert "Last LBA=131071" in guest.check("sg_readcap --long /dev/sda")
        assert "Unmap" in guest.check("sg_opcodes /dev/sda")
        assert "Caching" in guest.check("sg_modes -a /dev/sda")
        log = guest.check("dmesg | grep 'sda'")
        assert "Write cache: enabled" in log, log
        guest.assert_healthy()
        assert guest.power_off() == 0
    os.unlink(disk)


def test_discarded_ranges_are_holes():
    disk = make_disk("scsi.img", 64, b"full")
    before = os.stat(disk).st_blocks * 512
    with Guest(disk_arguments(disk)) as guest:
        modules(guest)
        guest.check("blkdiscard -o 16777216 -l 33554432 /dev/sda && sync")
        guest.assert_healthy()
        assert guest.power_off() == 0
    freed = before - os.stat(disk).st_blocks * 512
    assert freed >= 30 << 20, f"the image shrank by {freed} bytes only"
    os.unlink(disk)


def test_a_cd_is_mounted_ejected_and_changed():
    first, second = make_iso("a.iso", "first"), make_iso("b.iso", "second")
    arguments = ["-nic", "none", "-device", "virtio-scsi-pci",
                 "-drive", f"file={first},if=none,id=c0,media=cdrom", "-device", "scsi-cd,drive=c0"]
    with Guest(arguments, programs=["lsscsi", "sg_start"], qmp=True) as guest:
        modules(guest)
        assert "QEMU CD-ROM" in " ".join(guest.check("lsscsi").split())
        assert guest.check("mkdir -p /m; mount -t iso9660 -o ro /dev/sr0 /m && cat /m/text") == "first"
        guest.check("umount /m && sg_start --eject /dev/sr0")
        assert guest.qmp.event("DEVICE_TRAY_MOVED")["data"]["tray-open"] is True
        guest.qmp.command("blockdev-change-medium", device="c0", filename=second, format="raw")
        assert guest.check("sleep 1; mount -t iso9660 -o ro /dev/sr0 /m && cat /m/text") == "second"
        guest.check("umount /m")
        guest.assert_healthy()
        assert guest.power_off() == 0


harness.run(globals())
