/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The firmware's tables: a small firmware in the test runs the loader's script and checks what it
 * finds in memory then; SMBIOS files. */
#include <string.h>
#include "hw/acpi/acpi.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/table_loader.h"
#include "tests/unit/pc-machine.h"

#define MEMORY     (1 * MIB)
#define BASE       0x7f000000U
#define COMMAND    128
#define NAME       56
#define MAX_BLOBS  4
#define MAX_TABLES 32

typedef struct Blob {
    char name[NAME];
    uint32_t addr, size;
} Blob;

typedef struct Loader {
    uint8_t memory[MEMORY];
    uint32_t used;
    Blob blobs[MAX_BLOBS];
    unsigned count;
    uint32_t rsdp;
} Loader;

static uint8_t *at(Loader *loader, uint32_t addr, uint32_t len)
{
    g_assert_cmphex(addr, >=, BASE);
    g_assert_cmphex(addr - BASE + len, <=, loader->used);
    return loader->memory + (addr - BASE);
}

static Blob *find_blob(Loader *loader, const uint8_t *name)
{
    for (unsigned i = 0; i < loader->count; i++) {
        if (strncmp(loader->blobs[i].name, (const char *)name, NAME) == 0) {
            return &loader->blobs[i];
        }
    }
    g_error("the script names '%s' before it is placed", name);
}

static uint8_t sum(const uint8_t *data, size_t len)
{
    uint8_t total = 0;
    for (size_t i = 0; i < len; i++) {
        total = (uint8_t)(total + data[i]);
    }
    return total;
}

static void place(Loader *loader, Device *fw, const uint8_t *args)
{
    uint32_t align = load_le32(args + NAME);
    size_t len;
    const uint8_t *data = fw_cfg_file(fw, (const char *)args, &len);
    g_assert_nonnull(data);
    g_assert_cmpuint(loader->count, <, MAX_BLOBS);
    Blob *blob = &loader->blobs[loader->count++];
    loader->used = (uint32_t)ALIGN_UP(loader->used, align);
    memcpy(blob->name, args, NAME);
    blob->addr = BASE + loader->used;
    blob->size = (uint32_t)len;
    loader->used += (uint32_t)len;
    g_assert_cmpuint(loader->used, <, MEMORY);
    memcpy(at(loader, blob->addr, blob->size), data, len);
    if (args[NAME + 4] == LOADER_ZONE_FSEG) {
        loader->rsdp = blob->addr;
    }
}

static void add_pointer(Loader *loader, const uint8_t *args)
{
    Blob *file = find_blob(loader, args), *source = find_blob(loader, args + NAME);
    uint32_t offset = load_le32(args + 2 * NAME);
    uint8_t size = args[2 * NAME + 4];
    g_assert_cmpuint(offset + size, <=, file->size);
    uint8_t *field = at(loader, file->addr + offset, size);
    uint64_t value = load_le(field, size);
    g_assert_cmphex(value, <, source->size);
    store_le(field, value + source->addr, size);
}

static void add_checksum(Loader *loader, const uint8_t *args)
{
    Blob *file = find_blob(loader, args);
    uint32_t offset = load_le32(args + NAME), start = load_le32(args + NAME + 4);
    uint32_t len = load_le32(args + NAME + 8);
    g_assert_cmpuint(start + len, <=, file->size);
    g_assert_cmpuint(offset, <, file->size);
    uint8_t *byte = at(loader, file->addr + offset, 1);
    g_assert_cmphex(*byte, ==, 0); /* some firmware takes the sum with this byte in it */
    *byte = (uint8_t)-sum(at(loader, file->addr + start, len), len);
}

static void run_script(Loader *loader, Device *fw)
{
    size_t len;
    const uint8_t *script = fw_cfg_file(fw, "etc/table-loader", &len);
    g_assert_nonnull(script);
    g_assert_cmpuint(len % COMMAND, ==, 0);
    for (; len; len -= COMMAND, script += COMMAND) {
        switch (load_le32(script)) {
        case 1:
            place(loader, fw, script + 4);
            break;
        case 2:
            add_pointer(loader, script + 4);
            break;
        case 3:
            add_checksum(loader, script + 4);
            break;
        case 4:
            g_assert_nonnull(find_blob(loader, script + 4 + NAME));
            break;
        default:
            g_error("command %u", load_le32(script));
        }
    }
}

/* Signatures of the tables of a root table, in order. */
static void check_root(Loader *loader, uint64_t root, unsigned size, char *signatures)
{
    uint8_t *table = at(loader, (uint32_t)root, 36);
    uint32_t len = load_le32(table + 4);
    g_assert_cmphex(sum(at(loader, (uint32_t)root, len), len), ==, 0);
    for (uint32_t i = 36; i < len; i += size) {
        uint32_t addr = (uint32_t)load_le(table + i, size);
        const uint8_t *entry = at(loader, addr, 36);
        uint32_t entry_len = load_le32(entry + 4);
        g_assert_cmphex(sum(at(loader, addr, entry_len), entry_len), ==, 0);
        strncat(signatures, (const char *)entry, 4);
        if (memcmp(entry, "FACP", 4) == 0) {
            g_assert_cmpmem(at(loader, load_le32(entry + 36), 64), 4, "FACS", 4);
            g_assert_cmphex(load_le32(entry + 36) % 64, ==, 0);
            g_assert_cmpmem(at(loader, load_le32(entry + 40), 36), 4, "DSDT", 4);
            g_assert_cmphex(load_le64(entry + 140), ==, load_le32(entry + 40));
        }
    }
}

