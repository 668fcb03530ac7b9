/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The registers of an xHCI controller (xHCI 1.2, chapter 5). */
#include "hw/usb/xhci.h"
#include "vmm/util/bytes.h"

#define HCI_VERSION     0x0100
#define MICROFRAME_NS   125000
#define MFINDEX_MASK    0x3fff
#define EXTENDED_CAPS   0x20
#define USB_NAME        0x20425355 /* "USB " */
#define HCC_64BIT       1
#define OPER_END        0x40 /* of the operational registers before the ports */
#define INTR_REGS_BYTES 0x20
#define PORT_REGS_BYTES 0x10
#define DOORBELL_BYTES  4

enum { /* capability registers */
       CAP_LENGTH_VERSION = 0x00,
       CAP_HCSPARAMS1 = 0x04,
       CAP_HCSPARAMS2 = 0x08,
       CAP_HCCPARAMS1 = 0x10,
       CAP_DBOFF = 0x14,
       CAP_RTSOFF = 0x18,
       CAP_USB2 = EXTENDED_CAPS,
       CAP_USB3 = EXTENDED_CAPS + 0x10,
};

enum { /* operational registers */
       OPER_USBCMD = 0x00,
       OPER_USBSTS = 0x04,
       OPER_PAGESIZE = 0x08,
       OPER_DNCTRL = 0x14,
       OPER_CRCR = 0x18,
       OPER_CRCR_HI = 0x1c,
       OPER_DCBAAP = 0x30,
       OPER_DCBAAP_HI = 0x34,
       OPER_CONFIG = 0x38,
};

void xhci_die(XhciState *xhci, const char *why)
{
    device_guest_error(&xhci->pci.dev, "%s", why);
    xhci->usbsts |= USBSTS_HCE;
}

/* ---- Capabilities ---- */

/* Supported protocol (7.2): USB 3 has the lower port numbers. */
static uint32_t protocol_read(const XhciState *xhci, bool usb3, unsigned reg)
{
    switch (reg) {
    case 0:
        return usb3 ? 0x03000002 : 0x02000402; /* revision, next in words, id */
    case 4:
        return USB_NAME;
    case 8:
        return usb3 ? xhci->p3 << 8 | 1 : xhci->p2 << 8 | (xhci->p3 + 1);
    default:
        return 0;
    }
}

static uint32_t capability_read(const XhciState *xhci, unsigned reg)
{
    if (reg >= CAP_USB3) {
        return protocol_read(xhci, true, reg - CAP_USB3);
    }
    if (reg >= CAP_USB2) {
        return protocol_read(xhci, false, reg - CAP_USB2);
    }
    switch (reg) {
    case CAP_LENGTH_VERSION:
        return HCI_VERSION << 16 | XHCI_OPER;
    case CAP_HCSPARAMS1:
        return xhci->port_count << 24 | xhci->intrs << 8 | xhci->slots;
    case CAP_HCSPARAMS2:
        return 0xf; /* isochronous threshold 8 microframes + 7; one event ring segment */
    case CAP_HCCPARAMS1:
        return EXTENDED_CAPS / 4 << 16 | HCC_64BIT;
    case CAP_DBOFF:
        return XHCI_DOORBELLS;
    case CAP_RTSOFF:
        return XHCI_RUNTIME;
    default:
        return 0;
    }
}

/* ---- Operational registers ---- */

static uint32_t oper_read(const XhciState *xhci, unsigned reg)
{
    switch (reg) {
    case OPER_USBCMD:
        return xhci->usbcmd | (xhci->reset_asked ? USBCMD_HCRST : 0);
    case OPER_USBSTS:
        return xhci->usbsts;
    case OPER_PAGESIZE:
        return 1; /* 4 KiB */
    case OPER_DNCTRL:
        return xhci->dnctrl;
    case OPER_CRCR:
        return xhci->crcr & CRCR_CRR; /* the rest reads as 0 (5.4.5) */
    case OPER_DCBAAP:
        return xhci->dcbaap;
    case OPER_DCBAAP_HI:
        return xhci->dcbaap >> 32;
    case OPER_CONFIG:
        return xhci->config;
    default:
        return 0;
    }
}

static void arm_wrap(XhciState *xhci)
{
    if (!(xhci->usbcmd & USBCMD_EWE) || !xhci_runs(xhci)) {
        timer_cancel(&xhci->wrap_timer);
        return;
    }
    int64_t period = (int64_t)MICROFRAME_NS * (MFINDEX_MASK + 1);
    int64_t passed = clock_now(VM_CLOCK_VIRTUAL) - xhci->mfindex_start;
    timer_arm(&xhci->wrap_timer, xhci->mfindex_start + (passed / period + 1) * period);
}

static void wrapped(void *opaque)
{
    static const XhciEvent event = { .type = EVENT_MFINDEX_WRAP, .code = CC_SUCCESS };
    XhciState *xhci = opaque;
    if (xhci_runs(xhci)) {
        xhci_event(xhci, 0, &event);
    }
    arm_wrap(xhci);
}

static void run_or_halt(XhciState *xhci)
{
    if (xhci->usbcmd & USBCMD_RS) {
        xhci->usbsts &= ~(uint32_t)USBSTS_HCH;
        xhci->mfindex_start = clock_now(VM_CLOCK_VIRTUAL);
    } else {
        xhci->usbsts |= USBSTS_HCH;
        xhci->crcr &= ~(uint64_t)CRCR_CRR;
    }
    xhci_kick(xhci);
}

