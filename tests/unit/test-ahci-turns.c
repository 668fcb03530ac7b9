/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An AHCI port whose guest issues again what has just ended keeps its I/O loop for a list's worth
 * of commands; then others on the loop have their turn. The guest is the interrupt line's handler:
 * it runs when the first command ends, in the middle of the port's turn.
 */
#include "block/block.h"
#include "hw/ide/ahci.h"
#include "hw/pci/host.h"
#include "tests/unit/pc-machine.h"

#define AHCI       0x00fa /* 1f.2 */
#define ABAR       0xc1000000ULL
#define LIST       0x100000ULL
#define FIS        0x101000ULL
#define TABLE      0x102000ULL
#define PORT(reg)  (ABAR + AHCI_PORT_BASE + (reg))
#define PX_CLB     0x00
#define PX_FB      0x08
#define PX_IE      0x14
#define PX_CMD     0x18
#define PX_CI      0x38
#define CHECK_MODE 0xe5 /* CHECK POWER MODE: ends without a disk's work */

static struct {
    AhciPort *port;
    LoopTask other; /* another device's, on the same loop */
    bool flooded;
    uint32_t left; /* commands that waited when it had its turn */
    int had_turn;  /* atomic */
} flood;

/* On the I/O loop, with the controller's lock. */
static void interrupt(void *opaque, unsigned slot, unsigned pin, int level)
{
    if (level && !flood.flooded) {
        flood.flooded = true;
        flood.port->ci = UINT32_MAX;
        event_loop_post(flood.port->port.loop, &flood.other);
    }
}

static void others_turn(void *opaque)
{
    g_mutex_lock(flood.port->port.lock);
    flood.left = flood.port->ci;
    g_mutex_unlock(flood.port->port.lock);
    g_atomic_int_set(&flood.had_turn, 1);
}

static Device *find_device(Machine *machine, const DeviceClass *cls)
{
    for (guint i = 0; i < machine->buses->len; i++) {
        const Bus *bus = g_ptr_array_index(machine->buses, i);
        for (guint j = 0; j < bus->children->len; j++) {
            Device *dev = g_ptr_array_index(bus->children, j);
            if (dev->cls == cls) {
                return dev;
            }
        }
    }
    for (guint i = 0; i < machine->devices->len; i++) {
        Device *dev = g_ptr_array_index(machine->devices, i);
        if (dev->cls == cls) {
            return dev;
        }
    }
    g_assert_not_reached();
}

static Machine *start(void)
{
    GError *error = NULL;
    Machine *machine = pc_machine_new("q35", NULL);
    g_autoptr(Opts) opts = opts_parse("driver=null-co,node-name=disk,size=1M", NULL, &error);
    g_assert_nonnull(block_node_open(opts, &error));
    Device *drive = device_new(&ide_hd_class, NULL);
    device_set_prop(drive, "drive", "disk", &error);
    g_assert_no_error(error);
    device_realize(drive, machine, bus_find(machine, "ide.0"), &error);
    g_assert_no_error(error);
    pc_config_write(machine, AHCI, 0x24, (uint32_t)ABAR);
    pc_config_write(machine, AHCI, 0x04, 6);
    flood.port = &((Ahci *)find_device(machine, &ich9_ahci_class))->ports[0];
    flood.other = (LoopTask)LOOP_TASK_INIT(others_turn, NULL);
    q35_host_connect_intx(find_device(machine, &q35_host_class), interrupt, NULL);
    return machine;
}

static void issue_one(Machine *machine)
{
    static const uint8_t fis[20] = { 0x27, 0x80, CHECK_MODE };

    for (unsigned slot = 0; slot < AHCI_SLOTS; slot++) {
        pc_write(machine->memory, LIST + slot * 32, sizeof(fis) / 4, 4);
        pc_write(machine->memory, LIST + slot * 32 + 8, TABLE, 8);
    }
    address_space_write(machine->memory, TABLE, fis, sizeof(fis));
    pc_write(machine->memory, ABAR + 4, AHCI_GHC_AE | AHCI_GHC_IE, 4);
    pc_write(machine->memory, PORT(PX_CLB), LIST, 4);
    pc_write(machine->memory, PORT(PX_FB), FIS, 4);
    pc_write(machine->memory, PORT(PX_IE), AHCI_IS_DHRS, 4);
    pc_write(machine->memory, PORT(PX_CMD), AHCI_CMD_FRE, 4);
    pc_write(machine->memory, PORT(PX_CMD), AHCI_CMD_FRE | AHCI_CMD_ST, 4);
    pc_write(machine->memory, PORT(PX_CI), 1, 4);
}

static void test_others_have_a_turn(void)
{
    Machine *machine = start();

    issue_one(machine);
    while (!g_atomic_int_get(&flood.had_turn)) {
        g_usleep(100);
    }
    g_assert_cmphex(flood.left, !=, 0);
    /* What was left is done in later turns. */
    while (pc_read(machine->memory, PORT(PX_CI), 4)) {
        g_usleep(100);
    }
    machine_free(machine);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ahci-turns/a-port-that-is-kept-busy-leaves-others-a-turn",
                    test_others_have_a_turn);
    return g_test_run();
}
