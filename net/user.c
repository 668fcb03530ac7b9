/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network back end "user" (libslirp): its options. */
#include "net/user.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_LIST 64 /* repetitions of one key */

/* Host parts of the defaults, in the network. */
enum { HOST_GATEWAY = 0x0202, HOST_DNS = 0x0203, HOST_DHCP = 0x020f };
#define DEFAULT_NET     0x0a000200 /* 10.0.2.0/24 */
#define DEFAULT_MASK    0xffffff00
#define SMALLEST_MASK   0xfffffff0
#define HOSTNAME_MAX    33
#define PREFIX6_DEFAULT "fec0::"

typedef struct UserOptions {
    SlirpConfig config;
    GPtrArray *dnssearch; /* char *, NULL-terminated at the end */
    GPtrArray *hostfwd, *guestfwd;
} UserOptions;

static void collect_value(const char *value, void *opaque)
{
    GPtrArray *list = opaque;
    if (list->len < MAX_LIST) {
        g_ptr_array_add(list, g_strdup(value));
    }
}

/* "key=a,key=b", ["a", "b"] and QMP's [{"str": "a"}]. */
static GPtrArray *collect(Opts *options, const char *key)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
    opts_foreach(options, key, collect_value, list);
    for (unsigned i = 0; i < MAX_LIST; i++) {
        g_autofree char *name = g_strdup_printf("%s.%u.str", key, i);
        const char *value = opts_get(options, name);
        if (!value) {
            break;
        }
        collect_value(value, list);
    }
    return list;
}

static bool get_ipv4(Opts *options, const char *key, struct in_addr *out, GError **error)
{
    const char *text = opts_get(options, key);
    if (text && inet_pton(AF_INET, text, out) != 1) {
        return error_set(error, "%s=%s is not an IPv4 address", key, text);
    }
    return true;
}

static bool get_ipv6(Opts *options, const char *key, struct in6_addr *out, GError **error)
{
    const char *text = opts_get(options, key);
    if (text && inet_pton(AF_INET6, text, out) != 1) {
        return error_set(error, "%s=%s is not an IPv6 address", key, text);
    }
    return true;
}

static uint32_t class_mask(uint32_t net)
{
    return !(net & 0x80000000)   ? 0xff000000
           : !(net & 0x40000000) ? 0xffff0000
           : !(net & 0x20000000) ? 0xffffff00
                                 : 0xf0000000;
}

/* "ADDRESS", "ADDRESS/BITS" or "ADDRESS/MASK". */
static bool parse_network(const char *text, uint32_t *net, uint32_t *mask, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, "/", 2);
    struct in_addr address, given;
    uint64_t bits;
    if (!parts[0] || inet_pton(AF_INET, parts[0], &address) != 1) {
        return error_set(error, "net=%s is not ADDRESS[/BITS]", text);
    }
    *net = ntohl(address.s_addr);
    if (!parts[1]) {
        *mask = class_mask(*net);
    } else if (parse_uint(parts[1], 32, &bits) && bits > 0) {
        *mask = ~0u << (32 - bits);
    } else if (inet_pton(AF_INET, parts[1], &given) == 1) {
        *mask = ntohl(given.s_addr);
    } else {
        return error_set(error, "net=%s has no valid mask after the slash", text);
    }
    if (*mask & (~*mask >> 1)) {
        return error_set(error, "net=%s: the mask has holes", text);
    }
    if (*mask > SMALLEST_MASK) {
        return error_set(error, "net=%s is too small: at most 28 bits", text);
    }
    *net &= *mask;
    return true;
}

static bool check_inside(const char *key, struct in_addr address, uint32_t net, uint32_t mask,
                         GError **error)
{
    uint32_t value = ntohl(address.s_addr);
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address, text, sizeof(text));
    if ((value & mask) != net) {
        return error_set(error, "%s=%s is outside the network", key, text);
    }
    if (value == net || value == (net | ~mask)) {
        return error_set(error, "%s=%s is the network's own or its broadcast address", key, text);
    }
    return true;
}

