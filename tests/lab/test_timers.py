#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The high precision event timers as Linux's clock and as its only source of ticks."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import ACPI_TROUBLE, Guest  # noqa: E402

CLOCK = "/sys/devices/system/clocksource/clocksource0"


def ticks(guest):
    """Interrupts of IRQ 0, the legacy place of the first timer."""
    return int(guest.check("grep '^ *0:' /proc/interrupts").split()[1])


def test_linux_lives_on_the_hpet():
    arguments = ["-machine", "hpet=on", "-nic", "none"]
    with Guest(arguments, append="nolapic_timer clocksource=hpet") as guest:
        assert guest.check(f"cat {CLOCK}/current_clocksource").strip() == "hpet"
        lines = guest.assert_healthy()
        assert any("hpet0: 3 comparators, 64-bit 100" in line for line in lines), lines
        assert not [line for line in lines if ACPI_TROUBLE.search(line)]
        before, start = ticks(guest), time.monotonic()
        guest.check("sleep 3")
        assert time.monotonic() - start > 2, "three seconds of the guest passed too fast"
        assert ticks(guest) > before, "no interrupt came from the timer"
        assert guest.power_off() == 0


if __name__ == "__main__":
    harness.run(globals())
