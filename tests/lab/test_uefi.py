#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""UEFI guests: OVMF as one file and in flash memory, GRUB from disk and CD, variables that stay,
Linux with its EFI run-time services.

The test host's KVM intercepts CR8 for this (scripts/lib/intercept-cr8)."""

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import ACPI_TROUBLE, TROUBLE, scratch  # noqa: E402
from lablib.installed import disk_path  # noqa: E402
from lablib.machine import Machine  # noqa: E402

OVMF = "/usr/share/ovmf/OVMF.fd"
CODE, VARS = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
GRUB_MODULES = "part_gpt fat iso9660 normal echo halt linux search search_fs_file"
GUID = "0ac3c1ae-5d04-4b9c-9a3c-2f1d6f6e1a55"
ESP_START = 1 << 20
MARK = "GRUB-IS-HERE"


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def path(name):
    return os.path.join(scratch(), name)


def need(*files):
    missing = [file for file in files if not os.path.exists(file) and not shutil.which(file)]
    if missing:
        raise harness.Skip(f"no {', '.join(missing)}")


def grub_image(script, modules=""):
    """A GRUB for UEFI that runs the script; modules: what it needs besides the usual ones."""
    need("grub-mkstandalone", "/usr/lib/grub/x86_64-efi")
    config, image = path("grub.cfg"), path("grubx64.efi")
    with open(config, "w") as file:
        file.write(script)
    run("grub-mkstandalone", "-O", "x86_64-efi", "-o", image, f"--modules={GRUB_MODULES} {modules}",
        f"--install-modules={GRUB_MODULES} {modules}", "--themes=", "--fonts=", "--locales=",
        f"boot/grub/grub.cfg={config}")
    return image


