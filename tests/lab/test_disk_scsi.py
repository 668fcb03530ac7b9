#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The installed Debian boots unchanged from virtio-scsi; disk-matrix tries the other machines."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.installed import boot_and_use  # noqa: E402


def test_on_pc():
    boot_and_use("scsi", "pc", cpus=4)


harness.run(globals())
