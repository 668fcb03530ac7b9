/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A saved machine that goes on is a new generation: its guest gets the new ID and the event. */
#include <string.h>
#include "hw/acpi/vmgenid.h"
#include "hw/firmware/fw_cfg.h"
#include "tests/unit/pc-machine.h"

#define LPC      0x00f8
#define PM       0x600
#define GPE0_STS (PM + 0x20)
#define CONTROL  0x1000ULL
#define BUFFER   0x2000ULL
#define HERE     0x5028ULL

static const char *const first[] = { "vmgenid,guid=00112233-4455-6677-8899-aabbccddeeff",
                                     "vmcoreinfo", NULL };
static const char *const second[] = { "vmgenid,guid=ffeeddcc-bbaa-9988-7766-554433221100",
                                      "vmcoreinfo", NULL };
static const uint8_t second_bytes[16] = { 0xcc, 0xdd, 0xee, 0xff, 0xaa, 0xbb, 0x88, 0x99,
                                          0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00 };

/* The key of a file, from the directory. */
static uint16_t file_key(Machine *machine, const char *name)
{
    uint8_t entry[64];
    pc_write(machine->io, 0x510, FW_CFG_FILE_DIR, 2);
    for (int i = 0; i < 4; i++) {
        entry[i] = (uint8_t)pc_read(machine->io, 0x511, 1);
    }
    for (uint32_t left = load_be32(entry); left; left--) {
        for (unsigned i = 0; i < sizeof(entry); i++) {
            entry[i] = (uint8_t)pc_read(machine->io, 0x511, 1);
        }
        if (strcmp((char *)entry + 8, name) == 0) {
            return load_be16(entry + 4);
        }
    }
    g_error("no file %s", name);
}

static void write_file(Machine *machine, const char *name, const void *data, uint32_t len)
{
    uint8_t control[16];
    address_space_write(machine->memory, BUFFER, data, len);
    store_be32(control, (uint32_t)file_key(machine, name) << 16 | 8 | 16);
    store_be32(control + 4, len);
    store_be64(control + 8, BUFFER);
    address_space_write(machine->memory, CONTROL, control, sizeof(control));
    pc_write(machine->io, 0x518, GUINT32_SWAP_LE_BE((uint32_t)CONTROL), 4);
    g_assert_cmphex(pc_read(machine->memory, CONTROL, 4), ==, 0);
}

static void set_up_pm(Machine *machine)
{
    pc_config_write(machine, LPC, 0x40, PM);
    pc_config_write(machine, LPC, 0x44, 0x80);
}

static GByteArray *saved_with_address(uint64_t address)
{
    Machine *machine = pc_machine_new("q35", first);
    uint8_t bytes[8], note[16] = { 1, 0, 1, 0, 0x24, 0x10 };
    GByteArray *state = g_byte_array_new();
    set_up_pm(machine);
    store_le64(bytes, address);
    write_file(machine, VMGENID_ADDRESS_FILE, bytes, sizeof(bytes));
    write_file(machine, "etc/vmcoreinfo", note, sizeof(note));
    devices_save(machine, state);
    machine_free(machine);
    return state;
}

static void test_a_new_generation_is_announced(void)
{
    g_autoptr(GByteArray) state = saved_with_address(HERE);
    Machine *machine = pc_machine_new("q35", second);
    GError *error = NULL;
    uint8_t found[16];
    size_t len;
    devices_load(machine, state->data, state->len, &error);
    g_assert_no_error(error);
    address_space_read(machine->memory, HERE, found, sizeof(found));
    g_assert_cmpmem(found, 16, second_bytes, 16);
    g_assert_cmphex(pc_read(machine->io, GPE0_STS, 1), ==, 1 << VMGENID_GPE);
    const uint8_t *note = fw_cfg_file(fw_cfg_find(machine), "etc/vmcoreinfo", &len);
    g_assert_cmphex(load_le32(note + 4), ==, 0x1024);
    machine_free(machine);
}

/* Neither the end of RAM nor a device's registers nor wrapping addresses hurt. */
static void test_an_address_without_ram_is_left_alone(void)
{
    static const uint64_t addresses[] = { 32 * MIB - 8, 0xfee00000, UINT64_MAX - 3, 0 };
    for (size_t i = 0; i < G_N_ELEMENTS(addresses); i++) {
        g_autoptr(GByteArray) state = saved_with_address(addresses[i]);
        Machine *machine = pc_machine_new("q35", second);
        GError *error = NULL;
        devices_load(machine, state->data, state->len, &error);
        g_assert_no_error(error);
        g_assert_cmphex(pc_read(machine->io, GPE0_STS, 1), ==, 0);
        machine_free(machine);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmgenid/a-new-generation-is-announced", test_a_new_generation_is_announced);
    g_test_add_func("/vmgenid/an-address-without-ram-is-left-alone",
                    test_an_address_without_ram_is_left_alone);
    return g_test_run();
}
