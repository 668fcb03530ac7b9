/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of NBD disks: nbd://HOST:PORT/EXPORT, nbd+unix:///EXPORT?socket=PATH, nbd:HOST:PORT,
 * nbd:unix:PATH, the latter two with :exportname=EXPORT. */
#include <string.h>
#include "block/internal.h"
#include "block/nbd/proto.h"

bool block_nbd_is_filename(const char *file)
{
    return g_str_has_prefix(file, "nbd:") || g_str_has_prefix(file, "nbd+unix:") ||
           g_str_has_prefix(file, "nbd+tcp:") || g_str_has_prefix(file, "nbds");
}

static void set_inet(Opts *options, const char *host, const char *port)
{
    opts_set(options, "server.type", "inet");
    opts_set(options, "server.host", host);
    opts_set(options, "server.port", port);
}

static void set_unix(Opts *options, const char *path)
{
    opts_set(options, "server.type", "unix");
    opts_set(options, "server.path", path);
}

static bool parse_unix_query(Opts *options, GUri *uri, const char *file, GError **error)
{
    const char *query = g_uri_get_query(uri);
    g_autoptr(GHashTable)
        params = query ? g_uri_parse_params(query, -1, "&", G_URI_PARAMS_NONE, error) : NULL;
    const char *path = params ? g_hash_table_lookup(params, "socket") : NULL;
    if (query && !params) {
        return false;
    }
    if (!path || g_hash_table_size(params) != 1) {
        return error_set(error, "'%s': nbd+unix needs '?socket=PATH', and takes nothing else",
                         file);
    }
    set_unix(options, path);
    return true;
}

static bool parse_uri(Opts *options, const char *file, GError **error)
{
    g_autoptr(GUri) uri = g_uri_parse(file, G_URI_FLAGS_NONE, error);
    if (!uri) {
        g_prefix_error(error, "'%s': ", file);
        return false;
    }
    const char *path = g_uri_get_path(uri), *host = g_uri_get_host(uri);
    bool is_unix = !strcmp(g_uri_get_scheme(uri), "nbd+unix");
    if (*path == '/') {
        path++;
    }
    if (*path) {
        opts_set(options, "export", path);
    }
    if (is_unix) {
        return parse_unix_query(options, uri, file, error);
    }
    if (g_uri_get_query(uri)) {
        return error_set(error, "'%s': nothing may follow '?' here", file);
    }
    if (!host || !*host) {
        return error_set(error, "'%s' names no host", file);
    }
    g_autofree char *port = g_uri_get_port(uri) > 0 ? g_strdup_printf("%d", g_uri_get_port(uri))
                                                    : g_strdup(NBD_DEFAULT_PORT);
    set_inet(options, host, port);
    return true;
}

/* HOST:PORT, [HOST]:PORT */
static bool parse_host_port(Opts *options, char *text, GError **error)
{
    char *end = *text == '[' ? strchr(text, ']') : strrchr(text, ':');
    char *colon = end && *text == '[' ? end + 1 : end;
    if (!colon || *colon != ':' || !colon[1] || end == text) {
        return error_set(error, "'nbd:%s' is not nbd:HOST:PORT or nbd:unix:PATH", text);
    }
    *colon = '\0';
    if (*text == '[') {
        *end = '\0';
        text++;
    }
    set_inet(options, text, colon + 1);
    return true;
}

bool block_nbd_parse_filename(Opts *options, const char *file, GError **error)
{
    opts_set(options, "driver", "nbd");
    if (g_str_has_prefix(file, "nbds")) {
        return error_set(error, "'%s': TLS is not available in this version of Vireo", file);
    }
    if (strstr(file, "://")) {
        return parse_uri(options, file, error);
    }
    g_autofree char *text = g_strdup(file + strlen("nbd:"));
    char *name = strstr(text, ":exportname=");
    if (name) {
        *name = '\0';
        opts_set(options, "export", name + strlen(":exportname="));
    }
    if (g_str_has_prefix(text, "unix:")) {
        set_unix(options, text + strlen("unix:"));
        return true;
    }
    return parse_host_port(options, text, error);
}
