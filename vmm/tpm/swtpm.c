/* SPDX-License-Identifier: GPL-2.0-or-later */
/* swtpm's protocol: see the header. */
#include "vmm/tpm/swtpm.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "vmm/util/bytes.h"

enum {
    CMD_GET_CAPABILITY = 1,
    CMD_INIT = 2,
    CMD_SHUTDOWN = 3,
    CMD_GET_TPMESTABLISHED = 4,
    CMD_SET_LOCALITY = 5,
    CMD_CANCEL_TPM_CMD = 9,
    CMD_RESET_TPMESTABLISHED = 11,
    CMD_GET_STATEBLOB = 12,
    CMD_SET_STATEBLOB = 13,
    CMD_STOP = 14,
    CMD_SET_DATAFD = 16,
    CMD_SET_BUFFERSIZE = 17,
};

static const char *const command_names[] = {
    [CMD_GET_CAPABILITY] = "CMD_GET_CAPABILITY",
    [CMD_INIT] = "CMD_INIT",
    [CMD_SHUTDOWN] = "CMD_SHUTDOWN",
    [CMD_GET_TPMESTABLISHED] = "CMD_GET_TPMESTABLISHED",
    [CMD_SET_LOCALITY] = "CMD_SET_LOCALITY",
    [CMD_CANCEL_TPM_CMD] = "CMD_CANCEL_TPM_CMD",
    [CMD_RESET_TPMESTABLISHED] = "CMD_RESET_TPMESTABLISHED",
    [CMD_GET_STATEBLOB] = "CMD_GET_STATEBLOB",
    [CMD_SET_STATEBLOB] = "CMD_SET_STATEBLOB",
    [CMD_STOP] = "CMD_STOP",
    [CMD_SET_DATAFD] = "CMD_SET_DATAFD",
    [CMD_SET_BUFFERSIZE] = "CMD_SET_BUFFERSIZE",
};

#define INIT_DELETE_VOLATILE 1
#define RESULT_NON_FATAL     0x800 /* there is no such state */
#define STATE_FLAGS_KNOWN    0x3   /* decrypted, encrypted */
#define REQUEST_MAX          16
#define TAG_TPM2             0x8001
#define MS                   1000

/* ---- Bytes, within a time ---- */

static int64_t deadline_after(int ms)
{
    return g_get_monotonic_time() + (int64_t)ms * MS;
}

static bool wait_ready(int fd, short events, int64_t deadline, GError **error)
{
    for (;;) {
        int64_t left = (deadline - g_get_monotonic_time() + MS - 1) / MS;
        struct pollfd pfd = { .fd = fd, .events = events };
        int n = left > 0 ? poll(&pfd, 1, (int)left) : 0;
        if (n > 0) {
            return true;
        }
        if (n == 0) {
            return error_set(error, "swtpm does not answer");
        }
        if (errno != EINTR) {
            return error_set_errno(error, errno, "poll");
        }
    }
}

/* pass: a descriptor that goes with the first byte, or -1. */
static bool send_all(int fd, const void *data, size_t len, int pass, int64_t deadline,
                     GError **error)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    const uint8_t *at = data;
    while (len) {
        struct iovec iov = { .iov_base = (void *)at, .iov_len = len };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
        if (pass >= 0) {
            msg.msg_control = control.bytes;
            msg.msg_controllen = sizeof(control.bytes);
            struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
            cmsg->cmsg_level = SOL_SOCKET;
            cmsg->cmsg_type = SCM_RIGHTS;
            cmsg->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(cmsg), &pass, sizeof(int));
        }
        ssize_t n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            at += n;
            len -= (size_t)n;
            pass = -1;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return error_set_errno(error, errno, "cannot write to swtpm");
        } else if (!wait_ready(fd, POLLOUT, deadline, error)) {
            return false;
        }
    }
    return true;
}

/* The number of bytes that were there, 0: none yet, -1: error. */
static ssize_t receive_some(int fd, void *data, size_t len, GError **error)
{
    ssize_t n = recv(fd, data, len, MSG_DONTWAIT);
    if (n > 0) {
        return n;
    }
    if (n == 0) {
        error_set(error, "swtpm has closed the connection");
        return -1;
    }
    if (errno == EAGAIN || errno == EINTR) {
        return 0;
    }
    error_set_errno(error, errno, "cannot read from swtpm");
    return -1;
}

static bool receive_all(int fd, void *data, size_t len, int64_t deadline, GError **error)
{
    uint8_t *at = data;
    while (len) {
        ssize_t n = receive_some(fd, at, len, error);
        if (n < 0 || (n == 0 && !wait_ready(fd, POLLIN, deadline, error))) {
            return false;
        }
        at += n;
        len -= (size_t)n;
    }
    return true;
}

/* ---- Control commands ---- */

