# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps a virtual machine that never runs, in the test host, as long as that is up.

With the first and the last virtual machine, and when a vCPU's APIC is enabled, KVM patches jumps in
code that the other CPU runs (static keys: preempt_notifier_key, apic_sw_disabled). QEMU's TCG before
8.1 may go on with the code that it read in the middle of such a patch: then a CPU takes the patch's
breakpoint again and again, and the test host stands still. A vCPU that is always there leaves the
keys as they are."""

import fcntl
import os
import signal

KVM_CREATE_VM, KVM_CREATE_IRQCHIP, KVM_CREATE_VCPU = 0xAE01, 0xAE60, 0xAE41

kvm = os.open("/dev/kvm", os.O_RDWR)
machine = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
fcntl.ioctl(machine, KVM_CREATE_IRQCHIP, 0)
vcpu = fcntl.ioctl(machine, KVM_CREATE_VCPU, 0)
if os.fork() == 0:  # the caller goes on once there is what is kept
    signal.pause()
