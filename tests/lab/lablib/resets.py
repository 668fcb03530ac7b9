# SPDX-License-Identifier: GPL-2.0-or-later
"""fio verifies a disk of the guest while the guest resets that disk, again and again."""

LEAST = 4  # resets; fio begins again until they were

FIO = ("fio --name=verify --filename={disk} --rw=randwrite --bs=4k-64k --size={size} --direct=1 "
       "--ioengine=libaio --iodepth=16 --verify=crc32c --verify_fatal=1 --do_verify=1 "
       "--randrepeat=0 --group_reporting --loops={loops} --eta=never --output=/tmp/fio.log")
WORK = ("while :; do {fio}; s=$?; [ $s = 0 ] && [ ! -e /tmp/enough ] || break; done; "
        "echo $s >/tmp/status; mv /tmp/status /tmp/fio.status")
LOOP = ("n=0; while [ ! -e /tmp/fio.status ]; do {{ {reset}; }} >/dev/null || exit_status=1; "
        "n=$((n+1)); [ $n -lt {least} ] || touch /tmp/enough; sleep 0.5; done; echo $n; "
        "(exit ${{exit_status:-0}})")


def verify_meanwhile(guest, disk, reset, logged, size="24M", loops=3):
    """reset: the guest's command; logged: what its kernel logs of each one, if anything."""
    fio = FIO.format(disk=disk, size=size, loops=loops)
    guest.check("dmesg -c >/dev/null")
    guest.check(f"(({WORK.format(fio=fio)}) &)")
    resets = int(guest.check(LOOP.format(reset=reset, least=LEAST), 240).splitlines()[-1])
    guest.check("while [ ! -e /tmp/fio.status ]; do sleep 0.2; done", 240)
    print(f"{resets} resets of {disk}", flush=True)
    status = guest.check("cat /tmp/fio.status")
    assert status == "0", (f"fio ended with {status}: " +
                           guest.check("cat /tmp/fio.log; dmesg | tail -n 20"))
    assert resets >= LEAST, f"{resets} resets only: " + guest.check("dmesg | tail -n 20")
    if not logged:
        return
    seen = int(guest.check(f"dmesg | grep -c '{logged}' || true"))
    assert seen >= resets, f"{resets} resets, of which the kernel logged {seen}"
