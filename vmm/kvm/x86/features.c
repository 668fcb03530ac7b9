/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUID feature bits by name (Intel SDM volume 2, CPUID; AMD APM volume 3; Linux
 * Documentation/virt/kvm/x86/cpuid.rst). */
#include "vmm/kvm/x86/features.h"

#include <string.h>
#include "vmm/cli/opts.h"

/* clang-format off */
const FeatureWord feature_words[FEATURE_WORDS] = {
    [FEATURE_1_EDX] = { 1, 0, CPUID_EDX, "CPUID 1 EDX", {
        "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce",
        "cx8", "apic", NULL, "sep", "mtrr", "pge", "mca", "cmov",
        "pat", "pse36", "pn", "clflush", NULL, "ds", "acpi", "mmx",
        "fxsr", "sse", "sse2", "ss", "ht", "tm", "ia64", "pbe" } },
    [FEATURE_1_ECX] = { 1, 0, CPUID_ECX, "CPUID 1 ECX", {
        "pni", "pclmulqdq", "dtes64", "monitor", "ds-cpl", "vmx", "smx", "est",
        "tm2", "ssse3", "cid", NULL, "fma", "cx16", "xtpr", "pdcm",
        NULL, "pcid", "dca", "sse4.1", "sse4.2", "x2apic", "movbe", "popcnt",
        "tsc-deadline", "aes", "xsave", NULL, "avx", "f16c", "rdrand", "hypervisor" } },
    [FEATURE_7_0_EBX] = { 7, 0, CPUID_EBX, "CPUID 7.0 EBX", {
        "fsgsbase", "tsc-adjust", "sgx", "bmi1", "hle", "avx2", "fdp-excptn-only", "smep",
        "bmi2", "erms", "invpcid", "rtm", NULL, "zero-fcs-fds", "mpx", NULL,
        "avx512f", "avx512dq", "rdseed", "adx", "smap", "avx512ifma", "pcommit", "clflushopt",
        "clwb", "intel-pt", "avx512pf", "avx512er", "avx512cd", "sha-ni", "avx512bw",
        "avx512vl" } },
    [FEATURE_7_0_ECX] = { 7, 0, CPUID_ECX, "CPUID 7.0 ECX", {
        NULL, "avx512vbmi", "umip", "pku", NULL, "waitpkg", "avx512vbmi2", NULL,
        "gfni", "vaes", "vpclmulqdq", "avx512vnni", "avx512bitalg", NULL, "avx512-vpopcntdq", NULL,
        "la57", NULL, NULL, NULL, NULL, NULL, "rdpid", NULL,
        "bus-lock-detect", "cldemote", NULL, "movdiri", "movdir64b", NULL, "sgxlc", "pks" } },
    [FEATURE_7_0_EDX] = { 7, 0, CPUID_EDX, "CPUID 7.0 EDX", {
        NULL, NULL, "avx512-4vnniw", "avx512-4fmaps", "fsrm", NULL, NULL, NULL,
        "avx512-vp2intersect", NULL, "md-clear", NULL, NULL, NULL, "serialize", NULL,
        "tsx-ldtrk", NULL, NULL, "arch-lbr", NULL, NULL, "amx-bf16", "avx512-fp16",
        "amx-tile", "amx-int8", "spec-ctrl", "stibp", "flush-l1d", "arch-capabilities",
        "core-capability", "ssbd" } },
    [FEATURE_7_1_EAX] = { 7, 1, CPUID_EAX, "CPUID 7.1 EAX", {
        [4] = "avx-vnni", [5] = "avx512-bf16", [7] = "cmpccxadd", [10] = "fzrm", [11] = "fsrs",
        [12] = "fsrc", [17] = "fred", [18] = "lkgs", [19] = "wrmsrns", [21] = "amx-fp16",
        [23] = "avx-ifma", [26] = "lam" } },
    [FEATURE_7_1_EDX] = { 7, 1, CPUID_EDX, "CPUID 7.1 EDX", {
        [4] = "avx-vnni-int8", [5] = "avx-ne-convert", [8] = "amx-complex",
        [14] = "prefetchiti" } },
    [FEATURE_7_2_EDX] = { 7, 2, CPUID_EDX, "CPUID 7.2 EDX", { [5] = "mcdt-no" } },
    [FEATURE_8000_0001_EDX] = { 0x80000001, 0, CPUID_EDX, "CPUID 80000001 EDX", {
        [11] = "syscall", [19] = "mp", [20] = "nx", [22] = "mmxext", [25] = "fxsr-opt",
        [26] = "pdpe1gb", [27] = "rdtscp", [29] = "lm", [30] = "3dnowext", [31] = "3dnow" } },
    [FEATURE_8000_0001_ECX] = { 0x80000001, 0, CPUID_ECX, "CPUID 80000001 ECX", {
        "lahf-lm", "cmp-legacy", "svm", "extapic", "cr8legacy", "abm", "sse4a", "misalignsse",
        "3dnowprefetch", "osvw", "ibs", "xop", "skinit", "wdt", NULL, "lwp",
        "fma4", "tce", NULL, "nodeid-msr", NULL, "tbm", "topoext", "perfctr-core",
        "perfctr-nb" } },
    [FEATURE_8000_0007_EDX] = { 0x80000007, 0, CPUID_EDX, "CPUID 80000007 EDX", {
        [8] = "invtsc" } },
    [FEATURE_8000_0008_EBX] = { 0x80000008, 0, CPUID_EBX, "CPUID 80000008 EBX", {
        [0] = "clzero", [2] = "xsaveerptr", [9] = "wbnoinvd", [12] = "ibpb", [14] = "ibrs",
        [15] = "amd-stibp", [17] = "stibp-always-on", [24] = "amd-ssbd", [25] = "virt-ssbd",
        [26] = "amd-no-ssb", [28] = "amd-psfd" } },
    [FEATURE_8000_0021_EAX] = { 0x80000021, 0, CPUID_EAX, "CPUID 80000021 EAX", {
        [0] = "no-nested-data-bp", [2] = "lfence-always-serializing", [6] = "null-sel-clr-base",
        [8] = "auto-ibrs" } },
    [FEATURE_SVM] = { 0x8000000a, 0, CPUID_EDX, "CPUID 8000000A EDX", {
        [0] = "npt", [1] = "lbrv", [2] = "svm-lock", [3] = "nrip-save", [4] = "tsc-scale",
        [5] = "vmcb-clean", [6] = "flushbyasid", [7] = "decodeassists", [10] = "pause-filter",
        [12] = "pfthreshold", [13] = "avic", [15] = "v-vmsave-vmload", [16] = "vgif",
        [25] = "vnmi", [28] = "svme-addr-chk" } },
    [FEATURE_XSAVE] = { 0xd, 1, CPUID_EAX, "CPUID D.1 EAX", {
        "xsaveopt", "xsavec", "xgetbv1", "xsaves", "xfd" } },
    [FEATURE_6_EAX] = { 6, 0, CPUID_EAX, "CPUID 6 EAX", { [2] = "arat" } },
    [FEATURE_KVM] = { 0x40000001, 0, CPUID_EAX, "CPUID 40000001 EAX", {
        "kvmclock", "kvm-nopiodelay", "kvm-mmu", "kvmclock", "kvm-asyncpf", "kvm-steal-time",
        "kvm-pv-eoi", "kvm-pv-unhalt", NULL, "kvm-pv-tlb-flush", "kvm-asyncpf-vmexit",
        "kvm-pv-ipi", "kvm-poll-control", "kvm-pv-sched-yield", "kvm-asyncpf-int",
        "kvm-msi-ext-dest-id", [24] = "kvmclock-stable-bit" } },
    [FEATURE_KVM_HINTS] = { 0x40000001, 0, CPUID_EDX, "CPUID 40000001 EDX", {
        [0] = "kvm-hint-dedicated" } },
    [FEATURE_C000_0001_EDX] = { 0xc0000001, 0, CPUID_EDX, "CPUID C0000001 EDX", {
        [2] = "xstore", [3] = "xstore-en", [6] = "xcrypt", [7] = "xcrypt-en", [8] = "ace2",
        [9] = "ace2-en", [10] = "phe", [11] = "phe-en", [12] = "pmm", [13] = "pmm-en" } },
    [FEATURE_ARCH_CAPABILITIES] = { .label = "MSR 10A", .msr = 0x10a, .names = {
        "rdctl-no", "ibrs-all", "rsba", "skip-l1dfl-vmentry", "ssb-no", "mds-no",
        "pschange-mc-no", "tsx-ctrl", "taa-no" } },
    [FEATURE_CORE_CAPABILITY] = { .label = "MSR CF", .msr = 0xcf, .names = {
        [5] = "split-lock-detect" } },
};
/* clang-format on */

