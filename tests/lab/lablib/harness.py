# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a lab test file: each function named test_... is one case.

The exit status: 77 says that all were skipped, 124 that nothing failed but by a wait that ended,
which is what a test host that stalls looks like."""

import subprocess
import sys
import time
import traceback

from .console import ConsoleTimeout

TIMEOUT_STATUS = 124
TIMEOUTS = (ConsoleTimeout, TimeoutError, subprocess.TimeoutExpired)


class Skip(Exception):
    """Raised by a test that cannot run here; its text says why."""


def reason(error):
    """In a line: what was raised, and the test's line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__} {text} (line {frame.lineno}: {frame.line})"


def run(namespace):
    """Runs the test functions of a module in their order; exits with the outcome."""
    cases = [(name, value) for name, value in namespace.items()
             if name.startswith("test_") and callable(value)]
    if len(sys.argv) > 1:
        cases = [case for case in cases if any(word in case[0] for word in sys.argv[1:])]
    failed = late = skipped = 0
    for name, function in cases:
        began = time.monotonic()
        title = name[len("test_"):].replace("_", " ")
        try:
            function()
            outcome = "ok"
        except Skip as skip:
            skipped += 1
            outcome = f"skipped: {skip}"
        except TIMEOUTS as error:
            late += 1
            outcome = f"TIMED OUT: {reason(error)}"
            traceback.print_exc()
        except Exception as error:  # any failure of one case must not hide the others
            failed += 1
            outcome = f"FAILED: {reason(error)}"
            traceback.print_exc()
        print(f"{title}: {outcome} ({time.monotonic() - began:.1f} s)", flush=True)
    if failed or not cases:
        sys.exit(1)
    if late:
        sys.exit(TIMEOUT_STATUS)
    sys.exit(77 if skipped == len(cases) else 0)
