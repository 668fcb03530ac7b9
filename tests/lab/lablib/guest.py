# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's guest: Debian's kernel with a busybox shell in RAM, on a machine that the test describes."""

import os
import re
import shutil
import subprocess
import tempfile

from .machine import IMAGE, Machine

# What a healthy kernel never logs.
TROUBLE = re.compile(r"BUG:|WARNING:|Oops|Call Trace|soft lockup|rcu.*stall|general protection|"
                     r"I/O error|hung_task|blocked for more than|nobody cared|Kernel panic")
ACPI_TROUBLE = re.compile(r"ACPI.*(Error|Exception|Warning)|ACPI BIOS|Firmware (Bug|Warn)", re.I)


def scratch():
    """The test's private directory on a local file system."""
    path = os.environ.get("LAB_SCRATCH")
    if not path:
        raise SystemExit("run me as tests/lab/run --scratch -- ...")
    return path


def make_disk(name, mib, pattern=None):
    """A raw image in the scratch directory; sparse, or filled with the repeated pattern."""
    path = os.path.join(scratch(), name)
    with open(path, "wb") as file:
        if pattern:
            block = (pattern * (1048576 // len(pattern) + 1))[:1048576]
            for _ in range(mib):
                file.write(block)
        file.truncate(mib << 20)
    return path


def newc_entry(name, mode, data):
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    header += b"\0" * (-len(header) % 4)
    return header + data + b"\0" * (-len(data) % 4)


def libraries_of(program):
    text = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    return sorted(set(re.findall(r"(/\S+)", text)))


def initrd_with(programs, base):
    """An initrd of the lab with some of this machine's programs and their libraries added."""
    if not programs:
        return base
    path = os.path.join(scratch(), "initrd-" + "-".join(programs))
    files = {}
    for program in programs:
        found = shutil.which(program)
        if not found:
            raise SystemExit(77)
        files[f"bin/{program}"] = found
        for library in libraries_of(found):
            files[library.lstrip("/")] = library
    archive = b""
    made = set()
    for name in files:
        parts = name.split("/")[:-1]
        for depth in range(len(parts)):
            folder = "/".join(parts[:depth + 1])
            if folder not in made:
                made.add(folder)
                archive += newc_entry(folder, 0o040755, b"")
    with open(path, "wb") as out:
        with open(base, "rb") as file:
            shutil.copyfileobj(file, out)
        out.write(b"\0" * (-out.tell() % 512))
        out.write(archive)
        for name, source in files.items():
            with open(source, "rb") as file:
                out.write(newc_entry(name, 0o100755, file.read()))
        out.write(newc_entry("TRAILER!!!", 0, b""))
    return path


class Guest(Machine):
    """A machine with the lab's guest, at its shell when the constructor returns.

    The kernel is Debian's for clouds; full: Debian's usual one, with drivers for real hardware."""

    def __init__(self, arguments=(), memory="512M", cpus=1, append="", programs=(), kernel=None,
                 quiet=True, full=False, **options):
        kernel = kernel or os.path.join(IMAGE, "vmlinuz-full" if full else "vmlinuz")
        initrd = os.path.join(IMAGE, "lab-initrd-full.img" if full else "lab-initrd.img")
        command = ["-m", memory, "-smp", cpus, "-kernel", kernel, "-initrd",
                   initrd_with(programs, initrd),
                   "-append", f"console=ttyS0 panic=-1 {'quiet' if quiet else ''} {append}".strip(),
                   *arguments]
        super().__init__(command, **options)
        try:
            self.wait_ready()
        except BaseException:
            self.__exit__(RuntimeError, None, None)
            raise

    def wait_ready(self, timeout=90):
        self.console.expect(r"LAB GUEST READY", timeout)
        self.console.expect(r"# ", 30)
        self.console.quiet_shell()

    def check(self, command, timeout=60):
        return self.console.check(command, timeout)

    def power_off(self):
        """Powers off by ACPI and returns the VMM's exit status."""
        self.console.send("poweroff -f\n")
        return self.wait(60)

    def assert_healthy(self):
        """The kernel logged nothing that a good machine never causes."""
        lines = self.check("dmesg").splitlines()
        bad = [line for line in lines if TROUBLE.search(line)]
        assert not bad, "the guest's kernel logged:\n" + "\n".join(bad)
        return lines
