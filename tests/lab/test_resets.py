#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""fio verifies what it wrote on each kind of disk, which the guest resets meanwhile."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest, make_disk  # noqa: E402
from lablib.resets import verify_meanwhile  # noqa: E402

# libata has no reset on request; it resets a link before it looks for new devices there.
RESCAN = "echo - - - >/sys/class/scsi_host/{host}/scan"

# A reset of the port. (After -d, a storage reset by class request, Linux waits for six seconds.)
BUS_RESET = "sg_reset -b {disk}"


def run(arguments, modules, disk, reset, logged, programs=(), full=False, **amount):
    """The disk of the arguments is the guest's only one."""
    image = make_disk("disk.img", 64)
    arguments = ["-nic", "none", "-drive", f"file={image},format=raw,{arguments[0]}",
                 *arguments[1:]]
    with Guest(arguments, cpus=2, programs=["fio", *programs], full=full) as guest:
        guest.check(f"for m in {modules}; do modprobe $m; done; "
                    f"until [ -b {disk} ]; do sleep 0.2; done", 60)
        host = guest.check(f"readlink -f /sys/class/block/{os.path.basename(disk)} | "
                           "sed -n 's|.*/\\(host[0-9]*\\)/.*|\\1|p'")
        verify_meanwhile(guest, disk, reset.format(disk=disk, host=host), logged, **amount)
        assert guest.power_off() == 0
    os.unlink(image)


def test_virtio_scsi():
    run(["if=none,id=d", "-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=d"],
        "virtio_scsi sd_mod sg", "/dev/sda", "sg_reset -d {disk}", "device reset",
        ["sg_reset"])


def test_ahci():
    run(["if=ide"], "ahci sd_mod", "/dev/sda", RESCAN, "ata1: SATA link up", full=True, size="16M",
        loops=2)


def test_ide():
    run(["if=ide", "-M", "pc"], "ata_piix sd_mod", "/dev/sda", RESCAN, None,
        size="16M", loops=2)


def test_nvme():
    run(["if=none,id=d", "-device", "nvme,drive=d,serial=lab"], "", "/dev/nvme0n1",
        "echo 1 >/sys/class/nvme/nvme0/reset_controller", "default/read/poll queues")


def test_usb_storage():
    run(["if=none,id=d", "-device", "qemu-xhci", "-device", "usb-storage,drive=d"],
        "xhci_pci usb_storage sd_mod sg", "/dev/sda", BUS_RESET, "reset SuperSpeed USB device",
        ["sg_reset"], full=True, size="8M", loops=2)


harness.run(globals())
