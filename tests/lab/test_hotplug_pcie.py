#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's pciehp with devices that come and go at root ports: disks that carry data, a network card."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest, make_disk  # noqa: E402


def wait_for(guest, condition):
    guest.check(f"for i in $(seq 60); do {condition} && break; sleep 1; done; {condition}", 120)


def test_disk_comes_and_goes():
    disk = make_disk("plugged.img", 32)
    arguments = ["-nic", "none", "-device", "pcie-root-port,id=rp0,chassis=1",
                 "-device", "pcie-root-port,id=rp1,chassis=2",
                 "-drive", f"file={disk},format=raw,if=none,id=d0"]
    with Guest(arguments, qmp=True, cpus=2) as guest:
        for _ in range(2):
            guest.qmp.command("device_add", driver="virtio-blk-pci", drive="d0", id="disk", bus="rp1")
            wait_for(guest, "test -b /dev/vda")
            guest.check("dd if=/dev/urandom of=/tmp/r bs=1M count=8 2>/dev/null && "
                        "dd if=/tmp/r of=/dev/vda bs=64k 2>/dev/null && sync && "
                        "echo 3 >/proc/sys/vm/drop_caches && "
                        "dd if=/dev/vda of=/tmp/s bs=64k count=128 2>/dev/null && cmp /tmp/r /tmp/s", 120)
            guest.qmp.command("device_del", id="disk")
            guest.qmp.event("DEVICE_DELETED", 60)
            wait_for(guest, "! test -b /dev/vda")
        guest.assert_healthy()
        assert guest.power_off() == 0


harness.run(globals())
