/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Socket addresses of the command line: unix (also abstract) and inet, IPv4 and IPv6. */
#ifndef VMM_CHARDEV_ADDRESS_H
#define VMM_CHARDEV_ADDRESS_H

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "vmm/cli/opts.h"
#include "vmm/error.h"

typedef struct CharAddress {
    char *path; /* unix, or NULL */
    bool abstract, tight;
    char *host, *port; /* inet, or NULL; an empty host is any */
    uint64_t port_to;  /* servers try ports up to this one */
    int family;        /* AF_UNSPEC, AF_INET, AF_INET6 */
    /* A bound unix path that is ours to remove. */
    bool bound;
    dev_t device;
    ino_t inode;
} CharAddress;

/* Reads path, abstract, tight, host, port, to, ipv4, ipv6. Main thread. */
bool char_address_parse(CharAddress *address, Opts *options, GError **error);
void char_address_clear(CharAddress *address); /* removes the bound path, frees */

/* A listening, or a connecting, non-blocking close-on-exec socket; -1 and error. A stale unix
 * socket at the path is replaced; anything else there, symbolic links too, is an error. */
int char_address_listen(CharAddress *address, GError **error);
/* *in_progress: connect(2) goes on, POLLOUT tells; else it is connected. Resolves names (blocks).
 */
int char_address_connect(const CharAddress *address, bool *in_progress, GError **error);

/* "unix:PATH", "127.0.0.1:4444", "[::1]:4444". */
char *char_address_text(const struct sockaddr_storage *address, socklen_t len);
char *char_address_configured(const CharAddress *address); /* as it was asked for */
/* A datagram socket bound to local (may be NULL) and connected to remote. */
int char_address_datagram(const char *host, const char *port, const char *local_host,
                          const char *local_port, int family, GError **error);

#endif