static const struct {
    const char *alias, *name;
} feature_aliases[] = {
    { "sse3", "pni" },       { "pclmuldq", "pclmulqdq" },
    { "sse4-1", "sse4.1" },  { "sse4-2", "sse4.2" },
    { "xd", "nx" },          { "i64", "lm" },
    { "ffxsr", "fxsr-opt" },
};

/* What a feature carries: without it the others cannot work (SDM volume 1, chapters 13 to 18). */
static const struct {
    const char *name;
    const char *dependents;
} feature_dependents[] = {
    { "xsave", "xsaveopt xsavec xgetbv1 xsaves xfd avx mpx pku amx-tile" },
    { "arch-capabilities", "rdctl-no ibrs-all rsba skip-l1dfl-vmentry ssb-no mds-no "
                           "pschange-mc-no tsx-ctrl taa-no" },
    { "core-capability", "split-lock-detect" },
    { "avx", "avx2 fma f16c fma4 xop vaes vpclmulqdq avx-vnni avx-ifma avx-vnni-int8 "
             "avx-ne-convert avx512f" },
    { "avx2", "avx512f" },
    { "avx512f", "avx512dq avx512ifma avx512pf avx512er avx512cd avx512bw avx512vl avx512vbmi "
                 "avx512vbmi2 avx512vnni avx512bitalg avx512-vpopcntdq avx512-4vnniw "
                 "avx512-4fmaps avx512-vp2intersect avx512-bf16 avx512-fp16" },
    { "amx-tile", "amx-bf16 amx-int8 amx-fp16 amx-complex" },
    { "svm", "npt lbrv svm-lock nrip-save tsc-scale vmcb-clean flushbyasid decodeassists "
             "pause-filter pfthreshold avic v-vmsave-vmload vgif vnmi svme-addr-chk" },
};

