#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's installer from a CD: SeaBIOS and GRUB start it, it finds disk, CD, network card and clock,
partitions and formats a new disk. scripts/make-installer makes the CD."""

import calendar
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import ACPI_TROUBLE, TROUBLE, scratch  # noqa: E402
from lablib.machine import Machine  # noqa: E402
from lablib.testhost import CACHE  # noqa: E402

ISO = os.path.join(CACHE, "installer.iso")
DISK_MIB, PARTITION_START = 256, 1 << 20
WORD = "written by the installer"


def new_disk():
    path = os.path.join(scratch(), "new.img")
    with open(path, "wb") as file:
        file.truncate(DISK_MIB << 20)
    return path


def to_shell(console):
    """From power-on through the firmware and GRUB to the installer's menu and its shell."""
    console.expect(r"Starting the installer from hd\d+", 90)
    menu = console.expect(r"(\d+)[.:] Execute a shell", 240)
    console.send(menu.group(1) + "\n")
    console.expect(r"Press enter to continue", 60)
    console.send("\n")
    console.expect(r"# ", 60)
    console.quiet_shell()


def assert_finds_the_hardware(check, disk, cd):
    assert check("list-devices disk").split() == [disk]
    assert check("list-devices cd").split() == [cd]
    card = check("cd /sys/class/net; echo *; cd /").replace("lo", "").strip()
    check(f"ip link set {card} up && udhcpc -n -q -f -i {card}")
    assert "inet 10.0.2.15/24" in check(f"ip addr show dev {card}")
    words = check("hwclock -u -r").split()  # Sat Nov 21 14:06:35 2026  0.000000 seconds
    clock = calendar.timegm(time.strptime(" ".join(words[1:5]), "%b %d %H:%M:%S %Y"))
    assert abs(clock - time.time()) < 60, words


def partition_and_format(check, disk):
    check(f"echo 'start=2048, type=83, bootable' | sfdisk -q {disk}")
    # udev learns of the new table a little later than the kernel.
    check(f"n=0; until list-devices partition | grep -q {disk}1; do n=$((n+1)); "
          "[ $n -lt 60 ] || break; sleep 1; done")
    assert check("list-devices partition").split() == [f"{disk}1"]
    check(f"mke2fs -q -t ext4 {disk}1")
    check(f"mount -t ext4 {disk}1 /mnt && echo {WORD} >/mnt/word && umount /mnt && sync")


def assert_formatted(image):
    """What the installer left is what this machine's programs expect."""
    partition = os.path.join(scratch(), "partition.img")
    subprocess.run(["dd", f"if={image}", f"of={partition}", "bs=1M", "skip=1", "conv=sparse",
                    "status=none"], check=True)
    subprocess.run(["/usr/sbin/e2fsck", "-fn", partition], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    word = subprocess.run(["/usr/sbin/debugfs", "-R", "cat word", partition], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    assert word.strip() == WORD, word


def install(arguments, disk, cd):
    if not os.path.exists(ISO):
        raise harness.Skip("no installer CD: scripts/make-installer")
    image = new_disk()
    arguments = [word.format(iso=ISO, disk=image) for word in arguments]
    with Machine(["-m", "1G", "-nic", "user", *arguments]) as machine:
        to_shell(machine.console)
        check = machine.console.check
        assert_finds_the_hardware(check, disk, cd)
        assert "initrd.gz" in check(f"mkdir -p /cdrom && mount -t iso9660 -o ro {cd} /cdrom && "
                                     "ls /cdrom/install")
        partition_and_format(check, disk)
        lines = check("dmesg").splitlines()
        bad = [line for line in lines if TROUBLE.search(line) or ACPI_TROUBLE.search(line)]
        assert not bad, "the installer's kernel logged:\n" + "\n".join(bad)
        machine.console.send("poweroff -f\n")
        assert machine.wait(60) == 0
    assert_formatted(image)


def test_from_an_ahci_cd_to_an_ahci_disk():
    install(["-cdrom", "{iso}", "-drive", "file={disk},format=raw,if=ide", "-boot", "once=d"],
            "/dev/sda", "/dev/sr0")


def test_from_an_ide_cd_to_an_ide_disk():
    install(["-M", "pc", "-cdrom", "{iso}", "-drive", "file={disk},format=raw,if=ide",
             "-boot", "once=d"], "/dev/sda", "/dev/sr0")


if __name__ == "__main__":
    harness.run(globals())
