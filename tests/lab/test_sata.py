#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An installed Debian 12 on a SATA disk with a SATA CD-ROM drive: boots, moves data, reads
the disc."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import make_disk  # noqa: E402
from lablib.machine import Machine  # noqa: E402
from lablib.installed import assert_healthy, disk_path, log_in, make_iso  # noqa: E402


def disk_of_port(check, port):
    """The guest's disk on a port: Linux looks at the ports at the same time, so that the second
    one's disk may be sda."""
    return "/dev/" + check(f"basename /sys/devices/pci*/*/ata{port + 1}/host*/target*/*/block/*")


def test_debian_on_sata():
    disk, data = disk_path(), make_disk("data.img", 64)
    disc = make_iso("disc.iso", "the disc")
    arguments = ["-M", "q35", "-drive", f"file={disk},format=raw,if=ide,index=0",
                 "-drive", f"file={data},format=raw,if=ide,index=1",
                 "-drive", f"file={disc},format=raw,if=none,id=disc,media=cdrom",
                 "-device", "ide-cd,drive=disc,bus=ide.2,id=cd"]
    with Machine(["-m", "1G", "-smp", "2", "-nic", "none", *arguments]) as machine:
        log_in(machine)
        check = machine.console.check
        root, other = disk_of_port(check, 0), disk_of_port(check, 1)
        assert check("findmnt -no SOURCE /") == f"{root}1"
        assert check(f"cat /sys/block/{os.path.basename(root)}/device/queue_depth") in ("31", "32")
        check("dd if=/dev/urandom of=/tmp/r bs=1M count=16 && "
              f"dd if=/tmp/r of={other} bs=64k oflag=direct && "
              f"dd if={other} of=/tmp/s bs=64k count=256 iflag=direct && cmp /tmp/r /tmp/s", 120)
        check("modprobe sr_mod; modprobe isofs; mkdir -p /mnt; mount -r /dev/sr0 /mnt")
        assert check("cat /mnt/text") == "the disc"
        check("umount /mnt")
        assert_healthy(machine)
        machine.console.send("poweroff\n")
        assert machine.wait(120) == 0


harness.run(globals())
