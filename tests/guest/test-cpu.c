/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest sees of its CPU model, by CPUID. */
#include "guest-run.h"

#include <cpuid.h>
#include <stdint.h>
#include <string.h>

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        g_error("no '%s' in: %s", part, text);
    }
}

static GuestRun *cpuid_run(const char *cpu)
{
    GuestRun *run = guest_run_new(NULL);
    guest_run_args(run, "-cpu %s", cpu);
    guest_run_boot(run, "pvh", "test=cpuid");
    guest_run_pass(run);
    return run;
}

static void test_identity(void)
{
    g_autoptr(GuestRun) run = cpuid_run("Haswell,check=off,vendor=GenuineIntel,stepping=2");
    /* "Genu" "ineI" "ntel"; family 6, model 60 */
    assert_contains(guest_run_output(run), "756e6547 6c65746e 49656e69\n");
    assert_contains(guest_run_output(run), "cpuid 00000001.0 000306c2 ");
    assert_contains(guest_run_output(run), "cpuid 80000002.0 65746e49 6f43206c "); /* "Intel Co" */
}

/* KVM does not list the brand string, and the host's is the guest's all the same. */
static void test_host_brand(void)
{
    uint32_t leaf[4];
    g_autoptr(GuestRun) run = cpuid_run("host");
    for (uint32_t function = 0x80000002; function <= 0x80000004; function++) {
        __cpuid(function, leaf[0], leaf[1], leaf[2], leaf[3]);
        g_autofree char *line = g_strdup_printf("cpuid %08x.0 %08x %08x %08x %08x", function,
                                                leaf[0], leaf[1], leaf[2], leaf[3]);
        assert_contains(guest_run_output(run), line);
    }
}

static void test_own_identity(void)
{
    g_autoptr(GuestRun)
        run = cpuid_run("EPYC,check=off,vendor=AuthenticAMD,family=25,model=17,model-id=Ace");
    assert_contains(guest_run_output(run), "cpuid 00000001.0 00a10f12 ");
    assert_contains(guest_run_output(run), "cpuid 80000002.0 00656341 00000000 00000000 00000000");
    /* 32 KiB and 64 KiB of level 1; 512 KiB and 8 MiB */
    assert_contains(guest_run_output(run), "cpuid 80000005.0 01ff01ff 01ff01ff 20080140 40040140");
    assert_contains(guest_run_output(run), "cpuid 80000006.0 00000000 42004200 02006140 00408140");
}

static void test_caches(void)
{
    g_autoptr(GuestRun) run = cpuid_run("Nehalem,check=off,vendor=GenuineIntel");
    assert_contains(guest_run_output(run), "cpuid 00000002.0 00000001 00000000 0000004d 002c307d");
    assert_contains(guest_run_output(run), "cpuid 00000004.0 00000121 01c0003f 0000003f 00000001");
    assert_contains(guest_run_output(run), "cpuid 00000004.3 00000163 03c0003f 00003fff 00000006");
}

static void test_level(void)
{
    g_autoptr(GuestRun) run = cpuid_run("Nehalem,check=off,level=4,xlevel=0x80000004");
    assert_contains(guest_run_output(run), "cpuid 00000000.0 00000004 ");
    assert_contains(guest_run_output(run), "cpuid 80000000.0 80000004 ");
}

static void test_hidden_kvm(void)
{
    g_autoptr(GuestRun) shown = cpuid_run("host");
    g_autoptr(GuestRun) hidden = cpuid_run("host,kvm=off");
    assert_contains(guest_run_output(shown), "4b4d564b 564b4d56 0000004d"); /* "KVMKVMKVM" */
    g_assert_null(strstr(guest_run_output(hidden), "4b4d564b 564b4d56 0000004d"));
}

static void test_missing_is_said(void)
{
    g_autoptr(GuestRun) run = cpuid_run("Icelake-Server");
    assert_contains(guest_run_errors(run), "warning: -cpu Icelake-Server: ");
    assert_contains(guest_run_errors(run), "'avx512f' (CPUID 7.0 EBX bit 16)");
}

static void test_enforce(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    guest_run_args(run, "-cpu host,+avx512-4fmaps,+ia64,enforce");
    guest_run_boot(run, "pvh", "test=cpuid");
    guest_run_start(run);
    g_assert_cmpint(guest_run_wait(run), ==, 1);
    assert_contains(guest_run_errors(run), "'ia64' (CPUID 1 EDX bit 30)");
}

static GuestRun *nmi_run(const char *cmdline)
{
    GuestRun *run = guest_run_new(NULL);
    guest_run_qmp(run);
    guest_run_boot(run, "pvh", cmdline);
    guest_run_start(run);
    guest_run_expect(run, "ready");
    g_free(guest_run_command(run, "inject-nmi"));
    return run;
}

static void test_nmi(void)
{
    g_autoptr(GuestRun) run = nmi_run("test=nmi");
    guest_run_expect(run, "nmis 1\n");
}

static void test_masked_nmi(void)
{
    g_autoptr(GuestRun) run = nmi_run("test=nmi masked=1");
    g_free(guest_run_command(run, "query-status"));
    guest_run_poll(run, 200);
    g_assert_null(strstr(guest_run_output(run), "nmis"));
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
}

static void test_hotplug(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    const char *const add = "{\"execute\":\"device_add\",\"arguments\":{\"driver\":"
                            "\"host-x86_64-cpu\",\"id\":\"c1\",\"socket-id\":0,\"core-id\":1,"
                            "\"thread-id\":0}}";
    if (guest_run_is_qemu()) {
        g_test_skip("QEMU's registers start in their old form");
        return;
    }
    guest_run_qmp(run);
    guest_run_args(run, "-cpu host -smp 1,maxcpus=2,cores=2,sockets=1,threads=1");
    guest_run_boot(run, "pvh", "test=cpu-hotplug");
    guest_run_start(run);
    guest_run_expect(run, "ready");
    for (unsigned i = 1; i <= 2; i++) {
        g_autofree char *runs = g_strdup_printf("round %u: 2 CPUs run\n", i);
        g_autofree char *ejected = g_strdup_printf("round %u: ejected\n", i);
        g_free(guest_run_command(run, add));
        guest_run_expect(run, runs);
        g_free(guest_run_command(run, "{\"execute\":\"device_del\",\"arguments\":{\"id\":"
                                      "\"c1\"}}"));
        guest_run_expect(run, ejected);
        g_free(guest_run_event(run, "DEVICE_DELETED"));
    }
    g_assert_cmpint(guest_run_wait(run), ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_test_add("/guest/cpu/a-named-model-is-what-it-says", test_identity);
    guest_test_add("/guest/cpu/identity-can-be-chosen", test_own_identity);
    guest_test_add("/guest/cpu/the-hosts-brand-is-told", test_host_brand);
    guest_test_add("/guest/cpu/intel-models-tell-their-caches", test_caches);
    guest_test_add("/guest/cpu/levels-are-kept", test_level);
    guest_test_add("/guest/cpu/kvm-can-be-hidden", test_hidden_kvm);
    guest_test_add("/guest/cpu/missing-features-are-said", test_missing_is_said);
    guest_test_add("/guest/cpu/enforce-refuses", test_enforce);
    guest_test_add("/guest/cpu/the-nmi-button-reaches-a-cpu", test_nmi);
    guest_test_add("/guest/cpu/a-masked-lint1-keeps-nmis-out", test_masked_nmi);
    guest_test_add("/guest/cpu/a-hotplugged-cpu-runs-goes-and-comes-again", test_hotplug);
    return g_test_run();
}
