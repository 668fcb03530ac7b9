/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xHCI controllers (xHCI 1.2), between their files.
 *
 * Registers are handled on vCPU threads: they store, and post the work to the I/O loop, where
 * commands, transfers and port resets are done in bounded passes. All of it is under the device's
 * lock, which is held for one pass at most.
 */
#ifndef HW_USB_XHCI_H
#define HW_USB_XHCI_H

#include "hw/pci/pci.h"
#include "hw/usb/usb.h"

#define XHCI_SLOTS     64
#define XHCI_INTRS     16
#define XHCI_ENDPOINTS 31
#define XHCI_CONNECTOR 15 /* ports of one kind at most */
#define XHCI_PORTS     (2 * XHCI_CONNECTOR)

/* The window. */
enum {
    XHCI_BAR_SIZE = 0x4000,
    XHCI_OPER = 0x40,
    XHCI_PORT_REGS = 0x440,
    XHCI_RUNTIME = 0x1000,
    XHCI_INTR_REGS = 0x1020,
    XHCI_DOORBELLS = 0x2000,
    XHCI_MSIX_TABLE = 0x3000,
    XHCI_MSIX_PBA = 0x3800,
};

enum { /* USBCMD */
       USBCMD_RS = 1 << 0,
       USBCMD_HCRST = 1 << 1,
       USBCMD_INTE = 1 << 2,
       USBCMD_HSEE = 1 << 3,
       USBCMD_CSS = 1 << 8,
       USBCMD_CRS = 1 << 9,
       USBCMD_EWE = 1 << 10,
       USBCMD_STORED = USBCMD_RS | USBCMD_INTE | USBCMD_HSEE | USBCMD_EWE,
};

enum { /* USBSTS */
       USBSTS_HCH = 1 << 0,
       USBSTS_HSE = 1 << 2,
       USBSTS_EINT = 1 << 3,
       USBSTS_PCD = 1 << 4,
       USBSTS_SRE = 1 << 10,
       USBSTS_HCE = 1 << 12,
};

enum { CRCR_RCS = 1 << 0, CRCR_CS = 1 << 1, CRCR_CA = 1 << 2, CRCR_CRR = 1 << 3 };
enum { IMAN_IP = 1 << 0, IMAN_IE = 1 << 1 };
enum { ERDP_EHB = 1 << 3 };

enum { /* PORTSC */
       PORTSC_CCS = 1 << 0,
       PORTSC_PED = 1 << 1,
       PORTSC_PR = 1 << 4,
       PORTSC_PLS_SHIFT = 5,
       PORTSC_PLS_MASK = 0xf << 5,
       PORTSC_PP = 1 << 9,
       PORTSC_SPEED_SHIFT = 10,
       PORTSC_SPEED_MASK = 0xf << 10,
       PORTSC_PIC_MASK = 3 << 14,
       PORTSC_LWS = 1 << 16,
       PORTSC_CSC = 1 << 17,
       PORTSC_PEC = 1 << 18,
       PORTSC_WRC = 1 << 19,
       PORTSC_PRC = 1 << 21,
       PORTSC_PLC = 1 << 22,
       PORTSC_CHANGES = 0x7f << 17,
       PORTSC_WAKE = 7 << 25,
};
#define PORTSC_WPR (1U << 31)

enum { /* port link states */
       PLS_U0 = 0,
       PLS_U3 = 3,
       PLS_DISABLED = 4,
       PLS_RX_DETECT = 5,
       PLS_POLLING = 7,
       PLS_RESUME = 15,
};

enum { /* TRB types */
       TRB_NORMAL = 1,
       TRB_SETUP,
       TRB_DATA,
       TRB_STATUS,
       TRB_ISOCH,
       TRB_LINK,
       TRB_EVENT_DATA,
       TRB_NOOP,
       CMD_ENABLE_SLOT,
       CMD_DISABLE_SLOT,
       CMD_ADDRESS_DEVICE,
       CMD_CONFIGURE_ENDPOINT,
       CMD_EVALUATE_CONTEXT,
       CMD_RESET_ENDPOINT,
       CMD_STOP_ENDPOINT,
       CMD_SET_TR_DEQUEUE,
       CMD_RESET_DEVICE,
       CMD_FORCE_EVENT,
       CMD_NEGOTIATE_BANDWIDTH,
       CMD_SET_LATENCY,
       CMD_PORT_BANDWIDTH,
       CMD_FORCE_HEADER,
       CMD_NOOP,
       EVENT_TRANSFER = 32,
       EVENT_COMMAND,
       EVENT_PORT,
       EVENT_HOST = 37,
       EVENT_MFINDEX_WRAP = 39,
       EVENT_NEC_FIRMWARE = 48,
       CMD_NEC_FIRMWARE = 49,
};