static bool feature_name_equal(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        char x = *a == '_' ? '-' : *a;
        char y = *b == '_' ? '-' : *b;
        if (x != y) {
            return false;
        }
    }
    return *a == *b;
}

bool feature_find(const char *name, uint32_t masks[FEATURE_WORDS])
{
    bool found = false;
    for (size_t i = 0; i < G_N_ELEMENTS(feature_aliases); i++) {
        if (feature_name_equal(name, feature_aliases[i].alias)) {
            name = feature_aliases[i].name;
            break;
        }
    }
    memset(masks, 0, FEATURE_WORDS * sizeof(masks[0]));
    for (unsigned word = 0; word < FEATURE_WORDS; word++) {
        for (unsigned bit = 0; bit < 32; bit++) {
            const char *candidate = feature_words[word].names[bit];
            if (candidate && feature_name_equal(candidate, name)) {
                masks[word] |= 1u << bit;
                found = true;
            }
        }
    }
    return found;
}

void feature_add_list(const char *names, uint32_t masks[FEATURE_WORDS])
{
    g_auto(GStrv) list = g_strsplit(names, " ", -1);
    for (unsigned i = 0; list[i]; i++) {
        uint32_t of[FEATURE_WORDS];
        bool known = list[i][0] == '\0' || feature_find(list[i], of);
        g_assert(known); /* our own tables */
        for (unsigned word = 0; list[i][0] && word < FEATURE_WORDS; word++) {
            masks[word] |= of[word];
        }
    }
}

void feature_add_dependents(uint32_t masks[FEATURE_WORDS])
{
    /* The table is ordered so that one pass reaches everything. */
    for (size_t i = 0; i < G_N_ELEMENTS(feature_dependents); i++) {
        uint32_t of[FEATURE_WORDS];
        bool present = false;
        feature_find(feature_dependents[i].name, of);
        for (unsigned word = 0; word < FEATURE_WORDS; word++) {
            present |= (of[word] & masks[word]) != 0;
        }
        if (!present) {
            continue;
        }
        feature_add_list(feature_dependents[i].dependents, masks);
    }
}

const char *feature_bit_name(FeatureWordId word, unsigned bit)
{
    return feature_words[word].names[bit];
}

static gint name_compare(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *feature_names(void)
{
    GPtrArray *names = g_ptr_array_new();
    for (unsigned word = 0; word < FEATURE_WORDS; word++) {
        for (unsigned bit = 0; bit < 32; bit++) {
            const char *name = feature_words[word].names[bit];
            if (name && !g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL)) {
                g_ptr_array_add(names, (gpointer)name);
            }
        }
    }
    g_ptr_array_sort(names, name_compare);
    return names;
}

char *feature_suggest(const char *name)
{
    g_autoptr(GPtrArray) names = feature_names();
    g_ptr_array_add(names, NULL);
    return suggest_nearest(name, (const char *const *)names->pdata);
}
