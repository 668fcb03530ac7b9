#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's drivers for small things of the PC: generation ID, crash notes, SMBus, parallel port."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import ACPI_TROUBLE, Guest, scratch  # noqa: E402

GUID = "6b2bd3f1-7f0e-4b52-93c1-5b4f6d0f4a10"
ELF_NOTE = 1
SPD_DDR2 = "08"  # byte 2: the kind of memory
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


def check_smbus(check):
    check("modprobe -a i2c-i801 i2c-dev at24")
    adapter = check("grep -l I801 /sys/class/i2c-adapter/*/name | cut -d/ -f5")
    assert re.fullmatch(r"i2c-\d+", adapter), adapter
    check(f"echo 24c02 0x50 >/sys/class/i2c-adapter/{adapter}/new_device")
    eeprom = f"/sys/bus/i2c/devices/{adapter[len('i2c-'):]}-0050/eeprom"
    content = check(f"hexdump -ve '1/1 \"%02x\"' {eeprom}")
    assert len(content) == 2 * 256, content
    assert content[4:6] == SPD_DDR2, content
    body = bytes.fromhex(content[:126])
    assert sum(body) % 256 == int(content[126:128], 16), content


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
        check_smbus(guest.check)
        check_printer(guest.check, printed)
        bad = [line for line in guest.assert_healthy() if ACPI_TROUBLE.search(line)]
        assert not bad, "the guest's kernel logged:\n" + "\n".join(bad)
        assert guest.power_off() == 0


harness.run(globals())
