/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x-query-exits with guests whose exits are known; query-stats of the same. */
#include "guest-run.h"

#include <json-c/json.h>
#include <string.h>

static json_object *ask(GuestRun *run, const char *command)
{
    g_autofree char *line = guest_run_command(run, command);
    json_object *answer = json_tokener_parse(line), *value = NULL;
    g_test_message("%s", line);
    g_assert_true(json_object_object_get_ex(answer, "return", &value));
    json_object_get(value);
    json_object_put(answer);
    return value;
}

static json_object *member(json_object *object, const char *name)
{
    json_object *value = NULL;
    json_object_object_get_ex(object, name, &value);
    return value;
}

static int64_t number(json_object *object, const char *name)
{
    return json_object_get_int64(member(object, name));
}

/* The item of the vCPU's list with that name; NULL. */
static json_object *find(json_object *vcpu, const char *list, const char *name)
{
    json_object *items = member(vcpu, list);
    for (size_t i = 0; i < json_object_array_length(items); i++) {
        json_object *item = json_object_array_get_idx(items, i);
        if (strcmp(json_object_get_string(member(item, "name")), name) == 0) {
            return item;
        }
    }
    return NULL;
}

static int64_t sum(json_object *vcpu, const char *list, const char *space)
{
    json_object *items = member(vcpu, list);
    int64_t all = 0;
    for (size_t i = 0; i < json_object_array_length(items); i++) {
        json_object *item = json_object_array_get_idx(items, i);
        if (!space || strcmp(json_object_get_string(member(item, "space")), space) == 0) {
            all += number(item, "count");
        }
    }
    return all;
}

static json_object *vcpu_of(json_object *info, size_t index)
{
    return json_object_array_get_idx(member(info, "vcpus"), index);
}

static void start(GuestRun *run, const char *cmdline)
{
    guest_run_qmp(run);
    guest_run_boot(run, "pvh", cmdline);
    guest_run_start(run);
}

static void stop(GuestRun *run)
{
    g_free(guest_run_command(run, "quit"));
    g_assert_cmpint(guest_run_wait(run), ==, 0);
}

static void test_counts_are_exact(void)
{
    g_autoptr(GuestRun) run = guest_run_new("q35,hpet=on");
    start(run, "test=exits ports=1234 registers=567 nobody=89");
    guest_run_expect(run, "exits end\n");
    g_free(guest_run_command(run, "stop")); /* so that the last exit is counted whole */
    json_object *info = ask(run, "x-query-exits"), *vcpu = vcpu_of(info, 0);
    json_object *rtc = find(vcpu, "windows", "rtc"), *hpet = find(vcpu, "windows", "hpet");
    json_object *nobody = find(vcpu, "windows", "unassigned");
    g_assert_cmpint(json_object_array_length(member(info, "vcpus")), ==, 1);
    g_assert_cmpint(number(vcpu, "cpu-index"), ==, 0);
    g_assert_cmpint(number(rtc, "reads"), ==, 1234);
    g_assert_cmpint(number(rtc, "writes"), ==, 0);
    g_assert_cmpint(number(rtc, "count"), ==, 1234);
    g_assert_cmpint(number(rtc, "address"), ==, 0x70);
    g_assert_cmpstr(json_object_get_string(member(rtc, "space")), ==, "io");
    g_assert_cmpstr(json_object_get_string(member(rtc, "driver")), ==, "mc146818rtc");
    g_assert_cmpint(number(hpet, "reads"), ==, 567);
    g_assert_cmpstr(json_object_get_string(member(hpet, "space")), ==, "memory");
    g_assert_cmpint(number(nobody, "writes"), ==, 89);
    g_assert_null(member(nobody, "device"));
    g_assert_null(member(rtc, "time-ns"));
    g_assert_false(json_object_get_boolean(member(info, "timing")));
    /* Each exit is in one window, and has one reason. */
    g_assert_cmpint(number(find(vcpu, "reasons", "io"), "count"), ==, sum(vcpu, "windows", "io"));
    g_assert_cmpint(number(find(vcpu, "reasons", "mmio"), "count"), ==,
                    sum(vcpu, "windows", "memory"));
    g_assert_cmpint(number(vcpu, "count"), ==, sum(vcpu, "reasons", NULL));
    json_object_put(info);
    stop(run);
}

static void test_rates_are_of_the_last_time(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    start(run, "test=exits ports=1000");
    guest_run_expect(run, "exits end\n");
    json_object *info = ask(run, "x-query-exits");
    json_object *rtc = find(vcpu_of(info, 0), "windows", "rtc");
    g_assert_cmpfloat(json_object_get_double(member(rtc, "per-second")), >, 0);
    json_object_put(info);
    info = ask(run, "x-query-exits"); /* meanwhile the guest rested */
    rtc = find(vcpu_of(info, 0), "windows", "rtc");
    g_assert_cmpint(number(rtc, "reads"), ==, 1000);
    g_assert_cmpfloat(json_object_get_double(member(rtc, "per-second")), ==, 0);
    json_object_put(info);
    stop(run);
}

