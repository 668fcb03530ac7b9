/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `vireo FILE...`: a command line that begins with a file gets defaults for a person: memory and
 * CPUs after the host, ISOs as CDs to start from, ssh forwarded, a console that can be attached to,
 * a name in the run directory. What options say comes before all of it. Main thread.
 */
#ifndef VMM_CLI_FRIENDLY_H
#define VMM_CLI_FRIENDLY_H

#include "vmm/cli/cli.h"
#include "vmm/client/rundir.h"

/* Before the options are read: what they may change. */
void friendly_begin(Cli *cli);
/* Before the machine is made, in the process that will run it: images, network; with -run-dir on
 * the machine's folder in the run directory, for which rundir_leave() is due at the end. *dir is
 * NULL without one. */
bool friendly_prepare(Cli *cli, RunDir **dir, GError **error);
/* One line: what runs, and how it is left and reached. */
void friendly_announce(const Cli *cli, const RunDir *dir);

/* By its name alone, which no guest can change: the format ("qcow2", "raw"), NULL: to be probed. */
const char *friendly_format(const char *file);
/* "debian" of "/images/debian.qcow2": a name for the machine. The caller frees. */
char *friendly_name(const char *file);

#endif
