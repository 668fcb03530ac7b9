#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk and no options: the commands of the friendly face, on an installed Debian, as a user types
them in several terminals."""

import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness, installed  # noqa: E402
from lablib.console import Terminal  # noqa: E402
from lablib.guest import scratch  # noqa: E402
from lablib.machine import vmm_path  # noqa: E402
from lablib.steps import Steps  # noqa: E402

NAME = "disk"  # of the machine, from its image's


def vireo(*words, status=0, timeout=180):
    """Runs the command; what it printed."""
    done = subprocess.run([vmm_path(), *map(str, words)], stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                          check=False)
    assert done.returncode == status, f"vireo {words}: exit status {done.returncode}, {done.stdout}"
    return done.stdout


def console():
    return Terminal(vmm_path(), "console", NAME)


def make_overlay(directory):
    path = os.path.join(directory, NAME + ".qcow2")
    subprocess.run([vmm_path() + "-img", "create", "-q", "-f", "qcow2", "-F", "raw",
                    "-b", installed.disk_path(), path], check=True)
    return path


def log_in(terminal):
    terminal.expect(r"GRUB", 120)  # of what was said before the console was there, too
    terminal.expect(r"vireo login:", 240)
    terminal.send("root\n")
    terminal.expect(r"# ", 60)
    terminal.quiet_shell()


def ssh(directory, terminal):
    """A command through the forwarded port, as the guest's root, by a key."""
    key = os.path.join(directory, "key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    with open(key + ".pub", encoding="ascii") as file:
        terminal.check(f"mkdir -p -m 700 /root/.ssh; echo '{file.read().strip()}' "
                       "> /root/.ssh/authorized_keys")
    kernel = terminal.check("uname -r")
    terminal.check("for i in $(seq 300); do ip -4 route | grep -q ^default && break; sleep 0.2; "
                   "done; systemctl is-active --wait ssh || systemctl start ssh", 120)
    said = vireo("ssh", f"root@{NAME}", "-i", key, "-o", "ConnectTimeout=60", "uname -r; exit 7",
                 status=7)
    assert kernel in said.split(), said


def facts():
    text = vireo("list")
    assert NAME in text and "running" in text, text
    machine, = json.loads(vireo("list", "--output=json"))
    assert machine["name"] == NAME, machine
    text = vireo("info")
    assert "virtio" in text and NAME + ".qcow2" in text, text


def test_a_disk_and_no_options():
    steps = Steps()
    with tempfile.TemporaryDirectory(dir=scratch()) as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        disk = make_overlay(directory)
        try:
            with steps.step("vireo disk.qcow2 -daemonize"):
                vireo(disk, "-daemonize")
            with steps.step("vireo console: Debian's login"):
                terminal = console()
                log_in(terminal)
            with steps.step("vireo list, vireo info"):
                facts()
            with steps.step("vireo ssh"):
                ssh(directory, terminal)
            with steps.step("two terminals"):
                other = console()
                terminal.send("echo seen by $((1+1))\n")
                other.expect(r"seen by 2", 30)
                assert other.leave() == 0
            with steps.step("vireo stop"):
                vireo("stop", NAME, "--timeout=150")
                terminal.read_until_closed(30)
                assert "Power down" in terminal.transcript, terminal.tail()
            assert json.loads(vireo("list", "--output=json")) == []
            vireo("stop", NAME, status=1)
        finally:
            subprocess.run([vmm_path(), "stop", NAME, "--force"], check=False,
                           stderr=subprocess.DEVNULL)


harness.run(globals())