enum { /* TRB control word */
       TRB_CYCLE = 1 << 0,
       TRB_TOGGLE = 1 << 1, /* link */
       TRB_ISP = 1 << 2,
       TRB_EVENT_IS_DATA = 1 << 2, /* of an event */
       TRB_CHAIN = 1 << 4,
       TRB_IOC = 1 << 5,
       TRB_IDT = 1 << 6,
       TRB_BSR = 1 << 9, /* address device */
       TRB_DC = 1 << 9,  /* configure endpoint */
       TRB_TYPE_SHIFT = 10,
       TRB_DIR_IN = 1 << 16, /* data and status stages */
};

typedef enum XhciCode { /* completion codes */
                        CC_INVALID = 0,
                        CC_SUCCESS = 1,
                        CC_DATA_BUFFER = 2,
                        CC_BABBLE = 3,
                        CC_TRANSACTION = 4,
                        CC_TRB = 5,
                        CC_STALL = 6,
                        CC_NO_SLOTS = 9,
                        CC_SLOT_DISABLED = 11,
                        CC_ENDPOINT_DISABLED = 12,
                        CC_SHORT = 13,
                        CC_PARAMETER = 17,
                        CC_CONTEXT_STATE = 19,
                        CC_EVENT_RING_FULL = 21,
                        CC_RING_STOPPED = 24,
                        CC_STOPPED = 26,
} XhciCode;

enum { EP_DISABLED, EP_RUNNING, EP_HALTED, EP_STOPPED, EP_ERROR };
enum { EP_TYPE_NONE, EP_ISOCH_OUT, EP_BULK_OUT, EP_INTR_OUT, EP_CONTROL, EP_ISOCH_IN };
enum { SLOT_DISABLED, SLOT_DEFAULT, SLOT_ADDRESSED, SLOT_CONFIGURED };

typedef struct XhciState XhciState;

typedef struct XhciRing {
    uint64_t dequeue;
    bool ccs; /* consumer cycle state */
} XhciRing;

/* A TRB, copied out of guest memory once. */
typedef struct XhciTrb {
    uint64_t parameter;
    uint32_t status, control;
    uint64_t addr;
} XhciTrb;

static inline unsigned trb_type(const XhciTrb *trb)
{
    return trb->control >> TRB_TYPE_SHIFT & 0x3f;
}

/* The transfer descriptor that an endpoint works on: one at a time. */
typedef struct XhciTransfer {
    XhciState *xhci;
    uint8_t slot, epid;
    bool active;  /* with a device */
    bool stopped; /* given back because somebody stopped it: no completion but "stopped" */
    UsbPacket packet;
    XhciTrb *trbs;
    unsigned count, room;
    struct iovec *iov;
    unsigned iov_count, iov_room;
    XhciRing after; /* the ring behind the descriptor */
} XhciTransfer;

typedef struct XhciEndpoint {
    uint8_t state, type;
    XhciRing ring;
    XhciTransfer *transfer; /* from being enabled on */
    uint32_t silent;        /* TRBs without an event since the doorbell rang */
} XhciEndpoint;

typedef struct XhciSlot {
    bool enabled;
    uint8_t state;
    uint8_t port; /* root port register from 1 */
    uint32_t route;
    uint64_t context;
    uint32_t kicks;                         /* endpoints to look at, by number */
    XhciEndpoint endpoints[XHCI_ENDPOINTS]; /* number 1 first */
    UsbDevice *dev;
} XhciSlot;

typedef struct XhciPort {
    uint32_t portsc;
    bool resetting, warm; /* asked for by the guest, done by the loop */
    bool notify;          /* an event that waits for room */
    bool is_usb3;
    UsbPort *connector;
} XhciPort;

typedef struct XhciIntr {
    uint32_t iman, imod, erstsz;
    uint64_t erstba, erdp;
    uint64_t start; /* of the one segment */
    uint32_t size, enqueue;
    bool cycle;
    bool asserted;        /* the INTx line, for interrupter 0 */
    int64_t next_allowed; /* moderation: ns of the virtual clock */
    Timer timer;
    XhciState *xhci;
} XhciIntr;

/* A command that waits for packets to come back. */
typedef struct XhciCommand {
    bool waiting;
    XhciTrb trb;
    uint32_t drop, add; /* configure endpoint: bits by endpoint number */
} XhciCommand;

struct XhciState {
    PciDevice pci;
    /* properties */
    uint32_t p2, p3, slots, intrs;
    int msi, msix;
    /* as realized */
    MemRegion region;
    EventLoop *loop;
    LoopTask task;
    UsbBus bus;
    UsbPort connectors[XHCI_CONNECTOR];
    bool realized;
    bool quiesced; /* the machine is paused */
    unsigned port_count;
    Timer wrap_timer;
    /* state */
    uint32_t usbcmd, usbsts, dnctrl, config;
    uint64_t dcbaap, crcr;
    XhciRing commands;
    bool commands_kicked, reset_asked;
    bool events_full; /* something waits for room in an event ring */
    int64_t mfindex_start;
    uint64_t kicked_slots; /* bit n: slot n + 1 */
    XhciCommand command;
    XhciPort ports[XHCI_PORTS];
    XhciSlot slot[XHCI_SLOTS];
    XhciIntr intr[XHCI_INTRS];
};

/* All: device lock held. */

