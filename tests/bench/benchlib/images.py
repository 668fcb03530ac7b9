# SPDX-License-Identifier: GPL-2.0-or-later
"""Work on whole images: vireo-img beside qemu-img, and block jobs of machines that stand still."""
import json
import os
import random
import socket
import subprocess
import tempfile
import time

from .table import median, ratio

GIB = 10                # of the image, every second 16 MiB of it with data
JOBS_MIB = 1024         # of the image that jobs copy
TOOL_CASES = [("create", "create -f qcow2 new.qcow2 10G", 1), ("check", "check half.qcow2", 1),
              ("compare", "compare half.qcow2 copy.qcow2", 1),
              ("convert", "convert -O qcow2 half.qcow2 new.qcow2", 1),
              ("convert -c", "convert -c -O qcow2 small.qcow2 new.qcow2", 2),
              ("snapshot -c", "snapshot -c first half.qcow2", 1),
              ("snapshot -d", "snapshot -d first half.qcow2", 1)]


def _write_data(path, mib):
    """Half holes; of the rest one half is text, and one half does not get smaller."""
    noise = [os.urandom(1 << 20) for _ in range(4)]
    text = "".join(f"{i} {random.random()}\n".ljust(64, ".") for i in range(1 << 14)).encode()
    with open(path, "wb") as f:
        f.truncate(mib << 20)
        for i in range(mib):
            if i // 16 % 2 == 0:
                f.seek(i << 20)
                f.write(f"{i:16}".encode() + (text if i % 2 else noise[i // 2 % 4])[16:])


class Folder:
    """The images, made by qemu-img."""

    def __init__(self, setup):
        self.path = tempfile.mkdtemp(prefix="images.", dir=setup.dir)
        small = JOBS_MIB if setup.scale == 1 else JOBS_MIB // 4
        for name, mib in (("half", int(GIB * 1024 * setup.scale)), ("small", small)):
            raw = os.path.join(self.path, "raw")
            _write_data(raw, mib)
            self.run(f"qemu-img convert -f raw -O qcow2 raw {name}.qcow2")
            os.unlink(raw)
        self.run("cp half.qcow2 copy.qcow2")
        self.small_mib = small

    def run(self, command):
        """Seconds that it took."""
        begin = time.monotonic()
        subprocess.run(command.split(), cwd=self.path, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - begin

    def forget(self, *names):
        """New images are not there, and what is dirty does not slow the next."""
        for name in names:
            path = os.path.join(self.path, name)
            if os.path.exists(path):
                os.unlink(path)
        os.sync()


def run_tool(setup, table):
    table.title("vireo-img beside qemu-img, a 10 GiB image half full")
    folder = Folder(setup)
    tools = {"vireo": os.path.join(os.path.dirname(setup.vireo), "vireo-img"), "qemu": "qemu-img"}
    runs = {(name, who): [] for name, _, _ in TOOL_CASES for who in tools}
    for i in range(setup.rounds):
        # Who comes second finds memory that the first has used: they take turns.
        for who in sorted(tools, reverse=i % 2 == 0):
            for name, command, _ in TOOL_CASES:
                folder.forget("new.qcow2")
                runs[name, who].append(folder.run(f"{tools[who]} {command}"))
    for name, _, least in TOOL_CASES:
        mine, theirs = (median(runs[name, who]) for who in ("vireo", "qemu"))
        table.row(name, "s", vireo=mine, qemu=theirs,
                  target=(f">= {least} qemu's speed", ratio(theirs, mine), ">=", least))


class StandingMachine:
    """A machine that was never started, and its monitor."""

    def __init__(self, program, folder, image):
        path = os.path.join(folder.path, "qmp")
        self.process = subprocess.Popen(
            [program, "-accel", "kvm", "-machine", "q35", "-S", "-nodefaults", "-display", "none",
             "-qmp", f"unix:{path},server=on,wait=off", "-device", "virtio-blk-pci,drive=disk",
             "-drive", f"if=none,id=disk,file={image},format=qcow2"],
            cwd=folder.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.socket = socket.socket(socket.AF_UNIX)
        until = time.monotonic() + 30
        while self.socket.connect_ex(path) != 0:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{program} did not open its monitor")
            time.sleep(0.02)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        self.lines.readline()
        self.command("qmp_capabilities")

    def _until(self, wanted):
        while True:
            reply = json.loads(self.lines.readline())
            if "error" in reply:
                raise RuntimeError(reply["error"]["desc"])
            if wanted(reply):
                return

    def command(self, name, **arguments):
        self.socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        self._until(lambda reply: "return" in reply)

    def wait_for(self, event):
        self._until(lambda reply: reply.get("event") == event)

    def quit(self):
        self.command("quit")
        self.process.wait()
        self.socket.close()


def _job(program, folder, kind):
    """Seconds from the command to where the copy is complete."""
    folder.forget("new.qcow2", "overlay.qcow2", "base.qcow2", "qmp")
    image = "small.qcow2"
    if kind in ("commit", "stream"):
        folder.run("cp small.qcow2 base.qcow2")
        folder.run("qemu-img create -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2")
        image = "overlay.qcow2"
    if kind == "commit":
        subprocess.run(["qemu-io", "-c", f"write -P 7 0 {folder.small_mib // 2}M", image],
                       cwd=folder.path, check=True, stdout=subprocess.DEVNULL)
    if kind == "mirror":
        folder.run(f"qemu-img create -f qcow2 new.qcow2 {folder.small_mib}M")
    os.sync()
    machine = StandingMachine(program, folder, image)
    target = {"target": os.path.join(folder.path, "new.qcow2"), "format": "qcow2", "sync": "full"}
    command, arguments = {"mirror": ("drive-mirror", dict(target, device="disk", mode="existing")),
                          "backup": ("drive-backup", dict(target, device="disk")),
                          "stream": ("block-stream", {"device": "disk"}),
                          "commit": ("block-commit", {"device": "disk"})}[kind]
    ready = "BLOCK_JOB_READY" if kind in ("mirror", "commit") else "BLOCK_JOB_COMPLETED"
    begin = time.monotonic()
    machine.command(command, **{"job-id": "job"}, **arguments)
    machine.wait_for(ready)
    seconds = time.monotonic() - begin
    if ready == "BLOCK_JOB_READY":
        machine.command("block-job-complete", device="job")
        machine.wait_for("BLOCK_JOB_COMPLETED")
    machine.quit()
    return seconds


def run_jobs(setup, table):
    table.title(f"block jobs, {JOBS_MIB} MiB half full, through the page cache")
    folder = Folder(setup)
    programs = {"vireo": setup.vireo, "qemu": setup.qemu}
    for kind in ("mirror", "commit", "backup", "stream"):
        runs = {who: [] for who in programs}
        for _ in range(setup.rounds):
            for who, program in programs.items():
                runs[who].append(_job(program, folder, kind))
        mine, theirs = median(runs["vireo"]), median(runs["qemu"])
        table.row(kind, "s", vireo=mine, qemu=theirs,
                  target=(">= 1 qemu's speed", ratio(theirs, mine), ">=", 1))
