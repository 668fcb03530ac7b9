# SPDX-License-Identifier: GPL-2.0-or-later
"""A SATA disk on AHCI: queued 4 KiB commands, an interrupt for what has ended."""
from .blk import QEMU_AIO, Sample
from .machine import vmm_command
from .marks import run_marked
from .table import median, ratio

# A case: write, cache, depth, requests, least ratio to QEMU
CASES = [(0, "writeback", 1, 10000, None), (0, "writeback", 32, 100000, 1.3),
         (1, "writeback", 32, 80000, None), (0, "none", 32, 60000, 1.3)]


def run_vmm(setup, who, case, aio):
    write, cache, depth, n = case[:4]
    n = max(int(n * setup.scale), 2000)
    rom = setup.rom(f"bench=ahci depth={depth} write={write} n={n} blocks=65536")
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
        write, cache, depth, _, least = case
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
        table.row(f"{'write' if write else 'read'} {cache} depth {depth}", "IOPS", **iops,
                  target=target)
        table.row("  host CPU a request, I/O side", "us", **io_us)
        for (who, aio), runs in samples.items():
            setup.log(f"{who} {aio}: {[int(s.iops) for s in runs]}")
