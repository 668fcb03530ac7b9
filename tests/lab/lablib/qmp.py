# SPDX-License-Identifier: GPL-2.0-or-later
"""A QMP client: commands with their answers, events kept in order."""

import json
import socket
import time


class QmpError(Exception):
    """The error that a command was answered with."""

    def __init__(self, command, error):
        super().__init__(f"{command}: {error.get('class')}: {error.get('desc')}")
        self.kind = error.get("class")
        self.description = error.get("desc")


class Qmp:
    """Connects to a unix socket path and leaves the capabilities mode."""

    def __init__(self, path, timeout=30):
        self.events = []
        deadline = time.monotonic() + timeout
        while True:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.buffer = b""
        self.greeting = self.receive(timeout)
        self.command("qmp_capabilities")

    def receive(self, timeout):
        deadline = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"QMP: nothing within {timeout} s")
            self.socket.settimeout(left)
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("QMP: the connection was closed")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line) if line.strip() else self.receive(timeout)

    def command(self, name, /, timeout=30, **arguments):
        """The value returned; QmpError when the command fails."""
        message = {"execute": name}
        if arguments:
            message["arguments"] = {key.replace("_", "-"): value
                                    for key, value in arguments.items()}
        self.socket.sendall(json.dumps(message).encode() + b"\n")
        while True:
            answer = self.receive(timeout)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise QmpError(name, answer["error"])
            elif "return" in answer:
                return answer["return"]

    def event(self, name, timeout=60):
        """Waits for an event, which is taken out of the list."""
        deadline = time.monotonic() + timeout
        while True:
            for index, event in enumerate(self.events):
                if event["event"] == name:
                    return self.events.pop(index)
            answer = self.receive(max(0.01, deadline - time.monotonic()))
            if "event" in answer:
                self.events.append(answer)

    def drain(self):
        """All events that have come and were not waited for, also those of a VMM that has ended."""
        try:
            while True:
                answer = self.receive(0.2)
                if "event" in answer:
                    self.events.append(answer)
        except OSError:
            return self.events

    def close(self):
        self.socket.close()
