/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The test kit: the real swtpm. */
#include "tests/device/tpm-kit.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "vmm/util/bytes.h"

const uint8_t tpm2_startup[TPM2_STARTUP_SIZE] = { 0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0 };
const uint8_t tpm2_get_random[TPM2_GET_RANDOM_SIZE] = {
    0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 16
};
const uint8_t tpm2_get_capability[TPM2_GET_CAPABILITY_SIZE] = { 0x80, 1,    0, 0, 0, 22, 0, 0,
                                                                1,    0x7a, 0, 0, 0, 6,  0, 0,
                                                                1,    0,    0, 0, 0, 1 };

uint32_t tpm2_code(const uint8_t *answer)
{
    return load_be32(answer + 6);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpuint(g_strlcpy(address.sun_path, path, sizeof(address.sun_path)), <,
                     sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

RealSwtpm *real_swtpm_start(void)
{
    g_autofree char *program = g_find_program_in_path("swtpm");
    if (!program) {
        return NULL;
    }
    RealSwtpm *swtpm = g_new0(RealSwtpm, 1);
    swtpm->dir = g_dir_make_tmp("vireo-swtpm-XXXXXX", NULL);
    swtpm->path = g_build_filename(swtpm->dir, "control", NULL);
    int fd = listen_at(swtpm->path); /* made here: it is there when swtpm is not yet */
    g_autofree char *state = g_strdup_printf("dir=%s", swtpm->dir);
    g_autofree char *control = g_strdup_printf("type=unixio,fd=%d", fd);
    char *argv[] = { program,  "socket", "--tpm2",      "--tpmstate", state,
                     "--ctrl", control,  "--terminate", NULL };
    g_assert_true(g_spawn_async(NULL, argv, NULL,
                                G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_LEAVE_DESCRIPTORS_OPEN, NULL,
                                NULL, &swtpm->pid, NULL));
    close(fd);
    return swtpm;
}

void real_swtpm_free(RealSwtpm *swtpm)
{
    g_autoptr(GDir) dir = g_dir_open(swtpm->dir, 0, NULL);
    kill(swtpm->pid, SIGTERM);
    waitpid(swtpm->pid, NULL, 0);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *file = g_build_filename(swtpm->dir, name, NULL);
        g_remove(file);
    }
    g_rmdir(swtpm->dir);
    g_free(swtpm->dir);
    g_free(swtpm->path);
    g_free(swtpm);
}
