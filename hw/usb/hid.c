/* SPDX-License-Identifier: GPL-2.0-or-later */
/* USB human interface devices (HID 1.11): requests, the interrupt endpoint. */
#include "hw/usb/hid.h"

#include <string.h>
#include "vmm/util/bytes.h"

enum {
    HID_GET_REPORT = 1,
    HID_GET_IDLE = 2,
    HID_GET_PROTOCOL = 3,
    HID_SET_REPORT = 9,
    HID_SET_IDLE = 10,
    HID_SET_PROTOCOL = 11,
};

/* ---- Reports ---- */

void hid_changed(UsbHid *hid)
{
    uint8_t report[HID_REPORT_MAX];
    UsbPacket *packet = hid->waiting;
    if (!packet) {
        usb_wakeup(&hid->usb);
        return;
    }
    unsigned len = hid->cls->next(hid, report);
    if (len) {
        hid->waiting = NULL;
        usb_packet_copy(packet, report, len);
        usb_complete(packet, len > packet->length ? USB_BABBLE : USB_DONE);
    }
}

UsbStatus hid_submit(UsbDevice *dev, UsbPacket *packet)
{
    UsbHid *hid = (UsbHid *)dev;
    uint8_t report[HID_REPORT_MAX];
    if (hid->waiting) {
        return USB_ERROR;
    }
    unsigned len = hid->cls->next(hid, report);
    if (!len) {
        hid->waiting = packet;
        return USB_PENDING;
    }
    usb_packet_copy(packet, report, len);
    return len > packet->length ? USB_BABBLE : USB_DONE;
}

bool hid_cancel(UsbDevice *dev, UsbPacket *packet)
{
    ((UsbHid *)dev)->waiting = NULL;
    return true;
}

/* ---- Requests (7.1 and 7.2) ---- */

static int give(const UsbSetup *setup, uint8_t *data, const uint8_t *answer, unsigned len)
{
    len = MIN(len, setup->length);
    memcpy(data, answer, len);
    return len;
}

static int get_descriptor(const UsbHid *hid, const UsbSetup *setup, uint8_t *data)
{
    const UsbInterfaceDesc *iface = usb_class(&hid->usb)->desc->speeds[hid->usb.speed]->interfaces;
    switch (setup->value >> 8) {
    case USB_DESC_HID:
        return give(setup, data, iface->extra, iface->extra_len);
    case USB_DESC_REPORT:
        return give(setup, data, hid->cls->report_desc, hid->cls->report_desc_len);
    default:
        return -1;
    }
}

int hid_control(UsbDevice *dev, const UsbSetup *setup, uint8_t *data)
{
    UsbHid *hid = (UsbHid *)dev;
    uint8_t report[HID_REPORT_MAX];
    switch (USB_REQUEST(setup->type, setup->request)) {
    case USB_REQUEST(0x81, USB_REQ_GET_DESCRIPTOR):
        return get_descriptor(hid, setup, data);
    case USB_REQUEST(0xa1, HID_GET_REPORT):
        return give(setup, data, report, hid->cls->current(hid, report));
    case USB_REQUEST(0xa1, HID_GET_IDLE):
        return give(setup, data, &hid->idle, 1);
    case USB_REQUEST(0xa1, HID_GET_PROTOCOL):
        return give(setup, data, &hid->protocol, 1);
    case USB_REQUEST(0x21, HID_SET_REPORT):
        if (!hid->cls->set_report) {
            return -1;
        }
        hid->cls->set_report(hid, data, setup->length);
        return 0;
    case USB_REQUEST(0x21, HID_SET_IDLE): /* kept; a report is sent when something changed only */
        hid->idle = setup->value >> 8;
        return 0;
    case USB_REQUEST(0x21, HID_SET_PROTOCOL): /* the boot protocol has the same reports */
        hid->protocol = setup->value & 1;
        return 0;
    default:
        return -1;
    }
}

/* ---- Life ---- */

UsbSpeed hid_fastest(const UsbDevice *dev)
{
    return ((const UsbHid *)dev)->usb_version == 1 ? USB_SPEED_FULL : USB_SPEED_HIGH;
}

bool hid_make(UsbHid *hid, const HidClass *cls)
{
    hid->cls = cls;
    hid->sink = cls->sink;
    hid->sink.opaque = hid;
    hid->protocol = 1;
    input_sink_add(&hid->sink);
    return true;
}

void hid_unmake(UsbDevice *dev)
{
    input_sink_remove(&((UsbHid *)dev)->sink);
}

void hid_reset(UsbDevice *dev)
{
    UsbHid *hid = (UsbHid *)dev;
    hid->idle = 0;
    hid->protocol = 1;
    hid->cls->reset(hid);
}

const Property hid_props[] = {
    PROP_RANGE_U32("usb_version", UsbHid, usb_version, 2, 1, 2, "1: full speed, 2: high speed"),
    PROP_END,
};

static const StateField hid_fields[] = {
    STATE_STRUCT(UsbHid, usb, &usb_device_state),
    STATE_INT(UsbHid, idle),
    STATE_INT(UsbHid, protocol),
    STATE_END,
};

const StateSection hid_state = { .name = "usb-hid", .version = 1, .fields = hid_fields };
