#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt drives Vireo: probing, and the life of a domain that virt-install wrote, by virsh, with
what Linux inside sees of it; the guest agent."""

import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness, libvirt, testhost  # noqa: E402
from lablib.guest import TROUBLE, initrd_with, make_disk  # noqa: E402
from lablib.machine import IMAGE  # noqa: E402
from lablib.steps import Steps  # noqa: E402

NAME = "lab"
MIB = 1 << 20
PATTERN = b"vireo libvirt "
AGENT_PORT = "org.qemu.guest_agent.0"
WAIT = "for i in $(seq 600); do {} && break; sleep 0.1; done; {}"
NIC = "52:54:00:00:00:77"
BRIDGE = "labbridge"


class Domain:
    """The domain, running with its console at the guest's shell."""

    def __init__(self, daemon, xml):
        self.daemon = daemon
        self.virsh("define", xml)
        self.virsh("start", NAME, "--paused")
        self.console = libvirt.console_of(NAME)
        self.virsh("resume", NAME)
        self.wait_ready()

    def virsh(self, *words, **options):
        return self.daemon.virsh(*words, **options)

    def check(self, command, timeout=60):
        return self.console.check(command, timeout)

    def answers(self):
        answer = self.check("echo $((40+2))")
        assert answer == "42", answer

    def wait_until(self, condition):
        """Until the guest sees it so."""
        self.check(WAIT.format(condition, condition), 180)

    def wait_for(self, condition):
        """Until libvirt does."""
        for _ in range(120):
            if condition():
                return
            time.sleep(0.5)
        raise TimeoutError("libvirt does not see it")

    def assert_healthy(self):
        bad = [line for line in self.check("dmesg").splitlines() if TROUBLE.search(line)]
        assert not bad, bad

    def state(self):
        return self.virsh("domstate", NAME).strip()

    def wait_ready(self):
        """At the shell of a guest that listens to the power button."""
        self.console.expect(r"LAB GUEST READY", 180)
        self.console.expect(r"# ", 60)
        self.console.quiet_shell()
        self.check("modprobe -a evdev button; mkdir -p /etc/acpi/PWRF /var/run /var/log; "
                   "printf '#!/bin/sh\\npoweroff -f\\n' > /etc/acpi/PWRF/00000080; "
                   "chmod +x /etc/acpi/PWRF/00000080; (acpid -f > /dev/null 2>&1 &)")

    def table(self, *words):
        """The last columns of virsh's lines by their first words."""
        rows = [line.split() for line in self.virsh(*words).splitlines()]
        return {row[0].rstrip(":"): row[-1] for row in rows if len(row) > 1}

    def process(self):
        with open(f"/run/libvirt/qemu/{NAME}.pid", encoding="ascii") as file:
            return int(file.read())


def make_domain(disk):
    initrd = initrd_with(("qemu-ga",), os.path.join(IMAGE, "lab-initrd.img"))
    return libvirt.virt_install(
        NAME, "--memory", "256", "--vcpus", "1,maxvcpus=2", "--iothreads", "1",
        "--disk", f"{disk},format=raw,bus=virtio", "--network", "user,model=virtio",
        "--controller", "usb,model=qemu-xhci", "--rng", "/dev/urandom",
        "--channel", f"unix,target.type=virtio,target.name={AGENT_PORT}", "--boot",
        f"kernel={IMAGE}/vmlinuz,initrd={initrd},kernel_args=console=ttyS0 panic=-1 quiet")


# ---- What virsh does, and what the guest sees of it ----