def esp_disk(files, mib=16):
    """A disk with an EFI system partition; files: {name on it: file}."""
    need("mformat", "mcopy")
    disk = path("esp.img")
    with open(disk, "wb") as file:
        file.truncate(mib << 20)
    subprocess.run(["/usr/sbin/sfdisk", "-q", disk], check=True, text=True,
                   input="label: gpt\nstart=2048, type=uefi\n")
    partition = f"{disk}@@{ESP_START}"
    run("mformat", "-i", partition, "-F" if mib > 64 else "-c1",
        "-T", str(((mib - 2) << 20) // 512), "::")
    folders = {folder for name in files for folder in parents(name)}
    for folder in sorted(folders):
        run("mmd", "-i", partition, f"::{folder}")
    for name, source in files.items():
        run("mcopy", "-i", partition, source, f"::{name}")
    return disk


def parents(name):
    parts = name.split("/")[:-1]
    return ["/".join(parts[:depth + 1]) for depth in range(len(parts))]


def flash():
    """Flash drives with variables of their own."""
    need(CODE, VARS)
    variables = path("vars.fd")
    shutil.copy(VARS, variables)
    return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={CODE}",
            "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]


def start(arguments, memory="256M"):
    return Machine(["-m", memory, "-nic", "none", *arguments])


def shell(machine, command):
    machine.console.send(command + "\r")
    machine.console.expect(r"Shell> |FS0:\\> ", 60)


def test_grub_from_a_disk_with_one_firmware_file():
    need(OVMF)
    disk = esp_disk({"EFI/BOOT/BOOTX64.EFI": grub_image(f"echo {MARK} $grub_platform\nhalt\n")})
    with start(["-bios", OVMF, "-drive", f"file={disk},format=raw,if=virtio"]) as machine:
        machine.console.expect(rf"{MARK} efi", 120)
        assert machine.wait(60) == 0


def test_a_boot_entry_stays():
    disk = esp_disk({"lab/grubx64.efi": grub_image(f"echo {MARK} $grub_platform\nhalt\n")})
    arguments = [*flash(), "-drive", f"file={disk},format=raw,if=virtio"]
    with start(arguments) as machine:
        machine.console.expect(r"any other key to continue", 120)
        shell(machine, "")
        shell(machine, f"setvar LabWord -guid {GUID} -bs -rt -nv =0x4c6142")
        shell(machine, 'bcfg boot add 0 fs0:\\lab\\grubx64.efi "Lab entry"')
        machine.console.send("reset -s\r")
        assert machine.wait(60) == 0
    with open(path("vars.fd"), "rb") as file:
        stored = file.read()
    assert "LabWord".encode("utf-16-le") in stored and b"BaL" in stored  # little-endian
    with start(arguments) as machine:
        machine.console.expect(r'starting Boot\d+ "Lab entry"', 120)
        machine.console.expect(rf"{MARK} efi", 60)
        assert machine.wait(60) == 0


# How the rescue CD is attached. (Not IDE: OVMF reads it by port, two bytes an exit, for minutes here.)
CD_DRIVES = {
    "ahci": ["-cdrom", "{iso}"],
    "scsi": ["-device", "virtio-scsi-pci", "-drive", "file={iso},if=none,id=cd,media=cdrom",
             "-device", "scsi-cd,drive=cd"],
    "usb": ["-device", "qemu-xhci", "-drive", "file={iso},format=raw,if=none,id=cd,media=cdrom",
            "-device", "usb-storage,drive=cd"],
}


def rescue_iso():
    need("grub-mkrescue", "xorriso", OVMF)
    tree, iso = path("iso"), path("rescue.iso")
    os.makedirs(os.path.join(tree, "boot/grub"), exist_ok=True)
    with open(os.path.join(tree, "boot/grub/grub.cfg"), "w") as file:
        file.write(f"echo {MARK} $grub_platform $root\nhalt\n")
    run("grub-mkrescue", "-d", "/usr/lib/grub/x86_64-efi", "--themes=", "--fonts=", "--locales=",
        f"--install-modules={GRUB_MODULES}", "-o", iso, tree)
    return iso


def test_rescue_iso_from_each_kind_of_cd():
    iso = rescue_iso()
    for kind, arguments in CD_DRIVES.items():
        with start(["-bios", OVMF, *(word.format(iso=iso) for word in arguments)]) as machine:
            machine.console.expect(rf"{MARK} efi cd\d", 120)
            assert machine.wait(60) == 0
        print(f"from {kind}", flush=True)


# The installed Debian's kernel, with a shell for its first process.
LINUX = """search --set=root --label vireo-root
for image in /boot/initrd-*.img; do
    if regexp --set=1:release '/boot/initrd-(.*).img' "$image"; then
        linux /boot/vmlinuz-$release root=LABEL=vireo-root console=ttyS0 quiet init=/bin/bash
        initrd $image
    fi
done
boot
"""
LINUX_MODULES = "part_msdos ext2 search_label regexp test boot"


def linux_at_shell(machine):
    """From power-on through GRUB to the shell; returns the console's check()."""
    machine.console.expect(r"Welcome to GRUB", 120)
    machine.console.expect(r"root@\S+# ", 180)
    machine.console.quiet_shell()
    check = machine.console.check
    check("for f in proc sysfs; do mountpoint -q /${f%fs} || mount -t $f $f /${f%fs}; done")
    return check


def assert_quiet_and_end(machine):
    lines = machine.console.check("dmesg --color=never").splitlines()
    assert any("efi: EFI v2" in line for line in lines)
    bad = [line for line in lines if TROUBLE.search(line) or ACPI_TROUBLE.search(line)]
    assert not bad, "the guest's kernel logged:\n" + "\n".join(bad)
    machine.console.send("echo o >/proc/sysrq-trigger\n")
    assert machine.wait(60) == 0


def test_linux_writes_a_variable():
    disk = esp_disk({"EFI/BOOT/BOOTX64.EFI": grub_image(LINUX, LINUX_MODULES)})
    arguments = [*flash(), "-drive", f"file={disk},format=raw,if=virtio",
                 "-drive", f"file={disk_path()},format=raw,if=virtio,readonly=on"]
    variable = f"/sys/firmware/efi/efivars/LabLinux-{GUID}"
    for boot in range(2):
        with start(arguments, "512M") as machine:
            check = linux_at_shell(machine)
            check("/sbin/modprobe efivarfs && mount -t efivarfs e /sys/firmware/efi/efivars")
            if boot == 0:
                check(f"printf '\\007\\000\\000\\000word' >{variable}")
            assert "word" in check(f"tr -d '\\000' <{variable}")
            assert_quiet_and_end(machine)


def boot_linux_from(device, arguments):
    """GRUB, kernel and root file system come from two such disks; nothing else is there. Returns
    the number of CPUs and where the root file system was."""
    disk = esp_disk({"EFI/BOOT/BOOTX64.EFI": grub_image(LINUX, LINUX_MODULES)})
    for number, file in enumerate((disk, disk_path())):
        arguments = [*arguments, "-drive", f"file={file},format=raw,if=none,id=d{number}",
                     "-device", f"{device},drive=d{number},serial=lab-{number}"]
    with start([*flash(), *arguments], "512M") as machine:
        check = linux_at_shell(machine)
        found = int(check("nproc")), check("findmnt -no SOURCE /")
        assert_quiet_and_end(machine)
    return found


def test_four_cpus_from_nvme():
    cpus, root = boot_linux_from("nvme", ["-smp", "4"])
    assert cpus == 4 and root.startswith("/dev/nvme"), (cpus, root)


def test_linux_from_usb():
    cpus, root = boot_linux_from("usb-storage", ["-device", "qemu-xhci"])
    assert cpus == 1 and root.startswith("/dev/sd"), (cpus, root)


if __name__ == "__main__":
    harness.run(globals())
