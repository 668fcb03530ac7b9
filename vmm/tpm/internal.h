/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the list of TPM back ends and their one kind. */
#ifndef VMM_TPM_INTERNAL_H
#define VMM_TPM_INTERNAL_H

#include "vmm/chardev/chardev.h"
#include "vmm/tpm/swtpm.h"

struct TpmBackend {
    char *id, *chardev_id;
    const char *model; /* of the device that uses it, NULL: none */
    CharFrontend *frontend;
    uint32_t caps, offered_size; /* swtpm's */
    GThread *thread;
    int wake;         /* eventfd: look at `cancel` */
    gint established; /* atomic */
    gint dead;        /* atomic: never cleared */
    /* Of the device; constant while it is attached. */
    TpmAnswered *answered;
    void *opaque;
    uint32_t buffer_size;
    /* The thread's own; main's while it rests and the lock is held. */
    Swtpm swtpm;
    uint8_t locality;
    /* Under lock. */
    GMutex lock;
    GCond changed;
    bool quit, restart, reset_established, pending; /* to be done */
    bool busy;                                      /* the thread does something */
    bool cancel;                                    /* what it does */
    bool cancel_pending;                            /* ... and what is to be done then */
    uint8_t reset_locality;
    TpmCommand command; /* pending */
};

bool tpm_emulator_start(TpmBackend *backend, GError **error);
void tpm_emulator_end(TpmBackend *backend); /* after start, failed or not */

#endif
