/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The saved state of an xHCI controller. A transfer that is with a device is not part of it: its
 * descriptor is still on the ring, whose head stands before it; the loop takes it up again when
 * the machine goes on, and the device knows how far it was.
 */
#include "hw/usb/xhci.h"

#define EVENT_RING_MAX 4096

static void pre_save(void *base)
{
    XhciState *xhci = base;
    for (unsigned number = 1; number <= xhci->slots; number++) {
        for (unsigned epid = 1; epid <= XHCI_ENDPOINTS; epid++) {
            const XhciEndpoint *ep = xhci_endpoint(xhci, number, epid);
            if (ep && ep->transfer->active) {
                xhci->slot[number - 1].kicks |= 1U << epid;
                xhci->kicked_slots |= 1ULL << (number - 1);
            }
        }
    }
}

static bool check_interrupters(const XhciState *xhci)
{
    for (unsigned i = 0; i < xhci->intrs; i++) {
        const XhciIntr *intr = &xhci->intr[i];
        if (intr->size > EVENT_RING_MAX || intr->enqueue > intr->size ||
            (intr->size && intr->enqueue == intr->size)) {
            return false;
        }
    }
    return true;
}

/* Endpoints get their transfers; slots find their devices again. */
static bool restore_slot(XhciState *xhci, unsigned number)
{
    XhciSlot *slot = &xhci->slot[number - 1];
    slot->dev = NULL;
    if (!slot->enabled) {
        *slot = (XhciSlot){ 0 };
        return true;
    }
    if (slot->state > SLOT_CONFIGURED) {
        return false;
    }
    for (unsigned epid = 1; epid <= XHCI_ENDPOINTS; epid++) {
        XhciEndpoint *ep = &slot->endpoints[epid - 1];
        bool is_control = ep->type == EP_CONTROL;
        if (ep->state == EP_DISABLED) {
            *ep = (XhciEndpoint){ 0 };
            continue;
        }
        if (ep->state > EP_ERROR || ep->type > 7 || is_control != (epid == 1) ||
            (!is_control && (ep->type > EP_CONTROL) != (epid & 1))) {
            return false;
        }
        ep->transfer = xhci_transfer_new(xhci, number, epid);
    }
    slot->dev = slot->port ? xhci_find_device(xhci, slot->port, slot->route) : NULL;
    return true;
}

/* What a table of this controller's size does not have stays as a reset leaves it. */
static bool restore(XhciState *xhci, GError **error)
{
    for (unsigned number = 1; number <= XHCI_SLOTS; number++) {
        for (unsigned i = 0; i < XHCI_ENDPOINTS; i++) {
            /* A loaded slot may stand where one with transfers was. */
            g_clear_pointer(&xhci->slot[number - 1].endpoints[i].transfer, xhci_transfer_free);
        }
    }
    if (!check_interrupters(xhci)) {
        return error_set(error, "xhci: an event ring is larger than there are");
    }
    for (unsigned number = 1; number <= XHCI_SLOTS; number++) {
        if ((number > xhci->slots && xhci->slot[number - 1].enabled) ||
            !restore_slot(xhci, number)) {
            xhci->slot[number - 1].enabled = false;
            xhci_slots_reset(xhci);
            return error_set(error, "xhci: slot %u is not as a controller leaves it", number);
        }
    }
    xhci->kicked_slots &= xhci->slots == 64 ? UINT64_MAX : (1ULL << xhci->slots) - 1;
    xhci->command.waiting = xhci->command.waiting && (xhci->crcr & CRCR_CRR);
    xhci_intr_vectors(xhci, true);
    return true;
}

static bool post_load(void *base, uint16_t version, GError **error)
{
    XhciState *xhci = base;
    g_mutex_lock(&xhci->pci.dev.lock);
    bool ok = restore(xhci, error);
    g_mutex_unlock(&xhci->pci.dev.lock);
    return ok;
}

static const StateField ring_fields[] = {
    STATE_INT(XhciRing, dequeue),
    STATE_BOOL(XhciRing, ccs),
    STATE_END,
};
static const StateSection ring_state = { .name = "ring", .version = 1, .fields = ring_fields };

