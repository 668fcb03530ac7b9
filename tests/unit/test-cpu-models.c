/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The table of CPU models against a summary of what QEMU 7.2 tells of the same names
 * (query-cpu-model-expansion): identity, levels, the number of features and a hash of their names.
 */
#include <string.h>
#include "vmm/kvm/x86/cpu_model.h"

typedef struct Summary {
    const char *name, *vendor;
    unsigned family, model, stepping;
    uint32_t level, xlevel;
    unsigned features;
    uint64_t hash; /* FNV-1a of the sorted names with blanks between */
} Summary;

/* clang-format off */
static const Summary summaries[] = {
    { "486-v1", "GenuineIntel", 4, 8, 0, 0x1, 0x0, 3, 0x88dad019ad08551e },
    { "Broadwell-v1", "GenuineIntel", 6, 61, 2, 0xd, 0x80000008, 60, 0xd453f923ec09ec27 },
    { "Broadwell-v2", "GenuineIntel", 6, 61, 2, 0xd, 0x80000008, 58, 0xdc90c1d682b15f01 },
    { "Broadwell-v3", "GenuineIntel", 6, 61, 2, 0xd, 0x80000008, 61, 0x6163ce2c28c790d4 },
    { "Broadwell-v4", "GenuineIntel", 6, 61, 2, 0xd, 0x80000008, 59, 0x6598826324b4e3fe },
    { "Cascadelake-Server-v1", "GenuineIntel", 6, 85, 6, 0xd, 0x80000008, 74, 0x8f640dfcfea120ce },
    { "Cascadelake-Server-v2", "GenuineIntel", 6, 85, 6, 0xd, 0x80000008, 79, 0x0f80490b0b02b257 },
    { "Cascadelake-Server-v3", "GenuineIntel", 6, 85, 6, 0xd, 0x80000008, 77, 0xae3cc76bd8d546c7 },
    { "Cascadelake-Server-v4", "GenuineIntel", 6, 85, 6, 0xd, 0x80000008, 77, 0xae3cc76bd8d546c7 },
    { "Cascadelake-Server-v5", "GenuineIntel", 6, 85, 6, 0xd, 0x80000008, 78, 0x68ee22e078638053 },
    { "Conroe-v1", "GenuineIntel", 6, 15, 3, 0xa, 0x80000008, 28, 0x2daa68578ec001e6 },
    { "Cooperlake-v1", "GenuineIntel", 6, 85, 10, 0xd, 0x80000008, 83, 0x6441a7b2550cf8ac },
    { "Cooperlake-v2", "GenuineIntel", 6, 85, 10, 0xd, 0x80000008, 84, 0x5c673baaae139be6 },
    { "Denverton-v1", "GenuineIntel", 6, 95, 1, 0x15, 0x80000008, 60, 0x3bdd6c6f3a548ecd },
    { "Denverton-v2", "GenuineIntel", 6, 95, 1, 0x15, 0x80000008, 58, 0x89ff8ac054305afa },
    { "Denverton-v3", "GenuineIntel", 6, 95, 1, 0x15, 0x80000008, 59, 0x00ac7797ca740714 },
    { "Dhyana-v1", "HygonGenuine", 24, 0, 1, 0xd, 0x8000001e, 67, 0x8524fa3cf8e52d9c },
    { "Dhyana-v2", "HygonGenuine", 24, 0, 1, 0xd, 0x8000001e, 68, 0xf6d881ab3c18a8b6 },
    { "EPYC-Milan-v1", "AuthenticAMD", 25, 1, 1, 0xd, 0x8000001e, 87, 0x1f8e7bc1b705ac1c },
    { "EPYC-Rome-v1", "AuthenticAMD", 23, 49, 0, 0xd, 0x8000001e, 79, 0x8845d34408e4722f },
    { "EPYC-Rome-v2", "AuthenticAMD", 23, 49, 0, 0xd, 0x8000001e, 81, 0x888fd14f77dbfda8 },
    { "EPYC-v1", "AuthenticAMD", 23, 1, 2, 0xd, 0x8000001e, 69, 0x5ddaa7fcea0a8913 },
    { "EPYC-v2", "AuthenticAMD", 23, 1, 2, 0xd, 0x8000001e, 70, 0xacfafba4f08d2744 },
    { "EPYC-v3", "AuthenticAMD", 23, 1, 2, 0xd, 0x8000001e, 74, 0xc764a203bda50021 },
    { "Haswell-v1", "GenuineIntel", 6, 60, 4, 0xd, 0x80000008, 56, 0xeae8949acc3222de },
    { "Haswell-v2", "GenuineIntel", 6, 60, 1, 0xd, 0x80000008, 54, 0x2d00e6c0092c2592 },
    { "Haswell-v3", "GenuineIntel", 6, 60, 4, 0xd, 0x80000008, 57, 0x0d04587a36d4ff4d },
    { "Haswell-v4", "GenuineIntel", 6, 60, 1, 0xd, 0x80000008, 55, 0x2a22930787c79e61 },
    { "Icelake-Server-v1", "GenuineIntel", 6, 134, 0, 0xd, 0x80000008, 84, 0x8589d16512989cc8 },
    { "Icelake-Server-v2", "GenuineIntel", 6, 134, 0, 0xd, 0x80000008, 82, 0xb1e692f775df39f0 },
    { "Icelake-Server-v3", "GenuineIntel", 6, 134, 0, 0xd, 0x80000008, 89, 0x5ced37da68f1cc3f },
    { "Icelake-Server-v4", "GenuineIntel", 6, 106, 0, 0xd, 0x80000008, 93, 0xd650707a3ee3e19c },
    { "Icelake-Server-v5", "GenuineIntel", 6, 106, 0, 0xd, 0x80000008, 94, 0xa9743b6368a4a4b6 },
    { "Icelake-Server-v6", "GenuineIntel", 6, 106, 0, 0xd, 0x80000008, 94, 0xa9743b6368a4a4b6 },
    { "IvyBridge-v1", "GenuineIntel", 6, 58, 9, 0xd, 0x80000008, 46, 0x14004c8c8247b056 },
    { "IvyBridge-v2", "GenuineIntel", 6, 58, 9, 0xd, 0x80000008, 47, 0x355c3ce752ecf985 },
    { "KnightsMill-v1", "GenuineIntel", 6, 133, 0, 0xd, 0x80000008, 64, 0x74cedb6dcbcf7a14 },
    { "Nehalem-v1", "GenuineIntel", 6, 26, 3, 0xb, 0x80000008, 32, 0x24da5c54b539ae1f },
    { "Nehalem-v2", "GenuineIntel", 6, 26, 3, 0xb, 0x80000008, 33, 0xf7960097eb0ec2fa },
    { "Opteron_G1-v1", "AuthenticAMD", 15, 6, 1, 0x5, 0x80000008, 26, 0xda56010f9c90cf5e },
    { "Opteron_G2-v1", "AuthenticAMD", 15, 6, 1, 0x5, 0x80000008, 29, 0xada6950f04fd11d5 },
    { "Opteron_G3-v1", "AuthenticAMD", 16, 2, 3, 0x5, 0x80000008, 35, 0x997df6a9ab413bc0 },
    { "Opteron_G4-v1", "AuthenticAMD", 21, 1, 2, 0xd, 0x8000001a, 47, 0x7430f42d4490af6d },
    { "Opteron_G5-v1", "AuthenticAMD", 21, 2, 0, 0xd, 0x8000001a, 50, 0x9e611e748d1bb39a },
    { "Penryn-v1", "GenuineIntel", 6, 23, 3, 0xa, 0x80000008, 30, 0xa9433a826e706a1c },
    { "SandyBridge-v1", "GenuineIntel", 6, 42, 1, 0xd, 0x80000008, 41, 0x0d76c33ceeed727d },
    { "SandyBridge-v2", "GenuineIntel", 6, 42, 1, 0xd, 0x80000008, 42, 0xeada1c061b91ddba },
    { "Skylake-Client-v1", "GenuineIntel", 6, 94, 3, 0xd, 0x80000008, 62, 0xbcf0b16e79cd5e40 },
    { "Skylake-Client-v2", "GenuineIntel", 6, 94, 3, 0xd, 0x80000008, 63, 0xc336cda80f3f5cb9 },
    { "Skylake-Client-v3", "GenuineIntel", 6, 94, 3, 0xd, 0x80000008, 61, 0xb4d6c6f6ae936647 },
    { "Skylake-Client-v4", "GenuineIntel", 6, 94, 3, 0xd, 0x80000008, 62, 0x17fa70a6be5f72d3 },
    { "Skylake-Server-v1", "GenuineIntel", 6, 85, 4, 0xd, 0x80000008, 71, 0x10718fa92c507363 },
    { "Skylake-Server-v2", "GenuineIntel", 6, 85, 4, 0xd, 0x80000008, 71, 0x0cf66abad60b32f6 },
    { "Skylake-Server-v3", "GenuineIntel", 6, 85, 4, 0xd, 0x80000008, 69, 0x2c0479a00ae99194 },
    { "Skylake-Server-v4", "GenuineIntel", 6, 85, 4, 0xd, 0x80000008, 69, 0x2c0479a00ae99194 },
    { "Skylake-Server-v5", "GenuineIntel", 6, 85, 4, 0xd, 0x80000008, 70, 0x6370c1aaa9001c2e },
    { "Snowridge-v1", "GenuineIntel", 6, 134, 1, 0x1b, 0x80000008, 66, 0xdb0c7ba8f0a5235a },
    { "Snowridge-v2", "GenuineIntel", 6, 134, 1, 0x1b, 0x80000008, 65, 0x5518498100eba7bd },
    { "Snowridge-v3", "GenuineIntel", 6, 134, 1, 0x1b, 0x80000008, 66, 0xa9802a57ba970319 },
    { "Snowridge-v4", "GenuineIntel", 6, 134, 1, 0x1b, 0x80000008, 64, 0x9ffe30c5619e4239 },
    { "Westmere-v1", "GenuineIntel", 6, 44, 1, 0xb, 0x80000008, 35, 0xc49d6756461b10e9 },
    { "Westmere-v2", "GenuineIntel", 6, 44, 1, 0xb, 0x80000008, 36, 0x6f5cc461d755bb4c },
    { "athlon-v1", "AuthenticAMD", 6, 2, 3, 0x2, 0x80000008, 24, 0xfd7c093603c47464 },
    { "core2duo-v1", "GenuineIntel", 6, 15, 11, 0xa, 0x80000008, 32, 0x8e28af6f04e9606b },
    { "coreduo-v1", "GenuineIntel", 6, 14, 8, 0xa, 0x80000008, 26, 0x3eef538aeed66b82 },
    { "kvm32-v1", "GenuineIntel", 15, 6, 1, 0x5, 0x80000008, 23, 0x2ab6c8de71a4b74a },
    { "kvm64-v1", "GenuineIntel", 15, 6, 1, 0xd, 0x80000008, 27, 0xb3bf8c73b52b40ae },
    { "n270-v1", "GenuineIntel", 6, 28, 2, 0xa, 0x80000008, 29, 0xb1dbb54dd348fe25 },
    { "pentium-v1", "GenuineIntel", 5, 4, 3, 0x1, 0x0, 10, 0xdb53e2ce15283c74 },
    { "pentium2-v1", "GenuineIntel", 6, 5, 2, 0x2, 0x0, 19, 0x319448cd6dcad792 },
    { "pentium3-v1", "GenuineIntel", 6, 7, 3, 0x3, 0x0, 20, 0x4ae86d8e1222b85b },
    { "phenom-v1", "AuthenticAMD", 16, 2, 3, 0x5, 0x8000001a, 40, 0x4c6999bafed62ca5 },
    { "qemu32-v1", "GenuineIntel", 6, 6, 3, 0x4, 0x80000004, 18, 0x141f1910c3c5a304 },
    { "qemu64-v1", "AuthenticAMD", 15, 107, 1, 0xd, 0x8000000a, 28, 0x62d4cf6c87bc37c5 },
};
/* clang-format on */

