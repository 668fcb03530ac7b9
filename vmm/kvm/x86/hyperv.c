/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hyper-V enlightenments: the table of them, their options, their leaves. */
#include "vmm/kvm/x86/hyperv.h"

#include <string.h>
#include "vmm/cli/opts.h"

/* Leaf 40000001: the interface's name, "Hv#1". */
#define HV_INTERFACE 0x31237648u
/* 40000003 EAX: the hypercall MSRs, which every Hyper-V has. */
#define HV_HYPERCALL_MSRS (1u << 5)
/* 40000003 EBX: post messages and signal events, with hv-synic. */
#define HV_SYNIC_CALLS    (1u << 4 | 1u << 5)
#define HV_NO_CORESHARING (1u << 18) /* 40000004 EAX */
#define HV_DEFAULT_VENDOR "Microsoft Hv"
#define HV_DEFAULT_BUILD  14393 /* Windows Server 2016's, as QEMU tells */
#define HV_LOGICAL_CPUS   0x40
#define HV_MIN_SPINLOCKS  0xfffu
#define NEEDS(FEATURE)    (1u << (FEATURE))

typedef struct HypervEntry {
    const char *name;
    uint32_t needs;               /* bits by HypervFeature */
    uint32_t access, calls, misc; /* leaf 40000003 EAX, EBX, EDX */
    uint32_t advice;              /* leaf 40000004 EAX */
} HypervEntry;

/* clang-format off */
static const HypervEntry entries[HV_FEATURES] = {
    [HV_RELAXED] = { "hv-relaxed", .advice = 1u << 5 },
    [HV_VAPIC] = { "hv-vapic", .access = 1u << 4, .advice = 1u << 3 },
    [HV_VPINDEX] = { "hv-vpindex", .access = 1u << 6 },
    [HV_RUNTIME] = { "hv-runtime", .access = 1u << 0 },
    [HV_CRASH] = { "hv-crash", .misc = 1u << 10 },
    [HV_RESET] = { "hv-reset", .access = 1u << 7 },
    [HV_SYNIC] = { "hv-synic", NEEDS(HV_VPINDEX), .access = 1u << 2, .calls = HV_SYNIC_CALLS },
    [HV_STIMER] = { "hv-stimer", NEEDS(HV_SYNIC) | NEEDS(HV_TIME), .access = 1u << 3 },
    [HV_STIMER_DIRECT] = { "hv-stimer-direct", NEEDS(HV_STIMER), .misc = 1u << 19 },
    [HV_FREQUENCIES] = { "hv-frequencies", .access = 1u << 11, .misc = 1u << 8 },
    [HV_TIME] = { "hv-time", .access = 1u << 1 | 1u << 9 },
    [HV_REENLIGHTENMENT] = { "hv-reenlightenment", .access = 1u << 13 },
    [HV_TLBFLUSH] = { "hv-tlbflush", NEEDS(HV_VPINDEX), .advice = 1u << 2 | 1u << 11 },
    [HV_TLBFLUSH_EXT] = { "hv-tlbflush-ext", NEEDS(HV_TLBFLUSH), .misc = 1u << 14 },
    [HV_IPI] = { "hv-ipi", NEEDS(HV_VPINDEX), .advice = 1u << 10 | 1u << 11 },
    [HV_AVIC] = { "hv-avic", .advice = 1u << 9 },
    [HV_XMM_INPUT] = { "hv-xmm-input", .misc = 1u << 4 },
};
/* clang-format on */

static const char *const names[] = {
    "hv-relaxed",
    "hv-vapic",
    "hv-vpindex",
    "hv-runtime",
    "hv-crash",
    "hv-reset",
    "hv-synic",
    "hv-stimer",
    "hv-stimer-direct",
    "hv-frequencies",
    "hv-time",
    "hv-reenlightenment",
    "hv-tlbflush",
    "hv-tlbflush-ext",
    "hv-ipi",
    "hv-avic",
    "hv-xmm-input",
    "hv-spinlocks",
    "hv-vendor-id",
    "hv-passthrough",
    "hv-enforce-cpuid",
    "hv-version-id-build",
    "hv-version-id-major",
    "hv-version-id-minor",
    "hv-version-id-spack",
    "hv-version-id-sbranch",
    "hv-version-id-snumber",
    "hv-no-nonarch-coresharing",
    NULL,
};

const char *const *hyperv_names(void)
{
    return names;
}

