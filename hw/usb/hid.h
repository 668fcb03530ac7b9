/* SPDX-License-Identifier: GPL-2.0-or-later */
/* USB human interface devices (HID 1.11): what keyboards and pointers have in common. */
#ifndef HW_USB_HID_H
#define HW_USB_HID_H

#include "hw/usb/usb.h"
#include "ui/input.h"

#define HID_ENDPOINT   1
#define HID_REPORT_MAX 8

typedef struct UsbHid UsbHid;

typedef struct HidClass {
    const uint8_t *report_desc;
    uint8_t report_desc_len;
    InputSink sink; /* name and kinds; the callbacks get the UsbHid */
    /* All with the bus's lock held. The next report, if something is to tell; its bytes. */
    unsigned (*next)(UsbHid *hid, uint8_t *report);
    unsigned (*current)(UsbHid *hid, uint8_t *report); /* the state, for GET_REPORT */
    void (*set_report)(UsbHid *hid, const uint8_t *data, unsigned len); /* may be NULL */
    void (*reset)(UsbHid *hid);
} HidClass;

struct UsbHid {
    UsbDevice usb;
    uint32_t usb_version; /* property: 1 full speed, 2 high speed */
    const HidClass *cls;
    InputSink sink;
    UsbPacket *waiting;
    uint8_t idle, protocol; /* state */
};

extern const Property hid_props[];
extern const StateSection hid_state;
void hid_changed(UsbHid *hid); /* something is to tell; bus lock held */

/* For UsbDeviceClass. */
UsbSpeed hid_fastest(const UsbDevice *dev);
bool hid_make(UsbHid *hid, const HidClass *cls);
void hid_unmake(UsbDevice *dev);
void hid_reset(UsbDevice *dev);
int hid_control(UsbDevice *dev, const UsbSetup *setup, uint8_t *data);
UsbStatus hid_submit(UsbDevice *dev, UsbPacket *packet);
bool hid_cancel(UsbDevice *dev, UsbPacket *packet);

/* The descriptors of one device: `name`_desc, from `name`_hid_desc (the HID descriptor). */
#define HID_DESCRIPTORS(name, sub, proto, packet, high_interval)                                   \
    static const UsbEndpointDesc name##_full_ep = { .address = USB_DIR_IN | HID_ENDPOINT,          \
                                                    .type = USB_TYPE_INTERRUPT,                    \
                                                    .max_packet = (packet),                        \
                                                    .interval = 10 };                              \
    static const UsbEndpointDesc name##_high_ep = { .address = USB_DIR_IN | HID_ENDPOINT,          \
                                                    .type = USB_TYPE_INTERRUPT,                    \
                                                    .max_packet = (packet),                        \
                                                    .interval = (high_interval) };                 \
    static const UsbInterfaceDesc name##_full_interface = {                                        \
        .class_code = 3,                                                                           \
        .subclass = (sub),                                                                         \
        .protocol = (proto),                                                                       \
        .extra = name##_hid_desc,                                                                  \
        .extra_len = sizeof(name##_hid_desc),                                                      \
        .endpoint_count = 1,                                                                       \
        .endpoints = &name##_full_ep,                                                              \
    };                                                                                             \
    static const UsbInterfaceDesc name##_high_interface = {                                        \
        .class_code = 3,                                                                           \
        .subclass = (sub),                                                                         \
        .protocol = (proto),                                                                       \
        .extra = name##_hid_desc,                                                                  \
        .extra_len = sizeof(name##_hid_desc),                                                      \
        .endpoint_count = 1,                                                                       \
        .endpoints = &name##_high_ep,                                                              \
    };                                                                                             \
    static const UsbSpeedDesc name##_full = {                                                      \
        .bcd_usb = 0x0100,                                                                         \
        .max_packet0 = 8,                                                                          \
        .config_string = 4,                                                                        \
        .attributes = USB_CONFIG_ONE | USB_CONFIG_WAKEUP,                                          \
        .max_power = 50,                                                                           \
        .interface_count = 1,                                                                      \
        .interfaces = &name##_full_interface,                                                      \
    };                                                                                             \
    static const UsbSpeedDesc name##_high = {                                                      \
        .bcd_usb = 0x0200,                                                                         \
        .max_packet0 = 64,                                                                         \
        .config_string = 4,                                                                        \
        .attributes = USB_CONFIG_ONE | USB_CONFIG_WAKEUP,                                          \
        .max_power = 50,                                                                           \
        .interface_count = 1,                                                                      \
        .interfaces = &name##_high_interface,                                                      \
    };                                                                                             \
    static const UsbDesc name##_desc = {                                                           \
        .vendor = 0x0627,                                                                          \
        .product = 0x0001,                                                                         \
        .manufacturer_string = 1,                                                                  \
        .product_string = 2,                                                                       \
        .serial_string = 3,                                                                        \
        .strings = name##_strings,                                                                 \
        .string_count = G_N_ELEMENTS(name##_strings),                                              \
        .speeds = { [USB_SPEED_FULL] = &name##_full, [USB_SPEED_HIGH] = &name##_high },            \
    }

/* One DeviceClass; `type` begins with a UsbHid. */
#define HID_DEVICE_CLASS(_name, _desc, type, _groups, _state, _ops)                                \
    {                                                                                              \
        .name = (_name), .desc = (_desc), .bus = BUS_USB, .category = DEVICE_CATEGORY_INPUT,       \
        .size = sizeof(type), .props = hid_props, .groups = (_groups), .state = (_state),          \
        .hotpluggable = true, .realize = usb_device_realize, .unrealize = usb_device_unrealize,    \
        .reset = usb_device_reset, .firmware_name = usb_firmware_name, .ops = (_ops),              \
    }

#endif
