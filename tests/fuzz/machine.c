/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine in the fuzzer's own process. */
#include "tests/fuzz/machine.h"

#include <string.h>
#include "hw/devices.h"
#include "hw/pci/pci.h"
#include "tests/device/fake-swtpm.h"
#include "vmm/cli/cli.h"
#include "vmm/commands.h"
#include "vmm/machine/life.h"
#include "vmm/memory/rcu.h"
#include "vmm/start.h"

#define SETTLE_ROUNDS 16

static const char *const common_options[] = { "vireo",
                                              "-accel",
                                              "qtest",
                                              "-m",
                                              "16",
                                              "-nodefaults",
                                              "-rtc",
                                              "clock=vm",
                                              "-display",
                                              "none",
                                              "-S",
                                              "-blockdev",
                                              "driver=null-co,node-name=n0,size=16M",
                                              "-blockdev",
                                              "driver=null-co,node-name=n1,size=16M",
                                              "-blockdev",
                                              "driver=null-co,node-name=fd0,size=1474560",
                                              "-blockdev",
                                              "driver=null-co,node-name=n2,size=16M",
                                              "-blockdev",
                                              "driver=null-co,node-name=nvme0,size=16M",
                                              "-drive",
                                              "driver=null-co,id=n3,if=none,size=16M,media=cdrom",
                                              "-blockdev",
                                              "driver=null-co,node-name=n4,size=16M",
                                              "-blockdev",
                                              "driver=null-co,node-name=n5,size=16M,read-only=on",
                                              "-chardev",
                                              "ringbuf,id=c0",
                                              "-chardev",
                                              "null,id=c1",
                                              "-serial",
                                              "null",
                                              NULL };

/* restrict: no packet leaves the process */
static const char *const q35_options[] = {
    "-netdev",   "user,id=u0,restrict=on",
    "-blockdev", "driver=null-co,node-name=f0,size=64K,read-zeroes=on",
    "-machine",  "q35,pflash0=f0,hpet=on,smm=on",
    "-device",   "virtio-blk-pci,drive=n0,num-queues=2",
    "-device",   "virtio-blk-pci,drive=n1,disable-modern=off,disable-legacy=off",
    "-device",   "virtio-scsi-pci,num_queues=2",
    "-device",   "scsi-hd,drive=n2",
    "-device",   "scsi-cd,drive=n3",
    "-device",   "virtio-rng-pci",
    "-device",   "virtio-balloon-pci",
    "-device",   "virtio-serial-pci,id=vs",
    "-device",   "virtconsole,chardev=c0",
    "-device",   "virtserialport,chardev=c1,name=p",
    "-device",   "pcie-root-port,id=rp",
    "-device",   "virtio-net-pci,netdev=u0,mac=52:54:00:12:34:56",
    "-blockdev", "driver=null-co,node-name=nusb,size=16M",
    "-device",   "qemu-xhci,id=x",
    "-device",   "usb-hub,bus=x.0,port=1",
    "-device",   "usb-storage,bus=x.0,port=1.1,drive=nusb",
    "-device",   "usb-kbd,bus=x.0,port=2",
    "-device",   "usb-mouse,bus=x.0,port=1.2",
    "-device",   "usb-tablet,bus=x.0,port=3",
    "-device",   "pvpanic-pci",
    "-device",   "vmgenid",
    "-device",   "tpm-tis,tpmdev=t",
    "-device",   "vmcoreinfo",
    "-device",   "i6300esb",
    "-device",   "ib700",
    "-action",   "watchdog=none",
    "-parallel", "null",
    "-device",   "pvpanic",
    "-device",   "isa-debug-exit",
    "-device",   "ide-hd,drive=n4,bus=ide.0",
    "-device",   "ide-cd,drive=n5,bus=ide.1",
    "-device",   "nvme,serial=s,drive=nvme0",
    "-device",   "isa-fdc",
    "-device",   "floppy,drive=fd0",
    NULL
};

