/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What swtpm answers, byte by byte: the first byte says which calls are made, the next two how much
 * of the rest is on the control channel; what follows is on the data channel. Both end there.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/tpm/swtpm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX 60000 /* fits into a socket's buffer */

/* One end, from which `len` bytes can be read, then the end. */
static int channel(const uint8_t *data, size_t len, int *peer)
{
    int fds[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    if (len && send(fds[1], data, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        g_assert_not_reached();
    }
    shutdown(fds[1], SHUT_WR);
    *peer = fds[1];
    return fds[0];
}

static void answers(Swtpm *tpm, size_t room)
{
    uint8_t answer[TPM_BUFFER_MAX];
    size_t len = 0;
    bool complete = false;
    while (swtpm_receive(tpm, answer, room, &len, &complete, NULL) && complete) {
        g_assert_cmpuint(len, >=, TPM_HEADER_SIZE);
        g_assert_cmpuint(len, <=, room);
        len = 0;
    }
}

static void state(Swtpm *tpm)
{
    for (unsigned i = 0; i < TPM_STATE_BLOBS; i++) {
        TpmBlob blob = { 0 };
        if (swtpm_get_state(tpm, i, &blob, NULL)) {
            g_assert_cmpuint(blob.len, <=, TPM_STATE_MAX);
            swtpm_set_state(tpm, i, &blob, NULL);
        }
        g_free(blob.data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int peers[2];
    if (size < 3 || size > INPUT_MAX) {
        return 0;
    }
    size_t split = MIN((size_t)(data[1] | data[2] << 8), size - 3);
    Swtpm tpm = { .timeout_ms = 10 };
    tpm.control = channel(data + 3, split, &peers[0]);
    tpm.data = channel(data + 3 + split, size - 3 - split, &peers[1]);
    uint32_t number = 0;
    bool established = false;
    if (data[0] & 1) {
        swtpm_capabilities(&tpm, &number, NULL);
        swtpm_stop(&tpm, NULL);
        swtpm_buffer_size(&tpm, number & 0xffff, &number, NULL);
        swtpm_init(&tpm, true, NULL);
        swtpm_established(&tpm, &established, NULL);
    }
    if (data[0] & 2) {
        state(&tpm);
    }
    if (data[0] & 4) {
        swtpm_set_locality(&tpm, 1, NULL);
        swtpm_cancel(&tpm, NULL);
        swtpm_reset_established(&tpm, 3, NULL);
        swtpm_shutdown(&tpm, NULL);
    }
    if (data[0] & 8) {
        swtpm_check_version(&tpm, NULL);
    } else {
        answers(&tpm, data[0] & 16 ? TPM_HEADER_SIZE : TPM_BUFFER_MAX);
    }
    close(tpm.control);
    close(tpm.data);
    close(peers[0]);
    close(peers[1]);
    return 0;
}
