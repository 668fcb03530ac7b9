/* SPDX-License-Identifier: GPL-2.0-or-later */
/* USB packets and the life of USB devices. */
#include "hw/usb/usb.h"

#include <string.h>
#include "vmm/util/bytes.h"

const char *const usb_speed_names[USB_SPEED_COUNT] = { "1.5", "12", "480", "5000" };

/* ---- Packets ---- */

/* Moves the next `len` bytes of the packet; data NULL: zeros. */
static uint64_t packet_move(UsbPacket *packet, uint8_t *data, uint64_t len)
{
    uint64_t skip = packet->actual, moved = 0;
    for (unsigned i = 0; i < packet->iov_count && moved < len; i++) {
        const struct iovec *iov = &packet->iov[i];
        if (skip >= iov->iov_len) {
            skip -= iov->iov_len;
            continue;
        }
        uint64_t n = MIN(iov->iov_len - skip, len - moved);
        uint8_t *host = (uint8_t *)iov->iov_base + skip;
        if (!packet->in) {
            memcpy(data + moved, host, n);
        } else if (data) {
            memcpy(host, data + moved, n);
        } else {
            memset(host, 0, n);
        }
        skip = 0;
        moved += n;
    }
    packet->actual += moved;
    return moved;
}

uint64_t usb_packet_copy(UsbPacket *packet, void *data, uint64_t len)
{
    return packet_move(packet, data, len);
}

void usb_packet_zero(UsbPacket *packet, uint64_t len)
{
    if (packet->in) {
        packet_move(packet, NULL, len);
    } else {
        packet->actual += MIN(len, packet->length - packet->actual);
    }
}

static UsbStatus submit_control(UsbDevice *dev, UsbPacket *packet)
{
    uint8_t data[USB_CONTROL_MAX];
    const UsbSetup *setup = &packet->setup;
    /* The host's three lengths (setup, data stage, ours) need not agree: the least of them. */
    if (setup->length > sizeof(data) ||
        (setup->length && packet->in != !!(setup->type & USB_DIR_IN))) {
        return USB_STALL;
    }
    memset(data, 0, setup->length);
    if (!packet->in && setup->length) {
        if (packet->length < setup->length) {
            return USB_STALL;
        }
        usb_packet_copy(packet, data, setup->length);
    }
    int len = usb_control(dev, setup, data);
    if (len < 0) {
        return USB_STALL;
    }
    if (packet->in) {
        usb_packet_copy(packet, data, MIN((uint64_t)len, packet->length));
    }
    return USB_DONE;
}

static bool endpoint_halted(const UsbDevice *dev, const UsbPacket *packet)
{
    return (packet->in ? dev->halted_in : dev->halted_out) >> packet->endpoint & 1;
}

UsbStatus usb_submit(UsbDevice *dev, UsbPacket *packet)
{
    packet->actual = 0;
    packet->next = NULL;
    packet->dev = NULL;
    packet->status = USB_ERROR;
    if (!dev || !dev->attached) {
        return USB_ERROR;
    }
    if (packet->endpoint == 0) {
        return packet->status = submit_control(dev, packet);
    }
    if (!usb_find_endpoint(dev, packet->endpoint, packet->in) || endpoint_halted(dev, packet)) {
        return packet->status = USB_STALL;
    }
    packet->dev = dev;
    packet->status = usb_class(dev)->submit(dev, packet);
    if (packet->status == USB_PENDING) {
        dev->pending++;
    } else {
        packet->dev = NULL;
    }
    if (packet->status == USB_STALL) {
        usb_halt(dev, packet->endpoint, packet->in);
    }
    return packet->status;
}

static void give_back(UsbPacket *packet, UsbStatus status)
{
    g_assert(packet->dev && packet->status == USB_PENDING);
    packet->dev->pending--;
    packet->dev = NULL;
    packet->status = status;
}

void usb_complete(UsbPacket *packet, UsbStatus status)
{
    if (status == USB_STALL) {
        usb_halt(packet->dev, packet->endpoint, packet->in);
    }
    give_back(packet, status);
    packet->done(packet);
}

bool usb_cancel(UsbPacket *packet)
{
    if (!usb_class(packet->dev)->cancel(packet->dev, packet)) {
        return false;
    }
    give_back(packet, USB_CANCELLED);
    return true;
}

/* ---- Reset, wake-up ---- */

void usb_reset(UsbDevice *dev)
{
    dev->address = 0;
    dev->configuration = 0;
    memset(dev->alternate, 0, sizeof(dev->alternate));
    dev->remote_wakeup = false;
    dev->u_enable = 0;
    dev->halted_in = dev->halted_out = 0;
    if (usb_class(dev)->reset) {
        usb_class(dev)->reset(dev);
    }
}

void usb_wakeup(UsbDevice *dev)
{
    if (dev->remote_wakeup && dev->attached && dev->port->ops->wakeup) {
        dev->port->ops->wakeup(dev->port);
    }
}

UsbDevice *usb_find(UsbPort *root, uint32_t route)
{
    UsbPort *port = root;
    for (unsigned i = 0; i < USB_HUB_DEPTH && (route & 0xf); i++, route >>= 4) {
        UsbDevice *hub = port ? port->dev : NULL;
        if (!hub || !usb_class(hub)->downstream) {
            return NULL;
        }
        port = usb_class(hub)->downstream(hub, route & 0xf);
    }
    return port ? port->dev : NULL;
}

/* ---- Life ---- */

