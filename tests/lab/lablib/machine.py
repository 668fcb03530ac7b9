# SPDX-License-Identifier: GPL-2.0-or-later
"""A running VMM with its serial console, and the guests that the lab boots."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

from . import stuck
from .console import Console, ConsoleTimeout
from .qmp import Qmp
from .testhost import CACHE, TREE

IMAGE = os.path.join(CACHE, "image")


def vmm_path():
    """The VMM under test: $VIREO (a path, or a command found in PATH), else the tree's build."""
    path = os.environ.get("VIREO", os.path.join(TREE, "build", "vireo"))
    found = shutil.which(path)
    if not found:
        raise FileNotFoundError(f"no VMM at {path}: build it (ninja -C build) or set VIREO")
    return found


def is_qemu(path=None):
    return "qemu" in os.path.basename(path or vmm_path())


def acceleration(path=None):
    """What QEMU needs to be told to be what Vireo is by default."""
    return ["-accel", "kvm", "-cpu", "host", "-M", "q35"] if is_qemu(path) else []


def user_network(options=""):
    """A virtio NIC on the user-mode network; QEMU has another NIC by default."""
    model = "model=virtio-net-pci" if is_qemu() else ""
    return ["-nic", ",".join(part for part in ("user", model, options) if part)]


class Machine:
    """Starts the VMM with the arguments; the first serial port is self.console.

    with Machine([...]) as machine: ...; leaving kills it when it still runs. vmm is another than
    the one under test."""

    def __init__(self, arguments, nographic=True, qmp=False, log=None, defaults=True, env=None,
                 vmm=None):
        self.directory = tempfile.mkdtemp(prefix="lab-vm-")
        command = [vmm or vmm_path()]
        if defaults:
            command += acceleration(vmm)
        command += [str(argument) for argument in arguments]
        if nographic:
            command += ["-nographic"]
        self.qmp = None
        if qmp:
            socket_path = os.path.join(self.directory, "qmp")
            command += ["-qmp", f"unix:{socket_path},server=on,wait=off"]
        self.command = command
        if os.environ.get("LAB_VERBOSE"):
            print("+ " + " ".join(command), file=sys.stderr)
        self.errors = open(os.path.join(self.directory, "stderr"), "w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, bufsize=0,
                                        env=dict(os.environ, **(env or {})))
        if log is None and os.environ.get("LAB_CONSOLE"):
            log = sys.stderr
        self.console = Console(self.process.stdout.fileno(), self.process.stdin.fileno(), log)
        if qmp:
            self.qmp = Qmp(socket_path)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is not None:
            print(f"command: {' '.join(self.command)}", file=sys.stderr)
            if self.console.transcript:
                print("console:\n" + self.console.tail(), file=sys.stderr)
            print("stderr:\n" + self.error_text(), file=sys.stderr)
            print(f"it {self.how_it_ended()}", file=sys.stderr)
            if issubclass(kind, ConsoleTimeout) and self.process.poll() is None:
                print("threads:\n" + stuck.report(self.process.pid), file=sys.stderr)
        self.close()

    def how_it_ended(self):
        """Whether the VMM still runs, else its exit status; and the last events it sent."""
        status = self.process.poll()
        text = "still runs" if status is None else f"exited with {status}"
        if self.qmp:
            events = [f"{event['event']} {event.get('data', '')}" for event in self.qmp.drain()]
            text += "; last events: " + ("; ".join(events[-5:]) or "none")
        return text

    def error_text(self):
        self.errors.flush()
        with open(self.errors.name, errors="replace") as file:
            return file.read()

    def wait(self, timeout=120):
        """The exit status once the VMM has ended by itself; its console is read meanwhile."""
        self.console.read_until_closed(timeout)
        return self.process.wait(timeout)

    def terminate(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def close(self):
        if self.qmp:
            self.qmp.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def debian_arguments(directory, memory="1G", cpus=2, append=""):
    """The issue's command line for the Debian disk in directory, without a network."""
    return ["-m", memory, "-smp", cpus,
            "-kernel", os.path.join(directory, "vmlinuz"),
            "-initrd", os.path.join(directory, "initrd.img"),
            "-append", f"console=ttyS0 root=/dev/vda quiet {append}".strip(),
            "-drive", f"file={os.path.join(directory, 'disk.img')},format=raw,if=virtio"]
