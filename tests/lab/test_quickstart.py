#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""quickstart's machine, unattended: console, CPUs, memory, disk, network both ways, reboot, power off.

Runs where KVM is (tests/lab/run --scratch). Exit status 0 when every step held."""

import hashlib
import http.server
import os
import re
import socket
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib.console import ConsoleClosed, ConsoleTimeout  # noqa: E402
from lablib.machine import Machine, debian_arguments, user_network, vmm_path  # noqa: E402
from lablib.steps import Steps  # noqa: E402

MEMORY_MIB = 1024
CPUS = 2
DISK_MIB = 200
FETCH_MIB = 50
TIMED_OUT = 124  # a wait that did not end, as in tests/lab/lablib/harness.py


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(directory):
    """An HTTP server on this machine's loopback; returns its port."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=directory)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def make_served_file(directory):
    """FETCH_MIB of data that differs everywhere; returns its checksum."""
    digest = hashlib.md5()
    seed = os.urandom(1 << 20)
    with open(os.path.join(directory, "file"), "wb") as file:
        for index in range(FETCH_MIB):
            block = index.to_bytes(8, "little") + seed[8:]
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


def check_processor_and_memory(console, note):
    cpus = int(console.check("nproc"))
    assert cpus == CPUS, f"the guest sees {cpus} CPUs, not {CPUS}"
    text = console.check("cat /proc/meminfo")
    mib = int(re.search(r"MemTotal:\s+(\d+) kB", text).group(1)) // 1024
    assert MEMORY_MIB * 85 // 100 < mib <= MEMORY_MIB, f"the guest sees {mib} MiB of {MEMORY_MIB}"
    note(f"{cpus} CPUs, {mib} MiB")


def write_data(console):
    """Writes DISK_MIB to the disk, every block of it different; returns the checksum."""
    console.check("head -c $((8 * 1048576 - 16)) /dev/urandom > /dev/shm/seed")
    console.check(f"for i in $(seq {DISK_MIB // 8}); do printf '%016d' $i; cat /dev/shm/seed; done"
                  " > /root/data && sync", 300)
    return console.check("md5sum < /root/data", 300).split()[0]


def read_back(console, expected):
    console.check("sync; echo 3 > /proc/sys/vm/drop_caches")
    size, checksum = console.check("stat -c %s /root/data; md5sum < /root/data", 300).split()[:2]
    assert int(size) == DISK_MIB << 20, f"the file has {size} bytes"
    assert checksum == expected, f"the data changed: {checksum} is not {expected}"


def wait_for_network(console):
    console.check("for i in $(seq 300); do ip -4 route | grep -q ^default && break; sleep 0.2; done; "
                  "ip -4 route | grep ^default", 120)


def fetch(console, port, expected):
    status, text = console.shell(
        f"wget -nv -t 1 -T 60 -O /dev/shm/fetched http://10.0.2.2:{port}/file", 300)
    assert status == 0, f"wget exited with {status}: {text}"
    size, checksum = console.check("stat -c %s /dev/shm/fetched; md5sum < /dev/shm/fetched; "
                                   "rm /dev/shm/fetched", 120).split()[:2]
    assert int(size) == FETCH_MIB << 20, f"{size} bytes came over HTTP"
    assert checksum == expected, "the file fetched over HTTP differs"


def forwarded_answer(port):
    """The banner of the guest's sshd, through the forwarded port."""
    for _ in range(60):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.settimeout(5)
            try:
                banner = connection.recv(64)
            except OSError:
                continue
            if banner.startswith(b"SSH-2.0"):
                return banner.decode(errors="replace").strip()
    raise AssertionError("no answer from the guest's sshd through the forwarded port")


def run(scratch, served):
    steps = Steps()
    checksum = make_served_file(served)
    http_port = serve(served)
    ssh_port = free_port()
    arguments = debian_arguments(scratch, f"{MEMORY_MIB}M", CPUS)
    arguments += user_network(f"hostfwd=tcp:127.0.0.1:{ssh_port}-:22")
    with Machine(arguments) as machine:
        console = machine.console
        with steps.step("Booting Debian to its login prompt and logging in"):
            console.login()
        with steps.step("Processors and memory") as note:
            check_processor_and_memory(console, note)
        with steps.step(f"Writing {DISK_MIB} MB to the disk"):
            data = write_data(console)
        with steps.step("Reading them back"):
            read_back(console, data)
        with steps.step("Waiting for the guest's network"):
            wait_for_network(console)
        with steps.step(f"Fetching {FETCH_MIB} MB over HTTP from the host"):
            fetch(console, http_port, checksum)
        with steps.step("Connecting to the guest's sshd through a forwarded port") as note:
            note(forwarded_answer(ssh_port))
        with steps.step("Rebooting and logging in again"):
            console.send("reboot\n")
            console.login()
        with steps.step("Reading the data of before the reboot"):
            read_back(console, data)
        with steps.step("Powering off"):
            console.send("poweroff\n")
            status = machine.wait()
            assert status == 0, f"the VMM exited with {status}"
    print(f"quickstart --check: all good ({vmm_path()})")


def main():
    scratch = os.environ.get("LAB_SCRATCH")
    if not scratch:
        print("test_quickstart.py: run me as tests/lab/run --scratch -- ...", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(dir=scratch) as served:
            run(scratch, served)
    except ConsoleTimeout as error:
        print(f"quickstart --check: FAILED: {error}", file=sys.stderr)
        return TIMED_OUT
    except (AssertionError, ConsoleClosed, FileNotFoundError) as error:
        print(f"quickstart --check: FAILED: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
