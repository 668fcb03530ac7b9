/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "usb-mouse" and "usb-tablet": pointers with relative and absolute positions (HID 1.11, B.2). */
#include <string.h>
#include "hw/devices.h"
#include "hw/usb/hid.h"
#include "vmm/util/bytes.h"

#define QUEUE_MAX     16
#define RELATIVE_MAX  127
#define MOUSE_BYTES   4
#define TABLET_BYTES  6
#define TABLET_PACKET 8

typedef struct PointerState {
    int32_t x, y, wheel; /* x and y: moved since the last report, or where it is */
    uint8_t buttons;
} PointerState;

typedef struct UsbPointer {
    UsbHid hid;
    PointerState now; /* what the events since the last sync add up to */
    PointerState queue[QUEUE_MAX];
    uint8_t first, count;
    PointerState last; /* as reported */
} UsbPointer;

/* Five buttons, x, y and wheel of a byte each. */
static const uint8_t mouse_report_desc[] = {
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, 0x05, 0x09, 0x19,
    0x01, 0x29, 0x05, 0x15, 0x00, 0x25, 0x01, 0x95, 0x05, 0x75, 0x01, 0x81, 0x02,
    0x95, 0x01, 0x75, 0x03, 0x81, 0x01, 0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x09,
    0x38, 0x15, 0x81, 0x25, 0x7f, 0x75, 0x08, 0x95, 0x03, 0x81, 0x06, 0xc0, 0xc0,
};

/* Five buttons, x and y of 0 to 0x7fff, wheel. */
static const uint8_t tablet_report_desc[] = {
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, 0x05, 0x09, 0x19, 0x01, 0x29,
    0x05, 0x15, 0x00, 0x25, 0x01, 0x95, 0x05, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x03,
    0x81, 0x01, 0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x00, 0x26, 0xff, 0x7f, 0x35, 0x00,
    0x46, 0xff, 0x7f, 0x75, 0x10, 0x95, 0x02, 0x81, 0x02, 0x05, 0x01, 0x09, 0x38, 0x15, 0x81,
    0x25, 0x7f, 0x35, 0x00, 0x45, 0x00, 0x75, 0x08, 0x95, 0x01, 0x81, 0x06, 0xc0, 0xc0,
};

static const uint8_t mouse_hid_desc[] = {
    9, USB_DESC_HID, 0x01, 0, 0, 1, USB_DESC_REPORT, sizeof(mouse_report_desc), 0
};
static const uint8_t tablet_hid_desc[] = {
    9, USB_DESC_HID, 0x01, 0, 0, 1, USB_DESC_REPORT, sizeof(tablet_report_desc), 0
};
static const char *const mouse_strings[] = { NULL, "QEMU", "QEMU USB Mouse", "89126", "HID Mouse" };
static const char *const tablet_strings[] = { NULL, "QEMU", "QEMU USB Tablet", "28754",
                                              "HID Tablet" };

HID_DESCRIPTORS(mouse, 1, 2, MOUSE_BYTES, 7);
HID_DESCRIPTORS(tablet, 0, 0, TABLET_PACKET, 4);

static bool is_tablet(const UsbPointer *s)
{
    return s->hid.cls->sink.kinds & INPUT_KIND_ABSOLUTE;
}

/* ---- Reports ---- */

static unsigned put_report(const UsbPointer *s, const PointerState *state, uint8_t *report)
{
    report[0] = state->buttons;
    if (is_tablet(s)) {
        store_le16(report + 1, state->x);
        store_le16(report + 3, state->y);
        report[5] = CLAMP(state->wheel, -RELATIVE_MAX, RELATIVE_MAX);
        return TABLET_BYTES;
    }
    report[1] = CLAMP(state->x, -RELATIVE_MAX, RELATIVE_MAX);
    report[2] = CLAMP(state->y, -RELATIVE_MAX, RELATIVE_MAX);
    report[3] = CLAMP(state->wheel, -RELATIVE_MAX, RELATIVE_MAX);
    return MOUSE_BYTES;
}

static unsigned pointer_current(UsbHid *hid, uint8_t *report)
{
    const UsbPointer *s = (const UsbPointer *)hid;
    PointerState state = s->last;
    state.wheel = 0;
    if (!is_tablet(s)) {
        state.x = state.y = 0;
    }
    return put_report(s, &state, report);
}

