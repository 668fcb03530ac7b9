/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's TPM 2.0 (TCG PC Client Platform TPM Profile for TPM 2.0, "PTP"): what its two
 * interfaces, tpm-tis and tpm-crb, share. Main thread, where nothing else is said.
 */
#ifndef HW_TPM_TPM_H
#define HW_TPM_TPM_H

#include "vmm/device/device.h"
#include "vmm/machine/machine.h"
#include "vmm/tpm/tpm.h"

#define TPM_BASE          0xfed40000U
#define TPM_LOCALITY_SIZE 0x1000U
#define TPM_TIS_SIZE      (TPM_LOCALITIES * TPM_LOCALITY_SIZE)
#define TPM_CRB_CONTROL   0x40 /* offset of the control area */
#define TPM_LOG_FILE      "etc/tpm/log"
#define TPM_LOG_SIZE      (64 * 1024)

/* The device's half of a back end, a member of its struct. */
typedef struct TpmPort {
    Device *dev;
    char *tpmdev; /* property */
    bool ppi;     /* property */
    TpmBackend *backend;
    uint32_t buffer_size;
    uint32_t token; /* of the command that is under way; under the device's lock */
    bool has_blobs;
    TpmBlob blobs[TPM_STATE_BLOBS]; /* swtpm's state while it is saved or loaded */
} TpmPort;

extern const Property tpm_port_props[];
extern const StateSection tpm_port_state;

/* Finds the back end; the one TPM of the machine. buffer_size: see tpm_backend_attach(). */
bool tpm_port_realize(TpmPort *port, Device *dev, uint32_t buffer_size, TpmAnswered *answered,
                      GError **error);
void tpm_port_unrealize(TpmPort *port);
void tpm_port_reset(TpmPort *port); /* the device's lock held */
void tpm_port_quiesce(TpmPort *port);
/* Hands the command at the beginning of `buffer` over, whose length it says itself; false when it
 * is too short or too long for one. The device's lock held; any thread. */
bool tpm_port_submit(TpmPort *port, unsigned locality, const uint8_t *buffer);
/* The length of a command or an answer as its header says, at most the buffer's. */
uint32_t tpm_port_length(const TpmPort *port, const uint8_t *buffer);

/* The machine's TPM, for its tables; NULL: it has none. */
Device *tpm_find(Machine *machine);
bool tpm_is_crb(const Device *dev);

#endif
