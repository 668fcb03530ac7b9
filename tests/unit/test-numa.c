/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -numa's arithmetic, and the tables SRAT, SLIT and HMAT with iasl's opinion of them. */
#include <glib/gstdio.h>
#include <string.h>
#include "hw/acpi/acpi.h"
#include "vmm/error.h"
#include "vmm/machine/numa.h"
#include "vmm/util/bytes.h"

typedef struct Fixture {
    MachineConfig config;
    NumaConfig *numa;
} Fixture;

/* Two nodes of half the memory each; four CPUs in two sockets. */
static void set_up(Fixture *f, gconstpointer unused)
{
    f->numa = numa_new();
    f->config = (MachineConfig){
        .ram_size = 5 * GIB,
        .smp = { .cpus = 4, .maxcpus = 4, .sockets = 2, .dies = 1, .cores = 2, .threads = 1 },
        .numa = f->numa,
    };
    f->numa->count = 2;
    for (unsigned i = 0; i < 2; i++) {
        f->numa->nodes[i] = (NumaNode){ .present = true, .initiator = NUMA_NO_NODE };
    }
    f->numa->nodes[0].size = GIB;
    f->numa->nodes[1].size = 4 * GIB;
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    numa_free(f->numa);
}

static void assert_incomplete(Fixture *f, const char *why)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(numa_complete(f->numa, &f->config, &error));
    if (!strstr(error->message, why)) {
        g_error("expected '%s' in '%s'", why, error->message);
    }
}

static void complete(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    numa_complete(f->numa, &f->config, &error);
    g_assert_no_error(error);
}

static void test_sockets_in_turn(Fixture *f, gconstpointer unused)
{
    complete(f);
    g_assert_cmpint(machine_cpu_node(&f->config, 1), ==, 0);
    g_assert_cmpint(machine_cpu_node(&f->config, 2), ==, 1);
    g_assert_cmpint(machine_cpu_node(&f->config, 4), ==, NUMA_NO_NODE);
}

static void test_places(Fixture *f, gconstpointer unused)
{
    NumaCpus cpus[] = { { 1, .socket = 0, .die = -1, .core = -1, .thread = -1 },
                        { 0, .socket = 1, .die = -1, .core = -1, .thread = -1 } };
    g_array_append_vals(f->numa->cpus, cpus, 2);
    complete(f);
    g_assert_cmpint(machine_cpu_node(&f->config, 0), ==, 1);
    g_assert_cmpint(machine_cpu_node(&f->config, 3), ==, 0);
}

static void test_no_such_place(Fixture *f, gconstpointer unused)
{
    NumaCpus cpus = { 1, .socket = 7, .die = -1, .core = -1, .thread = -1 };
    g_array_append_val(f->numa->cpus, cpus);
    assert_incomplete(f, "no such place");
}

static void test_every_cpu_has_a_node(Fixture *f, gconstpointer unused)
{
    g_assert_true(numa_assign_cpu(f->numa, 0, 0, NULL));
    g_assert_false(numa_assign_cpu(f->numa, 0, 1, NULL));
    assert_incomplete(f, "CPU 1 is on no node");
}

static void test_too_many_cpus(Fixture *f, gconstpointer unused)
{
    g_assert_true(numa_assign_cpu(f->numa, 9, 0, NULL));
    assert_incomplete(f, "-numa node,cpus=: there is no CPU 9: maxcpus is 4");
}

static void test_memory_adds_up(Fixture *f, gconstpointer unused)
{
    f->numa->nodes[1].size = UINT64_MAX - GIB;
    assert_incomplete(f, "must add up");
    f->numa->nodes[1].size = GIB;
    assert_incomplete(f, "must add up");
}

static void test_no_gap_in_nodes(Fixture *f, gconstpointer unused)
{
    f->numa->nodes[0].present = false;
    assert_incomplete(f, "Node ID missing: 0");
}

static void test_distances(Fixture *f, gconstpointer unused)
{
    f->numa->has_distances = true;
    assert_incomplete(f, "the distance between node 0 and 1 is missing");
    f->numa->distance[1][0] = 31;
    complete(f);
    g_assert_cmpint(f->numa->distance[0][1], ==, 31);
    g_assert_cmpint(f->numa->distance[0][0], ==, 10);
}

static void test_hmat_needs_the_switch(Fixture *f, gconstpointer unused)
{
    NumaLatency entry = { .initiator = 0, .target = 1, .value = 10 };
    g_array_append_val(f->numa->latencies, entry);
    assert_incomplete(f, "-machine hmat=on");
}

/* ---- Tables ---- */

#define BASE 0xe0000

static GByteArray *build(Fixture *f)
{
    static const AcpiPmBlock pm = { .base = 0x600, .gpe_base = 0x620, .gpe_len = 16 };
    AcpiConfig config = {
        .smp = &f->config.smp,
        .numa = f->numa,
        .hmat = f->config.hmat,
        .ram_below_4g = 2 * GIB,
        .hotplug_memory_base = 8 * GIB,
        .hotplug_memory_size = GIB,
        .ioapic_base = 0xfec00000,
        .pm = &pm,
    };
    return acpi_build(&config, BASE);
}

static const uint8_t *find_table(const GByteArray *blob, const char *signature)
{
    uint64_t xsdt = load_le64(blob->data + 24) - BASE;
    for (uint32_t i = 36; i < load_le32(blob->data + xsdt + 4); i += 8) {
        const uint8_t *table = blob->data + load_le64(blob->data + xsdt + i) - BASE;
        if (memcmp(table, signature, 4) == 0) {
            return table;
        }
    }
    return NULL;
}

