#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""From the lists of trace points (vmm/trace/events/*.events) to typed functions.

A list holds comments ("# ...") and one trace point a line:
  NAME(TYPE ARGUMENT, ...) FORMAT
FORMAT is what stands behind the name in the log: C string literals, as for printf. For a list NAME.events
the header trace-NAME.h declares trace_POINT() for each of its points and TRACE_ON_POINT, whether anybody
listens; the source file has the table of all points, the functions behind them and their USDT probes."""
import argparse
import pathlib
import re
import sys

LINE = re.compile(r'^(\w+)\((.*?)\)\s*(".*)$')
ARGUMENT = re.compile(r'^(.*?[ *])(\w+)$')
MAX_ARGUMENTS = 7  # as vmm/trace/probes.h has macros


def parse(path):
    points = []
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        line = line.strip()
        if not line or line.startswith('#'):
            continue
        match = LINE.match(line)
        if not match:
            sys.exit(f'{path}:{number}: not NAME(TYPE ARGUMENT, ...) "FORMAT"')
        name, text, form = match.groups()
        arguments = []
        for part in text.split(',') if text != 'void' else []:
            argument = ARGUMENT.match(part.strip())
            if not argument:
                sys.exit(f'{path}:{number}: no type and name: {part}')
            arguments.append((argument[1].strip(), argument[2]))
        if len(arguments) > MAX_ARGUMENTS:
            sys.exit(f'{path}:{number}: more than {MAX_ARGUMENTS} arguments')
        points.append((name, arguments, form))
    return points


def declare(arguments):
    return ', '.join(kind + ('' if kind.endswith('*') else ' ') + name
                     for kind, name in arguments) or 'void'


def names(arguments):
    return ', '.join(name for _, name in arguments)


def logged(arguments):
    """The arguments as they go into the log: texts that are not there are a dash."""
    return ''.join(f', trace_text({name})' if kind == 'const char *' else f', {name}'
                   for kind, name in arguments)


def header(subject, points):
    guard = f'VMM_TRACE_TRACE_{subject.upper()}_H'
    out = [f'/* Generated from vmm/trace/events/{subject}.events by scripts/trace-gen.py. */',
           f'#ifndef {guard}', f'#define {guard}', '', '#include "vmm/trace/trace.h"', '']
    for name, arguments, _ in points:
        out += [f'extern TraceWord vireo_{name}_semaphore G_GNUC_INTERNAL;',
                f'#define TRACE_ON_{name.upper()} trace_word_on(&vireo_{name}_semaphore)',
                f'__attribute__((cold)) void trace_{name}_take({declare(arguments)});',
                f'#define trace_{name}(...) \\',
                f'    do {{ if (G_UNLIKELY(TRACE_ON_{name.upper()})) {{ \\',
                f'        trace_{name}_take(__VA_ARGS__); }} }} while (0)', '']
    return '\n'.join(out + ['#endif']) + '\n'


def source(lists):
    out = ['/* Generated from vmm/trace/events by scripts/trace-gen.py. */', '#include "vmm/trace/probes.h"',
           '#include "vmm/trace/private.h"', '']
    out += [f'#include "vmm/trace/trace-{subject}.h"' for subject, _ in lists] + ['']
    for _, points in lists:
        for name, arguments, form in points:
            more = ', ' + names(arguments) if arguments else ''
            out += [f'TraceWord vireo_{name}_semaphore TRACE_WORD_SECTION;',
                    f'void trace_{name}_take({declare(arguments)})', '{',
                    f'    TRACE_PROBE{len(arguments)}({name}{more});',
                    f'    if (trace_word_logs(&vireo_{name}_semaphore)) {{',
                    f'        trace_log("{name}", {form}{logged(arguments)});', '    }', '}', '']
    out.append('const TracePoint trace_points[] = {')
    for _, points in lists:
        out += [f'    {{ "{name}", {form}, &vireo_{name}_semaphore }},' for name, _, form in points]
    return '\n'.join(out + ['    { NULL, NULL, NULL },', '};']) + '\n'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--dir', required=True, help='where the files go')
    parser.add_argument('files', nargs='+')
    options = parser.parse_args()
    lists = [(pathlib.Path(path).stem, parse(path)) for path in options.files]
    seen = set()
    for subject, points in lists:
        for name, _, _ in points:
            if name in seen:
                sys.exit(f'{subject}.events: {name} is there twice')
            seen.add(name)
        pathlib.Path(options.dir, f'trace-{subject}.h').write_text(header(subject, points))
    pathlib.Path(options.dir, 'trace-points.c').write_text(source(lists))


main()
