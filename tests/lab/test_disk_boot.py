#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An installed Debian 12 starts from its disk: SeaBIOS, GRUB in the MBR, login; and a kernel starts
through the firmware."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest  # noqa: E402
from lablib.installed import assert_healthy, disk_path, log_in  # noqa: E402
from lablib.machine import Machine, is_qemu  # noqa: E402


def test_debian_boots_from_its_disk():
    disk = disk_path()
    arguments = [disk] if not is_qemu() else ["-drive", f"file={disk},format=raw,if=virtio"]
    with Machine(["-m", "1G", "-smp", "2", "-nic", "none", *arguments]) as machine:
        log_in(machine)
        check = machine.console.check
        assert check("findmnt -no SOURCE /") == "/dev/vda1"
        assert check("nproc") == "2"
        # What firmware handed over: ACPI tables, SMBIOS, fw_cfg.
        assert "QEMU" in check("cat /sys/class/dmi/id/sys_vendor")
        assert "SeaBIOS" in check("cat /sys/class/dmi/id/bios_vendor")
        check("test -e /sys/firmware/acpi/tables/FACP")
        check("modprobe qemu_fw_cfg && test -d /sys/firmware/qemu_fw_cfg/by_name/etc/acpi")
        assert_healthy(machine)
        check("sync")
        machine.console.send("reboot\n")
        log_in(machine)
        machine.console.send("poweroff\n")
        assert machine.wait(120) == 0


def test_kernel_starts_through_firmware():
    bios = "bios-256k.bin"
    with Guest(["-bios", bios, "-nic", "none"], append="lab.word=through-firmware") as guest:
        assert "lab.word=through-firmware" in guest.check("cat /proc/cmdline")
        assert "SeaBIOS" in guest.check("cat /sys/class/dmi/id/bios_vendor")
        guest.assert_healthy()


if __name__ == "__main__":
    harness.run(globals())
