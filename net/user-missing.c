/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network back end "user" of a build without libslirp: says so. */
#include "net/internal.h"

static bool missing(GError **error)
{
    return error_set(error, "this build has no user-mode network: it was configured without "
                            "libslirp (libslirp-dev); use tap");
}

static bool user_open(NetBackend *backend, Opts *options, GError **error)
{
    return missing(error);
}

const NetBackendClass net_user_class = {
    .type = "user",
    .desc = "user-mode network (not built in)",
    .size = sizeof(NetBackend),
    .open = user_open,
};

bool net_user_hostfwd_add(NetBackend *backend, const char *rule, GError **error)
{
    return missing(error);
}

bool net_user_hostfwd_remove(NetBackend *backend, const char *rule, GError **error)
{
    return missing(error);
}

char *net_user_connections(NetBackend *backend)
{
    return NULL;
}