/* A command whose answer is `len` bytes. */
static bool exchange(Swtpm *tpm, uint32_t command, const void *request, size_t request_len,
                     int pass, void *answer, size_t len, GError **error)
{
    uint8_t message[4 + REQUEST_MAX];
    int64_t deadline = deadline_after(tpm->timeout_ms);
    g_assert(request_len <= REQUEST_MAX);
    store_be32(message, command);
    if (request_len) {
        memcpy(message + 4, request, request_len);
    }
    if (!send_all(tpm->control, message, 4 + request_len, pass, deadline, error) ||
        !receive_all(tpm->control, answer, len, deadline, error)) {
        g_prefix_error(error, "%s: ", command_names[command]);
        return false;
    }
    return true;
}

static bool check_result(Swtpm *tpm, uint32_t command, uint32_t result, GError **error)
{
    if (result) {
        tpm->refused = true;
        error_set(error, "%s: swtpm refuses with result 0x%x", command_names[command], result);
    }
    return result == 0;
}

/* The same for one whose answer begins with a result, which is to be 0. */
static bool call(Swtpm *tpm, uint32_t command, const void *request, size_t request_len, int pass,
                 void *answer, size_t len, GError **error)
{
    if (!exchange(tpm, command, request, request_len, pass, answer, len, error)) {
        return false;
    }
    return check_result(tpm, command, load_be32(answer), error);
}

static bool call_number(Swtpm *tpm, uint32_t command, uint32_t value, GError **error)
{
    uint8_t request[4], answer[4];
    store_be32(request, value);
    return call(tpm, command, request, sizeof(request), -1, answer, sizeof(answer), error);
}

static bool call_plain(Swtpm *tpm, uint32_t command, GError **error)
{
    uint8_t answer[4];
    return call(tpm, command, NULL, 0, -1, answer, sizeof(answer), error);
}

static bool call_locality(Swtpm *tpm, uint32_t command, uint8_t locality, GError **error)
{
    uint8_t request[4] = { locality }, answer[4];
    return call(tpm, command, request, sizeof(request), -1, answer, sizeof(answer), error);
}

bool swtpm_capabilities(Swtpm *tpm, uint32_t *caps, GError **error)
{
    uint8_t answer[8];
    if (!call(tpm, CMD_GET_CAPABILITY, NULL, 0, -1, answer, sizeof(answer), error)) {
        return false;
    }
    *caps = load_be32(answer + 4);
    return true;
}

bool swtpm_open_data(Swtpm *tpm, GError **error)
{
    int fds[2];
    uint8_t answer[4];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        return error_set_errno(error, errno, "socketpair");
    }
    bool ok = call(tpm, CMD_SET_DATAFD, NULL, 0, fds[1], answer, sizeof(answer), error);
    close(fds[1]);
    if (ok) {
        tpm->data = fds[0];
    } else {
        close(fds[0]);
    }
    return ok;
}

bool swtpm_stop(Swtpm *tpm, GError **error)
{
    return call_plain(tpm, CMD_STOP, error);
}

bool swtpm_buffer_size(Swtpm *tpm, uint32_t wanted, uint32_t *size, GError **error)
{
    uint8_t request[4], answer[16];
    store_be32(request, wanted);
    if (!call(tpm, CMD_SET_BUFFERSIZE, request, sizeof(request), -1, answer, sizeof(answer),
              error)) {
        return false;
    }
    *size = load_be32(answer + 4);
    if (*size < TPM_HEADER_SIZE || (wanted && *size > wanted)) {
        return error_set(error,
                         "%s: swtpm has buffers of %u bytes (it can %u to %u) where %u were asked "
                         "for",
                         command_names[CMD_SET_BUFFERSIZE], *size, load_be32(answer + 8),
                         load_be32(answer + 12), wanted);
    }
    return true;
}

bool swtpm_init(Swtpm *tpm, bool delete_volatile, GError **error)
{
    return call_number(tpm, CMD_INIT, delete_volatile ? INIT_DELETE_VOLATILE : 0, error);
}

bool swtpm_established(Swtpm *tpm, bool *established, GError **error)
{
    uint8_t answer[8];
    if (!call(tpm, CMD_GET_TPMESTABLISHED, NULL, 0, -1, answer, sizeof(answer), error)) {
        return false;
    }
    *established = answer[4] != 0;
    return true;
}

bool swtpm_reset_established(Swtpm *tpm, uint8_t locality, GError **error)
{
    return call_locality(tpm, CMD_RESET_TPMESTABLISHED, locality, error);
}

bool swtpm_set_locality(Swtpm *tpm, uint8_t locality, GError **error)
{
    return call_locality(tpm, CMD_SET_LOCALITY, locality, error);
}

bool swtpm_cancel(Swtpm *tpm, GError **error)
{
    return call_plain(tpm, CMD_CANCEL_TPM_CMD, error);
}

