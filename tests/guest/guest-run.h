/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a VMM with a bare-metal guest, collects what the guest prints, steers the machine by QMP.
 *
 * VIREO names the program (QEMU's binary works too: the command lines are the same), GUESTS the
 * folder with the guest images. Where there is no /dev/kvm the tests are skipped. */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct GuestRun GuestRun;

/* Registers a test that is skipped where no guest can run. */
void guest_test_add(const char *path, void (*run)(void));

/* A new machine: `machine` as for -machine, or NULL for the default q35. */
GuestRun *guest_run_new(const char *machine);

/* The image's kind ("pvh", "mb", "bz" by -kernel; "rom" by -bios, without command line) and the
 * guest's command line. */
void guest_run_boot(GuestRun *run, const char *kind, const char *cmdline);

/* More command line words, split at blanks. */
void guest_run_args(GuestRun *run, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Makes a raw disk of random bytes in the run's own folder; the path is the run's. */
const char *guest_run_disk(GuestRun *run, const char *name, gsize bytes);

/* A path for a file or socket in the run's own folder; the path is the run's. */
const char *guest_run_path(GuestRun *run, const char *name);

void guest_run_start(GuestRun *run);

/* Waits until the guest has printed the text; fails the test if the VMM ends or falls silent. */
void guest_run_expect(GuestRun *run, const char *text);

/* Takes in what the guest prints for at most this long. */
void guest_run_poll(GuestRun *run, int ms);

/* Waits for the end of the VMM; its exit status, or 128 + signal. */
int guest_run_wait(GuestRun *run);

/* All that the guest printed so far; what the VMM wrote to standard error. */
const char *guest_run_output(GuestRun *run);
const char *guest_run_errors(GuestRun *run);

/* Sends a QMP command (a JSON object without arguments is given by its name alone) and returns its
 * reply line; the caller frees it. Needs a run with guest_run_qmp() before the start. */
void guest_run_qmp(GuestRun *run);
char *guest_run_command(GuestRun *run, const char *command);

/* Waits for the event; its line, to be freed. */
char *guest_run_event(GuestRun *run, const char *event);

/* Connects to a Unix socket of the VMM, waiting for it to appear; the descriptor. */
int guest_run_connect(const char *path);

/* Sends the VMM a signal. */
void guest_run_signal(GuestRun *run, int sig);

/* True if the VMM under test is QEMU: for what only Vireo promises. */
bool guest_run_is_qemu(void);

void guest_run_free(GuestRun *run);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestRun, guest_run_free)

/* Starts, waits, and asserts that the guest ended by itself with "PASS"; the output. */
const char *guest_run_pass(GuestRun *run);
