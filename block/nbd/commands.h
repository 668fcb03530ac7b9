/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The inside of the NBD client: connection.c has the connection's life, commands.c the requests on
 * it. All of it on the connection's loop. */
#ifndef BLOCK_NBD_COMMANDS_H
#define BLOCK_NBD_COMMANDS_H

#include "block/nbd/connection.h"
#include "block/nbd/libnbd.h"
#include "vmm/util/bytes.h"

#define NBD_PIECE_MAX (32 * MIB) /* of one read or write */

typedef enum NbdConnectionState {
    NBD_CONNECTION_LOST,
    NBD_CONNECTION_CONNECTING,
    NBD_CONNECTION_HANDSHAKE,
    NBD_CONNECTION_READY,
} NbdConnectionState;

typedef struct NbdCommand NbdCommand;

struct NbdConnection {
    EventLoop *loop;
    CharAddress address;
    char *export_name;
    uint64_t reconnect_ns, open_timeout_ns;
    NbdConnectionState state;
    bool was_open;
    bool failing; /* requests fail at once */
    int64_t open_deadline;
    int64_t retry_ns;
    char *why; /* the last attempt failed */
    struct nbd_handle *handle;
    int fd;
    FdWatch watch;
    Timer retry_timer, deadline_timer, handshake_timer;
    NbdConnectionInfo info;
    /* Opening: the main thread waits. */
    GMutex lock;
    GCond cond;
    bool open_done, opened;
    /* commands.c */
    NbdCommand *waiting, **waiting_tail; /* for the connection */
    NbdCommand *in_flight;
    NbdCommand *free_commands;
    LoopTask collect_task;
};

/* connection.c: looks at the handle's state after it was driven. */
void nbd_connection_update(NbdConnection *connection);

/* commands.c */
void nbd_commands_init(NbdConnection *connection);
void nbd_commands_free(NbdConnection *connection);
/* Goes on with what libnbd has completed, and looks at the connection. */
void nbd_commands_collect(NbdConnection *connection);
void nbd_commands_lost(NbdConnection *connection);
void nbd_commands_fail_waiting(NbdConnection *connection);
void nbd_commands_resume(NbdConnection *connection);

#endif
