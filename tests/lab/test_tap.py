#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest on a tap interface: ping, and data in both directions with offloads."""

import hashlib
import http.server
import subprocess
import threading

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest  # noqa: E402

INTERFACE = "vireolab0"
HOST, GUEST = "192.168.77.1", "192.168.77.2"
MIB = 16


def make_interface():
    if os.geteuid() != 0:
        raise harness.Skip("a tap interface needs root")
    for command in (f"ip tuntap add {INTERFACE} mode tap", f"ip addr add {HOST}/24 dev {INTERFACE}",
                    f"ip link set {INTERFACE} up"):
        result = subprocess.run(command.split(), stderr=subprocess.PIPE, text=True, check=False)
        if result.returncode:
            raise harness.Skip(f"{command}: {result.stderr.strip()}")


class Peer(http.server.BaseHTTPRequestHandler):
    """Gives DATA, takes uploads and remembers their checksum."""

    DATA = os.urandom(1 << 20) * MIB
    received = None

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.DATA)))
        self.end_headers()
        self.wfile.write(self.DATA)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Peer.received = hashlib.md5(body).hexdigest()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def test_traffic_both_ways():
    make_interface()
    arguments = ["-netdev", f"tap,id=n0,ifname={INTERFACE},script=no,downscript=no",
                 "-device", "virtio-net-pci,netdev=n0"]
    try:
        server = http.server.ThreadingHTTPServer((HOST, 0), Peer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        with Guest(arguments, cpus=2) as guest:
            guest.check(f"ip addr add {GUEST}/24 dev eth0; ip link set eth0 up; sleep 1")
            guest.check(f"ping -c 3 -W 5 {HOST}")
            text = guest.check(f"wget -q -O /tmp/data http://{HOST}:{port}/; md5sum < /tmp/data", 120)
            expected = hashlib.md5(Peer.DATA).hexdigest()
            assert text.split()[0] == expected, "what came over the tap differs"
            # busybox's wget takes no file to post: nc sends the request by hand.
            guest.check(f"(printf 'POST / HTTP/1.0\\r\\nContent-Length: {MIB << 20}\\r\\n\\r\\n'; "
                        f"cat /tmp/data) | nc -w 60 {HOST} {port} | grep -q ' 200 '", 120)
            assert Peer.received == expected, "what went over the tap differs"
            guest.assert_healthy()
            assert guest.power_off() == 0
    finally:
        subprocess.run(["ip", "link", "del", INTERFACE], stderr=subprocess.DEVNULL, check=False)


harness.run(globals())
