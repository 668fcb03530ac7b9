/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * swtpm's protocol: a control channel with numbered commands and a data channel with the TPM's own
 * (swtpm: man swtpm_ioctls, tpm_ioctl.h). Numbers are big-endian. Everything that comes back is
 * hostile; every call is bounded in time. One thread at a time.
 */
#ifndef VMM_TPM_SWTPM_H
#define VMM_TPM_SWTPM_H

#include "vmm/error.h"
#include "vmm/tpm/tpm.h"

typedef struct Swtpm {
    int control, data; /* -1: none. Non-blocking or not: calls do not block on them */
    int timeout_ms;    /* of a control command */
    bool refused;      /* set when swtpm answered, with a result that is not 0 */
} Swtpm;

enum { /* what swtpm can */
       SWTPM_CAN_INIT = 1 << 0,
       SWTPM_CAN_SHUTDOWN = 1 << 1,
       SWTPM_CAN_ESTABLISHED = 1 << 2,
       SWTPM_CAN_LOCALITY = 1 << 3,
       SWTPM_CAN_CANCEL = 1 << 5,
       SWTPM_CAN_RESET_ESTABLISHED = 1 << 7,
       SWTPM_CAN_GET_STATE = 1 << 8,
       SWTPM_CAN_SET_STATE = 1 << 9,
       SWTPM_CAN_STOP = 1 << 10,
       SWTPM_CAN_DATA_FD = 1 << 12,
       SWTPM_CAN_BUFFER_SIZE = 1 << 13,
};

bool swtpm_capabilities(Swtpm *tpm, uint32_t *caps, GError **error);
/* Makes the data channel. */
bool swtpm_open_data(Swtpm *tpm, GError **error);
bool swtpm_stop(Swtpm *tpm, GError **error);
/* wanted 0: only asks. */
bool swtpm_buffer_size(Swtpm *tpm, uint32_t wanted, uint32_t *size, GError **error);
bool swtpm_init(Swtpm *tpm, bool delete_volatile, GError **error);
bool swtpm_established(Swtpm *tpm, bool *established, GError **error);
bool swtpm_reset_established(Swtpm *tpm, uint8_t locality, GError **error);
bool swtpm_set_locality(Swtpm *tpm, uint8_t locality, GError **error);
bool swtpm_cancel(Swtpm *tpm, GError **error);
bool swtpm_shutdown(Swtpm *tpm, GError **error);
/* Blob 0 to TPM_STATE_BLOBS - 1; *out is the caller's to free. */
bool swtpm_get_state(Swtpm *tpm, unsigned blob, TpmBlob *out, GError **error);
bool swtpm_set_state(Swtpm *tpm, unsigned blob, const TpmBlob *in, GError **error);

/* ---- The data channel ---- */
bool swtpm_send(Swtpm *tpm, const uint8_t *command, size_t len, GError **error);
/* Reads what there is of an answer into `answer` (of size bytes), of which *len are there already.
 * False and error when it is none. *complete: the answer is whole. Does not wait. */
bool swtpm_receive(Swtpm *tpm, uint8_t *answer, size_t size, size_t *len, bool *complete,
                   GError **error);
/* A version of the TPM by the tag with which it answers before it is initialized. */
bool swtpm_check_version(Swtpm *tpm, GError **error);

#endif
