/* SPDX-License-Identifier: GPL-2.0-or-later */
/* xHCI controllers, "qemu-xhci" and "nec-usb-xhci": PCI function, life, the loop's passes. */
#include "hw/usb/xhci.h"

#include <linux/pci_regs.h>
#include "hw/devices.h"
#include "vmm/util/bytes.h"

#define SERIAL_BUS_RELEASE    0x60 /* of the USB specification: 3.0 */
#define SERIAL_BUS_RELEASE_30 0x30
#define CACHE_LINE            0x10
#define CLASS_XHCI            0x0c0330

AddressSpace *xhci_memory(XhciState *xhci)
{
    return pci_dma_space(&xhci->pci);
}

void xhci_kick(XhciState *xhci)
{
    if (!xhci->quiesced) {
        event_loop_post(xhci->loop, &xhci->task);
    }
}

/* ---- The loop's work ---- */

/* Host controller reset: when the devices have given everything back. */
static void controller_reset(XhciState *xhci)
{
    if (!xhci_transfers_stop_all(xhci)) {
        return;
    }
    xhci_slots_reset(xhci);
    xhci_registers_reset(xhci);
    xhci_ports_reset(xhci);
}

static void work(void *opaque)
{
    XhciState *xhci = opaque;
    g_mutex_lock(&xhci->pci.dev.lock);
    bool more = false;
    if (xhci->quiesced) {
        /* resume kicks again */
    } else if (xhci->reset_asked) {
        controller_reset(xhci);
    } else {
        xhci_ports_run(xhci);
        if (xhci_runs(xhci)) {
            /* An endpoint's bell that rang before the command's is heard before it. */
            more = xhci_transfers_run(xhci);
            more |= xhci_commands_run(xhci);
            more |= xhci_transfers_run(xhci);
        }
    }
    if (more) {
        xhci_kick(xhci);
    }
    g_mutex_unlock(&xhci->pci.dev.lock);
}

/* ---- Life ---- */

static bool check_props(const XhciState *xhci, GError **error)
{
    if (xhci->p2 > XHCI_CONNECTOR || xhci->p3 > XHCI_CONNECTOR || xhci->p2 + xhci->p3 == 0) {
        return error_set(error, "p2=%u, p3=%u: 0 to %u ports of each kind, one at least", xhci->p2,
                         xhci->p3, XHCI_CONNECTOR);
    }
    if (xhci->slots < 1 || xhci->slots > XHCI_SLOTS || xhci->intrs < 1 ||
        xhci->intrs > XHCI_INTRS || xhci->intrs & (xhci->intrs - 1)) {
        return error_set(error, "slots=%u is not 1 to %u, or intrs=%u not a power of two up to %u",
                         xhci->slots, XHCI_SLOTS, xhci->intrs, XHCI_INTRS);
    }
    return true;
}

static bool init_interrupts(XhciState *xhci, GError **error)
{
    if (xhci->msi != ON_OFF_AUTO_OFF && !msi_init(&xhci->pci, xhci->intrs, false, error)) {
        return false;
    }
    return xhci->msix == ON_OFF_AUTO_OFF ||
           msix_init_shared(&xhci->pci, xhci->intrs, 0, XHCI_MSIX_TABLE, XHCI_MSIX_PBA, error);
}

static void init_function(XhciState *xhci)
{
    PciDevice *pci = &xhci->pci;
    pci->config[PCI_CACHE_LINE_SIZE] = CACHE_LINE;
    pci->wmask[PCI_CACHE_LINE_SIZE] = 0;
    pci->config[SERIAL_BUS_RELEASE] = SERIAL_BUS_RELEASE_30;
    memset(pci->used + SERIAL_BUS_RELEASE, 0xff, 4);
    mem_region_init_io(&xhci->region, "xhci", XHCI_BAR_SIZE, &xhci_ops, xhci, &pci->dev.lock);
    pci_register_bar(pci, 0, PCI_BAR_MEM64, &xhci->region);
}

static bool xhci_realize(Device *dev, GError **error)
{
    XhciState *xhci = (XhciState *)dev;
    xhci->loop = check_props(xhci, error) ? machine_io_loop(dev->machine, error) : NULL;
    if (!xhci->loop || !pci_device_realize(&xhci->pci, error)) {
        return false;
    }
    init_function(xhci);
    if (!init_interrupts(xhci, error)) {
        msix_uninit(&xhci->pci);
        pci_device_unrealize(&xhci->pci);
        mem_region_cleanup(&xhci->region);
        return false;
    }
    xhci->task = (LoopTask)LOOP_TASK_INIT(work, xhci);
    usb_bus_init(&xhci->bus, dev, xhci->loop);
    xhci->bus.forget = xhci_transfers_forget;
    xhci->bus.path = g_strdup_printf("0000:%02x:%02x.%x", pci_bus_number(xhci->pci.bus),
                                     PCI_SLOT(xhci->pci.devfn), PCI_FUNC(xhci->pci.devfn));
    xhci_ports_init(xhci);
    for (unsigned i = 0; i < xhci->intrs; i++) {
        xhci_intr_init(xhci, i);
    }
    xhci_registers_init(xhci);
    return true;
}

static void nothing(void *opaque)
{
}

static void xhci_quiesce(Device *dev)
{
    XhciState *xhci = (XhciState *)dev;
    g_mutex_lock(&dev->lock);
    xhci->quiesced = true;
    g_mutex_unlock(&dev->lock);
    event_loop_call(xhci->loop, nothing, NULL);
}