static const char *const pc_options[] = {
    "-netdev",  "user,id=u0,restrict=on",
    "-machine", "pc,hpet=on,smm=on",
    "-device",  "virtio-blk-pci,drive=n0,disable-modern=off,disable-legacy=off",
    "-device",  "ide-hd,drive=n1",
    "-device",  "ide-cd,drive=n5",
    "-device",  "virtio-rng-pci",
    "-device",  "virtio-net-pci,netdev=u0,mac=52:54:00:12:34:56",
    "-device",  "pvpanic",
    "-device",  "tpm-crb,tpmdev=t",
    NULL
};

static const char *const microvm_options[] = { "-machine", "microvm",
                                               "-device",  "virtio-blk-device,drive=n0",
                                               "-device",  "virtio-rng-device",
                                               "-device",  "virtio-serial-device",
                                               "-device",  "virtconsole,chardev=c0",
                                               "-device",  "virtio-balloon-device",
                                               "-netdev",  "user,id=u0,restrict=on",
                                               "-device",  "virtio-net-device,netdev=u0",
                                               NULL };

static const char *const *board_options(const char *board)
{
    return strcmp(board, "q35") == 0  ? q35_options
           : strcmp(board, "pc") == 0 ? pc_options
                                      : microvm_options;
}

/* A TPM that says yes to everything, with its own thread. */
static void add_tpm(GPtrArray *line)
{
    static const FakePlan obedient;
    int fd;
    fake_swtpm_pair(&obedient, &fd);
    g_ptr_array_add(line, g_strdup("-chardev"));
    g_ptr_array_add(line, g_strdup_printf("socket,id=tpm,fd=%d", fd));
    g_ptr_array_add(line, g_strdup("-tpmdev"));
    g_ptr_array_add(line, g_strdup("emulator,id=t,chardev=tpm"));
}

static GPtrArray *command_line(const char *board)
{
    const char *const *lists[] = { common_options, board_options(board) };
    GPtrArray *line = g_ptr_array_new();
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (const char *const *option = lists[i]; *option; option++) {
            g_ptr_array_add(line, g_strdup(*option));
        }
    }
    add_tpm(line);
    g_ptr_array_add(line, NULL);
    return line;
}

Machine *fuzz_machine(const char *board)
{
    static Machine *machine;
    static Cli cli; /* the machine's configuration points into it, and it to the line */
    static GPtrArray *line __attribute__((used)); /* the compiler would not keep it */
    GError *error = NULL;
    if (machine) {
        return machine;
    }
    rcu_thread_register();
    device_classes_register(device_classes);
    machine_classes_register(machine_classes);
    monitor_commands_register(all_monitor_commands);
    line = command_line(board);
    if (!cli_parse(&cli, (int)line->len - 1, (char **)line->pdata, &error) ||
        !(machine = start_machine(&cli, &error))) {
        g_error("%s", error->message);
    }
    fuzz_machine_reset(machine);
    return machine;
}

static uint8_t any_line(void *opaque, uint8_t slot, uint8_t pin)
{
    return 10;
}

static void set_up_pci(Machine *machine)
{
    PciApertures apertures = { .io_start = 0xc000,
                               .io_last = 0xffff,
                               .mem32_start = 0xc0000000,
                               .mem32_last = 0xfebfffff,
                               .mem64_start = 0x800000000,
                               .mem64_last = 0xfffffffff,
                               .irq_line = any_line };
    g_autoptr(GError) error = NULL;
    PciBus *root = pci_bus_root(machine);
    if (root) {
        machine_topology_lock(machine);
        bool ok = pci_assign_resources(root, &apertures, &error);
        machine_topology_unlock(machine);
        g_assert_true(ok);
    }
}

void fuzz_machine_reset(Machine *machine)
{
    machine_stop(machine, RUN_STATE_PAUSED);
    fuzz_machine_settle(machine); /* what the guest asked for */
    machine_stop(machine, RUN_STATE_PAUSED);
    machine_reset_now(machine);
    set_up_pci(machine);
}

static void nothing(void *opaque)
{
}

void fuzz_machine_settle(Machine *machine)
{
    if (machine->io_loop) {
        event_loop_call(machine->io_loop, nothing, NULL);
    }
    for (int i = 0; i < SETTLE_ROUNDS && g_main_context_iteration(NULL, FALSE); i++) {
    }
}
