/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo stop: the power button, and waiting for what comes of it. No connection is held meanwhile,
 * so that others can ask the machine. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "vmm/cli/opts.h"
#include "vmm/client/commands.h"

#define OPTION_TIMEOUT  0
#define OPTION_FORCE    1
#define DEFAULT_TIMEOUT 60
#define MAX_TIMEOUT     86400
#define FORCE_WAIT      10 /* seconds for each of the ways to end it */
#define LOOK_US         20000

static bool wait_gone(const RunEntry *entry, uint64_t seconds)
{
    int64_t end = g_get_monotonic_time() + (int64_t)seconds * G_USEC_PER_SEC;
    while (rundir_is_alive(entry)) {
        if (g_get_monotonic_time() >= end) {
            return false;
        }
        g_usleep(LOOK_US);
    }
    return true;
}

static bool run_simple(QmpClient *client, const char *command, GError **error)
{
    json_object *answer = qmp_client_run(client, command, NULL, error);
    json_object_put(answer);
    return answer != NULL;
}

/* A guest that does not run cannot hear the button. */
static bool press_button(const RunEntry *entry, GError **error)
{
    g_autoptr(QmpClient) client = qmp_client_open(entry, CLIENT_TIMEOUT_MS, error);
    g_autofree char *status = client ? facts_status(client, error) : NULL;
    if (!status) {
        return false;
    }
    if (strcmp(status, "running") != 0 && strcmp(status, "suspended") != 0) {
        return error_set(error,
                         "machine '%s' does not run (%s), so its guest cannot shut down; --force "
                         "ends it",
                         entry->name, status);
    }
    return run_simple(client, "system_powerdown", error);
}

/* The process at the other end of the socket, by a descriptor: no other can get the signal. */
static int open_process(const RunEntry *entry)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    int fd =
        client_connect(entry, RUNDIR_QMP, g_get_monotonic_time() + CLIENT_TIMEOUT_MS * 1000, NULL);
    if (fd < 0) {
        return -1;
    }
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0;
    close(fd);
    return known && rundir_is_alive(entry) ? (int)syscall(SYS_pidfd_open, peer.pid, 0) : -1;
}

static bool send_signal(int process, int number)
{
    return syscall(SYS_pidfd_send_signal, process, number, NULL, 0) == 0;
}

/* Asked over QMP, then by SIGTERM: both flush the disks. SIGKILL is what is left. */
static bool end_it(const RunEntry *entry, GError **error)
{
    g_autoptr(QmpClient) client = qmp_client_open(entry, CLIENT_TIMEOUT_MS, NULL);
    if (client && run_simple(client, "quit", NULL) && wait_gone(entry, FORCE_WAIT)) {
        return true;
    }
    int process = open_process(entry);
    if (process < 0) {
        return !rundir_is_alive(entry) ||
               error_set(error, "machine '%s' does not answer, and its process cannot be found",
                         entry->name);
    }
    bool gone = (send_signal(process, SIGTERM) && wait_gone(entry, FORCE_WAIT)) ||
                (send_signal(process, SIGKILL) && wait_gone(entry, FORCE_WAIT)) ||
                !rundir_is_alive(entry);
    close(process);
    return gone || error_set(error, "machine '%s' cannot be ended", entry->name);
}

int client_run_stop(const ClientArgs *args, GError **error)
{
    uint64_t seconds = DEFAULT_TIMEOUT;
    const char *timeout = args->values[OPTION_TIMEOUT];
    if (timeout && !parse_uint(timeout, MAX_TIMEOUT, &seconds)) {
        error_set(error, "--timeout=%s is not a number of seconds, 0 to %d", timeout, MAX_TIMEOUT);
        return 1;
    }
    g_autoptr(RunEntry) entry = rundir_find(args->name, error);
    if (!entry) {
        return 1;
    }
    if (args->values[OPTION_FORCE]) {
        return end_it(entry, error) ? 0 : 1;
    }
    if (!press_button(entry, error)) {
        return 1;
    }
    if (!wait_gone(entry, seconds)) {
        error_set(error,
                  "machine '%s' has not shut down within %" G_GUINT64_FORMAT
                  " s: wait longer (--timeout), or end it at once (--force)",
                  entry->name, seconds);
        return 1;
    }
    return 0;
}
