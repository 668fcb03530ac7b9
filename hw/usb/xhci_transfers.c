/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Transfer rings: from transfer descriptors to USB packets and back to events (xHCI 1.2, 4.10 and
 * 4.11). */
#include "hw/usb/xhci.h"
#include "vmm/util/bytes.h"

#define TRBS_PER_PASS 512
#define TRBS_MAX      1024  /* of one descriptor */
#define SILENT_MAX    65536 /* TRBs without an event: a ring that runs in circles */
#define PIECES_MAX    8     /* host pieces of one buffer */
#define LENGTH_MASK   0x1ffff
#define IMMEDIATE_MAX 8
#define SETUP_LENGTH  8
#define TARGET_SHIFT  22

XhciTransfer *xhci_transfer_new(XhciState *xhci, unsigned slot, unsigned epid)
{
    XhciTransfer *transfer = g_new0(XhciTransfer, 1);
    transfer->xhci = xhci;
    transfer->slot = slot;
    transfer->epid = epid;
    return transfer;
}

void xhci_transfer_free(XhciTransfer *transfer)
{
    g_assert(!transfer->active);
    g_free(transfer->trbs);
    g_free(transfer->iov);
    g_free(transfer);
}

static XhciSlot *slot_of(const XhciTransfer *transfer)
{
    return &transfer->xhci->slot[transfer->slot - 1];
}

static XhciEndpoint *endpoint_of(const XhciTransfer *transfer)
{
    return &slot_of(transfer)->endpoints[transfer->epid - 1];
}

static bool is_control(const XhciTransfer *transfer)
{
    return transfer->epid == 1;
}

static bool carries_data(const XhciTrb *trb)
{
    unsigned type = trb_type(trb);
    return type == TRB_NORMAL || type == TRB_DATA || type == TRB_ISOCH;
}

/* ---- Fetching ---- */

/* A control transfer is one descriptor from the setup stage to the status stage. */
static bool is_last(const XhciTransfer *transfer, const XhciTrb *trb)
{
    if (trb->control & TRB_CHAIN) {
        return false;
    }
    if (!is_control(transfer) || trb_type(&transfer->trbs[0]) != TRB_SETUP) {
        return true;
    }
    for (unsigned i = transfer->count; i-- > 0;) {
        if (trb_type(&transfer->trbs[i]) == TRB_STATUS) {
            return true;
        }
    }
    return false;
}

static XhciFetch fetch(XhciTransfer *transfer)
{
    XhciRing ring = endpoint_of(transfer)->ring;
    XhciTrb trb;
    transfer->count = 0;
    do {
        XhciFetch result = xhci_ring_fetch(transfer->xhci, &ring, &trb);
        if (result != FETCH_DONE) {
            return result;
        }
        if (transfer->count == TRBS_MAX) {
            return FETCH_BROKEN;
        }
        if (transfer->count == transfer->room) {
            transfer->room = MAX(4, 2 * transfer->room);
            transfer->trbs = g_renew(XhciTrb, transfer->trbs, transfer->room);
        }
        transfer->trbs[transfer->count++] = trb;
    } while (!is_last(transfer, &trb));
    transfer->after = ring;
    return FETCH_DONE;
}

/* ---- Events ---- */

static void send(XhciTransfer *transfer, const XhciTrb *trb, XhciCode code, uint32_t length,
                 bool event_data)
{
    XhciEvent event = { .type = EVENT_TRANSFER,
                        .code = code,
                        .slot = transfer->slot,
                        .epid = transfer->epid,
                        .parameter = event_data ? trb->parameter : trb->addr,
                        .length = length,
                        .flags = event_data ? TRB_EVENT_IS_DATA : 0 };
    endpoint_of(transfer)->silent = 0;
    xhci_event(transfer->xhci, trb->status >> TARGET_SHIFT, &event);
}

typedef struct Report {
    uint64_t left;  /* bytes that moved, not yet accounted for */
    uint32_t total; /* since the last event data TRB */
    bool is_short, told_short;
} Report;

static void report_data(XhciTransfer *transfer, const XhciTrb *trb, Report *report)
{
    uint32_t length = trb->status & LENGTH_MASK;
    uint32_t moved = MIN(length, report->left);
    bool first = moved < length && !report->is_short;
    report->left -= moved;
    report->total = (report->total + moved) & 0xffffff;
    report->is_short |= moved < length;
    bool wanted = (trb->control & TRB_IOC) || (first && (trb->control & TRB_ISP));
    if (wanted && !report->told_short) {
        send(transfer, trb, report->is_short ? CC_SHORT : CC_SUCCESS, length - moved, false);
        report->told_short = report->is_short;
    }
}

