/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest sees of each version of the PCs, against the saved text machine-versions.txt: PCI
 * functions and capabilities, fw_cfg files, SMBIOS strings, CMOS, topology, and the properties that
 * versions differ in. An upgrade that changes an old version's hardware fails here.
 */
#include <string.h>
#include <unistd.h>
#include "tests/device/libqtest.h"
#include "vmm/util/bytes.h"

#define GOLDEN "machine-versions.txt"

#define FW_CFG_SELECTOR 0x510
#define FW_CFG_DATA     0x511
#define FW_CFG_DIR      0x19
#define FW_CFG_FILES    200 /* more than there can be */
#define SMBIOS_MAX      4096
#define SMBIOS_END      127
#define CMOS_INDEX      0x70
#define CMOS_DATA       0x71
#define CMOS_FIRST      0x0e /* behind the clock */
#define CMOS_CENTURY    0x32
#define CMOS_LAST       0x7f

#define PCI_CAPABILITIES 0x34
#define PCI_STATUS_CAPS  0x10
#define PCI_EXTENDED     0x100
#define CAP_MSIX         0x11
#define CAP_EXPRESS      0x10

static const char devices_of_both[] =
    "-m 128 -smp 4,maxcpus=8 -cpu host "
    "-device pci-bridge,id=bridge,chassis_nr=9,addr=4 -device virtio-rng-pci,id=rng,addr=5 "
    "-device virtio-rng-pci-transitional,addr=6 -device virtio-scsi-pci,id=scsi,addr=7 "
    "-device virtio-serial-pci,addr=8 -device virtio-balloon-pci,addr=9 "
    "-device virtio-rng-pci-non-transitional,addr=a -device qemu-xhci,addr=b "
    "-device nvme,id=nvme,serial=one,addr=c "
    "-blockdev null-co,node-name=d0,size=1M -device nvme-ns,id=ns1,bus=nvme,drive=d0 "
    "-blockdev null-co,node-name=d1,size=1M -device virtio-blk-pci,drive=d1,addr=d "
    "-blockdev null-co,node-name=d2,size=1M -device nvme-ns,id=ns2,bus=nvme,drive=d2,eui64=7 "
    "-device i6300esb,addr=e -device pvpanic-pci,addr=f";
static const char devices_of_q35[] =
    "-device pcie-root-port,id=port,chassis=1,slot=1,addr=10 "
    "-device ioh3420,id=port2,chassis=2,slot=2,addr=11 -device ich9-ahci,addr=12 "
    "-device x3130-upstream,bus=port2";

static QTest *start(const char *machine)
{
    bool q35 = strstr(machine, "q35") != NULL;
    return qtest_start("-machine %s %s %s", machine, devices_of_both, q35 ? devices_of_q35 : "");
}

/* ---- Firmware's information ---- */

static void read_bytes(QTest *qts, void *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)data)[i] = qtest_inb(qts, FW_CFG_DATA);
    }
}

/* Appends the strings of all structures up to the end of the tables. */
static void tell_smbios(QTest *qts, uint16_t key, uint32_t size, GString *out)
{
    uint8_t tables[SMBIOS_MAX + 2] = { 0 };
    size_t at = 0;

    g_assert_cmpuint(size, <=, SMBIOS_MAX);
    qtest_outw(qts, FW_CFG_SELECTOR, key);
    read_bytes(qts, tables, size);
    while (at + 4 < size && tables[at] != SMBIOS_END) {
        g_string_append_printf(out, "smbios type %u:", tables[at]);
        at += tables[at + 1];
        if (!tables[at]) {
            at++;
        }
        while (at < size && tables[at]) {
            g_string_append_printf(out, " '%s'", (char *)tables + at);
            at += strlen((char *)tables + at) + 1;
        }
        at++;
        g_string_append_c(out, '\n');
    }
}

