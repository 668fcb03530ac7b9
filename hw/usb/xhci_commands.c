/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command ring (xHCI 1.2, 4.6 and 4.11.4). */
#include <string.h>
#include "hw/usb/xhci.h"
#include "vmm/util/bytes.h"

#define COMMANDS_PER_PASS 64
#define NEC_FIRMWARE      0x3021
#define FREE_BANDWIDTH    80
#define CRCR_POINTER      (~63U)

static void complete(XhciState *xhci, XhciCode code, unsigned slot)
{
    const XhciTrb *trb = &xhci->command.trb;
    bool nec = trb_type(trb) == CMD_NEC_FIRMWARE && code == CC_SUCCESS;
    XhciEvent event = { .type = nec ? EVENT_NEC_FIRMWARE : EVENT_COMMAND,
                        .code = code,
                        .slot = slot,
                        .parameter = trb->addr,
                        .length = nec ? NEC_FIRMWARE : 0 };
    xhci_event(xhci, 0, &event);
}

static void ring_stopped(XhciState *xhci)
{
    XhciEvent event = { .type = EVENT_COMMAND,
                        .code = CC_RING_STOPPED,
                        .parameter = xhci->commands.dequeue };
    xhci->crcr &= ~(uint64_t)(CRCR_CRR | CRCR_CS | CRCR_CA);
    xhci_event(xhci, 0, &event);
}

void xhci_command_ring_write(XhciState *xhci, bool high, uint32_t value)
{
    if (xhci->crcr & CRCR_CRR) {
        /* Only stopping is for a ring that runs; what waits for its packets ends first. */
        if (!high && (value & (CRCR_CS | CRCR_CA))) {
            xhci->crcr |= value & (CRCR_CS | CRCR_CA);
            xhci_kick(xhci);
        }
        return;
    }
    if (high) {
        xhci->commands.dequeue = (xhci->commands.dequeue & 0xffffffff) | (uint64_t)value << 32;
        return;
    }
    xhci->commands.dequeue = (xhci->commands.dequeue & ~0xffffffffULL) | (value & CRCR_POINTER);
    xhci->commands.ccs = value & CRCR_RCS;
}

/* ---- What must have stopped before a command is carried out ---- */

static bool stop_set(XhciState *xhci, unsigned slot, uint32_t set)
{
    bool all = true;
    for (unsigned epid = 1; epid <= XHCI_ENDPOINTS; epid++) {
        XhciEndpoint *ep = set & 1U << epid ? xhci_endpoint(xhci, slot, epid) : NULL;
        if (ep && !xhci_transfer_stop(xhci, ep)) {
            all = false;
        }
    }
    return all;
}

/* Endpoints whose transfers end with the command give their packets back, which can take the time
 * of a disk's request. */
static bool stop_transfers(XhciState *xhci)
{
    const XhciCommand *command = &xhci->command;
    unsigned slot = xhci_command_slot(xhci), epid = command->trb.control >> 16 & 0x1f;
    switch (trb_type(&command->trb)) {
    case CMD_DISABLE_SLOT:
        return stop_set(xhci, slot, UINT32_MAX);
    case CMD_RESET_DEVICE:
        return stop_set(xhci, slot, ~3U);
    case CMD_CONFIGURE_ENDPOINT:
        return stop_set(xhci, slot, (command->drop | command->add) & ~3U);
    case CMD_STOP_ENDPOINT:
        return stop_set(xhci, slot, 1U << epid);
    default:
        return true;
    }
}

/* What Configure Endpoint changes is read once: it says which transfers must have stopped. */
static void read_changes(XhciState *xhci)
{
    XhciCommand *command = &xhci->command;
    uint8_t raw[8];
    command->drop = command->add = 0;
    if (trb_type(&command->trb) != CMD_CONFIGURE_ENDPOINT) {
        return;
    }
    if (command->trb.control & TRB_DC) {
        command->drop = ~3U;
        return;
    }
    if (dma_read(xhci_memory(xhci), command->trb.parameter & ~15ULL, raw, sizeof(raw))) {
        command->drop = load_le32(raw);
        command->add = load_le32(raw + 4);
    }
}

/* ---- Carrying out ---- */

static bool is_nec(const XhciState *xhci)
{
    return ((const PciDeviceClass *)xhci->pci.dev.cls->ops)->vendor_id == 0x1033;
}

