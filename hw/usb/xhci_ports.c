/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Root hub ports of an xHCI controller (xHCI 1.2, 4.19 and 5.4.8). */
#include "hw/usb/xhci.h"

enum { REG_PORTSC = 0 };

/* Speed IDs of the default protocol (7.2.2.1.1). */
static const uint8_t speed_ids[USB_SPEED_COUNT] = {
    [USB_SPEED_FULL] = 1,
    [USB_SPEED_LOW] = 2,
    [USB_SPEED_HIGH] = 3,
    [USB_SPEED_SUPER] = 4,
};

static unsigned link_state(const XhciPort *port)
{
    return (port->portsc & PORTSC_PLS_MASK) >> PORTSC_PLS_SHIFT;
}

static void set_link_state(XhciPort *port, unsigned state)
{
    port->portsc = (port->portsc & ~(uint32_t)PORTSC_PLS_MASK) | state << PORTSC_PLS_SHIFT;
}

/* The device that this register stands for: one of the connector's two registers has it. */
static UsbDevice *port_device(const XhciPort *port)
{
    UsbDevice *dev = port->connector->dev;
    return dev && dev->attached && (dev->speed == USB_SPEED_SUPER) == port->is_usb3 ? dev : NULL;
}

static void send_event(XhciState *xhci, XhciPort *port)
{
    if (!xhci_runs(xhci)) {
        port->notify = false;
        return;
    }
    if (!xhci_event_room(xhci, 0)) {
        port->notify = true;
        return;
    }
    port->notify = false;
    XhciEvent event = { .type = EVENT_PORT,
                        .code = CC_SUCCESS,
                        .parameter = (uint64_t)(port - xhci->ports + 1) << 24 };
    xhci_event(xhci, 0, &event);
}

/* Change bits: one event when there was none before (4.19.2). */
static void port_changed(XhciState *xhci, XhciPort *port, uint32_t bits)
{
    bool told = port->portsc & PORTSC_CHANGES;
    port->portsc |= bits;
    xhci->usbsts |= USBSTS_PCD;
    if (!told) {
        send_event(xhci, port);
    }
}

/* What is plugged in, as the register shows it before a reset. */
static void port_show(XhciPort *port)
{
    UsbDevice *dev = port_device(port);
    port->portsc &= PORTSC_CHANGES | PORTSC_WAKE | PORTSC_PIC_MASK;
    port->portsc |= PORTSC_PP;
    if (!dev) {
        set_link_state(port, PLS_RX_DETECT);
        return;
    }
    port->portsc |= PORTSC_CCS | (uint32_t)speed_ids[dev->speed] << PORTSC_SPEED_SHIFT;
    if (port->is_usb3) { /* links train by themselves */
        port->portsc |= PORTSC_PED;
        set_link_state(port, PLS_U0);
    } else {
        set_link_state(port, PLS_POLLING);
    }
}

static XhciPort *register_of(UsbPort *connector)
{
    XhciState *xhci = connector->opaque;
    UsbDevice *dev = connector->dev;
    for (unsigned i = 0; i < xhci->port_count; i++) {
        XhciPort *port = &xhci->ports[i];
        if (port->connector == connector && port->is_usb3 == (dev->speed == USB_SPEED_SUPER)) {
            return port;
        }
    }
    return NULL;
}

static void port_plugged(UsbPort *connector)
{
    XhciPort *port = register_of(connector);
    if (port) {
        port_show(port);
        port_changed(connector->opaque, port, PORTSC_CSC);
    }
}

static void port_wakeup(UsbPort *connector)
{
    XhciPort *port = register_of(connector);
    if (port && link_state(port) == PLS_U3) {
        set_link_state(port, PLS_RESUME);
        port_changed(connector->opaque, port, PORTSC_PLC);
    }
}

static const UsbPortOps port_ops = {
    .attached = port_plugged,
    .detached = port_plugged,
    .wakeup = port_wakeup,
};

UsbDevice *xhci_find_device(XhciState *xhci, unsigned number, uint32_t route)
{
    if (number < 1 || number > xhci->port_count || !port_device(&xhci->ports[number - 1])) {
        return NULL;
    }
    UsbDevice *dev = usb_find(xhci->ports[number - 1].connector, route);
    return dev && dev->attached ? dev : NULL;
}

/* ---- Work of the loop ---- */

