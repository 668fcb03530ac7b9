#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reset and power by the guest, by QMP and by the console's keys."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest  # noqa: E402

NO_NETWORK = ["-nic", "none"]


def test_the_power_button_reaches_the_guest():
    with Guest(NO_NETWORK, qmp=True) as guest:
        guest.check("modprobe -a evdev button; cd /sys/class/input; exec 3< /dev/input/$(dirname "
                    "$(dirname $(grep -l 'Power Button' event*/device/name | head -n 1)))")
        guest.console.send("(dd bs=24 count=1 <&3 > /dev/null 2>&1 && poweroff -f) &\n")
        guest.qmp.command("system_powerdown")
        guest.qmp.event("POWERDOWN")
        event = guest.qmp.event("SHUTDOWN")
        assert event["data"]["guest"] is True, event
        assert guest.wait(60) == 0


def test_the_guest_reboots_into_a_fresh_start():
    with Guest(NO_NETWORK, qmp=True) as guest:
        guest.check("touch /tmp/before")
        guest.console.send("reboot -f\n")
        guest.wait_ready()
        guest.qmp.event("RESET")
        assert guest.console.shell("test -e /tmp/before")[0] == 1
        assert guest.power_off() == 0


def test_system_reset_stop_and_cont():
    with Guest(NO_NETWORK, qmp=True, cpus=2) as guest:
        guest.qmp.command("stop")
        assert guest.qmp.command("query-status")["status"] == "paused"
        guest.qmp.command("cont")
        assert guest.qmp.command("query-status")["running"] is True
        guest.check("true")
        guest.qmp.command("system_reset")
        guest.wait_ready()
        guest.qmp.command("quit")
        assert guest.wait(30) == 0


def test_no_reboot_ends_at_a_reset():
    with Guest([*NO_NETWORK, "-no-reboot"]) as guest:
        guest.console.send("reboot -f\n")
        assert guest.wait(30) == 0


def test_ctrl_a_x_ends_the_process():
    with Guest(NO_NETWORK) as guest:
        guest.console.send("\x01x")
        assert guest.wait(30) == 0


harness.run(globals())
