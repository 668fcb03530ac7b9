#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds one bare-metal guest from the kit: NAME.pvh (ELF), NAME.mb (multiboot ELF), NAME.bz (bzImage)
# and NAME.rom (256 KiB firmware image).
# usage: build.sh OUTDIR NAME SOURCE... -- CC...
set -eu
kit=$(dirname "$0")
out=$1
name=$2
shift 2
sources=
while [ "$1" != -- ]; do
    sources="$sources $1"
    shift
done
shift
cc="$*"
tmp=$(mktemp -d "$out/$name.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

cflags="-m64 -std=gnu11 -O2 -ffreestanding -nostdlib -mno-sse -mgeneral-regs-only -mno-red-zone
    -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables
    -mcmodel=small -Wall -Wextra -Wshadow -Wmissing-prototypes -Werror"
objects=
for source in "$kit"/*.c $sources; do
    object=$tmp/$(basename "$source" .c).o
    $cc $cflags -c "$source" -o "$object"
    objects="$objects $object"
done

link() {
    ld -nostdlib -static -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments \
        -T "$kit/kit.lds" -e "$1" -o "$2" "$3" $objects
}
$cc -m64 -DWITH_PVH -c "$kit/head.S" -o "$tmp/head-pvh.o"
link entry_pvh "$out/$name.pvh" "$tmp/head-pvh.o"
$cc -m64 -DWITH_MULTIBOOT -c "$kit/head.S" -o "$tmp/head-mb.o"
link entry_multiboot "$tmp/mb64" "$tmp/head-mb.o"
objcopy -O elf32-i386 "$tmp/mb64" "$out/$name.mb"
objcopy -O binary "$tmp/mb64" "$tmp/payload"

$cc -m32 -DPAYLOAD_SIZE="$(stat -c %s "$tmp/payload")" -c "$kit/setup.S" -o "$tmp/setup.o"
objcopy -O binary -j .text "$tmp/setup.o" "$tmp/setup"
cat "$tmp/setup" "$tmp/payload" > "$out/$name.bz"
$cc -m64 -DPAYLOAD="\"$tmp/payload\"" -c "$kit/rom.S" -o "$tmp/rom.o"
objcopy -O binary -j .text "$tmp/rom.o" "$out/$name.rom"
