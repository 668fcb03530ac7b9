#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's kernel starts by bzImage and by PVH, on one, two and four CPUs, on q35 and on microvm."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import IMAGE, Guest, make_disk  # noqa: E402
from lablib.machine import is_qemu  # noqa: E402

PATTERN = b"The lab's disk."


def boot_and_look(cpus, **options):
    disk = make_disk("boot.img", 4, PATTERN)
    arguments = ["-drive", f"file={disk},format=raw,if=virtio", "-nic", "none"]
    with Guest(arguments, cpus=cpus, **options) as guest:
        assert guest.check("nproc") == str(cpus)
        text = guest.check(f"head -c {len(PATTERN)} /dev/vda")
        assert text == PATTERN.decode(), f"the disk begins with {text!r}"
        guest.check("for cpu in /sys/devices/system/cpu/cpu[0-9]*; do "
                    "taskset -c ${cpu##*cpu} true || exit 1; done")
        guest.assert_healthy()
        assert guest.power_off() == 0


def test_one_cpu():
    boot_and_look(1)


def test_two_cpus():
    boot_and_look(2)


def test_four_cpus():
    boot_and_look(4)


def test_pvh_kernel():
    boot_and_look(2, kernel=os.path.join(IMAGE, "vmlinux"))


def test_microvm():
    disk = make_disk("microvm.img", 4, PATTERN)
    accelerator = ["-accel", "kvm", "-cpu", "host"] if is_qemu() else []
    arguments = [*accelerator, "-M", "microvm", "-nic", "none",
                 "-drive", f"file={disk},format=raw,if=none,id=d0",
                 "-device", "virtio-blk-device,drive=d0"]
    with Guest(arguments, defaults=False, append="reboot=t") as guest:
        text = guest.check(f"head -c {len(PATTERN)} /dev/vda")
        assert text == PATTERN.decode(), f"the disk begins with {text!r}"
        guest.assert_healthy()


def test_command_line_reaches_the_guest_whole():
    # With a dot they are a module's; Linux takes no more than 32 unknown words for init.
    words = " ".join(f"lab.word{index}=value" for index in range(100))
    with Guest(["-nic", "none"], append=words) as guest:
        assert words in guest.check("cat /proc/cmdline")


harness.run(globals())