static void test_acpi_tables_are_linked(void)
{
    static const char *const devices[] = { "vmgenid", NULL };
    Machine *machine = pc_machine_new("q35", devices);
    g_autofree Loader *loader = g_new0(Loader, 1);
    char by_rsdt[MAX_TABLES * 4 + 1] = "", by_xsdt[MAX_TABLES * 4 + 1] = "";
    run_script(loader, fw_cfg_find(machine));
    const uint8_t *rsdp = at(loader, loader->rsdp, 36);
    g_assert_cmpmem(rsdp, 8, "RSD PTR ", 8);
    g_assert_cmphex(sum(rsdp, 20), ==, 0);
    g_assert_cmphex(sum(rsdp, 36), ==, 0);
    check_root(loader, load_le32(rsdp + 16), 4, by_rsdt);
    check_root(loader, load_le64(rsdp + 24), 8, by_xsdt);
    g_assert_cmpstr(by_rsdt, ==, by_xsdt);
    g_assert_true(g_str_has_prefix(by_rsdt, "FACPAPIC"));
    machine_free(machine);
}

static void test_write_pointer_command(void)
{
    g_autoptr(GByteArray) script = g_byte_array_new();
    loader_write_pointer(script, "etc/a", "etc/b", 8, 40, 8);
    g_assert_cmpuint(script->len, ==, COMMAND);
    g_assert_cmphex(load_le32(script->data), ==, 4);
    g_assert_cmpstr((char *)script->data + 4, ==, "etc/a");
    g_assert_cmpstr((char *)script->data + 60, ==, "etc/b");
    g_assert_cmphex(load_le32(script->data + 116), ==, 8);
    g_assert_cmphex(load_le32(script->data + 120), ==, 40);
    g_assert_cmphex(script->data[124], ==, 8);
}

static uint32_t count_writes;

static void count_write(void *opaque, const uint8_t *data, size_t len)
{
    g_assert_cmpuint(len, ==, 16);
    count_writes++;
}

/* Writes 4 bytes at `offset` of the selected file, as firmware would. */
static void dma_write_file(Machine *machine, uint16_t key, uint32_t offset, uint32_t value)
{
    uint64_t at_control = 0x1000, at_data = 0x2000;
    uint8_t control[16] = { 0 };
    pc_write(machine->memory, at_data, value, 4);
    store_be32(control, (uint32_t)key << 16 | 8 | 4);
    store_be32(control + 4, offset);
    address_space_write(machine->memory, at_control, control, sizeof(control));
    pc_write(machine->io, 0x518, GUINT32_SWAP_LE_BE((uint32_t)at_control), 4);
    store_be32(control, 16);
    store_be32(control + 4, 4);
    store_be64(control + 8, at_data);
    address_space_write(machine->memory, at_control, control, sizeof(control));
    pc_write(machine->io, 0x518, GUINT32_SWAP_LE_BE((uint32_t)at_control), 4);
}

static Device *writable_fw_cfg(Machine *machine)
{
    GError *error = NULL;
    Device *fw = fw_cfg_new(machine, &error);
    g_assert_no_error(error);
    g_assert_true(fw_cfg_add_writable(fw, "etc/back", 16, count_write, NULL, &error));
    g_assert_false(fw_cfg_add_writable(fw, "etc/large", 2 * MIB, NULL, NULL, NULL));
    fw_cfg_finish(fw);
    g_assert_false(fw_cfg_add_file(fw, "etc/late", "x", 1, &error));
    g_assert_nonnull(strstr(error->message, "machine is built"));
    g_error_free(error);
    return fw;
}

static void test_written_files_survive_a_snapshot(void)
{
    Machine *machine = pc_machine_new("q35", NULL);
    Device *fw = fw_cfg_find(machine);
    device_unrealize(fw);
    device_free(fw);
    fw = writable_fw_cfg(machine);
    dma_write_file(machine, FW_CFG_FILE_FIRST, 8, 0x12345678);
    g_assert_cmpuint(count_writes, ==, 1);
    dma_write_file(machine, FW_CFG_FILE_FIRST, 14, 0xffffffff); /* two bytes too far */
    g_assert_cmpuint(count_writes, ==, 1);
    pc_write(machine->io, 0x510, FW_CFG_ID, 2);
    g_assert_cmphex(pc_read(machine->io, 0x511, 1), ==, 3);
    GByteArray *state = g_byte_array_new();
    devices_save(machine, state);
    dma_write_file(machine, FW_CFG_FILE_FIRST, 8, 0);

    GError *error = NULL;
    devices_load(machine, state->data, state->len, &error);
    g_assert_no_error(error);
    size_t len;
    const uint8_t *data = fw_cfg_file(fw, "etc/back", &len);
    g_assert_cmpuint(len, ==, 16);
    g_assert_cmphex(load_le32(data + 8), ==, 0x12345678);
    g_assert_cmphex(pc_read(machine->io, 0x511, 1), ==, 0); /* the second byte of the id */
    g_byte_array_unref(state);
    device_unrealize(fw);
    device_free(fw);
    machine_free(machine);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/table-loader/acpi-tables-are-linked", test_acpi_tables_are_linked);
    g_test_add_func("/table-loader/write-pointer-command", test_write_pointer_command);
    g_test_add_func("/table-loader/written-files-survive-a-snapshot",
                    test_written_files_survive_a_snapshot);
    return g_test_run();
}
