#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""PCI Express as Linux sees it: devices behind root ports, MSI-X and INTx, microvm's bus, the clock."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import ACPI_TROUBLE, TROUBLE, Guest, make_disk  # noqa: E402

PCI_TROUBLE = re.compile(r"pci.*(can't claim|no space|failed to assign|bogus|conflict|disabling|"
                         r"not claimed|error)|MMCONFIG.*(not reserved|BIOS bug)", re.I)
PATTERN = b"vireo pci "


def healthy(guest):
    lines = guest.check("dmesg | grep -iE 'bug|warn|oops|trace|panic|cared|error|pci|acpi'",
                        120).splitlines()
    bad = [line for line in lines
           if TROUBLE.search(line) or PCI_TROUBLE.search(line) or ACPI_TROUBLE.search(line)]
    assert not bad, "the guest's kernel logged:\n" + "\n".join(bad)


def behind_ports():
    disk = make_disk("pci.img", 16, PATTERN)
    return ["-nic", "none", "-device", "pcie-root-port,id=rp0,chassis=1,addr=3",
            "-device", "pcie-root-port,id=rp1,chassis=2,addr=4",
            "-drive", f"file={disk},format=raw,if=none,id=d",
            "-device", "virtio-blk-pci,drive=d,bus=rp0", "-device", "virtio-rng-pci,bus=rp1"]


def check_disk(guest):
    assert guest.check("head -c 10 /dev/vda") == PATTERN.decode().rstrip()
    guest.check("dd if=/dev/vda of=/dev/null bs=64k", 120)


def test_devices_behind_root_ports():
    with Guest(behind_ports(), cpus=2) as guest:
        ids = guest.check("cat /sys/bus/pci/devices/*/vendor | sort | uniq -c")
        assert "4 0x8086" in ids, ids  # MCH, LPC, AHCI, SMBus
        assert "0x1b36" in ids
        assert "0000:01:00.0" in guest.check("ls /sys/bus/pci/devices")
        check_disk(guest)
        assert "MSI" in guest.check("grep virtio /proc/interrupts")
        healthy(guest)
        assert guest.power_off() == 0


def test_interrupts_by_pin():
    with Guest(behind_ports(), append="pci=nomsi") as guest:
        check_disk(guest)
        assert re.search(r"IO-APIC.*fasteoi.*virtio", guest.check("grep virtio /proc/interrupts"))
        healthy(guest)
        assert guest.power_off() == 0


def test_microvm_with_pcie():
    disk = make_disk("micro.img", 16, PATTERN)
    arguments = ["-machine", "microvm,pcie=on", "-nic", "none",
                 "-drive", f"file={disk},format=raw,if=none,id=d",
                 "-device", "virtio-blk-pci,drive=d,disable-legacy=on"]  # there is no I/O window
    with Guest(arguments) as guest:
        check_disk(guest)
        healthy(guest)
        assert guest.power_off() == 0


def test_clock_and_alarm():
    with Guest(["-nic", "none", "-rtc", "base=2031-05-06T07:08:09"]) as guest:
        assert guest.check("cat /sys/class/rtc/rtc0/date") == "2031-05-06"
        guest.check("echo +2 > /sys/class/rtc/rtc0/wakealarm; sleep 4")
        assert guest.check("cat /sys/class/rtc/rtc0/wakealarm") == ""
        healthy(guest)
        assert guest.power_off() == 0


harness.run(globals())