/* The descriptor is done: an event for each TRB that asks for one. */
static void report_success(XhciTransfer *transfer)
{
    Report report = { .left = transfer->packet.actual };
    for (unsigned i = 0; i < transfer->count; i++) {
        const XhciTrb *trb = &transfer->trbs[i];
        if (carries_data(trb)) {
            report_data(transfer, trb, &report);
        } else if (trb_type(trb) == TRB_EVENT_DATA) {
            if (trb->control & TRB_IOC) {
                send(transfer, trb, report.is_short ? CC_SHORT : CC_SUCCESS, report.total, true);
            }
            report.total = 0;
        } else if (trb->control & TRB_IOC) {
            send(transfer, trb, CC_SUCCESS, 0, false);
        }
    }
}

/* One event, at the TRB where it happened: the one whose buffer was not filled, else the last. */
static void report_failure(XhciTransfer *transfer, XhciCode code)
{
    uint64_t left = transfer->packet.actual;
    const XhciTrb *at = &transfer->trbs[transfer->count - 1];
    uint32_t missing = 0;
    for (unsigned i = 0; i < transfer->count; i++) {
        const XhciTrb *trb = &transfer->trbs[i];
        if (!carries_data(trb)) {
            continue;
        }
        uint32_t length = trb->status & LENGTH_MASK;
        if (left < length) {
            at = trb;
            missing = length - left;
            break;
        }
        left -= length;
    }
    send(transfer, at, code, missing, false);
}

void xhci_transfer_report_stopped(XhciTransfer *transfer)
{
    transfer->stopped = false;
    report_failure(transfer, CC_STOPPED);
}

/* ---- Ending ---- */

static void retire(XhciTransfer *transfer)
{
    endpoint_of(transfer)->ring = transfer->after;
}

static void halt(XhciTransfer *transfer, XhciCode code)
{
    bool isoch = endpoint_of(transfer)->type == EP_ISOCH_IN ||
                 endpoint_of(transfer)->type == EP_ISOCH_OUT;
    report_failure(transfer, code);
    if (isoch) { /* never halts (4.10.2.1) */
        retire(transfer);
        return;
    }
    xhci_endpoint_set_state(transfer->xhci, transfer->slot, transfer->epid,
                            code == CC_TRB ? EP_ERROR : EP_HALTED);
}

static void finish(XhciTransfer *transfer, UsbStatus status)
{
    switch (status) {
    case USB_DONE:
        retire(transfer);
        report_success(transfer);
        break;
    case USB_STALL:
        halt(transfer, CC_STALL);
        break;
    case USB_BABBLE:
        halt(transfer, CC_BABBLE);
        break;
    default:
        halt(transfer, CC_TRANSACTION);
        break;
    }
}

/* What the device wrote through host pointers, for the dirty log. */
static void mark_dirty(const XhciTransfer *transfer)
{
    if (!transfer->packet.in || !dma_logging()) {
        return;
    }
    for (unsigned i = 0; i < transfer->iov_count; i++) {
        dma_dirty_host(transfer->xhci->pci.dev.machine->memory, transfer->iov[i].iov_base,
                       transfer->iov[i].iov_len);
    }
}

static void packet_done(UsbPacket *packet)
{
    XhciTransfer *transfer = packet->opaque;
    XhciState *xhci = transfer->xhci;
    transfer->active = false;
    mark_dirty(transfer);
    if (packet->status == USB_CANCELLED && slot_of(transfer)->dev) {
        transfer->stopped = true;
    } else {
        transfer->stopped = false;
        finish(transfer, packet->status);
    }
    slot_of(transfer)->kicks |= 1U << transfer->epid;
    xhci->kicked_slots |= 1ULL << (transfer->slot - 1);
    xhci_kick(xhci);
}

bool xhci_transfer_stop(XhciState *xhci, XhciEndpoint *ep)
{
    XhciTransfer *transfer = ep->transfer;
    if (!transfer->active) {
        return true;
    }
    if (transfer->stopped) {
        return false; /* asked for already */
    }
    transfer->stopped = true;
    if (!usb_cancel(&transfer->packet)) {
        return false;
    }
    transfer->active = false;
    return true;
}

bool xhci_transfers_stop_all(XhciState *xhci)
{
    bool all = true;
    for (unsigned number = 1; number <= xhci->slots; number++) {
        for (unsigned epid = 1; epid <= XHCI_ENDPOINTS; epid++) {
            XhciEndpoint *ep = xhci_endpoint(xhci, number, epid);
            if (ep && !xhci_transfer_stop(xhci, ep)) {
                all = false;
            }
        }
    }
    return all;
}

