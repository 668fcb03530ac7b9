/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * USB as controllers and devices see it: devices, their descriptors as tables, packets, ports, the
 * bus (USB 2.0 chapters 8, 9 and 11; USB 3.2 chapter 9).
 *
 * A bus has one lock, its controller's device lock: everything that hangs on the bus is under it.
 * A packet is embedded in the controller's transfer and is given to a device on the bus's loop; it
 * comes back at once, or later on that loop. Nobody polls: a device that has nothing to say keeps
 * the packet until it has.
 */
#ifndef HW_USB_USB_H
#define HW_USB_USB_H

#include <sys/uio.h>
#include "vmm/device/device.h"
#include "vmm/event/loop.h"

#define USB_CONTROL_MAX  4096 /* bytes of a control transfer's data stage */
#define USB_PATH_MAX     16   /* "1.2.3.4.5.6" */
#define USB_HUB_DEPTH    5    /* hubs between a root port and a device (USB 2.0, 4.1.1) */
#define USB_HUB_PORTS    15   /* that a route string can name */
#define USB_ENDPOINT_MAX 15

typedef struct UsbBus UsbBus;
typedef struct UsbDevice UsbDevice;
typedef struct UsbPacket UsbPacket;
typedef struct UsbPort UsbPort;

typedef enum UsbSpeed {
    USB_SPEED_LOW,
    USB_SPEED_FULL,
    USB_SPEED_HIGH,
    USB_SPEED_SUPER,
    USB_SPEED_COUNT,
} UsbSpeed;

#define USB_SPEED_BIT(speed) (1U << (speed))
extern const char *const usb_speed_names[USB_SPEED_COUNT]; /* megabits a second, as text */

/* ---- Descriptors (USB 2.0, 9.6; USB 3.2, 9.6) ---- */

enum {
    USB_DESC_DEVICE = 1,
    USB_DESC_CONFIG = 2,
    USB_DESC_STRING = 3,
    USB_DESC_INTERFACE = 4,
    USB_DESC_ENDPOINT = 5,
    USB_DESC_QUALIFIER = 6,
    USB_DESC_OTHER_SPEED = 7,
    USB_DESC_BOS = 15,
    USB_DESC_CAPABILITY = 16,
    USB_DESC_HID = 0x21,
    USB_DESC_REPORT = 0x22,
    USB_DESC_HUB = 0x29,
    USB_DESC_COMPANION = 48,
};

enum { USB_TYPE_CONTROL, USB_TYPE_ISOCH, USB_TYPE_BULK, USB_TYPE_INTERRUPT };

enum { USB_CONFIG_ONE = 0x80, USB_CONFIG_SELF_POWERED = 0x40, USB_CONFIG_WAKEUP = 0x20 };

typedef struct UsbEndpointDesc {
    uint8_t address; /* number, 0x80: IN */
    uint8_t type;    /* USB_TYPE_* */
    uint16_t max_packet;
    uint8_t interval;
    uint8_t max_burst; /* SuperSpeed companion: packets of a burst less 1 */
    uint8_t companion_attributes;
} UsbEndpointDesc;

typedef struct UsbInterfaceDesc {
    uint8_t number, alternate;
    uint8_t class_code, subclass, protocol;
    uint8_t string;
    const uint8_t *extra; /* class descriptors, before the endpoints */
    uint8_t extra_len;
    uint8_t endpoint_count;
    const UsbEndpointDesc *endpoints;
} UsbInterfaceDesc;

/* What a device is at one speed: its one configuration (value 1). */
typedef struct UsbSpeedDesc {
    uint16_t bcd_usb;
    uint8_t class_code, subclass, protocol;
    uint8_t max_packet0; /* bytes, or the exponent at SuperSpeed */
    uint8_t config_string, attributes;
    uint8_t max_power;       /* in units of 2 mA (8 mA at SuperSpeed) */
    uint8_t interface_count; /* rows of interfaces, alternate settings among them */
    const UsbInterfaceDesc *interfaces;
} UsbSpeedDesc;

typedef struct UsbDesc {
    uint16_t vendor, product, bcd_device;
    uint8_t manufacturer_string, product_string, serial_string; /* 0: none */
    const char *const *strings; /* by index from 1; string_count of them, [0] unused */
    uint8_t string_count;
    const UsbSpeedDesc *speeds[USB_SPEED_COUNT]; /* NULL: not at that speed */
} UsbDesc;

