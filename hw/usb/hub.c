/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "usb-hub": a full-speed hub with eight ports (USB 2.0, chapter 11). */
#include <string.h>
#include "hw/devices.h"
#include "hw/usb/usb.h"
#include "vmm/util/bytes.h"

#define HUB_PORTS       8
#define STATUS_ENDPOINT 1
#define STATUS_BYTES    (1 + HUB_PORTS / 8)

enum { /* wPortStatus */
       PORT_CONNECTION = 1 << 0,
       PORT_ENABLE = 1 << 1,
       PORT_SUSPEND = 1 << 2,
       PORT_RESET = 1 << 4,
       PORT_POWER = 1 << 8,
       PORT_LOW_SPEED = 1 << 9,
};

enum { /* wPortChange */
       C_PORT_CONNECTION = 1 << 0,
       C_PORT_ENABLE = 1 << 1,
       C_PORT_SUSPEND = 1 << 2,
       C_PORT_OVER_CURRENT = 1 << 3,
       C_PORT_RESET = 1 << 4,
};

enum { /* feature selectors */
       F_PORT_ENABLE = 1,
       F_PORT_SUSPEND = 2,
       F_PORT_RESET = 4,
       F_PORT_POWER = 8,
       F_C_PORT_CONNECTION = 16,
       F_C_PORT_RESET = 20,
};

typedef struct HubPort {
    UsbPort port;
    uint16_t status, change;
} HubPort;

typedef struct UsbHub {
    UsbDevice usb;
    HubPort ports[HUB_PORTS];
    UsbPacket *waiting; /* of the status endpoint */
} UsbHub;

static const char *const hub_strings[] = { NULL, "QEMU", "QEMU USB Hub", "314159" };

static const UsbEndpointDesc hub_endpoints[] = {
    { .address = USB_DIR_IN | STATUS_ENDPOINT,
      .type = USB_TYPE_INTERRUPT,
      .max_packet = STATUS_BYTES,
      .interval = 0xff },
};

static const UsbInterfaceDesc hub_interface = {
    .class_code = 9,
    .endpoint_count = 1,
    .endpoints = hub_endpoints,
};

static const UsbSpeedDesc hub_full = {
    .bcd_usb = 0x0110,
    .class_code = 9,
    .max_packet0 = 8,
    .attributes = USB_CONFIG_ONE | USB_CONFIG_SELF_POWERED | USB_CONFIG_WAKEUP,
    .interface_count = 1,
    .interfaces = &hub_interface,
};

static const UsbDesc hub_desc = {
    .vendor = 0x0409,
    .product = 0x55aa,
    .bcd_device = 0x0101,
    .manufacturer_string = 1,
    .product_string = 2,
    .serial_string = 3,
    .strings = hub_strings,
    .string_count = G_N_ELEMENTS(hub_strings),
    .speeds = { [USB_SPEED_FULL] = &hub_full },
};

/* ---- The status endpoint ---- */

/* A bit for each port with a change (11.12.4). */
static bool changes(const UsbHub *hub, uint8_t *bits)
{
    bool any = false;
    memset(bits, 0, STATUS_BYTES);
    for (unsigned i = 0; i < HUB_PORTS; i++) {
        if (hub->ports[i].change) {
            bits[(i + 1) / 8] |= 1U << (i + 1) % 8;
            any = true;
        }
    }
    return any;
}

static void tell(UsbHub *hub)
{
    uint8_t bits[STATUS_BYTES];
    if (!changes(hub, bits)) {
        return;
    }
    if (hub->waiting) {
        UsbPacket *packet = hub->waiting;
        hub->waiting = NULL;
        usb_packet_copy(packet, bits, sizeof(bits));
        usb_complete(packet, USB_DONE);
    } else {
        usb_wakeup(&hub->usb);
    }
}

static UsbStatus hub_submit(UsbDevice *dev, UsbPacket *packet)
{
    UsbHub *hub = (UsbHub *)dev;
    uint8_t bits[STATUS_BYTES];
    if (packet->length < 1) {
        return USB_BABBLE;
    }
    if (changes(hub, bits)) {
        usb_packet_copy(packet, bits, sizeof(bits));
        return USB_DONE;
    }
    if (hub->waiting) {
        return USB_ERROR;
    }
    hub->waiting = packet;
    return USB_PENDING;
}

