#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command and event of the QMP schema is used by a test.

    check-coverage.py [--list] SOURCE-TREE

In C a command is used where a string has it behind 'execute', or where it is by itself an argument
of a call or macro (EXEC("stop"), guest_run_command(run, "stop")), other than of those that only
compare or look up. 'execute': 'PREFIX-%s' makes commands of the arguments in the same file. An event
is used where an argument has it as a word. A name in an initializer, as in a list that is looped
over, is no use: nothing is asserted of its answer. In Python the first argument of .command() and
.event() counts. --list writes for each name the files that use it."""
import ast
import json
import pathlib
import re
import sys

TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|[A-Za-z_]\w*|\S',
                   re.S)
EXECUTE = re.compile(r"""['"](?:execute|exec-oob)['"]\s*:\s*['"]([\w-]+)(%s)?""")
NO_USE = re.compile(r'g_|str|json_')


def strings_of_c(text):
    """(string, the call it is an argument of or None) with adjacent literals put together."""
    stack, last, parts = [], '', []
    found = []
    for token in TOKEN.findall(text):
        if token.startswith(('/*', '//')):
            continue
        if token[0] == '"':
            parts.append(token[1:-1].replace('\\"', '"'))
            continue
        if token == '\\':  # the end of a macro's line
            continue
        if parts:
            found.append((''.join(parts), stack[-1] if stack else None))
            parts = []
        if token in '({[':
            stack.append(last if token == '(' else None)
        elif token in ')}]' and stack:
            stack.pop()
        last = token
    return found


def uses_of_c(text):
    commands, words, prefixes, arguments = set(), set(), set(), set()
    for string, call in strings_of_c(text):
        for name, open_end in EXECUTE.findall(string):
            (prefixes if open_end else commands).add(name)
        if call is not None:
            words.update(re.findall(r'[A-Z][A-Z_]+', string))
            if not NO_USE.match(call):
                arguments.add(string)
    return commands | arguments | {p + a for p in prefixes for a in arguments}, words


def uses_of_python(text):
    commands, events = set(), set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args \
                and isinstance(node.args[0], ast.Constant):
            if node.func.attr == 'command':
                commands.add(node.args[0].value)
            elif node.func.attr == 'event':
                events.add(node.args[0].value)
    return commands, events


def schema_names(root):
    """{name: its index in what uses_of_*() give}"""
    names = {}
    for path in sorted((root / 'vmm/monitor/schema').glob('*.json')):
        for item in json.loads(path.read_text())['items']:
            for index, kind in enumerate(('command', 'event')):
                if kind in item:
                    names[item[kind]] = index
    return names


def test_sources(root):
    for folder, suffix in (('device', '.[ch]'), ('unit', '.[ch]'), ('guest', '.[ch]'),
                           ('lab', '.py')):
        yield from sorted((root / 'tests' / folder).glob('*' + suffix))


def main():
    root = pathlib.Path(sys.argv[-1])
    names = schema_names(root)
    users = {name: [] for name in names}
    for path in test_sources(root):
        text = path.read_text()
        uses = uses_of_python(text) if path.suffix == '.py' else uses_of_c(text)
        for name, index in names.items():
            if name in uses[index]:
                users[name].append(path.name)
    if '--list' in sys.argv:
        for name, files in users.items():
            print(f'{name}: {" ".join(files)}')
    if not names:
        sys.exit(f'{root} has no schema')
    wrong = [f'no test uses the {("command", "event")[names[name]]} {name}'
             for name, files in users.items() if not files]
    sys.exit('\n'.join(wrong) if wrong else 0)


if __name__ == '__main__':
    main()
