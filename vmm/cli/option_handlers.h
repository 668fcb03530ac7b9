/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The handlers behind the option table: each takes one option's argument into the Cli. */
#ifndef VMM_CLI_OPTION_HANDLERS_H
#define VMM_CLI_OPTION_HANDLERS_H

#include "vmm/cli/cli.h"

typedef bool CliHandler(Cli *cli, const char *value, GError **error);

typedef struct CliOption {
    const char *name;
    const char *alias;
    const char *arg; /* its form in the help, NULL: takes none */
    const char *section;
    const char *help;
    CliHandler *handle;
    const char *group; /* its sections in -readconfig's files; NULL: it has none */
} CliOption;

extern const CliOption cli_options[];            /* ends with a NULL name */
const char *cli_absent_reason(const char *name); /* why an option of QEMU's is not there; NULL */

/* The text of a file in -readconfig's form; errors begin with the line. */
bool cli_take_config(Cli *cli, const char *text, GError **error);

void cli_init(Cli *cli);
bool cli_finish(Cli *cli, GError **error); /* checks and defaults that need all options */

CliHandler cli_opt_help, cli_opt_version, cli_opt_machine, cli_opt_accel, cli_opt_enable_kvm,
    cli_opt_cpu, cli_opt_smp, cli_opt_numa, cli_opt_m, cli_opt_mem_path, cli_opt_mem_prealloc,
    cli_opt_overcommit, cli_opt_audiodev, cli_opt_object, cli_opt_device, cli_opt_global,
    cli_opt_name, cli_opt_uuid, cli_opt_smbios, cli_opt_rtc, cli_opt_nodefaults, cli_opt_usb,
    cli_opt_nothing, cli_opt_run_dir, cli_opt_no_acpi, cli_opt_no_hpet, cli_opt_kernel,
    cli_opt_initrd, cli_opt_append, cli_opt_bios, cli_opt_boot, cli_opt_fw_cfg, cli_opt_option_rom,
    cli_opt_no_fd_bootchk, cli_opt_data_dir, cli_opt_disk_image, cli_opt_drive, cli_opt_pflash,
    cli_opt_hda, cli_opt_hdb, cli_opt_hdc, cli_opt_hdd, cli_opt_fda, cli_opt_fdb, cli_opt_cdrom,
    cli_opt_blockdev, cli_opt_nic, cli_opt_netdev, cli_opt_net, cli_opt_chardev, cli_opt_tpmdev,
    cli_opt_serial, cli_opt_debugcon, cli_opt_nographic, cli_opt_echr, cli_opt_display, cli_opt_vga,
    cli_opt_parallel, cli_opt_monitor, cli_opt_qmp, cli_opt_qmp_pretty, cli_opt_mon,
    cli_opt_stopped, cli_opt_snapshot, cli_opt_no_reboot, cli_opt_no_shutdown, cli_opt_action,
    cli_opt_watchdog_action, cli_opt_daemonize, cli_opt_pidfile, cli_opt_msg, cli_opt_gdb,
    cli_opt_s, cli_opt_qtest, cli_opt_qtest_log, cli_opt_set, cli_opt_readconfig, cli_opt_add_fd,
    cli_opt_run_with, cli_opt_runas, cli_opt_chroot, cli_opt_async_teardown, cli_opt_sandbox,
    cli_opt_vcpu, cli_opt_log_items, cli_opt_log_file, cli_opt_trace;

#endif
