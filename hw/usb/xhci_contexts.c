/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slots, endpoints and their contexts in guest memory (xHCI 1.2, 4.5, 4.6 and 6.2). */
#include "hw/usb/xhci.h"
#include "vmm/util/bytes.h"

#define CONTEXT_BYTES   32
#define SLOT_STATE_BITS 27
#define ENTRIES_MASK    (0x1fU << 27)
#define ROUTE_MASK      0xfffff
#define DEQUEUE_MASK    (~15ULL)
#define ADD_SLOT_EP0    3

typedef struct Context {
    uint32_t word[CONTEXT_BYTES / 4];
} Context;

static bool context_read(XhciState *xhci, uint64_t addr, Context *context)
{
    uint8_t raw[CONTEXT_BYTES];
    if (!dma_read(xhci_memory(xhci), addr, raw, sizeof(raw))) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(context->word); i++) {
        context->word[i] = load_le32(raw + 4 * i);
    }
    return true;
}

static bool context_write(XhciState *xhci, uint64_t addr, const Context *context)
{
    uint8_t raw[CONTEXT_BYTES];
    for (unsigned i = 0; i < G_N_ELEMENTS(context->word); i++) {
        store_le32(raw + 4 * i, context->word[i]);
    }
    return dma_write(xhci_memory(xhci), addr, raw, sizeof(raw));
}

/* In the input context the control words come before the slot's. */
static uint64_t input_at(uint64_t input, unsigned index)
{
    return input + (uint64_t)CONTEXT_BYTES * (index + 1);
}

static uint64_t output_at(const XhciSlot *slot, unsigned index)
{
    return slot->context + (uint64_t)CONTEXT_BYTES * index;
}

/* ---- Endpoints ---- */

XhciEndpoint *xhci_endpoint(XhciState *xhci, unsigned slot, unsigned epid)
{
    if (slot < 1 || slot > xhci->slots || epid < 1 || epid > XHCI_ENDPOINTS) {
        return NULL;
    }
    XhciEndpoint *ep = &xhci->slot[slot - 1].endpoints[epid - 1];
    return xhci->slot[slot - 1].enabled && ep->state != EP_DISABLED ? ep : NULL;
}

void xhci_endpoint_set_state(XhciState *xhci, unsigned slot, unsigned epid, uint8_t state)
{
    XhciEndpoint *ep = &xhci->slot[slot - 1].endpoints[epid - 1];
    uint64_t addr = output_at(&xhci->slot[slot - 1], epid);
    Context context;
    ep->state = state;
    if (!context_read(xhci, addr, &context)) {
        xhci_die(xhci, "a device context is not in memory");
        return;
    }
    context.word[0] = (context.word[0] & ~7U) | state;
    if (state != EP_DISABLED) {
        context.word[2] = (uint32_t)ep->ring.dequeue | ep->ring.ccs;
        context.word[3] = ep->ring.dequeue >> 32;
    }
    if (!context_write(xhci, addr, &context)) {
        xhci_die(xhci, "a device context is not in memory");
    }
}

void xhci_endpoint_free(XhciEndpoint *ep)
{
    g_clear_pointer(&ep->transfer, xhci_transfer_free);
    *ep = (XhciEndpoint){ 0 };
}

/* From what the guest says in the input context; checked. */
static XhciCode endpoint_enable(XhciState *xhci, unsigned slot, unsigned epid, Context *context)
{
    XhciEndpoint *ep = &xhci->slot[slot - 1].endpoints[epid - 1];
    uint8_t type = context->word[1] >> 3 & 7;
    bool is_control = type == EP_CONTROL;
    if (type == EP_TYPE_NONE || is_control != (epid == 1) ||
        (!is_control && (type > EP_CONTROL) != (epid & 1))) {
        return CC_PARAMETER;
    }
    if (context->word[0] >> 10 & 0x1f) {
        return CC_PARAMETER; /* streams are not offered */
    }
    xhci_endpoint_free(ep);
    ep->type = type;
    ep->state = EP_RUNNING;
    ep->ring.dequeue = (context->word[2] & DEQUEUE_MASK) | (uint64_t)context->word[3] << 32;
    ep->ring.ccs = context->word[2] & 1;
    ep->transfer = xhci_transfer_new(xhci, slot, epid);
    context->word[0] = (context->word[0] & ~7U) | EP_RUNNING;
    return context_write(xhci, output_at(&xhci->slot[slot - 1], epid), context) ? CC_SUCCESS
                                                                                : CC_TRB;
}

