/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The test kit: swtpm's part of its protocol, played by a thread, which obeys or does what a plan
 * says. An obedient one answers every command of the TPM's with success.
 */
#ifndef TESTS_DEVICE_FAKE_SWTPM_H
#define TESTS_DEVICE_FAKE_SWTPM_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

typedef struct FakeSwtpm FakeSwtpm;

typedef enum FakeFault {
    FAKE_OBEYS,
    FAKE_REFUSES,    /* a control command: result 9 */
    FAKE_IS_SHORT,   /* half of the answer, then the connection closes */
    FAKE_CLOSES,     /* no answer, the connection closes */
    FAKE_WAITS,      /* a command of the TPM's: answers when it is cancelled */
    FAKE_IS_SILENT,  /* a command of the TPM's: never answers; nothing else either, then */
    FAKE_SAYS_ANSWER /* a command of the TPM's: what the plan has */
} FakeFault;

typedef struct FakePlan {
    uint32_t caps;    /* 0: all */
    uint32_t command; /* the control command that goes wrong */
    FakeFault fault;  /* ... and how */
    FakeFault data_fault;
    const void *answer; /* FAKE_SAYS_ANSWER */
    size_t answer_len;
    uint16_t tag; /* of answers; 0: that of TPM 2.0 */
} FakePlan;

/* Listens at a path of its own. */
FakeSwtpm *fake_swtpm_new(const FakePlan *plan);
const char *fake_swtpm_path(const FakeSwtpm *fake);
/* On one end of a socket pair; the other is for -chardev socket,fd=N. */
FakeSwtpm *fake_swtpm_pair(const FakePlan *plan, int *fd);
unsigned fake_swtpm_commands(FakeSwtpm *fake); /* of the TPM's, so far */
void fake_swtpm_free(FakeSwtpm *fake);         /* ends the thread */

#endif
