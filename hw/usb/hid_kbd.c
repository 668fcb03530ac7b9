/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "usb-kbd": a boot keyboard (HID 1.11, appendix B.1; HID Usage Tables 1.12, section 10). */
#include <string.h>
#include "hw/devices.h"
#include "hw/usb/hid.h"

#define KEYS_DOWN      6
#define KEYS_QUEUED    64
#define USAGE_ROLLOVER 1
#define USAGE_CTRL     0xe0 /* the eight modifiers from here on */
#define REPORT_BYTES   8

typedef struct UsbKbd {
    UsbHid hid;
    uint8_t queue[KEYS_QUEUED]; /* usages, in their order */
    uint8_t queue_down[KEYS_QUEUED];
    uint8_t first, count;
    uint8_t modifiers;
    uint8_t down[16]; /* usages that are pressed */
    uint8_t down_count;
    uint8_t leds;
} UsbKbd;

/* By the number of the key (ui/input_keys.h). */
static const uint8_t usages[256] = {
    [0x01] = 0x29, [0x02] = 0x1e, [0x03] = 0x1f, [0x04] = 0x20, [0x05] = 0x21, [0x06] = 0x22,
    [0x07] = 0x23, [0x08] = 0x24, [0x09] = 0x25, [0x0a] = 0x26, [0x0b] = 0x27, [0x0c] = 0x2d,
    [0x0d] = 0x2e, [0x0e] = 0x2a, [0x0f] = 0x2b, [0x10] = 0x14, [0x11] = 0x1a, [0x12] = 0x08,
    [0x13] = 0x15, [0x14] = 0x17, [0x15] = 0x1c, [0x16] = 0x18, [0x17] = 0x0c, [0x18] = 0x12,
    [0x19] = 0x13, [0x1a] = 0x2f, [0x1b] = 0x30, [0x1c] = 0x28, [0x1d] = 0xe0, [0x1e] = 0x04,
    [0x1f] = 0x16, [0x20] = 0x07, [0x21] = 0x09, [0x22] = 0x0a, [0x23] = 0x0b, [0x24] = 0x0d,
    [0x25] = 0x0e, [0x26] = 0x0f, [0x27] = 0x33, [0x28] = 0x34, [0x29] = 0x35, [0x2a] = 0xe1,
    [0x2b] = 0x31, [0x2c] = 0x1d, [0x2d] = 0x1b, [0x2e] = 0x06, [0x2f] = 0x19, [0x30] = 0x05,
    [0x31] = 0x11, [0x32] = 0x10, [0x33] = 0x36, [0x34] = 0x37, [0x35] = 0x38, [0x36] = 0xe5,
    [0x37] = 0x55, [0x38] = 0xe2, [0x39] = 0x2c, [0x3a] = 0x39, [0x3b] = 0x3a, [0x3c] = 0x3b,
    [0x3d] = 0x3c, [0x3e] = 0x3d, [0x3f] = 0x3e, [0x40] = 0x3f, [0x41] = 0x40, [0x42] = 0x41,
    [0x43] = 0x42, [0x44] = 0x43, [0x45] = 0x53, [0x46] = 0x47, [0x47] = 0x5f, [0x48] = 0x60,
    [0x49] = 0x61, [0x4a] = 0x56, [0x4b] = 0x5c, [0x4c] = 0x5d, [0x4d] = 0x5e, [0x4e] = 0x57,
    [0x4f] = 0x59, [0x50] = 0x5a, [0x51] = 0x5b, [0x52] = 0x62, [0x53] = 0x63, [0x54] = 0x46,
    [0x56] = 0x64, [0x57] = 0x44, [0x58] = 0x45, [0x59] = 0x67, [0x70] = 0x88, [0x73] = 0x87,
    [0x79] = 0x8a, [0x7b] = 0x8b, [0x7d] = 0x89, [0x7e] = 0x85, [0x9c] = 0x58, [0x9d] = 0xe4,
    [0xa0] = 0x7f, [0xae] = 0x81, [0xb0] = 0x80, [0xb5] = 0x54, [0xb7] = 0x46, [0xb8] = 0xe6,
    [0xc6] = 0x48, [0xc7] = 0x4a, [0xc8] = 0x52, [0xc9] = 0x4b, [0xcb] = 0x50, [0xcd] = 0x4f,
    [0xcf] = 0x4d, [0xd0] = 0x51, [0xd1] = 0x4e, [0xd2] = 0x49, [0xd3] = 0x4c, [0xdb] = 0xe3,
    [0xdc] = 0xe7, [0xdd] = 0x65, [0xde] = 0x66,
};

/* Modifiers as bits, five lights, six keys. */
static const uint8_t kbd_report_desc[] = {
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, 0x75, 0x01, 0x95, 0x08, 0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7,
    0x15, 0x00, 0x25, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x08, 0x81, 0x01, 0x95, 0x05, 0x75, 0x01,
    0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x91, 0x02, 0x95, 0x01, 0x75, 0x03, 0x91, 0x01, 0x95, 0x06,
    0x75, 0x08, 0x15, 0x00, 0x25, 0xff, 0x05, 0x07, 0x19, 0x00, 0x29, 0xff, 0x81, 0x00, 0xc0,
};

static const uint8_t kbd_hid_desc[] = {
    9, USB_DESC_HID, 0x11, 0x01, 0, 1, USB_DESC_REPORT, sizeof(kbd_report_desc), 0
};

static const char *const kbd_strings[] = { NULL, "QEMU", "QEMU USB Keyboard", "68284",
                                           "HID Keyboard" };