static void endpoints_disable(XhciState *xhci, unsigned slot, unsigned first)
{
    for (unsigned epid = first; epid <= XHCI_ENDPOINTS; epid++) {
        if (xhci_endpoint(xhci, slot, epid)) {
            xhci_endpoint_set_state(xhci, slot, epid, EP_DISABLED);
            xhci_endpoint_free(&xhci->slot[slot - 1].endpoints[epid - 1]);
        }
    }
}

/* ---- Slots ---- */

XhciCode xhci_enable_slot(XhciState *xhci, unsigned *slot)
{
    for (unsigned i = 0; i < xhci->slots; i++) {
        if (!xhci->slot[i].enabled) {
            xhci->slot[i].enabled = true;
            xhci->slot[i].state = SLOT_DISABLED;
            *slot = i + 1;
            return CC_SUCCESS;
        }
    }
    *slot = 0;
    return CC_NO_SLOTS;
}

static void slot_clear(XhciState *xhci, XhciSlot *slot)
{
    for (unsigned i = 0; i < XHCI_ENDPOINTS; i++) {
        xhci_endpoint_free(&slot->endpoints[i]);
    }
    xhci->kicked_slots &= ~(1ULL << (slot - xhci->slot));
    *slot = (XhciSlot){ 0 };
}

void xhci_slots_reset(XhciState *xhci)
{
    for (unsigned i = 0; i < XHCI_SLOTS; i++) {
        if (xhci->slot[i].enabled) {
            slot_clear(xhci, &xhci->slot[i]);
        }
    }
}

/* The state and address that the slot context shows. */
static bool slot_set_state(XhciState *xhci, XhciSlot *slot, uint8_t state, uint8_t address)
{
    Context context;
    slot->state = state;
    if (!context_read(xhci, slot->context, &context)) {
        return false;
    }
    context.word[3] = (uint32_t)state << SLOT_STATE_BITS | address;
    return context_write(xhci, slot->context, &context);
}

XhciCode xhci_disable_slot(XhciState *xhci, unsigned number)
{
    XhciSlot *slot = &xhci->slot[number - 1];
    if (slot->context) {
        endpoints_disable(xhci, number, 1);
        slot_set_state(xhci, slot, SLOT_DISABLED, 0);
    }
    slot_clear(xhci, slot);
    return CC_SUCCESS;
}

static bool device_is_taken(XhciState *xhci, const UsbDevice *dev, const XhciSlot *but)
{
    for (unsigned i = 0; i < xhci->slots; i++) {
        if (xhci->slot[i].enabled && &xhci->slot[i] != but && xhci->slot[i].dev == dev) {
            return true;
        }
    }
    return false;
}

/* The guest's slot context names a device: finds it and fills in the slot. */
static XhciCode slot_bind(XhciState *xhci, XhciSlot *slot, const Context *input)
{
    uint8_t raw[8];
    uint64_t entry = xhci->dcbaap + 8 * (uint64_t)(slot - xhci->slot + 1);
    slot->port = input->word[1] >> 16;
    slot->route = input->word[0] & ROUTE_MASK;
    slot->dev = xhci_find_device(xhci, slot->port, slot->route);
    if (!slot->dev) {
        return CC_TRANSACTION;
    }
    if (device_is_taken(xhci, slot->dev, slot) || !dma_read(xhci_memory(xhci), entry, raw, 8)) {
        slot->dev = NULL;
        return CC_TRB;
    }
    slot->context = load_le64(raw) & ~63ULL;
    return CC_SUCCESS;
}

