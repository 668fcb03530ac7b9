#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The installed Debian boots unchanged from NVMe; disk-matrix tries the other machines."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.installed import boot_and_use  # noqa: E402


def test_on_q35():
    boot_and_use("nvme", "q35", cpus=2)


harness.run(globals())