void xhci_transfers_forget(UsbBus *bus, UsbDevice *dev)
{
    XhciState *xhci = container_of(bus, XhciState, bus);
    for (unsigned number = 1; number <= xhci->slots; number++) {
        XhciSlot *slot = &xhci->slot[number - 1];
        if (!slot->enabled || slot->dev != dev) {
            continue;
        }
        slot->dev = NULL;
        for (unsigned epid = 1; epid <= XHCI_ENDPOINTS; epid++) {
            XhciEndpoint *ep = xhci_endpoint(xhci, number, epid);
            if (ep && ep->transfer->active && xhci_transfer_stop(xhci, ep)) {
                finish(ep->transfer, USB_ERROR);
            }
        }
    }
}

/* ---- Starting ---- */

static bool map_buffer(XhciTransfer *transfer, XhciTrb *trb, bool in)
{
    uint32_t length = trb->status & LENGTH_MASK;
    if (length == 0) {
        return true;
    }
    if (transfer->iov_count + PIECES_MAX > transfer->iov_room) {
        transfer->iov_room = MAX(2 * transfer->iov_room, 2 * PIECES_MAX);
        transfer->iov = g_renew(struct iovec, transfer->iov, transfer->iov_room);
    }
    if (trb->control & TRB_IDT) { /* the data is in the TRB, of which we have a copy */
        if (in || length > IMMEDIATE_MAX) {
            return false;
        }
        store_le64(&trb->parameter, trb->parameter);
        transfer->iov[transfer->iov_count++] = (struct iovec){ &trb->parameter, length };
        return true;
    }
    unsigned max = MIN(transfer->iov_count + PIECES_MAX, transfer->iov_room);
    return dma_map(xhci_memory(transfer->xhci), trb->parameter, length, in, transfer->iov, max,
                   &transfer->iov_count);
}

/* The packet's memory from the buffers of the TRBs. */
static bool map_buffers(XhciTransfer *transfer, bool in)
{
    transfer->iov_count = 0;
    for (unsigned i = 0; i < transfer->count; i++) {
        XhciTrb *trb = &transfer->trbs[i];
        if (!carries_data(trb)) {
            continue;
        }
        if (!map_buffer(transfer, trb, in)) {
            return false;
        }
        transfer->packet.length += trb->status & LENGTH_MASK;
    }
    transfer->packet.iov = transfer->iov;
    transfer->packet.iov_count = transfer->iov_count;
    return true;
}

static bool parse_setup(XhciTransfer *transfer)
{
    const XhciTrb *trb = &transfer->trbs[0];
    UsbSetup *setup = &transfer->packet.setup;
    if (!(trb->control & TRB_IDT) || (trb->status & LENGTH_MASK) != SETUP_LENGTH) {
        return false;
    }
    *setup = (UsbSetup){ .type = trb->parameter,
                         .request = trb->parameter >> 8,
                         .value = trb->parameter >> 16,
                         .index = trb->parameter >> 32,
                         .length = trb->parameter >> 48 };
    transfer->packet.in = setup->type & USB_DIR_IN;
    for (unsigned i = 0; i < transfer->count; i++) {
        const XhciTrb *stage = &transfer->trbs[i];
        if (trb_type(stage) == TRB_DATA && transfer->packet.in != !!(stage->control & TRB_DIR_IN)) {
            return false;
        }
    }
    return true;
}

static bool only_events(const XhciTransfer *transfer)
{
    for (unsigned i = 0; i < transfer->count; i++) {
        unsigned type = trb_type(&transfer->trbs[i]);
        if (type != TRB_NOOP && type != TRB_EVENT_DATA) {
            return false;
        }
    }
    return true;
}

static bool types_allowed(const XhciTransfer *transfer)
{
    for (unsigned i = 0; i < transfer->count; i++) {
        unsigned type = trb_type(&transfer->trbs[i]);
        bool stage = type == TRB_SETUP || type == TRB_DATA || type == TRB_STATUS;
        if (type < TRB_NORMAL || type > TRB_NOOP || (stage && !is_control(transfer)) ||
            (type == TRB_SETUP && i > 0)) {
            return false;
        }
    }
    return !is_control(transfer) || trb_type(&transfer->trbs[0]) == TRB_SETUP;
}