static bool read_input(XhciState *xhci, uint64_t input, Context *control, Context *slot)
{
    return context_read(xhci, input, control) && context_read(xhci, input_at(input, 0), slot);
}

XhciCode xhci_address_device(XhciState *xhci, unsigned number, uint64_t input, bool block)
{
    XhciSlot *slot = &xhci->slot[number - 1];
    Context control, context, ep0;
    if (!read_input(xhci, input, &control, &context) ||
        !context_read(xhci, input_at(input, 1), &ep0) || control.word[0] ||
        control.word[1] != ADD_SLOT_EP0) {
        return CC_TRB;
    }
    if (slot->state > SLOT_DEFAULT || (block && slot->state != SLOT_DISABLED)) {
        return CC_CONTEXT_STATE;
    }
    XhciCode code = slot_bind(xhci, slot, &context);
    if (code != CC_SUCCESS) {
        return code;
    }
    code = endpoint_enable(xhci, number, 1, &ep0);
    if (code != CC_SUCCESS) {
        return code;
    }
    slot->state = block ? SLOT_DEFAULT : SLOT_ADDRESSED;
    slot->dev->address = block ? 0 : number;
    context.word[3] = (uint32_t)slot->state << SLOT_STATE_BITS | slot->dev->address;
    return context_write(xhci, slot->context, &context) ? CC_SUCCESS : CC_TRB;
}

/* Drops, then adds, as the two words of the input control context say. */
static XhciCode change_endpoints(XhciState *xhci, unsigned number, uint64_t input, uint32_t drop,
                                 uint32_t add)
{
    for (unsigned epid = 2; epid <= XHCI_ENDPOINTS; epid++) {
        Context context;
        if ((drop & 1U << epid) && xhci_endpoint(xhci, number, epid)) {
            xhci_endpoint_set_state(xhci, number, epid, EP_DISABLED);
            xhci_endpoint_free(&xhci->slot[number - 1].endpoints[epid - 1]);
        }
        if (!(add & 1U << epid)) {
            continue;
        }
        if (!context_read(xhci, input_at(input, epid), &context)) {
            return CC_TRB;
        }
        XhciCode code = endpoint_enable(xhci, number, epid, &context);
        if (code != CC_SUCCESS) {
            return code;
        }
    }
    return CC_SUCCESS;
}

XhciCode xhci_configure_endpoints(XhciState *xhci, unsigned number, uint64_t input)
{
    XhciSlot *slot = &xhci->slot[number - 1];
    const XhciCommand *command = &xhci->command;
    Context wanted, context;
    if (slot->state < SLOT_ADDRESSED) {
        return CC_CONTEXT_STATE;
    }
    if (command->trb.control & TRB_DC) {
        endpoints_disable(xhci, number, 2);
        return slot_set_state(xhci, slot, SLOT_ADDRESSED, number) ? CC_SUCCESS : CC_TRB;
    }
    if (!context_read(xhci, input_at(input, 0), &wanted) || (command->drop & 3) ||
        (command->add & 3) != 1) {
        return CC_TRB;
    }
    XhciCode code = change_endpoints(xhci, number, input, command->drop, command->add);
    if (code != CC_SUCCESS) {
        return code;
    }
    if (!context_read(xhci, slot->context, &context)) {
        return CC_TRB;
    }
    slot->state = SLOT_CONFIGURED;
    context.word[0] = (context.word[0] & ~ENTRIES_MASK) | (wanted.word[0] & ENTRIES_MASK);
    context.word[3] = (uint32_t)SLOT_CONFIGURED << SLOT_STATE_BITS | number;
    return context_write(xhci, slot->context, &context) ? CC_SUCCESS : CC_TRB;
}