static bool parse_ipv4(SlirpConfig *c, Opts *options, GError **error)
{
    uint32_t net = DEFAULT_NET, mask = DEFAULT_MASK;
    const char *text = opts_get(options, "net");
    if (text && !parse_network(text, &net, &mask, error)) {
        return false;
    }
    c->vnetwork.s_addr = htonl(net);
    c->vnetmask.s_addr = htonl(mask);
    c->vhost.s_addr = htonl(net | (HOST_GATEWAY & ~mask));
    c->vdhcp_start.s_addr = htonl(net | (HOST_DHCP & ~mask));
    c->vnameserver.s_addr = htonl(net | (HOST_DNS & ~mask));
    if (!get_ipv4(options, "host", &c->vhost, error) ||
        !get_ipv4(options, "dhcpstart", &c->vdhcp_start, error) ||
        !get_ipv4(options, "dns", &c->vnameserver, error) ||
        !check_inside("host", c->vhost, net, mask, error) ||
        !check_inside("dhcpstart", c->vdhcp_start, net, mask, error) ||
        !check_inside("dns", c->vnameserver, net, mask, error)) {
        return false;
    }
    if (c->vhost.s_addr == c->vnameserver.s_addr || c->vhost.s_addr == c->vdhcp_start.s_addr ||
        c->vnameserver.s_addr == c->vdhcp_start.s_addr) {
        return error_set(error, "host=, dns= and dhcpstart= must differ");
    }
    return true;
}

static bool same_prefix(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
    unsigned bytes = bits / 8, rest = bits % 8;
    uint8_t mask = rest ? 0xff << (8 - rest) : 0;
    return !memcmp(a, b, bytes) && (!rest || ((a->s6_addr[bytes] ^ b->s6_addr[bytes]) & mask) == 0);
}

static bool parse_ipv6_net(SlirpConfig *c, const char *text, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, "/", 2);
    uint64_t bits = 64;
    if (!parts[0] || inet_pton(AF_INET6, parts[0], &c->vprefix_addr6) != 1 ||
        (parts[1] && !parse_uint(parts[1], 126, &bits))) {
        return error_set(error, "ipv6-net=%s is not PREFIX[/BITS]", text);
    }
    c->vprefix_len = bits;
    return true;
}

static bool parse_ipv6(SlirpConfig *c, Opts *options, GError **error)
{
    uint64_t bits = 64;
    const char *net = opts_get(options, "ipv6-net");
    inet_pton(AF_INET6, PREFIX6_DEFAULT, &c->vprefix_addr6);
    if (!get_ipv6(options, "ipv6-prefix", &c->vprefix_addr6, error) ||
        !opts_get_uint(options, "ipv6-prefixlen", 126, &bits, error)) {
        return false;
    }
    c->vprefix_len = bits;
    if (net && !parse_ipv6_net(c, net, error)) {
        return false;
    }
    c->vhost6 = c->vnameserver6 = c->vprefix_addr6;
    c->vhost6.s6_addr[15] |= 2;
    c->vnameserver6.s6_addr[15] |= 3;
    if (!get_ipv6(options, "ipv6-host", &c->vhost6, error) ||
        !get_ipv6(options, "ipv6-dns", &c->vnameserver6, error)) {
        return false;
    }
    if (!same_prefix(&c->vhost6, &c->vprefix_addr6, c->vprefix_len) ||
        !same_prefix(&c->vnameserver6, &c->vprefix_addr6, c->vprefix_len)) {
        return error_set(error, "ipv6-host= and ipv6-dns= must be in the IPv6 network");
    }
    return true;
}

/* ipv4=on alone means no IPv6, and the other way round; by default both are on. */
static bool parse_protocols(SlirpConfig *c, Opts *options, GError **error)
{
    bool has4 = opts_has(options, "ipv4"), has6 = opts_has(options, "ipv6");
    c->in_enabled = c->in6_enabled = true;
    if (!opts_get_bool(options, "ipv4", &c->in_enabled, error) ||
        !opts_get_bool(options, "ipv6", &c->in6_enabled, error)) {
        return false;
    }
    if (has4 && !has6 && c->in_enabled) {
        c->in6_enabled = false;
    } else if (has6 && !has4 && c->in6_enabled) {
        c->in_enabled = false;
    }
    if (!c->in_enabled && !c->in6_enabled) {
        return error_set(error, "ipv4=off and ipv6=off leave no protocol");
    }
    return true;
}

static bool bounded(const char *key, const char *value, size_t max, GError **error)
{
    return !value || strlen(value) <= max ||
           error_set(error, "%s= is too long: at most %zu bytes", key, max);
}