bool swtpm_shutdown(Swtpm *tpm, GError **error)
{
    return call_plain(tpm, CMD_SHUTDOWN, error);
}

/* ---- State ---- */

bool swtpm_get_state(Swtpm *tpm, unsigned blob, TpmBlob *out, GError **error)
{
    uint8_t request[12] = { 0 }, answer[16];
    store_be32(request + 4, blob + 1);
    if (!exchange(tpm, CMD_GET_STATEBLOB, request, sizeof(request), -1, answer, sizeof(answer),
                  error)) {
        return false;
    }
    uint32_t result = load_be32(answer);
    if (!(result & RESULT_NON_FATAL) && !check_result(tpm, CMD_GET_STATEBLOB, result, error)) {
        return false;
    }
    uint32_t flags = load_be32(answer + 4), total = load_be32(answer + 8);
    uint32_t len = load_be32(answer + 12);
    if (total > TPM_STATE_MAX || len != total) {
        return error_set(error, "%s: swtpm sends %u of %u bytes; %u at most are taken",
                         command_names[CMD_GET_STATEBLOB], len, total, TPM_STATE_MAX);
    }
    g_autofree uint8_t *data = g_malloc(total + 1);
    if (!receive_all(tpm->control, data, total, deadline_after(tpm->timeout_ms), error)) {
        g_prefix_error(error, "%s: ", command_names[CMD_GET_STATEBLOB]);
        return false;
    }
    *out = (TpmBlob){ g_steal_pointer(&data), total, flags & STATE_FLAGS_KNOWN };
    return true;
}

bool swtpm_set_state(Swtpm *tpm, unsigned blob, const TpmBlob *in, GError **error)
{
    uint8_t message[16], answer[4];
    int64_t deadline = deadline_after(tpm->timeout_ms);
    store_be32(message, CMD_SET_STATEBLOB);
    store_be32(message + 4, in->flags);
    store_be32(message + 8, blob + 1);
    store_be32(message + 12, in->len);
    if (!send_all(tpm->control, message, sizeof(message), -1, deadline, error) ||
        !send_all(tpm->control, in->data, in->len, -1, deadline, error) ||
        !receive_all(tpm->control, answer, sizeof(answer), deadline, error)) {
        g_prefix_error(error, "%s: ", command_names[CMD_SET_STATEBLOB]);
        return false;
    }
    return check_result(tpm, CMD_SET_STATEBLOB, load_be32(answer), error);
}

/* ---- The data channel ---- */

bool swtpm_send(Swtpm *tpm, const uint8_t *command, size_t len, GError **error)
{
    uint8_t stray;
    ssize_t n = recv(tpm->data, &stray, 1, MSG_DONTWAIT | MSG_PEEK);
    if (n > 0) {
        return error_set(error, "swtpm has sent more than its answer");
    }
    return send_all(tpm->data, command, len, -1, deadline_after(tpm->timeout_ms), error);
}

bool swtpm_receive(Swtpm *tpm, uint8_t *answer, size_t size, size_t *len, bool *complete,
                   GError **error)
{
    size_t want = TPM_HEADER_SIZE;
    for (;;) {
        if (*len >= TPM_HEADER_SIZE) {
            want = load_be32(answer + TPM_SIZE_OFFSET);
            if (want < TPM_HEADER_SIZE || want > size) {
                return error_set(error,
                                 "swtpm sends an answer of %zu bytes; %d to %zu are possible", want,
                                 TPM_HEADER_SIZE, size);
            }
        }
        *complete = *len >= TPM_HEADER_SIZE && *len == want;
        if (*complete) {
            return true;
        }
        ssize_t n = receive_some(tpm->data, answer + *len, want - *len, error);
        if (n <= 0) {
            return n == 0;
        }
        *len += (size_t)n;
    }
}

bool swtpm_check_version(Swtpm *tpm, GError **error)
{
    /* TPM2_GetCapability of TPM_PT_FAMILY_INDICATOR. */
    static const uint8_t probe[] = { 0x80, 0x01, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0,
                                     0,    0,    6, 0, 0, 1,  0, 0, 0, 0,    1 };
    uint8_t answer[TPM_BUFFER_MAX];
    size_t len = 0;
    bool complete = false;
    int64_t deadline = deadline_after(tpm->timeout_ms);
    if (!swtpm_send(tpm, probe, sizeof(probe), error)) {
        return false;
    }
    while (!complete) {
        if (!wait_ready(tpm->data, POLLIN, deadline, error) ||
            !swtpm_receive(tpm, answer, sizeof(answer), &len, &complete, error)) {
            return false;
        }
    }
    return load_be16(answer) == TAG_TPM2 ||
           error_set(error, "it is a TPM 1.2 (tag 0x%04x); start swtpm with --tpm2",
                     load_be16(answer));
}