static bool hub_cancel(UsbDevice *dev, UsbPacket *packet)
{
    ((UsbHub *)dev)->waiting = NULL;
    return true;
}

/* ---- Ports ---- */

static HubPort *hub_port(UsbHub *hub, unsigned number)
{
    return number >= 1 && number <= HUB_PORTS ? &hub->ports[number - 1] : NULL;
}

static UsbPort *hub_downstream(UsbDevice *dev, unsigned number)
{
    HubPort *port = hub_port((UsbHub *)dev, number);
    return port ? &port->port : NULL;
}

static bool port_has_device(const HubPort *port)
{
    return port->port.dev && port->port.dev->attached;
}

static void port_plugged(UsbPort *base)
{
    UsbHub *hub = base->opaque;
    HubPort *port = &hub->ports[base->number - 1];
    uint16_t was = port->status;
    port->status &= ~(PORT_CONNECTION | PORT_LOW_SPEED);
    if (port_has_device(port) && (port->status & PORT_POWER)) {
        port->status |= PORT_CONNECTION;
        port->status |= base->dev->speed == USB_SPEED_LOW ? PORT_LOW_SPEED : 0;
    } else {
        port->change |= port->status & PORT_ENABLE ? C_PORT_ENABLE : 0;
        port->status &= ~(PORT_ENABLE | PORT_SUSPEND);
    }
    if ((was ^ port->status) & PORT_CONNECTION) {
        port->change |= C_PORT_CONNECTION;
    }
    tell(hub);
}

static void port_wakeup(UsbPort *base)
{
    UsbHub *hub = base->opaque;
    HubPort *port = &hub->ports[base->number - 1];
    if (port->status & PORT_SUSPEND) {
        port->status &= ~PORT_SUSPEND;
        port->change |= C_PORT_SUSPEND;
        tell(hub);
    }
}

static const UsbPortOps hub_port_ops = {
    .attached = port_plugged,
    .detached = port_plugged,
    .wakeup = port_wakeup,
};

/* ---- Class requests (11.24.2) ---- */

static int set_port_feature(HubPort *port, unsigned feature)
{
    switch (feature) {
    case F_PORT_SUSPEND:
        port->status |= port->status & PORT_ENABLE ? PORT_SUSPEND : 0;
        return 0;
    case F_PORT_RESET:
        if (port_has_device(port)) {
            usb_reset(port->port.dev);
            port->status |= PORT_ENABLE;
            port->change |= C_PORT_RESET;
        }
        return 0;
    case F_PORT_POWER:
        port->status |= PORT_POWER;
        port_plugged(&port->port);
        return 0;
    default:
        return -1;
    }
}

static int clear_port_feature(HubPort *port, unsigned feature)
{
    if (feature >= F_C_PORT_CONNECTION && feature <= F_C_PORT_RESET) {
        port->change &= ~(1U << (feature - F_C_PORT_CONNECTION));
        return 0;
    }
    switch (feature) {
    case F_PORT_ENABLE:
        port->status &= ~PORT_ENABLE;
        return 0;
    case F_PORT_SUSPEND:
        if (port->status & PORT_SUSPEND) {
            port->status &= ~PORT_SUSPEND;
            port->change |= C_PORT_SUSPEND;
        }
        return 0;
    case F_PORT_POWER:
        port->status = 0;
        port_plugged(&port->port);
        return 0;
    default:
        return -1;
    }
}

static int give(const UsbSetup *setup, uint8_t *data, const uint8_t *answer, unsigned len)
{
    len = MIN(len, setup->length);
    memcpy(data, answer, len);
    return len;
}