static void test_srat_goes_around_the_holes(Fixture *f, gconstpointer unused)
{
    static const uint64_t want[][3] = { /* node, start, length */
                                        { 0, 0, 0xa0000 },
                                        { 0, MIB, GIB - MIB },
                                        { 1, GIB, GIB },
                                        { 1, 4 * GIB, 3 * GIB },
                                        { 1, 8 * GIB, GIB }
    };
    complete(f);
    g_autoptr(GByteArray) blob = build(f);
    const uint8_t *srat = find_table(blob, "SRAT");
    unsigned memory = 0, cpus = 0;
    g_assert_nonnull(srat);
    for (uint32_t i = 48; i < load_le32(srat + 4); i += srat[i + 1]) {
        const uint8_t *entry = srat + i;
        if (entry[0] == 0) {
            g_assert_cmpint(entry[2], ==, cpus++ / 2);
            continue;
        }
        g_assert_cmpuint(load_le32(entry + 2), ==, want[memory][0]);
        g_assert_cmphex(load_le64(entry + 8), ==, want[memory][1]);
        g_assert_cmphex(load_le64(entry + 16), ==, want[memory][2]);
        g_assert_cmphex(load_le32(entry + 28), ==, memory == 4 ? 3 : 1);
        memory++;
    }
    g_assert_cmpuint(memory, ==, G_N_ELEMENTS(want));
    g_assert_cmpuint(cpus, ==, 4);
    g_assert_null(find_table(blob, "SLIT"));
    g_assert_null(find_table(blob, "HMAT"));
}

static void assert_iasl_reads(const uint8_t *table)
{
    g_autofree char *dir = g_dir_make_tmp("vireo-numa-XXXXXX", NULL);
    g_autofree char *bin = g_build_filename(dir, "table.aml", NULL);
    g_autofree char *dsl = g_build_filename(dir, "table.dsl", NULL);
    g_autofree char *command = g_strdup_printf("sh -c \"iasl -d %s 2>&1\"", bin);
    g_autofree char *output = NULL, *text = NULL;
    int status;
    g_assert_true(g_file_set_contents(bin, (const char *)table, load_le32(table + 4), NULL));
    g_assert_true(g_spawn_command_line_sync(command, &output, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
    g_assert_true(g_file_get_contents(dsl, &text, NULL, NULL));
    if (strstr(text, "Error") || strstr(text, "Invalid") || strstr(text, "Unknown") ||
        strstr(output, "rror")) {
        g_error("%s%s", output, text);
    }
    g_remove(bin);
    g_remove(dsl);
    g_rmdir(dir);
}

static void add_hmat(Fixture *f)
{
    NumaLatency latencies[] = {
        { .initiator = 0, .target = 0, .type = 0, .value = 10 },
        { .initiator = 0, .target = 1, .type = 0, .value = 200000 },
        { .initiator = 1, .target = 0, .type = 3, .value = 10 * GIB },
        { .initiator = 1, .target = 1, .hierarchy = 1, .type = 5, .value = 200 * GIB },
    };
    NumaCache cache = { .node = 1, .level = 1, .size = GIB, .associativity = 1, .line = 64 };
    g_array_append_vals(f->numa->latencies, latencies, G_N_ELEMENTS(latencies));
    g_array_append_val(f->numa->caches, cache);
    f->numa->has_distances = true;
    f->numa->distance[0][1] = 21;
    f->config.hmat = true;
}

static void test_iasl_reads_the_tables(Fixture *f, gconstpointer unused)
{
    static const char *const names[] = { "SRAT", "SLIT", "HMAT" };
    add_hmat(f);
    complete(f);
    g_autoptr(GByteArray) blob = build(f);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        const uint8_t *table = find_table(blob, names[i]);
        g_assert_nonnull(table);
        assert_iasl_reads(table);
    }
}

static void test_hmat_scales(Fixture *f, gconstpointer unused)
{
    add_hmat(f);
    complete(f);
    g_autoptr(GByteArray) blob = build(f);
    const uint8_t *first = find_table(blob, "HMAT") + 40 + 2 * 40;
    g_assert_cmpuint(load_le16(first), ==, 1);
    g_assert_cmpuint(load_le64(first + 24), ==, 10 * 1000); /* of 10 ns */
    g_assert_cmpuint(load_le16(first + 48), ==, 1);
    g_assert_cmpuint(load_le16(first + 50), ==, 20000);
}

#define ADD(NAME, FN) g_test_add("/numa/" NAME, Fixture, NULL, set_up, FN, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("sockets-go-to-nodes-in-turn", test_sockets_in_turn);
    ADD("places-go-where-they-are-put", test_places);
    ADD("a-place-must-be-there", test_no_such_place);
    ADD("every-cpu-has-a-node", test_every_cpu_has_a_node);
    ADD("cpus-above-maxcpus-are-refused", test_too_many_cpus);
    ADD("memory-adds-up", test_memory_adds_up);
    ADD("nodes-are-without-gaps", test_no_gap_in_nodes);
    ADD("distances-are-completed", test_distances);
    ADD("hmat-needs-its-switch", test_hmat_needs_the_switch);
    ADD("srat-goes-around-the-holes", test_srat_goes_around_the_holes);
    ADD("iasl-reads-the-tables", test_iasl_reads_the_tables);
    ADD("hmat-scales-to-16-bits", test_hmat_scales);
    return g_test_run();
}