static void tell_fw_cfg(QTest *qts, GString *out)
{
    uint8_t count[4], entry[64];
    uint16_t smbios_key = 0;
    uint32_t smbios_size = 0;

    qtest_outw(qts, FW_CFG_SELECTOR, FW_CFG_DIR);
    read_bytes(qts, count, sizeof(count));
    g_assert_cmpuint(load_be32(count), <=, FW_CFG_FILES);
    for (uint32_t i = 0; i < load_be32(count); i++) {
        read_bytes(qts, entry, sizeof(entry));
        const char *name = (char *)entry + 8;
        g_string_append_printf(out, "fw_cfg %s\n", name);
        if (g_str_equal(name, "etc/smbios/smbios-tables")) {
            smbios_key = (uint16_t)(entry[4] << 8 | entry[5]);
            smbios_size = load_be32(entry);
        }
    }
    g_assert_cmpuint(smbios_size, !=, 0);
    tell_smbios(qts, smbios_key, smbios_size, out);
}

static void tell_cmos(QTest *qts, GString *out)
{
    g_string_append(out, "cmos");
    for (unsigned i = CMOS_FIRST; i <= CMOS_LAST; i++) {
        qtest_outb(qts, CMOS_INDEX, (uint8_t)i);
        uint8_t value = qtest_inb(qts, CMOS_DATA);
        if (value && i != CMOS_CENTURY) {
            g_string_append_printf(out, " %02x:%02x", i, value);
        }
    }
    g_string_append_c(out, '\n');
}

/* ---- PCI ---- */

static uint32_t config(QTest *qts, uint8_t devfn, uint16_t reg, unsigned size)
{
    return qpci_config_read(qts, 0, devfn, reg, size);
}

static void tell_capabilities(QTest *qts, uint8_t devfn, GString *out)
{
    if (!(config(qts, devfn, 6, 2) & PCI_STATUS_CAPS)) {
        return;
    }
    g_string_append(out, " caps");
    uint8_t at = (uint8_t)config(qts, devfn, PCI_CAPABILITIES, 1);
    for (unsigned i = 0; at && i < 48; i++) {
        uint8_t id = (uint8_t)config(qts, devfn, at, 1);
        g_string_append_printf(out, " %02x@%02x", id, at);
        if (id == CAP_MSIX) {
            g_string_append_printf(out, "(%u)", (config(qts, devfn, at + 2, 2) & 0x7ff) + 1);
        }
        if (id == CAP_EXPRESS) {
            g_string_append_printf(out, "(%04x)", config(qts, devfn, at + 2, 2));
        }
        at = (uint8_t)config(qts, devfn, at + 1, 1);
    }
}

static void tell_pci(QTest *qts, GString *out)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        uint8_t df = (uint8_t)devfn;
        uint32_t id = config(qts, df, 0, 4);
        if ((id & 0xffff) == 0xffff) {
            continue;
        }
        uint32_t class = config(qts, df, 8, 4);
        g_string_append_printf(out, "pci %02x.%x %04x:%04x rev %02x class %06x header %02x",
                               devfn >> 3, devfn & 7, id & 0xffff, id >> 16, class & 0xff,
                               class >> 8, config(qts, df, 0xe, 1));
        if (!(config(qts, df, 0xe, 1) & 0x7f)) {
            g_string_append_printf(out, " sub %04x:%04x", config(qts, df, 0x2c, 2),
                                   config(qts, df, 0x2e, 2));
        }
        g_string_append_printf(out, " pin %u", config(qts, df, 0x3d, 1));
        tell_capabilities(qts, df, out);
        g_string_append_c(out, '\n');
    }
}

/* ---- What the monitor tells ---- */

static void tell_property(QTest *qts, const char *id, const char *name, GString *out)
{
    json_object *answer =
        qtest_qmp_ok(qts,
                     "{'execute': 'qom-get', 'arguments': {'path': '/machine/peripheral/%s', "
                     "'property': '%s'}}",
                     id, name);
    g_string_append_printf(out, "property %s.%s %s\n", id, name, json_object_get_string(answer));
    json_object_put(answer);
}