/* ---- Packets ---- */

typedef struct UsbSetup {
    uint8_t type, request;
    uint16_t value, index, length;
} UsbSetup;

enum {
    USB_DIR_IN = 0x80,
    USB_REQUEST_TYPE_MASK = 0x60,
    USB_REQUEST_STANDARD = 0x00,
    USB_REQUEST_CLASS = 0x20,
    USB_RECIPIENT_MASK = 0x1f,
    USB_RECIPIENT_DEVICE = 0,
    USB_RECIPIENT_INTERFACE = 1,
    USB_RECIPIENT_ENDPOINT = 2,
    USB_RECIPIENT_OTHER = 3,
};

/* Type and request of a setup packet as one number for a switch. */
#define USB_REQUEST(type, request) ((type) << 8 | (request))

enum {
    USB_REQ_GET_STATUS = 0,
    USB_REQ_CLEAR_FEATURE = 1,
    USB_REQ_SET_FEATURE = 3,
    USB_REQ_SET_ADDRESS = 5,
    USB_REQ_GET_DESCRIPTOR = 6,
    USB_REQ_GET_CONFIGURATION = 8,
    USB_REQ_SET_CONFIGURATION = 9,
    USB_REQ_GET_INTERFACE = 10,
    USB_REQ_SET_INTERFACE = 11,
    USB_REQ_SET_SEL = 48,
    USB_REQ_SET_ISOCH_DELAY = 49,
};

typedef enum UsbStatus {
    USB_DONE,
    USB_STALL,
    USB_BABBLE,    /* the device had more than the packet's room */
    USB_ERROR,     /* no answer: the device went */
    USB_CANCELLED, /* by usb_cancel() */
    USB_PENDING,   /* done will be called */
} UsbStatus;

struct UsbPacket {
    /* the controller's */
    uint8_t endpoint; /* number, 0 to 15 */
    bool in;          /* to the host; of endpoint 0: the data stage */
    UsbSetup setup;   /* endpoint 0 */
    const struct iovec *iov;
    unsigned iov_count;
    uint64_t length;                 /* of iov */
    void (*done)(UsbPacket *packet); /* on the bus's loop, its lock held, never inside submit */
    void *opaque;
    /* results */
    UsbStatus status;
    uint64_t actual;
    /* private */
    UsbDevice *dev; /* while it is with one */
    UsbPacket *next;
};

/* ---- Devices ---- */

typedef struct UsbDeviceClass {
    const UsbDesc *desc;
    const char *product;       /* as `info usb` says */
    const char *firmware_name; /* "storage": node of the Open Firmware path, without the unit */
    const char *firmware_unit; /* what follows it there, or NULL */
    UsbSpeed (*fastest)(const UsbDevice *dev); /* as properties limit it; may be NULL */
    /* Main thread, no bus lock. */
    bool (*realize)(UsbDevice *dev, GError **error);
    void (*unrealize)(UsbDevice *dev);
    /* Host I/O behind packets comes to an end; `cancel`: also what an error policy keeps. The
     * bus's lock is not held; nothing is submitted meanwhile. May be NULL. */
    void (*drain)(UsbDevice *dev, bool cancel);
    /* The machine goes on, also after a load. Main thread, no bus lock. May be NULL. */
    void (*resume)(UsbDevice *dev);
    /* All below: the bus's lock held; the loop's thread, or main with everything drained. */
    void (*reset)(UsbDevice *dev);      /* bus reset, besides what the core does; may be NULL */
    void (*configured)(UsbDevice *dev); /* SET_CONFIGURATION, or reset; may be NULL */
    /* A request the core does not know: data holds what the host sent, or takes the answer (room
     * for setup->length). Bytes of the answer (0 when data went out), or -1: stall. */
    int (*control)(UsbDevice *dev, const UsbSetup *setup, uint8_t *data);
    UsbStatus (*submit)(UsbDevice *dev, UsbPacket *packet); /* configured endpoints, not halted */
    /* True: given back at once, done is not called. False: done comes. */
    bool (*cancel)(UsbDevice *dev, UsbPacket *packet);
    /* Hubs: the port with that number from 1, or NULL. */
    UsbPort *(*downstream)(UsbDevice *dev, unsigned number);
} UsbDeviceClass;

