#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux uses the TPM 2.0 that swtpm emulates, by each of the two interfaces."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lablib import harness  # noqa: E402
from lablib.guest import Guest  # noqa: E402

FIRMWARE = "bios-256k.bin"  # which starts the TPM up
TPM_TROUBLE = re.compile(r"tpm.*(error|fail|timeout|bug|bypass|self test)", re.I)
# TPM2_GetRandom (TPM 2.0 Library, part 3): tag, size, command code, 16 bytes wanted.
GET_RANDOM = r"\200\001\000\000\000\014\000\000\001\173\000\020"
ANSWER = r"8001 0000001c 00000000 0010 ([0-9a-f]{32})".replace(" ", "")


@contextlib.contextmanager
def swtpm():
    """A swtpm with a new TPM; gives the path of its control socket."""
    if not shutil.which("swtpm"):
        raise harness.Skip("swtpm is not here")
    with tempfile.TemporaryDirectory(prefix="lab-tpm-") as folder:
        path = os.path.join(folder, "control")
        process = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}",
                                    "--ctrl", f"type=unixio,path={path}"],
                                   stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not os.path.exists(path):
                assert process.poll() is None, "swtpm ended at once"
                if time.monotonic() > deadline:
                    raise TimeoutError("swtpm does not listen")
                time.sleep(0.05)
            yield path
        finally:
            process.terminate()
            process.wait(10)


def random_bytes(check):
    """What the TPM answers to a raw command."""
    answer = check(f"exec 3<>/dev/tpm0 && printf '{GET_RANDOM}' >&3 && "
                   "dd bs=4096 count=1 <&3 2>/dev/null | hexdump -ve '1/1 \"%02x\"'; exec 3>&-")
    match = re.fullmatch(ANSWER, answer)
    assert match, f"the TPM answered {answer}"
    return match.group(1)


def use(interface):
    with swtpm() as path, Guest(["-bios", FIRMWARE, "-nic", "none",
                                 "-chardev", f"socket,id=c,path={path}",
                                 "-tpmdev", "emulator,id=t,chardev=c",
                                 "-device", f"{interface},tpmdev=t"]) as guest:
        check = guest.check
        assert check("cat /sys/class/tpm/tpm0/tpm_version_major") == "2"
        pcr = check("cat /sys/class/tpm/tpm0/pcr-sha256/0")
        assert re.fullmatch(r"[0-9A-F]{64}", pcr), pcr
        assert random_bytes(check) != random_bytes(check)
        bad = [line for line in guest.assert_healthy() if TPM_TROUBLE.search(line)]
        assert not bad, "the guest's kernel logged:\n" + "\n".join(bad)
        assert guest.power_off() == 0


def test_by_fifo():
    use("tpm-tis")


def test_by_command_buffer():
    use("tpm-crb")


harness.run(globals())
