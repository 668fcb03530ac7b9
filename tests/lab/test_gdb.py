#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""gdb looks at a running Linux kernel: breakpoints, steps, registers, memory; the guest goes on."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest, scratch  # noqa: E402

SYMBOL = "__x64_sys_newuname"  # what uname(1) ends in
MARK = "GDB_GOES_ON"
PATIENCE = 120  # seconds of a gdb that waits for nothing

ATTACH = """
set pagination off
set confirm off
set architecture i386:x86-64
target remote {socket}
x/s {banner:#x}
"""

LOOK = """
info threads
info registers rip rsp cr3 gs_base k_gs_base efer
p $mxcsr
x/2gx $rsp
printf "PC %#lx CPL %d\\n", $pc, $cs & 3
stepi
printf "STEPPED %#lx\\n", $pc
"""

INTERRUPT = ATTACH + f"echo {MARK}\\n\ncontinue\n" + LOOK + "stepi\nstepi\ndetach\n"

BREAK = ATTACH + "{kind} *{symbol:#x}\n" + f"echo {MARK}\\n\ncontinue\n" + LOOK + """
continue
printf "AGAIN %#lx\\n", $pc
delete
detach
"""


class Gdb:
    """gdb with a script, which has come to its mark when the constructor returns."""

    def __init__(self, name, script):
        path = os.path.join(scratch(), f"{name}.gdb")
        with open(path, "w") as file:
            file.write(script)
        self.process = subprocess.Popen(["gdb", "-nx", "-batch", "-x", path],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, text=True)
        self.timer = threading.Timer(PATIENCE, self.process.kill)
        self.timer.start()
        self.text = ""
        for line in self.process.stdout:
            self.text += line
            if line.strip() == MARK:
                break

    def finish(self):
        self.text += self.process.stdout.read()
        self.timer.cancel()
        assert self.process.wait() == 0, self.text
        return self.text


def boot(name):
    if not shutil.which("gdb"):
        raise harness.Skip("gdb is not installed")
    socket = os.path.join(scratch(), f"{name}.sock")
    arguments = ["-gdb", f"unix:{socket},server=on", "-nic", "none"]
    return socket, Guest(arguments, cpus=2, append="nokaslr", qmp=True)


def symbols(guest):
    lines = guest.check(f"grep -E ' ({SYMBOL}|linux_banner)$' /proc/kallsyms").splitlines()
    return {line.split()[2]: int(line.split()[0], 16) for line in lines if len(line.split()) > 2}


def assert_looked(text):
    """gdb has seen the kernel's memory, both vCPUs and 64-bit registers, and a step was made."""
    assert "Linux version " in text, text
    assert re.search(r"^. +1 +Thread", text, re.M) and re.search(r"^. +2 +Thread", text, re.M), text
    assert re.search(r"^k?_?gs_base +0xffff", text, re.M), text
    assert re.search(r"^efer +0x[0-9a-f]*d01", text, re.M), text  # NXE, LMA, LME, SCE
    assert re.search(r"^STEPPED 0x", text, re.M), text


def assert_goes_on(guest):
    assert guest.qmp.command("query-status")["status"] == "running"
    assert guest.check("nproc").split()[-1] == "2"
    guest.assert_healthy()
    assert guest.power_off() == 0


def test_interrupt_and_step():
    socket, machine = boot("interrupt")
    with machine as guest:
        gdb = Gdb("interrupt", INTERRUPT.format(socket=socket,
                                                banner=symbols(guest)["linux_banner"]))
        assert guest.check("echo $((40+2))").strip() == "42"  # it runs while gdb is there
        guest.console.send("while :; do :; done & busy=$!\n")
        guest.check("true")
        gdb.process.send_signal(signal.SIGINT)
        text = gdb.finish()
        assert "SIGINT" in text, text
        assert_looked(text)
        guest.check("kill $busy; wait $busy; true")
        assert_goes_on(guest)


def stop_at(kind):
    with open("/proc/cpuinfo") as file:
        if "QEMU TCG" in file.read():
            raise harness.Skip("QEMU's SVM emulation exits neither at int3 nor at debug registers")
    socket, machine = boot(kind)
    with machine as guest:
        found = symbols(guest)
        gdb = Gdb(kind, BREAK.format(socket=socket, kind=kind, symbol=found[SYMBOL],
                                     banner=found["linux_banner"]))
        guest.console.send("for i in 1 2 3; do uname -r; done; echo UNAMED$((40+2))\n")
        text = gdb.finish()
        guest.console.expect(r"UNAMED42\r?\n", 60)
        assert_looked(text)
        assert f"PC {found[SYMBOL]:#x} CPL 0" in text, text
        assert f"AGAIN {found[SYMBOL]:#x}" in text, text
        assert_goes_on(guest)


def test_hardware_breakpoint():
    stop_at("hbreak")


def test_software_breakpoint():
    stop_at("break")


if __name__ == "__main__":
    harness.run(globals())
