# SPDX-License-Identifier: GPL-2.0-or-later
"""A full guest: from exec to the login prompt of the installed Debian, through SeaBIOS and GRUB, and
the exits a second of that guest when it is idle. Runs where a real KVM is (tests/lab/run)."""
import json
import os
import subprocess

from .table import median

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
MACHINES = ("q35", "pc")
PROGRAM = os.path.join(ROOT, "tests", "lab", "login-times")


def _samples(setup):
    """[{"who", "machine", "login": seconds, "exits": a second}], in the order they ran."""
    contestants = [f"{who}={path}" for who, path in
                   (("vireo", setup.vireo), ("qemu", setup.qemu)) if path]
    command = [os.path.join(ROOT, "tests", "lab", "run"), "--scratch", "--", "python3", PROGRAM,
               str(setup.rounds), ",".join(MACHINES), *contestants]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def run(setup, table):
    table.title("login: exec to the login prompt of Debian from its disk, 2 vCPUs; exits when idle")
    samples = _samples(setup)
    for machine in MACHINES:
        for key, name, unit in (("login", "login from disk", "s"), ("exits", "exits idle", "1/s")):
            values = {who: median([s[key] for s in samples
                                   if s["who"] == who and s["machine"] == machine])
                      for who in ("vireo", "qemu")}
            table.row(f"{name} {machine}", unit, **values, target=(
                "< qemu", values["vireo"], "<=", values["qemu"] or float("inf")))
