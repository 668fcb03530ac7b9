# SPDX-License-Identifier: GPL-2.0-or-later
"""Start: exec to the guest's first instruction, also to a boot sector's through SeaBIOS; memory: the
process beyond the guest's RAM."""
import os

from .machine import bare_command, disk_args, nic_args, output_of, vmm_command
from .table import median, ratio

CASES = [("microvm", "rom", 512), ("microvm", "rom", 4096), ("microvm", "pvh", 512),
         ("q35", "rom", 512), ("q35", "rom", 4096), ("q35", "pvh", 512), ("q35", "pvh", 4096)]
FIRMWARE_CASES = [("q35", "disk", 512)]
LIMIT_MS = {"microvm": 6, "q35": 10}
LIMIT_MIB = {"microvm": 5, "q35": 8}


def _boot_disk(setup):
    """A disk whose boot sector writes to the debug console first of all."""
    path = os.path.join(setup.dir, "boot.img")
    if not os.path.exists(path):
        with open(os.path.join(setup.guests, "../guest/bootsector.bin"), "rb") as sector:
            data = sector.read()
        with open(path, "wb") as file:
            file.write(data)
            file.truncate(1 << 20)
    return path


def _command(setup, who, machine, image, memory):
    if who == "bare":
        extra = ["--" + image, setup.guest("first.rom" if image == "rom" else "first-pvh.elf")]
        return bare_command(setup, memory, extra)
    if image == "disk":
        return vmm_command(setup, who, machine, memory,
                           disk_args(_boot_disk(setup), machine, iothread=False))
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
    table.title("start: exec to the boot sector through SeaBIOS (1 disk)")
    for case in FIRMWARE_CASES:
        samples = {who: [] for who in setup.contestants(bare=False)}
        for _ in range(max(3, setup.rounds)):
            for who in samples:
                samples[who].append(_sample(setup, who, case)[0])
        ms = {who: median(times) for who, times in samples.items()}
        table.row(f"boot sector {case[0]} {case[2]} MiB", "ms", **ms)
        if ms.get("vireo") and ms.get("qemu"):
            table.row("  qemu/vireo", "", target=(">= 1", ratio(ms["qemu"], ms["vireo"]), ">=", 1))