static const StateField trb_fields[] = {
    STATE_INT(XhciTrb, parameter),
    STATE_INT(XhciTrb, status),
    STATE_INT(XhciTrb, control),
    STATE_INT(XhciTrb, addr),
    STATE_END,
};
static const StateSection trb_state = { .name = "trb", .version = 1, .fields = trb_fields };

static const StateField command_fields[] = {
    STATE_BOOL(XhciCommand, waiting),
    STATE_STRUCT(XhciCommand, trb, &trb_state),
    STATE_INT(XhciCommand, drop),
    STATE_INT(XhciCommand, add),
    STATE_END,
};
static const StateSection command_state = { .name = "command",
                                            .version = 1,
                                            .fields = command_fields };

static const StateField port_fields[] = {
    STATE_INT(XhciPort, portsc),
    STATE_BOOL(XhciPort, resetting),
    STATE_BOOL(XhciPort, warm),
    STATE_BOOL(XhciPort, notify),
    STATE_END,
};
static const StateSection port_state = { .name = "port", .version = 1, .fields = port_fields };

static const StateField endpoint_fields[] = {
    STATE_INT(XhciEndpoint, state),
    STATE_INT(XhciEndpoint, type),
    STATE_STRUCT(XhciEndpoint, ring, &ring_state),
    STATE_INT(XhciEndpoint, silent),
    STATE_END,
};
static const StateSection endpoint_state = { .name = "endpoint",
                                             .version = 1,
                                             .fields = endpoint_fields };

static bool slot_in_use(const void *base)
{
    return ((const XhciSlot *)base)->enabled;
}

static const StateField slot_use_fields[] = {
    STATE_INT(XhciSlot, state),
    STATE_INT(XhciSlot, port),
    STATE_INT(XhciSlot, route),
    STATE_INT(XhciSlot, context),
    STATE_INT(XhciSlot, kicks),
    STATE_STRUCT_ARRAY(XhciSlot, endpoints, &endpoint_state),
    STATE_END,
};
static const StateSection slot_use_state = {
    .name = "in-use", .version = 1, .fields = slot_use_fields, .needed = slot_in_use
};

static const StateField slot_fields[] = {
    STATE_BOOL(XhciSlot, enabled),
    STATE_END,
};
static const StateSection *const slot_subsections[] = { &slot_use_state, NULL };
static const StateSection slot_state = {
    .name = "slot", .version = 1, .fields = slot_fields, .subsections = slot_subsections
};

static const StateField intr_fields[] = {
    STATE_INT(XhciIntr, iman),      STATE_INT(XhciIntr, imod),         STATE_INT(XhciIntr, erstsz),
    STATE_INT(XhciIntr, erstba),    STATE_INT(XhciIntr, erdp),         STATE_INT(XhciIntr, start),
    STATE_INT(XhciIntr, size),      STATE_INT(XhciIntr, enqueue),      STATE_BOOL(XhciIntr, cycle),
    STATE_BOOL(XhciIntr, asserted), STATE_INT(XhciIntr, next_allowed), STATE_END,
};
static const StateSection intr_state = { .name = "interrupter",
                                         .version = 1,
                                         .fields = intr_fields };

static const StateField xhci_fields[] = {
    STATE_STRUCT(XhciState, pci, &pci_device_state),
    STATE_INT(XhciState, usbcmd),
    STATE_INT(XhciState, usbsts),
    STATE_INT(XhciState, dnctrl),
    STATE_INT(XhciState, config),
    STATE_INT(XhciState, dcbaap),
    STATE_INT(XhciState, crcr),
    STATE_STRUCT(XhciState, commands, &ring_state),
    STATE_BOOL(XhciState, commands_kicked),
    STATE_BOOL(XhciState, reset_asked),
    STATE_BOOL(XhciState, events_full),
    STATE_INT(XhciState, mfindex_start),
    STATE_TIMER(XhciState, wrap_timer),
    STATE_INT(XhciState, kicked_slots),
    STATE_STRUCT(XhciState, command, &command_state),
    STATE_STRUCT_ARRAY(XhciState, ports, &port_state),
    STATE_STRUCT_ARRAY(XhciState, slot, &slot_state),
    STATE_STRUCT_ARRAY(XhciState, intr, &intr_state),
    STATE_END,
};

const StateSection xhci_state = {
    .name = "xhci",
    .version = 1,
    .fields = xhci_fields,
    .pre_save = pre_save,
    .post_load = post_load,
};
