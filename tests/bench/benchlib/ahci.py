# SPDX-License-Identifier: GPL-2.0-or-later
"""A SATA disk on AHCI: queued 4 KiB commands, by interrupt for what has ended, or in batches."""
from .blk import QEMU_AIO, Sample
from .machine import vmm_command
from .marks import run_marked
from .table import median, ratio

# A case: write, cache, depth, requests, least ratio to QEMU, how the guest goes about it
CASES = [(0, "writeback", 1, 10000, None, "irq"), (0, "writeback", 32, 150000, 1.3, "irq"),
         (0, "writeback", 32, 100000, 1.3, "linux"), (0, "writeback", 32, 200000, 1.3, "batch"),
         (1, "writeback", 32, 80000, None, "irq"), (0, "none", 32, 80000, 1.3, "irq"),
         (0, "none", 32, 80000, 1.3, "linux"), (0, "none", 32, 80000, 1.3, "batch")]
WAYS = {"irq": ("irq=1 single=0", ", by interrupt"),
        "linux": ("irq=1 single=1", ", by interrupt, issued one by one"),
        "batch": ("irq=0 single=0", ", batches")}


def run_vmm(setup, who, case, aio):
    write, cache, depth, n, _, way = case
    n = max(int(n * setup.scale), 2000)
    rom = setup.rom(f"bench=ahci depth={depth} write={write} n={n} blocks=65536 "
                    f"{WAYS[way][0]}")
    extra = ["-drive", f"if=none,id=disk,file={setup.disk},format=raw,cache={cache},aio={aio}",
             "-device", "ide-hd,drive=disk,bus=ide.0", "-bios", rom]
    return Sample(run_marked(setup, vmm_command(setup, who, extra=extra)), n)


def _contestants(setup, cache):
    them = [("qemu", aio) for aio in QEMU_AIO[cache]] if setup.qemu else []
    return them + ([("vireo", "io_uring")] if setup.vireo else [])


def run(setup, table):
    table.title("AHCI, raw file, 4 KiB random, queued")
    setup.make_disk()
    for case in CASES:
        write, cache, depth, _, least, way = case
        samples = {them: [] for them in _contestants(setup, cache)}
        for _ in range(setup.rounds):
            for who, aio in samples:
                samples[(who, aio)].append(run_vmm(setup, who, case, aio))
        iops, io_us = {}, {}
        for (who, _), runs in samples.items():
            value = median([s.iops for s in runs], True)
            if value > iops.get(who, 0):
                iops[who], io_us[who] = value, median([s.io_us for s in runs])
        target = None
        if least and len(iops) == 2:
            value = ratio(iops["vireo"], iops["qemu"])
            target = (f">= {least} qemu", value, ">=", least)
        table.row(f"{'write' if write else 'read'} {cache} depth {depth}{WAYS[way][1]}", "IOPS",
                  **iops, target=target)
        table.row("  host CPU a request, I/O side", "us", **io_us)
        for (who, aio), runs in samples.items():
            setup.log(f"{who} {aio}: {[int(s.iops) for s in runs]}")
