/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of the network back ends "tap" and "bridge". */
#include "net/tap.h"

#include <net/if.h>
#include <string.h>
#include <unistd.h>
#include "vmm/util/passed_fds.h"

#define DEFAULT_SCRIPT     "/etc/qemu-ifup"
#define DEFAULT_DOWNSCRIPT "/etc/qemu-ifdown"
#define DEFAULT_HELPER     "/usr/lib/qemu/qemu-bridge-helper"
#define DEFAULT_BRIDGE     "br0"

const char *const tap_options[] = {
    "ifname", "fd",    "fds",      "script",  "downscript", "br",         "helper",  "queues",
    "sndbuf", "vhost", "vnet_hdr", "vhostfd", "vhostfds",   "vhostforce", "poll-us", NULL,
};
const char *const bridge_options[] = { "br", "helper", NULL };

/* A descriptor of /dev/vhost-net: not used, but closed, since it was handed over. */
static bool close_vhost_fd(const char *text, GError **error)
{
    bool named;
    int fd = passed_fd_param(text, &named, error);
    if (fd > STDERR_FILENO) {
        close(fd);
    }
    return fd >= 0;
}

/* vhost=on asks for the kernel's own data path where it is to be had, and libvirt always does;
 * vhostforce=on does with nothing else. */
static bool do_without_vhost(Opts *options, GError **error)
{
    const char *fd = opts_get(options, "vhostfd"), *fds = opts_get(options, "vhostfds");
    bool vhost = false, force = false;
    if (!opts_get_bool(options, "vhost", &vhost, error) ||
        !opts_get_bool(options, "vhostforce", &force, error)) {
        return false;
    }
    if (force || opts_has(options, "poll-us")) {
        return error_set(error,
                         "%s needs the kernel's vhost-net, which Vireo does not use: its own "
                         "queues run in the I/O thread",
                         force ? "vhostforce=on" : "poll-us");
    }
    g_auto(GStrv) list = g_strsplit(fds ? fds : fd ? fd : "", ":", -1);
    for (char **text = list; *text; text++) {
        if (!close_vhost_fd(*text, error)) {
            g_prefix_error(error, "vhostfd: ");
            return false;
        }
    }
    if (vhost || fd || fds) {
        report_warning("vhost=on: the tap's queues run in the I/O thread, not in the kernel");
    }
    return true;
}

static void add_queue(TapBackend *t, int fd)
{
    TapQueue *q = &t->taps[t->count++];
    *q = (TapQueue){ .tap = t, .fd = fd };
}

static bool open_by_name(TapBackend *t, Opts *options, unsigned queues, GError **error)
{
    const char *ifname = opts_get(options, "ifname");
    bool vnet_hdr = true;
    bool required = opts_has(options, "vnet_hdr");
    if (!opts_get_bool(options, "vnet_hdr", &vnet_hdr, error)) {
        return false;
    }
    if (ifname && strlen(ifname) >= IFNAMSIZ) {
        return error_set(error, "ifname=%s is too long: at most %d bytes", ifname, IFNAMSIZ - 1);
    }
    char name[IFNAMSIZ] = "";
    g_strlcpy(name, ifname ? ifname : "", sizeof(name));
    t->vnet_hdr = vnet_hdr;
    for (unsigned i = 0; i < queues; i++) {
        int fd = tap_open_device(name, sizeof(name), &t->vnet_hdr, required && vnet_hdr, queues > 1,
                                 error);
        if (fd < 0) {
            return false;
        }
        add_queue(t, fd);
    }
    t->ifname = g_strdup(name);
    return true;
}

/* Without script= QEMU's default runs where it is installed. */
static bool run_scripts(TapBackend *t, Opts *options, GError **error)
{
    const char *script = opts_get(options, "script");
    const char *down = opts_get(options, "downscript");
    if (!script && access(DEFAULT_SCRIPT, X_OK) == 0) {
        script = DEFAULT_SCRIPT;
    }
    if (!down && access(DEFAULT_DOWNSCRIPT, X_OK) == 0) {
        down = DEFAULT_DOWNSCRIPT;
    }
    if (script && *script && strcmp(script, "no") && !tap_run_script(script, t->ifname, error)) {
        g_prefix_error(error, "network script: ");
        return false;
    }
    if (down && *down && strcmp(down, "no")) {
        t->downscript = g_strdup(down);
    }
    return true;
}

/* Who calls closes fd when it fails. */
static bool use_fd(TapBackend *t, int fd, bool first, GError **error)
{
    char name[IFNAMSIZ];
    bool vnet_hdr;
    if (!tap_probe_fd(fd, name, sizeof(name), &vnet_hdr, error)) {
        return false;
    }
    if (!first && vnet_hdr != t->vnet_hdr) {
        return error_set(error, "descriptor %d and the first differ in vnet_hdr", fd);
    }
    t->vnet_hdr = vnet_hdr;
    if (first) {
        t->ifname = g_strdup(name);
    }
    add_queue(t, fd);
    return true;
}

