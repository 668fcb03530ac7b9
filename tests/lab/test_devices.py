#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""virtio-console ports, virtio-rng and virtio-balloon, with Linux's drivers."""

import socket
import time

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest, scratch  # noqa: E402


def process_rss_mib(process):
    with open(f"/proc/{process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) // 1024


def test_console_ports_carry_data_both_ways():
    path = os.path.join(scratch(), "port")
    arguments = ["-nic", "none", "-device", "virtio-serial-pci",
                 "-chardev", f"socket,id=c0,path={path},server=on,wait=off",
                 "-device", "virtserialport,chardev=c0,name=org.vireo.test",
                 "-chardev", f"file,id=c1,path={scratch()}/hvc",
                 "-device", "virtconsole,chardev=c1"]
    with Guest(arguments) as guest, socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        peer.settimeout(60)
        port = guest.check("grep -l org.vireo.test /sys/class/virtio-ports/*/name | cut -d/ -f5")
        guest.check(f"head -c 100000 /dev/zero | tr '\\000' x > /dev/{port}")
        received = b""
        while len(received) < 100000:
            received += peer.recv(65536)
        assert received == b"x" * 100000
        peer.sendall(b"to the guest\n")
        assert guest.check(f"head -n 1 < /dev/{port}") == "to the guest"
        guest.check("echo on the console > /dev/hvc0")
        with open(os.path.join(scratch(), "hvc")) as file:
            assert "on the console" in file.read()
        guest.assert_healthy()
        assert guest.power_off() == 0


def test_rng_feeds_the_kernel():
    with Guest(["-nic", "none", "-device", "virtio-rng-pci"]) as guest:
        assert "virtio_rng" in guest.check("cat /sys/class/misc/hw_random/rng_current")
        first, second = (guest.check("dd if=/dev/hwrng bs=64 count=4 2>/dev/null | md5sum")
                         for _ in range(2))
        assert first != second
        assert guest.power_off() == 0


def test_memory_freed_in_the_guest_returns_to_the_host():
    arguments = ["-nic", "none", "-device", "virtio-balloon-pci,free-page-reporting=on"]
    with Guest(arguments, memory="768M") as guest:
        guest.check("dd if=/dev/urandom of=/tmp/fill bs=1M count=300", 120)
        full = process_rss_mib(guest.process)
        guest.check("rm /tmp/fill")
        deadline = time.monotonic() + 60
        while process_rss_mib(guest.process) > full - 200 and time.monotonic() < deadline:
            time.sleep(1)
        left = process_rss_mib(guest.process)
        assert left <= full - 200, f"{full} MiB before, still {left} MiB after 300 MiB were freed"
        guest.assert_healthy()
        assert guest.power_off() == 0


harness.run(globals())
