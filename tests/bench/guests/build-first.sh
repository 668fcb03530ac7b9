#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds the two guests whose first instruction writes a port.
# usage: build-first.sh OUTDIR ROM_SOURCE PVH_SOURCE LINKER_SCRIPT -- CC...
set -eu
out=$1
rom=$2
pvh=$3
script=$4
shift 5
tmp=$(mktemp -d "$out/first.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
"$@" -m64 -c "$rom" -o "$tmp/rom.o"
objcopy -O binary -j .text "$tmp/rom.o" "$out/first.rom"
"$@" -m64 -c "$pvh" -o "$tmp/pvh.o"
ld -static -z noexecstack --no-warn-rwx-segments -T "$script" -e entry_pvh -o "$out/first-pvh.elf" \
    "$tmp/pvh.o"
