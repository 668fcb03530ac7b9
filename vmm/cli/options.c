/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of command line options, and what takes the command line apart by it. */
#include "vmm/cli/cli.h"

#include <stdio.h>
#include <string.h>
#include "config.h"
#include "vmm/cli/friendly.h"
#include "vmm/cli/option_handlers.h"

const CliOption cli_options[] = {
    { "help", "h", NULL, "Standard", "show this text", cli_opt_help },
    { "version", NULL, NULL, "Standard", "show the version", cli_opt_version },
    { "machine", "M", "[type=]NAME[,PROP=VALUE...]", "Standard",
      "the board (-machine help lists them): q35 (default), microvm; accel=, "
      "kernel-irqchip=on|split, "
      "memory-backend=ID, mem-merge=, dump-guest-core=",
      cli_opt_machine, .group = "machine" },
    { "accel", NULL, "[accel=]kvm|qtest[,kernel-irqchip=on|split]", "Standard",
      "what runs the guest's CPUs", cli_opt_accel, .group = "accel" },
    { "enable-kvm", NULL, NULL, "Standard", "same as -accel kvm", cli_opt_enable_kvm },
    { "cpu", NULL, "MODEL[,+FEATURE][,-FEATURE]...", "Standard",
      "the CPU that the guest sees (-cpu help); default: host", cli_opt_cpu },
    { "smp", NULL, "[cpus=]N[,maxcpus=N][,sockets=N][,dies=N][,cores=N][,threads=N]", "Standard",
      "number and topology of CPUs", cli_opt_smp, .group = "smp-opts" },
    { "vcpu", NULL, "vcpunum=LIST,affinity=LIST", "Standard",
      "the threads of these vCPUs run on these CPUs of the host; a LIST is like 0-3:6",
      cli_opt_vcpu, .group = "vcpu" },
    { "numa", NULL, "node|dist|cpu|hmat-lb|hmat-cache[,OPTION=VALUE...]", "Standard",
      "nodes of CPUs and memory: node[,nodeid=N][,cpus=N[-M]]...[,mem=SIZE|,memdev=ID]"
      "[,initiator=N], dist,src=N,dst=N,val=DISTANCE, cpu,node-id=N[,socket-id=N]...",
      cli_opt_numa, .group = "numa" },
    { "m", NULL, "[size=]MEGS[,slots=N,maxmem=SIZE]", "Standard",
      "size of memory in MiB, or with a suffix k, M, G, T; default 512M; "
      "slots for memory that comes later (-device pc-dimm)",
      cli_opt_m, .group = "memory" },
    { "mem-path", NULL, "PATH", "Standard", "take memory from a file or hugetlbfs",
      cli_opt_mem_path },
    { "mem-prealloc", NULL, NULL, "Standard", "touch all memory at the start",
      cli_opt_mem_prealloc },
    { "overcommit", NULL, "[mem-lock=on|off][,cpu-pm=on|off]", "Standard",
      "lock all memory of the process; let the guest put host CPUs to sleep by itself (HLT, MWAIT, "
      "PAUSE do not exit)",
      cli_opt_overcommit, .group = "overcommit" },
    { "object", NULL, "TYPE,id=ID[,PROP=VALUE...]", "Standard",
      "make a back-end object (-object help lists the types)", cli_opt_object, .group = "object" },
    { "device", NULL, "DRIVER[,id=ID][,PROP=VALUE...]", "Standard",
      "add a device (-device help lists them, -device DRIVER,help its properties)", cli_opt_device,
      .group = "device" },
    { "global", NULL, "DRIVER.PROP=VALUE|driver=DRIVER,property=PROP,value=VALUE", "Standard",
      "set a property of all devices of that kind, the board's own among them", cli_opt_global,
      .group = "global" },
    { "name", NULL, "[guest=]NAME[,process=NAME]", "Standard", "what the guest is called",
      cli_opt_name, .group = "name" },
    { "run-dir", NULL, "on|off", "Standard",
      "whether vireo list, console, ssh, stop and info find the machine (by -name, else its first "
      "image's name); on for a command line that begins with a file, else off",
      cli_opt_run_dir },
    { "uuid", NULL, "UUID", "Standard", "the machine's UUID (SMBIOS)", cli_opt_uuid },
    { "smbios", NULL, "file=FILE | type=N[,FIELD=VALUE...]", "Standard",
      "fields of the SMBIOS tables (types 0, 1, 2, 3, 4, 8, 11, 17, 41), or a whole structure",
      cli_opt_smbios, .group = "smbios" },
    { "rtc", NULL, "[base=utc|localtime|DATE][,clock=host|rt|vm][,driftfix=none|slew]", "Standard",
      "the guest's real-time clock", cli_opt_rtc, .group = "rtc" },
    { "nodefaults", NULL, NULL, "Standard", "no devices but the board's and those asked for",
      cli_opt_nodefaults },
    { "usb", NULL, NULL, "Standard", "a USB controller (-machine usb=on)", cli_opt_usb },
    { "set", NULL, "GROUP.ID.KEY=VALUE", "Standard",
      "one more key of an earlier -device, -drive, -netdev, -chardev, -object ... with id=ID",
      cli_opt_set },
    { "readconfig", NULL, "FILE", "Standard",
      "options from a file: a section [device \"ID\"] for -device ...,id=ID, then lines "
      "KEY = \"VALUE\"",
      cli_opt_readconfig },
    { "no-user-config", NULL, NULL, "Standard",
      "read no configuration files (Vireo reads none anyway)", cli_opt_nothing },
    { "no-acpi", NULL, NULL, "Standard", "no ACPI tables", cli_opt_no_acpi },
    { "no-hpet", NULL, NULL, "Standard", "no HPET, as -machine hpet=off", cli_opt_no_hpet },

    { "kernel", NULL, "FILE", "Boot", "Linux bzImage, PVH ELF or multiboot kernel",
      cli_opt_kernel },
    { "initrd", NULL, "FILE", "Boot", "initial RAM disk, or multiboot modules", cli_opt_initrd },
    { "append", NULL, "TEXT", "Boot", "the kernel's command line", cli_opt_append },
    { "bios", NULL, "FILE", "Boot",
      "firmware image, mapped below 4 GiB; without -kernel: SeaBIOS (package seabios). OVMF.fd "
      "(package ovmf) starts UEFI systems. With -kernel: the kernel is started by that firmware",
      cli_opt_bios },
    { "boot", NULL,
      "[order=DRIVES][,once=DRIVES][,menu=on|off][,strict=on|off][,splash=FILE]"
      "[,splash-time=MS][,reboot-timeout=MS]",
      "Boot",
      "what the firmware boots from: a floppy, c hard disk, d CD-ROM, n network (order, and the "
      "first time), bootindex= of a device goes before it",
      cli_opt_boot, .group = "boot-opts" },
    { "fw_cfg", NULL, "[name=]NAME,file=FILE|string=TEXT", "Boot",
      "a file in the firmware configuration device; NAME begins with opt/", cli_opt_fw_cfg,
      .group = "fw_cfg" },
    { "option-rom", NULL, "[romfile=]FILE[,bootindex=N]", "Boot",
      "a ROM that the firmware runs beside those of the devices (romfile=)", cli_opt_option_rom,
      .group = "option-rom" },
    { "no-fd-bootchk", NULL, NULL, "Boot",
      "boot from floppies whose first sector has no boot signature", cli_opt_no_fd_bootchk },
    { "L", NULL, "DIR", "Boot",
      "search firmware and option ROMs there first (-L help lists the directories)",
      cli_opt_data_dir },

    { "drive", NULL,
      "[file=FILE][,if=virtio|ide|scsi|floppy|pflash|none][,media=disk|cdrom][,format=F][,cache=C]["
      ",aio=A]...",
      "Block", "a disk and the device for it", cli_opt_drive, .group = "drive" },
    { "fda", NULL, "FILE", "Block", "a disk in floppy drive A", cli_opt_fda },
    { "fdb", NULL, "FILE", "Block", "a disk in floppy drive B", cli_opt_fdb },
    { "hda", NULL, "FILE", "Block", "a disk on the first IDE channel or SATA port", cli_opt_hda },
    { "hdb", NULL, "FILE", "Block", "a disk at the second place", cli_opt_hdb },
    { "hdc", NULL, "FILE", "Block", "a disk at the third place", cli_opt_hdc },
    { "hdd", NULL, "FILE", "Block", "a disk at the fourth place", cli_opt_hdd },
    { "cdrom", NULL, "FILE", "Block", "a CD-ROM drive at the third place; \"\" for an empty one",
      cli_opt_cdrom },
    { "pflash", NULL, "FILE", "Block",
      "flash memory with this raw image: -drive if=pflash,format=raw,file=FILE; the first has the "
      "firmware's code (OVMF_CODE_4M.fd, readonly=on), the second its variables (a copy of "
      "OVMF_VARS_4M.fd)",
      cli_opt_pflash },
    { "snapshot", NULL, NULL, "Block",
      "what the guest writes goes to temporary files, and is gone at the end", cli_opt_snapshot },
    { "blockdev", NULL, "[driver=]DRIVER,node-name=NAME[,OPTION=VALUE...]", "Block",
      "a block node, for -device ...,drive=NAME", cli_opt_blockdev, .group = "blockdev" },

    { "nic", NULL, "user|tap|none[,model=M][,mac=MAC][,OPTION=VALUE...]", "Network",
      "a network card and its back end", cli_opt_nic, .group = "nic" },
    { "netdev", NULL, "user|tap,id=ID[,OPTION=VALUE...]", "Network",
      "a network back end, for -device ...,netdev=ID (-netdev help)", cli_opt_netdev,
      .group = "netdev" },
    { "net", NULL, "none", "Network", "no network", cli_opt_net },

    { "chardev", NULL, "BACKEND,id=ID[,OPTION=VALUE...]", "Character devices",
      "a character device (-chardev help)", cli_opt_chardev, .group = "chardev" },
    { "tpmdev", NULL, "emulator,id=ID,chardev=CHARDEV", "Character devices",
      "swtpm as a TPM 2.0 for -device tpm-tis or tpm-crb", cli_opt_tpmdev, .group = "tpmdev" },
    { "serial", NULL, "DEV", "Character devices",
      "the next serial port: stdio, mon:stdio, pty, unix:PATH,server=on, tcp:..., file:PATH, null, "
      "none, chardev:ID",
      cli_opt_serial },
    { "debugcon", NULL, "DEV", "Character devices", "the debug console, port 0xe9",
      cli_opt_debugcon },
    { "nographic", NULL, NULL, "Character devices",
      "serial port and monitor on the terminal, Ctrl-a switches (Ctrl-a h: help)",
      cli_opt_nographic },
    { "echr", NULL, "NUMBER", "Character devices",
      "the character that -nographic's keys begin with, as a number; 1 is Ctrl-a", cli_opt_echr },
    { "display", NULL, "none", "Character devices", "no display", cli_opt_display },
    { "vga", NULL, "none", "Character devices", "no graphics card", cli_opt_vga },
    { "audiodev", NULL, "[driver=]none,id=ID", "Character devices",
      "a sound back end; none, which plays nothing, is the only one", cli_opt_audiodev,
      .group = "audiodev" },
    { "parallel", NULL, "DEV", "Character devices",
      "the next parallel port, its printer writing to: file:PATH, stdio, pty, null, none, "
      "chardev:ID ...",
      cli_opt_parallel },

    { "monitor", NULL, "DEV", "Monitor", "a human monitor on a character device", cli_opt_monitor },
    { "qmp", NULL, "DEV", "Monitor", "a QMP server on a character device", cli_opt_qmp },
    { "qmp-pretty", NULL, "DEV", "Monitor", "the same with indented JSON", cli_opt_qmp_pretty },
    { "mon", NULL, "[chardev=]ID[,mode=readline|control][,pretty=on|off]", "Monitor",
      "a monitor on a -chardev", cli_opt_mon, .group = "mon" },

    { "S", NULL, NULL, "Run", "do not start the CPUs (QMP cont does)", cli_opt_stopped },
    { "gdb", NULL, "DEV", "Run",
      "serve gdb: tcp::1234, unix:PATH,server=on, chardev:ID ... (as -serial), none; with -S from "
      "the first instruction on",
      cli_opt_gdb },
    { "s", NULL, NULL, "Run", "same as -gdb tcp::1234", cli_opt_s },
    { "no-reboot", NULL, NULL, "Run", "end when the guest wants to reboot", cli_opt_no_reboot },
    { "no-shutdown", NULL, NULL, "Run", "stop instead of exiting", cli_opt_no_shutdown },
    { "watchdog-action", NULL, "reset|shutdown|poweroff|inject-nmi|pause|debug|none", "Run",
      "what an expired watchdog does", cli_opt_watchdog_action },
    { "action", NULL, "reboot=reset|shutdown|,shutdown=poweroff|pause|,panic=...", "Run",
      "what follows a reboot, a shutdown, a panic (pause, shutdown, exit-failure, none)",
      cli_opt_action, .group = "action" },
    { "add-fd", NULL, "fd=N,set=M[,opaque=TEXT]", "Run",
      "put a descriptor that was inherited into a set, for file names /dev/fdset/M", cli_opt_add_fd,
      .group = "add-fd" },
    { "run-with", NULL, "[async-teardown=on|off][,chroot=DIR][,user=NAME|UID:GID]", "Run",
      "once the machine is up: another root directory, another user with all its groups; a second "
      "process gives the memory back after the end",
      cli_opt_run_with, .group = "run-with" },
    { "runas", NULL, "NAME|UID:GID", "Run", "same as -run-with user=", cli_opt_runas },
    { "chroot", NULL, "DIR", "Run", "same as -run-with chroot=", cli_opt_chroot },
    { "async-teardown", NULL, NULL, "Run", "same as -run-with async-teardown=on",
      cli_opt_async_teardown },
    { "sandbox", NULL,
      "on|off[,obsolete=allow|deny][,elevateprivileges=allow|deny|children][,spawn=allow|deny]"
      "[,resourcecontrol=allow|deny]",
      "Run",
      "a filter for system calls (seccomp), off by default: what is denied ends the process; "
      "obsolete ones, changing user, making processes, changing priorities and CPUs",
      cli_opt_sandbox, .group = "sandbox" },
    { "daemonize", NULL, NULL, "Run", "go into the background once the machine is up",
      cli_opt_daemonize },
    { "pidfile", NULL, "FILE", "Run", "write the process id there", cli_opt_pidfile },
    { "d", NULL, "ITEM[,ITEM...]", "Run",
      "log guest_errors, cpu_reset (-d help), on standard error without -D", cli_opt_log_items },
    { "D", NULL, "FILE", "Run",
      "where the log of -d goes, and with -daemonize all messages; %d is the process id",
      cli_opt_log_file },
    { "trace", NULL, "[enable=]PATTERN[,events=FILE][,file=FILE]", "Run",
      "log trace points (-trace help lists them); -PATTERN switches off, events= has a pattern on "
      "each line, file= takes the log instead of standard error",
      cli_opt_trace, .group = "trace" },
    { "msg", NULL, "timestamp=on|off", "Run", "time stamps on messages", cli_opt_msg,
      .group = "msg" },

    { "qtest", NULL, "DEV", "Testing", "the test protocol on a character device", cli_opt_qtest },
    { "qtest-log", NULL, "FILE", "Testing", "a log of the test protocol", cli_opt_qtest_log },
    { NULL },
};

