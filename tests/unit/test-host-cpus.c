/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of the host's CPUs. */
#include <sched.h>
#include <string.h>
#include <unistd.h>
#include "vmm/util/host_cpus.h"

static void test_lists(void)
{
    HostCpus cpus;
    g_assert_true(host_cpus_parse(&cpus, "0-2:65,8191", NULL));
    g_assert_true(host_cpus_has(&cpus, 0));
    g_assert_true(host_cpus_has(&cpus, 2));
    g_assert_false(host_cpus_has(&cpus, 3));
    g_assert_true(host_cpus_has(&cpus, 65));
    g_assert_cmpuint(host_cpus_last(&cpus), ==, 8191);
    g_assert_false(host_cpus_has(&cpus, 8192));
    g_assert_true(host_cpus_parse(&cpus, "0", NULL));
    g_assert_cmpuint(host_cpus_last(&cpus), ==, 0);
    static const char *const wrong[] = { "",     "-",     "1-", "-1",
                                         "2-1",  "x",     "1:", ":1",
                                         "8192", "1-2-3", "1 ", "0-99999999999999999999" };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        g_test_message("%s", wrong[i]);
        g_assert_false(host_cpus_parse(&cpus, wrong[i], &error));
        g_assert_nonnull(strstr(error->message, "is not a list of CPUs"));
    }
}

static void test_missing_and_offline(void)
{
    HostCpus cpus;
    g_autoptr(GError) error = NULL;
    g_assert_true(host_cpus_parse(&cpus, "1-3", NULL));
    g_assert_true(host_cpus_check(&cpus, "0-3", "0-3", &error));
    g_assert_true(host_cpus_check(&cpus, NULL, NULL, &error));
    g_assert_false(host_cpus_check(&cpus, "0-3", "0-1,3", &error));
    g_assert_cmpstr(error->message, ==, "the host's CPU 2 is offline: those online are 0-1,3");
    g_clear_error(&error);
    g_assert_false(host_cpus_check(&cpus, "0-1", "0-1", &error));
    g_assert_cmpstr(error->message, ==, "the host has no CPU 2: it has 0-1");
}

static void test_pinning(void)
{
    HostCpus mine = { 0 };
    g_assert_cmpint(sched_getaffinity(0, sizeof(mine), (cpu_set_t *)mine.bits), ==, 0);
    g_autofree char *list = g_strdup_printf("%u", host_cpus_last(&mine));
    HostCpus one, now = { 0 };
    g_autoptr(GError) error = NULL;
    g_assert_true(host_cpus_parse(&one, list, NULL));
    g_assert_true(host_cpus_pin(&one, pthread_self(), &error));
    g_assert_cmpint(sched_getaffinity(0, sizeof(now), (cpu_set_t *)now.bits), ==, 0);
    g_assert_cmpmem(&now, sizeof(now), &one, sizeof(one));
    g_assert_true(host_cpus_parse(&one, "8191", NULL));
    g_assert_false(host_cpus_pin(&one, pthread_self(), &error));
    g_assert_nonnull(strstr(error->message, "the host has no CPU 8191"));
    g_assert_true(host_cpus_pin(&mine, pthread_self(), NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/host-cpus/lists", test_lists);
    g_test_add_func("/host-cpus/missing-and-offline", test_missing_and_offline);
    g_test_add_func("/host-cpus/pinning", test_pinning);
    return g_test_run();
}