/* Per cent of the bandwidth that are free, by port number (6.2.6). */
static XhciCode port_bandwidth(XhciState *xhci, uint64_t context)
{
    uint8_t bytes[ALIGN_UP(XHCI_PORTS + 1, 8)] = { 0 };
    memset(bytes + 1, FREE_BANDWIDTH, xhci->port_count);
    return dma_write(xhci_memory(xhci), context & ~15ULL, bytes, ALIGN_UP(xhci->port_count + 1, 8))
               ? CC_SUCCESS
               : CC_TRB;
}

static XhciCode slot_command(XhciState *xhci, const XhciTrb *trb, unsigned slot)
{
    unsigned epid = trb->control >> 16 & 0x1f;
    uint64_t input = trb->parameter & ~15ULL;
    if (slot < 1 || slot > xhci->slots) {
        return CC_TRB;
    }
    if (!xhci->slot[slot - 1].enabled) {
        return CC_SLOT_DISABLED;
    }
    switch (trb_type(trb)) {
    case CMD_DISABLE_SLOT:
        return xhci_disable_slot(xhci, slot);
    case CMD_ADDRESS_DEVICE:
        return xhci_address_device(xhci, slot, input, trb->control & TRB_BSR);
    case CMD_CONFIGURE_ENDPOINT:
        return xhci_configure_endpoints(xhci, slot, input);
    case CMD_EVALUATE_CONTEXT:
        return xhci_evaluate_context(xhci, slot, input);
    case CMD_RESET_ENDPOINT:
        return xhci_reset_endpoint(xhci, slot, epid);
    case CMD_STOP_ENDPOINT:
        return xhci_stop_endpoint(xhci, slot, epid);
    case CMD_SET_TR_DEQUEUE:
        return xhci_set_dequeue(xhci, slot, epid, trb->parameter);
    default:
        return xhci_reset_device(xhci, slot);
    }
}

static void execute(XhciState *xhci)
{
    const XhciTrb *trb = &xhci->command.trb;
    unsigned slot = trb->control >> 24;
    XhciCode code = CC_TRB;
    switch (trb_type(trb)) {
    case CMD_ENABLE_SLOT:
        code = xhci_enable_slot(xhci, &slot);
        break;
    case CMD_DISABLE_SLOT:
    case CMD_ADDRESS_DEVICE:
    case CMD_CONFIGURE_ENDPOINT:
    case CMD_EVALUATE_CONTEXT:
    case CMD_RESET_ENDPOINT:
    case CMD_STOP_ENDPOINT:
    case CMD_SET_TR_DEQUEUE:
    case CMD_RESET_DEVICE:
        code = slot_command(xhci, trb, slot);
        break;
    case CMD_PORT_BANDWIDTH:
        code = port_bandwidth(xhci, trb->parameter);
        break;
    case CMD_NOOP:
        code = CC_SUCCESS;
        break;
    case CMD_NEC_FIRMWARE:
        code = is_nec(xhci) ? CC_SUCCESS : CC_TRB;
        break;
    default:
        break;
    }
    complete(xhci, code, slot);
}

/* One command; false: none can be done now. */
static bool run_one(XhciState *xhci)
{
    if (!xhci->command.waiting) {
        if (!xhci_event_room(xhci, 0)) {
            return false;
        }
        switch (xhci_ring_fetch(xhci, &xhci->commands, &xhci->command.trb)) {
        case FETCH_EMPTY:
            xhci->commands_kicked = false;
            return false;
        case FETCH_BROKEN:
            xhci_die(xhci, "the command ring is not in memory, or has nothing but links");
            return false;
        case FETCH_DONE:
            read_changes(xhci);
            break;
        }
    }
    xhci->command.waiting = !stop_transfers(xhci);
    if (xhci->command.waiting) {
        return false;
    }
    execute(xhci);
    return true;
}

bool xhci_commands_run(XhciState *xhci)
{
    for (unsigned i = 0; i < COMMANDS_PER_PASS; i++) {
        if ((xhci->crcr & (CRCR_CS | CRCR_CA)) && !xhci->command.waiting) {
            ring_stopped(xhci);
            xhci->commands_kicked = false;
        }
        if (!xhci->commands_kicked || !(xhci->crcr & CRCR_CRR) || !run_one(xhci)) {
            return false;
        }
    }
    return true;
}
