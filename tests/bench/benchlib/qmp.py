# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP: round trips a second, the time to the first greeting, devices that come and go. The clients are the
same for both; QEMU runs with TCG and Vireo with the accelerator `qtest`, both with -S: no guest runs."""
import os
import shutil
import socket
import subprocess
import tempfile
import time

from .table import median, ratio

ROUND_TRIPS = 4000
HOTPLUGS = 300
CLIENTS = 4
PATIENCE = 20
FULL_LINE = ["-machine", "q35", "-smp", "2", "-m", "512M", "-name", "bench", "-uuid",
             "01234567-89ab-cdef-0123-456789abcdef", "-device", "virtio-scsi-pci,id=scsi",
             "-blockdev", "null-co,node-name=m,size=67108864,read-zeroes=on",
             "-blockdev", "null-co,node-name=n,size=67108864,read-zeroes=on",
             "-device", "virtio-blk-pci,drive=n,id=disk",
             "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,id=nic",
             "-chardev", "null,id=c", "-device", "isa-serial,chardev=c",
             "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci"]


class Client:
    """One connection, behind greeting and negotiation."""

    def __init__(self, path):
        deadline = time.monotonic() + PATIENCE
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.0002)
        self.data = b""
        self.deleted = 0
        self.line()
        self.greeted = time.monotonic()
        self.ask(b'{"execute": "qmp_capabilities"}')

    def line(self):
        while b"\n" not in self.data:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError("the monitor has closed the connection")
            self.data += more
        line, self.data = self.data.split(b"\n", 1)
        return line

    def answer(self):
        """Events are passed over; those of deleted devices are counted."""
        while True:
            line = self.line()
            if b'"event": ' not in line:
                return line
            self.deleted += b"DEVICE_DELETED" in line

    def wait_deleted(self, count):
        while self.deleted < count:
            self.deleted += b"DEVICE_DELETED" in self.line()

    def ask(self, request):
        self.socket.sendall(request + b"\n")
        line = self.answer()
        if b'"error"' in line:
            raise RuntimeError(line.decode())
        return line


class Process:
    def __init__(self, setup, who, monitors=1, extra=()):
        self.dir = tempfile.mkdtemp(prefix="qmp.", dir=setup.dir)
        paths = [os.path.join(self.dir, str(i)) for i in range(monitors)]
        program, accel = (setup.qemu, "tcg") if who == "qemu" else (setup.vireo, "qtest")
        command = [program, "-accel", accel, "-S", "-nodefaults", "-no-user-config", "-display", "none"]
        for path in paths:
            command += ["-qmp", f"unix:{path},server=on,wait=off"]
        self.began = time.monotonic()
        self.process = subprocess.Popen(setup.prefix() + command + list(extra), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.clients = [Client(path) for path in paths]

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()
        for client in self.clients:
            client.socket.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def _round_trips(setup, who, command, clients):
    count = max(200, int(ROUND_TRIPS * setup.scale))
    request = b'{"execute": "%s"}\n' % command.encode()
    with Process(setup, who, clients, FULL_LINE) as process:
        began = time.monotonic()
        for _ in range(count // clients):
            for client in process.clients:
                client.socket.sendall(request)
            for client in process.clients:
                client.answer()
        return count / (time.monotonic() - began)


def _greeting(setup, who):
    with Process(setup, who, 1, FULL_LINE) as process:
        return (process.clients[0].greeted - process.began) * 1000


def _hotplug(setup, who):
    """A SCSI disk needs no guest to let go: the cycle is the VMM's own work."""
    count = max(30, int(HOTPLUGS * setup.scale))
    with Process(setup, who, 1, FULL_LINE) as process:
        client = process.clients[0]
        began = time.monotonic()
        for i in range(count):
            client.ask(b'{"execute": "device_add", "arguments": {"driver": "scsi-hd", "id": "r", '
                       b'"bus": "scsi.0", "drive": "m"}}')
            client.ask(b'{"execute": "device_del", "arguments": {"id": "r"}}')
            client.wait_deleted(i + 1)
        return count / (time.monotonic() - began)


def _compare(setup, table, name, unit, sample, target):
    """target: (comparison, limit) of vireo / qemu."""
    samples = {who: [] for who in setup.contestants(bare=False)}
    for _ in range(max(3, setup.rounds)):
        for who in samples:
            samples[who].append(sample(who))
    middle = {who: median(values, high=target[0] == ">=") for who, values in samples.items()}
    table.row(name, unit, **middle, target=(f"{target[0]} {target[1]:.3g} x qemu",
                                            ratio(middle.get("vireo"), middle.get("qemu")), *target))


def run(setup, table):
    table.title("qmp: round trips a second on unix sockets, one outstanding request a client")
    for command in ("query-status", "query-version", "query-block", "query-commands"):
        for clients in (1, CLIENTS):
            _compare(setup, table, f"{command}, {clients} clients", "1/s",
                     lambda who, c=command, n=clients: _round_trips(setup, who, c, n), (">=", 2))


def run_start(setup, table):
    table.title("qmp-start: exec with -S to the first greeting (2 CPUs, 1 disk, 1 NIC, 6 devices)")
    _compare(setup, table, "first greeting", "ms", lambda who: _greeting(setup, who), ("<=", 1 / 3))


def run_hotplug(setup, table):
    table.title("hotplug: device_add and device_del of a SCSI disk with -S")
    _compare(setup, table, "cycles", "1/s", lambda who: _hotplug(setup, who), (">=", 1))
