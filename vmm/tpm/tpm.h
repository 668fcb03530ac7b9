/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TPM back ends (-tpmdev): what a TPM device in the guest hands its commands to. There is one kind,
 * "emulator": the program swtpm behind a unix socket, run by a thread of its own. A device never
 * waits for it; a back end that is dead, silent or talks nonsense is reported once and answers
 * every later command with a failure.
 */
#ifndef VMM_TPM_TPM_H
#define VMM_TPM_TPM_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "vmm/cli/opts.h"

typedef struct TpmBackend TpmBackend;

#define TPM_HEADER_SIZE 10 /* tag, size of the whole, code: big-endian */
#define TPM_SIZE_OFFSET 2
#define TPM_BUFFER_MAX  4096 /* of a command or an answer */
#define TPM_LOCALITIES  5
#define TPM_STATE_BLOBS 3            /* permanent, volatile, suspended */
#define TPM_STATE_MAX   (256 * 1024) /* bytes of one of them */

typedef struct TpmCommand {
    uint32_t token; /* the device's: comes back with the answer */
    uint8_t locality;
    uint32_t len;
    uint8_t data[TPM_BUFFER_MAX];
} TpmCommand;

/* The answer to a command, TPM_HEADER_SIZE to the device's buffer size bytes; a failure is an
 * answer too. After a reset one that was under way still gets its answer. On the back end's thread;
 * may take the device's lock. */
typedef void TpmAnswered(void *opaque, uint32_t token, const uint8_t *answer, size_t len);

/* What swtpm keeps, as the state of the device that uses it. */
typedef struct TpmBlob {
    uint8_t *data; /* owned */
    uint32_t len;
    uint32_t flags; /* swtpm's: encrypted */
} TpmBlob;

/* ---- Making: main thread ---- */
bool tpm_backend_new(Opts *opts, GError **error); /* -tpmdev; asks swtpm what it is, bounded */
void tpm_backends_help(GString *out);
void tpm_backends_free(void);          /* at exit: ends swtpm */
json_object *tpm_backends_query(void); /* query-tpm: those that a device uses */

/* The one device of a back end. buffer_size: of commands and answers, TPM_BUFFER_MAX at most; the
 * result may be less. NULL and error. Main thread. */
TpmBackend *tpm_backend_attach(const char *id, const char *model, uint32_t *buffer_size,
                               TpmAnswered *answered, void *opaque, GError **error);
void tpm_backend_detach(TpmBackend *backend); /* no callback comes afterwards; main thread */

/* ---- Running ---- */
/* Power on or reset: what is under way is cancelled. Returns at once; later commands wait for it.
 * Main thread. */
void tpm_backend_reset(TpmBackend *backend);
/* Hands a command over; it is copied. One at a time (asserted): the device waits for the answer, or
 * was reset. Any thread; the device's lock may be held. */
void tpm_backend_submit(TpmBackend *backend, const TpmCommand *command);
/* Asks for an early end of what is under way; an answer follows. Any thread. */
void tpm_backend_cancel(TpmBackend *backend);
/* The TPM_Established flag as of the last reset or command. Any thread. */
bool tpm_backend_established(const TpmBackend *backend);
void tpm_backend_reset_established(TpmBackend *backend, unsigned locality); /* any thread */

/* Returns when nothing is under way, after a bounded time: what takes too long is cancelled, a back
 * end that does not even heed that is given up. Answers come before it returns. Main thread, no
 * locks held. */
void tpm_backend_quiesce(TpmBackend *backend);
/* Reads and replaces swtpm's state, TPM_STATE_BLOBS of it; quiesced. Main thread; bounded. */
bool tpm_backend_save(TpmBackend *backend, TpmBlob *blobs, GError **error);
bool tpm_backend_load(TpmBackend *backend, const TpmBlob *blobs, GError **error);

/* A failed command's answer (TPM 2.0 part 2: TPM_ST_NO_SESSIONS, TPM_RC_FAILURE). */
extern const uint8_t tpm_failure[TPM_HEADER_SIZE];

#endif
