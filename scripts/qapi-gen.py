#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""From the QMP schema (vmm/monitor/schema/*.json) to C types, checking tables, the answer to
query-qmp-schema and the reference page.

A schema file is an object {"title", "doc", "items": [...]}. An item is one of
  {"command": NAME, "doc", "data": {MEMBER: TYPE}, "returns": TYPE, "oob": true, "open": true,
   "features": [NAME, ...]}
  {"event": NAME, "doc", "data": {MEMBER: TYPE}}
  {"struct": NAME, "doc", "data": {MEMBER: TYPE}, "open": true}
  {"enum": NAME, "doc", "data": [VALUE, ...]}
A MEMBER with "*" in front is optional. A TYPE is a built-in (str, int, number, bool, size, uint8 to
uint64, int8 to int64, any), the name of a struct or enum, or a list [TYPE]. "open": members that are
not listed are let through (device_add's properties)."""
import argparse
import json
import pathlib
import sys

INTS = {'int': (-2**63, 2**63 - 1), 'int8': (-2**7, 2**7 - 1), 'int16': (-2**15, 2**15 - 1),
        'int32': (-2**31, 2**31 - 1), 'int64': (-2**63, 2**63 - 1)}
UINTS = {'uint8': 2**8 - 1, 'uint16': 2**16 - 1, 'uint32': 2**32 - 1, 'uint64': 2**64 - 1,
         'size': 2**64 - 1}
BUILTINS = set(INTS) | set(UINTS) | {'str', 'number', 'bool', 'any'}


class Schema:
    def __init__(self, files):
        self.pages, self.types, self.commands, self.events = [], {}, {}, {}
        for path in files:
            page = json.loads(pathlib.Path(path).read_text())
            self.pages.append(page)
            for item in page['items']:
                self.add(path, item)
        for item in list(self.types.values()) + list(self.commands.values()) \
                + list(self.events.values()):
            self.check(item)

    def add(self, path, item):
        for kind, table in (('command', self.commands), ('event', self.events),
                            ('struct', self.types), ('enum', self.types)):
            if kind in item:
                if item[kind] in table:
                    sys.exit(f'{path}: {item[kind]} is there twice')
                if not item.get('doc'):
                    sys.exit(f'{path}: {item[kind]} is not described')
                table[item[kind]] = item
                return
        sys.exit(f'{path}: an item of no known kind: {item}')

    def check(self, item):
        if 'enum' in item:
            return
        types = list(item.get('data', {}).values())
        if 'returns' in item:
            types.append(item['returns'])
        for kind in types:
            base = kind[0] if isinstance(kind, list) else kind
            if base not in BUILTINS and base not in self.types:
                sys.exit(f'{item}: no type {base}')


def members(data):
    for name, kind in data.items():
        yield name.lstrip('*'), kind, name.startswith('*')


def camel(name):
    return ''.join(part[:1].upper() + part[1:] for part in name.replace('_', '-').split('-'))


def c_name(name):
    return name.replace('-', '_').replace('.', '_')


def upper(name):
    out = ''
    for i, char in enumerate(name):
        if char.isupper() and i and not name[i - 1].isupper():
            out += '_'
        out += char.upper()
    return c_name(out)


def type_symbol(kind):
    if isinstance(kind, list):
        return 'type_list_' + c_name(kind[0])
    return 'type_' + c_name(kind)


def c_field(schema, kind):
    if isinstance(kind, list) or kind == 'any':
        return 'json_object *'
    if kind == 'str':
        return 'const char *'
    if kind in INTS:
        return 'int64_t '
    if kind in UINTS:
        return 'uint64_t '
    if kind == 'number':
        return 'double '
    if kind == 'bool':
        return 'bool '
    return 'int ' if 'enum' in schema.types[kind] else 'json_object *'


def is_pointer(schema, kind):
    return c_field(schema, kind).endswith('*')


def args_name(command):
    return f'Qmp{camel(command)}Args'


def header(schema):
    out = ['/* Generated from vmm/monitor/schema by scripts/qapi-gen.py. */',
           '#ifndef VMM_MONITOR_QMP_SCHEMA_H', '#define VMM_MONITOR_QMP_SCHEMA_H', '',
           '#include <json-c/json.h>', '#include <stdbool.h>', '#include <stdint.h>', '']
    for name, item in schema.types.items():
        if 'enum' in item:
            out.append(f'typedef enum Qmp{name} {{')
            out += [f'    QMP_{upper(name)}_{upper(value)},' for value in item['data']]
            out += [f'}} Qmp{name};',
                    f'extern const char *const qmp_{name}_values[]; /* NULL-terminated */', '']
    for name, item in schema.commands.items():
        if not item.get('data') and not item.get('open'):
            continue
        out.append(f'typedef struct {args_name(name)} {{')
        for member, kind, optional in members(item.get('data', {})):
            if optional and not is_pointer(schema, kind):
                out.append(f'    bool has_{c_name(member)};')
            out.append(f'    {c_field(schema, kind)}{c_name(member)};')
        if item.get('open'):
            out.append('    json_object *rest; /* the members that the schema does not list */')
        out += [f'}} {args_name(name)};', '']
    out.append('#endif')
    return '\n'.join(out) + '\n'


def type_tables(schema):
    """The constant tables of all types, built-ins first."""
    out, lists = [], []
    for name in sorted(BUILTINS):
        if name in INTS:
            low, high = INTS[name]
            low = 'INT64_MIN' if low == -2**63 else str(low)
            spec = f'.kind = QMP_INT, .min = {low}, .max = {high}'
        elif name in UINTS:
            spec = f'.kind = QMP_UINT, .max = {UINTS[name]}u'
        else:
            spec = f'.kind = QMP_{name.upper()}'
        out.append(f'static const QmpType type_{name} = {{ .name = "{name}", {spec} }};')
    for name, item in schema.types.items():
        out.append(f'static const QmpType type_{c_name(name)};')
    for table in (schema.types, schema.commands):
        for item in table.values():
            if 'enum' in item:
                continue
            for kind in list(item.get('data', {}).values()) + [item.get('returns')]:
                if isinstance(kind, list) and kind[0] not in lists:
                    lists.append(kind[0])
    for kind in lists:
        out.append(f'static const QmpType {type_symbol([kind])} = {{ .name = "[{kind}]", '
                   f'.kind = QMP_ARRAY, .element = &{type_symbol(kind)} }};')
    for name, item in schema.types.items():
        symbol = c_name(name)
        if 'enum' in item:
            values = ', '.join(f'"{value}"' for value in item['data'])
            out.append(f'const char *const qmp_{symbol}_values[] = {{ {values}, NULL }};')
            out.append(f'static const QmpType type_{symbol} = {{ .name = "{name}", '
                       f'.kind = QMP_ENUM, .values = qmp_{symbol}_values }};')
        else:
            out += member_table(schema, f'members_{symbol}', item, None)
            out.append(f'static const QmpType type_{symbol} = {{ .name = "{name}", '
                       f'.kind = QMP_OBJECT, .members = members_{symbol}, '
                       f'.open = {"true" if item.get("open") else "false"} }};')
    return out


def member_table(schema, symbol, item, args):
    out = [f'static const QmpMember {symbol}[] = {{']
    for member, kind, optional in members(item.get('data', {})):
        line = f'    {{ .name = "{member}", .type = &{type_symbol(kind)}'
        if optional:
            line += ', .optional = true'
        if args:
            line += f', .offset = offsetof({args}, {c_name(member)})'
            if optional and not is_pointer(schema, kind):
                line += f', .has_offset = offsetof({args}, has_{c_name(member)}) + 1'
        out.append(line + ' },')
    out += ['    { .name = NULL },', '};']
    return out


def source(schema):
    out = ['/* Generated from vmm/monitor/schema by scripts/qapi-gen.py. */',
           '#include <stddef.h>', '#include "vmm/monitor/schema.h"',
           '#include "vmm/monitor/qmp-schema.h"', '',
           '#pragma GCC diagnostic ignored "-Wunused-const-variable"', '']
    out += type_tables(schema)
    for name, item in schema.commands.items():
        has = item.get('data') or item.get('open')
        out += member_table(schema, f'args_{c_name(name)}', item, args_name(name) if has else None)
    out.append('const QmpCommandDesc qmp_command_descs[] = {')
    for name, item in sorted(schema.commands.items()):
        line = f'    {{ .name = "{name}", .members = args_{c_name(name)}'
        if item.get('data') or item.get('open'):
            line += f', .args_size = sizeof({args_name(name)})'
        if item.get('open'):
            line += f', .open = true, .rest_offset = offsetof({args_name(name)}, rest)'
        if item.get('oob'):
            line += ', .oob = true'
        if item.get('returns'):
            line += f', .returns = &{type_symbol(item["returns"])}'
        out.append(line + ' },')
    out += ['    { .name = NULL },', '};']
    out.append('const char *const qmp_event_names[] = {')
    out += [f'    "{name}",' for name in sorted(schema.events)]
    out += ['    NULL,', '};']
    text = json.dumps(introspection(schema), separators=(',', ':'))
    out.append('const char qmp_schema_json[] =')
    chunks = [text[i:i + 90] for i in range(0, len(text), 90)]
    out += ['    "' + chunk.replace('\\', '\\\\').replace('"', '\\"') + '"' for chunk in chunks]
    out[-1] += ';'
    return '\n'.join(out) + '\n'


def introspection(schema):
    """What query-qmp-schema answers: QEMU's SchemaInfo list, type names masked by numbers."""
    out, numbers = [], {}

    def number(name):
        return numbers.setdefault(name, str(len(numbers)))

    def reference(kind):
        if isinstance(kind, list):
            return '[' + reference(kind[0]) + ']'
        if kind in INTS or kind in UINTS:
            return 'int'
        return kind if kind in BUILTINS else number(kind)

    def member_list(data):
        result = []
        for member, kind, optional in members(data):
            info = {'name': member, 'type': reference(kind)}
            if optional:
                info['default'] = None
            result.append(info)
        return result

    empty = number('')
    for name, item in schema.commands.items():
        arguments = number('args ' + name) if item.get('data') else empty
        info = {'name': name, 'meta-type': 'command', 'arg-type': arguments,
                'ret-type': reference(item['returns']) if 'returns' in item else empty}
        if item.get('oob'):
            info['allow-oob'] = True
        if item.get('features'):
            info['features'] = item['features']
        out.append(info)
        if item.get('data'):
            out.append({'name': arguments, 'meta-type': 'object',
                        'members': member_list(item['data'])})
    for name, item in schema.events.items():
        arguments = number('event ' + name) if item.get('data') else empty
        out.append({'name': name, 'meta-type': 'event', 'arg-type': arguments})
        if item.get('data'):
            out.append({'name': arguments, 'meta-type': 'object',
                        'members': member_list(item['data'])})
    for name, item in schema.types.items():
        if 'enum' in item:
            out.append({'name': number(name), 'meta-type': 'enum', 'values': item['data'],
                        'members': [{'name': value} for value in item['data']]})
        else:
            out.append({'name': number(name), 'meta-type': 'object',
                        'members': member_list(item['data'])})
    out.append({'name': empty, 'meta-type': 'object', 'members': []})
    lists = {}
    for table in (schema.types, schema.commands, schema.events):
        for item in table.values():
            kinds = [] if 'enum' in item else list(item.get('data', {}).values())
            for kind in kinds + [item.get('returns')]:
                if isinstance(kind, list):
                    lists[reference(kind)] = reference(kind[0])
    for name, element in lists.items():
        out.append({'name': name, 'meta-type': 'array', 'element-type': element})
    for name, kind in (('str', 'string'), ('int', 'int'), ('number', 'number'), ('bool', 'boolean'),
                       ('any', 'value')):
        out.append({'name': name, 'meta-type': 'builtin', 'json-type': kind})
    return out


def type_text(kind):
    if isinstance(kind, list):
        return f'list of {type_text(kind[0])}'
    return kind if kind in BUILTINS else f'[{kind}](#{kind.lower()})'


def reference(schema):
    out = ['# The QMP reference', '',
           'Generated from `vmm/monitor/schema` by `scripts/qapi-gen.py`; the names and shapes are '
           'those of QEMU.', '']
    for page in schema.pages:
        out += [f'## {page["title"]}', '', page['doc'], '']
        for item in page['items']:
            kind = next(k for k in ('command', 'event', 'struct', 'enum') if k in item)
            out += [f'### {item[kind]}', '', f'*{kind.capitalize()}.* {item["doc"]}', '']
            if kind == 'enum':
                out += ['Values: ' + ', '.join(f'`{value}`' for value in item['data']) + '.', '']
                continue
            for member, of, optional in members(item.get('data', {})):
                out.append(f'- `{member}`: {type_text(of)}{", optional" if optional else ""}')
            if item.get('open'):
                out.append('- more members, as the named type has them')
            if item.get('data') or item.get('open'):
                out.append('')
            if 'returns' in item:
                out += [f'Returns: {type_text(item["returns"])}.', '']
            if item.get('oob'):
                out += ['May be executed out of band.', '']
    return '\n'.join(out).rstrip() + '\n'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--header')
    parser.add_argument('--source')
    parser.add_argument('--reference', help='write the reference page')
    parser.add_argument('--check-reference', help='fail unless the page is up to date')
    parser.add_argument('files', nargs='+')
    options = parser.parse_args()
    schema = Schema(sorted(options.files))
    for path, make in ((options.header, header), (options.source, source),
                       (options.reference, reference)):
        if path:
            pathlib.Path(path).write_text(make(schema))
    check = options.check_reference
    if check and pathlib.Path(check).read_text() != reference(schema):
        sys.exit(f'{check} is not up to date: run scripts/qapi-gen.py --reference {check} '
                 'vmm/monitor/schema/*.json')


if __name__ == '__main__':
    main()