HID_DESCRIPTORS(kbd, 1, 1, REPORT_BYTES, 7);

/* ---- Keys ---- */

static void apply(UsbKbd *kbd, uint8_t usage, bool down)
{
    uint8_t *at = memchr(kbd->down, usage, kbd->down_count);
    if (usage >= USAGE_CTRL) {
        uint8_t bit = 1U << (usage - USAGE_CTRL);
        kbd->modifiers = down ? kbd->modifiers | bit : kbd->modifiers & ~bit;
    } else if (down && !at && kbd->down_count < sizeof(kbd->down)) {
        kbd->down[kbd->down_count++] = usage;
    } else if (!down && at) {
        kbd->down_count--;
        memmove(at, at + 1, kbd->down + kbd->down_count - at);
    }
}

static unsigned kbd_current(UsbHid *hid, uint8_t *report)
{
    UsbKbd *kbd = (UsbKbd *)hid;
    memset(report, 0, REPORT_BYTES);
    report[0] = kbd->modifiers;
    if (kbd->down_count > KEYS_DOWN) {
        memset(report + 2, USAGE_ROLLOVER, KEYS_DOWN);
    } else {
        memcpy(report + 2, kbd->down, kbd->down_count);
    }
    return REPORT_BYTES;
}

static unsigned kbd_next(UsbHid *hid, uint8_t *report)
{
    UsbKbd *kbd = (UsbKbd *)hid;
    if (!kbd->count) {
        return 0;
    }
    apply(kbd, kbd->queue[kbd->first], kbd->queue_down[kbd->first]);
    kbd->first = (kbd->first + 1) % KEYS_QUEUED;
    kbd->count--;
    return kbd_current(hid, report);
}

static void kbd_event(void *opaque, const InputEvent *event)
{
    UsbKbd *kbd = opaque;
    uint8_t usage = usages[input_key_number(event->key) & 0xff];
    g_mutex_lock(kbd->hid.usb.bus->lock);
    if (usage && kbd->count < KEYS_QUEUED) {
        unsigned at = (kbd->first + kbd->count++) % KEYS_QUEUED;
        kbd->queue[at] = usage;
        kbd->queue_down[at] = event->down;
        hid_changed(&kbd->hid);
    }
    g_mutex_unlock(kbd->hid.usb.bus->lock);
}

/* Lights: num, caps, scroll of HID to scroll, num, caps of the user interface. */
static void kbd_set_report(UsbHid *hid, const uint8_t *data, unsigned len)
{
    UsbKbd *kbd = (UsbKbd *)hid;
    if (len) {
        kbd->leds = data[0] & 7;
        input_set_leds((kbd->leds & 3) << 1 | kbd->leds >> 2);
    }
}

static void kbd_reset(UsbHid *hid)
{
    UsbKbd *kbd = (UsbKbd *)hid;
    kbd->first = kbd->count = kbd->modifiers = kbd->down_count = kbd->leds = 0;
    memset(kbd->queue, 0, sizeof(kbd->queue));
    memset(kbd->queue_down, 0, sizeof(kbd->queue_down));
    memset(kbd->down, 0, sizeof(kbd->down));
}

/* ---- Tables ---- */

static const HidClass kbd_hid = {
    .report_desc = kbd_report_desc,
    .report_desc_len = sizeof(kbd_report_desc),
    .sink = { .name = "QEMU USB Keyboard", .kinds = INPUT_KIND_KEY, .event = kbd_event },
    .next = kbd_next,
    .current = kbd_current,
    .set_report = kbd_set_report,
    .reset = kbd_reset,
};

static bool kbd_make(UsbDevice *dev, GError **error)
{
    return hid_make((UsbHid *)dev, &kbd_hid);
}

static const UsbDeviceClass kbd_ops = {
    .product = "QEMU USB Keyboard",
    .desc = &kbd_desc,
    .firmware_name = "usb-kbd",
    .fastest = hid_fastest,
    .realize = kbd_make,
    .unrealize = hid_unmake,
    .reset = hid_reset,
    .control = hid_control,
    .submit = hid_submit,
    .cancel = hid_cancel,
};

static bool kbd_post_load(void *base, uint16_t version, GError **error)
{
    const UsbKbd *kbd = base;
    return (kbd->first < KEYS_QUEUED && kbd->count <= KEYS_QUEUED &&
            kbd->down_count <= sizeof(kbd->down)) ||
           error_set(error, "usb-kbd: %u keys from %u, %u down", kbd->count, kbd->first,
                     kbd->down_count);
}

static const StateField kbd_fields[] = {
    STATE_STRUCT(UsbKbd, hid, &hid_state),
    STATE_BUFFER(UsbKbd, queue),
    STATE_BUFFER(UsbKbd, queue_down),
    STATE_INT(UsbKbd, first),
    STATE_INT(UsbKbd, count),
    STATE_INT(UsbKbd, modifiers),
    STATE_BUFFER(UsbKbd, down),
    STATE_INT(UsbKbd, down_count),
    STATE_INT(UsbKbd, leds),
    STATE_END,
};

static const StateSection kbd_state = {
    .name = "usb-kbd", .version = 1, .fields = kbd_fields, .post_load = kbd_post_load
};

static const PropertyGroup kbd_groups[] = {
    { usb_device_props, offsetof(UsbKbd, hid.usb) },
    { NULL },
};

const DeviceClass usb_kbd_class =
    HID_DEVICE_CLASS("usb-kbd", "USB keyboard", UsbKbd, kbd_groups, &kbd_state, &kbd_ops);