void hyperv_defaults(HypervOptions *hv)
{
    *hv =
        (HypervOptions){ .spinlocks = HYPERV_NO_SPINLOCKS, .build = HV_DEFAULT_BUILD, .major = 10 };
}

bool hyperv_enabled(const HypervOptions *hv)
{
    return hv->features || hv->spinlocks != HYPERV_NO_SPINLOCKS || hv->passthrough;
}

/* ---- Options ---- */

static bool set_flag(const char *key, const char *value, bool *flag, GError **error)
{
    return parse_bool(value, flag) || error_set(error, "%s=%s: expected on or off", key, value);
}

static bool set_number(const char *key, const char *value, uint64_t min, uint64_t max,
                       uint64_t *number, GError **error)
{
    if (!parse_uint(value, max, number) || *number < min) {
        return error_set(error, "%s=%s: expected a number from %" PRIu64 " to %" PRIu64, key, value,
                         min, max);
    }
    return true;
}

static bool set_version(HypervOptions *hv, const char *key, const char *value, bool *known,
                        GError **error)
{
    const char *part = key + strlen("hv-version-id-");
    uint64_t number = 0;
    bool narrow = g_str_equal(part, "major") || g_str_equal(part, "minor");
    bool branch = g_str_equal(part, "sbranch");
    if (!set_number(key, value, 0,
                    branch   ? UINT8_MAX
                    : narrow ? UINT16_MAX
                             : UINT32_MAX,
                    &number, error)) {
        return false;
    }
    if (g_str_equal(part, "build")) {
        hv->build = (uint32_t)number;
    } else if (g_str_equal(part, "major")) {
        hv->major = (uint16_t)number;
    } else if (g_str_equal(part, "minor")) {
        hv->minor = (uint16_t)number;
    } else if (g_str_equal(part, "spack")) {
        hv->service_pack = (uint32_t)number;
    } else if (branch) {
        hv->service_branch = (uint8_t)number;
    } else if (g_str_equal(part, "snumber")) {
        hv->service_number = (uint32_t)number & 0xffffff;
    } else {
        *known = false;
    }
    return true;
}

static bool set_coresharing(HypervOptions *hv, const char *key, const char *value, GError **error)
{
    hv->coresharing_auto = g_str_equal(value, "auto");
    if (!hv->coresharing_auto && !parse_bool(value, &hv->no_coresharing)) {
        return error_set(error, "%s=%s: expected on, off or auto", key, value);
    }
    return true;
}

bool hyperv_set(HypervOptions *hv, const char *key, const char *value, bool *known, GError **error)
{
    uint64_t number = 0;
    bool flag = false;
    *known = true;
    if (g_str_equal(key, "hv-apicv")) {
        key = entries[HV_AVIC].name;
    }
    for (unsigned i = 0; i < HV_FEATURES; i++) {
        if (g_str_equal(entries[i].name, key)) {
            bool ok = set_flag(key, value, &flag, error);
            hv->features = flag ? hv->features | 1u << i : hv->features & ~(1u << i);
            return ok;
        }
    }
    if (g_str_equal(key, "hv-spinlocks")) {
        bool ok = set_number(key, value, HV_MIN_SPINLOCKS, UINT32_MAX, &number, error);
        hv->spinlocks = (uint32_t)number;
        return ok;
    }
    if (g_str_equal(key, "hv-passthrough")) {
        return set_flag(key, value, &hv->passthrough, error);
    }
    if (g_str_equal(key, "hv-enforce-cpuid")) {
        return set_flag(key, value, &hv->enforce, error);
    }
    if (g_str_equal(key, "hv-no-nonarch-coresharing")) {
        return set_coresharing(hv, key, value, error);
    }
    if (g_str_equal(key, "hv-vendor-id")) {
        if (strlen(value) >= sizeof(hv->vendor)) {
            return error_set(error, "%s=%s: at most 12 characters", key, value);
        }
        g_strlcpy(hv->vendor, value, sizeof(hv->vendor));
        return true;
    }
    if (g_str_has_prefix(key, "hv-version-id-")) {
        return set_version(hv, key, value, known, error);
    }
    *known = false;
    return true;
}

/* ---- Leaves ---- */

static bool host_has(const HypervLeaf supported[HYPERV_LEAVES], const HypervEntry *entry)
{
    return (supported[3].eax & entry->access) == entry->access &&
           (supported[3].edx & entry->misc) == entry->misc &&
           (supported[4].eax & entry->advice) == entry->advice;
}