static unsigned feature_summary(const uint32_t words[FEATURE_WORDS], uint64_t *hash)
{
    g_autoptr(GPtrArray) names = feature_names();
    g_autoptr(GString) text = g_string_new(NULL);
    unsigned count = 0;
    for (guint i = 0; i < names->len; i++) {
        uint32_t masks[FEATURE_WORDS];
        bool has = false;
        feature_find(names->pdata[i], masks);
        for (unsigned word = 0; word < FEATURE_WORDS; word++) {
            has |= (masks[word] & words[word]) != 0;
        }
        if (has) {
            g_string_append_printf(text, "%s%s", count++ ? " " : "", (char *)names->pdata[i]);
        }
    }
    *hash = 0xcbf29ce484222325u;
    for (gsize i = 0; i < text->len; i++) {
        *hash = (*hash ^ (uint8_t)text->str[i]) * 0x100000001b3u;
    }
    return count;
}

static void test_every_model_is_qemus(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(summaries); i++) {
        const Summary *want = &summaries[i];
        CpuDefinition def;
        uint64_t hash = 0;
        if (!cpu_models_find(want->name, &def)) {
            g_error("no model %s", want->name);
        }
        unsigned count = feature_summary(def.features, &hash);
        g_test_message("%s", want->name);
        g_assert_cmpstr(def.entry->vendor, ==, want->vendor);
        g_assert_cmpuint(def.entry->family, ==, want->family);
        g_assert_cmpuint(def.model, ==, want->model);
        g_assert_cmpuint(def.stepping, ==, want->stepping);
        g_assert_cmphex(def.entry->level, ==, want->level);
        g_assert_cmphex(def.entry->xlevel, ==, want->xlevel);
        g_assert_cmpuint(count, ==, want->features);
        g_assert_cmphex(hash, ==, want->hash);
    }
}

