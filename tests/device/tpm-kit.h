/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The test kit: the real swtpm as a child process, and the commands of a TPM 2.0 that tests use. */
#ifndef TESTS_DEVICE_TPM_KIT_H
#define TESTS_DEVICE_TPM_KIT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct RealSwtpm {
    char *dir, *path; /* of its state, of its control socket */
    GPid pid;
} RealSwtpm;

/* NULL when swtpm is not installed. */
RealSwtpm *real_swtpm_start(void);
void real_swtpm_free(RealSwtpm *swtpm); /* it ends, if it has not yet */

#define TPM2_STARTUP_SIZE        12
#define TPM2_GET_RANDOM_SIZE     12
#define TPM2_GET_CAPABILITY_SIZE 22
extern const uint8_t tpm2_startup[TPM2_STARTUP_SIZE];               /* TPM_SU_CLEAR */
extern const uint8_t tpm2_get_random[TPM2_GET_RANDOM_SIZE];         /* 16 bytes */
extern const uint8_t tpm2_get_capability[TPM2_GET_CAPABILITY_SIZE]; /* the family */
uint32_t tpm2_code(const uint8_t *answer);                          /* response code */
#define TPM2_RC_INITIALIZE 0x100
#define TPM2_RC_FAILURE    0x101

#endif
