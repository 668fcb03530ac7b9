/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The inside of the NBD server: server.c has the sockets' acceptance and the exports, client.c a
 * client's bytes and its life, negotiation.c the handshake, transmission.c the requests, status.c
 * block status. Everything of a client happens on the server's loop.
 */
#ifndef BLOCK_NBD_INTERNAL_H
#define BLOCK_NBD_INTERNAL_H

#include "block/bitmap.h"
#include "block/nbd/proto.h"
#include "block/nbd/server.h"
#include "vmm/util/bytes.h"

#define NBD_SLOTS         16          /* requests of one client in flight */
#define NBD_SLOT_KEEP     (256 * KIB) /* a slot keeps a buffer up to this size */
#define NBD_CLIENT_BYTES  (32 * MIB)  /* no new request is read above this much in buffers */
#define NBD_OPTION_MAX    (32 * KIB)  /* larger options are skipped and refused */
#define NBD_OPTION_SKIP   (1 * MIB)   /* still larger ones end the connection */
#define NBD_OPTION_OUTPUT (64 * KIB)  /* replies to options that wait to be sent */
extern int64_t nbd_handshake_ns;      /* how long a client may haggle; changed by unit tests only */
#define NBD_STAGE_SIZE     4096
#define NBD_STATUS_EXTENTS 1024

/* Metadata contexts, as bits and as their ids on the wire. */
enum {
    NBD_CONTEXT_ALLOCATION,
    NBD_CONTEXT_DEPTH,
    NBD_CONTEXT_BITMAP, /* the first of them */
    NBD_CONTEXTS = NBD_CONTEXT_BITMAP + NBD_MAX_BITMAPS
};

struct NbdExport {
    NbdServer *server;
    NbdExport *next;
    char *id, *name, *description;
    BlockBackend *backend;
    BlockNode *node;
    bool writable, allocation_depth;
    BlockBitmap *bitmaps[NBD_MAX_BITMAPS];
    unsigned bitmap_count;
    _Atomic unsigned clients;
};

typedef struct NbdClient NbdClient;

typedef struct NbdSlot {
    NbdClient *client;
    struct NbdSlot *next; /* in the free list, or in the row of replies */
    bool busy;
    uint16_t command, flags;
    uint64_t cookie;
    uint64_t offset;
    uint32_t length;
    int error; /* of the wire, 0: none */
    uint8_t *data;
    size_t capacity;
    size_t counted; /* of this buffer in the client's bytes */
    struct iovec iov;
    BlockRequest request;
    /* A longer piece of work: CACHE and BLOCK_STATUS. */
    uint64_t position;
    struct NbdStatus *status;
    /* The reply. */
    uint8_t header[64];
    unsigned header_len;
    size_t payload_len; /* of data */
} NbdSlot;

typedef enum NbdPhase { NBD_HANDSHAKE, NBD_TRANSMISSION, NBD_ENDING, NBD_CLOSED } NbdPhase;

struct NbdClient {
    NbdServer *server;
    NbdClient *next;
    NbdExport *export;
    NbdPhase phase;
    int fd;
    FdWatch watch;
    Timer timeout;
    LoopTask input_task, output_task;
    /* Input: `wanted` bytes to target (NULL: thrown away), then step. */
    uint8_t *target;
    uint64_t wanted, got;
    void (*step)(NbdClient *client);
    uint8_t stage[NBD_STAGE_SIZE];
    size_t stage_at, stage_len;
    bool input_paused; /* until there is room: a slot, or bytes */
    /* Handshake. */
    uint8_t header[NBD_REQUEST_SIZE];
    uint32_t option, option_len;
    uint8_t *option_data;
    bool fixed, no_zeroes, structured;
    bool chosen;       /* an export, once */
    unsigned contexts; /* chosen, as bits */
    char *contexts_of; /* the export they were chosen for */
    GByteArray *out;
    size_t out_sent;
    bool end_when_sent;
    /* Transmission. */
    uint64_t size; /* of the export, as the client was told */
    NbdSlot slots[NBD_SLOTS];
    NbdSlot *free_slots;
    NbdSlot *incoming; /* its payload is being read */
    NbdSlot *replies, **replies_tail;
    size_t reply_sent; /* of the first reply */
    unsigned in_flight;
    size_t bytes;
};

struct NbdServer {
    EventLoop *loop;
    GArray *listeners; /* of NbdListener pointers */
    NbdServerEvents events;
    LoopTask idle_task;
    unsigned max_connections;
    /* The loop's. */
    NbdClient *clients;
    bool accept_paused;
    Timer accept_timer;
    /* Shared: the loop reads, the main thread changes in calls on the loop. */
    NbdExport *exports;
    _Atomic unsigned client_count, chosen_count;
};

/* server.c */
NbdExport *nbd_server_find_export(NbdServer *server, const char *name, size_t len);
void nbd_server_client_gone(NbdServer *server, NbdClient *client);

/* client.c */
NbdClient *nbd_client_new(NbdServer *server, int fd);
void nbd_client_close(NbdClient *client); /* at once; frees it when no request is in flight */
/* Replies are still sent, then it is closed. */
void nbd_client_end(NbdClient *client);
void nbd_client_expect(NbdClient *client, uint8_t *target, uint64_t bytes,
                       void (*step)(NbdClient *client));
void nbd_client_pause_input(NbdClient *client);
void nbd_client_resume_input(NbdClient *client);
void nbd_client_send_later(NbdClient *client);

/* negotiation.c */
void nbd_handshake_start(NbdClient *client);
void nbd_client_unchoose(NbdClient *client);

/* transmission.c */
void nbd_transmission_start(NbdClient *client);
uint16_t nbd_export_flags(const NbdClient *client, const NbdExport *nbd_export);
int nbd_error_of(int ret);
/* The slot's work is done: makes the reply of slot->error or the slot's data. */
void nbd_slot_reply(NbdSlot *slot);
void nbd_slot_release(NbdSlot *slot);
bool nbd_slot_buffer(NbdSlot *slot, size_t bytes);
/* Begins a request to the export; *done* has the slot as opaque. */
void nbd_slot_submit(NbdSlot *slot, BlockOp op, uint64_t offset, uint64_t bytes, unsigned flags,
                     void (*done)(BlockRequest *request, int ret));

/* status.c */
void nbd_status_start(NbdSlot *slot);
void nbd_status_free(NbdSlot *slot);

#endif
