#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A SCSI disk of the host in a Linux guest: scsi-generic and scsi-block on the host's scsi_debug."""

import glob
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest  # noqa: E402

TOOLS = ["sg_inq", "sg_vpd", "sg_readcap", "sg_raw", "cmp"]


def host_disk():
    """scsi_debug's disk: /dev/sdX, /dev/sgX."""
    if subprocess.run(["modprobe", "scsi_debug", "dev_size_mb=16"], check=False).returncode:
        raise harness.Skip("this host's kernel has no scsi_debug")
    subprocess.run(["modprobe", "sg"], check=False)
    subprocess.run(["modprobe", "sd_mod"], check=False)
    for path in glob.glob("/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*:*"):
        blocks = glob.glob(path + "/block/*")
        generics = glob.glob(path + "/scsi_generic/*")
        if blocks and generics:
            nodes = []
            for directory in (blocks[0], generics[0]):
                name = "/dev/" + os.path.basename(directory)
                if not os.path.exists(name):
                    with open(directory + "/dev", encoding="ascii") as file:
                        major, minor = map(int, file.read().split(":"))
                    kind = 0o060600 if directory == blocks[0] else 0o020600
                    os.mknod(name, kind, os.makedev(major, minor))
                nodes.append(name)
            return nodes
    raise harness.Skip("scsi_debug made no disk")


def check_disk(device, mark):
    disk, generic = host_disk()
    node = disk if device == "scsi-block" else generic
    arguments = ["-nic", "none", "-device", "virtio-scsi-pci",
                 "-drive", f"file={node},format=raw,if=none,id=d0", "-device", f"{device},drive=d0"]
    with Guest(arguments, programs=TOOLS) as guest:
        guest.check("for m in virtio_scsi sd_mod sg; do modprobe $m; done; sleep 1")
        assert "scsi_debug" in guest.check("sg_inq /dev/sda")
        assert "Last LBA=32767" in guest.check("sg_readcap /dev/sda")
        guest.check(f"echo {mark} > /tmp/mark; dd if=/tmp/mark of=/dev/sda bs=512 seek=8 "
                    "conv=sync oflag=direct 2>/dev/null")
        guest.check("dd if=/dev/urandom of=/tmp/random bs=64k count=32 2>/dev/null; "
                    "dd if=/tmp/random of=/dev/sda bs=64k seek=16 oflag=direct 2>/dev/null; "
                    "dd if=/dev/sda of=/tmp/back bs=64k skip=16 count=32 iflag=direct 2>/dev/null; "
                    "cmp /tmp/random /tmp/back")
        # WRITE BUFFER, which could replace the device's firmware
        assert guest.check("sg_raw /dev/sda 3b 00 00 00 00 00 00 00 00 00 2>&1; true").find(
            "Invalid command operation code") >= 0
        guest.assert_healthy()
        assert guest.power_off() == 0
    with open(disk, "rb") as file:
        file.seek(8 * 512)
        assert file.read(len(mark)) == mark.encode("ascii")


def test_commands_go_to_a_generic_device():
    check_disk("scsi-generic", "generic")


def test_blocks_and_commands_of_a_disk():
    check_disk("scsi-block", "block")


harness.run(globals())