def disks_and_blocks(domain, disk):
    domain.check("dd if=/dev/vda of=/dev/null bs=1M count=8 2>/dev/null")
    statistics = domain.virsh("domblkstat", NAME, "vda").split()
    assert int(statistics[statistics.index("rd_bytes") + 1]) >= 8 * MIB, statistics
    assert domain.table("domblkinfo", NAME, "vda")["Capacity"] == str(64 * MIB)
    domain.virsh("attach-disk", NAME, disk, "vdb", "--driver", "qemu", "--subdriver", "raw",
                 "--live")
    domain.wait_until("test -b /dev/vdb")
    assert domain.check("head -c 13 /dev/vdb") == PATTERN.decode().rstrip()
    assert domain.check("cat /sys/block/vdb/size") == str(8 * MIB // 512)
    domain.virsh("detach-disk", NAME, "vdb", "--live")
    domain.wait_until("test ! -e /sys/block/vdb")
    domain.wait_for(lambda: "vdb" not in domain.virsh("domblklist", NAME))


def snapshot_and_commit(domain, directory):
    overlay = os.path.join(directory, "overlay.qcow2")
    domain.virsh("snapshot-create-as", NAME, "--no-metadata", "--disk-only", "--diskspec",
                 f"vda,file={overlay}")
    assert domain.table("domblklist", NAME)["vda"] == overlay
    domain.check("echo committed | dd of=/dev/vda bs=1k seek=60k conv=fsync 2>/dev/null")
    domain.virsh("blockcommit", NAME, "vda", "--active", "--pivot", "--wait")
    assert domain.table("domblklist", NAME)["vda"].endswith("first.img")
    domain.check("echo 3 > /proc/sys/vm/drop_caches; "
                 "dd if=/dev/vda bs=1k skip=60k count=1 2>/dev/null | grep -q committed")


def interfaces(domain):
    """A tap on a bridge: libvirt hands it over as a descriptor."""
    subprocess.run(["modprobe", "-a", "bridge", "tun"], check=False)
    subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True)
    domain.virsh("attach-interface", NAME, "bridge", BRIDGE, "--model", "virtio", "--mac", NIC,
                 "--live")
    domain.wait_until(f"grep -q {NIC} /sys/class/net/*/address")
    assert NIC in domain.virsh("domiflist", NAME)
    domain.virsh("detach-interface", NAME, "bridge", "--mac", NIC, "--live")
    domain.wait_until(f"! grep -q {NIC} /sys/class/net/*/address")


def processors(domain):
    domain.virsh("setvcpus", NAME, 2, "--live")
    domain.wait_until("test -e /sys/devices/system/cpu/cpu1/online")
    domain.check("echo 1 > /sys/devices/system/cpu/cpu1/online")
    assert domain.check("nproc") == "2"
    domain.virsh("setvcpus", NAME, 1, "--live")
    domain.wait_until("test ! -e /sys/devices/system/cpu/cpu1/online")
    assert domain.check("nproc") == "1"


def affinities(process):
    """Where each thread may run, by its name."""
    found = {}
    for task in os.listdir(f"/proc/{process}/task"):
        with open(f"/proc/{process}/task/{task}/status", encoding="ascii") as file:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        found[fields["Name"]] = fields["Cpus_allowed_list"]
    return found


def pinning(domain):
    domain.virsh("vcpupin", NAME, 0, 1)
    domain.virsh("emulatorpin", NAME, 0)
    domain.virsh("iothreadadd", NAME, 2, "--live")
    domain.virsh("iothreadpin", NAME, 2, 1)
    assert domain.table("iothreadinfo", NAME)["2"] == "1"
    threads = affinities(domain.process())
    assert threads["CPU 0/KVM"] == "1", threads
    assert threads["IO iothread2"] == "1", threads
    domain.virsh("iothreaddel", NAME, 2, "--live")


def pause(domain):
    domain.virsh("suspend", NAME)
    assert domain.state() == "paused"
    domain.virsh("resume", NAME)
    assert domain.state() == "running"
    domain.answers()


