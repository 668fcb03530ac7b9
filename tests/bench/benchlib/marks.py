# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a benchmark guest and takes the time and the host CPU between its marks '<' and '>'."""
import os
import select
import subprocess
import time

PATIENCE = 120      # seconds


class Stuck(RuntimeError):
    """A request was lost: the guest waits for ever."""


class Result:
    def __init__(self, seconds, vcpu, other):
        self.seconds = seconds
        self.vcpu = vcpu        # CPU seconds of the vCPU threads
        self.other = other      # CPU seconds of all other threads


def _is_vcpu(name, bare):
    return not name.startswith(("io", "iou")) if bare else "cpu" in name.lower()


def cpu_times(pid, bare):
    """CPU seconds so far: (vCPU threads, others). The others are what is left of the whole process,
    since pool and io_uring worker threads end with their time in between."""
    vcpu = 0
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/comm") as f:
                name = f.read().strip()
            with open(f"/proc/{pid}/task/{tid}/schedstat") as f:
                used = int(f.read().split()[0]) / 1e9
        except OSError:
            continue
        if _is_vcpu(name, bare):
            vcpu += used
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    whole = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return vcpu, max(whole - vcpu, 0)


def _read_until(fd, mark, seen):
    while mark not in seen:
        if not select.select([fd], [], [], PATIENCE)[0]:
            raise Stuck(f"the guest is stuck after {seen.decode(errors='replace')!r}")
        data = os.read(fd, 4096)
        if not data:
            raise RuntimeError(f"the guest ended early: {seen.decode(errors='replace')}")
        seen += data
    return seen


def run_marked(setup, cmd, bare=False):
    """One run of a guest; the command must give its debug console on standard output."""
    setup.log(" ".join(cmd))
    with subprocess.Popen(setup.prefix() + cmd, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          stderr=None if setup.verbose else subprocess.DEVNULL) as p:
        fd = p.stdout.fileno()
        try:
            seen = _read_until(fd, b"<", b"")
            begin = time.monotonic()
            vcpu0, other0 = cpu_times(p.pid, bare)
            rest = _read_until(fd, b">", seen[seen.index(b"<"):])
            end = time.monotonic()
            vcpu1, other1 = cpu_times(p.pid, bare)
            rest += os.read(fd, 4096) if not rest.endswith(b">") else b""
            if b"FAIL" in rest:
                raise RuntimeError(rest.decode(errors="replace"))
        finally:
            p.kill()
    return Result(end - begin, vcpu1 - vcpu0, other1 - other0)
