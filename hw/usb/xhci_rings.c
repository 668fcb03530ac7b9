/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading TRB rings (xHCI 1.2, 4.9.2). */
#include "hw/usb/xhci.h"
#include "vmm/util/bytes.h"

#define LINKS_MAX 32 /* from one TRB to the next: a ring of links alone ends here */

XhciFetch xhci_ring_fetch(XhciState *xhci, XhciRing *ring, XhciTrb *trb)
{
    for (unsigned links = 0; links < LINKS_MAX; links++) {
        uint8_t raw[16];
        if (!dma_read(xhci_memory(xhci), ring->dequeue, raw, sizeof(raw))) {
            return FETCH_BROKEN;
        }
        *trb = (XhciTrb){ .parameter = load_le64(raw),
                          .status = load_le32(raw + 8),
                          .control = load_le32(raw + 12),
                          .addr = ring->dequeue };
        if ((trb->control & TRB_CYCLE) != ring->ccs) {
            return FETCH_EMPTY;
        }
        /* The producer set the cycle bit last; what was read before it may be older. */
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!dma_read(xhci_memory(xhci), ring->dequeue, raw, 12)) {
            return FETCH_BROKEN;
        }
        trb->parameter = load_le64(raw);
        trb->status = load_le32(raw + 8);
        if (trb_type(trb) != TRB_LINK) {
            ring->dequeue += 16;
            return FETCH_DONE;
        }
        ring->dequeue = trb->parameter & ~15ULL;
        ring->ccs ^= !!(trb->control & TRB_TOGGLE);
    }
    return FETCH_BROKEN;
}