static json_object *ask_timing(GuestRun *run, bool on)
{
    return ask(run, on ? "{\"execute\": \"x-query-exits\", \"arguments\": {\"timing\": true}}"
                       : "{\"execute\": \"x-query-exits\", \"arguments\": {\"timing\": false}}");
}

static void test_time_in_handlers(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    int64_t ns = 0;
    start(run, "test=exits ports=100 forever=1");
    guest_run_expect(run, "exits begin\n");
    while (ns == 0) {
        json_object *info = ask_timing(run, true);
        json_object *rtc = find(vcpu_of(info, 0), "windows", "rtc");
        g_assert_true(json_object_get_boolean(member(info, "timing")));
        ns = rtc ? number(rtc, "time-ns") : 0;
        json_object_put(info);
    }
    json_object *info = ask_timing(run, false);
    g_assert_false(json_object_get_boolean(member(info, "timing")));
    json_object_put(info);
    stop(run);
}

static void test_each_vcpu_has_its_own(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    guest_run_args(run, "-smp 1,maxcpus=2");
    start(run, "test=exits ports=10");
    guest_run_expect(run, "exits end\n");
    json_object *info = ask(run, "x-query-exits");
    g_assert_cmpint(json_object_array_length(member(info, "vcpus")), ==, 1);
    json_object_put(info);
    stop(run);
}

/* Where the kernel keeps none, both lists are empty. */
static void test_the_kernels_statistics(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    start(run, "test=exits ports=100");
    guest_run_expect(run, "exits end\n");
    json_object *schemas = ask(run, "query-stats-schemas");
    for (size_t i = 0; i < json_object_array_length(schemas); i++) {
        json_object *schema = json_object_array_get_idx(schemas, i);
        const char *target = json_object_get_string(member(schema, "target"));
        g_autofree char *request = g_strdup_printf(
            "{\"execute\": \"query-stats\", \"arguments\": {\"target\": \"%s\"}}", target);
        json_object *results = ask(run, request);
        json_object *result = json_object_array_get_idx(results, 0);
        json_object *told = member(schema, "stats"), *stats = member(result, "stats");
        g_assert_cmpint(json_object_array_length(results), ==, 1);
        g_assert_cmpstr(json_object_get_string(member(result, "qom-path")), ==,
                        g_str_equal(target, "vcpu") ? "/machine/unattached/cpu[0]" : NULL);
        g_assert_cmpint(json_object_array_length(told), ==, json_object_array_length(stats));
        for (size_t j = 0; j < json_object_array_length(told); j++) {
            json_object *item = json_object_array_get_idx(told, j);
            json_object *stat = find(result, "stats", json_object_get_string(member(item, "name")));
            const char *unit = json_object_get_string(member(item, "unit"));
            const char *type = json_object_get_string(member(item, "type"));
            json_type expected = g_strcmp0(unit, "boolean") == 0       ? json_type_boolean
                                 : g_str_has_suffix(type, "histogram") ? json_type_array
                                                                       : json_type_int;
            g_assert_true(json_object_is_type(member(stat, "value"), expected));
        }
        json_object_put(results);
    }
    json_object_put(schemas);
    stop(run);
}

static void test_statistics_by_name(void)
{
    g_autoptr(GuestRun) run = guest_run_new(NULL);
    start(run, "test=exits");
    json_object *all = ask(run, "query-stats-schemas");
    if (json_object_array_length(all) > 0) {
        json_object *one = ask(run, "{\"execute\": \"query-stats\", \"arguments\": {\"target\": "
                                    "\"vcpu\", \"vcpus\": [\"/machine/unattached/cpu[0]\"], "
                                    "\"providers\": [{\"provider\": \"kvm\", \"names\": "
                                    "[\"io_exits\", \"nix\"]}]}}");
        json_object *result = json_object_array_get_idx(one, 0);
        g_assert_cmpint(json_object_array_length(one), ==, 1);
        g_assert_cmpint(json_object_array_length(member(result, "stats")), ==, 1);
        g_assert_nonnull(find(result, "stats", "io_exits"));
        json_object_put(one);
    }
    json_object *none = ask(run,
                            "{\"execute\": \"query-stats\", \"arguments\": {\"target\": \"vcpu\", "
                            "\"vcpus\": [\"/nix\"]}}");
    g_assert_cmpint(json_object_array_length(none), ==, 0);
    json_object_put(none);
    json_object_put(all);
    stop(run);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_test_add("/exits/counts-are-exact", test_counts_are_exact);
    guest_test_add("/exits/rates-are-of-the-last-time", test_rates_are_of_the_last_time);
    guest_test_add("/exits/time-in-handlers", test_time_in_handlers);
    guest_test_add("/exits/each-vcpu-has-its-own", test_each_vcpu_has_its_own);
    guest_test_add("/stats/schemas-tell-the-values", test_the_kernels_statistics);
    guest_test_add("/stats/by-name", test_statistics_by_name);
    return g_test_run();
}
