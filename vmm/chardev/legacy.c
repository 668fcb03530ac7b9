/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The short forms of -serial, -monitor, -qmp and the like, and chardev-add's nested arguments, both
 * turned into -chardev's options.
 */
#include <string.h>
#include "vmm/chardev/internal.h"

/* Splits "HOST:PORT" at its last colon; "[::1]:80" loses its brackets. */
static bool set_host_port(Opts *o, const char *text, const char *host_key, const char *port_key)
{
    const char *colon = strrchr(text, ':');
    if (!colon || !colon[1]) {
        return false;
    }
    size_t len = colon - text;
    bool brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    g_autofree char *host = g_strndup(text + brackets, len - 2 * brackets);
    opts_set(o, host_key, host);
    opts_set(o, port_key, colon + 1);
    return true;
}

/* "ADDRESS,options": the options, and the address by itself. */
static Opts *split_address(const char *text, char **address, GError **error)
{
    const char *comma = strchr(text, ',');
    *address = g_strndup(text, comma ? (size_t)(comma - text) : strlen(text));
    return comma ? opts_parse(comma + 1, NULL, error) : opts_new();
}

static Opts *parse_tcp(const char *text, bool telnet, GError **error)
{
    g_autofree char *address = NULL;
    g_autoptr(Opts) o = split_address(text, &address, error);
    if (!o) {
        return NULL;
    }
    if (!set_host_port(o, address, "host", "port")) {
        error_set(error, "'%s' needs a port: HOST:PORT", address);
        return NULL;
    }
    opts_set(o, "backend", "socket");
    if (telnet) {
        opts_set(o, "telnet", "on");
    }
    return g_steal_pointer(&o);
}

/* "PATH,options", or options with path= among them. */
static Opts *parse_unix(const char *text, GError **error)
{
    g_autoptr(Opts) o = opts_parse(text, "path", error);
    if (o) {
        opts_set(o, "backend", "socket");
    }
    return g_steal_pointer(&o);
}

/* "[HOST]:PORT[@[LOCALHOST]:LOCALPORT]" */
static Opts *parse_udp(const char *text, GError **error)
{
    g_autoptr(Opts) o = opts_new();
    g_auto(GStrv) parts = g_strsplit(text, "@", 2);
    opts_set(o, "backend", "udp");
    if (!parts[0] || !set_host_port(o, parts[0], "host", "port") ||
        (parts[1] && !set_host_port(o, parts[1], "localaddr", "localport"))) {
        error_set(error, "'udp:%s' is not udp:[HOST]:PORT[@[LOCALHOST]:LOCALPORT]", text);
        return NULL;
    }
    return g_steal_pointer(&o);
}

static Opts *backend_with_path(const char *backend, const char *path)
{
    Opts *o = opts_new();
    opts_set(o, "backend", backend);
    if (path) {
        opts_set(o, "path", path);
    }
    return o;
}

/* stdio, pty, null, ringbuf with options behind a comma. */
static Opts *parse_plain(const char *text, GError **error)
{
    Opts *o = opts_parse(text, "backend", error);
    return o;
}

static Opts *parse_legacy(const char *text, GError **error)
{
    static const struct {
        const char *prefix, *backend;
    } paths[] = { { "file:", "file" }, { "pipe:", "pipe" } };
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        if (g_str_has_prefix(text, paths[i].prefix)) {
            return backend_with_path(paths[i].backend, text + strlen(paths[i].prefix));
        }
    }
    if (g_str_has_prefix(text, "/dev/")) {
        return backend_with_path("serial", text);
    }
    if (g_str_has_prefix(text, "tcp:")) {
        return parse_tcp(text + strlen("tcp:"), false, error);
    }
    if (g_str_has_prefix(text, "telnet:")) {
        return parse_tcp(text + strlen("telnet:"), true, error);
    }
    if (g_str_has_prefix(text, "unix:")) {
        return parse_unix(text + strlen("unix:"), error);
    }
    if (g_str_has_prefix(text, "udp:")) {
        return parse_udp(text + strlen("udp:"), error);
    }
    if (g_str_has_prefix(text, "con:")) {
        return backend_with_path("console", NULL);
    }
    if (g_str_has_prefix(text, "vc:")) {
        return backend_with_path("vc", NULL);
    }
    return parse_plain(text, error);
}

Chardev *chardev_new_legacy(const char *text, const char *id, GError **error)
{
    if (!strcmp(text, "none")) {
        return NULL;
    }
    if (g_str_has_prefix(text, "chardev:")) {
        Chardev *found = chardev_find(text + strlen("chardev:"));
        if (!found) {
            error_set(error, "there is no chardev '%s'", text + strlen("chardev:"));
        }
        return found;
    }
    bool mux = g_str_has_prefix(text, "mon:");
    const char *rest = mux ? text + strlen("mon:") : text;
    g_autoptr(Opts) o = parse_legacy(rest, error);
    if (!o) {
        return NULL;
    }
    opts_set(o, "id", id);
    if (mux) {
        opts_set(o, "mux", "on");
        /* The monitor is at hand to quit: Ctrl-C goes to the guest. */
        if (!strcmp(rest, "stdio")) {
            opts_set(o, "signal", "off");
        }
    }
    return chardev_new(o, error);
}

/* ---- chardev-add ---- */

typedef struct Flatten {
    Opts *out;
    const char *type;
} Flatten;

/* The name in -chardev's options of a member of chardev-add's backend.data. */
static const char *flat_key(const char *type, const char *key)
{
    static const struct {
        const char *type, *nested, *flat;
    } renames[] = {
        { "file", "out", "path" },
        { "file", "in", "input-path" },
        { "serial", "device", "path" },
        { "pipe", "device", "path" },
        { "udp", "remote.data.host", "host" },
        { "udp", "remote.data.port", "port" },
        { "udp", "local.data.host", "localaddr" },
        { "udp", "local.data.port", "localport" },
        { "udp", "remote.type", NULL },
        { "udp", "local.type", NULL },
        { "socket", "addr.data.str", "fd" },
        { "socket", "addr.type", NULL },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(renames); i++) {
        if (!strcmp(renames[i].type, type) && !strcmp(renames[i].nested, key)) {
            return renames[i].flat;
        }
    }
    return g_str_has_prefix(key, "addr.data.") ? key + strlen("addr.data.") : key;
}

static void flatten_one(const char *key, const char *value, void *opaque)
{
    Flatten *f = opaque;
    const char *data = "backend.data.";
    if (g_str_has_prefix(key, data)) {
        const char *flat = flat_key(f->type, key + strlen(data));
        if (flat) {
            opts_set(f->out, flat, value);
        }
    } else if (strcmp(key, "backend.type")) {
        opts_set(f->out, key, value);
    }
}

Opts *chardev_flatten_qmp(Opts *options, GError **error)
{
    const char *type = opts_get(options, "backend.type");
    if (!type) {
        return NULL;
    }
    Flatten f = { .out = opts_new(), .type = type };
    opts_foreach_all(options, flatten_one, &f);
    opts_set(f.out, "backend", type);
    if (!strcmp(type, "socket")) {
        /* The schema's defaults, which are not the command line's: a server, and nobody waits. */
        bool server = true;
        if (!opts_has(f.out, "server")) {
            opts_set(f.out, "server", "on");
        } else if (!opts_get_bool(f.out, "server", &server, error)) {
            opts_free(f.out);
            return NULL;
        }
        if (server && !opts_has(f.out, "wait")) {
            opts_set(f.out, "wait", "off");
        }
    }
    return f.out;
}
