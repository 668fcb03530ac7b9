# SPDX-License-Identifier: GPL-2.0-or-later
"""A libvirtd of the test's own, without systemd, whose only emulator is the VMM under test."""

import os
import re
import shutil
import subprocess
import sys
import time

from .console import Terminal
from .guest import scratch
from .machine import vmm_path

FOLDERS = ("/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt",
           "/run/libvirt")
BIN = "/run/libvirt/bin"
EMULATOR = f"{BIN}/qemu-system-x86_64"  # where virt-install and libvirt look for one
LOG = "/var/log/libvirt/log"
CONFIGURATION = {
    "/etc/libvirt/libvirtd.conf": f"""
auth_unix_rw = "none"
auth_unix_ro = "none"
log_filters = "1:qemu 3:*"
log_outputs = "1:file:{LOG}"
""",
    "/etc/libvirt/qemu.conf": """
user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""}


def enter_own_mounts():
    """Starts this script again where libvirt's folders are empty, and nobody else's."""
    if os.geteuid() != 0 or not shutil.which("libvirtd", path="/usr/sbin:/usr/bin"):
        sys.exit("needs root and libvirtd (./configure --install-deps)")
    if os.environ.get("LAB_OWN_MOUNTS"):
        return
    os.environ["LAB_OWN_MOUNTS"] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable,
                          *sys.argv])


def have_user():
    """libvirtd does not start without its package's user, whoever runs the machines."""
    for path, line in (("/etc/passwd", "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/bin/false"),
                       ("/etc/group", "libvirt-qemu:x:64055:")):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if "\nlibvirt-qemu:" not in text:
            copy = f"/run/libvirt/{os.path.basename(path)}"
            with open(copy, "w", encoding="utf-8") as file:
                file.write(text.rstrip("\n") + f"\n{line}\n")
            subprocess.run(["mount", "--bind", copy, path], check=True)


class Daemon:
    """libvirtd, up when the constructor returns."""

    def __init__(self):
        for folder in FOLDERS:
            os.makedirs(folder, exist_ok=True)
            if not os.path.ismount(folder):
                subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        have_user()
        os.makedirs(BIN, exist_ok=True)
        os.makedirs("/run/lock", exist_ok=True)
        for name, target in ((EMULATOR, vmm_path()), (f"{BIN}/qemu-img", vmm_path() + "-img")):
            if not os.path.lexists(name):
                os.symlink(os.path.abspath(target), name)
        for path, text in CONFIGURATION.items():
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
        self.process = subprocess.Popen(
            ["/usr/sbin/libvirtd", "-f", "/etc/libvirt/libvirtd.conf"],
            env=dict(os.environ, PATH=BIN), stdin=subprocess.DEVNULL)
        self.wait_up()

    def wait_up(self):
        for _ in range(120):
            if self.virsh("uri", check=False)[0] == 0:
                return
            time.sleep(0.5)
        raise TimeoutError("libvirtd does not answer")

    def virsh(self, *words, check=True, timeout=120):
        """Runs virsh; its output, or with check=False (exit status, output)."""
        done = subprocess.run(["virsh", "-c", "qemu:///system", *map(str, words)], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout, check=False)
        if not check:
            return done.returncode, done.stdout
        assert done.returncode == 0, f"virsh {' '.join(map(str, words))}: {done.stdout}"
        return done.stdout

    def errors(self):
        """What libvirt's QEMU driver logged as errors (the host lacks a bus, cgroups and more that
        other drivers miss)."""
        with open(LOG, encoding="utf-8", errors="replace") as file:
            return [line.strip() for line in file
                    if re.search(r": error : (qemu|virQEMU)", line)]

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def console_of(domain):
    """virsh console on a terminal of its own."""
    terminal = Terminal("virsh", "-c", "qemu:///system", "console", domain, "--force")
    terminal.expect(r"Escape character is", 60)
    return terminal


def virt_install(name, *options):
    """A domain's XML as virt-install writes it."""
    command = [shutil.which("virt-install"), "--connect", "qemu:///system", "--print-xml", "--import", "--name", name,
               "--machine", "q35", "--osinfo", "detect=off,require=off", "--graphics", "none",
               *options]
    # libosinfo's thousand files are minutes in the test host.
    alone = {f"OSINFO_{which}_DIR": "/nonexistent" for which in ("SYSTEM", "LOCAL", "USER")}
    path = os.path.join(scratch(), f"{name}.xml")
    with open(path, "w", encoding="utf-8") as file:
        subprocess.run(command, stdout=file, check=True, timeout=300,
                       env=dict(os.environ, **alone))
    return path