/* xhci_registers.c */
extern const MemOps xhci_ops;
void xhci_registers_init(XhciState *xhci);
void xhci_registers_reset(XhciState *xhci);
/* A guest's fault that the controller does not recover from: host controller error, quiet until
 * reset. */
void xhci_die(XhciState *xhci, const char *why);
static inline bool xhci_runs(const XhciState *xhci)
{
    return (xhci->usbcmd & USBCMD_RS) && !(xhci->usbsts & USBSTS_HCE);
}

/* xhci.c: has the loop look for work. */
void xhci_kick(XhciState *xhci);
AddressSpace *xhci_memory(XhciState *xhci);

/* xhci_events.c */
typedef struct XhciEvent {
    uint8_t type, code, slot, epid;
    uint64_t parameter;
    uint32_t length; /* 24 bits */
    uint32_t flags;
} XhciEvent;
void xhci_event(XhciState *xhci, unsigned intr, const XhciEvent *event);
/* Room for a few events; if not, the loop is kicked when the guest has made some. */
bool xhci_event_room(XhciState *xhci, unsigned intr);
void xhci_intr_init(XhciState *xhci, unsigned index);
void xhci_intr_reset(XhciIntr *intr);
uint32_t xhci_intr_read(XhciState *xhci, unsigned index, unsigned reg);
void xhci_intr_write(XhciState *xhci, unsigned index, unsigned reg, uint32_t value);
void xhci_intr_update(XhciState *xhci, unsigned index); /* delivers what may be delivered */
void xhci_intr_vectors(XhciState *xhci, bool use);

/* xhci_ports.c */
void xhci_ports_init(XhciState *xhci);
void xhci_ports_cleanup(XhciState *xhci);
void xhci_ports_reset(XhciState *xhci);
uint32_t xhci_port_read(XhciState *xhci, unsigned index, unsigned reg);
void xhci_port_write(XhciState *xhci, unsigned index, unsigned reg, uint32_t value);
void xhci_ports_run(XhciState *xhci); /* resets that were asked for, events that waited; loop */
UsbDevice *xhci_find_device(XhciState *xhci, unsigned port, uint32_t route);

/* xhci_rings.c */
typedef enum XhciFetch { FETCH_EMPTY, FETCH_DONE, FETCH_BROKEN } XhciFetch;
/* One TRB at the ring's head, link TRBs followed (bounded); the ring is moved behind it. */
XhciFetch xhci_ring_fetch(XhciState *xhci, XhciRing *ring, XhciTrb *trb);

/* xhci_commands.c; loop */
bool xhci_commands_run(XhciState *xhci); /* true: more is left */
/* The slot that the command is for, 0: none. */
static inline unsigned xhci_command_slot(const XhciState *xhci)
{
    return xhci->command.trb.control >> 24;
}
void xhci_command_ring_write(XhciState *xhci, bool high, uint32_t value);

/* xhci_contexts.c: what commands do to slots and endpoints */
XhciCode xhci_enable_slot(XhciState *xhci, unsigned *slot);
XhciCode xhci_disable_slot(XhciState *xhci, unsigned slot);
XhciCode xhci_address_device(XhciState *xhci, unsigned slot, uint64_t input, bool block);
XhciCode xhci_configure_endpoints(XhciState *xhci, unsigned slot, uint64_t input);
XhciCode xhci_evaluate_context(XhciState *xhci, unsigned slot, uint64_t input);
XhciCode xhci_reset_device(XhciState *xhci, unsigned slot);
XhciCode xhci_reset_endpoint(XhciState *xhci, unsigned slot, unsigned epid);
XhciCode xhci_stop_endpoint(XhciState *xhci, unsigned slot, unsigned epid);
XhciCode xhci_set_dequeue(XhciState *xhci, unsigned slot, unsigned epid, uint64_t parameter);
XhciEndpoint *xhci_endpoint(XhciState *xhci, unsigned slot, unsigned epid); /* enabled, or NULL */
void xhci_endpoint_set_state(XhciState *xhci, unsigned slot, unsigned epid, uint8_t state);
void xhci_endpoint_free(XhciEndpoint *ep);
void xhci_slots_reset(XhciState *xhci);

/* xhci_transfers.c */
bool xhci_transfers_run(XhciState *xhci); /* true: more is left; loop */
/* Takes the endpoint's packet back; false: it comes later, and the loop is kicked then. */
bool xhci_transfer_stop(XhciState *xhci, XhciEndpoint *ep);
bool xhci_transfers_stop_all(XhciState *xhci);
/* The device goes: its slots lose it, their transfers fail. */
void xhci_transfers_forget(UsbBus *bus, UsbDevice *dev);
XhciTransfer *xhci_transfer_new(XhciState *xhci, unsigned slot, unsigned epid);
void xhci_transfer_free(XhciTransfer *transfer);
/* The event of a stopped transfer. */
void xhci_transfer_report_stopped(XhciTransfer *transfer);
void xhci_doorbell(XhciState *xhci, unsigned slot, uint32_t value); /* vCPU */

/* xhci_state.c */
extern const StateSection xhci_state;

#endif