def dump(domain, directory):
    core = os.path.join(directory, "core")
    domain.virsh("dump", NAME, core, "--memory-only", timeout=300)
    assert domain.state() == "running"
    text = subprocess.run(["readelf", "-lnW", core], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    assert "CORE (Core file)" in text and text.count("NT_PRSTATUS") == 1, text
    assert os.path.getsize(core) >= 255 * MIB, os.path.getsize(core)
    os.unlink(core)


def what_is_not_there_is_refused(domain):
    status, text = domain.virsh("managedsave", NAME, check=False, timeout=60)
    assert status == 1 and "migrate" in text, text
    assert domain.state() == "running"
    domain.answers()


# ---- The guest agent ----

def agent_command(domain, name, **arguments):
    command = {"execute": name, **({"arguments": arguments} if arguments else {})}
    return json.loads(domain.virsh("qemu-agent-command", NAME, json.dumps(command)))["return"]


def agent(domain):
    domain.check("for p in /sys/class/virtio-ports/*; do grep -q guest_agent $p/name && "
                 "port=/dev/${p##*/}; done; mkdir -p /mnt; "
                 "mount -t ext4 /dev/vda /mnt; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; "
                 "qemu-ga -d -m virtio-serial -p $port -t /var/run -f /var/run/ga.pid")
    domain.wait_for(lambda: "state='connected'" in domain.virsh("dumpxml", NAME))
    assert agent_command(domain, "guest-ping") == {}
    addresses = domain.virsh("domifaddr", NAME, "--source", "agent")
    assert "10.0.2.15/24" in addresses and "52:54:00" in addresses, addresses
    started = agent_command(domain, "guest-exec", path="/bin/sh", arg=["-c", "echo from $((40+2))"],
                            **{"capture-output": True})
    answers = []  # the one that says that it ended is given once
    domain.wait_for(lambda: answers.append(agent_command(
        domain, "guest-exec-status", pid=started["pid"])) or answers[-1]["exited"])
    done = answers[-1]
    assert done["exitcode"] == 0 and done["out-data"] == "ZnJvbSA0Mgo=", done  # "from 42"
    assert "Froze 1 filesystem" in domain.virsh("domfsfreeze", NAME)
    domain.check("((echo late > /mnt/late; echo written > /tmp/written) &); sleep 1; "
                 "test ! -e /tmp/written")
    assert "Thawed 1 filesystem" in domain.virsh("domfsthaw", NAME)
    domain.wait_until("test -e /tmp/written")
    domain.check("umount /mnt; kill $(cat /var/run/ga.pid)")


# ---- The tests ----

def restart_and_end(domain):
    domain.assert_healthy()
    domain.check("touch /tmp/before")
    domain.virsh("reboot", NAME, "--mode", "acpi")
    domain.wait_ready()
    assert domain.console.shell("test -e /tmp/before")[0] == 1
    domain.assert_healthy()
    assert domain.console.leave() == 0
    domain.virsh("shutdown", NAME, "--mode", "acpi")
    domain.wait_for(lambda: domain.state() == "shut off")
    domain.virsh("start", NAME, "--paused")
    domain.virsh("destroy", NAME)
    domain.virsh("undefine", NAME)
    assert NAME not in domain.virsh("list", "--all", "--name")


def test_probing_and_the_life_of_a_domain():
    steps = Steps()
    first, second = make_disk("first.img", 64), make_disk("second.img", 8, PATTERN)
    directory = os.path.dirname(first)
    subprocess.run(["/sbin/mke2fs", "-q", "-F", "-t", "ext4", first, "32M"], check=True)
    with steps.step("libvirtd"):
        daemon = libvirt.Daemon()
    try:
        with steps.step("probing"):
            assert libvirt.EMULATOR in daemon.virsh("capabilities")
            assert libvirt.EMULATOR in daemon.virsh("domcapabilities", "--virttype", "kvm")
            assert not daemon.errors(), daemon.errors()
        with steps.step("virt-install"):
            xml = make_domain(first)
        with steps.step("define, start, console"):
            domain = Domain(daemon, xml)
        with steps.step("dominfo"):
            assert domain.table("dominfo", NAME)["State"] == "running"
        with steps.step("disks"):
            disks_and_blocks(domain, second)
        with steps.step("snapshot and commit"):
            snapshot_and_commit(domain, directory)
        with steps.step("interfaces"):
            interfaces(domain)
        with steps.step("processors"):
            processors(domain)
        with steps.step("pinning"), testhost.second_processor():
            pinning(domain)
        with steps.step("suspend and resume"):
            pause(domain)
        with steps.step("dump"):
            dump(domain, directory)
        with steps.step("guest agent"):
            agent(domain)
        assert not daemon.errors(), daemon.errors()
        with steps.step("managedsave"):
            what_is_not_there_is_refused(domain)
        with steps.step("reboot, shutdown, destroy, undefine"):
            restart_and_end(domain)
    finally:
        daemon.virsh("destroy", NAME, check=False)
        daemon.virsh("undefine", NAME, check=False)
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False, stderr=subprocess.DEVNULL)
        daemon.stop()


libvirt.enter_own_mounts()
harness.run(globals())
