/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event rings and interrupters (xHCI 1.2, 4.9.4 and 4.17). */
#include "hw/usb/xhci.h"
#include "vmm/util/bytes.h"

#define ROOM_WANTED     4 /* events of one piece of work, about */
#define SEGMENT_MIN     16
#define SEGMENT_MAX     4096
#define MODERATION_UNIT 250 /* ns */
#define MODERATION_INIT 4000
#define POINTER_MASK    (~15ULL)
#define ERDP_KEPT       7 /* the segment index */

enum {
    REG_IMAN,
    REG_IMOD,
    REG_ERSTSZ,
    REG_RESERVED,
    REG_ERSTBA,
    REG_ERSTBA_HI,
    REG_ERDP,
    REG_ERDP_HI
};

/* ---- Interrupts ---- */

static void deliver(XhciState *xhci, unsigned index)
{
    XhciIntr *intr = &xhci->intr[index];
    if (msix_enabled(&xhci->pci)) {
        intr->iman &= ~IMAN_IP;
        msix_notify(&xhci->pci, index);
    } else if (msi_enabled(&xhci->pci)) {
        intr->iman &= ~IMAN_IP;
        msi_notify(&xhci->pci, index);
    } else {
        intr->asserted = true;
    }
}

static void update_line(XhciState *xhci)
{
    XhciIntr *intr = &xhci->intr[0];
    intr->asserted = intr->asserted && (intr->iman & IMAN_IP);
    pci_set_irq(&xhci->pci,
                intr->asserted && (intr->iman & IMAN_IE) && (xhci->usbcmd & USBCMD_INTE));
}

void xhci_intr_update(XhciState *xhci, unsigned index)
{
    XhciIntr *intr = &xhci->intr[index];
    bool wanted = (intr->iman & IMAN_IP) && (intr->iman & IMAN_IE) &&
                  (xhci->usbcmd & USBCMD_INTE) && !(intr->erdp & ERDP_EHB) && !intr->asserted;
    if (wanted) {
        int64_t now = clock_now(VM_CLOCK_VIRTUAL);
        if (now < intr->next_allowed) {
            timer_arm(&intr->timer, intr->next_allowed);
        } else {
            intr->next_allowed = now + (intr->imod & 0xffff) * MODERATION_UNIT;
            intr->erdp |= ERDP_EHB;
            deliver(xhci, index);
        }
    }
    if (index == 0) {
        update_line(xhci);
    }
}

static void moderation_over(void *opaque)
{
    XhciIntr *intr = opaque;
    xhci_intr_update(intr->xhci, intr - intr->xhci->intr);
}

/* ---- The ring ---- */

static bool ring_ready(const XhciIntr *intr)
{
    return intr->size != 0;
}

/* Events that the guest has not taken, by its dequeue pointer. */
static bool ring_used(const XhciIntr *intr, uint32_t *used)
{
    uint64_t at = (intr->erdp & POINTER_MASK) - intr->start;
    if (at >= (uint64_t)intr->size * 16) {
        return false;
    }
    *used = (intr->enqueue + intr->size - (uint32_t)(at / 16)) % intr->size;
    return true;
}

bool xhci_event_room(XhciState *xhci, unsigned index)
{
    XhciIntr *intr = &xhci->intr[index < xhci->intrs ? index : 0];
    uint32_t used;
    if (!ring_ready(intr)) {
        return true; /* events of a ring that is not there are lost */
    }
    if (!ring_used(intr, &used) || used + ROOM_WANTED < intr->size - 1) {
        return true;
    }
    xhci->events_full = true;
    return false;
}

static void put_event(XhciState *xhci, XhciIntr *intr, const XhciEvent *event)
{
    uint8_t raw[16];
    uint64_t addr = intr->start + 16ULL * intr->enqueue;
    store_le64(raw, event->parameter);
    store_le32(raw + 8, (event->length & 0xffffff) | (uint32_t)event->code << 24);
    store_le32(raw + 12, (uint32_t)event->type << TRB_TYPE_SHIFT | event->flags |
                             (uint32_t)event->slot << 24 | (uint32_t)event->epid << 16);
    /* The cycle bit tells the guest that the rest is there: it goes last. */
    uint32_t control = load_le32(raw + 12) | (intr->cycle ? TRB_CYCLE : 0);
    bool ok = dma_write(xhci_memory(xhci), addr, raw, 12);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    store_le32(raw, control);
    if (!ok || !dma_write(xhci_memory(xhci), addr + 12, raw, 4)) {
        xhci_die(xhci, "the event ring is not in memory");
        return;
    }
    if (++intr->enqueue == intr->size) {
        intr->enqueue = 0;
        intr->cycle = !intr->cycle;
    }
}

void xhci_event(XhciState *xhci, unsigned index, const XhciEvent *event)
{
    static const XhciEvent ring_full = { .type = EVENT_HOST, .code = CC_EVENT_RING_FULL };
    XhciIntr *intr = &xhci->intr[index < xhci->intrs ? index : 0];
    uint32_t used;
    if (!ring_ready(intr) || (xhci->usbsts & USBSTS_HCE)) {
        return;
    }
    if (!ring_used(intr, &used)) {
        xhci_die(xhci, "the event ring's dequeue pointer is outside of the ring");
        return;
    }
    if (used + 1 >= intr->size) {
        return; /* lost, as the event before this one said */
    }
    put_event(xhci, intr, used + 2 >= intr->size ? &ring_full : event);
    intr->iman |= IMAN_IP;
    xhci->usbsts |= USBSTS_EINT;
    xhci_intr_update(xhci, index < xhci->intrs ? index : 0);
}