static bool parse_names(SlirpConfig *c, Opts *options, GError **error)
{
    struct stat st;
    c->vhostname = opts_get(options, "hostname");
    c->tftp_server_name = opts_get(options, "tftp-server-name");
    c->tftp_path = opts_get(options, "tftp");
    c->bootfile = opts_get(options, "bootfile");
    c->vdomainname = opts_get(options, "domainname");
    if (opts_get(options, "smb") || opts_get(options, "smbserver")) {
        return error_set(error, "QEMU has smb= for user networks, Vireo does not: it would run the "
                                "host's smbd; run one yourself and use guestfwd=");
    }
    /* The bounds are those of DHCP's options and of libslirp's buffers. */
    if (!bounded("hostname", c->vhostname, HOSTNAME_MAX, error) ||
        !bounded("tftp-server-name", c->tftp_server_name, 127, error) ||
        !bounded("bootfile", c->bootfile, 127, error) ||
        !bounded("domainname", c->vdomainname, 255, error)) {
        return false;
    }
    if (c->tftp_path && stat(c->tftp_path, &st) < 0) {
        return error_set_errno(error, errno, "tftp=%s", c->tftp_path);
    }
    if (c->tftp_path && !S_ISDIR(st.st_mode)) {
        return error_set(error, "tftp=%s is not a folder", c->tftp_path);
    }
    return true;
}

static bool parse_all(UserOptions *o, Opts *options, GError **error)
{
    SlirpConfig *c = &o->config;
    bool restricted = false;
    c->version = SLIRP_CONFIG_VERSION_MAX;
    if (!opts_get_bool(options, "restrict", &restricted, error) ||
        !parse_protocols(c, options, error) || !parse_ipv4(c, options, error) ||
        !parse_ipv6(c, options, error) || !parse_names(c, options, error)) {
        return false;
    }
    c->restricted = restricted;
    o->dnssearch = collect(options, "dnssearch");
    o->hostfwd = collect(options, "hostfwd");
    o->guestfwd = collect(options, "guestfwd");
    g_ptr_array_add(o->dnssearch, NULL);
    c->vdnssearch = o->dnssearch->len > 1 ? (const char **)o->dnssearch->pdata : NULL;
    return true;
}

static bool user_make(UserBackend *u, UserOptions *o, GError **error)
{
    user_enter(u);
    u->slirp = slirp_new(&o->config, &user_slirp_callbacks, u);
    user_leave(u);
    if (!u->slirp) {
        return error_set(error, "libslirp refused the options");
    }
    u->net = o->config.vnetwork;
    u->mask = o->config.vnetmask;
    u->host = o->config.vhost;
    u->dns = o->config.vnameserver;
    u->dhcp_start = o->config.vdhcp_start;
    u->restricted = o->config.restricted;
    for (guint i = 0; i < o->hostfwd->len; i++) {
        if (!user_hostfwd_rule(u, g_ptr_array_index(o->hostfwd, i), true, error)) {
            return false;
        }
    }
    for (guint i = 0; i < o->guestfwd->len; i++) {
        if (!user_guestfwd_rule(u, g_ptr_array_index(o->guestfwd, i), error)) {
            return false;
        }
    }
    return true;
}

static bool user_open(NetBackend *b, Opts *options, GError **error)
{
    UserBackend *u = (UserBackend *)b;
    UserOptions o = { 0 };
    net_backend_make_queues(b, 1);
    user_loop_init(u);
    u->forwards = g_ptr_array_new();
    bool made = parse_all(&o, options, error) && user_make(u, &o, error);
    g_clear_pointer(&o.dnssearch, g_ptr_array_unref);
    g_clear_pointer(&o.hostfwd, g_ptr_array_unref);
    g_clear_pointer(&o.guestfwd, g_ptr_array_unref);
    return made;
}

static void user_close(NetBackend *b)
{
    UserBackend *u = (UserBackend *)b;
    user_guestfwd_free_all(u);
    if (u->slirp) {
        user_enter(u);
        slirp_cleanup(u->slirp);
        user_leave(u);
    }
    user_loop_cleanup(u);
    g_ptr_array_unref(u->forwards);
}

static char *user_info(NetBackend *b)
{
    UserBackend *u = (UserBackend *)b;
    char net[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &u->net, net, sizeof(net));
    return g_strdup_printf("net=%s,restrict=%s", net, u->restricted ? "on" : "off");
}

static const char *const user_options[] = {
    "ipv4",        "ipv6",           "net",       "host",      "restrict",
    "hostname",    "dhcpstart",      "dns",       "dnssearch", "domainname",
    "tftp",        "bootfile",       "hostfwd",   "guestfwd",  "tftp-server-name",
    "ipv6-prefix", "ipv6-prefixlen", "ipv6-host", "ipv6-dns",  "ipv6-net",
    NULL,
};

const NetBackendClass net_user_class = {
    .type = "user",
    .desc = "user-mode network: DHCP, DNS, NAT without privileges (hostfwd=, restrict=, ...)",
    .size = sizeof(UserBackend),
    .options = user_options,
    .open = user_open,
    .close = user_close,
    .info = user_info,
    .start = user_start,
    .stop = user_stop,
    .resume = user_resume,
    .send = user_send,
};
