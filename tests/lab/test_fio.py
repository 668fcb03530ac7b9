#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""fio verifies what it wrote on virtio-blk, with every way of doing the host's I/O."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest, make_disk  # noqa: E402

FIO = ("fio --name=verify --filename=/dev/vda --rw=randwrite --bs=4k-64k --size=24M --direct=1 "
       "--ioengine=libaio --iodepth=16 --verify=crc32c --verify_fatal=1 --do_verify=1 "
       "--randrepeat=0 --group_reporting --output=/tmp/fio.log || { tail -n 20 /tmp/fio.log; false; }")


def verify(drive, device="virtio-blk-pci", extra=(), cpus=2):
    disk = make_disk("fio.img", 64)
    arguments = [*extra, "-nic", "none",
                 "-drive", f"file={disk},format=raw,if=none,id=d0,{drive}",
                 "-device", f"{device},drive=d0"]
    with Guest(arguments, cpus=cpus, programs=["fio"]) as guest:
        guest.check(FIO, 240)
        guest.assert_healthy()
        assert guest.power_off() == 0
    os.unlink(disk)


def test_io_uring_with_the_page_cache():
    verify("aio=io_uring,cache=writeback")


def test_native_without_the_page_cache():
    verify("aio=native,cache=none")


def test_threads_writing_through():
    verify("aio=threads,cache=writethrough")


def test_several_queues_on_an_io_thread():
    verify("aio=io_uring,cache=none", "virtio-blk-pci,num-queues=2,iothread=io0",
           ["-object", "iothread,id=io0"])


def test_discarded_ranges_are_holes():
    disk = make_disk("discard.img", 64, b"full")
    arguments = ["-nic", "none", "-drive", f"file={disk},format=raw,if=none,id=d0,discard=unmap",
                 "-device", "virtio-blk-pci,drive=d0"]
    before = os.stat(disk).st_blocks * 512
    with Guest(arguments) as guest:
        guest.check("blkdiscard -o 16777216 -l 33554432 /dev/vda && sync")
        zeros = guest.check("dd if=/dev/vda bs=1M skip=16 count=32 2>/dev/null | tr -d '\\000' | wc -c")
        assert zeros == "0", f"{zeros} bytes of the discarded range are not zero"
        assert guest.power_off() == 0
    freed = before - os.stat(disk).st_blocks * 512
    assert freed >= 30 << 20, f"the image shrank by {freed} bytes only"


harness.run(globals())
