/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD client's connection: one libnbd handle, driven by a loop of its own, to which all loops
 * hand their requests. When the server goes, requests wait for `reconnect_ns` for it to come back,
 * and fail with -EIO from then on until it does.
 */
#ifndef BLOCK_NBD_CONNECTION_H
#define BLOCK_NBD_CONNECTION_H

#include "block/internal.h"
#include "vmm/chardev/address.h"

typedef struct NbdConnection NbdConnection;

typedef struct NbdConnectionOptions {
    CharAddress address; /* taken over */
    const char *export_name;
    uint64_t reconnect_ns;    /* 0: requests fail as soon as the connection is lost */
    uint64_t open_timeout_ns; /* how long opening tries; 0: once */
} NbdConnectionOptions;

/* What the server offers. */
typedef struct NbdConnectionInfo {
    uint64_t size;
    bool readonly, flush, fua, trim, zero, fast_zero, status;
    uint64_t max_request; /* bytes of a read or write */
} NbdConnectionInfo;

/* Connects and waits for the outcome. Main thread. */
NbdConnection *nbd_connection_open(const NbdConnectionOptions *options, NbdConnectionInfo *info,
                                   GError **error);
/* No request is under way. Main thread. */
void nbd_connection_close(NbdConnection *connection);
/* Completes on request->loop. Any loop's thread. */
void nbd_connection_submit(NbdConnection *connection, BlockRequest *request);

#endif
