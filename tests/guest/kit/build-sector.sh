#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds a boot sector: 512 bytes that run at 0x7c00.
# usage: build-sector.sh OUTPUT SOURCE DEPFILE -- CC...
set -eu
out=$1 source=$2 depfile=$3
shift 4
tmp=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
"$@" -m32 -MD -MF "$depfile" -MT "$out" -c "$source" -o "$tmp/sector.o"
ld -m elf_i386 -nostdlib -Ttext=0x7c00 --oformat=binary -e _start -o "$out" "$tmp/sector.o"
[ "$(stat -c %s "$out")" -eq 512 ]
