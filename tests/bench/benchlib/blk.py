# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-blk on a raw file: prebuilt 4 KiB requests in batches as deep as the queue."""
import json
import subprocess

from .machine import bare_command, disk_args, vmm_command
from .marks import run_marked
from .table import median, ratio

# A case: write, cache, depth, requests, least ratio to QEMU, least ratio to fio
CASES = [(0, "writeback", 1, 20000, 1.8, None), (0, "writeback", 32, 300000, 2.2, None),
         (0, "writeback", 128, 400000, 3.0, None), (1, "writeback", 1, 20000, None, None),
         (1, "writeback", 32, 150000, 1.3, None), (1, "writeback", 128, 150000, 1.3, None),
         (0, "none", 1, 8000, 1.05, 0.85), (0, "none", 32, 80000, 1.05, 0.95),
         (0, "none", 128, 100000, 1.05, 0.95), (1, "none", 32, 60000, None, None)]
QEMU_AIO = {"writeback": ["io_uring", "threads"], "none": ["io_uring", "native"]}


class Sample:
    def __init__(self, result, n):
        self.iops = n / result.seconds
        self.io_us = result.other / n * 1e6
        self.all_us = (result.other + result.vcpu) / n * 1e6


def run_vmm(setup, who, case, aio, irq=0):
    write, cache, depth, n = case[:4]
    n = max(int(n * setup.scale) // depth, 1) * depth
    rom = setup.rom(f"bench=blk depth={depth} write={write} n={n} irq={irq}")
    if who.startswith("bare"):
        extra = ["--rom", rom, "--disk", setup.disk]
        extra += ["--direct"] if cache == "none" else []
        extra += ["--map"] if who == "bare-map" else []
        return Sample(run_marked(setup, bare_command(setup, 512, extra), True), n)
    extra = disk_args(setup.disk, cache=cache, aio=aio) + ["-bios", rom]
    return Sample(run_marked(setup, vmm_command(setup, who, extra=extra)), n)


def _run_fio(setup, case):
    write, cache, depth = case[:3]
    out = subprocess.run(
        setup.prefix() +
        ["fio", "--name=bench", f"--filename={setup.disk}", "--bs=4k", "--size=256M",
         "--ioengine=io_uring", f"--rw={'randwrite' if write else 'randread'}",
         f"--iodepth={depth}", f"--iodepth_batch_submit={depth}",
         f"--iodepth_batch_complete_min={depth}", f"--iodepth_batch_complete_max={depth}",
         f"--direct={int(cache == 'none')}", "--norandommap", "--random_generator=tausworthe64",
         "--invalidate=0", "--gtod_reduce=1", "--time_based", f"--runtime={int(max(setup.scale, .5) * 1000)}ms",
         "--fallocate=none", "--output-format=json"],
        stdout=subprocess.PIPE, check=True, text=True).stdout
    job = json.loads(out[out.index("{"):])["jobs"][0]
    return job["write" if write else "read"]["iops"]


def _contestants(setup, cache, write):
    them = [("bare", "io_uring")]
    if cache == "writeback" and not write:
        them.append(("bare-map", "io_uring"))
    if setup.qemu:
        them += [("qemu", aio) for aio in QEMU_AIO[cache]]
    if setup.vireo:
        them.append(("vireo", "io_uring"))
    return them


def _collect(setup, case):
    samples = {them: [] for them in _contestants(setup, case[1], case[0])}
    fio = []
    for _ in range(setup.rounds):
        for who, aio in samples:
            samples[(who, aio)].append(run_vmm(setup, who, case, aio))
        fio.append(_run_fio(setup, case))
    return samples, median(fio, True)


def _best(samples, who, get, high=False):
    """The median of the contestant's best variant by IOPS."""
    mine = [s for (w, _), s in samples.items() if w == who]
    if not mine:
        return None
    best = max(mine, key=lambda s: median([x.iops for x in s], True))
    return median([get(x) for x in best], high)


def _by_interrupt(setup, table):
    """A guest that halts until the batch's interrupt, as an operating system does."""
    for depth, n in ((1, 5000), (32, 100000)):
        case = (0, "writeback", depth, n)
        samples = {who: [] for who in setup.contestants(bare=False)}
        for _ in range(setup.rounds):
            for who in samples:
                samples[who].append(run_vmm(setup, who, case, "io_uring", irq=1).iops)
        table.row(f"read writeback depth {depth}, by interrupt", "IOPS",
                  **{who: median(s, True) for who, s in samples.items()})


def run_soak(setup, table):
    """Many short runs of every kind: a request that is lost leaves the guest waiting for ever."""
    setup.make_disk()
    who = "vireo" if setup.vireo else "qemu"
    runs = 0
    for i in range(setup.rounds * 10):
        for case in CASES:
            for irq in (0, 1):
                aio = ("io_uring", "threads")[i & 1] if case[1] == "writeback" else \
                    ("io_uring", "native")[i & 1]
                run_vmm(setup, who, case[:3] + (max(case[3] // 20, 128),), aio, irq)
                runs += 1
    table.title("soak")
    table.row(f"{who}: runs without a lost request", "", vireo=runs)


def run(setup, table):
    table.title("virtio-blk, raw file, 4 KiB random, batches = depth")
    setup.make_disk()
    for case in CASES:
        write, cache, depth, _, least_qemu, least_fio = case
        samples, fio = _collect(setup, case)
        whos = ("bare", "qemu", "vireo")
        iops = {w: _best(samples, w, lambda s: s.iops, True) for w in whos}
        io_us = {w: _best(samples, w, lambda s: s.io_us) for w in whos}
        all_us = {w: _best(samples, w, lambda s: s.all_us) for w in whos}
        name = f"{'write' if write else 'read'} {cache} depth {depth}"
        table.row(name, "IOPS", fio=fio, **iops, target=least_qemu and (
            f">= {least_qemu} qemu", ratio(iops["vireo"], iops["qemu"]), ">=", least_qemu))
        if least_fio:
            table.row("  share of fio", "", target=(
                f">= {least_fio}", ratio(iops["vireo"], fio), ">=", least_fio))
        if ("bare-map", "io_uring") in samples:
            table.row("  bare, file mapped", "IOPS",
                      bare=_best(samples, "bare-map", lambda s: s.iops, True))
        table.row("  host CPU a request, I/O side", "us", **io_us, target=(
            "<= 0.6 qemu", ratio(io_us["vireo"], io_us["qemu"]), "<=", 0.6))
        table.row("  host CPU a request, with vCPU", "us", **all_us)
        for (who, aio), s in samples.items():
            setup.log(f"{who} {aio}: {[int(x.iops) for x in s]}")
    _by_interrupt(setup, table)
