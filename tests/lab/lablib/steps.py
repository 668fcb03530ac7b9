# SPDX-License-Identifier: GPL-2.0-or-later
"""Printed steps with the time that each took."""

import contextlib
import time


class Steps:
    def __init__(self):
        self.began = time.monotonic()

    @contextlib.contextmanager
    def step(self, text):
        """Prints text when the body is done, with a note that the body may add."""
        began = time.monotonic()
        note = []
        print(f"[{began - self.began:5.1f}s] {text} ...", flush=True)
        yield note.append
        spent = time.monotonic() - began
        suffix = f": {note[-1]}" if note else ""
        print(f"[{time.monotonic() - self.began:5.1f}s]   ok in {spent:.1f} s{suffix}", flush=True)