/* What a report has no room for stays. */
static int32_t take(int32_t *value)
{
    int32_t part = CLAMP(*value, -RELATIVE_MAX, RELATIVE_MAX);
    *value -= part;
    return part;
}

static unsigned pointer_next(UsbHid *hid, uint8_t *report)
{
    UsbPointer *s = (UsbPointer *)hid;
    if (!s->count) {
        return 0;
    }
    PointerState *head = &s->queue[s->first];
    PointerState part = *head;
    part.wheel = take(&head->wheel);
    if (!is_tablet(s)) {
        part.x = take(&head->x);
        part.y = take(&head->y);
    }
    if (!head->wheel && (is_tablet(s) || (!head->x && !head->y))) {
        s->first = (s->first + 1) % QUEUE_MAX;
        s->count--;
    }
    s->last = part;
    return put_report(s, &part, report);
}

/* ---- Events ---- */

static void set_button(UsbPointer *s, InputButton button, bool down)
{
    static const uint8_t bits[INPUT_BUTTON_COUNT] = {
        [INPUT_BUTTON_LEFT] = 1, [INPUT_BUTTON_RIGHT] = 2,  [INPUT_BUTTON_MIDDLE] = 4,
        [INPUT_BUTTON_SIDE] = 8, [INPUT_BUTTON_EXTRA] = 16,
    };
    if (button == INPUT_BUTTON_WHEEL_UP || button == INPUT_BUTTON_WHEEL_DOWN) {
        s->now.wheel += !down ? 0 : button == INPUT_BUTTON_WHEEL_UP ? 1 : -1;
        return;
    }
    s->now.buttons = down ? s->now.buttons | bits[button] : s->now.buttons & ~bits[button];
}

static void pointer_event(void *opaque, const InputEvent *event)
{
    UsbPointer *s = opaque;
    int32_t *axis = event->axis == INPUT_AXIS_X ? &s->now.x : &s->now.y;
    g_mutex_lock(s->hid.usb.bus->lock);
    switch (event->kind) {
    case INPUT_KIND_BUTTON:
        set_button(s, event->button, event->down);
        break;
    case INPUT_KIND_RELATIVE:
        *axis = CLAMP((int64_t)*axis + event->value, -INPUT_ABSOLUTE_MAX, INPUT_ABSOLUTE_MAX);
        break;
    case INPUT_KIND_ABSOLUTE:
        *axis = CLAMP(event->value, 0, INPUT_ABSOLUTE_MAX);
        break;
    default:
        break;
    }
    g_mutex_unlock(s->hid.usb.bus->lock);
}

/* Moves are added up while the guest is slow; presses and releases stay in their order. */
static void enqueue(UsbPointer *s)
{
    PointerState *tail = &s->queue[(s->first + s->count + QUEUE_MAX - 1) % QUEUE_MAX];
    bool merge = s->count == QUEUE_MAX || (s->count && tail->buttons == s->now.buttons);
    if (!merge) {
        s->queue[(s->first + s->count++) % QUEUE_MAX] = s->now;
    } else {
        PointerState was = *tail;
        *tail = s->now;
        tail->wheel = CLAMP(was.wheel + s->now.wheel, -INPUT_ABSOLUTE_MAX, INPUT_ABSOLUTE_MAX);
        if (!is_tablet(s)) {
            tail->x = CLAMP(was.x + s->now.x, -INPUT_ABSOLUTE_MAX, INPUT_ABSOLUTE_MAX);
            tail->y = CLAMP(was.y + s->now.y, -INPUT_ABSOLUTE_MAX, INPUT_ABSOLUTE_MAX);
        }
    }
    s->now.wheel = 0;
    if (!is_tablet(s)) {
        s->now.x = s->now.y = 0;
    }
}

static void pointer_sync(void *opaque)
{
    UsbPointer *s = opaque;
    g_mutex_lock(s->hid.usb.bus->lock);
    enqueue(s);
    hid_changed(&s->hid);
    g_mutex_unlock(s->hid.usb.bus->lock);
}

static void pointer_reset(UsbHid *hid)
{
    UsbPointer *s = (UsbPointer *)hid;
    memset(&s->now, 0, sizeof(s->now));
    memset(&s->last, 0, sizeof(s->last));
    memset(s->queue, 0, sizeof(s->queue));
    s->first = s->count = 0;
}