bool hyperv_has(const HypervLeaf leaves[HYPERV_LEAVES], HypervFeature feature)
{
    return host_has(leaves, &entries[feature]);
}

static uint32_t wanted_features(const HypervOptions *hv, const HypervLeaf *supported)
{
    uint32_t wanted = hv->features;
    for (unsigned i = 0; hv->passthrough && i < HV_FEATURES; i++) {
        if (host_has(supported, &entries[i])) {
            wanted |= 1u << i;
        }
    }
    return wanted;
}

static bool check_features(uint32_t wanted, const HypervLeaf *supported, GError **error)
{
    for (unsigned i = 0; i < HV_FEATURES; i++) {
        if (!(wanted & 1u << i)) {
            continue;
        }
        if (!host_has(supported, &entries[i])) {
            return error_set(error, "-cpu: %s: this host's KVM does not offer it", entries[i].name);
        }
        uint32_t missing = entries[i].needs & ~wanted;
        if (missing) {
            return error_set(error, "-cpu: %s needs %s as well", entries[i].name,
                             entries[__builtin_ctz(missing)].name);
        }
    }
    return true;
}

bool hyperv_build(const HypervOptions *hv, const HypervLeaf supported[HYPERV_LEAVES],
                  unsigned vcpus, HypervLeaf out[HYPERV_LEAVES], GError **error)
{
    uint32_t wanted = wanted_features(hv, supported);
    char vendor[12] = { 0 };
    if (!check_features(wanted, supported, error)) {
        return false;
    }
    memset(out, 0, HYPERV_LEAVES * sizeof(out[0]));
    const char *text = hv->vendor[0] ? hv->vendor : HV_DEFAULT_VENDOR;
    memcpy(vendor, text, MIN(strlen(text), sizeof(vendor)));
    out[0].eax = 0x40000005;
    memcpy(&out[0].ebx, vendor, 4);
    memcpy(&out[0].ecx, vendor + 4, 4);
    memcpy(&out[0].edx, vendor + 8, 4);
    out[1].eax = HV_INTERFACE;
    out[2] = (HypervLeaf){ .eax = hv->build,
                           .ebx = (uint32_t)hv->major << 16 | hv->minor,
                           .ecx = hv->service_pack,
                           .edx = (uint32_t)hv->service_branch << 24 | hv->service_number };
    out[3].eax = HV_HYPERCALL_MSRS;
    for (unsigned i = 0; i < HV_FEATURES; i++) {
        if (wanted & 1u << i) {
            out[3].eax |= entries[i].access;
            out[3].ebx |= entries[i].calls;
            out[3].edx |= entries[i].misc;
            out[4].eax |= entries[i].advice;
        }
    }
    if (hv->no_coresharing || (hv->coresharing_auto && supported[4].eax & HV_NO_CORESHARING)) {
        out[4].eax |= HV_NO_CORESHARING;
    }
    out[4].ebx = hv->spinlocks;
    out[5] = (HypervLeaf){ .eax = vcpus, .ebx = HV_LOGICAL_CPUS };
    return true;
}

void hyperv_to_json(const HypervOptions *hv, json_object *out)
{
    for (unsigned i = 0; i < HV_FEATURES; i++) {
        json_object_object_add(out, entries[i].name,
                               json_object_new_boolean((hv->features >> i & 1) != 0));
    }
    json_object_object_add(out, "hv-spinlocks", json_object_new_int64(hv->spinlocks));
    json_object_object_add(out, "hv-vendor-id", json_object_new_string(hv->vendor));
    json_object_object_add(out, "hv-passthrough", json_object_new_boolean(hv->passthrough));
    json_object_object_add(out, "hv-enforce-cpuid", json_object_new_boolean(hv->enforce));
    json_object_object_add(out, "hv-no-nonarch-coresharing",
                           json_object_new_string(hv->coresharing_auto ? "auto"
                                                  : hv->no_coresharing ? "on"
                                                                       : "off"));
    json_object_object_add(out, "hv-version-id-build", json_object_new_int64(hv->build));
    json_object_object_add(out, "hv-version-id-major", json_object_new_int64(hv->major));
    json_object_object_add(out, "hv-version-id-minor", json_object_new_int64(hv->minor));
    json_object_object_add(out, "hv-version-id-spack", json_object_new_int64(hv->service_pack));
    json_object_object_add(out, "hv-version-id-sbranch", json_object_new_int64(hv->service_branch));
    json_object_object_add(out, "hv-version-id-snumber", json_object_new_int64(hv->service_number));
}
