/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The test kit: a swtpm that need not obey. */
#include "tests/device/fake-swtpm.h"

#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "vmm/util/bytes.h"

enum {
    CMD_GET_CAPABILITY = 1,
    CMD_GET_TPMESTABLISHED = 4,
    CMD_CANCEL_TPM_CMD = 9,
    CMD_GET_STATEBLOB = 12,
    CMD_SET_STATEBLOB = 13,
    CMD_SET_DATAFD = 16,
    CMD_SET_BUFFERSIZE = 17,
};
#define ALL_CAPS    0x7fff
#define MESSAGE_MAX 4096
#define BLOB        "blob"
#define TAG_TPM2    0x8001

struct FakeSwtpm {
    FakePlan plan;
    char *dir, *path;
    int listen_fd, control, data, wake;
    GThread *thread;
    gint commands; /* atomic */
    gint deaf;     /* of the thread */
    uint64_t skip; /* bytes of state still to come */
};

static void close_all(FakeSwtpm *fake)
{
    int *fds[] = { &fake->control, &fake->data };
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (*fds[i] >= 0) {
            close(*fds[i]);
            *fds[i] = -1;
        }
    }
}

static void say(int fd, const void *data, size_t len)
{
    ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
    (void)n; /* the other side may be gone */
}

/* ---- The TPM's commands ---- */

static void answer_success(FakeSwtpm *fake)
{
    uint8_t answer[10] = { 0 };
    store_be16(answer, fake->plan.tag ? fake->plan.tag : TAG_TPM2);
    store_be32(answer + 2, sizeof(answer));
    say(fake->data, answer, sizeof(answer));
}

static void data_ready(FakeSwtpm *fake)
{
    uint8_t command[MESSAGE_MAX];
    ssize_t n = recv(fake->data, command, sizeof(command), 0);
    if (n <= 0) {
        close(fake->data);
        fake->data = -1;
        return;
    }
    /* The first is the question for its version. */
    if (g_atomic_int_add(&fake->commands, 1) == 0) {
        answer_success(fake);
        return;
    }
    switch (fake->plan.data_fault) {
    case FAKE_SAYS_ANSWER:
        say(fake->data, fake->plan.answer, fake->plan.answer_len);
        break;
    case FAKE_IS_SHORT:
        say(fake->data, "\x80\x01\0\0", 4);
        close_all(fake);
        break;
    case FAKE_CLOSES:
        close_all(fake);
        break;
    case FAKE_IS_SILENT:
        fake->deaf = 1;
        break;
    case FAKE_WAITS:
        break;
    default:
        answer_success(fake);
        break;
    }
}

/* ---- Control commands ---- */

static void take_data_fd(FakeSwtpm *fake, struct msghdr *msg)
{
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
    if (cmsg && cmsg->cmsg_type == SCM_RIGHTS) {
        if (fake->data >= 0) {
            close(fake->data);
        }
        memcpy(&fake->data, CMSG_DATA(cmsg), sizeof(int));
    }
}

/* The answer's length; 0: none yet. */
static size_t obey(FakeSwtpm *fake, uint32_t command, const uint8_t *request, size_t len,
                   uint8_t *answer)
{
    memset(answer, 0, 32);
    switch (command) {
    case CMD_GET_CAPABILITY:
        store_be32(answer + 4, fake->plan.caps ? fake->plan.caps : ALL_CAPS);
        return 8;
    case CMD_GET_TPMESTABLISHED:
        return 8;
    case CMD_CANCEL_TPM_CMD:
        if (fake->plan.data_fault == FAKE_WAITS) {
            answer_success(fake);
        }
        return 4;
    case CMD_GET_STATEBLOB:
        store_be32(answer + 8, sizeof(BLOB));
        store_be32(answer + 12, sizeof(BLOB));
        memcpy(answer + 16, BLOB, sizeof(BLOB));
        return 16 + sizeof(BLOB);
    case CMD_SET_STATEBLOB:
        fake->skip = load_be32(request + 12) - MIN(len - 16, load_be32(request + 12));
        return fake->skip ? 0 : 4;
    case CMD_SET_BUFFERSIZE: {
        uint32_t wanted = load_be32(request + 4);
        store_be32(answer + 4, wanted ? wanted : 4096);
        store_be32(answer + 8, 3000);
        store_be32(answer + 12, 4096);
        return 16;
    }
    default:
        return 4;
    }
}

