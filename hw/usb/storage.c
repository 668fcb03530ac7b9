/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "usb-storage": a SCSI unit behind USB Mass Storage Bulk-Only Transport 1.0.
 *
 * A packet waits until its phase comes (a device would answer NAK); the data phase hands the
 * packets' memory to the SCSI request, a window each. Where the unit moves fewer bytes than the
 * host expects, zeros fill the rest and the status says how many (6.7.2, case 5).
 */
#include <string.h>
#include "hw/devices.h"
#include "hw/scsi/scsi.h"
#include "hw/usb/usb.h"
#include "vmm/util/bytes.h"

#define CBW_SIGNATURE 0x43425355
#define CSW_SIGNATURE 0x53425355
#define CBW_BYTES     31
#define CSW_BYTES     13
#define CBW_IN        0x80
#define CDB_MAX       16
#define ENDPOINT_IN   1
#define ENDPOINT_OUT  2

enum { REQUEST_RESET = 0xff, REQUEST_MAX_LUN = 0xfe };
enum { CSW_GOOD, CSW_FAILED, CSW_PHASE_ERROR };

typedef enum Phase { PHASE_COMMAND, PHASE_DATA_OUT, PHASE_DATA_IN, PHASE_STATUS } Phase;

typedef struct UsbStorage {
    UsbDevice usb;
    /* properties */
    DiskConf disk;
    ScsiIdentity identity;
    bool removable;
    /* as realized */
    ScsiLun lun;
    UsbPacket *in, *out;   /* that wait */
    UsbPacket *submitting; /* its status is returned by submit, not by done */
    UsbStatus submit_status;
    struct iovec *iov; /* a window that is a part of a packet */
    unsigned iov_room;
    /* state */
    ScsiRequest request;
    bool active;    /* the request is not done */
    bool wanting;   /* it waits for a window */
    bool moving;    /* it has one, of the data packet */
    bool ending;    /* it was cancelled: nothing goes on before it is done */
    bool give_back; /* the packet with the window goes back then */
    bool reset;     /* then comes a command; else the status, a phase error */
    bool restored;  /* loaded, not gone on with yet */
    uint8_t phase;
    uint8_t csw_status;
    uint32_t tag;
    uint32_t expected;     /* bytes of the data phase, as the host says */
    uint32_t data_left;    /* of them */
    uint64_t moved;        /* by the request, when it is done */
    uint64_t window_start; /* the request's bytes before the packet's first */
} UsbStorage;

/* ---- Packets ---- */

static void end_packet(UsbStorage *s, UsbPacket *packet, UsbStatus status)
{
    if (packet->in) {
        s->in = NULL;
    } else {
        s->out = NULL;
    }
    if (packet == s->submitting) {
        s->submitting = NULL;
        s->submit_status = status;
    } else {
        usb_complete(packet, status);
    }
}

/* The data packet goes back, `bytes` of it used. */
static void end_data(UsbStorage *s, UsbPacket *packet, uint64_t bytes, UsbStatus status)
{
    s->data_left -= MIN(bytes, s->data_left);
    if (s->data_left == 0) {
        s->phase = PHASE_STATUS;
    }
    packet->actual = bytes;
    end_packet(s, packet, status);
}

/* ---- The command's request ---- */

static void request_ended(UsbStorage *s)
{
    const ScsiRequest *request = &s->request;
    UsbPacket *packet = s->phase == PHASE_DATA_IN ? s->in : s->out;
    s->active = s->wanting = false;
    s->moved = request->moved;
    s->csw_status = request->cancelled             ? CSW_PHASE_ERROR
                    : request->status == SCSI_GOOD ? CSW_GOOD
                                                   : CSW_FAILED;
    if (s->moving) { /* a packet that is not full stays, for the zeros */
        s->moving = false;
        packet->actual = request->moved - s->window_start;
        if (s->give_back) {
            end_data(s, packet, packet->actual, USB_CANCELLED);
        }
    }
    if (s->reset) {
        s->phase = PHASE_COMMAND;
    }
    s->ending = s->give_back = s->reset = false;
}

static void storage_run(UsbStorage *s);

static void request_done(ScsiRequest *request)
{
    UsbStorage *s = request->opaque;
    g_mutex_lock(s->usb.bus->lock);
    request_ended(s);
    storage_run(s);
    g_mutex_unlock(s->usb.bus->lock);
}

