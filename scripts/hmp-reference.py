#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the tables of docs/monitor.md from what the human monitor's help says; with --check says
whether they are up to date.

    scripts/hmp-reference.py build/vireo docs/monitor.md [--check]"""
import pathlib
import subprocess
import sys

MARKS = {'help': 'commands', 'help info': 'info', 'help missing': 'missing'}


def ask(vireo, line):
    run = subprocess.run([vireo, '-accel', 'qtest', '-nodefaults', '-display', 'none', '-S', '-monitor', 'stdio'],
                         input=f'{line}\nquit\n', text=True, capture_output=True, check=True, timeout=60)
    text = run.stdout.replace('\r', '').split(f'(qemu) {line}\n', 1)[1].split('(qemu) ', 1)[0]
    return [row.split(' -- ', 1) for row in text.splitlines()]


def table(rows):
    out = ['| command | what it does |', '| --- | --- |']
    for name, text in rows:
        shown = name.replace('|', '\\|')
        plain = text.replace('|', '\\|').replace('*', '\\*').replace('<', '&lt;')
        out.append(f'| `{shown}` | {plain} |')
    return '\n'.join(out)


def main():
    vireo, path = sys.argv[1], pathlib.Path(sys.argv[2])
    old = new = path.read_text()
    for line, mark in MARKS.items():
        begin, end = f'<!-- {mark} -->\n', f'<!-- end of {mark} -->'
        before, rest = new.split(begin, 1)
        new = before + begin + table(ask(vireo, line)) + '\n' + end + rest.split(end, 1)[1]
    if '--check' in sys.argv:
        if new != old:
            sys.exit(f'{path} is not what help says: run scripts/hmp-reference.py {vireo} {path}')
    else:
        path.write_text(new)


main()
