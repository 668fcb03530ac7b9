/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: one table of options (vmm/cli/options.c) fills a Cli; vmm/start.c makes the
 * machine from it. Main thread.
 */
#ifndef VMM_CLI_CLI_H
#define VMM_CLI_CLI_H

#include "vmm/cli/opts.h"
#include "vmm/machine/machine.h"
#include "vmm/sandbox/filter.h"
#include "vmm/sandbox/privileges.h"

typedef struct Cli {
    MachineConfig config;
    GPtrArray *objects;     /* Opts *, qom-type */
    GPtrArray *chardevs;    /* Opts *, backend */
    GPtrArray *blockdevs;   /* Opts *, driver */
    GPtrArray *drives;      /* Opts *, file */
    GPtrArray *netdevs;     /* Opts *, type */
    GPtrArray *nics;        /* Opts *, type */
    GPtrArray *devices;     /* Opts *, driver */
    GPtrArray *serials;     /* char *: -serial texts */
    GPtrArray *parallels;   /* char *: -parallel texts */
    GPtrArray *monitors;    /* char *: -monitor texts */
    GPtrArray *qmps;        /* char *: -qmp texts */
    GPtrArray *qmps_pretty; /* char *: -qmp-pretty texts */
    GPtrArray *mons;        /* Opts *: -mon, chardev */
    GPtrArray *tpmdevs;     /* Opts *, type */
    GPtrArray *audiodevs;   /* Opts *, driver */
    GPtrArray *add_fds;     /* Opts *: -add-fd */
    const char *debugcon;   /* -debugcon text, or NULL */
    const char *gdb;        /* -gdb text, or NULL */
    const char *qtest, *qtest_log;
    const char *pidfile;
    const char *log_file;  /* -D, or NULL */
    Privileges privileges; /* -run-with user=, chroot= */
    bool async_teardown;
    SandboxPolicy sandbox;
    char *process_name;   /* -name process= */
    unsigned disk_images; /* of drives: the first, named without an option */
    bool snapshot;        /* -snapshot: drives write to temporary files */
    bool nodefaults;
    bool nographic;
    bool no_net;       /* -nic none, -net none */
    bool display_none; /* -display none */
    bool daemonize;
    bool friendly;            /* begins with a file: vmm/cli/friendly.h */
    bool run_dir;             /* -run-dir: has a name there */
    bool console_on_terminal; /* the console of console_fd */
    int qmp_fd, console_fd;   /* listening sockets of the run directory; -1: none */
    unsigned ssh_port;        /* of 127.0.0.1, leads to the guest's sshd; 0: none */
    bool help_shown;          /* an option printed what was asked for: exit 0 */
} Cli;

/* Reads argv into *cli; on false the error names the option. */
bool cli_parse(Cli *cli, int argc, char **argv, GError **error);
void cli_free(Cli *cli);

void cli_help(GString *out); /* `-help` */
void cli_man(GString *out);  /* the manual page vireo(1), as roff */
/* The shell functions _vireo_options, which prints the options' names, and _vireo_option NAME,
 * which sets kind= (none, flag, file, directory, chardev, words) and words= of its argument. */
void cli_completion(GString *out);

/* -smp's arithmetic: fills what was left out (zero) as QEMU does and checks the product. */
bool smp_complete(SmpConfig *smp, bool prefer_sockets, GError **error);
/* Every -vcpu names vCPUs that there can be. */
bool smp_check_pins(const MachineConfig *config, GError **error);

#endif
