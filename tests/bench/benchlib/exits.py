# SPDX-License-Identifier: GPL-2.0-or-later
"""Exits: the cost of one access served in user space, beyond a bare KVM_RUN loop's."""
from .machine import bare_command, disk_args, vmm_command
from .marks import run_marked
from .table import median

MMIO = 0xFEB00000
KINDS = [("port read 0xe9", "what=i port=0xe9", 100000),
         ("port read 0x3fd", "what=i port=0x3fd", 100000),
         ("mmio read", "what=m", 100000),
         ("serial byte", "what=o port=0x3f8", 100000),
         ("doorbell", "what=d", 200000)]


def _run_one(setup, who, what, n):
    cmdline = f"bench=exits {what} n={n}"
    if who == "bare":
        cmdline += f" addr={MMIO:#x}"
        extra = ["--rom", setup.rom(cmdline)]
        if what == "what=d":
            extra += ["--doorbell", hex(MMIO)]
        return run_marked(setup, bare_command(setup, 512, extra), True).seconds
    extra = disk_args(setup.make_disk()) + ["-serial", "file:/dev/null", "-bios",
                                            setup.rom(cmdline)]
    return run_marked(setup, vmm_command(setup, who, extra=extra)).seconds


def _target(name, us, port_us):
    bare, vireo = us.get("bare"), us.get("vireo")
    if vireo is None or bare is None:
        return None
    if name == "serial byte":
        return ("<= two port exits", vireo, "<=", 2 * port_us)
    if name == "doorbell":
        return ("no user space: <= half an exit", vireo - bare, "<=", port_us / 2)
    return ("<= bare + 0.15 us", vireo - bare, "<=", 0.15)


def run(setup, table):
    table.title("exits: one access, loop included (in us)")
    port_us = None
    for name, what, count in KINDS:
        n = int(count * setup.scale)
        samples = {who: [] for who in setup.contestants()}
        for _ in range(setup.rounds):
            for who in samples:
                samples[who].append(_run_one(setup, who, what, n) / n * 1e6)
        us = {who: median(s) for who, s in samples.items()}
        port_us = port_us or us.get("bare") or us.get("qemu")
        table.row(name, "us", **us, target=_target(name, us, port_us))
