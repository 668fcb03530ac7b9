# SPDX-License-Identifier: GPL-2.0-or-later
"""This machine's programs on a disk for the guest: lspci, dmidecode, fio and the like."""

import os
import shutil
import subprocess

from .guest import libraries_of, scratch

LABEL = "lab-tools"


def find(program):
    found = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not found:
        raise FileNotFoundError(f"{program} is not on this machine: ./configure --install-deps")
    return found


def make_disk(programs):
    """A file system with the programs and their libraries; returns its path."""
    root = os.path.join(scratch(), "tools")
    path = os.path.join(scratch(), "tools.img")
    for folder in ("bin", "lib"):
        os.makedirs(os.path.join(root, folder), exist_ok=True)
    for program in programs:
        source = find(program)
        shutil.copy(source, os.path.join(root, "bin", program))
        for library in libraries_of(source):
            if not os.path.basename(library).startswith("ld-linux"):
                shutil.copy(library, os.path.join(root, "lib"))
    subprocess.run([find("mke2fs"), "-q", "-F", "-t", "ext2", "-L", LABEL, "-d", root, path, "128M"],
                   check=True)
    return path


def arguments(programs):
    """What attaches that disk; mount() finds it."""
    return ["-drive", f"file={make_disk(programs)},format=raw,if=none,id=tools,readonly=on",
            "-device", "virtio-blk-pci,drive=tools"]


def mount(console):
    """In the guest: the programs are commands from now on."""
    console.check(f"mkdir -p /tmp/tools && mount -o ro -t ext2 LABEL={LABEL} /tmp/tools")
    console.check("export PATH=$PATH:/usr/sbin:/sbin:/tmp/tools/bin")
    # Each with the libraries it was found with, and nothing else with them.
    console.check("for p in /tmp/tools/bin/*; do n=${p##*/}; "
                  'eval "$n() { LD_LIBRARY_PATH=/tmp/tools/lib $p \\"\\$@\\"; }"; done')
