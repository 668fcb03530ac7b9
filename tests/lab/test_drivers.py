#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's drivers for small things of the PC: generation ID, crash notes, parallel port."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import ACPI_TROUBLE, Guest, scratch  # noqa: E402

GUID = "6b2bd3f1-7f0e-4b52-93c1-5b4f6d0f4a10"
ELF_NOTE = 1
PRINTED = "printed by the guest\n"


def check_generation(check):
    """The driver is bound to the device only when it has read the ID."""
    assert "QEMUVGID:00" in check("ls /sys/bus/acpi/drivers/vmgenid").split()


def check_crash_note(check, qmp):
    check("modprobe qemu_fw_cfg")
    assert check("cat /sys/firmware/qemu_fw_cfg/by_name/etc/vmcoreinfo/size") == "16"
    note = qmp.command("qom-get", path="/machine/peripheral/crash", property="note")
    address, size = (int(word, 16) for word in check("cat /sys/kernel/vmcoreinfo").split())
    assert note == {"format": ELF_NOTE, "size": size, "paddr": address}, note


def check_printer(check, printed):
    check("modprobe -a parport_pc lp && until [ -c /dev/lp0 ]; do sleep 0.2; done")
    check(f"printf '{PRINTED.strip()}\\n' >/dev/lp0")
    with open(printed, encoding="ascii") as file:
        assert file.read() == PRINTED


def test_small_devices():
    printed = os.path.join(scratch(), "printed")
    arguments = ["-M", "q35", "-nic", "none", "-device", f"vmgenid,guid={GUID},id=generation",
                 "-device", "vmcoreinfo,id=crash", "-parallel", f"file:{printed}"]
    with Guest(arguments, full=True, qmp=True) as guest:
        check_generation(guest.check)
        check_crash_note(guest.check, guest.qmp)
        check_printer(guest.check, printed)
        bad = [line for line in guest.assert_healthy() if ACPI_TROUBLE.search(line)]
        assert not bad, "the guest's kernel logged:\n" + "\n".join(bad)
        assert guest.power_off() == 0


harness.run(globals())
