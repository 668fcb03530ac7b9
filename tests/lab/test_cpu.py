#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU models, NUMA, vCPUs and memory that come and go, as Debian's kernel sees them."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest  # noqa: E402


def flags(guest):
    return set(guest.check("grep -m1 ^flags /proc/cpuinfo").split(":")[1].split())


def test_named_model():
    # Of this model's age Linux warns that its microcode does not mitigate what is known by now.
    with Guest(["-nic", "none", "-cpu", "EPYC"], append="mitigations=off") as guest:
        text = guest.check("cat /proc/cpuinfo")
        assert "AMD EPYC Processor" in text, text
        assert {"x2apic", "hypervisor", "lm"} <= flags(guest)
        assert "svm" not in flags(guest)
        guest.assert_healthy()


def test_named_model_of_the_other_vendor():
    with Guest(["-nic", "none", "-cpu", "Nehalem"]) as guest:
        assert "Core i7 9xx" in guest.check("cat /proc/cpuinfo")
        guest.assert_healthy()


def test_numa_nodes():
    arguments = ["-nic", "none", "-object", "memory-backend-ram,id=m0,size=192M",
                 "-object", "memory-backend-memfd,id=m1,size=320M",
                 "-numa", "node,memdev=m0,cpus=0", "-numa", "node,memdev=m1,cpus=1",
                 "-numa", "dist,src=0,dst=1,val=25"]
    with Guest(arguments, memory="512M", cpus="2,sockets=2") as guest:
        assert guest.check("cat /sys/devices/system/node/online").strip() == "0-1"
        assert guest.check("cat /sys/devices/system/node/node0/distance").split() == ["10", "25"]
        assert guest.check("cat /sys/devices/system/node/node1/cpulist").strip() == "1"
        guest.assert_healthy()


def test_cpu_comes_and_goes():
    arguments = ["-nic", "none", "-smp", "1,maxcpus=2,cores=2,sockets=1,threads=1", "-cpu", "host"]
    with Guest(arguments, qmp=True) as guest:
        guest.qmp.command("device_add", driver="host-x86_64-cpu", id="c1",
                          **{"socket-id": 0, "core-id": 1, "thread-id": 0})
        guest.check("for i in 1 2 3 4 5 6 7 8 9 10; do test -d /sys/devices/system/cpu/cpu1 && "
                    "break; sleep 1; done; cd /sys/devices/system/cpu/cpu1; "
                    "test $(cat online) = 1 || echo 1 > online; taskset -c 1 true")
        guest.qmp.command("device_del", id="c1")
        guest.qmp.event("DEVICE_DELETED")
        guest.assert_healthy()


def test_memory_comes():
    with Guest(["-nic", "none"], memory="512M,slots=2,maxmem=2G", qmp=True) as guest:
        before = int(guest.check("ls -d /sys/devices/system/memory/memory* | wc -l"))
        guest.qmp.command("object-add", **{"qom-type": "memory-backend-ram", "id": "m0",
                                           "size": 256 << 20})
        guest.qmp.command("device_add", driver="pc-dimm", id="d0", memdev="m0")
        guest.qmp.event("ACPI_DEVICE_OST")
        after = int(guest.check("ls -d /sys/devices/system/memory/memory* | wc -l"))
        assert after == before + 2, (before, after)
        guest.assert_healthy()


harness.run(globals())