/* The window is used up and more is to move. */
static void request_next(ScsiRequest *request)
{
    UsbStorage *s = request->opaque;
    g_mutex_lock(s->usb.bus->lock);
    s->wanting = true;
    if (s->moving) {
        UsbPacket *packet = s->phase == PHASE_DATA_IN ? s->in : s->out;
        s->moving = false;
        uint64_t bytes = request->moved - s->window_start;
        s->window_start = request->moved;
        end_data(s, packet, bytes, USB_DONE);
    }
    if (s->phase == PHASE_STATUS) { /* the unit has more data than the host expects (case 7, 13) */
        s->wanting = false;
        scsi_request_cancel(request);
    }
    storage_run(s);
    g_mutex_unlock(s->usb.bus->lock);
}

static void request_init(UsbStorage *s)
{
    scsi_request_init(&s->request, &s->lun);
    s->request.next = request_next;
    s->request.done = request_done;
    s->request.opaque = s;
}

/* [skip, skip + bytes) of the packet's memory as the request's window. */
static void give_window(UsbStorage *s, const UsbPacket *packet, uint64_t skip, uint64_t bytes)
{
    ScsiWindow window = { .iov = packet->iov, .count = packet->iov_count, .bytes = bytes };
    if (skip || bytes != packet->length) {
        if (s->iov_room < packet->iov_count) {
            s->iov_room = packet->iov_count;
            s->iov = g_renew(struct iovec, s->iov, s->iov_room);
        }
        window.iov = s->iov;
        window.count = 0;
        for (unsigned i = 0; i < packet->iov_count && bytes; i++) {
            struct iovec part = packet->iov[i];
            uint64_t cut = MIN(skip, part.iov_len);
            part.iov_base = (uint8_t *)part.iov_base + cut;
            part.iov_len = MIN(part.iov_len - cut, bytes);
            skip -= cut;
            bytes -= part.iov_len;
            if (part.iov_len) {
                s->iov[window.count++] = part;
            }
        }
    }
    s->wanting = false;
    s->moving = true;
    if (packet->in) {
        s->request.in = window;
    } else {
        s->request.out = window;
    }
    scsi_request_continue(&s->request);
}

/* ---- Phases ---- */

static void take_command(UsbStorage *s, UsbPacket *packet)
{
    uint8_t cbw[CBW_BYTES];
    unsigned len = 0;
    if (packet->length == CBW_BYTES) {
        usb_packet_copy(packet, cbw, CBW_BYTES);
        len = cbw[14] & 0x1f;
    }
    if (!len || len > CDB_MAX || load_le32(cbw) != CBW_SIGNATURE || cbw[13] & 0xf) {
        usb_halt(&s->usb, ENDPOINT_IN, true); /* both, until the reset recovery (6.6.1) */
        end_packet(s, packet, USB_STALL);
        if (s->in) {
            end_packet(s, s->in, USB_STALL);
        }
        return;
    }
    end_packet(s, packet, USB_DONE);
    s->tag = load_le32(cbw + 4);
    s->expected = s->data_left = load_le32(cbw + 8);
    s->moved = s->window_start = 0;
    s->phase = !s->expected ? PHASE_STATUS : cbw[12] & CBW_IN ? PHASE_DATA_IN : PHASE_DATA_OUT;
    ScsiRequest *request = &s->request;
    request_init(s);
    memcpy(request->cdb, cbw + 15, len);
    scsi_request_prepare(request);
    ScsiDirection host = s->phase == PHASE_DATA_IN    ? SCSI_DATA_IN
                         : s->phase == PHASE_DATA_OUT ? SCSI_DATA_OUT
                                                      : SCSI_NO_DATA;
    if (request->direction != SCSI_NO_DATA && request->direction != host) {
        s->csw_status = CSW_PHASE_ERROR; /* cases 2, 3, 8 and 10 */
        return;
    }
    s->active = true;
    scsi_request_submit(request);
}

