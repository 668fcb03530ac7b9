# SPDX-License-Identifier: GPL-2.0-or-later
"""What a VMM does that seems stuck: where its threads are, and what KVM counts meanwhile."""

import glob
import os
import subprocess
import time

DEBUGFS = "/sys/kernel/debug"
COUNTERS = ("exits", "io_exits", "mmio_exits", "halt_exits", "irq_injections", "irq_exits",
            "insn_emulation", "directed_yield_attempted")


def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError as error:
        return f"({error.strerror})"


def counters(pid):
    if not os.path.isdir(f"{DEBUGFS}/kvm"):
        subprocess.run(["mount", "-t", "debugfs", "none", DEBUGFS], check=False)
    return {name: read(path) for folder in glob.glob(f"{DEBUGFS}/kvm/{pid}-*")
            for name in COUNTERS if os.path.exists(path := f"{folder}/{name}")}


def report(pid):
    """Text for the log of a wait that ran out."""
    before = counters(pid)
    lines = []
    for task in sorted(glob.glob(f"/proc/{pid}/task/*")):
        stat = read(f"{task}/stat").rpartition(")")[2].split()
        where = " < ".join(line.split()[-1] for line in read(f"{task}/stack").splitlines()[:6])
        lines.append(f"{os.path.basename(task)} {read(task + '/comm')}: state {stat[:1]}, "
                     f"ticks {stat[11:13]}, syscall {read(task + '/syscall')[:60]}, {where}")
    time.sleep(1)
    after = counters(pid)
    lines += [f"{name}: {before.get(name)}, a second later {value}" for name, value in after.items()]
    return "\n".join(lines)