/* What QEMU has and Vireo has not, with the reason. */
static const struct {
    const char *name;
    const char *why;
} absent[] = {
    { "vnc", "this version has no display" },
    { "spice", "Vireo has no SPICE server" },
    { "sdl", "this version has no display" },
    { "full-screen", "this version has no display" },
    { "usbdevice", "write -device qemu-xhci -device usb-storage (or usb-hub)" },
    { "audio", "this version has no sound" },
    { "soundhw", "this version has no sound" },
    { "virtfs", "this version has no shared folders" },
    { "fsdev", "this version has no shared folders" },
    { "loadvm", "this version cannot save and load machines" },
    { "incoming", "this version cannot migrate" },
    { "only-migratable", "this version cannot migrate" },
    { "writeconfig", "QEMU itself has dropped it" },
    { "mtdblock", "the boards have no such device; flash memory is -drive if=pflash" },
    { "sd", "Vireo has no SD card controller" },
    { "watchdog", "give -device i6300esb or -device ib700" },
    { "icount", "Vireo runs guests on KVM, where instructions are not counted" },
    { "tb-size", "Vireo has no TCG" },
    { "singlestep", "Vireo has no TCG" },
    { "k", "this version has no display, so no keyboard layouts" },
    { "dtb", "x86 machines take no device tree" },
    { "semihosting", "semihosting is for other architectures" },
    { "xen-domid", "Vireo runs on KVM only" },
    { "plugin", "Vireo has no TCG" },
    { "realtime", "QEMU itself has dropped it" },
    { "balloon", "-device virtio-balloon-pci adds a balloon" },
    { "tdf", "QEMU itself has dropped it" },
    { "win2k-hack", "its IDE disks have no workaround for Windows 2000's installer" },
    { "rotate", "this version has no display" },
    { "portrait", "this version has no display" },
    { "prom-env", "it is for other architectures" },
    { "iscsi", "Vireo has no iSCSI client" },
    { "acpitable", "the boards describe themselves; further ACPI tables are not passed on" },
    { "audio-help", "write -audiodev help" },
    { "dfilter", "it chooses among TCG's log items, and Vireo has no TCG" },
    { "dump-vmstate", "this version cannot migrate" },
    { "enable-sync-profile", "it is about QEMU's own locks" },
    { "preconfig", "write -S, and give the monitor its commands before cont" },
    { "seed", "guests get random numbers from the host's kernel, which nobody can repeat" },
    { "xen-attach", "Vireo runs on KVM only" },
    { "xen-domid-restrict", "Vireo runs on KVM only" },
    { "compat", "Vireo has no deprecated interfaces to choose about" },
};

