# SPDX-License-Identifier: GPL-2.0-or-later
"""What the lab tests share: the test host, the console driver, QMP, machines."""