static void start(XhciTransfer *transfer)
{
    UsbPacket *packet = &transfer->packet;
    *packet = (UsbPacket){ .endpoint = transfer->epid / 2,
                           .in = transfer->epid & 1,
                           .done = packet_done,
                           .opaque = transfer };
    transfer->stopped = false;
    if (only_events(transfer)) {
        finish(transfer, USB_DONE);
        return;
    }
    if (!types_allowed(transfer) || (is_control(transfer) && !parse_setup(transfer))) {
        halt(transfer, CC_TRB);
        return;
    }
    if (!map_buffers(transfer, packet->in)) {
        halt(transfer, CC_DATA_BUFFER);
        return;
    }
    transfer->active = true;
    UsbStatus status = usb_submit(slot_of(transfer)->dev, packet);
    if (status == USB_PENDING) {
        return;
    }
    transfer->active = false;
    mark_dirty(transfer);
    finish(transfer, status);
}

/* A ring that cannot be followed, or that keeps us busy for nothing. */
static void ring_is_broken(XhciTransfer *transfer, const char *why)
{
    XhciRing *ring = &endpoint_of(transfer)->ring;
    device_guest_error(&transfer->xhci->pci.dev, "slot %u endpoint %u: %s", transfer->slot,
                       transfer->epid, why);
    XhciTrb at = { .addr = ring->dequeue };
    send(transfer, &at, CC_TRB, 0, false);
    xhci_endpoint_set_state(transfer->xhci, transfer->slot, transfer->epid, EP_ERROR);
}

/* ---- Passes ---- */

typedef enum Pass { PASS_IDLE, PASS_WAITS, PASS_MORE } Pass;

/* Works on one endpoint's ring while there is something and the budget lasts. */
static Pass run_endpoint(XhciState *xhci, XhciEndpoint *ep, unsigned *budget)
{
    XhciTransfer *transfer = ep->transfer;
    while (ep->state == EP_RUNNING && !transfer->active) {
        if (*budget == 0) {
            return PASS_MORE;
        }
        XhciFetch result = fetch(transfer);
        if (result == FETCH_EMPTY) {
            return PASS_IDLE;
        }
        if (result == FETCH_BROKEN) {
            ring_is_broken(transfer, "its ring is not in memory, or a descriptor has no end");
            return PASS_IDLE;
        }
        if (!xhci_event_room(xhci, transfer->trbs[transfer->count - 1].status >> TARGET_SHIFT)) {
            return PASS_WAITS;
        }
        *budget -= MIN(*budget, transfer->count);
        ep->silent += transfer->count;
        if (ep->silent > SILENT_MAX) {
            ring_is_broken(transfer, "its ring runs in circles and asks for no event");
            return PASS_IDLE;
        }
        start(transfer);
        if (xhci->usbsts & USBSTS_HCE) {
            return PASS_IDLE;
        }
    }
    return PASS_IDLE;
}

static bool run_slot(XhciState *xhci, unsigned number, unsigned *budget)
{
    XhciSlot *slot = &xhci->slot[number - 1];
    bool more = false;
    if (xhci->command.waiting && xhci_command_slot(xhci) == number) {
        return false; /* its endpoints are being stopped */
    }
    for (unsigned epid = 1; epid <= XHCI_ENDPOINTS; epid++) {
        if (!(slot->kicks & 1U << epid)) {
            continue;
        }
        XhciEndpoint *ep = xhci_endpoint(xhci, number, epid);
        Pass pass = ep ? run_endpoint(xhci, ep, budget) : PASS_IDLE;
        if (pass == PASS_IDLE) {
            slot->kicks &= ~(1U << epid);
        }
        more |= pass == PASS_MORE;
    }
    if (!slot->kicks) {
        xhci->kicked_slots &= ~(1ULL << (number - 1));
    }
    return more;
}

bool xhci_transfers_run(XhciState *xhci)
{
    uint64_t kicked = xhci->kicked_slots;
    bool more = false;
    for (unsigned number = 1; number <= xhci->slots && kicked; number++) {
        if (kicked & 1ULL << (number - 1)) {
            unsigned budget = TRBS_PER_PASS;
            more |= run_slot(xhci, number, &budget);
        }
    }
    return more;
}

void xhci_doorbell(XhciState *xhci, unsigned number, uint32_t value)
{
    unsigned target = value & 0xff;
    if (!xhci_runs(xhci)) {
        return;
    }
    if (number == 0 && value == 0) {
        xhci->commands_kicked = true;
        xhci->crcr |= CRCR_CRR;
        xhci_kick(xhci);
        return;
    }
    XhciEndpoint *ep = xhci_endpoint(xhci, number, target);
    if (!ep || value >> 16) {
        return; /* nothing is behind that bell */
    }
    if (ep->state == EP_STOPPED) {
        xhci_endpoint_set_state(xhci, number, target, EP_RUNNING);
    }
    ep->silent = 0;
    xhci->slot[number - 1].kicks |= 1U << target;
    xhci->kicked_slots |= 1ULL << (number - 1);
    xhci_kick(xhci);
}