static void tell_topology(QTest *qts, GString *out)
{
    json_object *places = qtest_qmp_ok(qts, "{'execute': 'query-hotpluggable-cpus'}");
    json_object *place = json_object_array_get_idx(places, 0);
    g_string_append_printf(out, "last vcpu: socket %s core %s thread %s\n",
                           json_text(place, "props.socket-id"), json_text(place, "props.core-id"),
                           json_text(place, "props.thread-id"));
    json_object_put(places);
}

static void tell_cpu(QTest *qts, const char *model, GString *out)
{
    static const char *const names[] = {
        "family",
        "model",
        "stepping",
        "level",
        "xlevel",
        "x-vendor-cpuid-only",
        "hv-version-id-build",
        "hv-version-id-major",
        "hv-version-id-minor",
    };
    json_object *answer = qtest_qmp_ok(qts,
                                       "{'execute': 'query-cpu-model-expansion', 'arguments': "
                                       "{'type': 'full', 'model': {'name': '%s'}}}",
                                       model);
    json_object *props = json_at(answer, "model.props");
    g_string_append_printf(out, "cpu %s:", model);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        json_object *value = NULL;
        g_assert_true(json_object_object_get_ex(props, names[i], &value));
        g_string_append_printf(out, " %s=%s", names[i], json_object_get_string(value));
    }
    g_string_append_c(out, '\n');
    json_object_put(answer);
}

static void tell_machine(const char *machine, GString *out)
{
    QTest *qts = start(machine);

    g_string_append_printf(out, "\nmachine %s\n", machine);
    tell_topology(qts, out);
    tell_cpu(qts, "qemu64", out);
    tell_cpu(qts, "EPYC", out);
    tell_property(qts, "rng", "vectors", out);
    tell_property(qts, "ns1", "eui64", out);
    tell_property(qts, "ns2", "eui64", out);
    tell_pci(qts, out);
    tell_fw_cfg(qts, out);
    tell_cmos(qts, out);
    qtest_stop(qts);
}

/* ---- Comparing ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)b, *(char *const *)a);
}

/* Every versioned machine of this program, newest first; microvm has no versions. */
static GPtrArray *versioned_machines(void)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    QTest *qts = qtest_start("-machine microvm");
    json_object *machines = qtest_qmp_ok(qts, "{'execute': 'query-machines'}");
    for (size_t i = 0; i < json_object_array_length(machines); i++) {
        const char *name = json_text(json_object_array_get_idx(machines, i), "name");
        if (g_str_has_prefix(name, "pc-")) {
            g_ptr_array_add(names, g_strdup(name));
        }
    }
    json_object_put(machines);
    qtest_stop(qts);
    g_ptr_array_sort(names, compare_names);
    return names;
}

static void fail_with_difference(char **want, char **have, const char *text)
{
    g_autofree char *path = NULL;
    unsigned line = 0;
    int fd = g_file_open_tmp("machine-versions-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    close(fd);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    while (want[line] && have[line] && strcmp(want[line], have[line]) == 0) {
        line++;
    }
    g_test_message("what guests see has changed at line %u of " GOLDEN, line + 1);
    g_test_message("saved: %s", want[line] ? want[line] : "(end)");
    g_test_message("now:   %s", have[line] ? have[line] : "(end)");
    g_test_message("an old version's hardware must stay: give the change a row in "
                   "hw/board/versions.c. A device that is new on all boards may change them all: "
                   "then cp %s tests/device/" GOLDEN,
                   path);
    g_test_fail();
}

static void test_guests_see_what_they_saw(void)
{
    g_autoptr(GString) text = g_string_new("# What a guest sees of each machine version: "
                                           "tests/device/test-versions.c\n");
    g_autoptr(GPtrArray) names = versioned_machines();
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, GOLDEN, NULL);
    g_autofree char *saved = NULL;

    for (guint i = 0; i < names->len; i++) {
        tell_machine(names->pdata[i], text);
    }
    if (!g_file_get_contents(path, &saved, NULL, NULL)) {
        saved = g_strdup("");
    }
    g_auto(GStrv) want = g_strsplit(saved, "\n", -1);
    g_auto(GStrv) have = g_strsplit(text->str, "\n", -1);
    if (strcmp(saved, text->str) != 0) {
        fail_with_difference(want, have, text->str);
    }
}