/* True: something went on. */
static bool run_data(UsbStorage *s, UsbPacket *packet)
{
    if (s->moving || !packet || (s->active && !s->wanting)) {
        return false;
    }
    uint64_t bytes = MIN(packet->length, s->data_left);
    if (!packet->in && packet->length > s->data_left) {
        end_packet(s, packet, USB_STALL); /* the host sends more than it said */
        return true;
    }
    if (s->active) {
        uint64_t skip = s->request.moved - s->window_start;
        if (skip < bytes) {
            give_window(s, packet, skip, bytes - skip);
            return false;
        }
        s->window_start += bytes; /* all of it had moved when the state was saved */
    } else {
        packet->actual = MIN(bytes, s->moved - s->window_start);
        s->window_start += packet->actual;
        usb_packet_zero(packet, bytes - packet->actual);
    }
    end_data(s, packet, bytes, USB_DONE);
    return true;
}

static bool send_status(UsbStorage *s)
{
    uint8_t csw[CSW_BYTES];
    UsbPacket *packet = s->in;
    if (s->active || !packet) {
        return false;
    }
    if (packet->length < CSW_BYTES) {
        end_packet(s, packet, USB_BABBLE);
        return true;
    }
    uint64_t moved = MIN(s->moved, s->expected);
    store_le32(csw, CSW_SIGNATURE);
    store_le32(csw + 4, s->tag);
    store_le32(csw + 8, s->expected - moved);
    csw[12] = s->csw_status;
    usb_packet_copy(packet, csw, CSW_BYTES);
    s->phase = PHASE_COMMAND;
    end_packet(s, packet, USB_DONE);
    return true;
}

static bool step(UsbStorage *s)
{
    if (s->ending) {
        return false;
    }
    switch ((Phase)s->phase) {
    case PHASE_COMMAND:
        if (!s->out) {
            return false;
        }
        take_command(s, s->out);
        return true;
    case PHASE_DATA_OUT:
        return run_data(s, s->out);
    case PHASE_DATA_IN:
        return run_data(s, s->in);
    default:
        return send_status(s);
    }
}

static void storage_run(UsbStorage *s)
{
    while (step(s)) {
    }
}

/* ---- The USB side ---- */

static UsbStatus storage_submit(UsbDevice *dev, UsbPacket *packet)
{
    UsbStorage *s = (UsbStorage *)dev;
    UsbPacket **place = packet->in ? &s->in : &s->out;
    if (*place) {
        return USB_ERROR;
    }
    *place = packet;
    s->submitting = packet;
    storage_run(s);
    if (s->submitting) {
        s->submitting = NULL;
        return USB_PENDING;
    }
    return s->submit_status;
}

static bool storage_cancel(UsbDevice *dev, UsbPacket *packet)
{
    UsbStorage *s = (UsbStorage *)dev;
    if (s->moving && packet == (s->phase == PHASE_DATA_IN ? s->in : s->out)) {
        s->ending = s->give_back = true;
        scsi_request_cancel(&s->request);
        return false;
    }
    if (packet->in) {
        s->in = NULL;
    } else {
        s->out = NULL;
    }
    return true;
}

/* Bus reset, or the class's own: the next packet is a command. */
static void storage_usb_reset(UsbDevice *dev)
{
    UsbStorage *s = (UsbStorage *)dev;
    if (!s->active) {
        s->phase = PHASE_COMMAND;
        return;
    }
    s->ending = s->reset = true;
    s->give_back |= s->moving;
    scsi_request_cancel(&s->request);
}

static int storage_control(UsbDevice *dev, const UsbSetup *setup, uint8_t *data)
{
    switch (USB_REQUEST(setup->type, setup->request)) {
    case USB_REQUEST(0x21, REQUEST_RESET):
        storage_usb_reset(dev);
        return 0;
    case USB_REQUEST(0xa1, REQUEST_MAX_LUN):
        data[0] = 0;
        return MIN(setup->length, 1);
    default:
        return -1;
    }
}

/* ---- Stopping and going on ---- */

static void cancel_on_loop(void *opaque)
{
    UsbStorage *s = opaque;
    g_mutex_lock(s->usb.bus->lock);
    if (s->active) {
        storage_usb_reset(&s->usb);
    }
    g_mutex_unlock(s->usb.bus->lock);
}

static void storage_drain(UsbDevice *dev, bool cancel)
{
    UsbStorage *s = (UsbStorage *)dev;
    if (cancel) {
        event_loop_call(dev->bus->loop, cancel_on_loop, s);
    }
    scsi_lun_drain(&s->lun, cancel);
}

