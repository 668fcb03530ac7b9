#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The ACPI tables: Linux takes them without complaint, iasl disassembles and compiles them cleanly."""

import base64
import re
import shutil
import subprocess
import tempfile

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import ACPI_TROUBLE, Guest, make_disk  # noqa: E402

TABLES = "/sys/firmware/acpi/tables"


def machine():
    disk = make_disk("acpi.img", 4)
    return ["-drive", f"file={disk},format=raw,if=virtio", "-nic", "user"]


def read_tables(guest, directory):
    names = guest.check(f"cd {TABLES}; ls -p | grep -v /").split()
    for name in names:
        text = guest.check(f"base64 {TABLES}/{name}", 120)
        with open(os.path.join(directory, name), "wb") as file:
            file.write(base64.b64decode(text))
    return names


def test_linux_and_iasl_accept_the_tables():
    if not shutil.which("iasl"):
        raise harness.Skip("iasl (acpica-tools) is not installed")
    with Guest(machine(), cpus=2) as guest, tempfile.TemporaryDirectory() as directory:
        lines = guest.assert_healthy()
        bad = [line for line in lines if ACPI_TROUBLE.search(line)]
        assert not bad, "Linux complains about ACPI:\n" + "\n".join(bad)
        names = read_tables(guest, directory)
        assert {"DSDT", "FACP", "APIC", "MCFG"} <= set(names), f"the tables are {names}"
        for name in names:
            result = subprocess.run(["iasl", "-d", name], cwd=directory, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, text=True, check=False)
            assert result.returncode == 0, f"iasl -d {name}:\n{result.stdout}"
            trouble = [line for line in result.stdout.splitlines()
                       if re.search(r"\b(error|warning|invalid|incorrect)\b", line, re.I)]
            assert not trouble, f"iasl -d {name}:\n" + "\n".join(trouble)
        result = subprocess.run(["iasl", "DSDT.dsl"], cwd=directory, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, check=False)
        counts = re.search(r"(\d+) Errors, (\d+) Warnings", result.stdout)
        assert counts and counts.group(1) == "0", f"iasl DSDT.dsl:\n{result.stdout}"
        assert counts.group(2) == "0", f"iasl DSDT.dsl:\n{result.stdout}"
        assert guest.power_off() == 0


def test_every_pci_function_has_an_interrupt():
    with Guest(machine(), cpus=1) as guest:
        lines = guest.check("dmesg")
        assert "PCI Interrupt Link" not in lines or "can't" not in lines
        assert not re.search(r"can't (derive|find|route)|No IRQ|IRQ routing conflict", lines), lines
        assert guest.power_off() == 0


harness.run(globals())