static void xhci_resume(Device *dev)
{
    XhciState *xhci = (XhciState *)dev;
    g_mutex_lock(&dev->lock);
    xhci->quiesced = false;
    xhci_kick(xhci);
    g_mutex_unlock(&dev->lock);
}

static void stop_on_loop(void *opaque)
{
    XhciState *xhci = opaque;
    g_mutex_lock(&xhci->pci.dev.lock);
    xhci_transfers_stop_all(xhci);
    g_mutex_unlock(&xhci->pci.dev.lock);
}

/* All packets come back, whatever they wait for. Main thread, no lock held. */
static void take_packets_back(XhciState *xhci)
{
    event_loop_call(xhci->loop, stop_on_loop, xhci);
    for (guint i = 0; i < xhci->bus.bus->children->len; i++) {
        UsbDevice *dev = g_ptr_array_index(xhci->bus.bus->children, i);
        if (usb_class(dev)->drain) {
            usb_class(dev)->drain(dev, true);
        }
    }
    event_loop_call(xhci->loop, nothing, NULL);
}

static void xhci_reset(Device *dev)
{
    XhciState *xhci = (XhciState *)dev;
    g_mutex_lock(&dev->lock);
    xhci_registers_reset(xhci); /* no more events */
    g_mutex_unlock(&dev->lock);
    take_packets_back(xhci);
    g_mutex_lock(&dev->lock);
    xhci_slots_reset(xhci);
    xhci_registers_reset(xhci);
    xhci_intr_vectors(xhci, false);
    g_mutex_unlock(&dev->lock);
    pci_device_reset(&xhci->pci);
    g_mutex_lock(&dev->lock);
    xhci_ports_reset(xhci);
    g_mutex_unlock(&dev->lock);
}

/* The devices on the bus are gone already. */
static void xhci_unrealize(Device *dev)
{
    XhciState *xhci = (XhciState *)dev;
    pci_device_unrealize(&xhci->pci);
    address_space_synchronize();
    g_mutex_lock(&dev->lock);
    xhci->quiesced = true;
    xhci_slots_reset(xhci);
    xhci_registers_reset(xhci);
    g_mutex_unlock(&dev->lock);
    event_loop_call(xhci->loop, nothing, NULL);
    msix_uninit(&xhci->pci);
    xhci_ports_cleanup(xhci);
    usb_bus_cleanup(&xhci->bus);
    mem_region_cleanup(&xhci->region);
}

/* ---- The two of them ---- */

#define XHCI_COMMON_PROPS                                                                          \
    PROP_U32("p2", XhciState, p2, 4, "USB 2 ports"),                                               \
        PROP_U32("p3", XhciState, p3, 4, "USB 3 ports"),                                           \
        PROP_U32("slots", XhciState, slots, XHCI_SLOTS, "Device slots"),                           \
        PROP_U32("intrs", XhciState, intrs, XHCI_INTRS, "Interrupters"),                           \
        PROP_ONOFFAUTO("msix", XhciState, msix, ON_OFF_AUTO_AUTO, "MSI-X")

static const Property qemu_xhci_props[] = {
    XHCI_COMMON_PROPS,
    PROP_ONOFFAUTO("msi", XhciState, msi, ON_OFF_AUTO_OFF, "MSI"),
    PROP_END,
};

static const Property nec_xhci_props[] = {
    XHCI_COMMON_PROPS,
    PROP_ONOFFAUTO("msi", XhciState, msi, ON_OFF_AUTO_AUTO, "MSI"),
    PROP_END,
};

static const PropertyGroup xhci_groups[] = {
    { pci_device_props, offsetof(XhciState, pci) },
    { NULL },
};

static const PciDeviceClass qemu_xhci_ops = {
    .vendor_id = 0x1b36,
    .device_id = 0x000d,
    .revision = 1,
    .class_code = CLASS_XHCI,
    .interrupt_pin = 1,
    .is_express = true,
};

static const PciDeviceClass nec_xhci_ops = {
    .vendor_id = 0x1033,
    .device_id = 0x0194,
    .revision = 3,
    .class_code = CLASS_XHCI,
    .interrupt_pin = 1,
    .is_express = true,
};

#define XHCI_CLASS(_name, _desc, _props, _ops)                                                     \
    {                                                                                              \
        .name = (_name), .desc = (_desc), .bus = BUS_PCI, .category = DEVICE_CATEGORY_BRIDGE,      \
        .size = sizeof(XhciState), .props = (_props), .groups = xhci_groups, .state = &xhci_state, \
        .hotpluggable = true, .has_child_bus = true, .child_bus = BUS_USB,                         \
        .realize = xhci_realize, .unrealize = xhci_unrealize, .reset = xhci_reset,                 \
        .quiesce = xhci_quiesce, .resume = xhci_resume, .ops = (_ops),                             \
    }

const DeviceClass qemu_xhci_class =
    XHCI_CLASS("qemu-xhci", "USB 3 host controller (xHCI 1.0)", qemu_xhci_props, &qemu_xhci_ops);
const DeviceClass nec_xhci_class = XHCI_CLASS(
    "nec-usb-xhci", "USB 3 host controller (NEC uPD720200, xHCI)", nec_xhci_props, &nec_xhci_ops);
