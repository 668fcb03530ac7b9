#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb looks at a running Linux kernel: breakpoints, steps, registers, memory; the guest goes on."""

import os
import re
import shutil
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest, scratch  # noqa: E402

SYMBOL = "__x64_sys_newuname"  # what uname(1) ends in
MARK = "GDB_GOES_ON"
GDB_PATIENCE = 90  # seconds of a gdb that waits for nothing

SCRIPT = """
set pagination off
set confirm off
set architecture i386:x86-64
target remote {socket}
x/s {banner:#x}
{kind} *{symbol:#x}
echo {mark}\\n
continue
printf "PC %#lx CPL %d\\n", $pc, $cs & 3
info registers rip rsp cr3 gs_base efer
p $mxcsr
x/2gx $rsp
stepi
printf "STEPPED %#lx\\n", $pc
info threads
continue
printf "AGAIN %#lx\\n", $pc
delete
detach
"""


def run_gdb(guest, kind, socket, addresses):
    """gdb's output; the guest calls uname once gdb waits for it, and is at its shell afterwards."""
    path = os.path.join(scratch(), f"{kind}.gdb")
    with open(path, "w") as file:
        file.write(SCRIPT.format(kind=kind, socket=socket, mark=MARK, symbol=addresses[SYMBOL],
                                 banner=addresses["linux_banner"]))
    gdb = subprocess.Popen(["gdb", "-nx", "-batch", "-x", path], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
    end = threading.Timer(GDB_PATIENCE, gdb.kill)
    end.start()
    text = ""
    for line in gdb.stdout:
        text += line
        if line.strip() == MARK:
            break
    guest.console.send("for i in 1 2 3; do uname -r; done; echo UNAMED$((40+2))\n")
    text += gdb.stdout.read()
    end.cancel()
    assert gdb.wait() == 0, text
    guest.console.expect(r"UNAMED42\r?\n", 60)
    return text


def symbols(guest):
    lines = guest.check(f"grep -E ' ({SYMBOL}|linux_banner)$' /proc/kallsyms").splitlines()
    return {line.split()[2]: int(line.split()[0], 16) for line in lines if len(line.split()) > 2}


def assert_seen(text, address):
    assert "Linux version " in text, text
    assert f"PC {address:#x} CPL 0" in text, text
    stepped = re.search(r"STEPPED (0x[0-9a-f]+)", text)
    assert stepped and 0 < int(stepped[1], 16) - address < 16, text
    assert f"AGAIN {address:#x}" in text, text
    assert re.search(r"^\*? +2 +Thread", text, re.M), text
    assert re.search(r"^gs_base +0xffff", text, re.M), text


def look(kind):
    if not shutil.which("gdb"):
        raise harness.Skip("gdb is not installed")
    socket = os.path.join(scratch(), f"{kind}.sock")
    arguments = ["-gdb", f"unix:{socket},server=on", "-nic", "none"]
    with Guest(arguments, cpus=2, append="nokaslr", qmp=True) as guest:
        addresses = symbols(guest)
        text = run_gdb(guest, kind, socket, addresses)
        assert_seen(text, addresses[SYMBOL])
        assert guest.qmp.command("query-status")["status"] == "running"
        assert guest.check("nproc").strip() == "2"
        guest.assert_healthy()
        assert guest.power_off() == 0


def test_hardware_breakpoint():
    look("hbreak")


def test_software_breakpoint():
    look("break")


if __name__ == "__main__":
    harness.run(globals())
