/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of -cpu and the feature names. */
#include <string.h>
#include "vmm/kvm/x86/cpu_model.h"

#define BIT_AVX2       5  /* 7.0 EBX */
#define BIT_X2APIC     21 /* 1 ECX */
#define BIT_TSC_ADJUST 1  /* 7.0 EBX */

static CpuModel parse_ok(const char *text)
{
    CpuModel model;
    GError *error = NULL;
    g_assert_true(cpu_model_parse(&model, text, NULL, &error));
    g_assert_no_error(error);
    return model;
}

static void assert_refused(const char *text, const char *why)
{
    CpuModel model;
    GError *error = NULL;
    g_assert_false(cpu_model_parse(&model, text, NULL, &error));
    if (!strstr(error->message, why)) {
        g_error("expected '%s' in '%s'", why, error->message);
    }
    g_error_free(error);
}

static void test_defaults(void)
{
    CpuModel model = parse_ok(NULL);
    g_assert_cmpstr(model.name, ==, "host");
    g_assert_true(model.kvm && model.pmu && model.migratable);
    g_assert_cmpuint(model.phys_bits, ==, 0);
    g_assert_cmpstr(parse_ok("max").name, ==, "max");
}

static void test_features(void)
{
    CpuModel model = parse_ok("host,+x2apic,-avx2,tsc_adjust=on,pmu=off,kvm=off");
    g_assert_cmphex(model.on[FEATURE_1_ECX], ==, 1u << BIT_X2APIC);
    g_assert_cmphex(model.off[FEATURE_7_0_EBX], ==, 1u << BIT_AVX2);
    g_assert_cmphex(model.on[FEATURE_7_0_EBX], ==, 1u << BIT_TSC_ADJUST);
    g_assert_false(model.pmu);
    g_assert_false(model.kvm);
    /* The last word counts. */
    model = parse_ok("host,+avx2,-avx2");
    g_assert_cmphex(model.on[FEATURE_7_0_EBX], ==, 0);
    g_assert_cmphex(model.off[FEATURE_7_0_EBX], ==, 1u << BIT_AVX2);
    /* One name, two bits. */
    model = parse_ok("host,-kvmclock");
    g_assert_cmphex(model.off[FEATURE_KVM], ==, 1u << 0 | 1u << 3);
}

static void test_values(void)
{
    g_assert_cmpuint(parse_ok("host,tsc-frequency=2500000000").tsc_frequency, ==, 2500000000);
    g_assert_cmpuint(parse_ok("host,tsc-frequency=2.5G").tsc_frequency, ==, 2500000000);
    g_assert_cmpuint(parse_ok("host,phys-bits=40").phys_bits, ==, 40);
    g_assert_cmpuint(parse_ok("EPYC,family=25,model=1,level=0xd").level, ==, 0xd);
    g_assert_cmpstr(parse_ok("EPYC,vendor=GenuineIntel").vendor, ==, "GenuineIntel");
    g_assert_cmpstr(parse_ok("EPYC,model-id=My CPU").id, ==, "My CPU");
    g_assert_true(parse_ok("EPYC,enforce").enforce);
    g_assert_false(parse_ok("EPYC,l3_cache=off").l3_cache);
    CpuModel model = parse_ok("host,hv_relaxed");
    g_assert_true(hyperv_enabled(&model.hyperv));
    model = parse_ok("host,hv-vendor-id=x");
    g_assert_false(hyperv_enabled(&model.hyperv));
}

static void test_refused(void)
{
    assert_refused("Hasswell", "did you mean 'Haswell'?");
    assert_refused("completely-else", "-cpu help");
    assert_refused("", "missing");
    assert_refused("host,,+avx", "empty element");
    assert_refused("host,+avx22", "did you mean 'avx2'?");
    assert_refused("host,x2apik=on", "did you mean 'x2apic'?");
    assert_refused("host,avx=perhaps", "expected on or off");
    assert_refused("host,hv-evmcs", "known from QEMU but not supported");
    assert_refused("host,vmx-ept", "known from QEMU but not supported");
    assert_refused("host,hv-tyme", "did you mean 'hv-time'?");
    assert_refused("host,hv-spinlocks=5", "from 4095 to");
    assert_refused("host,hv-vendor-id=ThirteenChars", "at most 12");
    assert_refused("host,vendor=Intel", "expected 12 characters");
    assert_refused("host,stepping=16", "from 0 to 15");
    assert_refused("host,model-id=0123456789012345678901234567890123456789012345678", "at most 48");
    assert_refused("host,phys-bits=99", "from 0 to 52");
    assert_refused("host,phys-bits=20", "32 to 52");
    assert_refused("host,tsc-frequency=fast", "1M to 100G");
    assert_refused("host,tsc-frequency=nan", "1M to 100G");
    assert_refused("host,tsc-frequency=1T", "1M to 100G");
}

static void test_dependents(void)
{
    uint32_t masks[FEATURE_WORDS], avx512vl[FEATURE_WORDS];
    g_assert_true(feature_find("xsave", masks));
    feature_add_dependents(masks);
    g_assert_true(feature_find("avx512vl", avx512vl));
    g_assert_cmphex(masks[FEATURE_7_0_EBX] & avx512vl[FEATURE_7_0_EBX], !=, 0);
    g_assert_cmphex(masks[FEATURE_XSAVE] & 1, ==, 1);
}

/* A name listed twice in a row, or bits that a name does not reach, would be a slip in the tables.
 */
static void test_every_name_is_found(void)
{
    g_autoptr(GPtrArray) names = feature_names();
    g_assert_cmpuint(names->len, >, 150);
    for (guint i = 0; i < names->len; i++) {
        uint32_t masks[FEATURE_WORDS];
        unsigned bits = 0;
        g_assert_true(feature_find(names->pdata[i], masks));
        for (unsigned word = 0; word < FEATURE_WORDS; word++) {
            bits += (unsigned)__builtin_popcount(masks[word]);
        }
        g_assert_cmpuint(bits, ==, g_str_equal(names->pdata[i], "kvmclock") ? 2 : 1);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-model/the-host-is-the-default", test_defaults);
    g_test_add_func("/cpu-model/features-go-on-and-off", test_features);
    g_test_add_func("/cpu-model/properties-take-values", test_values);
    g_test_add_func("/cpu-model/what-is-wrong-is-named", test_refused);
    g_test_add_func("/cpu-model/dependent-features-go-too", test_dependents);
    g_test_add_func("/cpu-model/every-name-is-one-feature", test_every_name_is_found);
    return g_test_run();
}