static void port_reset(XhciState *xhci, XhciPort *port)
{
    UsbDevice *dev = port_device(port);
    bool warm = port->warm && port->is_usb3;
    port->resetting = port->warm = false;
    port->portsc &= ~(uint32_t)PORTSC_PR;
    if (!dev) {
        return;
    }
    usb_reset(dev);
    set_link_state(port, PLS_U0);
    port->portsc |= PORTSC_PED;
    port_changed(xhci, port, PORTSC_PRC | (warm ? PORTSC_WRC : 0));
}

void xhci_ports_run(XhciState *xhci)
{
    for (unsigned i = 0; i < xhci->port_count; i++) {
        XhciPort *port = &xhci->ports[i];
        if (port->resetting) {
            port_reset(xhci, port);
        }
        if (port->notify) {
            send_event(xhci, port);
        }
    }
}

/* ---- Registers ---- */

uint32_t xhci_port_read(XhciState *xhci, unsigned index, unsigned reg)
{
    return reg == REG_PORTSC ? xhci->ports[index].portsc : 0;
}

static void write_link_state(XhciState *xhci, XhciPort *port, unsigned wanted)
{
    unsigned now = link_state(port);
    if (!(port->portsc & PORTSC_PED)) {
        return;
    }
    if (wanted == PLS_U0 && (now <= PLS_U3 || now == PLS_RESUME)) {
        set_link_state(port, PLS_U0);
        if (now != PLS_U0) {
            port_changed(xhci, port, PORTSC_PLC);
        }
    } else if (wanted == PLS_U3 && now < PLS_U3) {
        set_link_state(port, PLS_U3);
    } else if (wanted == PLS_RESUME && now == PLS_U3 && !port->is_usb3) {
        set_link_state(port, PLS_RESUME);
    }
}

void xhci_port_write(XhciState *xhci, unsigned index, unsigned reg, uint32_t value)
{
    XhciPort *port = &xhci->ports[index];
    if (reg != REG_PORTSC) {
        return;
    }
    if (((value & PORTSC_PR) || ((value & PORTSC_WPR) && port->is_usb3)) && port_device(port)) {
        port->resetting = true;
        port->warm = value & PORTSC_WPR;
        port->portsc = (port->portsc & ~(uint32_t)PORTSC_PED) | PORTSC_PR;
        xhci_kick(xhci);
        return;
    }
    port->portsc &= ~(value & PORTSC_CHANGES);
    port->portsc = (port->portsc & ~(uint32_t)(PORTSC_WAKE | PORTSC_PIC_MASK)) |
                   (value & (PORTSC_WAKE | PORTSC_PIC_MASK));
    if (value & PORTSC_LWS) {
        write_link_state(xhci, port, (value & PORTSC_PLS_MASK) >> PORTSC_PLS_SHIFT);
    }
    if ((value & PORTSC_PED) && (port->portsc & PORTSC_PED)) { /* a written 1 disables */
        port->portsc &= ~(uint32_t)PORTSC_PED;
        set_link_state(port, PLS_DISABLED);
    }
}

/* ---- Life ---- */

void xhci_ports_init(XhciState *xhci)
{
    unsigned connectors = MAX(xhci->p2, xhci->p3);
    xhci->port_count = xhci->p2 + xhci->p3;
    for (unsigned i = 0; i < connectors; i++) {
        unsigned speeds = i < xhci->p3 ? USB_SPEED_BIT(USB_SPEED_SUPER) : 0;
        if (i < xhci->p2) {
            speeds |= USB_SPEED_BIT(USB_SPEED_LOW) | USB_SPEED_BIT(USB_SPEED_FULL) |
                      USB_SPEED_BIT(USB_SPEED_HIGH);
        }
        usb_port_init(&xhci->connectors[i], &xhci->bus, NULL, i + 1, speeds, &port_ops, xhci);
    }
    for (unsigned i = 0; i < xhci->port_count; i++) {
        bool usb3 = i < xhci->p3;
        xhci->ports[i].is_usb3 = usb3;
        xhci->ports[i].connector = &xhci->connectors[usb3 ? i : i - xhci->p3];
    }
}

void xhci_ports_cleanup(XhciState *xhci)
{
    for (unsigned i = 0; i < MAX(xhci->p2, xhci->p3); i++) {
        usb_port_cleanup(&xhci->connectors[i]);
    }
}

void xhci_ports_reset(XhciState *xhci)
{
    for (unsigned i = 0; i < xhci->port_count; i++) {
        XhciPort *port = &xhci->ports[i];
        port->resetting = port->warm = port->notify = false;
        port->portsc = 0;
        port_show(port);
        if (port_device(port)) {
            port->portsc |= PORTSC_CSC;
        }
    }
}