/* ---- Choosing ---- */

static void assert_machine(const char *option, const char *name)
{
    QTest *qts = qtest_start("-machine %s", option);
    g_autofree char *type = g_strconcat(name, "-machine", NULL);
    json_object *answer =
        qtest_qmp_ok(qts, "{'execute': 'qom-get', 'arguments': {'path': '/machine', 'property': "
                          "'type'}}");
    g_assert_cmpstr(json_object_get_string(answer), ==, type);
    json_object_put(answer);
    qtest_stop(qts);
}

static void test_names_choose_a_version(void)
{
    assert_machine("q35", "pc-q35-7.2");
    assert_machine("pc", "pc-i440fx-7.2");
    assert_machine("pc-q35-6.0,i8042=off", "pc-q35-6.0");
    assert_machine("type=pc-i440fx-6.2", "pc-i440fx-6.2");
    qtest_assert_refused("-machine pc-q35-7.9", "did you mean 'pc-q35-7.");
    qtest_assert_refused("-machine pc_q35_7.1", "did you mean 'pc-q35-7.1'");
    qtest_assert_refused("-machine versatilepb", "-machine help lists them");
}

static void test_users_word_is_the_last(void)
{
    QTest *qts =
        qtest_start("-machine pc-q35-7.1 -global virtio-rng-pci.vectors=3 "
                    "-device virtio-rng-pci,id=rng -device virtio-rng-pci,id=two,vectors=4");
    g_autoptr(GString) text = g_string_new(NULL);
    tell_property(qts, "rng", "vectors", text);
    tell_property(qts, "two", "vectors", text);
    g_assert_cmpstr(text->str, ==, "property rng.vectors 3\nproperty two.vectors 4\n");
    qtest_stop(qts);
}

/* ---- Help ---- */

/* What a command line that ends with status 0 prints. */
static char *printed(const char *option, const char *value)
{
    char *argv[] = { (char *)g_getenv("VIREO"), (char *)option, (char *)value, NULL };
    char *text = NULL;
    int status = -1;
    g_assert_true(
        g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &text, NULL, &status, NULL));
    g_assert_cmpint(status, ==, 0);
    return text;
}

static void assert_printed(const char *option, const char *value, const char *line)
{
    g_autofree char *text = printed(option, value);
    g_test_message("%s %s: %s", option, value, line);
    g_assert_nonnull(strstr(text, line));
}

static void test_help_lists_what_there_is(void)
{
    assert_printed("-machine", "help",
                   "\nq35                  Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-7.2)\n");
    assert_printed("-machine", "help",
                   "\npc-q35-7.2           Standard PC (Q35 + ICH9, 2009) (default)\n");
    assert_printed("-machine", "help",
                   "\npc-i440fx-6.0        Standard PC (i440FX + PIIX, 1996)\n");
    assert_printed("-machine", "pc,help", "pc-i440fx-7.2-machine options:\n");
    assert_printed("-machine", "pc-q35-6.1,help", "\n  i8042=<bool> ");
    assert_printed("-accel", "kvm,help", "\n  kernel-irqchip=<on|split> ");
    assert_printed("-cpu", "EPYC,help", "\n  avx2=<bool>            -  (default: on)\n");
    assert_printed("-cpu", "EPYC,-avx2,help", "\n  avx2=<bool>            -  (default: off)\n");
    assert_printed("-cpu", "host,help", "\n  avx2=<bool>\n");
    qtest_assert_refused("-cpu Nope,help", "there is no CPU model 'Nope'");
    qtest_assert_refused("-accel xen,help", "invalid accelerator xen");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/versions/guests-see-what-they-saw", test_guests_see_what_they_saw);
    g_test_add_func("/versions/names-choose-a-version", test_names_choose_a_version);
    g_test_add_func("/versions/the-users-word-is-the-last", test_users_word_is_the_last);
    g_test_add_func("/versions/help-lists-what-there-is", test_help_lists_what_there_is);
    return g_test_run();
}
