# SPDX-License-Identifier: GPL-2.0-or-later
"""Start: exec to the guest's first instruction; memory: the process beyond the guest's RAM."""
from .machine import bare_command, disk_args, nic_args, output_of, vmm_command
from .table import median, ratio

CASES = [("microvm", "rom", 512), ("microvm", "rom", 4096), ("microvm", "pvh", 512),
         ("q35", "rom", 512), ("q35", "rom", 4096), ("q35", "pvh", 512), ("q35", "pvh", 4096)]
LIMIT_MS = {"microvm": 6, "q35": 10}
LIMIT_MIB = {"microvm": 5, "q35": 8}


def _command(setup, who, machine, image, memory):
    if who == "bare":
        extra = ["--" + image, setup.guest("first.rom" if image == "rom" else "first-pvh.elf")]
        return bare_command(setup, memory, extra)
    extra = disk_args(setup.make_disk(), machine, iothread=False) + nic_args(machine)
    if image == "rom":
        extra += ["-bios", setup.guest("first.rom")]
    else:
        extra += ["-kernel", setup.guest("first-pvh.elf")]
    return vmm_command(setup, who, machine, memory, extra)


def _sample(setup, who, case):
    cmd = _command(setup, who, *case)
    out = output_of(setup.prefix() + [setup.guest("start-time"), str(case[2] // 2)] + cmd)
    ns, rss, pss = map(int, out.split())
    return ns / 1e6, rss / 1024, pss / 1024


def run(setup, table):
    table.title("start: exec to the first instruction; memory beyond the guest's RAM "
                "(1 disk, 1 NIC)")
    for case in CASES:
        machine, image, memory = case
        rounds = max(3, int(setup.rounds * 4)) if image == "rom" else max(3, setup.rounds)
        samples = {who: [] for who in setup.contestants()}
        for _ in range(rounds):
            for who in samples:
                samples[who].append(_sample(setup, who, case))
        ms, rss, pss = ({w: median([x[i] for x in s]) for w, s in samples.items()}
                        for i in range(3))
        name = f"{machine} {image} {memory} MiB"
        table.row("start " + name, "ms", **ms,
                  target=(f"<= {LIMIT_MS[machine]} ms", ms.get("vireo"), "<=", LIMIT_MS[machine]))
        if ms.get("vireo") and ms.get("qemu"):
            table.row("  qemu/vireo", "", target=(">= 4", ratio(ms["qemu"], ms["vireo"]), ">=", 4))
        table.row("  memory RSS", "MiB", **rss, target=(
            f"<= {LIMIT_MIB[machine]} MiB", rss.get("vireo"), "<=", LIMIT_MIB[machine]))
        table.row("  memory PSS", "MiB", **pss)
