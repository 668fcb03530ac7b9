#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What ends a guest's life against its wish, and what QMP says of it: a triple fault, an NMI, a
watchdog that runs out, a panic."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness, installed  # noqa: E402
from lablib.guest import Guest  # noqa: E402


def nmis(machine):
    return [int(word) for word in machine.console.check("grep NMI: /proc/interrupts").split()[1:3]]


def test_a_triple_fault_resets():
    with Guest(["-nic", "none"], qmp=True, append="reboot=t") as guest:
        guest.check("touch /tmp/before")
        guest.console.send("reboot -f\n")
        assert guest.qmp.event("RESET")["data"]["guest"] is True
        guest.wait_ready()
        assert guest.console.shell("test -e /tmp/before")[0] == 1


def test_the_chipsets_watchdog_resets():
    """After Linux's 30 s have run out twice."""
    arguments = ["-M", "q35", "-nic", "none", *installed.attach("virtio"), "-no-reboot",
                 "-global", "ICH9-LPC.noreboot=false"]
    with installed.boot(arguments, qmp=True) as machine:
        machine.console.check("modprobe -a i2c_i801 iTCO_wdt")
        machine.console.check("sync; echo u > /proc/sysrq-trigger")  # the disk is clean
        machine.console.send("echo 1 > /dev/watchdog\n")
        assert machine.qmp.event("WATCHDOG", 150)["data"]["action"] == "reset"
        assert machine.wait(60) == 0


def test_nmi_watchdog_and_panic():
    """Debian's driver of the i6300esb and of pvpanic; each stop is one that a user goes on from."""
    arguments = ["-M", "q35", "-nic", "none", *installed.attach("virtio"), "-device", "i6300esb",
                 "-device", "pvpanic", "-action", "watchdog=pause,panic=pause"]
    with installed.boot(arguments, qmp=True) as machine:
        check, qmp = machine.console.check, machine.qmp
        # Linux takes the line LINT1 as an NMI on its first CPU alone.
        assert nmis(machine) == [0, 0]
        qmp.command("inject-nmi")
        check("sleep 1")
        assert nmis(machine) == [1, 0]

        check("modprobe i6300esb heartbeat=2 && modprobe pvpanic-mmio")
        check("rmmod iTCO_wdt 2>/dev/null; test -c /dev/watchdog0")
        machine.console.send("echo 1 > /dev/watchdog0\n")
        assert qmp.event("WATCHDOG")["data"]["action"] == "pause"
        assert qmp.command("query-status")["status"] == "watchdog"
        qmp.command("watchdog-set-action", action="none")
        qmp.command("cont")
        check("true")

        check("sysctl -w kernel.panic=0; sync; echo u > /proc/sysrq-trigger")  # the disk is clean
        machine.console.send("echo c > /proc/sysrq-trigger\n")
        assert qmp.event("GUEST_PANICKED")["data"]["action"] == "pause"
        assert qmp.command("query-status")["status"] == "guest-panicked"
        qmp.command("quit")
        assert machine.wait(30) == 0


harness.run(globals())