struct UsbDevice {
    Device dev;
    /* properties */
    char *port_path; /* "1.2", or NULL: the first that is free */
    char *serial;
    /* as plugged */
    UsbBus *bus;
    UsbPort *port;
    UsbSpeed speed;
    bool attached;
    unsigned pending; /* packets with the device */
    /* state */
    uint8_t address, configuration;
    uint8_t alternate[4]; /* by interface */
    bool remote_wakeup;
    uint8_t u_enable;               /* U1, U2 and LTM of SuperSpeed, bits 0 to 2 */
    uint16_t halted_in, halted_out; /* endpoints, by number */
};

static inline const UsbDeviceClass *usb_class(const UsbDevice *dev)
{
    return dev->dev.cls->ops;
}

/* The members of every USB DeviceClass: `.realize = usb_device_realize` and so on, with a
 * UsbDeviceClass as ops, usb_device_props as a group, usb_device_state first in the state. */
bool usb_device_realize(Device *dev, GError **error);
void usb_device_unrealize(Device *dev);
void usb_device_reset(Device *dev);
void usb_device_quiesce(Device *dev);
void usb_device_resume(Device *dev);
char *usb_firmware_name(const Device *dev);
extern const Property usb_device_props[];
extern const StateSection usb_device_state;

/* ---- What a device calls; bus lock held ---- */

void usb_complete(UsbPacket *packet, UsbStatus status); /* a pending packet; the loop */
/* Copies into (IN) or out of (OUT) the packet from `actual` on, as much as has room; the bytes. */
uint64_t usb_packet_copy(UsbPacket *packet, void *data, uint64_t len);
void usb_packet_zero(UsbPacket *packet, uint64_t len); /* the same, with zeros */
void usb_wakeup(UsbDevice *dev);                       /* remote wake-up, if it is enabled */
void usb_halt(UsbDevice *dev, unsigned endpoint, bool in);

/* ---- What a controller calls; bus lock held, the loop ---- */

/* DONE, STALL, BABBLE or ERROR at once (done is not called), or USB_PENDING. */
UsbStatus usb_submit(UsbDevice *dev, UsbPacket *packet);
/* True: given back, done is not called. False: done comes, with USB_CANCELLED or another end. */
bool usb_cancel(UsbPacket *packet);
void usb_reset(UsbDevice *dev); /* the port's reset signal */
/* The device behind a root port by a route string (xHCI 1.2, 8.9); NULL. */
UsbDevice *usb_find(UsbPort *root, uint32_t route);

/* ---- Ports and the bus ---- */

typedef struct UsbPortOps {
    /* A device is there, or is not any more. Bus lock held; main thread. */
    void (*attached)(UsbPort *port);
    void (*detached)(UsbPort *port);
    void (*wakeup)(UsbPort *port); /* loop or main */
} UsbPortOps;

struct UsbPort {
    UsbBus *bus;
    UsbDevice *hub;  /* NULL: a root port */
    unsigned number; /* from 1 */
    unsigned speeds; /* USB_SPEED_BIT() of each */
    char path[USB_PATH_MAX];
    UsbDevice *dev;
    const UsbPortOps *ops;
    void *opaque;
};

struct UsbBus {
    Bus *bus;
    EventLoop *loop;
    GMutex *lock;
    GPtrArray *ports; /* UsbPort *, root ports and those of hubs */
    int number;
    char *path; /* of the controller's function, in serial numbers */
    /* Cancels every packet that the controller has with the device, or knows it for; bus lock
     * held, the loop. */
    void (*forget)(UsbBus *bus, UsbDevice *dev);
};

/* Makes "ID.0" or "usb-bus.N"; freed by usb_bus_cleanup() in the controller's unrealize. Main
 * thread. */
void usb_bus_init(UsbBus *bus, Device *controller, EventLoop *loop);
void usb_bus_cleanup(UsbBus *bus);
void usb_port_init(UsbPort *port, UsbBus *bus, UsbDevice *hub, unsigned number, unsigned speeds,
                   const UsbPortOps *ops, void *opaque);
void usb_port_cleanup(UsbPort *port);
void usb_info_dump(Machine *machine, GString *out); /* `info usb`; main thread */

/* Private to hw/usb: the answers of the core to standard requests, -1: stall. */
int usb_control(UsbDevice *dev, const UsbSetup *setup, uint8_t *data);
int usb_get_descriptor(UsbDevice *dev, const UsbSetup *setup, uint8_t *data);
const UsbEndpointDesc *usb_find_endpoint(const UsbDevice *dev, unsigned endpoint, bool in);

#endif
