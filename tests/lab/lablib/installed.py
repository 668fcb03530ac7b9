# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian 12 that is installed on grub.img: from power-on through firmware and GRUB to a shell."""

import os
import subprocess

from . import harness
from .console import ConsoleClosed
from .guest import ACPI_TROUBLE, TROUBLE, scratch
from .machine import Machine

# How the same disk is attached, and where its root file system then is.
ATTACHMENTS = {
    "virtio": (["-drive", "file={disk},format=raw,if=virtio"], "/dev/vda1"),
    "ide": (["-drive", "file={disk},format=raw,if=ide,index=0"], "/dev/sda1"),
    "nvme": (["-drive", "file={disk},format=raw,if=none,id=d",
              "-device", "nvme,drive=d,serial=lab-nvme"], "/dev/nvme0n1p1"),
    "scsi": (["-device", "virtio-scsi-pci", "-drive", "file={disk},format=raw,if=none,id=d",
              "-device", "scsi-hd,drive=d"], "/dev/sda1"),
    "usb": (["-device", "qemu-xhci", "-drive", "file={disk},format=raw,if=none,id=d",
             "-device", "usb-storage,drive=d"], "/dev/sda1"),
}


def disk_path():
    return os.path.join(scratch(), "grub.img")


def attach(kind):
    """The arguments that attach the disk in this way."""
    return [word.format(disk=disk_path()) for word in ATTACHMENTS[kind][0]]


def log_in(machine):
    """From power-on to a root shell."""
    machine.console.expect(r"SeaBIOS", 60)
    machine.console.expect(r"GRUB", 60)
    machine.console.expect(r"vireo login:", 240)
    machine.console.send("root\n")
    machine.console.expect(r"# ", 60)
    machine.console.quiet_shell()


def assert_healthy(machine):
    lines = machine.console.check("dmesg", 60).splitlines()
    bad = [line for line in lines if TROUBLE.search(line) or ACPI_TROUBLE.search(line)]
    assert not bad, "the guest's kernel logged:\n" + "\n".join(bad)


def boot(arguments, cpus=2, **options):
    """A machine with the arguments that was logged into.

    Seen once: a guest of the test host resets in the midst of its boot, and with -no-reboot the VMM
    then ends in order. Such a boot is repeated once, and it is said."""
    for last in (False, True):
        machine = Machine(["-m", "1G", "-smp", cpus, *arguments], **options)
        try:
            log_in(machine)
            return machine
        except BaseException as error:
            machine.__exit__(RuntimeError, None, None)
            if last or not isinstance(error, ConsoleClosed) or machine.process.returncode != 0:
                raise
            print("the guest reset itself before its login; once more", flush=True)


def boot_and_use(kind, board, cpus=2):
    """Boots the disk attached in this way to login, writes to it, sees a quiet kernel, powers off."""
    with boot(["-M", board, "-nic", "none", *attach(kind)], cpus) as machine:
        check = machine.console.check
        assert check("findmnt -no SOURCE /") == ATTACHMENTS[kind][1]
        assert check("nproc") == str(cpus)
        check("dd if=/dev/urandom of=/root/r bs=1M count=8 oflag=direct && cp /root/r /tmp/s && "
              "sync && echo 3 >/proc/sys/vm/drop_caches && cmp /root/r /tmp/s && rm /root/r", 120)
        assert_healthy(machine)
        machine.console.send("poweroff\n")
        assert machine.wait(120) == 0


def make_iso(name, text):
    """An ISO 9660 image in the scratch directory with the file "text"."""
    folder, path = os.path.join(scratch(), name + ".d"), os.path.join(scratch(), name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "text"), "w", encoding="ascii") as file:
        file.write(text)
    try:
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", path, folder], check=True)
    except FileNotFoundError as error:
        raise harness.Skip("xorriso is not here") from error
    return path
