# SPDX-License-Identifier: GPL-2.0-or-later
"""The contestants: command lines of Vireo, QEMU and the bare KVM program for one machine."""
import os
import shutil
import subprocess
import tempfile

ROM_CMDLINE = 0x3E000


class Setup:
    """Paths and options of one run of the benchmarks."""

    def __init__(self, args):
        self.vireo = args.vireo
        self.qemu = args.qemu
        self.guests = args.guests
        self.rounds = args.rounds
        self.scale = 0.25 if args.quick else 1.0
        self.nice = args.nice
        self.dir = tempfile.mkdtemp(prefix="vireo-bench.", dir=args.scratch)
        self.disk = os.path.join(self.dir, "disk.img")
        self.verbose = args.verbose

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def contestants(self, bare=True):
        names = ["bare"] if bare else []
        names += ["qemu"] if self.qemu else []
        names += ["vireo"] if self.vireo else []
        return names

    def guest(self, name):
        return os.path.join(self.guests, name)

    def make_disk(self, mib=256):
        """A file of random bytes, all of it in the page cache."""
        if not os.path.exists(self.disk):
            with open(self.disk, "wb") as f:
                for _ in range(mib):
                    f.write(os.urandom(1 << 20))
                os.fsync(f.fileno())
        return self.disk

    def rom(self, cmdline):
        """The benchmark guest as a ROM image with this command line."""
        path = os.path.join(self.dir, "bench.rom")
        with open(self.guest("bench.rom"), "rb") as f:
            image = bytearray(f.read())
        text = cmdline.encode() + b"\0"
        image[ROM_CMDLINE:ROM_CMDLINE + len(text)] = text
        with open(path, "wb") as f:
            f.write(image)
        return path

    def log(self, text):
        if self.verbose:
            print("   ", text, flush=True)

    def prefix(self):
        return ["nice", "-n", str(self.nice)] if self.nice else []


def vmm_command(setup, who, machine="q35", memory=512, extra=()):
    """The part of the command line that Vireo and QEMU share."""
    program = setup.qemu if who == "qemu" else setup.vireo
    cmd = [program, "-accel", "kvm", "-machine", machine, "-m", f"{memory}M", "-nodefaults",
           "-no-user-config", "-display", "none",
           "-chardev", "stdio,id=out,signal=off",
           "-device", "isa-debugcon,iobase=0xe9,chardev=out"]
    if who == "qemu":
        cmd += ["-name", "bench,debug-threads=on"]
    return cmd + list(extra)


def disk_args(path, machine="q35", cache="writeback", aio="io_uring", iothread=True,
              image_format="raw"):
    bus = "device" if machine == "microvm" else "pci"
    args = ["-drive", f"if=none,id=disk,file={path},format={image_format},cache={cache},aio={aio}"]
    if not iothread:
        return args + ["-device", f"virtio-blk-{bus},drive=disk"]
    return args + ["-object", "iothread,id=io0",
                   "-device", f"virtio-blk-{bus},drive=disk,iothread=io0,queue-size=1024"]


def nic_args(machine="q35", backend="user"):
    bus = "device" if machine == "microvm" else "pci"
    return ["-netdev", f"{backend},id=net", "-device", f"virtio-net-{bus},netdev=net"]


def bare_command(setup, memory=512, extra=()):
    return [setup.guest("bare-kvm"), "--memory", str(memory)] + list(extra)


def output_of(cmd):
    return subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
                          text=True).stdout
