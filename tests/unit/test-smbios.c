/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS: the tables can be walked, options arrive in them, wrong ones are named. */
#include <glib/gstdio.h>
#include <string.h>
#include "hw/firmware/smbios.h"
#include "vmm/cli/opts.h"
#include "vmm/machine/accel.h"
#include "vmm/util/bytes.h"

#define PROCESSOR_ID 0x0f8bfbff000306a9ULL
#define BASE         0xf0000

static void free_opts(void *opts)
{
    opts_free(opts);
}

static uint64_t processor_id(const Machine *machine)
{
    return PROCESSOR_ID;
}

static const AccelOps accel = { .name = "test", .processor_id = processor_id };

static GByteArray *build(const char *option, GError **error)
{
    MachineConfig config = {
        .ram_size = 40 * GIB,
        .smp = { .cpus = 2, .maxcpus = 2, .sockets = 2, .dies = 1, .cores = 1, .threads = 1 },
        .smbios = g_ptr_array_new_with_free_func(free_opts),
    };
    g_autoptr(GPtrArray) none = g_ptr_array_new();
    Machine machine = { .devices = none,
                        .buses = none,
                        .config = &config,
                        .accel = &accel,
                        .ram_below_4g = 2 * GIB,
                        .ram_above_4g = 38 * GIB };
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

static void test_ports_and_onboard_devices(void)
{
    g_autoptr(GByteArray)
        ports = build("type=8,external_reference=COM 1,connector_type=8,port_type=9", NULL);
    const uint8_t *port = find_structure(ports, 8);
    g_assert_cmpstr(structure_string(port, 6), ==, "COM 1");
    g_assert_cmpuint(port[7], ==, 8);
    g_assert_cmpuint(port[8], ==, 9);
    g_autoptr(GByteArray) devices = build("type=41,designation=Disk,kind=sata,instance=3", NULL);
    const uint8_t *onboard = find_structure(devices, 41);
    g_assert_cmpstr(structure_string(onboard, 4), ==, "Disk");
    g_assert_cmphex(onboard[5], ==, 0x89);
    g_assert_cmphex(onboard[6], ==, 3);
}

static void test_processor_numbers(void)
{
    g_autoptr(GByteArray)
        blob = build("type=4,max-speed=4000,current-speed=3000,processor-id=0x1234567890", NULL);
    const uint8_t *processor = find_structure(blob, 4);
    g_assert_cmphex(load_le64(processor + 8), ==, 0x1234567890);
    g_assert_cmpuint(load_le16(processor + 20), ==, 4000);
    g_assert_cmpuint(load_le16(processor + 22), ==, 3000);
    g_autoptr(GByteArray) plain = build(NULL, NULL);
    g_assert_cmphex(load_le64(find_structure(plain, 4) + 8), ==, PROCESSOR_ID);
}

#define FILE_NAME "test-smbios.bin"

static GByteArray *build_with_file(const void *data, gssize len, GError **error)
{
    g_assert_true(g_file_set_contents(FILE_NAME, data, len, NULL));
    GByteArray *blob = build("file=" FILE_NAME, error);
    g_unlink(FILE_NAME);
    return blob;
}

static void test_a_file_takes_the_place_of_a_structure(void)
{
    static const uint8_t chassis[] = "\x03\x06\x00\x03\x01\x02"
                                     "Mine\0"
                                     "Tower\0";
    g_autoptr(GByteArray) blob = build_with_file(chassis, sizeof(chassis), NULL);
    const uint8_t *found = find_structure(blob, 3);
    g_assert_cmpuint(found[1], ==, 6);
    g_assert_cmpstr(structure_string(found, 4), ==, "Mine");
    g_assert_cmpstr(structure_string(found, 5), ==, "Tower");
    unsigned count = 0;
    for (const uint8_t *p = blob->data + 64; p[0] != 127; p = next_structure(p)) {
        count += p[0] == 3;
    }
    g_assert_cmpuint(count, ==, 1);
}

static void test_hostile_files_are_refused(void)
{
    static const struct {
        const char *data;
        gssize len;
    } bad[] = {
        { "\x03", 1 },
        { "\x03\x04\x00\x03", 4 },
        { "\x03\xff\x00\x03\0\0", 6 },
        { "\x03\x02\x00\x03\0\0", 6 },
        { "\x03\x04\x00\x03"
          "ab",
          6 },
        { "\x03\x04\x00\x03\0\0\x04\x04\x00\x04\0\0", 12 },
        { "\x7f\x04\x00\x03\0\0", 6 },
        { "\xff\x04\x00\x03\0\0", 6 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(build_with_file(bad[i].data, bad[i].len, &error));
        g_assert_nonnull(strstr(error->message, "not one SMBIOS structure"));
    }
}

static void test_files_for_firmware(void)
{
    MachineConfig config = {
        .ram_size = GIB,
        .smp = { .cpus = 1, .maxcpus = 1, .sockets = 1, .dies = 1, .cores = 1, .threads = 1 },
    };
    Machine machine = { .config = &config, .ram_below_4g = GIB };
    for (unsigned wide = 0; wide < 2; wide++) {
        g_autoptr(GByteArray) anchor = g_byte_array_new();
        g_autoptr(GByteArray) tables = smbios_build_files(&machine, "PC", "1", wide, anchor, NULL);
        g_assert_cmpuint(anchor->len, ==, wide ? 24 : 31);
        g_assert_cmpmem(anchor->data, wide ? 5 : 4, wide ? "_SM3_" : "_SM_", wide ? 5 : 4);
        g_assert_cmpuint(wide ? load_le32(anchor->data + 12) : load_le16(anchor->data + 22), ==,
                         tables->len);
        g_assert_cmpuint(tables->data[0], ==, 1); /* type 0 is the firmware's */
    }
}

static void test_wrong_options_are_named(void)
{
    static const char *const wrong[][2] = {
        { "type=1,prodct=x", "did you mean 'product'" },
        { "type=9,a=b", "type=9" },
        { "product=x", "type=N or file=FILE is missing" },
        { "type=4,max-speed=70000", "max-speed" },
        { "type=8,port_typ=1", "did you mean 'port_type'" },
        { "type=8,port_type=256", "port_type" },
        { "type=41,designation=x", "kind= is missing" },
        { "type=41,designation=x,kind=toaster", "toaster" },
        { "type=41,designation=x,kind=sata,pcidev=nix", "no such device" },
        { "type=11,path=/nonexistent/x", "No such file" },
        { "type=1,uuid=x", "Invalid UUID 'x'" },
        { "type=0,release=1", "Invalid release" },
        { "type=17,speed=99999999", "speed" },
        { "file=/nonexistent/x", "No such file" },
        { "file=/dev/null", "not a regular file" },
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
    g_test_add_func("/smbios/ports-and-onboard-devices", test_ports_and_onboard_devices);
    g_test_add_func("/smbios/processor-numbers", test_processor_numbers);
    g_test_add_func("/smbios/a-file-takes-the-place-of-a-structure",
                    test_a_file_takes_the_place_of_a_structure);
    g_test_add_func("/smbios/hostile-files-are-refused", test_hostile_files_are_refused);
    g_test_add_func("/smbios/files-for-firmware", test_files_for_firmware);
    g_test_add_func("/smbios/options-arrive", test_options_arrive_in_the_tables);
    g_test_add_func("/smbios/memory-beyond-32-gib", test_memory_beyond_32_gib_is_described);
    g_test_add_func("/smbios/wrong-options-are-named", test_wrong_options_are_named);
    return g_test_run();
}