/* A loaded request asks for its window again; run_data() knows what had moved of it. */
static void resume_on_loop(void *opaque)
{
    UsbStorage *s = opaque;
    g_mutex_lock(s->usb.bus->lock);
    if (s->restored) {
        s->restored = false;
        scsi_request_resume(&s->request);
    }
    g_mutex_unlock(s->usb.bus->lock);
}

static void storage_resume(UsbDevice *dev)
{
    event_loop_call(dev->bus->loop, resume_on_loop, dev);
}

/* ---- Tables ---- */

static const char *const storage_strings[] = { NULL,
                                               "QEMU",
                                               "QEMU USB HARDDRIVE",
                                               "1",
                                               "Full speed config (usb 1.1)",
                                               "High speed config (usb 2.0)",
                                               "Super speed config (usb 3.0)" };

#define STORAGE_SPEED(name, usb, packet0, packet, burst, string)                                   \
    static const UsbEndpointDesc name##_endpoints[] = {                                            \
        { .address = USB_DIR_IN | ENDPOINT_IN,                                                     \
          .type = USB_TYPE_BULK,                                                                   \
          .max_packet = (packet),                                                                  \
          .max_burst = (burst) },                                                                  \
        { .address = ENDPOINT_OUT,                                                                 \
          .type = USB_TYPE_BULK,                                                                   \
          .max_packet = (packet),                                                                  \
          .max_burst = (burst) },                                                                  \
    };                                                                                             \
    static const UsbInterfaceDesc name##_interface = {                                             \
        .class_code = 8, /* mass storage */                                                        \
        .subclass = 6,   /* SCSI */                                                                \
        .protocol = 0x50,                                                                          \
        .endpoint_count = 2,                                                                       \
        .endpoints = name##_endpoints,                                                             \
    };                                                                                             \
    static const UsbSpeedDesc name = {                                                             \
        .bcd_usb = (usb),                                                                          \
        .max_packet0 = (packet0),                                                                  \
        .config_string = (string),                                                                 \
        .attributes = USB_CONFIG_ONE | USB_CONFIG_SELF_POWERED,                                    \
        .interface_count = 1,                                                                      \
        .interfaces = &name##_interface,                                                           \
    }

STORAGE_SPEED(storage_full, 0x0200, 8, 64, 0, 4);
STORAGE_SPEED(storage_high, 0x0200, 64, 512, 0, 5);
STORAGE_SPEED(storage_super, 0x0300, 9, 1024, 15, 6);

static const UsbDesc storage_desc = {
    .vendor = 0x46f4,
    .product = 0x0001,
    .manufacturer_string = 1,
    .product_string = 2,
    .serial_string = 3,
    .strings = storage_strings,
    .string_count = G_N_ELEMENTS(storage_strings),
    .speeds = { [USB_SPEED_FULL] = &storage_full,
                [USB_SPEED_HIGH] = &storage_high,
                [USB_SPEED_SUPER] = &storage_super },
};

/* ---- Life ---- */

static bool is_cdrom(const UsbStorage *s)
{
    const Drive *drive = s->disk.drive ? drive_find(s->disk.drive) : NULL;
    return drive && drive->is_cdrom;
}

static bool attach(UsbStorage *s, GError **error)
{
    const Device *dev = &s->usb.dev;
    bool cd = is_cdrom(s);
    s->identity.removable = s->removable;
    if (cd && !s->disk.logical_block) {
        s->disk.logical_block = 2048;
    }
    return cd || s->removable ? disk_conf_attach_removable(&s->disk, dev, "", cd, true, error)
                              : disk_conf_attach(&s->disk, dev, "", error);
}

static void storage_unmake(UsbDevice *dev)
{
    UsbStorage *s = (UsbStorage *)dev;
    scsi_request_cleanup(&s->request);
    scsi_lun_cleanup(&s->lun);
    disk_conf_detach(&s->disk);
    g_clear_pointer(&s->iov, g_free);
    s->iov_room = 0;
}

