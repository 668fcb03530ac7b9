/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-serial (VIRTIO 1.2, 5.3, "console device"): a device with ports; between its files.
 *
 * All queues live in one loop, which owns the ports' table and what has no other comment. Character
 * devices deliver on the main thread: what they give waits in the port's FIFO, under its lock (a
 * leaf), and a task of the loop moves it on.
 */
#ifndef HW_VIRTIO_SERIAL_H
#define HW_VIRTIO_SERIAL_H

#include "hw/virtio/virtio.h"
#include "vmm/chardev/chardev.h"

#define SERIAL_MAX_PORTS 511
#define SERIAL_FIFO      4096
#define SERIAL_BACKLOG   (1 << 20)
#define SERIAL_NR_ANY    UINT32_MAX

enum {
    VIRTIO_CONSOLE_F_MULTIPORT = 1,
    VIRTIO_CONSOLE_F_EMERG_WRITE = 2,
};

/* Control messages (5.3.6.2). */
enum {
    SERIAL_DEVICE_READY = 0,
    SERIAL_PORT_ADD = 1,
    SERIAL_PORT_REMOVE = 2,
    SERIAL_PORT_READY = 3,
    SERIAL_CONSOLE_PORT = 4,
    SERIAL_PORT_OPEN = 6,
    SERIAL_PORT_NAME = 7,
};

typedef struct SerialPort SerialPort;

typedef struct VirtioSerial {
    VirtioDevice vdev;
    /* properties */
    uint32_t max_ports;
    bool emergency_write;
    char *iothread;
    /* as realized */
    EventLoop *loop;
    bool has_iothread;
    Bus *bus;
    SerialPort **ports; /* max_ports */
    GQueue messages;    /* GBytes * for the driver, not yet delivered */
} VirtioSerial;

struct SerialPort {
    Device dev;
    /* properties */
    uint32_t nr;
    char *name, *chardev;
    /* as realized */
    VirtioSerial *serial;
    CharFrontend *frontend;
    bool is_console;
    LoopTask input_task, output_task, connect_task;
    /* the loop's */
    bool guest_connected;  /* also read by main */
    VirtqRequest *sending; /* partly written */
    uint32_t sent;         /* bytes of it, or of the next, that are out */
    GMutex lock;           /* leaf: the rest */
    bool host_connected;
    uint32_t fifo_len;
    uint8_t fifo[SERIAL_FIFO];
    GByteArray *backlog; /* consoles: output that the character device did not take yet */
};

extern const DeviceClass virtconsole_class, virtserialport_class;

VirtQueue *virtio_serial_in_queue(SerialPort *port);
VirtQueue *virtio_serial_out_queue(SerialPort *port);
/* A control message about the port; name may be NULL. Loop. */
void virtio_serial_send(VirtioSerial *serial, uint32_t nr, uint16_t event, uint16_t value,
                        const char *name);

/* Ports: the loop. */
void serial_port_handle_out(SerialPort *port, VirtQueue *vq);
void serial_port_handle_in(SerialPort *port, VirtQueue *vq);
void serial_port_ready(SerialPort *port);
void serial_port_guest_open(SerialPort *port, bool open);
void serial_port_reset(SerialPort *port);                   /* queues stopped */
void serial_port_emergency(SerialPort *port, uint8_t byte); /* any thread */

#endif
