/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Standard requests of USB devices (USB 2.0, 9.4; USB 3.2, 9.4). */
#include <string.h>
#include "hw/usb/usb.h"

enum { FEATURE_ENDPOINT_HALT = 0, FEATURE_REMOTE_WAKEUP = 1, FEATURE_U1 = 48, FEATURE_LTM = 50 };

static const UsbSpeedDesc *speed_desc(const UsbDevice *dev)
{
    return usb_class(dev)->desc->speeds[dev->speed];
}

static bool interface_exists(const UsbDevice *dev, unsigned number, unsigned alternate)
{
    const UsbSpeedDesc *desc = speed_desc(dev);
    for (unsigned i = 0; i < desc->interface_count; i++) {
        if (desc->interfaces[i].number == number && desc->interfaces[i].alternate == alternate) {
            return true;
        }
    }
    return false;
}

const UsbEndpointDesc *usb_find_endpoint(const UsbDevice *dev, unsigned endpoint, bool in)
{
    const UsbSpeedDesc *desc = speed_desc(dev);
    if (!dev->configuration) {
        return NULL;
    }
    for (unsigned i = 0; i < desc->interface_count; i++) {
        const UsbInterfaceDesc *iface = &desc->interfaces[i];
        if (iface->number >= G_N_ELEMENTS(dev->alternate) ||
            dev->alternate[iface->number] != iface->alternate) {
            continue;
        }
        for (unsigned j = 0; j < iface->endpoint_count; j++) {
            if (iface->endpoints[j].address == (endpoint | (in ? USB_DIR_IN : 0))) {
                return &iface->endpoints[j];
            }
        }
    }
    return NULL;
}

static uint16_t *halted_mask(UsbDevice *dev, uint16_t address)
{
    return address & USB_DIR_IN ? &dev->halted_in : &dev->halted_out;
}

void usb_halt(UsbDevice *dev, unsigned endpoint, bool in)
{
    *halted_mask(dev, in ? USB_DIR_IN : 0) |= 1U << (endpoint & USB_ENDPOINT_MAX);
}

static bool endpoint_exists(const UsbDevice *dev, uint16_t address)
{
    unsigned number = address & USB_ENDPOINT_MAX;
    return !(address & ~(USB_DIR_IN | USB_ENDPOINT_MAX)) &&
           (number == 0 || usb_find_endpoint(dev, number, address & USB_DIR_IN));
}

static int get_status(UsbDevice *dev, const UsbSetup *setup, uint8_t *data)
{
    uint16_t status = 0;
    switch (setup->type & USB_RECIPIENT_MASK) {
    case USB_RECIPIENT_DEVICE:
        status = (speed_desc(dev)->attributes & USB_CONFIG_SELF_POWERED ? 1 : 0) |
                 (dev->remote_wakeup ? 2 : 0) | dev->u_enable << 2;
        break;
    case USB_RECIPIENT_INTERFACE:
        break;
    case USB_RECIPIENT_ENDPOINT:
        if (!endpoint_exists(dev, setup->index)) {
            return -1;
        }
        status = *halted_mask(dev, setup->index) >> (setup->index & USB_ENDPOINT_MAX) & 1;
        break;
    default:
        return -1;
    }
    uint8_t answer[2] = { status & 0xff, status >> 8 };
    int len = MIN(setup->length, 2);
    memcpy(data, answer, len);
    return len;
}

static int set_device_feature(UsbDevice *dev, uint16_t feature, bool on)
{
    if (feature == FEATURE_REMOTE_WAKEUP) {
        dev->remote_wakeup = on;
        return 0;
    }
    if (feature >= FEATURE_U1 && feature <= FEATURE_LTM && dev->speed == USB_SPEED_SUPER) {
        uint8_t bit = 1U << (feature - FEATURE_U1);
        dev->u_enable = on ? dev->u_enable | bit : dev->u_enable & ~bit;
        return 0;
    }
    return -1;
}

static int set_endpoint_feature(UsbDevice *dev, const UsbSetup *setup, bool on)
{
    if (setup->value != FEATURE_ENDPOINT_HALT || !endpoint_exists(dev, setup->index)) {
        return -1;
    }
    uint16_t bit = 1U << (setup->index & USB_ENDPOINT_MAX);
    uint16_t *mask = halted_mask(dev, setup->index);
    /* Endpoint 0 leaves the halt with the next setup packet: it never stays. */
    *mask = on && bit != 1 ? *mask | bit : *mask & ~bit;
    return 0;
}