/* The fastest that device and port have in common, under the limit of the device's properties. */
static bool negotiate_speed(UsbDevice *dev, GError **error)
{
    const UsbDesc *desc = usb_class(dev)->desc;
    UsbSpeed fastest = usb_class(dev)->fastest ? usb_class(dev)->fastest(dev) : USB_SPEED_SUPER;
    for (unsigned speed = USB_SPEED_COUNT; speed-- > 0;) {
        if (desc->speeds[speed] && speed <= fastest && (dev->port->speeds & USB_SPEED_BIT(speed))) {
            dev->speed = speed;
            return true;
        }
    }
    return error_set(error, "port %s of bus '%s' has no speed that a %s runs at", dev->port->path,
                     dev->bus->bus->name, dev->dev.cls->name);
}

bool usb_device_realize(Device *device, GError **error)
{
    UsbDevice *dev = (UsbDevice *)device;
    if (!negotiate_speed(dev, error)) {
        return false;
    }
    if (usb_class(dev)->realize && !usb_class(dev)->realize(dev, error)) {
        g_clear_pointer(&dev->serial, g_free);
        return false;
    }
    const UsbDesc *desc = usb_class(dev)->desc;
    if (!dev->serial && desc->serial_string) { /* one that no other device has */
        dev->serial = g_strdup_printf("%s-%s-%s", desc->strings[desc->serial_string],
                                      dev->bus->path, dev->port->path);
    }
    g_mutex_lock(dev->bus->lock);
    dev->attached = true;
    dev->port->dev = dev;
    dev->port->ops->attached(dev->port);
    g_mutex_unlock(dev->bus->lock);
    return true;
}

/* The controller gives up its packets, then what the host still does for them ends. */
static void forget_on_loop(void *opaque)
{
    UsbDevice *dev = opaque;
    g_mutex_lock(dev->bus->lock);
    dev->bus->forget(dev->bus, dev);
    g_mutex_unlock(dev->bus->lock);
}

static void nothing(void *opaque)
{
}

static void unplug_behind(UsbDevice *hub)
{
    for (unsigned i = 1; i <= USB_HUB_PORTS; i++) {
        UsbPort *port = usb_class(hub)->downstream(hub, i);
        if (port && port->dev) {
            Device *child = &port->dev->dev;
            device_unrealize(child);
            device_free(child);
        }
    }
}

void usb_device_unrealize(Device *device)
{
    UsbDevice *dev = (UsbDevice *)device;
    if (usb_class(dev)->downstream) {
        unplug_behind(dev);
    }
    g_mutex_lock(dev->bus->lock);
    dev->attached = false;
    dev->port->ops->detached(dev->port);
    dev->port->dev = NULL;
    g_mutex_unlock(dev->bus->lock);
    event_loop_call(dev->bus->loop, forget_on_loop, dev);
    if (usb_class(dev)->drain) {
        usb_class(dev)->drain(dev, true);
    }
    event_loop_call(dev->bus->loop, nothing, NULL); /* ends that were posted */
    if (usb_class(dev)->unrealize) {
        usb_class(dev)->unrealize(dev);
    }
    g_clear_pointer(&dev->serial, g_free);
}

void usb_device_reset(Device *device)
{
    UsbDevice *dev = (UsbDevice *)device;
    g_mutex_lock(dev->bus->lock);
    usb_reset(dev);
    g_mutex_unlock(dev->bus->lock);
}

void usb_device_quiesce(Device *device)
{
    UsbDevice *dev = (UsbDevice *)device;
    if (usb_class(dev)->drain) {
        usb_class(dev)->drain(dev, false);
        event_loop_call(dev->bus->loop, nothing, NULL);
    }
}

void usb_device_resume(Device *device)
{
    UsbDevice *dev = (UsbDevice *)device;
    if (usb_class(dev)->resume) {
        usb_class(dev)->resume(dev);
    }
}

/* "hub@1/storage@2": each hub on the way is a node. */
char *usb_firmware_name(const Device *device)
{
    const UsbDevice *dev = (const UsbDevice *)device;
    const UsbDeviceClass *cls = usb_class(dev);
    g_autoptr(GString) name = g_string_new(NULL);
    const char *path = dev->port ? dev->port->path : "0";
    for (const char *dot; (dot = strchr(path, '.')); path = dot + 1) {
        g_string_append_printf(name, "hub@%lx/", strtoul(path, NULL, 10));
    }
    g_string_append_printf(name, "%s@%lx%s%s", cls->firmware_name, strtoul(path, NULL, 10),
                           cls->firmware_unit ? "/" : "",
                           cls->firmware_unit ? cls->firmware_unit : "");
    return g_string_free(g_steal_pointer(&name), FALSE);
}

const Property usb_device_props[] = {
    PROP_STRING("port", UsbDevice, port_path, NULL, "Port, through hubs: 1 or 1.2; the first free"),
    PROP_END,
};

static bool usb_post_load(void *base, uint16_t version, GError **error)
{
    UsbDevice *dev = base;
    if (dev->configuration > 1 || dev->address > 127) {
        return error_set(error, "%s: no configuration %u, address %u", dev->dev.cls->name,
                         dev->configuration, dev->address);
    }
    return true;
}

static const StateField usb_fields[] = {
    STATE_INT(UsbDevice, address),         STATE_INT(UsbDevice, configuration),
    STATE_INT_ARRAY(UsbDevice, alternate), STATE_BOOL(UsbDevice, remote_wakeup),
    STATE_INT(UsbDevice, u_enable),        STATE_INT(UsbDevice, halted_in),
    STATE_INT(UsbDevice, halted_out),      STATE_END,
};

const StateSection usb_device_state = {
    .name = "usb-device",
    .version = 1,
    .fields = usb_fields,
    .post_load = usb_post_load,
};
