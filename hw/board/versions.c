/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What older versions of the PCs have otherwise: see the header. Values are those of QEMU's
 * machines of the same names, for what Vireo has. */
#include "hw/board/versions.h"

/* Random numbers came with an interrupt line only. */
static const CompatProp until_7_1[] = {
    { "virtio-rng-pci", "vectors", "0" },
    { "virtio-rng-pci-transitional", "vectors", "0" },
    { "virtio-rng-pci-non-transitional", "vectors", "0" },
    { NULL, NULL, NULL },
};

static const CompatProp until_7_0[] = {
    { "nvme-ns", "eui64-default", "on" },
    { NULL, NULL, NULL },
};

/* Hyper-V said to be Windows Server 2008 R2's. */
static const CompatProp until_6_1[] = {
    { "x86_64-cpu", "hv-version-id-build", "7100" },
    { "x86_64-cpu", "hv-version-id-major", "6" },
    { "x86_64-cpu", "hv-version-id-minor", "1" },
    { NULL, NULL, NULL },
};

static const CompatProp until_6_0[] = {
    { "nvme-ns", "eui64-default", "off" },    { "x86_64-cpu", "x-vendor-cpuid-only", "off" },
    { "qemu64-x86_64-cpu", "family", "6" },   { "qemu64-x86_64-cpu", "model", "6" },
    { "qemu64-x86_64-cpu", "stepping", "3" }, { NULL, NULL, NULL },
};

const CompatProp *const pc_compat[PC_VERSIONS][PC_VERSIONS] = {
    [PC_7_2] = { NULL },
    [PC_7_1] = { until_7_1 },
    [PC_7_0] = { until_7_1, until_7_0 },
    [PC_6_2] = { until_7_1, until_7_0 },
    [PC_6_1] = { until_7_1, until_7_0, until_6_1 },
    [PC_6_0] = { until_7_1, until_7_0, until_6_1, until_6_0 },
};
