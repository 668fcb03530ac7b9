/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors, made of a device's tables (USB 2.0, 9.6; USB 3.2, 9.6). */
#include <string.h>
#include "hw/usb/usb.h"
#include "vmm/util/bytes.h"

#define LANGUAGE_ENGLISH  0x0409
#define STRING_CHARS      126
#define CAP_USB2_EXTENDED 2
#define CAP_SUPERSPEED    3

typedef struct Writer {
    uint8_t *data;
    unsigned len; /* USB_CONTROL_MAX is room for any table of this program */
} Writer;

static void put(Writer *out, const void *data, unsigned len)
{
    g_assert(out->len + len <= USB_CONTROL_MAX);
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

#define PUT(out, ...)                                                                              \
    do {                                                                                           \
        const uint8_t bytes_[] = { __VA_ARGS__ };                                                  \
        put((out), bytes_, sizeof(bytes_));                                                        \
    } while (0)
#define LE16(value) (uint8_t)((value)&0xff), (uint8_t)((value) >> 8)

static void put_device(Writer *out, const UsbDesc *desc, const UsbSpeedDesc *speed)
{
    PUT(out, 18, USB_DESC_DEVICE, LE16(speed->bcd_usb), speed->class_code, speed->subclass,
        speed->protocol, speed->max_packet0, LE16(desc->vendor), LE16(desc->product),
        LE16(desc->bcd_device), desc->manufacturer_string, desc->product_string,
        desc->serial_string, 1);
}

static void put_endpoint(Writer *out, const UsbEndpointDesc *ep, bool super)
{
    PUT(out, 7, USB_DESC_ENDPOINT, ep->address, ep->type, LE16(ep->max_packet), ep->interval);
    if (super) {
        uint16_t per_interval = ep->type == USB_TYPE_INTERRUPT ? ep->max_packet : 0;
        PUT(out, 6, USB_DESC_COMPANION, ep->max_burst, ep->companion_attributes,
            LE16(per_interval));
    }
}

static unsigned count_interfaces(const UsbSpeedDesc *speed)
{
    unsigned count = 0;
    for (unsigned i = 0; i < speed->interface_count; i++) {
        count += speed->interfaces[i].alternate == 0;
    }
    return count;
}

static void put_config(Writer *out, const UsbSpeedDesc *speed, uint8_t type, bool super)
{
    unsigned start = out->len;
    PUT(out, 9, type, 0, 0, count_interfaces(speed), 1, speed->config_string, speed->attributes,
        speed->max_power);
    for (unsigned i = 0; i < speed->interface_count; i++) {
        const UsbInterfaceDesc *iface = &speed->interfaces[i];
        PUT(out, 9, USB_DESC_INTERFACE, iface->number, iface->alternate, iface->endpoint_count,
            iface->class_code, iface->subclass, iface->protocol, iface->string);
        if (iface->extra) {
            put(out, iface->extra, iface->extra_len);
        }
        for (unsigned j = 0; j < iface->endpoint_count; j++) {
            put_endpoint(out, &iface->endpoints[j], super);
        }
    }
    store_le16(out->data + start + 2, out->len - start);
}

static bool put_string(Writer *out, const UsbDevice *dev, unsigned index)
{
    const UsbDesc *desc = usb_class(dev)->desc;
    if (index == 0) {
        PUT(out, 4, USB_DESC_STRING, LE16(LANGUAGE_ENGLISH));
        return true;
    }
    if (index >= desc->string_count || !desc->strings[index]) {
        return false;
    }
    bool is_serial = index == desc->serial_string && dev->serial;
    const char *text = is_serial ? dev->serial : desc->strings[index];
    unsigned chars = MIN(strlen(text), STRING_CHARS);
    PUT(out, 2 + 2 * chars, USB_DESC_STRING);
    for (unsigned i = 0; i < chars; i++) {
        PUT(out, text[i], 0);
    }
    return true;
}

static void put_bos(Writer *out, const UsbDesc *desc)
{
    uint16_t speeds = 0, slowest = 3;
    for (unsigned i = USB_SPEED_COUNT; i-- > 0;) {
        if (desc->speeds[i]) {
            speeds |= 1U << i;
            slowest = i;
        }
    }
    PUT(out, 5, USB_DESC_BOS, 22, 0, 2);
    PUT(out, 7, USB_DESC_CAPABILITY, CAP_USB2_EXTENDED, 0x02, 0, 0, 0); /* link power management */
    PUT(out, 10, USB_DESC_CAPABILITY, CAP_SUPERSPEED, 0, LE16(speeds), slowest,
        0x0a /* us from U1 */, LE16(0x20) /* us from U2 */);
}

/* What the device is at the other of full and high speed. */
static const UsbSpeedDesc *other_speed(const UsbDevice *dev)
{
    const UsbDesc *desc = usb_class(dev)->desc;
    switch (dev->speed) {
    case USB_SPEED_HIGH:
        return desc->speeds[USB_SPEED_FULL];
    case USB_SPEED_FULL:
        return desc->speeds[USB_SPEED_HIGH];
    default:
        return NULL;
    }
}

static bool put_qualifier(Writer *out, const UsbSpeedDesc *other)
{
    if (!other) {
        return false;
    }
    PUT(out, 10, USB_DESC_QUALIFIER, LE16(other->bcd_usb), other->class_code, other->subclass,
        other->protocol, other->max_packet0, 1, 0);
    return true;
}

static bool put_descriptor(Writer *out, const UsbDevice *dev, unsigned type, unsigned index)
{
    const UsbDesc *desc = usb_class(dev)->desc;
    const UsbSpeedDesc *speed = desc->speeds[dev->speed], *other = other_speed(dev);
    switch (type) {
    case USB_DESC_DEVICE:
        put_device(out, desc, speed);
        return true;
    case USB_DESC_CONFIG:
        if (index > 0) {
            return false;
        }
        put_config(out, speed, type, dev->speed == USB_SPEED_SUPER);
        return true;
    case USB_DESC_STRING:
        return put_string(out, dev, index);
    case USB_DESC_QUALIFIER:
        return put_qualifier(out, other);
    case USB_DESC_OTHER_SPEED:
        if (index > 0 || !other) {
            return false;
        }
        put_config(out, other, type, false);
        return true;
    case USB_DESC_BOS:
        if (speed->bcd_usb < 0x0201) {
            return false;
        }
        put_bos(out, desc);
        return true;
    default:
        return false;
    }
}

int usb_get_descriptor(UsbDevice *dev, const UsbSetup *setup, uint8_t *data)
{
    uint8_t bytes[USB_CONTROL_MAX];
    Writer out = { .data = bytes };
    if (!put_descriptor(&out, dev, setup->value >> 8, setup->value & 0xff)) {
        return -1;
    }
    unsigned len = MIN(out.len, setup->length);
    memcpy(data, bytes, len);
    return len;
}
