/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of contents of the monitor: every subject's commands. */
#include "vmm/commands.h"

#include "block/qmp.h"
#include "hw/acpi/qmp.h"
#include "hw/misc/qmp.h"
#include "hw/pci/qmp.h"
#include "hw/tpm/qmp.h"
#include "hw/usb/qmp.h"
#include "hw/virtio/qmp.h"
#include "net/qmp.h"
#include "ui/input.h"
#include "vmm/gdbstub/commands.h"
#include "vmm/trace/commands.h"

const MonitorCommands *const all_monitor_commands[] = {
    &control_commands,    &machine_commands,     &info_commands,
    &memory_commands,     &cpu_commands,         &device_commands,
    &qom_commands,        &acpi_commands,        &pci_commands,
    &usb_commands,        &chardev_commands,     &block_commands,
    &block_info_commands, &media_commands,       &net_commands,
    &input_commands,      &tpm_commands,         &export_commands,
    &limit_commands,      &job_commands,         &copy_commands,
    &snapshot_commands,   &transaction_commands, &create_commands,
    &reopen_commands,     &bitmap_commands,      &gdb_commands,
    &latency_commands,    &disk_commands,        &fd_commands,
    &dump_commands,       &hmp_help_commands,    &hmp_cpu_commands,
    &hmp_memory_commands, &hmp_pages_commands,   &hmp_ports_commands,
    &save_commands,       &pic_commands,         &commit_commands,
    &virtio_commands,     &hmp_machine_commands, &trace_commands,
    &exit_commands,       &stats_commands,       NULL,
};
