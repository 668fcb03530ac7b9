/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An xHCI driver for tests: rings, slots, control and bulk transfers, mass storage. */
#ifndef TESTS_DEVICE_LIBQTEST_XHCI_H
#define TESTS_DEVICE_LIBQTEST_XHCI_H

#include "tests/device/libqtest.h"

#define QXHCI_RING 64 /* TRBs of a ring, the link among them */

enum {
    XTRB_NORMAL = 1,
    XTRB_SETUP,
    XTRB_DATA,
    XTRB_STATUS,
    XTRB_ISOCH,
    XTRB_LINK,
    XTRB_EVENT_DATA,
    XTRB_NOOP
};
enum {
    XCMD_ENABLE = 9,
    XCMD_DISABLE,
    XCMD_ADDRESS,
    XCMD_CONFIGURE,
    XCMD_EVALUATE,
    XCMD_RESET_EP,
    XCMD_STOP_EP,
    XCMD_SET_DEQUEUE,
    XCMD_RESET_DEVICE,
    XCMD_NOOP = 23
};
enum { XEV_TRANSFER = 32, XEV_COMMAND, XEV_PORT, XEV_HOST = 37 };
enum {
    XCC_SUCCESS = 1,
    XCC_BUFFER = 2,
    XCC_BABBLE = 3,
    XCC_TRANSACTION = 4,
    XCC_TRB = 5,
    XCC_STALL = 6,
    XCC_NO_SLOTS = 9,
    XCC_NOT_ENABLED = 11,
    XCC_EP_DISABLED = 12,
    XCC_SHORT = 13,
    XCC_PARAMETER = 17,
    XCC_CONTEXT = 19,
    XCC_RING_STOPPED = 24,
    XCC_STOPPED = 26
};
enum {
    XTRB_TYPE = 10,
    XTRB_CHAIN = 1 << 4,
    XTRB_IOC = 1 << 5,
    XTRB_IDT = 1 << 6,
    XTRB_ISP = 1 << 2,
    XTRB_IN = 1 << 16
};

typedef struct QXhciTrb {
    uint64_t parameter;
    uint32_t status, control;
} QXhciTrb;

typedef struct QXhciRing {
    uint64_t addr;
    unsigned next;
    bool cycle;
} QXhciRing;

typedef struct QXhci {
    QTest *qts;
    QPci *pci;
    unsigned ports;
    QXhciRing commands, events;
    uint64_t dcbaa, input, buffer;
    uint64_t contexts[65];
    QXhciRing rings[65][32];
} QXhci;

QXhci *qxhci_new(QTest *qts);
void qxhci_free(QXhci *x);
void qxhci_start(QXhci *x); /* reset, rings, run */
uint32_t qxhci_oper(QXhci *x, unsigned reg);
void qxhci_set_oper(QXhci *x, unsigned reg, uint32_t value);
uint32_t qxhci_portsc(QXhci *x, unsigned port);
void qxhci_reset_port(QXhci *x, unsigned port);
bool qxhci_poll_event(QXhci *x, QXhciTrb *event);
/* The next event of that type; port events are passed over. */
QXhciTrb qxhci_event(QXhci *x, unsigned type);
static inline unsigned qxhci_code(const QXhciTrb *event)
{
    return event->status >> 24;
}
void qxhci_put(QXhci *x, QXhciRing *ring, uint64_t parameter, uint32_t status, uint32_t control);
QXhciRing qxhci_ring_new(QXhci *x);
void qxhci_doorbell(QXhci *x, unsigned slot, unsigned target);
/* Completion code; *slot is in and out. */
unsigned qxhci_command(QXhci *x, unsigned type, uint64_t parameter, uint32_t flags, unsigned *slot);
unsigned qxhci_address(QXhci *x, unsigned slot, unsigned port, uint32_t route, bool block);
/* A slot with its device addressed. */
unsigned qxhci_attach(QXhci *x, unsigned port, uint32_t route);
/* Bits of endpoints (by number) to add, with their types in the order of the bits. */
unsigned qxhci_configure(QXhci *x, unsigned slot, uint32_t add, const uint8_t *types);
/* A control transfer: completion code; *moved (may be NULL) bytes of the data stage. */
unsigned qxhci_control(QXhci *x, unsigned slot, uint8_t type, uint8_t request, uint16_t value,
                       uint16_t index, uint16_t length, void *data, unsigned *moved);
/* One buffer: completion code; *rest is what did not move. */
unsigned qxhci_transfer(QXhci *x, unsigned slot, unsigned epid, uint64_t addr, uint32_t length,
                        uint32_t *rest);
/* The context of an endpoint (0: the slot's): word n. */
uint32_t qxhci_context(QXhci *x, unsigned slot, unsigned index, unsigned word);

/* ---- Mass storage: bulk-in is endpoint 3, bulk-out endpoint 4 ---- */
enum { QBOT_IN = 3, QBOT_OUT = 4 };
unsigned qbot_open(QXhci *x, unsigned port, uint32_t route); /* slot, configured */
void qbot_command(QXhci *x, unsigned slot, uint32_t tag, const uint8_t *cdb, unsigned cdb_len,
                  uint32_t length, bool in);
/* Status byte of the CSW; *residue may be NULL. */
unsigned qbot_status(QXhci *x, unsigned slot, uint32_t tag, uint32_t *residue);
/* A whole command with its data at x->buffer. */
unsigned qbot_run(QXhci *x, unsigned slot, const uint8_t *cdb, unsigned cdb_len, uint32_t length,
                  bool in, uint32_t *residue);
unsigned qbot_rw(QXhci *x, unsigned slot, uint32_t lba, uint16_t blocks, bool write);
void qbot_ready(QXhci *x, unsigned slot); /* takes unit attentions away */

#endif
