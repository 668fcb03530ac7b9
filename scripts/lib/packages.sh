# SPDX-License-Identifier: GPL-2.0-or-later
# The Debian 12 packages that ./configure --install-deps installs. Sourced after common.sh.

# To build.
BUILD_PACKAGES="gcc libc6-dev meson ninja-build pkg-config python3 ccache git ca-certificates
    libglib2.0-dev liburing-dev libaio-dev libjson-c-dev zlib1g-dev libzstd-dev liburcu-dev libslirp-dev
    libseccomp-dev libnbd-dev libcapstone-dev libgcrypt20-dev systemtap-sdt-dev"

# To run guests: firmware and option ROMs.
RUN_PACKAGES="seabios ovmf ipxe-qemu qemu-system-data"

# To check the code: the other compiler, its sanitizers and fuzzer, the formatter.
CHECK_PACKAGES="clang clang-format libclang-rt-14-dev llvm-14"

# To make and run the lab's guests: images, the test host, the judges.
LAB_PACKAGES="mmdebstrap e2fsprogs fakeroot uidmap kmod busybox-static lz4 xz-utils cpio
    qemu-system-x86 qemu-utils grub-pc-bin grub-efi-amd64-bin grub-common mtools xorriso fdisk
    acpica-tools fio socat swtpm swtpm-tools iproute2 procps wget util-linux pciutils dmidecode
    hdparm smartmontools nvme-cli lsscsi sg3-utils debian-installer-12-netboot-amd64 openssl
    sbsigntool systemd-boot-efi libnbd-bin cryptsetup-bin gdb zsh openssh-client
    libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients virtinst qemu-guest-agent"

# missing_packages: those of the above that are not installed, one a line.
missing_packages() {
    local package
    for package in $BUILD_PACKAGES $RUN_PACKAGES $CHECK_PACKAGES $LAB_PACKAGES; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            echo "$package"
    done
}
