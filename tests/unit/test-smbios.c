/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS: the tables can be walked, options arrive in them, wrong ones are named. */
#include <string.h>
#include "hw/firmware/smbios.h"
#include "vmm/cli/opts.h"
#include "vmm/util/bytes.h"

#define BASE 0xf0000

static void free_opts(void *opts)
{
    opts_free(opts);
}

static GByteArray *build(const char *option, GError **error)
{
    MachineConfig config = {
        .ram_size = 40 * GIB,
        .smp = { .cpus = 2, .maxcpus = 2, .sockets = 2, .dies = 1, .cores = 1, .threads = 1 },
        .smbios = g_ptr_array_new_with_free_func(free_opts),
    };
    Machine machine = { .config = &config, .ram_below_4g = 2 * GIB, .ram_above_4g = 38 * GIB };
    if (option) {
        g_ptr_array_add(config.smbios, opts_parse(option, NULL, NULL));
    }
    GByteArray *blob = smbios_build(&machine, "Standard PC", "pc-q35-7.2", BASE, 16 * KIB, error);
    g_ptr_array_unref(config.smbios);
    return blob;
}

/* The structure behind p: skips the formatted part and the strings. */
static const uint8_t *next_structure(const uint8_t *p)
{
    p += p[1];
    while (p[0] || p[1]) {
        p++;
    }
    return p + 2;
}

static const uint8_t *find_structure(const GByteArray *blob, uint8_t type)
{
    const uint8_t *p = blob->data + 64;
    while (p[0] != 127 && p[0] != type) {
        p = next_structure(p);
    }
    g_assert_cmpint(p[0], ==, type);
    return p;
}

static const char *structure_string(const uint8_t *p, unsigned field)
{
    const char *text = (const char *)p + p[1];
    for (unsigned number = p[field]; number > 1; number--) {
        text += strlen(text) + 1;
    }
    return text;
}

static void test_structures_end_where_the_entry_points_say(void)
{
    g_autoptr(GByteArray) blob = build(NULL, NULL);
    const uint8_t *end = blob->data + blob->len;
    unsigned count = 1;
    const uint8_t *p = blob->data + 64;
    for (; p[0] != 127; p = next_structure(p)) {
        g_assert_true(p + 4 <= end);
        count++;
    }
    g_assert_true(next_structure(p) == end);
    g_assert_cmpuint(load_le16(blob->data + 28), ==, count);
    g_assert_cmpuint(load_le16(blob->data + 22), ==, blob->len - 64);
    g_assert_cmpuint(load_le32(blob->data + 32 + 12), ==, blob->len - 64);
}

static void test_options_arrive_in_the_tables(void)
{
    g_autoptr(GByteArray)
        blob = build("type=1,product=Box,uuid=00112233-4455-6677-8899-aabbccddeeff", NULL);
    const uint8_t *system = find_structure(blob, 1);
    static const uint8_t uuid[16] = { 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66,
                                      0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
    g_assert_cmpstr(structure_string(system, 5), ==, "Box");
    g_assert_cmpmem(system + 8, 16, uuid, 16);
}

static void test_memory_beyond_32_gib_is_described(void)
{
    g_autoptr(GByteArray) blob = build("type=17,speed=3200", NULL);
    const uint8_t *dimm = find_structure(blob, 17);
    g_assert_cmpuint(load_le16(dimm + 12), ==, 16384);
    g_assert_cmpuint(load_le16(dimm + 21), ==, 3200);
    const uint8_t *third = next_structure(next_structure(dimm));
    g_assert_cmpuint(load_le16(third + 12), ==, 8192);
}

static void test_wrong_options_are_named(void)
{
    static const char *const wrong[][2] = {
        { "type=1,prodct=x", "did you mean 'product'" },
        { "type=9,a=b", "type=9" },
        { "product=x", "type=N is missing" },
        { "type=1,uuid=x", "Invalid UUID 'x'" },
        { "type=0,release=1", "Invalid release" },
        { "type=17,speed=99999999", "speed" },
        { "file=/x", "binary tables" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(build(wrong[i][0], &error));
        g_assert_nonnull(strstr(error->message, wrong[i][1]));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/smbios/structures-end-where-said",
                    test_structures_end_where_the_entry_points_say);
    g_test_add_func("/smbios/options-arrive", test_options_arrive_in_the_tables);
    g_test_add_func("/smbios/memory-beyond-32-gib", test_memory_beyond_32_gib_is_described);
    g_test_add_func("/smbios/wrong-options-are-named", test_wrong_options_are_named);
    return g_test_run();
}
