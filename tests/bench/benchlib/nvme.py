# SPDX-License-Identifier: GPL-2.0-or-later
"""NVMe on a raw file: prebuilt 4 KiB reads in batches as deep as the queue."""
from .blk import Sample
from .machine import vmm_command
from .marks import run_marked
from .table import median, ratio

# Cache, depth, requests, shadow doorbells (Linux uses them), by interrupt, least ratio to QEMU
CASES = [("writeback", 1, 10000, 1, 0, None), ("writeback", 32, 300000, 1, 0, 1.3),
         ("writeback", 32, 300000, 0, 0, 1.3), ("writeback", 32, 200000, 1, 1, 1.3),
         ("writeback", 128, 400000, 1, 0, None), ("none", 32, 80000, 1, 0, 1.3),
         ("none", 32, 80000, 1, 1, 1.3)]


def _variants(who, cache):
    """What QEMU can be told; the best of them counts. It has no I/O thread for NVMe."""
    if who == "vireo":
        return [("io_uring", "")]
    other = "native" if cache == "none" else "threads"
    return [("io_uring", ""), (other, ""), ("io_uring", ",ioeventfd=on")]


def _run(setup, who, variant, case):
    cache, depth, n, shadow, irq = case[:5]
    n = max(int(n * setup.scale) // depth, 1) * depth
    rom = setup.rom(f"bench=nvme depth={depth} shadow={shadow} n={n} irq={irq}")
    aio, props = variant
    extra = ["-drive", f"if=none,id=disk,file={setup.disk},format=raw,"
             f"cache={cache},aio={aio}",
             "-device", f"nvme,serial=bench,drive=disk{props}", "-bios", rom]
    return Sample(run_marked(setup, vmm_command(setup, who, extra=extra)), n)


def run(setup, table):
    table.title("NVMe, raw file, 4 KiB random reads, batches = depth")
    setup.make_disk()
    for case in CASES:
        cache, depth, _, shadow, irq, least = case
        samples = {(who, v): [] for who in setup.contestants(bare=False)
                   for v in _variants(who, cache)}
        for _ in range(setup.rounds):
            for who, variant in samples:
                samples[(who, variant)].append(_run(setup, who, variant, case))
        best, cpu = {}, {}
        for (who, variant), s in samples.items():
            iops = median([x.iops for x in s], True)
            setup.log(f"{who} {variant}: {[int(x.iops) for x in s]}")
            if iops > best.get(who, 0):
                best[who], cpu[who] = iops, median([x.all_us for x in s])
        name = f"{cache} depth {depth}" + (", shadow doorbells" if shadow else ", doorbells") + \
            (", by interrupt" if irq else "")
        table.row(name, "IOPS", **best, target=least and (
            f">= {least} qemu", ratio(best.get("vireo"), best.get("qemu")), ">=", least))
        table.row("  host CPU a request, with vCPU", "us", **cpu)
