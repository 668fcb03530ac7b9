#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks come and go while Linux runs: through a root port's slot on q35, through ACPI on pc."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest, make_disk  # noqa: E402

PATTERN = b"vireo hotplug "
WAIT = "for i in $(seq 300); do {} && break; sleep 0.1; done; {}"


def wait_until(guest, condition):
    guest.check(WAIT.format(condition, condition), 60)


def come_and_go(guest, disk, bus, times):
    """The disk appears, is read whole, and leaves when the guest has let it go."""
    for _ in range(times):
        guest.qmp.command("blockdev-add", **{"driver": "raw", "node-name": "n1",
                                             "file": {"driver": "file", "filename": disk}})
        guest.qmp.command("device_add", driver="virtio-blk-pci", id="d1", bus=bus, drive="n1")
        wait_until(guest, "test -b /dev/vda")
        assert guest.check("head -c 13 /dev/vda") == PATTERN.decode().rstrip()
        guest.check("dd if=/dev/vda of=/dev/null bs=64k 2>/dev/null")
        guest.qmp.command("device_del", id="d1")
        assert guest.qmp.event("DEVICE_DELETED", 60)["data"]["device"] == "d1"
        wait_until(guest, "test ! -e /sys/block/vda")
        guest.qmp.command("blockdev-del", **{"node-name": "n1"})


def use(arguments, bus, times):
    disk = make_disk("plugged.img", 8, PATTERN)
    with Guest(["-nic", "none", *arguments], cpus=2, qmp=True) as guest:
        guest.check("modprobe virtio_blk")
        come_and_go(guest, disk, bus, times)
        guest.assert_healthy()
        assert guest.power_off() == 0
    os.unlink(disk)


def test_through_a_root_port():
    use(["-M", "q35", "-device", "pcie-root-port,id=rp0,chassis=1"], "rp0", 2)


def test_through_acpi():
    use(["-M", "pc"], "pci.0", 10)


harness.run(globals())
