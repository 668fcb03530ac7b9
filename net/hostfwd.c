/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hostfwd= rules of the user network: ports of the host that lead to the guest; the connections. */
#include <errno.h>
#include <string.h>
#include "net/user.h"

typedef struct HostForward {
    bool udp;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } host, guest;
    socklen_t host_len, guest_len;
    unsigned host_port;
    bool add;
    int result, errnum;
} HostForward;

static void set_port(struct sockaddr *address, unsigned port)
{
    if (address->sa_family == AF_INET6) {
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    }
}

/* "[ADDRESS]:PORT", where an IPv6 address is in brackets. An empty address is any of the family. */
static bool parse_end(char *text, int family, struct sockaddr *out, socklen_t *len, unsigned *port,
                      GError **error)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    uint64_t number;
    char *colon = strrchr(text, ':');
    if (!colon || !parse_uint(colon + 1, 65535, &number)) {
        return error_set(error, "'%s' has no port", text);
    }
    *colon = 0;
    size_t n = strlen(text);
    bool brackets = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    if (brackets) {
        text[n - 1] = 0;
        text++;
    }
    if (brackets || (!*text && family == AF_INET6)) {
        *v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6 };
        *len = sizeof(*v6);
    } else {
        *v4 = (struct sockaddr_in){ .sin_family = AF_INET };
        *len = sizeof(*v4);
    }
    void *address = out->sa_family == AF_INET6 ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr;
    if (*text && inet_pton(out->sa_family, text, address) != 1) {
        return error_set(error, "'%s' is not an %s address", text,
                         out->sa_family == AF_INET6 ? "IPv6" : "IPv4");
    }
    *port = number;
    set_port(out, number);
    return true;
}

static bool parse_rule(HostForward *f, const char *rule, bool with_guest, GError **error)
{
    const char *rest = strchr(rule, ':');
    size_t protocol = rest ? (size_t)(rest - rule) : 0;
    unsigned guest_port;
    if (!rest || (protocol && strncmp(rule, "tcp:", 4) && strncmp(rule, "udp:", 4))) {
        return error_set(error, "it does not begin with tcp: or udp:");
    }
    f->udp = protocol && rule[0] == 'u';
    g_autofree char *ends = g_strdup(rest + 1);
    char *dash = strrchr(ends, '-');
    if (with_guest && !dash) {
        return error_set(error, "it is not [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT");
    }
    if (dash) {
        *dash = 0;
    }
    if (!parse_end(ends, AF_INET, &f->host.any, &f->host_len, &f->host_port, error)) {
        return false;
    }
    if (!with_guest) {
        return true;
    }
    if (!parse_end(dash + 1, f->host.any.sa_family, &f->guest.any, &f->guest_len, &guest_port,
                   error)) {
        return false;
    }
    if (f->guest.any.sa_family != f->host.any.sa_family) {
        return error_set(error, "host and guest must both be IPv4 or both IPv6");
    }
    return guest_port != 0 || error_set(error, "the guest's port is 0");
}

static void hostfwd_do(UserBackend *u, void *opaque)
{
    HostForward *f = opaque;
    int flags = (f->udp ? SLIRP_HOSTFWD_UDP : 0) |
                (f->host.any.sa_family == AF_INET6 ? SLIRP_HOSTFWD_V6ONLY : 0);
    errno = 0;
    if (!f->add) {
        f->result = slirp_remove_hostxfwd(u->slirp, &f->host.any, f->host_len, flags);
    } else if (f->host.any.sa_family == AF_INET) {
        /* This form fills in the guest's address from DHCP's first. */
        f->result = slirp_add_hostfwd(u->slirp, f->udp, f->host.v4.sin_addr, f->host_port,
                                      f->guest.v4.sin_addr, ntohs(f->guest.v4.sin_port));
    } else {
        f->result = slirp_add_hostxfwd(u->slirp, &f->host.any, f->host_len, &f->guest.any,
                                       f->guest_len, flags);
    }
    f->errnum = errno;
}

bool user_hostfwd_rule(UserBackend *u, const char *rule, bool add, GError **error)
{
    HostForward f = { .add = add };
    if (!parse_rule(&f, rule, add, error)) {
        g_prefix_error(error, "hostfwd '%s': ", rule);
        return false;
    }
    user_call(u, hostfwd_do, &f);
    if (f.result >= 0) {
        return true;
    }
    if (!add) {
        return error_set(error, "there is no host forwarding rule '%s'", rule);
    }
    return error_set_errno(error, f.errnum ? f.errnum : EINVAL,
                           "hostfwd '%s': the host's port %u cannot be opened", rule, f.host_port);
}

static UserBackend *user_cast(NetBackend *b, GError **error)
{
    if (b->cls != &net_user_class) {
        error_set(error, "netdev '%s' is not a user network: hostfwd is for those", b->id);
        return NULL;
    }
    return (UserBackend *)b;
}

bool net_user_hostfwd_add(NetBackend *b, const char *rule, GError **error)
{
    UserBackend *u = user_cast(b, error);
    return u && user_hostfwd_rule(u, rule, true, error);
}

bool net_user_hostfwd_remove(NetBackend *b, const char *rule, GError **error)
{
    UserBackend *u = user_cast(b, error);
    return u && user_hostfwd_rule(u, rule, false, error);
}

static void connections_do(UserBackend *u, void *opaque)
{
    char **text = opaque;
    *text = slirp_connection_info(u->slirp);
}

char *net_user_connections(NetBackend *b)
{
    UserBackend *u = user_cast(b, NULL);
    char *text = NULL;
    if (u) {
        user_call(u, connections_do, &text);
    }
    return text;
}