static void usbcmd_write(XhciState *xhci, uint32_t value)
{
    uint32_t changed = xhci->usbcmd ^ value;
    xhci->usbcmd = value & USBCMD_STORED;
    /* Nothing is saved: a controller that is asked to restore says that it could not. */
    if (value & USBCMD_CSS) {
        xhci->usbsts &= ~(uint32_t)USBSTS_SRE;
    }
    if (value & USBCMD_CRS) {
        xhci->usbsts |= USBSTS_SRE;
    }
    if (value & USBCMD_HCRST) {
        xhci->reset_asked = true;
        xhci_kick(xhci);
        return;
    }
    if (changed & USBCMD_RS) {
        run_or_halt(xhci);
    }
    arm_wrap(xhci);
    for (unsigned i = 0; i < xhci->intrs; i++) {
        xhci_intr_update(xhci, i);
    }
}

static void oper_write(XhciState *xhci, unsigned reg, uint32_t value)
{
    switch (reg) {
    case OPER_USBCMD:
        usbcmd_write(xhci, value);
        break;
    case OPER_USBSTS:
        xhci->usbsts &= ~(value & (USBSTS_HSE | USBSTS_EINT | USBSTS_PCD | USBSTS_SRE));
        break;
    case OPER_DNCTRL:
        xhci->dnctrl = value & 0xffff;
        break;
    case OPER_CRCR:
    case OPER_CRCR_HI:
        xhci_command_ring_write(xhci, reg == OPER_CRCR_HI, value);
        break;
    case OPER_DCBAAP:
        xhci->dcbaap = (xhci->dcbaap & ~0xffffffffULL) | (value & ~63U);
        break;
    case OPER_DCBAAP_HI:
        xhci->dcbaap = (xhci->dcbaap & 0xffffffff) | (uint64_t)value << 32;
        break;
    case OPER_CONFIG:
        xhci->config = value & 0xff;
        break;
    default:
        break;
    }
}

/* ---- The window ---- */

static uint32_t runtime_read(XhciState *xhci, unsigned reg)
{
    if (reg == 0) {
        int64_t passed = clock_now(VM_CLOCK_VIRTUAL) - xhci->mfindex_start;
        return xhci_runs(xhci) ? (passed / MICROFRAME_NS) & MFINDEX_MASK : 0;
    }
    unsigned index = reg / INTR_REGS_BYTES - 1;
    return reg >= INTR_REGS_BYTES && index < xhci->intrs
               ? xhci_intr_read(xhci, index, reg % INTR_REGS_BYTES / 4)
               : 0;
}

static uint64_t xhci_read(void *opaque, uint64_t offset, unsigned size)
{
    XhciState *xhci = opaque;
    if (offset >= XHCI_MSIX_TABLE) {
        return xhci->pci.msix_cap ? msix_window_read(&xhci->pci, offset, size) : 0;
    }
    if (offset >= XHCI_DOORBELLS) {
        return 0;
    }
    if (offset >= XHCI_RUNTIME) {
        return runtime_read(xhci, offset - XHCI_RUNTIME);
    }
    if (offset >= XHCI_PORT_REGS) {
        unsigned reg = offset - XHCI_PORT_REGS, index = reg / PORT_REGS_BYTES;
        return index < xhci->port_count ? xhci_port_read(xhci, index, reg % PORT_REGS_BYTES) : 0;
    }
    if (offset >= XHCI_OPER + OPER_END) {
        return 0;
    }
    return offset >= XHCI_OPER ? oper_read(xhci, offset - XHCI_OPER)
                               : capability_read(xhci, offset);
}

static void xhci_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    XhciState *xhci = opaque;
    if (offset >= XHCI_MSIX_TABLE) {
        if (xhci->pci.msix_cap) {
            msix_window_write(&xhci->pci, offset, value, size);
        }
    } else if (offset >= XHCI_DOORBELLS) {
        xhci_doorbell(xhci, (offset - XHCI_DOORBELLS) / DOORBELL_BYTES, value);
    } else if (offset >= XHCI_RUNTIME) {
        unsigned reg = offset - XHCI_RUNTIME, index = reg / INTR_REGS_BYTES - 1;
        if (reg >= INTR_REGS_BYTES && index < xhci->intrs) {
            xhci_intr_write(xhci, index, reg % INTR_REGS_BYTES / 4, value);
        }
    } else if (offset >= XHCI_PORT_REGS) {
        unsigned reg = offset - XHCI_PORT_REGS, index = reg / PORT_REGS_BYTES;
        if (index < xhci->port_count) {
            xhci_port_write(xhci, index, reg % PORT_REGS_BYTES, value);
        }
    } else if (offset >= XHCI_OPER && offset < XHCI_OPER + OPER_END) {
        oper_write(xhci, offset - XHCI_OPER, value);
    }
}

const MemOps xhci_ops = {
    .read = xhci_read,
    .write = xhci_write,
    .min_size = 4,
    .max_size = 4,
};

void xhci_registers_reset(XhciState *xhci)
{
    xhci->usbcmd = 0;
    xhci->usbsts = USBSTS_HCH;
    xhci->dnctrl = xhci->config = 0;
    xhci->dcbaap = xhci->crcr = 0;
    xhci->commands = (XhciRing){ 0 };
    xhci->commands_kicked = xhci->reset_asked = xhci->events_full = false;
    xhci->mfindex_start = 0;
    xhci->kicked_slots = 0;
    xhci->command = (XhciCommand){ 0 };
    timer_cancel(&xhci->wrap_timer);
    for (unsigned i = 0; i < xhci->intrs; i++) {
        xhci_intr_reset(&xhci->intr[i]);
        xhci_intr_update(xhci, i);
    }
}

void xhci_registers_init(XhciState *xhci)
{
    timer_init(&xhci->wrap_timer, xhci->loop, VM_CLOCK_VIRTUAL, &xhci->pci.dev.lock, wrapped, xhci);
}