static void test_aliases(void)
{
    static const char *const pairs[][2] = {
        { "Haswell-noTSX", "Haswell-v2" },
        { "Haswell-noTSX-IBRS", "Haswell-v4" },
        { "EPYC-IBPB", "EPYC-v2" },
        { "Cascadelake-Server-noTSX", "Cascadelake-Server-v3" },
        { "SandyBridge-IBRS", "SandyBridge-v2" },
        { "EPYC", "EPYC-v1" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        CpuDefinition a, b;
        g_assert_true(cpu_models_find(pairs[i][0], &a));
        g_assert_true(cpu_models_find(pairs[i][1], &b));
        g_assert_true(a.entry == b.entry && a.version == b.version);
    }
}

static void test_unknown_versions(void)
{
    CpuDefinition def;
    g_assert_false(cpu_models_find("EPYC-v0", &def));
    g_assert_false(cpu_models_find("EPYC-v4", &def));
    g_assert_false(cpu_models_find("EPYC-v", &def));
    g_assert_false(cpu_models_find("EPYC-v11", &def));
    g_assert_false(cpu_models_find("", &def));
}

/* Everything that there is, but these. */
static void offer_all_but(uint32_t words[FEATURE_WORDS], const char *names)
{
    uint32_t masks[FEATURE_WORDS] = { 0 };
    feature_add_list(names, masks);
    for (unsigned i = 0; i < FEATURE_WORDS; i++) {
        words[i] = ~masks[i];
    }
}

static CpuModel parse(const char *text)
{
    CpuModel model;
    g_autoptr(GError) error = NULL;
    g_assert_true(cpu_model_parse(&model, text, NULL, &error));
    g_assert_no_error(error);
    return model;
}

static bool has(const uint32_t words[FEATURE_WORDS], const char *name)
{
    uint32_t masks[FEATURE_WORDS];
    bool all = feature_find(name, masks);
    for (unsigned i = 0; i < FEATURE_WORDS; i++) {
        all &= (words[i] & masks[i]) == masks[i];
    }
    return all;
}

static void test_missing_is_named(void)
{
    uint32_t offered[FEATURE_WORDS];
    CpuModel model = parse("EPYC-Milan,+invtsc,-pku");
    offer_all_but(offered, "avx2 invtsc pku monitor svm kvm-pv-eoi");
    g_autofree char *text = cpu_model_missing(&model, offered);
    g_assert_cmpstr(text, ==, "'avx2' (CPUID 7.0 EBX bit 5), 'invtsc' (CPUID 80000007 EDX bit 8)");
    offer_all_but(offered, "");
    g_assert_null(cpu_model_missing(&model, offered));
}

static void test_what_hangs_on_missing_goes(void)
{
    uint32_t offered[FEATURE_WORDS], words[FEATURE_WORDS];
    CpuModel model = parse("Skylake-Server");
    offer_all_but(offered, "xsave");
    cpu_model_resolve(&model, offered, words);
    g_assert_false(has(words, "xsave"));
    g_assert_false(has(words, "avx2"));
    g_assert_false(has(words, "avx512vl"));
    g_assert_false(has(words, "xsavec"));
    g_assert_true(has(words, "aes"));
}

static void test_what_kvm_changes(void)
{
    uint32_t offered[FEATURE_WORDS], words[FEATURE_WORDS];
    CpuModel model = parse("EPYC");
    offer_all_but(offered, "");
    cpu_model_resolve(&model, offered, words);
    g_assert_true(has(words, "x2apic"));
    g_assert_true(has(words, "kvmclock"));
    g_assert_true(has(words, "hypervisor"));
    g_assert_false(has(words, "svm"));
    g_assert_false(has(words, "npt"));
    g_assert_false(has(words, "monitor"));
    g_assert_false(has(words, "invtsc"));
    model = parse("EPYC,+svm,-x2apic,-hypervisor");
    cpu_model_resolve(&model, offered, words);
    g_assert_true(has(words, "svm"));
    g_assert_true(has(words, "npt"));
    g_assert_false(has(words, "x2apic"));
    g_assert_false(has(words, "hypervisor"));
}

static void test_host_keeps_promises_off(void)
{
    uint32_t offered[FEATURE_WORDS], words[FEATURE_WORDS];
    CpuModel model = parse("host,-avx");
    offer_all_but(offered, "");
    cpu_model_resolve(&model, offered, words);
    g_assert_false(has(words, "invtsc"));
    g_assert_false(has(words, "kvm-hint-dedicated"));
    g_assert_false(has(words, "avx2"));
    model = parse("host,migratable=off,+kvm-hint-dedicated");
    cpu_model_resolve(&model, offered, words);
    g_assert_true(has(words, "invtsc"));
    g_assert_true(has(words, "kvm-hint-dedicated"));
}

/* ---- Hyper-V ---- */

static bool build(const char *cpu, const HypervLeaf supported[HYPERV_LEAVES],
                  HypervLeaf out[HYPERV_LEAVES], char **message)
{
    CpuModel model = parse(cpu);
    GError *error = NULL;
    bool ok = hyperv_build(&model.hyperv, supported, 4, out, &error);
    if (!ok) {
        *message = g_strdup(error->message);
        g_error_free(error);
    }
    return ok;
}

static void test_hyperv_leaves(void)
{
    HypervLeaf all[HYPERV_LEAVES], out[HYPERV_LEAVES];
    memset(all, 0xff, sizeof(all));
    g_assert_true(build("host,hv-relaxed,hv_vapic,hv-spinlocks=0x1fff,hv-time,hv-vpindex,"
                        "hv-synic,hv-stimer,hv-vendor-id=Vireo",
                        all, out, NULL));
    g_assert_cmphex(out[0].eax, ==, 0x40000005);
    g_assert_cmpmem(&out[0].ebx, 8, "Vireo\0\0\0", 8);
    g_assert_cmphex(out[1].eax, ==, 0x31237648);
    g_assert_cmphex(out[3].eax, ==, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 9);
    g_assert_cmphex(out[4].eax, ==, 1 << 3 | 1 << 5);
    g_assert_cmphex(out[4].ebx, ==, 0x1fff);
    g_assert_cmpuint(out[5].eax, ==, 4);
}

static void test_hyperv_refused(void)
{
    HypervLeaf none[HYPERV_LEAVES] = { 0 }, all[HYPERV_LEAVES], out[HYPERV_LEAVES];
    g_autofree char *host = NULL, *needs = NULL;
    memset(all, 0xff, sizeof(all));
    g_assert_false(build("host,hv-time", none, out, &host));
    g_assert_cmpstr(host, ==, "-cpu: hv-time: this host's KVM does not offer it");
    g_assert_false(build("host,hv-stimer,hv-time", all, out, &needs));
    g_assert_cmpstr(needs, ==, "-cpu: hv-stimer needs hv-synic as well");
}

static void test_hyperv_passthrough(void)
{
    HypervLeaf some[HYPERV_LEAVES] = { 0 }, out[HYPERV_LEAVES];
    some[3].eax = 1 << 6 | 1 << 1 | 1 << 9;
    g_assert_true(build("host,hv-passthrough", some, out, NULL));
    g_assert_true(hyperv_has(out, HV_TIME));
    g_assert_true(hyperv_has(out, HV_VPINDEX));
    g_assert_false(hyperv_has(out, HV_SYNIC));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-models/every-model-is-qemus", test_every_model_is_qemus);
    g_test_add_func("/cpu-models/aliases-mean-versions", test_aliases);
    g_test_add_func("/cpu-models/no-other-versions", test_unknown_versions);
    g_test_add_func("/cpu-models/what-is-missing-is-named", test_missing_is_named);
    g_test_add_func("/cpu-models/what-hangs-on-missing-features-goes",
                    test_what_hangs_on_missing_goes);
    g_test_add_func("/cpu-models/kvm-adds-and-takes-its-usual", test_what_kvm_changes);
    g_test_add_func("/cpu-models/host-keeps-promises-off", test_host_keeps_promises_off);
    g_test_add_func("/cpu-models/hyperv-leaves", test_hyperv_leaves);
    g_test_add_func("/cpu-models/hyperv-needs-are-checked", test_hyperv_refused);
    g_test_add_func("/cpu-models/hyperv-passthrough-takes-what-there-is", test_hyperv_passthrough);
    return g_test_run();
}
