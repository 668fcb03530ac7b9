/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The boot order: Open Firmware paths as QEMU writes them, order, clashes. */
#include "block/block.h"
#include "config.h"
#include "net/net.h"
#include "tests/unit/pc-machine.h"
#include "vmm/cli/opts.h"
#include "vmm/device/boot_order.h"

static void add_null_disk(const char *name)
{
    g_autofree char *text = g_strdup_printf("null-co,node-name=%s,size=1048576", name);
    g_autoptr(Opts) opts = opts_parse(text, "driver", NULL);
    g_assert_nonnull(block_node_open(opts, NULL));
}

static void test_paths_are_qemus(void)
{
    static const char *const devices[] = {
        "pcie-root-port,addr=4.0",
        "virtio-blk-pci,drive=a,bootindex=7,addr=1.0",
#ifdef HAVE_SLIRP
        "virtio-net-pci,netdev=net,bootindex=0,addr=2.0",
#endif
        "virtio-blk-pci,drive=b,bootindex=3,addr=5.2",
        "virtio-blk-pci,drive=c,addr=6.0",
        NULL,
    };
#ifdef HAVE_SLIRP
    g_autoptr(Opts) net = opts_parse("user,id=net", "type", NULL);
    g_assert_nonnull(net_backend_new(net, NULL));
#endif
    Machine *machine = pc_machine_new("q35", devices);
    g_autofree char *text = boot_order_text(machine, false);
    g_assert_cmpstr(text, ==,
#ifdef HAVE_SLIRP
                    "/pci@i0cf8/ethernet@2/ethernet-phy@0\n"
#endif
                    "/pci@i0cf8/scsi@5,2/disk@0,0\n"
                    "/pci@i0cf8/scsi@1/disk@0,0");
    g_autofree char *strict = boot_order_text(machine, true);
    g_assert_true(g_str_has_suffix(strict, "/pci@i0cf8/scsi@1/disk@0,0\nHALT"));
    machine_free(machine);
}

static void test_disk_behind_a_port(void)
{
    static const char *const devices[] = { "pcie-root-port,addr=4.0", NULL };
    Machine *machine = pc_machine_new("q35", devices);
    Bus *bus = NULL;
    for (guint i = 0; i < machine->buses->len; i++) {
        Bus *candidate = g_ptr_array_index(machine->buses, i);
        bus = candidate->type == BUS_PCI ? candidate : bus;
    }
    Device *disk = device_new(device_class_find("virtio-blk-pci"), "disk");
    g_assert_true(device_set_prop(disk, "drive", "a", NULL));
    g_assert_true(device_realize(disk, machine, bus, NULL));
    g_autofree char *path = device_firmware_path(disk);
    g_assert_cmpstr(path, ==, "/pci@i0cf8/pci-bridge@4/scsi@0/disk@0,0");
    machine_free(machine);
}

static void test_mmio_disk(void)
{
    static const char *const devices[] = { "virtio-blk-device,drive=a,bootindex=1", NULL };
    Machine *machine = pc_machine_new("microvm", devices);
    g_autofree char *text = boot_order_text(machine, false);
    g_assert_true(g_str_has_prefix(text, "/virtio-mmio@00000000feb0"));
    g_assert_true(g_str_has_suffix(text, "/disk@0,0"));
    machine_free(machine);
}

static void test_no_index_is_no_order(void)
{
    static const char *const devices[] = { "virtio-blk-pci,drive=a", NULL };
    Machine *machine = pc_machine_new("q35", devices);
    g_assert_null(boot_order_text(machine, true));
    machine_free(machine);
}

static void test_an_index_given_twice_is_refused(void)
{
    static const char *const devices[] = { "virtio-blk-pci,drive=a,bootindex=1", NULL };
    g_autoptr(GError) error = NULL;
    Machine *machine = pc_machine_new("q35", devices);
    Device *second = device_new(device_class_find("virtio-blk-pci"), "second");
    g_assert_true(device_set_prop(second, "drive", "b", NULL));
    g_assert_true(device_set_prop(second, "bootindex", "1", NULL));
    g_assert_false(device_realize(second, machine, NULL, &error));
    g_assert_nonnull(strstr(error->message, "bootindex=1 is taken"));
    g_assert_nonnull(strstr(error->message, "virtio-blk-pci"));
    device_free(second);

    second = device_new(device_class_find("virtio-blk-pci"), "second");
    g_assert_true(device_set_prop(second, "drive", "b", NULL));
    g_assert_true(device_set_prop(second, "bootindex", "-5", NULL));
    g_assert_true(device_realize(second, machine, NULL, NULL));
    machine_free(machine);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_null_disk("a");
    add_null_disk("b");
    add_null_disk("c");
    g_test_add_func("/boot-order/paths-are-qemus", test_paths_are_qemus);
    g_test_add_func("/boot-order/disk-behind-a-port", test_disk_behind_a_port);
    g_test_add_func("/boot-order/mmio-disk", test_mmio_disk);
    g_test_add_func("/boot-order/no-index-is-no-order", test_no_index_is_no_order);
    g_test_add_func("/boot-order/an-index-given-twice-is-refused",
                    test_an_index_given_twice_is_refused);
    return g_test_run();
}