static const CliOption *find_option(const char *name)
{
    for (const CliOption *option = cli_options; option->name; option++) {
        if (g_str_equal(option->name, name) || g_strcmp0(option->alias, name) == 0) {
            return option;
        }
    }
    return NULL;
}

const char *cli_absent_reason(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(absent); i++) {
        if (g_str_equal(absent[i].name, name)) {
            return absent[i].why;
        }
    }
    return NULL;
}

static bool unknown_option(const char *name, GError **error)
{
    const char *why = cli_absent_reason(name);
    if (why) {
        return error_set(error, "-%s: QEMU has this option, Vireo does not: %s", name, why);
    }
    g_autofree char *before = g_strndup(name, strcspn(name, "="));
    const CliOption *meant = find_option(before);
    if (meant && meant->arg && strchr(name, '=')) {
        return error_set(error, "-%s: invalid option: its value is a word of its own: -%s %s", name,
                         before, strchr(name, '=') + 1);
    }
    const char *names[G_N_ELEMENTS(cli_options)] = { NULL };
    for (size_t i = 0; cli_options[i].name; i++) {
        names[i] = cli_options[i].name;
    }
    g_autofree char *near = suggest_nearest(name, names);
    return error_set(error, "-%s: invalid option%s%s%s", name, near ? " (did you mean '-" : "",
                     near ? near : " (-help lists them)", near ? "'?)" : "");
}

bool cli_parse(Cli *cli, int argc, char **argv, GError **error)
{
    cli_init(cli);
    if (argc > 1 && argv[1][0] != '-') {
        friendly_begin(cli);
    }
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (word[0] != '-' || !word[1]) {
            if (!cli_opt_disk_image(cli, word, error)) {
                return false;
            }
            continue;
        }
        const char *name = word + 1 + (word[1] == '-');
        const CliOption *option = find_option(name);
        if (!option) {
            return unknown_option(name, error);
        }
        const char *value = NULL;
        if (option->arg) {
            if (++i == argc) {
                return error_set(error, "-%s: requires an argument: %s", name, option->arg);
            }
            value = argv[i];
        }
        if (!option->handle(cli, value, error)) {
            g_prefix_error(error, "-%s%s%s: ", name, value ? " " : "", value ? value : "");
            return false;
        }
        if (cli->help_shown) {
            return true;
        }
    }
    return cli_finish(cli, error);
}
