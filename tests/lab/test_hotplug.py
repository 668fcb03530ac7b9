#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices of every kind come and go again and again while Linux works on a disk and a network:
native PCIe hotplug on q35, ACPI on pc, USB. $HOTPLUG_ROUNDS says how often; a few here, hundreds of
cycles by hand: HOTPLUG_ROUNDS=30 tests/lab/run --scratch -- python3 tests/lab/test_hotplug.py"""

import contextlib
import http.server
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest, make_disk  # noqa: E402

ROUNDS = int(os.environ.get("HOTPLUG_ROUNDS", "2"))
MIB = 1 << 20
PATTERN = b"hotplugged"
WAIT = "for i in $(seq 900); do {} && break; sleep 0.1; done; {}"
GROWTH_KIB = 24 << 10  # of the VMM's memory between the first round and the last
MAC = "52:54:00:00:00:99"


class Kind:
    """What comes and goes, by QMP, and when the guest sees it there."""

    def __init__(self, name, driver, there, use="true", properties=None, back=None):
        self.name = name
        self.driver = driver
        self.there = there
        self.use = use
        self.properties = properties or {}
        self.back = back  # (command that makes it, its arguments, command that removes it, theirs)

    def add(self, guest):
        if self.back:
            guest.qmp.command(self.back[0], **self.back[1])
        guest.qmp.command("device_add", driver=self.driver, id=self.name, **self.properties)

    def wait_there(self, guest):
        ready = f"{{ {self.there} && {{ {self.use}; }}; }}"  # a disk's node is there before the disk
        guest.check(WAIT.format(ready, ready), 150)

    def ask_to_leave(self, guest):
        guest.qmp.command("device_del", id=self.name)

    def wait_gone(self, guest):
        while self.name not in guest.deleted:  # in any order, when several leave
            guest.deleted.add(guest.qmp.event("DEVICE_DELETED", 150)["data"].get("device"))
        guest.deleted.remove(self.name)
        gone = f"! {{ {self.there}; }}"
        guest.check(WAIT.format(gone, gone), 150)
        if self.back:
            guest.qmp.command(self.back[2], **self.back[3])


def blockdev(name, path):
    """A back end for Kind."""
    return ("blockdev-add", {"driver": "raw", "node-name": name,
                             "file": {"driver": "file", "filename": path}},
            "blockdev-del", {"node-name": name})


def reads(device):
    return f"test \"$(head -c {len(PATTERN)} {device})\" = {PATTERN.decode()}"


def pci_kinds(disks, buses):
    return [
        Kind("blk", "virtio-blk-pci", "test -b /dev/vdb",
             f"{reads('/dev/vdb')} && dd if=/dev/vdb of=/dev/null bs=64k 2>/dev/null",
             {"bus": buses[0], "drive": "b0"}, blockdev("b0", disks[0])),
        Kind("nvme", "nvme", "test -b /dev/nvme0n1", reads("/dev/nvme0n1"),
             {"bus": buses[1], "drive": "b1", "serial": "lab"}, blockdev("b1", disks[1])),
        Kind("nic", "virtio-net-pci", f"grep -q {MAC} /sys/class/net/*/address", "true",
             {"bus": buses[2], "netdev": "n1", "mac": MAC},
             ("netdev_add", {"type": "user", "id": "n1"}, "netdev_del", {"id": "n1"}))]


def other_kinds(guest, disks):
    place = guest.qmp.command("query-hotpluggable-cpus")[0]
    blocks = "/sys/devices/system/memory"
    before = guest.check(f"ls -d {blocks}/memory[0-9]* | wc -l")
    return [
        Kind("scsi", "scsi-hd", "test -b /dev/sda", reads("/dev/sda"),
             {"bus": "s0.0", "drive": "b2"}, blockdev("b2", disks[2])),
        Kind("port", "virtserialport", "grep -q lab.port /sys/class/virtio-ports/*/name",
             "for p in /sys/class/virtio-ports/*; do grep -q lab.port $p/name && "
             "echo out > /dev/${p##*/}; done", {"bus": "vs0.0", "chardev": "c1", "name": "lab.port"},
             ("chardev-add", {"id": "c1", "backend": {"type": "null", "data": {}}},
              "chardev-remove", {"id": "c1"})),
        Kind("cpu", place["type"], "test -e /sys/devices/system/cpu/cpu1/online",
             "echo 1 > /sys/devices/system/cpu/cpu1/online && test $(nproc) = 2", place["props"]),
        Kind("dimm", "pc-dimm", f"test $(ls -d {blocks}/memory[0-9]* | wc -l) -gt {before}",
             f"for b in {blocks}/memory[0-9]*; do grep -q offline $b/state && "
             "echo online_movable > $b/state; done; true", {"memdev": "m1"},
             ("object-add", {"qom-type": "memory-backend-ram", "id": "m1", "size": 128 * MIB},
              "object-del", {"id": "m1"}))]


def change_medium(guest, path):
    """A medium comes into the empty drive, is read, and leaves."""
    guest.qmp.command("blockdev-change-medium", id="cd", filename=path, format="raw")
    seen = reads("/dev/sr0")
    guest.check(WAIT.format(seen, seen))
    guest.qmp.command("eject", id="cd", force=True)


class Load:
    """What the guest does meanwhile, and what the VMM takes for it."""

    def __init__(self, guest):
        self.guest = guest
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Megabyte)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        port = self.server.server_address[1]
        guest.check("ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0")
        guest.check("(while :; do dd if=/dev/zero of=/dev/vda bs=64k count=64 conv=fsync; "
                    "dd if=/dev/vda of=/dev/null bs=64k count=64; echo >> /tmp/disk; done) "
                    "> /dev/null 2>&1 & echo $! >> /tmp/loads")
        guest.check(f"(while :; do wget -O /dev/null http://10.0.2.2:{port}/ && echo >> /tmp/net; "
                    "done) > /dev/null 2>&1 & echo $! >> /tmp/loads")

    def end(self):
        """Both have got somewhere."""
        self.guest.check(WAIT.format(*["test -s /tmp/disk && test -s /tmp/net"] * 2))
        self.guest.check("kill $(cat /tmp/loads)")
        self.server.shutdown()


class Megabyte(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(MIB))
        self.end_headers()
        self.wfile.write(bytes(MIB))

    def log_message(self, *_):
        pass


def footprint(guest):
    """The VMM's open descriptors, but those of the load's connections, and its memory in KiB besides
    shared libraries."""
    process = guest.process.pid
    folder = f"/proc/{process}/fd"
    files = []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            files.append(os.readlink(f"{folder}/{name}"))
    files = [file for file in files if not file.startswith("socket:")]
    with open(f"/proc/{process}/status", encoding="ascii") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return len(files), int(fields["RssAnon"].split()[0])


def come_and_go(guest, together, one_by_one, rounds, between=None):
    """All of `together` at once, then the others one after the other; rounds times."""
    first = None
    guest.deleted = set()
    began = time.monotonic()
    for _ in range(rounds):
        for group in [together] + [[kind] for kind in one_by_one]:
            for step in ("add", "wait_there", "ask_to_leave", "wait_gone"):
                for kind in group:
                    getattr(kind, step)(guest)
        if between:
            between()
        first = first or footprint(guest)
    last = footprint(guest)
    assert last[0] <= first[0], f"descriptors: {first[0]}, then {last[0]}"
    assert last[1] - first[1] <= GROWTH_KIB, f"memory: {first[1]} KiB, then {last[1]} KiB"
    cycles = rounds * len(together + one_by_one)
    print(f"  {cycles} cycles in {time.monotonic() - began:.0f} s: descriptors {first[0]} -> "
          f"{last[0]}, memory {first[1]} -> {last[1]} KiB", flush=True)


def on_board(board, arguments, buses, rounds, again=0):
    """again: how often a disk comes and goes by itself afterwards, in each round."""
    load_disk = make_disk("load.img", 16)
    disks = [make_disk(f"plugged{i}.img", 8, PATTERN) for i in range(4)]
    arguments = ["-M", board, "-mem-prealloc", "-drive", f"file={load_disk},format=raw,if=virtio",
                 "-device", "virtio-scsi-pci,id=s0", "-device", "virtio-serial-pci,id=vs0",
                 "-drive", "if=none,id=d0", "-device", "scsi-cd,bus=s0.0,drive=d0,id=cd",
                 *arguments]
    with Guest(arguments, memory="size=384M,slots=2,maxmem=1G", cpus="1,maxcpus=2",
               qmp=True) as guest:
        guest.check("modprobe -a virtio_blk virtio_net virtio_console virtio_scsi sd_mod sr_mod")
        load = Load(guest)
        come_and_go(guest, pci_kinds(disks, buses), other_kinds(guest, disks), rounds,
                    lambda: change_medium(guest, disks[3]))
        if again:
            come_and_go(guest, [], pci_kinds(disks, buses)[:1], again * rounds)
        load.end()
        guest.assert_healthy()
        assert guest.power_off() == 0
    for path in [load_disk, *disks]:
        os.unlink(path)


def test_through_root_ports():
    ports = []
    for i in range(3):
        ports += ["-device", f"pcie-root-port,id=rp{i},chassis={i + 1},slot={i + 1}"]
    on_board("q35", ports, ["rp0", "rp1", "rp2"], ROUNDS)


def test_through_acpi():
    on_board("pc", [], ["pci.0"] * 3, ROUNDS, again=4)


def test_usb():
    disk = make_disk("plugged.img", 8, PATTERN)
    stick = Kind("stick", "usb-storage", "test -b /dev/sda", reads("/dev/sda"),
                 {"bus": "x0.0", "drive": "b0"}, blockdev("b0", disk))
    with Guest(["-nic", "none", "-mem-prealloc", "-device", "qemu-xhci,id=x0"], full=True,
               qmp=True) as guest:
        guest.check("modprobe -a xhci_pci usb_storage sd_mod")
        come_and_go(guest, [stick], [], ROUNDS)
        guest.assert_healthy()
        assert guest.power_off() == 0
    os.unlink(disk)


harness.run(globals())
