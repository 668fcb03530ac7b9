/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An NBD server (NetworkBlockDevice/nbd, doc/proto.md): fixed newstyle negotiation, simple and
 * structured replies, base:allocation. Clients are served on the server's own event loop; exports
 * and listening are the main thread's. Every byte of a client is hostile: names, options and
 * requests are bounded, a handshake has ten seconds, clients and their memory are counted.
 */
#ifndef BLOCK_NBD_SERVER_H
#define BLOCK_NBD_SERVER_H

#include "block/block.h"
#include "vmm/chardev/address.h"

typedef struct NbdServer NbdServer;
typedef struct NbdExport NbdExport;

typedef struct NbdServerEvents {
    /* The last client that had chosen an export went. Main thread. May be NULL. */
    void (*idle)(void *opaque);
    void *opaque;
} NbdServerEvents;

typedef struct NbdExportOptions {
    const char *id;          /* the export's for the monitor; NULL: its name */
    const char *name;        /* what clients ask for; "" is the default export */
    const char *description; /* may be NULL */
    const char *node;        /* node name or drive id */
    bool writable;
    bool writethrough;     /* every write is on stable storage before its reply */
    bool allocation_depth; /* offer qemu:allocation-depth */
    /* Dirty bitmaps, offered as qemu:dirty-bitmap:NAME: of the node, or of what it stands on; they
     * are busy meanwhile. */
    struct BlockBitmap **bitmaps;
    unsigned bitmap_count;
} NbdExportOptions;

/* max_connections: 0: any number. events may be NULL. All functions: main thread. */
NbdServer *nbd_server_new(unsigned max_connections, const NbdServerEvents *events, GError **error);
/* Hangs up on everybody, removes all exports. */
void nbd_server_free(NbdServer *server);
bool nbd_server_listen(NbdServer *server, CharAddress *address, GError **error);
/* Takes a listening, non-blocking socket; closes it at the end. */
void nbd_server_listen_fd(NbdServer *server, int fd);
/* Serves a connected, non-blocking stream socket as if it had been accepted. */
void nbd_server_add_client(NbdServer *server, int fd);
unsigned nbd_server_client_count(const NbdServer *server); /* any thread */

#define NBD_MAX_BITMAPS 14 /* of an export */
/* The bitmap of the node, or of what it stands on. NULL: error. */
struct BlockBitmap *nbd_find_bitmap(BlockNode *node, const char *name, GError **error);
NbdExport *nbd_export_add(NbdServer *server, const NbdExportOptions *options, GError **error);
NbdExport *nbd_export_find(NbdServer *server, const char *id);
/* Hangs up on the clients of the export; with !hard it fails while there are any. */
bool nbd_export_remove(NbdExport *nbd_export, bool hard, GError **error);
void nbd_export_foreach(NbdServer *server, void (*fn)(NbdExport *nbd_export, void *opaque),
                        void *opaque);
const char *nbd_export_id(const NbdExport *nbd_export);
const char *nbd_export_node_name(const NbdExport *nbd_export);

#endif