static int hub_control(UsbDevice *dev, const UsbSetup *setup, uint8_t *data)
{
    static const uint8_t descriptor[] = { 9, USB_DESC_HUB, HUB_PORTS, 0x0a, 0, 1, 0, 0, 0xff };
    static const uint8_t hub_status[4] = { 0 };
    HubPort *port = hub_port((UsbHub *)dev, setup->index & 0xff);
    uint8_t status[4];
    int result = -1;
    switch (USB_REQUEST(setup->type, setup->request)) {
    case USB_REQUEST(0xa0, USB_REQ_GET_DESCRIPTOR):
        return setup->value >> 8 == USB_DESC_HUB ? give(setup, data, descriptor, sizeof(descriptor))
                                                 : -1;
    case USB_REQUEST(0xa0, USB_REQ_GET_STATUS):
        return give(setup, data, hub_status, sizeof(hub_status));
    case USB_REQUEST(0x20, USB_REQ_SET_FEATURE):
    case USB_REQUEST(0x20, USB_REQ_CLEAR_FEATURE):
        return setup->value <= 1 ? 0 : -1; /* changes of the hub's own power: never there */
    case USB_REQUEST(0xa3, USB_REQ_GET_STATUS):
        if (!port) {
            return -1;
        }
        store_le16(status, port->status);
        store_le16(status + 2, port->change);
        return give(setup, data, status, sizeof(status));
    case USB_REQUEST(0x23, USB_REQ_SET_FEATURE):
        result = port ? set_port_feature(port, setup->value) : -1;
        break;
    case USB_REQUEST(0x23, USB_REQ_CLEAR_FEATURE):
        result = port ? clear_port_feature(port, setup->value) : -1;
        break;
    default:
        return -1;
    }
    tell((UsbHub *)dev);
    return result;
}

/* ---- Life ---- */

static void hub_reset(UsbDevice *dev)
{
    UsbHub *hub = (UsbHub *)dev;
    for (unsigned i = 0; i < HUB_PORTS; i++) {
        HubPort *port = &hub->ports[i];
        port->status = PORT_POWER;
        port->change = 0;
        if (port_has_device(port)) {
            port->status |= PORT_CONNECTION;
            port->status |= port->port.dev->speed == USB_SPEED_LOW ? PORT_LOW_SPEED : 0;
            port->change = C_PORT_CONNECTION;
        }
    }
}

static bool hub_realize(UsbDevice *dev, GError **error)
{
    UsbHub *hub = (UsbHub *)dev;
    unsigned depth = 1;
    for (const UsbPort *port = dev->port; port->hub; port = port->hub->port) {
        depth++;
    }
    if (depth > USB_HUB_DEPTH) {
        return error_set(error, "usb-hub: %u hubs between a device and its controller at most",
                         USB_HUB_DEPTH);
    }
    for (unsigned i = 0; i < HUB_PORTS; i++) {
        usb_port_init(&hub->ports[i].port, dev->bus, dev, i + 1,
                      USB_SPEED_BIT(USB_SPEED_LOW) | USB_SPEED_BIT(USB_SPEED_FULL), &hub_port_ops,
                      hub);
        hub->ports[i].status = PORT_POWER;
    }
    return true;
}

static void hub_unrealize(UsbDevice *dev)
{
    UsbHub *hub = (UsbHub *)dev;
    for (unsigned i = 0; i < HUB_PORTS; i++) {
        usb_port_cleanup(&hub->ports[i].port);
    }
}

static const UsbDeviceClass hub_ops = {
    .product = "QEMU USB Hub",
    .desc = &hub_desc,
    .firmware_name = "hub",
    .realize = hub_realize,
    .unrealize = hub_unrealize,
    .reset = hub_reset,
    .control = hub_control,
    .submit = hub_submit,
    .cancel = hub_cancel,
    .downstream = hub_downstream,
};

static const PropertyGroup hub_groups[] = {
    { usb_device_props, offsetof(UsbHub, usb) },
    { NULL },
};

static const StateField hub_port_fields[] = {
    STATE_INT(HubPort, status),
    STATE_INT(HubPort, change),
    STATE_END,
};
static const StateSection hub_port_state = { .name = "hub-port",
                                             .version = 1,
                                             .fields = hub_port_fields };

static const StateField hub_fields[] = {
    STATE_STRUCT(UsbHub, usb, &usb_device_state),
    STATE_STRUCT_ARRAY(UsbHub, ports, &hub_port_state),
    STATE_END,
};
static const StateSection hub_state = { .name = "usb-hub", .version = 1, .fields = hub_fields };

const DeviceClass usb_hub_class = {
    .name = "usb-hub",
    .desc = "USB hub with eight ports",
    .bus = BUS_USB,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(UsbHub),
    .groups = hub_groups,
    .state = &hub_state,
    .hotpluggable = true,
    .realize = usb_device_realize,
    .unrealize = usb_device_unrealize,
    .reset = usb_device_reset,
    .firmware_name = usb_firmware_name,
    .ops = &hub_ops,
};
