#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The user-mode network carries a long TCP stream unchanged, several times."""

import hashlib
import http.server
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest  # noqa: E402
from lablib.machine import user_network  # noqa: E402

DATA = os.urandom(1 << 20) * 25


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        self.wfile.write(DATA)

    def log_message(self, *arguments):
        pass


def test_streams_arrive_unchanged():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://10.0.2.2:{server.server_address[1]}/data"
    expected = hashlib.md5(DATA).hexdigest()
    with Guest(user_network()) as guest:
        guest.check("ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; "
                    "ip route add default via 10.0.2.2")
        for _ in range(3):
            status, text = guest.console.shell(f"wget -q -O /tmp/data {url}; echo status $?; "
                                               "stat -c 'size %s' /tmp/data; md5sum < /tmp/data", 120)
            assert f"size {len(DATA)}" in text and expected in text, f"{expected} is not {text}"
        guest.assert_healthy()
        assert guest.power_off() == 0


harness.run(globals())
