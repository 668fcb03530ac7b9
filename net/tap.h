/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tap devices: what the files of the tap back end share. */
#ifndef NET_TAP_H
#define NET_TAP_H

#include "net/internal.h"
#include "net/tap-batch.h"

#define TAP_HEADER_MIN 10 /* struct virtio_net_hdr */
#define TAP_HEADER_MAX 12 /* struct virtio_net_hdr_mrg_rxbuf */
#define TAP_BUFFER     (NET_MAX_FRAME + TAP_HEADER_MAX)

typedef struct TapBackend TapBackend;

/* All of it the queue's loop's while it runs. */
typedef struct TapQueue {
    TapBackend *tap;
    int fd;
    FdWatch reading, writing;
    TapBatch *batch; /* small frames on their way out */
    LoopTask flush;
    bool send_blocked; /* the kernel's queue is full */
    bool nic_waits;    /* the NIC was told so */
    uint8_t *buffer;
    size_t waiting; /* bytes of a frame in buffer that the NIC had no room for, or 0 */
} TapQueue;

struct TapBackend {
    NetBackend base;
    TapQueue *taps; /* one for each queue */
    unsigned count; /* of open descriptors, while opening */
    char *ifname;
    char *downscript;
    bool vnet_hdr;       /* the kernel's frames have a header */
    bool ufo;            /* the kernel takes UFO packets */
    unsigned header_len; /* between us and the kernel: 0, 10 or 12 */
    unsigned nic_header; /* between us and the NIC: 0 or header_len */
};

/* ---- tap-open.c: main thread ---- */
/* Opens /dev/net/tun for the interface (name: in "" or a pattern, out the interface's). */
int tap_open_device(char *name, size_t name_size, bool *vnet_hdr, bool vnet_hdr_required,
                    bool multi_queue, GError **error);
/* Looks what an inherited descriptor is. */
bool tap_probe_fd(int fd, char *name, size_t name_size, bool *vnet_hdr, GError **error);
bool tap_probe_ufo(int fd);
bool tap_set_sndbuf(int fd, uint64_t size, GError **error);
bool tap_set_header_len(int fd, int len);
void tap_set_offloads(int fd, bool csum, bool tso4, bool tso6, bool ecn, bool ufo);
/* Runs "SCRIPT IFNAME" and waits for it. */
bool tap_run_script(const char *script, const char *ifname, GError **error);
/* A bridge helper (QEMU's qemu-bridge-helper protocol): the tap it made on the bridge, or -1. */
int tap_run_helper(const char *helper, const char *bridge, GError **error);

/* ---- tap-options.c ---- */
bool tap_open(NetBackend *backend, Opts *options, GError **error);
bool bridge_open(NetBackend *backend, Opts *options, GError **error);
extern const char *const tap_options[], *const bridge_options[];

#endif