/* As the plan wants it. */
static void control_answer(FakeSwtpm *fake, uint32_t command, uint8_t *answer, size_t answer_len)
{
    if (command != fake->plan.command) {
        say(fake->control, answer, answer_len);
        return;
    }
    switch (fake->plan.fault) {
    case FAKE_REFUSES:
        store_be32(answer, 9);
        say(fake->control, answer, answer_len);
        break;
    case FAKE_IS_SHORT:
        say(fake->control, answer, answer_len / 2);
        close_all(fake);
        break;
    case FAKE_CLOSES:
        close_all(fake);
        break;
    case FAKE_SAYS_ANSWER:
        say(fake->control, fake->plan.answer, fake->plan.answer_len);
        break;
    default:
        say(fake->control, answer, answer_len);
        break;
    }
}

static void control_message(FakeSwtpm *fake, const uint8_t *request, size_t len)
{
    uint8_t answer[64] = { 0 };
    uint32_t command = load_be32(request);
    size_t answer_len = obey(fake, command, request, len, answer);
    if (answer_len) {
        control_answer(fake, command, answer, answer_len);
    }
}

static void control_ready(FakeSwtpm *fake)
{
    uint8_t request[MESSAGE_MAX], done[4] = { 0 };
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = request, .iov_len = sizeof(request) };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof(control.bytes) };
    ssize_t n = recvmsg(fake->control, &msg, MSG_CMSG_CLOEXEC);
    if (n <= 0) {
        close_all(fake);
        return;
    }
    take_data_fd(fake, &msg);
    if (fake->skip) {
        fake->skip -= MIN(fake->skip, (uint64_t)n);
        if (!fake->skip) {
            control_answer(fake, CMD_SET_STATEBLOB, done, sizeof(done));
        }
    } else if (n >= 4) {
        control_message(fake, request, (size_t)n);
    }
}

static void *run(void *opaque)
{
    FakeSwtpm *fake = opaque;
    for (;;) {
        struct pollfd fds[] = {
            { .fd = fake->wake, .events = POLLIN },
            { .fd = fake->control < 0 ? fake->listen_fd : -1, .events = POLLIN },
            { .fd = fake->deaf ? -1 : fake->control, .events = POLLIN },
            { .fd = fake->deaf ? -1 : fake->data, .events = POLLIN },
        };
        poll(fds, G_N_ELEMENTS(fds), -1);
        if (fds[0].revents) {
            return NULL;
        }
        if (fds[1].revents) {
            fake->control = accept(fake->listen_fd, NULL, NULL);
        } else if (fds[2].revents) {
            control_ready(fake);
        } else if (fds[3].revents) {
            data_ready(fake);
        }
    }
}

/* ---- Life ---- */

static FakeSwtpm *fake_new(const FakePlan *plan)
{
    FakeSwtpm *fake = g_new0(FakeSwtpm, 1);
    fake->plan = *plan;
    fake->listen_fd = fake->control = fake->data = -1;
    fake->wake = eventfd(0, EFD_CLOEXEC);
    return fake;
}

FakeSwtpm *fake_swtpm_new(const FakePlan *plan)
{
    FakeSwtpm *fake = fake_new(plan);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    fake->dir = g_dir_make_tmp("vireo-tpm-XXXXXX", NULL);
    fake->path = g_build_filename(fake->dir, "control", NULL);
    g_assert_cmpuint(g_strlcpy(address.sun_path, fake->path, sizeof(address.sun_path)), <,
                     sizeof(address.sun_path));
    fake->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fake->listen_fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fake->listen_fd, 1), ==, 0);
    fake->thread = g_thread_new("fake-swtpm", run, fake);
    return fake;
}

FakeSwtpm *fake_swtpm_pair(const FakePlan *plan, int *fd)
{
    FakeSwtpm *fake = fake_new(plan);
    int fds[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    fake->control = fds[0];
    *fd = fds[1];
    fake->thread = g_thread_new("fake-swtpm", run, fake);
    return fake;
}

const char *fake_swtpm_path(const FakeSwtpm *fake)
{
    return fake->path;
}

unsigned fake_swtpm_commands(FakeSwtpm *fake)
{
    return (unsigned)g_atomic_int_get(&fake->commands);
}

void fake_swtpm_free(FakeSwtpm *fake)
{
    uint64_t one = 1;
    g_assert_cmpint(write(fake->wake, &one, sizeof(one)), ==, sizeof(one));
    g_thread_join(fake->thread);
    close_all(fake);
    if (fake->listen_fd >= 0) {
        close(fake->listen_fd);
        g_remove(fake->path);
        g_rmdir(fake->dir);
    }
    close(fake->wake);
    g_free(fake->path);
    g_free(fake->dir);
    g_free(fake);
}