static int set_feature(UsbDevice *dev, const UsbSetup *setup, bool on)
{
    switch (setup->type & USB_RECIPIENT_MASK) {
    case USB_RECIPIENT_DEVICE:
        return set_device_feature(dev, setup->value, on);
    case USB_RECIPIENT_INTERFACE: /* function suspend of SuperSpeed (feature 0) */
        return dev->speed == USB_SPEED_SUPER && setup->value == 0 ? 0 : -1;
    case USB_RECIPIENT_ENDPOINT:
        return set_endpoint_feature(dev, setup, on);
    default:
        return -1;
    }
}

static int set_configuration(UsbDevice *dev, uint16_t value)
{
    if (value > 1) {
        return -1;
    }
    dev->configuration = value;
    memset(dev->alternate, 0, sizeof(dev->alternate));
    dev->halted_in = dev->halted_out = 0;
    if (usb_class(dev)->configured) {
        usb_class(dev)->configured(dev);
    }
    return 0;
}

static int set_interface(UsbDevice *dev, const UsbSetup *setup)
{
    if (!dev->configuration || setup->index >= G_N_ELEMENTS(dev->alternate) ||
        !interface_exists(dev, setup->index, setup->value)) {
        return -1;
    }
    dev->alternate[setup->index] = setup->value;
    dev->halted_in = dev->halted_out = 0;
    return 0;
}

static int get_interface(UsbDevice *dev, const UsbSetup *setup, uint8_t *data)
{
    if (!dev->configuration || setup->index >= G_N_ELEMENTS(dev->alternate) ||
        !interface_exists(dev, setup->index, dev->alternate[setup->index])) {
        return -1;
    }
    data[0] = dev->alternate[setup->index];
    return MIN(setup->length, 1);
}

static int standard_request(UsbDevice *dev, const UsbSetup *setup, uint8_t *data)
{
    bool to_device = (setup->type & USB_RECIPIENT_MASK) == USB_RECIPIENT_DEVICE;
    switch (USB_REQUEST(setup->type & USB_DIR_IN, setup->request)) {
    case USB_REQUEST(USB_DIR_IN, USB_REQ_GET_STATUS):
        return get_status(dev, setup, data);
    case USB_REQUEST(0, USB_REQ_CLEAR_FEATURE):
        return set_feature(dev, setup, false);
    case USB_REQUEST(0, USB_REQ_SET_FEATURE):
        return set_feature(dev, setup, true);
    case USB_REQUEST(0, USB_REQ_SET_ADDRESS):
        if (setup->value > 127) {
            return -1;
        }
        dev->address = setup->value;
        return 0;
    case USB_REQUEST(USB_DIR_IN, USB_REQ_GET_DESCRIPTOR):
        return to_device ? usb_get_descriptor(dev, setup, data) : -1;
    case USB_REQUEST(USB_DIR_IN, USB_REQ_GET_CONFIGURATION):
        data[0] = dev->configuration;
        return MIN(setup->length, 1);
    case USB_REQUEST(0, USB_REQ_SET_CONFIGURATION):
        return to_device ? set_configuration(dev, setup->value) : -1;
    case USB_REQUEST(USB_DIR_IN, USB_REQ_GET_INTERFACE):
        return get_interface(dev, setup, data);
    case USB_REQUEST(0, USB_REQ_SET_INTERFACE):
        return set_interface(dev, setup);
    case USB_REQUEST(0, USB_REQ_SET_SEL):
    case USB_REQUEST(0, USB_REQ_SET_ISOCH_DELAY):
        return dev->speed == USB_SPEED_SUPER ? 0 : -1;
    default:
        return -1;
    }
}

int usb_control(UsbDevice *dev, const UsbSetup *setup, uint8_t *data)
{
    int len = -1;
    if ((setup->type & USB_REQUEST_TYPE_MASK) == USB_REQUEST_STANDARD) {
        len = standard_request(dev, setup, data);
    }
    if (len < 0 && usb_class(dev)->control) {
        len = usb_class(dev)->control(dev, setup, data);
    }
    return len;
}