/* ---- Tables ---- */

static const HidClass mouse_hid = {
    .report_desc = mouse_report_desc,
    .report_desc_len = sizeof(mouse_report_desc),
    .sink = { .name = "QEMU USB Mouse",
              .kinds = INPUT_KIND_BUTTON | INPUT_KIND_RELATIVE,
              .event = pointer_event,
              .sync = pointer_sync },
    .next = pointer_next,
    .current = pointer_current,
    .reset = pointer_reset,
};

static const HidClass tablet_hid = {
    .report_desc = tablet_report_desc,
    .report_desc_len = sizeof(tablet_report_desc),
    .sink = { .name = "QEMU USB Tablet",
              .kinds = INPUT_KIND_BUTTON | INPUT_KIND_ABSOLUTE,
              .event = pointer_event,
              .sync = pointer_sync },
    .next = pointer_next,
    .current = pointer_current,
    .reset = pointer_reset,
};

static bool mouse_make(UsbDevice *dev, GError **error)
{
    return hid_make((UsbHid *)dev, &mouse_hid);
}

static bool tablet_make(UsbDevice *dev, GError **error)
{
    return hid_make((UsbHid *)dev, &tablet_hid);
}

#define POINTER_OPS(_product, _desc, _name, _make)                                                 \
    {                                                                                              \
        .product = (_product), .desc = (_desc), .firmware_name = (_name), .fastest = hid_fastest,  \
        .realize = (_make), .unrealize = hid_unmake, .reset = hid_reset, .control = hid_control,   \
        .submit = hid_submit, .cancel = hid_cancel,                                                \
    }

static const UsbDeviceClass mouse_ops =
    POINTER_OPS("QEMU USB Mouse", &mouse_desc, "usb-mouse", mouse_make);
static const UsbDeviceClass tablet_ops =
    POINTER_OPS("QEMU USB Tablet", &tablet_desc, "usb-tablet", tablet_make);

static bool state_ok(const PointerState *state)
{
    return ABS((int64_t)state->x) <= INPUT_ABSOLUTE_MAX &&
           ABS((int64_t)state->y) <= INPUT_ABSOLUTE_MAX &&
           ABS((int64_t)state->wheel) <= INPUT_ABSOLUTE_MAX;
}

static bool pointer_post_load(void *base, uint16_t version, GError **error)
{
    const UsbPointer *s = base;
    bool ok = s->first < QUEUE_MAX && s->count <= QUEUE_MAX && state_ok(&s->now);
    for (unsigned i = 0; i < QUEUE_MAX; i++) {
        ok = ok && state_ok(&s->queue[i]);
    }
    return ok || error_set(error, "%s: a queue of %u moves from %u, or one that is too far",
                           s->hid.usb.dev.cls->name, s->count, s->first);
}

static const StateField pointer_state_fields[] = {
    STATE_INT(PointerState, x),
    STATE_INT(PointerState, y),
    STATE_INT(PointerState, wheel),
    STATE_INT(PointerState, buttons),
    STATE_END,
};
static const StateSection pointer_state_state = { .name = "position",
                                                  .version = 1,
                                                  .fields = pointer_state_fields };

static const StateField pointer_fields[] = {
    STATE_STRUCT(UsbPointer, hid, &hid_state),
    STATE_STRUCT(UsbPointer, now, &pointer_state_state),
    STATE_STRUCT_ARRAY(UsbPointer, queue, &pointer_state_state),
    STATE_INT(UsbPointer, first),
    STATE_INT(UsbPointer, count),
    STATE_STRUCT(UsbPointer, last, &pointer_state_state),
    STATE_END,
};

static const StateSection pointer_state = {
    .name = "usb-pointer", .version = 1, .fields = pointer_fields, .post_load = pointer_post_load
};

static const PropertyGroup pointer_groups[] = {
    { usb_device_props, offsetof(UsbPointer, hid.usb) },
    { NULL },
};

const DeviceClass usb_mouse_class = HID_DEVICE_CLASS("usb-mouse", "USB mouse", UsbPointer,
                                                     pointer_groups, &pointer_state, &mouse_ops);
const DeviceClass usb_tablet_class =
    HID_DEVICE_CLASS("usb-tablet", "USB tablet: a pointer with absolute positions", UsbPointer,
                     pointer_groups, &pointer_state, &tablet_ops);
