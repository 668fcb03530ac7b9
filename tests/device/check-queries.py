#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every query of QMP without arguments, and the requests of requests.txt, are answered in QEMU's
shape: errors have its class.

    check-queries.py VIREO [QEMU]

Both programs get one command line. Of each query that both have, the answers' members and JSON
types are compared, all elements of a list taken together. A difference has to be in DIFFERENCES, and
what stands there has to differ. Ends with 77, which skips the test, where there is no QEMU."""
import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

QEMU = '/usr/bin/qemu-system-x86_64'

# Queries that are not asked.
LEFT_OUT = {
    'query-qmp-schema': 'tests/device/test-libvirt.c compares it',
}

# PATH of a member or of a list's elements, or a whole request: why the two differ.
DIFFERENCES = {
    'query-acpi-ospm-status[]': "QEMU lists vCPUs once the guest's ACPI code uses the new registers",
    'query-memdev[]': "QEMU makes an object of the machine's RAM when -machine names none",
    'query-command-line-options[].parameters[].default': "QEMU's words",
    'query-command-line-options[].parameters[].help': "QEMU's words",
    'qom-list[].default-value': 'QEMU tells it of types only',
    'qom-list[].description': 'QEMU tells it of types only',
    'qom-list-properties[].default-value': 'QEMU leaves out what it could tell',
    'qom-list-properties[].description': 'QEMU leaves out what it could tell',
    'device-list-properties[].default-value': "not all properties of QEMU's devices are there",
    'device-list-properties[].description': "not all of QEMU's have one",
    'qom-get {"path": "/machine/peripheral/disk", "property": "addr"}': "QEMU has a number or a text",
    'qom-get {"path": "/machine", "property": "kernel-irqchip"}': 'QEMU can set it only',
    'qom-get {"path": "/machine", "property": "rtc-time"}': 'RTC_CHANGE tells',
    'query-cpu-definitions[].unavailable-features[]': "what QEMU's own CPU lacks",
}

COMMON = """
-S -nodefaults -display none -qmp stdio -name shapes -uuid 11111111-2222-3333-4444-555555555555
-object iothread,id=io -object secret,id=sec,data=x -object rng-builtin,id=rng
-object throttle-group,id=slow,x-bps-total=1000000
-chardev null,id=quiet -chardev ringbuf,id=ring,size=64 -serial chardev:quiet
-chardev socket,id=door,path=door,server=on,wait=off
-blockdev driver=file,filename=base.qcow2,node-name=base-file
-blockdev driver=qcow2,file=base-file,node-name=base
-blockdev driver=file,filename=top.qcow2,node-name=top-file
-blockdev driver=qcow2,file=top-file,backing=base,node-name=top
-drive if=none,id=old,file=raw,format=raw,throttling.iops-total=100
-device virtio-scsi-pci,id=scsi -device scsi-hd,id=hd,drive=old,bus=scsi.0
-device scsi-cd,id=cd,bus=scsi.0 -device virtio-blk-pci,id=disk,drive=top,iothread=io
-device virtio-serial-pci,id=vser -device virtserialport,chardev=ring,name=org.x
-device virtio-rng-pci,rng=rng -device vmgenid -device qemu-xhci,id=xhci -device usb-tablet
"""
MACHINES = {
    'q35': """-machine q35 -m 64,slots=2,maxmem=256M -smp 2,maxcpus=4
        -object memory-backend-ram,id=ram0,size=64M -numa node,memdev=ram0
        -object memory-backend-ram,id=more,size=64M -device pc-dimm,id=dimm,memdev=more
        -device pcie-root-port,id=rp,chassis=1,addr=10 -netdev user,id=net
        -device virtio-net-pci,id=nic,netdev=net,bus=rp -device virtio-balloon-pci,id=balloon
        -device nvme,serial=n""",
    'pc': """-machine pc -m 64 -smp 1,dies=2,maxcpus=4 -drive if=floppy -cdrom disc
        -device pci-bridge,id=b,chassis_nr=1 -device i6300esb -device pvpanic""",
}
COMMANDS = [  # before the queries
    {'execute': 'block-dirty-bitmap-add', 'arguments': {'node': 'top', 'name': 'b',
                                                        'persistent': True}},
    {'execute': 'nbd-server-start',
     'arguments': {'addr': {'type': 'unix', 'data': {'path': 'nbd'}}}},
    {'execute': 'block-export-add',
     'arguments': {'type': 'nbd', 'id': 'e', 'node-name': 'base'}},
    {'execute': 'blockdev-add',
     'arguments': {'driver': 'null-co', 'node-name': 'zero', 'size': 1 << 30,
                   'read-zeroes': True}},
    {'execute': 'blockdev-add',
     'arguments': {'driver': 'null-co', 'node-name': 'copy', 'size': 1 << 30}},
    {'execute': 'blockdev-mirror',
     'arguments': {'job-id': 'job', 'device': 'zero', 'target': 'copy', 'sync': 'full',
                   'speed': 1}},
]


class Program:
    """A VMM in a folder of its own, asked over standard input."""

    def __init__(self, words, machine, folder):
        for line in ('create -q -f qcow2 base.qcow2 4M',
                     'create -q -f raw raw 4M', 'create -q -f raw disc 4M',
                     'create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2',
                     'snapshot -c one top.qcow2'):
            subprocess.run(['qemu-img', *line.split()], cwd=folder, check=True)
        self.process = subprocess.Popen([*words, *COMMON.split(), *machine.split()], cwd=folder,
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if not self.process.stdout.readline():
            sys.exit(f'{words[0]} did not start')
        self.ask({'execute': 'qmp_capabilities'})

    def ask(self, request):
        self.process.stdin.write(json.dumps(request) + '\n')
        self.process.stdin.flush()
        for line in self.process.stdout:
            answer = json.loads(line)
            if 'return' in answer or 'error' in answer:
                return answer
        sys.exit(f'{self.process.args[0]} ended at {request}')

    def end(self):
        self.ask({'execute': 'quit'})
        self.process.communicate()
        if self.process.returncode:
            sys.exit(f'{self.process.args[0]} ended with {self.process.returncode}')


def queries(program):
    """Names of the queries that need no arguments."""
    schema = program.ask({'execute': 'query-qmp-schema'})['return']
    types = {item['name']: item for item in schema}
    for item in schema:
        if item['meta-type'] == 'command' and item['name'].startswith('query-') \
                and all('default' in member for member in types[item['arg-type']]['members']):
            yield item['name']


def kind(value):
    if isinstance(value, bool):
        return 'bool'
    if isinstance(value, (int, float)):
        return 'number'
    return {str: 'string', list: 'list', dict: 'object', type(None): 'null'}[type(value)]


def shape(path, value, out):
    """out: {path of a member: its types}"""
    out.setdefault(path, set()).add(kind(value))
    if isinstance(value, dict):
        for name, member in value.items():
            shape(f'{path}.{name}', member, out)
    elif isinstance(value, list):
        for element in value:
            shape(path + '[]', element, out)
    return out


def compare(command, ours, theirs):
    """(path, what differs)"""
    if 'error' in ours or 'error' in theirs:
        if ours.get('error', {}).get('class') != theirs.get('error', {}).get('class'):
            yield command, f'{ours}, QEMU {theirs}'
        return
    mine, other = shape(command, ours['return'], {}), shape(command, theirs['return'], {})
    for path in sorted(set(mine) | set(other)):
        parent = path.rpartition('.')[0] or path
        if path.endswith('[]') or parent in mine and parent in other:
            if mine.get(path) != other.get(path):
                yield path, f'{sorted(mine.get(path, ()))}, QEMU {sorted(other.get(path, ()))}'


def requests():
    """The lines of requests.txt."""
    for line in pathlib.Path(__file__).with_name('requests.txt').read_text().splitlines():
        if line and not line.startswith('#'):
            yield line


class Comparison:
    """What differs, with and without a reason."""

    def __init__(self):
        self.wrong = []
        self.used = set()  # keys of DIFFERENCES

    def ask(self, programs, line):
        """The line is a command, a blank and its arguments; without them it is a query."""
        command, _, arguments = line.partition(' ')
        request = {'execute': command, 'arguments': json.loads(arguments or '{}')}
        for path, what in compare(command, *(program.ask(request) for program in programs)):
            place = line if line in DIFFERENCES else path
            self.used.add(place)
            if place not in DIFFERENCES:
                self.wrong.append(f'{line}: {path}: {what}')

    def run(self, vireo, qemu, machine, lines):
        """Asks both for the lines, after all queries without arguments."""
        with contextlib.ExitStack() as stack:
            programs = []
            for words in ([vireo, '-accel', 'qtest'], [qemu, '-accel', 'tcg']):
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                programs.append(Program(words, machine, folder))
                stack.callback(programs[-1].process.kill)
            for command in COMMANDS:
                for program in programs:
                    answer = program.ask(command)
                    if 'error' in answer:
                        sys.exit(f'{program.process.args[0]} refuses {command}: {answer["error"]}')
            both = set(queries(programs[0])) & set(queries(programs[1]))
            for line in (*sorted(both - set(LEFT_OUT)), *lines):
                self.ask(programs, line)
            for program in programs:
                program.end()


def main():
    vireo = str(pathlib.Path(sys.argv[1]).resolve())
    qemu = sys.argv[2] if len(sys.argv) > 2 else QEMU
    if not shutil.which(qemu) or not shutil.which('qemu-img'):
        print(f'there is no {qemu} or no qemu-img')
        sys.exit(77)
    comparison = Comparison()
    for name, machine in MACHINES.items():
        comparison.run(vireo, qemu, machine, requests() if name == 'q35' else ())
    wrong = comparison.wrong + [f'{place} is in DIFFERENCES and does not differ'
                                for place in set(DIFFERENCES) - comparison.used]
    sys.exit('\n'.join(wrong) if wrong else 0)


if __name__ == '__main__':
    main()
