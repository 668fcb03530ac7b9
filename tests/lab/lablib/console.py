# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives a serial console the way expect does: send, wait for a pattern, run shell commands."""

import os
import pty
import re
import select
import sys
import time

# A serial port's output comes byte by byte: taken in larger pieces it costs the guest less of the CPUs.
GATHER_SECONDS = 0.01


class ConsoleTimeout(Exception):
    """What was waited for did not come; carries the end of what came instead."""


class ConsoleClosed(Exception):
    """The other end closed while something was waited for."""


class Console:
    """A console behind two descriptors (they may be the same). log gets a copy of all output."""

    def __init__(self, read_descriptor, write_descriptor, log=None):
        self.read_descriptor = read_descriptor
        self.write_descriptor = write_descriptor
        self.log = log
        self.pending = ""
        self.transcript = ""
        self.closed = False

    def pump(self, timeout):
        """Takes what has come; False when nothing did within timeout seconds."""
        if self.closed:
            return False
        ready, _, _ = select.select([self.read_descriptor], [], [], max(0, timeout))
        if not ready:
            return False
        time.sleep(GATHER_SECONDS)
        try:
            data = os.read(self.read_descriptor, 65536)
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return False
        text = data.decode("utf-8", "replace")
        self.pending += text
        self.transcript += text
        if self.log:
            self.log.write(text)
            self.log.flush()
        return True

    def expect(self, pattern, timeout=120):
        """Waits for the regular expression, consumes up to its end and returns the match."""
        compiled = re.compile(pattern, re.MULTILINE)
        deadline = time.monotonic() + timeout
        while True:
            match = compiled.search(self.pending)
            if match:
                self.pending = self.pending[match.end():]
                return match
            left = deadline - time.monotonic()
            if left <= 0:
                raise ConsoleTimeout(f"no {pattern!r} within {timeout} s; the console ended with:\n"
                                     + self.tail())
            self.pump(left)
            if self.closed and not compiled.search(self.pending):
                raise ConsoleClosed(f"closed before {pattern!r}; the console ended with:\n"
                                    + self.tail())

    def read_until_closed(self, timeout=120):
        deadline = time.monotonic() + timeout
        while not self.closed:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ConsoleTimeout(f"still open after {timeout} s; the console ended with:\n"
                                     + self.tail())
            self.pump(left)

    def send(self, text):
        data = text.encode()
        while data:
            data = data[os.write(self.write_descriptor, data):]

    def tail(self, characters=2000):
        return self.transcript[-characters:]

    def login(self, user="root", timeout=180):
        """From the login prompt to a quiet shell."""
        self.expect(r"login: ?$", timeout)
        self.send(user + "\n")
        self.expect(r"[#$] ?(\x1b\[[0-9;?]*[a-zA-Z])*$", 120)
        self.quiet_shell()

    def quiet_shell(self):
        """Makes the shell at the other end fit for shell(): no echo, no prompt, no line editing."""
        self.send("stty -echo; PS1=; PS2=; PROMPT_COMMAND=; set +o emacs 2>/dev/null; "
                  "bind 'set enable-bracketed-paste off' 2>/dev/null; echo READY$((6*7))\n")
        self.expect(r"READY42\r?\n", 60)

    def read_past(self, mark, timeout):
        """Waits for the text mark; returns what came before it. Looks at each byte once: output is
        long, comes in small pieces, and the test host runs this slowly."""
        deadline = time.monotonic() + timeout
        looked = 0
        while True:
            at = self.pending.find(mark, looked)
            if at >= 0:
                before, self.pending = self.pending[:at], self.pending[at + len(mark):]
                return before
            looked = max(0, len(self.pending) - len(mark))
            left = deadline - time.monotonic()
            if left <= 0:
                raise ConsoleTimeout(f"no {mark!r} within {timeout} s; the console ended with:\n"
                                     + self.tail())
            self.pump(left)
            if self.closed and self.pending.find(mark, looked) < 0:
                raise ConsoleClosed(f"closed before {mark!r}; the console ended with:\n"
                                    + self.tail())

    def shell(self, command, timeout=120):
        """Runs a command; returns (exit status, output)."""
        self.send(f"{{ {command}\n}}; printf '\\n@@%s%d@@\\n' END $?\n")
        output = self.read_past("\n@@END", timeout)
        return int(self.read_past("@@", 60)), output.replace("\r\n", "\n").strip()

    def check(self, command, timeout=120):
        """Runs a command that must succeed; returns its output."""
        status, output = self.shell(command, timeout)
        if status != 0:
            raise AssertionError(f"in the guest: {command!r} exited with {status}: {output}")
        return output


class Terminal(Console):
    """A program that shows a console, on a terminal of its own; ^] leaves it."""

    def __init__(self, *command):
        self.child, terminal = pty.fork()
        if self.child == 0:
            os.execvp(command[0], command)
        super().__init__(terminal, terminal, sys.stderr if os.environ.get("LAB_CONSOLE") else None)

    def leave(self):
        """As a user does, by the escape character; the program's exit status."""
        self.send("\x1d")
        self.read_until_closed(30)
        os.close(self.read_descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
