#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""SIGTERM, SIGHUP and SIGINT in the middle of writing: a clean end, and all that was flushed is there."""

import re
import signal

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest, make_disk  # noqa: E402

BLOCK = 64 << 10


def end_while_writing(number):
    disk = make_disk("sigterm.img", 64)
    arguments = ["-nic", "none", "-drive", f"file={disk},format=raw,if=virtio"]
    with Guest(arguments) as guest:
        # Each block is full of its number; the number is printed once the block was flushed.
        guest.console.send(
            "i=0; while [ $i -lt 900 ]; do yes $(printf '%07d' $i) | head -c 65536 | "
            "dd of=/dev/vda bs=64k seek=$i conv=fsync,notrunc 2>/dev/null; echo flushed=$i; "
            "i=$((i+1)); done\n")
        guest.console.expect(r"flushed=20\r?\n", 120)
        guest.terminate(number)
        status = guest.wait(30)
        assert status == 0, f"the VMM ended with {status} on {signal.Signals(number).name}"
        flushed = max(int(text) for text in re.findall(r"flushed=(\d+)\r?\n",
                                                       guest.console.transcript))
    with open(disk, "rb") as file:
        for index in range(flushed + 1):
            line = b"%07d\n" % index
            assert file.read(BLOCK) == line * (BLOCK // 8), f"flushed block {index} is lost"


def test_sigterm():
    end_while_writing(signal.SIGTERM)


def test_sighup():
    end_while_writing(signal.SIGHUP)


def test_sigint():
    end_while_writing(signal.SIGINT)


harness.run(globals())
