/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vireo ssh: becomes ssh to the port of this host that leads to the guest's sshd. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "vmm/client/commands.h"

#define SSH_PROGRAM "ssh"

static bool find_port(const RunEntry *entry, Forward *found, GError **error)
{
    g_autoptr(QmpClient) client = qmp_client_open(entry, CLIENT_TIMEOUT_MS, error);
    g_autoptr(GArray) forwards = client ? facts_forwards(client, error) : NULL;
    if (!forwards) {
        return false;
    }
    const Forward *ssh = facts_ssh(forwards);
    if (!ssh) {
        return error_set(error,
                         "machine '%s' forwards no port to the guest's port 22; 'hostfwd_add "
                         "tcp:127.0.0.1:2222-:22' in its monitor does (Ctrl-a c)",
                         entry->name);
    }
    *found = *ssh;
    return true;
}

/* All of this host's addresses are reached through the loopback. */
static const char *host_of(const Forward *forward)
{
    bool any = strcmp(forward->host, "*") == 0 || strcmp(forward->host, "0.0.0.0") == 0;
    return any ? "127.0.0.1" : forward->host;
}

/* The other end is a process of the same user, found through its own socket, and each guest behind
 * the same port has another key: asking about keys would say nothing and be in the way. */
static void run_ssh(const Forward *forward, const char *user, char **rest, GError **error)
{
    static const char *const options[] = {
        SSH_PROGRAM,
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=ERROR",
    };
    g_autofree char *port = g_strdup_printf("%u", forward->host_port);
    g_autofree char *host =
        g_strdup_printf("%s%s%s", user ? user : "", user ? "@" : "", host_of(forward));
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        g_ptr_array_add(argv, (char *)options[i]);
    }
    g_ptr_array_add(argv, (char *)"-p");
    g_ptr_array_add(argv, port);
    g_ptr_array_add(argv, host);
    for (char **word = rest; word && *word; word++) {
        g_ptr_array_add(argv, *word);
    }
    g_ptr_array_add(argv, NULL);
    signal(SIGPIPE, SIG_DFL);
    execvp(SSH_PROGRAM, (char **)argv->pdata);
    if (errno == ENOENT) {
        error_set(error, "ssh is not installed: apt-get install openssh-client");
    } else {
        error_set_errno(error, errno, "cannot run ssh");
    }
}

int client_run_ssh(const ClientArgs *args, GError **error)
{
    const char *at = strrchr(args->name, '@');
    g_autofree char *user = at ? g_strndup(args->name, at - args->name) : NULL;
    if (user && (!*user || *user == '-')) {
        error_set(error, "'%s': there is no user before the '@'", args->name);
        return 1;
    }
    g_autoptr(RunEntry) entry = rundir_find(at ? at + 1 : args->name, error);
    Forward forward;
    if (entry && find_port(entry, &forward, error)) {
        run_ssh(&forward, user, args->rest, error);
    }
    return 1;
}