/* Of the slot context the exit latency and the interrupter, of endpoint 0's the packet size. */
static bool copy_fields(XhciState *xhci, uint64_t from, uint64_t to, const uint32_t *mask)
{
    Context input, output;
    if (!context_read(xhci, from, &input) || !context_read(xhci, to, &output)) {
        return false;
    }
    for (unsigned i = 0; i < 3; i++) {
        output.word[i] = (output.word[i] & ~mask[i]) | (input.word[i] & mask[i]);
    }
    return context_write(xhci, to, &output);
}

XhciCode xhci_evaluate_context(XhciState *xhci, unsigned number, uint64_t input)
{
    static const uint32_t slot_fields[3] = { 0, 0xffff, 0xffc00000 };
    static const uint32_t ep0_fields[3] = { 0, 0xffff0000, 0 };
    const XhciSlot *slot = &xhci->slot[number - 1];
    Context control;
    if (slot->state < SLOT_DEFAULT) {
        return CC_CONTEXT_STATE;
    }
    if (!context_read(xhci, input, &control) || control.word[0] ||
        (control.word[1] & ~(uint32_t)ADD_SLOT_EP0)) {
        return CC_TRB;
    }
    bool ok = (!(control.word[1] & 1) ||
               copy_fields(xhci, input_at(input, 0), slot->context, slot_fields)) &&
              (!(control.word[1] & 2) ||
               copy_fields(xhci, input_at(input, 1), output_at(slot, 1), ep0_fields));
    return ok ? CC_SUCCESS : CC_TRB;
}

XhciCode xhci_reset_device(XhciState *xhci, unsigned number)
{
    XhciSlot *slot = &xhci->slot[number - 1];
    if (slot->state < SLOT_ADDRESSED) {
        return CC_CONTEXT_STATE;
    }
    endpoints_disable(xhci, number, 2);
    return slot_set_state(xhci, slot, SLOT_DEFAULT, 0) ? CC_SUCCESS : CC_TRB;
}

/* ---- Commands for one endpoint; its transfer was stopped ---- */

XhciCode xhci_reset_endpoint(XhciState *xhci, unsigned slot, unsigned epid)
{
    XhciEndpoint *ep = xhci_endpoint(xhci, slot, epid);
    if (!ep) {
        return epid < 1 ? CC_TRB : CC_ENDPOINT_DISABLED;
    }
    if (ep->state != EP_HALTED) {
        return CC_CONTEXT_STATE;
    }
    xhci_endpoint_set_state(xhci, slot, epid, EP_STOPPED);
    return CC_SUCCESS;
}

XhciCode xhci_stop_endpoint(XhciState *xhci, unsigned slot, unsigned epid)
{
    XhciEndpoint *ep = xhci_endpoint(xhci, slot, epid);
    if (!ep) {
        return epid < 1 ? CC_TRB : CC_ENDPOINT_DISABLED;
    }
    if (ep->state != EP_RUNNING) {
        return CC_CONTEXT_STATE;
    }
    if (ep->transfer->stopped) {
        xhci_transfer_report_stopped(ep->transfer);
    }
    xhci->slot[slot - 1].kicks &= ~(1U << epid);
    xhci_endpoint_set_state(xhci, slot, epid, EP_STOPPED);
    return CC_SUCCESS;
}

XhciCode xhci_set_dequeue(XhciState *xhci, unsigned slot, unsigned epid, uint64_t parameter)
{
    XhciEndpoint *ep = xhci_endpoint(xhci, slot, epid);
    if (!ep) {
        return epid < 1 ? CC_TRB : CC_ENDPOINT_DISABLED;
    }
    if (ep->state != EP_STOPPED && ep->state != EP_ERROR) {
        return CC_CONTEXT_STATE;
    }
    ep->ring.dequeue = parameter & DEQUEUE_MASK;
    ep->ring.ccs = parameter & 1;
    xhci_endpoint_set_state(xhci, slot, epid, EP_STOPPED);
    return CC_SUCCESS;
}
