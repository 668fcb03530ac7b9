# SPDX-License-Identifier: GPL-2.0-or-later
# Debian's kernel packages as files: downloaded, never installed. Sourced after common.sh.

# busybox_path: a statically linked busybox.
busybox_path() {
    local path
    for path in /bin/busybox /usr/bin/busybox; do
        if [ -x $path ]; then
            echo $path
            return
        fi
    done
    die "busybox is missing: run ./configure --install-deps"
}

# stamp_of FILE...: identifies the recipe a cached file was made from.
stamp_of() {
    cat "$@" | sha256sum | cut -d' ' -f1
}

# fetch_kernel METAPACKAGE: prints the path of the .deb of the kernel that METAPACKAGE stands for.
fetch_kernel() {
    local package deb dir=$LAB_CACHE/packages
    package=$(apt-cache depends --no-recommends "$1" | sed -n 's/^ *Depends: *\(linux-image-.*\)/\1/p' | head -n 1)
    [ -n "$package" ] || die "apt knows no kernel '$1': run apt-get update, or check /etc/apt/sources.list.d"
    mkdir -p "$dir"
    deb=$(find "$dir" -name "${package}_*.deb" | head -n 1)
    if [ -z "$deb" ]; then
        (cd "$dir" && progress "$LAB_CACHE/log/fetch-kernel" "Fetching $package" \
            apt-get download -q "$package") || die "cannot fetch $package"
        deb=$(find "$dir" -name "${package}_*.deb" | head -n 1)
    fi
    [ -n "$deb" ] || die "apt-get download left no file for $package in $dir"
    echo "$deb"
}

# write_module_index DIR RELEASE: the indices that modprobe and udev read (modules.dep, modules.alias...).
write_module_index() {
    local base
    base=$(mktemp -d)
    mkdir -p "$base/lib/modules"
    ln -s "$1" "$base/lib/modules/$2"
    PATH=$PATH:/usr/sbin:/sbin depmod -b "$base" "$2"
    rm -rf "$base"
}

# module_with_needs DIR NAME: the files of a module and of all it needs, in the order of loading.
module_with_needs() {
    local line
    line=$(grep -E "/${2//_/[-_]}\.ko:" "$1/modules.dep") || die "the kernel package has no module $2"
    printf '%s\n' "$line" | tr -d : | tr ' ' '\n' | tac
}