/* The segment table: one segment (HCSPARAMS2). */
static void ring_set_up(XhciState *xhci, XhciIntr *intr)
{
    uint8_t entry[12];
    intr->size = 0;
    if (intr->erstsz == 0 || !intr->erstba) {
        return;
    }
    if (intr->erstsz != 1 || !dma_read(xhci_memory(xhci), intr->erstba, entry, sizeof(entry))) {
        xhci_die(xhci, "the event ring's segment table is not one entry in memory");
        return;
    }
    uint32_t size = load_le32(entry + 8) & 0xffff;
    if (size < SEGMENT_MIN || size > SEGMENT_MAX) {
        xhci_die(xhci, "an event ring of fewer than 16 or more than 4096 events");
        return;
    }
    intr->start = load_le64(entry) & ~63ULL;
    intr->size = size;
    intr->enqueue = 0;
    intr->cycle = true;
}

/* ---- Registers ---- */

uint32_t xhci_intr_read(XhciState *xhci, unsigned index, unsigned reg)
{
    const XhciIntr *intr = &xhci->intr[index];
    switch (reg) {
    case REG_IMAN:
        return intr->iman;
    case REG_IMOD:
        return intr->imod;
    case REG_ERSTSZ:
        return intr->erstsz;
    case REG_ERSTBA:
        return intr->erstba;
    case REG_ERSTBA_HI:
        return intr->erstba >> 32;
    case REG_ERDP:
        return intr->erdp;
    case REG_ERDP_HI:
        return intr->erdp >> 32;
    default:
        return 0;
    }
}

static uint64_t with_low(uint64_t old, uint32_t value)
{
    return (old & ~0xffffffffULL) | value;
}

static uint64_t with_high(uint64_t old, uint32_t value)
{
    return (old & 0xffffffff) | (uint64_t)value << 32;
}

/*
 * The guest has taken events: what waited for room goes on; what it has not seen yet is told again.
 * With nothing left no message follows (4.17.2): Linux would take it for another device's, and
 * leave the handler busy for ever.
 */
static void dequeue_written(XhciState *xhci, unsigned index, bool clear_busy)
{
    XhciIntr *intr = &xhci->intr[index];
    uint32_t used;
    if (clear_busy) {
        intr->erdp &= ~(uint64_t)ERDP_EHB;
        if (ring_ready(intr) && ring_used(intr, &used) && used) {
            intr->iman |= IMAN_IP;
            xhci->usbsts |= USBSTS_EINT;
        } else if (msix_enabled(&xhci->pci) || msi_enabled(&xhci->pci)) {
            intr->iman &= ~(uint32_t)IMAN_IP;
        }
        xhci_intr_update(xhci, index);
    }
    if (xhci->events_full) {
        xhci->events_full = false;
        xhci_kick(xhci);
    }
}

static void iman_write(XhciState *xhci, unsigned index, uint32_t value)
{
    XhciIntr *intr = &xhci->intr[index];
    intr->iman = (intr->iman & ~IMAN_IE & ~(value & IMAN_IP)) | (value & IMAN_IE);
    if (intr->iman & IMAN_IE && xhci->pci.msix_cap) {
        msix_vector_use(&xhci->pci, index);
    }
    xhci_intr_update(xhci, index);
}

void xhci_intr_write(XhciState *xhci, unsigned index, unsigned reg, uint32_t value)
{
    XhciIntr *intr = &xhci->intr[index];
    switch (reg) {
    case REG_IMAN:
        iman_write(xhci, index, value);
        break;
    case REG_IMOD:
        intr->imod = value;
        intr->next_allowed = MIN(intr->next_allowed,
                                 clock_now(VM_CLOCK_VIRTUAL) + (value & 0xffff) * MODERATION_UNIT);
        break;
    case REG_ERSTSZ:
        intr->erstsz = value & 0xffff;
        break;
    case REG_ERSTBA:
        intr->erstba = with_low(intr->erstba, value & ~63U);
        break;
    case REG_ERSTBA_HI: /* the write that sets the ring up */
        intr->erstba = with_high(intr->erstba, value);
        ring_set_up(xhci, intr);
        break;
    case REG_ERDP:
        intr->erdp = with_low(intr->erdp, (value & ~(uint32_t)ERDP_EHB) | (intr->erdp & ERDP_EHB));
        dequeue_written(xhci, index, value & ERDP_EHB);
        break;
    case REG_ERDP_HI:
        intr->erdp = with_high(intr->erdp, value);
        dequeue_written(xhci, index, false);
        break;
    default:
        break;
    }
}

/* ---- Life ---- */

void xhci_intr_init(XhciState *xhci, unsigned index)
{
    XhciIntr *intr = &xhci->intr[index];
    intr->xhci = xhci;
    timer_init(&intr->timer, xhci->loop, VM_CLOCK_VIRTUAL, &xhci->pci.dev.lock, moderation_over,
               intr);
    xhci_intr_reset(intr);
}

void xhci_intr_reset(XhciIntr *intr)
{
    timer_cancel(&intr->timer);
    intr->iman = intr->erstsz = 0;
    intr->imod = MODERATION_INIT;
    intr->erstba = intr->erdp = intr->start = 0;
    intr->size = intr->enqueue = 0;
    intr->cycle = true;
    intr->asserted = false;
    intr->next_allowed = 0;
}

void xhci_intr_vectors(XhciState *xhci, bool use)
{
    for (unsigned i = 0; xhci->pci.msix_cap && i < xhci->intrs; i++) {
        if (use && (xhci->intr[i].iman & IMAN_IE)) {
            msix_vector_use(&xhci->pci, i);
        } else if (!use) {
            msix_vector_unuse(&xhci->pci, i);
        }
    }
}
