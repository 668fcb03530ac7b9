# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-net: 60-byte frames sent to the user network and to a tap, ARP round trips."""
import errno
import fcntl
import os
import struct
import subprocess
import time

from .machine import nic_args, vmm_command
from .marks import run_marked
from .table import median, ratio

TUNSETIFF, TUNSETPERSIST = 0x400454CA, 0x400454CB
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 2, 0x1000, 0x4000
TAP = "vireobench0"


def _tap_attach():
    """Opens the tap; waits until the contestant before has let go of it (an io_uring's files are
    closed only after its process has gone)."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    request = struct.pack("16sH22x", TAP.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
    for _ in range(500):
        try:
            fcntl.ioctl(fd, TUNSETIFF, request)
            return fd
        except OSError as e:
            if e.errno != errno.EBUSY:
                os.close(fd)
                raise
            time.sleep(0.01)
    os.close(fd)
    raise OSError(errno.EBUSY, "the tap stays busy")


def _tap(create):
    fd = _tap_attach()
    try:
        fcntl.ioctl(fd, TUNSETPERSIST, int(create))
    finally:
        os.close(fd)
    if create:
        with open(f"/proc/sys/net/ipv6/conf/{TAP}/disable_ipv6", "w") as f:
            f.write("1")
        subprocess.run(["ip", "link", "set", TAP, "up"], check=True)


def _rate(setup, who, backend, cmdline, n):
    if backend.startswith("tap"):
        os.close(_tap_attach())
    extra = nic_args(backend=backend) + ["-bios", setup.rom(f"{cmdline} n={n}")]
    return run_marked(setup, vmm_command(setup, who, extra=extra)).seconds / n


def _compare(setup, backend, cmdline, count):
    n = int(count * setup.scale)
    samples = {who: [] for who in setup.contestants(bare=False)}
    for _ in range(setup.rounds):
        for who in samples:
            samples[who].append(_rate(setup, who, backend, cmdline, n))
    return {who: median(s) for who, s in samples.items()}


def run(setup, table):
    table.title("virtio-net")
    for depth in (1, 64):
        t = _compare(setup, "user", f"bench=net-tx depth={depth}", 20000 if depth == 1 else 320000)
        pps = {who: 1 / s / 1e6 for who, s in t.items()}
        table.row(f"user, 60-byte frames, depth {depth}", "Mpps", **pps, target=(
            ">= 1.3 qemu", ratio(pps.get("vireo"), pps.get("qemu")), ">=", 1.3))
    us = {who: s * 1e6 for who, s in _compare(setup, "user", "bench=net-arp", 10000).items()}
    table.row("user, ARP round trip", "us", **us, target=(
        "<= 0.7 qemu", ratio(us.get("vireo"), us.get("qemu")), "<=", 0.7))
    try:
        _tap(True)
    except OSError as e:
        print(f"tap: skipped, cannot create {TAP}: {e}")
        return
    try:
        backend = f"tap,ifname={TAP},script=no,downscript=no"
        for depth in (1, 64):
            t = _compare(setup, backend, f"bench=net-tx depth={depth}",
                         20000 if depth == 1 else 640000)
            pps = {who: 1 / s / 1e6 for who, s in t.items()}
            table.row(f"tap, 60-byte frames, depth {depth}", "Mpps", **pps, target=(
                ">= 1.3 qemu", ratio(pps.get("vireo"), pps.get("qemu")), ">=", 1.3))
    finally:
        _tap(False)