static bool storage_make(UsbDevice *dev, GError **error)
{
    UsbStorage *s = (UsbStorage *)dev;
    if (!attach(s, error)) {
        return false;
    }
    const char *serial = disk_conf_serial(&s->disk);
    if (serial[0]) {
        dev->serial = g_strdup(serial);
    }
    if (disk_conf_sizes(&s->disk, error) &&
        scsi_lun_init(&s->lun, is_cdrom(s) ? &scsi_cd_lun : &scsi_disk_lun, &dev->dev, &s->disk,
                      &s->identity, error) &&
        block_backend_add_loop(s->disk.backend, dev->bus->loop, error)) {
        request_init(s);
        return true;
    }
    storage_unmake(dev);
    return false;
}

static void storage_reset(Device *dev)
{
    UsbStorage *s = (UsbStorage *)dev;
    usb_device_reset(dev);
    scsi_lun_reset(&s->lun, true);
}

static const UsbDeviceClass storage_ops = {
    .product = "QEMU USB MSD",
    .desc = &storage_desc,
    .firmware_name = "storage",
    .firmware_unit = "channel@0/disk@0,0",
    .realize = storage_make,
    .unrealize = storage_unmake,
    .drain = storage_drain,
    .resume = storage_resume,
    .reset = storage_usb_reset,
    .control = storage_control,
    .submit = storage_submit,
    .cancel = storage_cancel,
};

static const Property storage_props[] = {
    DISK_CONF_PROPS(UsbStorage, disk),
    PROP_BOOL("removable", UsbStorage, removable, false, "The medium can be taken out"),
    PROP_END,
};

static const PropertyGroup storage_groups[] = {
    { usb_device_props, offsetof(UsbStorage, usb) },
    { NULL },
};

/* ---- State ---- */

static bool storage_post_load(void *base, uint16_t version, GError **error)
{
    UsbStorage *s = base;
    bool data = s->phase == PHASE_DATA_IN || s->phase == PHASE_DATA_OUT;
    if (s->phase > PHASE_STATUS || s->csw_status > CSW_PHASE_ERROR || s->data_left > s->expected ||
        (data && !s->data_left) || s->active != s->request.started ||
        s->window_start > (s->active ? s->request.moved : s->moved)) {
        return error_set(error, "usb-storage: phase %u with %u of %u bytes left is impossible",
                         s->phase, s->data_left, s->expected);
    }
    s->wanting = s->moving = s->ending = s->give_back = s->reset = false;
    s->restored = s->active;
    return true;
}

static bool request_needed(const void *base)
{
    return ((const UsbStorage *)base)->active;
}

static const StateField request_fields[] = {
    STATE_STRUCT(UsbStorage, request, &scsi_request_state),
    STATE_END,
};
static const StateSection request_state = {
    .name = "request", .version = 1, .fields = request_fields, .needed = request_needed
};
static const StateSection *const storage_subsections[] = { &request_state, NULL };

static const StateField storage_fields[] = {
    STATE_STRUCT(UsbStorage, usb, &usb_device_state),
    STATE_STRUCT(UsbStorage, lun, &scsi_lun_state),
    STATE_BOOL(UsbStorage, active),
    STATE_INT(UsbStorage, phase),
    STATE_INT(UsbStorage, csw_status),
    STATE_INT(UsbStorage, tag),
    STATE_INT(UsbStorage, expected),
    STATE_INT(UsbStorage, data_left),
    STATE_INT(UsbStorage, moved),
    STATE_INT(UsbStorage, window_start),
    STATE_END,
};
static const StateSection storage_state = {
    .name = "usb-storage",
    .version = 1,
    .fields = storage_fields,
    .subsections = storage_subsections,
    .post_load = storage_post_load,
};

const DeviceClass usb_storage_class = {
    .name = "usb-storage",
    .desc = "USB disk or CD drive (mass storage, bulk-only transport)",
    .bus = BUS_USB,
    .category = DEVICE_CATEGORY_STORAGE,
    .size = sizeof(UsbStorage),
    .props = storage_props,
    .groups = storage_groups,
    .state = &storage_state,
    .hotpluggable = true,
    .realize = usb_device_realize,
    .unrealize = usb_device_unrealize,
    .reset = storage_reset,
    .quiesce = usb_device_quiesce,
    .resume = usb_device_resume,
    .firmware_name = usb_firmware_name,
    .ops = &storage_ops,
};
