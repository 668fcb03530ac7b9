#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An installed Debian sleeps (S3) and wakes: by the monitor, by the clock's alarm."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.installed import assert_healthy, attach, boot  # noqa: E402

ALARM_SECONDS = 30  # the guest has fallen asleep by then, in the slowest host


def fall_asleep(machine, before=""):
    """The guest's shell says AWAKE42 once it is awake again; before: its commands just before."""
    machine.console.check("echo deep >/sys/power/mem_sleep")
    machine.console.send(f"{before} echo mem >/sys/power/state; echo AWAKE$((40+2))\n")
    machine.qmp.event("SUSPEND", 120)


def finish(machine):
    check = machine.console.check
    check("dd if=/dev/vda of=/dev/null bs=1M count=64 iflag=direct")
    assert check("nproc") == "2"
    assert_healthy(machine)
    machine.console.send("poweroff\n")
    assert machine.wait(120) == 0


def test_sleeps_and_is_woken():
    with boot(["-M", "q35", "-nic", "none", *attach("virtio")], qmp=True) as machine:
        check = machine.console.check
        assert "mem" in check("cat /sys/power/state").split()
        check("echo kept >/dev/shm/word")
        fall_asleep(machine)
        assert machine.qmp.command("query-status")["status"] == "suspended"
        machine.qmp.command("system_wakeup")
        machine.qmp.event("WAKEUP")
        machine.console.expect(r"AWAKE42\r?\n", 120)
        assert check("cat /dev/shm/word") == "kept"
        finish(machine)


def test_an_alarm_wakes():
    with boot(["-M", "q35", "-nic", "none", *attach("virtio")], qmp=True) as machine:
        alarm = "/sys/class/rtc/rtc0/wakealarm"
        fall_asleep(machine, f"echo 0 >{alarm}; echo +{ALARM_SECONDS} >{alarm};")
        machine.qmp.event("WAKEUP", 120)
        machine.console.expect(r"AWAKE42\r?\n", 120)
        finish(machine)


harness.run(globals())
