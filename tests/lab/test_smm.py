#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""System management mode: OVMF with Secure Boot, whose variables are in flash memory that only it
writes; SeaBIOS with a handler of its own.

The test host's KVM intercepts CR8 for this (scripts/lib/intercept-cr8)."""

import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import TROUBLE, Guest  # noqa: E402
from lablib.installed import disk_path  # noqa: E402
from lablib.machine import Machine  # noqa: E402
from test_uefi import GUID, esp_disk, need, path, run  # noqa: E402

FIRMWARE = "/usr/share/OVMF"
CODE = f"{FIRMWARE}/OVMF_CODE_4M.secboot.fd"
KEY, CERTIFICATE = "/usr/share/ovmf/PkKek-1-snakeoil.key", "/usr/share/ovmf/PkKek-1-snakeoil.pem"
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
VARIABLE = f"/sys/firmware/efi/efivars/LabSmm-{GUID}"
PARTITION = 1 << 20  # of the installed disk


def start(variables, *arguments, cpus=1, qmp=False):
    need(CODE, f"{FIRMWARE}/{variables}")
    copy = path("vars.fd")
    shutil.copy(f"{FIRMWARE}/{variables}", copy)
    return Machine(["-machine", "q35,smm=on", "-m", "512M", "-smp", cpus, "-nic", "none",
                    "-global", "driver=cfi.pflash01,property=secure,value=on",
                    "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={CODE}",
                    "-drive", f"if=pflash,unit=1,format=raw,file={copy}", *arguments], qmp=qmp)


def debugfs(command):
    disk = f"{disk_path()}?offset={PARTITION}"
    return subprocess.run(["/usr/sbin/debugfs", "-R", command, disk], check=True, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True).stdout


def signed_linux():
    """The installed Debian's kernel with its initrd and command line, as one signed program."""
    need("sbsign", "objcopy", "openssl", STUB, KEY, CERTIFICATE)
    names = [line.split("/")[5] for line in debugfs("ls -p /boot").splitlines() if "/" in line]
    release = next(re.fullmatch(r"initrd-(.*)\.img", name)[1] for name in names
                   if name.startswith("initrd"))
    parts = [(".cmdline", 0x30000, path("cmdline"))]
    with open(path("cmdline"), "w") as file:
        file.write("console=ttyS0 quiet root=LABEL=vireo-root init=/bin/bash")
    for section, start_at, prefix in ((".linux", 0x2000000, "vmlinuz"),
                                      (".initrd", 0x5000000, "initrd")):
        name = f"{prefix}-{release}" + (".img" if prefix == "initrd" else "")
        debugfs(f"dump /boot/{name} {path(prefix)}")
        parts.append((section, start_at, path(prefix)))
    arguments = []
    for section, start_at, file in parts:
        arguments += ["--add-section", f"{section}={file}",
                      "--change-section-vma", f"{section}={start_at:#x}"]
    run("objcopy", *arguments, STUB, path("linux.efi"))
    run("openssl", "rsa", "-in", KEY, "-passin", "pass:snakeoil", "-out", path("key"))
    run("sbsign", "--key", path("key"), "--cert", CERTIFICATE, "--output", path("signed.efi"),
        path("linux.efi"))
    return path("signed.efi")


def test_secure_boot_refuses_what_is_not_signed():
    refusal = r'failed to start Boot\d+ "EFI Internal Shell".*Security Violation'
    with start("OVMF_VARS_4M.ms.fd", qmp=True) as machine:
        machine.console.expect(refusal, 120)
        machine.qmp.command("system_reset")  # unlocks what was locked: the firmware starts again
        machine.console.expect(refusal, 120)


def start_signed_linux(qmp=False):
    disk = esp_disk({"EFI/BOOT/BOOTX64.EFI": signed_linux()}, 64)
    return start("OVMF_VARS_4M.snakeoil.fd", "-drive", f"file={disk},format=raw,if=virtio",
                 "-drive", f"file={disk_path()},format=raw,if=virtio,readonly=on",
                 cpus=2, qmp=qmp)


def shell_with_variables(machine):
    """What checks a command in the guest's shell."""
    machine.console.expect(r"root@\S+# ", 300)
    machine.console.quiet_shell()
    check = machine.console.check
    check("for f in proc sysfs; do mountpoint -q /${f%fs} || mount -t $f $f /${f%fs}; done")
    check("/sbin/modprobe efivarfs && mount -t efivarfs e /sys/firmware/efi/efivars")
    return check


def write_variable(check):
    check(f"printf '\\007\\000\\000\\000smm-word' >{VARIABLE}")
    assert "smm-word" in check(f"tr -d '\\000' <{VARIABLE}")


def power_off(machine):
    machine.console.send("echo o >/proc/sysrq-trigger\n")
    assert machine.wait(60) == 0


def test_signed_linux_writes_a_variable():
    with start_signed_linux() as machine:
        check = shell_with_variables(machine)
        assert check(f"od -An -tx1 {SECURE_BOOT}").split()[-1] == "01"
        write_variable(check)
        lines = check("dmesg --color=never").splitlines()
        assert any("Secure boot enabled" in line for line in lines), "\n".join(lines)
        bad = [line for line in lines if TROUBLE.search(line)]
        assert not bad, "the guest's kernel logged:\n" + "\n".join(bad)
        check("nproc | grep -x 2")
        power_off(machine)
    with open(path("vars.fd"), "rb") as file:
        stored = file.read()
    assert "LabSmm".encode("utf-16-le") in stored and b"smm-word" in stored


def test_a_variable_is_written_after_sleep():
    with start_signed_linux(qmp=True) as machine:
        check = shell_with_variables(machine)
        check("echo deep >/sys/power/mem_sleep")
        machine.console.send("echo mem >/sys/power/state; echo AWAKE$((40+2))\n")
        machine.qmp.event("SUSPEND", 120)
        machine.qmp.command("system_wakeup")
        machine.qmp.event("WAKEUP")
        machine.console.expect(r"AWAKE42\r?\n", 120)
        write_variable(check)
        power_off(machine)


def test_linux_through_seabios():
    for board in ("q35", "pc"):
        with Guest(["-machine", f"{board},smm=on", "-bios", "/usr/share/seabios/bios-256k.bin"],
                   cpus=2) as guest:
            guest.assert_healthy()
            assert guest.power_off() == 0


if __name__ == "__main__":
    harness.run(globals())
