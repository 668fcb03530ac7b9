# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-blk on qcow2 images against raw ones on the same engine, and against QEMU."""
import os
import shutil
import subprocess

from .blk import Sample
from .machine import disk_args, vmm_command
from .marks import run_marked
from .table import median, ratio

MIB = 256
FRESH_MIB = 8192                # large enough that nearly every random write allocates
SPREAD = ("fresh", "overlay")   # every request goes to a new place, on raw images too
# A case: kind of image, write, cache, depth, requests, least share of raw (of the full image, if
# the case's is fresh), least ratio to QEMU
CASES = [("full", 0, "writeback", 1, 20000, .9, None), ("full", 0, "writeback", 32, 300000, .9, 2),
         ("full", 0, "writeback", 128, 400000, .9, 2.7), ("full", 1, "writeback", 1, 20000, .9, None),
         ("full", 1, "writeback", 32, 150000, .9, None), ("full", 0, "none", 1, 8000, .95, None),
         ("full", 0, "none", 32, 80000, .95, None), ("full", 0, "none", 128, 100000, .95, None),
         ("full", 1, "none", 32, 60000, .95, None), ("fresh", 1, "writeback", 32, 40000, .6, 3),
         ("fresh", 1, "none", 32, 40000, .6, 3), ("overlay", 0, "writeback", 32, 200000, None, 1.5),
         ("overlay", 1, "writeback", 32, 16000, None, 1.5),
         ("compressed", 0, "writeback", 32, 40000, None, 1.5)]


def _img(*args):
    subprocess.run(["qemu-img", *map(str, args)], check=True, stdout=subprocess.DEVNULL)


class Images:
    """The same content as raw and as qcow2 of each kind, made by qemu-img; fresh copies on request."""

    def __init__(self, setup):
        self.setup = setup
        self.raw = setup.make_disk(MIB)
        self.full = self._path("full.qcow2")
        self.compressed = self._path("compressed.qcow2")
        if not os.path.exists(self.compressed):
            _img("convert", "-S", "0", "-f", "raw", "-O", "qcow2", self.raw, self.full)
            _img("convert", "-c", "-f", "raw", "-O", "qcow2", self._text(), self.compressed)

    def _path(self, name):
        return os.path.join(self.setup.dir, name)

    def _text(self):
        """Content that can be compressed."""
        path = self._path("text.raw")
        with open(path, "wb") as f:
            for i in range(MIB * 16):
                f.write(f"{i} {i * 7919} vireo {i ^ 0x5555}\n".encode().ljust(64, b".") * 1024)
        return path

    def make(self, kind):
        """A path and its format; images that a run changes for good are made anew."""
        if kind == "raw":
            return self.raw, "raw"
        if kind in ("full", "compressed"):
            return getattr(self, kind), "qcow2"
        path = self._path(kind + ".qcow2")
        extra = ["-b", self.raw, "-F", "raw"] if kind == "overlay" else [f"{FRESH_MIB}M"]
        _img("create", "-f", "qcow2", path, *extra[:4])
        return path, "qcow2"


def _run(setup, images, who, kind, case):
    _, write, cache, depth, n = case[:5]
    n = max(int(n * setup.scale) // depth, 1) * depth
    path, image_format = images.make(kind)
    rom = setup.rom(f"bench=blk depth={depth} write={write} n={n} irq=0 "
                    f"spread={int(case[0] in SPREAD)}")
    extra = disk_args(path, cache=cache, image_format=image_format) + ["-bios", rom]
    return Sample(run_marked(setup, vmm_command(setup, who, extra=extra)), n)


def run(setup, table):
    table.title("virtio-blk, qcow2, 4 KiB random, batches = depth")
    images = Images(setup)
    for case in CASES:
        kind, write, cache, depth, _, share, least = case
        other = "full" if kind == "fresh" else "raw"
        runs = {("vireo", kind): [], ("vireo", other): [], ("qemu", kind): []}
        for _ in range(setup.rounds):
            for who, which in runs:
                if getattr(setup, who):
                    runs[(who, which)].append(_run(setup, images, who, which, case))
        iops = {key: median([s.iops for s in samples], True) if samples else None
                for key, samples in runs.items()}
        cpu = {key: median([s.io_us for s in samples]) if samples else None
               for key, samples in runs.items()}
        mine, reference, theirs = iops.values()
        table.row(f"{kind} {'write' if write else 'read'} {cache} depth {depth}", "IOPS",
                  vireo=mine, qemu=theirs, target=least and (f">= {least} qemu", ratio(mine, theirs),
                                                             ">=", least))
        table.row(f"  share of {other}", "", bare=reference, vireo=mine, target=share and (
            f">= {share} {other}", ratio(mine, reference), ">=", share))
        table.row("  host CPU a request, I/O side", "us", vireo=cpu[("vireo", kind)],
                  qemu=cpu[("qemu", kind)])
    shutil.rmtree(os.path.join(setup.dir, "qcow2"), ignore_errors=True)