/* text: the number of an inherited descriptor or a name of getfd. */
static bool open_by_fd(TapBackend *t, const char *text, bool first, GError **error)
{
    bool named;
    int fd = passed_fd_param(text, &named, error);
    if (fd < 0) {
        return false;
    }
    bool ok = use_fd(t, fd, first, error);
    if (!ok && named) {
        close(fd);
    }
    return ok;
}

static bool open_by_fds(TapBackend *t, char **fds, unsigned count, GError **error)
{
    for (unsigned i = 0; i < count; i++) {
        if (!open_by_fd(t, fds[i], i == 0, error)) {
            return false;
        }
    }
    return true;
}

static bool open_by_helper(TapBackend *t, const char *helper, const char *bridge, GError **error)
{
    int fd =
        tap_run_helper(helper ? helper : DEFAULT_HELPER, bridge ? bridge : DEFAULT_BRIDGE, error);
    if (fd < 0) {
        return false;
    }
    if (!use_fd(t, fd, true, error)) {
        close(fd);
        return false;
    }
    return true;
}

/* The descriptors are open: the rest of what the kernel is told. */
static bool set_up(TapBackend *t, uint64_t sndbuf, GError **error)
{
    net_backend_make_queues(&t->base, t->count);
    t->header_len = t->vnet_hdr ? TAP_HEADER_MIN : 0;
    for (unsigned i = 0; i < t->count; i++) {
        if (!tap_set_sndbuf(t->taps[i].fd, sndbuf, error)) {
            return false;
        }
        if (t->vnet_hdr && !tap_set_header_len(t->taps[i].fd, TAP_HEADER_MIN)) {
            return error_set(error, "the kernel refuses the virtio-net header");
        }
        tap_set_offloads(t->taps[i].fd, false, false, false, false, false);
    }
    t->ufo = t->vnet_hdr && tap_probe_ufo(t->taps[0].fd);
    return true;
}

/* Keys that say something of an interface that is made elsewhere. */
static bool refuse_with_fd(Opts *options, const char *with, GError **error)
{
    static const char *const keys[] = { "ifname", "script", "downscript", "vnet_hdr", "queues" };
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (opts_has(options, keys[i])) {
            return error_set(error, "%s= and %s= exclude each other", keys[i], with);
        }
    }
    return true;
}

bool tap_open(NetBackend *b, Opts *options, GError **error)
{
    TapBackend *t = (TapBackend *)b;
    uint64_t queues = 1, sndbuf = 0;
    const char *fd = opts_get(options, "fd"), *fds = opts_get(options, "fds");
    const char *helper = opts_get(options, "helper"), *bridge = opts_get(options, "br");
    if (!do_without_vhost(options, error) ||
        !opts_get_uint(options, "queues", NET_MAX_QUEUES, &queues, error) ||
        !opts_get_size(options, "sndbuf", &sndbuf, error)) {
        return false;
    }
    if (queues == 0 || !!fd + !!fds + !!helper > 1) {
        return queues ? error_set(error, "fd=, fds= and helper= exclude each other")
                      : error_set(error, "queues=0");
    }
    const char *given = fd ? "fd" : fds ? "fds" : helper ? "helper" : NULL;
    if (given && !refuse_with_fd(options, given, error)) {
        return false;
    }
    g_auto(GStrv) list = fds ? g_strsplit(fds, ":", NET_MAX_QUEUES + 1) : NULL;
    unsigned count = list ? g_strv_length(list) : fd || helper ? 1 : queues;
    if (count > NET_MAX_QUEUES || !count) {
        return error_set(error, "fds= has %u descriptors; 1 to %d are possible", count,
                         NET_MAX_QUEUES);
    }
    t->taps = g_new0(TapQueue, count);
    bool opened = list     ? open_by_fds(t, list, count, error)
                  : fd     ? open_by_fd(t, fd, true, error)
                  : helper ? open_by_helper(t, helper, bridge, error)
                           : open_by_name(t, options, count, error);
    if (opened && !given) {
        if (bridge) {
            return error_set(error, "br=%s is for helper=; -netdev bridge has a default helper",
                             bridge);
        }
        opened = run_scripts(t, options, error);
    }
    return opened && set_up(t, sndbuf, error);
}

bool bridge_open(NetBackend *b, Opts *options, GError **error)
{
    TapBackend *t = (TapBackend *)b;
    t->taps = g_new0(TapQueue, 1);
    return open_by_helper(t, opts_get(options, "helper"), opts_get(options, "br"), error) &&
           set_up(t, 0, error);
}
