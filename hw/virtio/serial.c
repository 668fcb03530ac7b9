/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-serial: the device, its configuration and control queues. */
#include "hw/virtio/serial.h"

#include <string.h>
#include "hw/devices.h"
#include "hw/virtio/mmio.h"
#include "hw/virtio/pci.h"
#include "hw/virtio/virtqueue-internal.h"
#include "vmm/object/iothread.h"
#include "vmm/util/bytes.h"

#define PORT_QUEUE_SIZE    128
#define CONTROL_QUEUE_SIZE 32
#define MAX_MESSAGES       1024 /* to a driver that gives no buffers */

enum { CONTROL_IN = 2, CONTROL_OUT = 3 };

/* struct virtio_console_config, by offset. */
enum { CONFIG_MAX_PORTS = 4, CONFIG_EMERGENCY = 8, CONFIG_LEN = 12 };

/* struct virtio_console_control */
typedef struct ControlMessage {
    uint32_t id;
    uint16_t event;
    uint16_t value;
} ControlMessage;

static const Property virtio_serial_props[] = {
    PROP_FIELD("max_ports", PROP_TYPE_U32, VirtioSerial, max_ports, "Ports at most", .def = 31,
               .min = 1, .max = SERIAL_MAX_PORTS),
    PROP_BOOL("emergency-write", VirtioSerial, emergency_write, true,
              "Offer the emergency output register"),
    PROP_REF("iothread", VirtioSerial, iothread, "iothread", "The I/O thread of all queues"),
    PROP_END,
};

/* ---- Queues of ports ---- */

static unsigned in_index(uint32_t nr)
{
    return nr == 0 ? 0 : 2 * nr + 2;
}

VirtQueue *virtio_serial_in_queue(SerialPort *port)
{
    return &port->serial->vdev.queues[in_index(port->nr)];
}

VirtQueue *virtio_serial_out_queue(SerialPort *port)
{
    return &port->serial->vdev.queues[in_index(port->nr) + 1];
}

static SerialPort *port_of_queue(VirtioSerial *serial, unsigned index)
{
    uint32_t nr = index < 2 ? 0 : (index - 2) / 2;
    return nr < serial->max_ports ? serial->ports[nr] : NULL;
}

/* Output to a port that is not there is dropped. */
static void drop_all(VirtQueue *vq)
{
    VirtqRequest *request;
    while ((request = virtq_pop(vq))) {
        virtq_push(request, 0);
    }
}

static void handle_port(VirtQueue *vq)
{
    SerialPort *port = port_of_queue((VirtioSerial *)vq->vdev, vq->index);
    if (vq->index & 1) {
        if (port) {
            serial_port_handle_out(port, vq);
        } else {
            drop_all(vq);
        }
    } else if (port) {
        serial_port_handle_in(port, vq);
    }
}

/* ---- Control ---- */

static void deliver_messages(VirtioSerial *serial)
{
    VirtQueue *vq = &serial->vdev.queues[CONTROL_IN];
    if (!vq->started || !virtio_device_may_run(&serial->vdev)) {
        return;
    }
    while (!g_queue_is_empty(&serial->messages)) {
        vq->budget = 1;
        VirtqRequest *request = virtq_pop(vq);
        if (!request) {
            if (virtq_set_notification(vq, true)) {
                continue;
            }
            return;
        }
        g_autoptr(GBytes) message = g_queue_pop_head(&serial->messages);
        gsize len;
        const void *data = g_bytes_get_data(message, &len);
        virtq_push(request, virtq_write(request, 0, data, len));
    }
    virtq_set_notification(vq, false);
}

void virtio_serial_send(VirtioSerial *serial, uint32_t nr, uint16_t event, uint16_t value,
                        const char *name)
{
    if (!virtio_has_feature(&serial->vdev, VIRTIO_CONSOLE_F_MULTIPORT) ||
        g_queue_get_length(&serial->messages) >= MAX_MESSAGES) {
        return;
    }
    size_t name_len = name ? strlen(name) + 1 : 0;
    ControlMessage message = { .id = nr, .event = event, .value = value };
    uint8_t *bytes = g_malloc(sizeof(message) + name_len);
    memcpy(bytes, &message, sizeof(message));
    if (name) {
        memcpy(bytes + sizeof(message), name, name_len);
    }
    g_queue_push_tail(&serial->messages, g_bytes_new_take(bytes, sizeof(message) + name_len));
    deliver_messages(serial);
}

static void handle_control_in(VirtQueue *vq)
{
    deliver_messages((VirtioSerial *)vq->vdev);
}

static void device_ready(VirtioSerial *serial)
{
    for (uint32_t nr = 0; nr < serial->max_ports; nr++) {
        if (serial->ports[nr]) {
            virtio_serial_send(serial, nr, SERIAL_PORT_ADD, 1, NULL);
        }
    }
}

static void control(VirtioSerial *serial, const ControlMessage *message)
{
    if (message->event == SERIAL_DEVICE_READY) {
        if (message->value) {
            device_ready(serial);
        }
        return;
    }
    SerialPort *port = message->id < serial->max_ports ? serial->ports[message->id] : NULL;
    if (port && message->event == SERIAL_PORT_READY && message->value) {
        serial_port_ready(port);
    } else if (port && message->event == SERIAL_PORT_OPEN) {
        serial_port_guest_open(port, message->value != 0);
    }
}

static void handle_control_out(VirtQueue *vq)
{
    VirtqRequest *request;
    while ((request = virtq_pop(vq))) {
        ControlMessage message;
        if (!virtq_read(request, &message, sizeof(message))) {
            virtq_fault(vq, "a control message of %u bytes", request->out_bytes);
            virtq_request_free(request);
            return;
        }
        control((VirtioSerial *)vq->vdev, &message);
        virtq_push(request, 0);
    }
}

/* ---- Life ---- */

static void serial_reset(VirtioDevice *vdev)
{
    VirtioSerial *serial = (VirtioSerial *)vdev;
    GBytes *message;
    while ((message = g_queue_pop_head(&serial->messages))) {
        g_bytes_unref(message);
    }
    for (uint32_t nr = 0; nr < serial->max_ports; nr++) {
        if (serial->ports[nr]) {
            serial_port_reset(serial->ports[nr]);
        }
    }
}

static void serial_config_written(VirtioDevice *vdev, uint32_t offset, uint32_t len)
{
    VirtioSerial *serial = (VirtioSerial *)vdev;
    uint8_t byte;
    virtio_config_get(vdev, CONFIG_EMERGENCY, &byte, 1);
    if (serial->emergency_write && offset == CONFIG_EMERGENCY && serial->ports[0]) {
        serial_port_emergency(serial->ports[0], byte);
    }
}

static bool port_plug(Bus *bus, Device *child, GError **error)
{
    VirtioSerial *serial = bus->owner;
    SerialPort *port = (SerialPort *)child;
    if (port->nr == SERIAL_NR_ANY) {
        /* Port 0 is the console's: drivers without several ports have that one only. */
        uint32_t nr = child->cls == &virtconsole_class ? 0 : 1;
        while (nr < serial->max_ports && serial->ports[nr]) {
            nr++;
        }
        if (nr >= serial->max_ports) {
            return error_set(error, "bus '%s' is full: its device has max_ports=%u", bus->name,
                             serial->max_ports);
        }
        port->nr = nr;
    }
    if (port->nr >= serial->max_ports) {
        return error_set(error, "nr=%u is out of range: the device has max_ports=%u", port->nr,
                         serial->max_ports);
    }
    if (serial->ports[port->nr]) {
        return error_set(error, "port %u of bus '%s' is taken", port->nr, bus->name);
    }
    return true;
}

static bool make_queues(VirtioSerial *serial, GError **error)
{
    VirtioDevice *vdev = &serial->vdev;
    virtio_queues_new(vdev, 2 * serial->max_ports + 2);
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        bool is_control = i == CONTROL_IN || i == CONTROL_OUT;
        VirtqHandler *handler = i == CONTROL_IN    ? handle_control_in
                                : i == CONTROL_OUT ? handle_control_out
                                                   : handle_port;
        if (!virtio_queue_init(vdev, i, is_control ? CONTROL_QUEUE_SIZE : PORT_QUEUE_SIZE,
                               sizeof(VirtqRequest), serial->loop, handler, error)) {
            return false;
        }
        vdev->queues[i].manual = !(i & 1);
    }
    return true;
}

static void serial_unrealize(VirtioDevice *vdev)
{
    VirtioSerial *serial = (VirtioSerial *)vdev;
    serial_reset(vdev);
    g_clear_pointer(&serial->bus, bus_free);
    g_clear_pointer(&serial->ports, g_free);
    if (serial->has_iothread) {
        iothread_release(serial->iothread);
        serial->has_iothread = false;
    }
}

static bool serial_realize(VirtioDevice *vdev, GError **error)
{
    VirtioSerial *serial = (VirtioSerial *)vdev;
    Device *dev = vdev->dev;
    g_queue_init(&serial->messages);
    serial->loop = serial->iothread ? iothread_claim(serial->iothread, error)
                                    : machine_io_loop(dev->machine, error);
    if (!serial->loop) {
        return false;
    }
    serial->has_iothread = serial->iothread != NULL;
    serial->ports = g_new0(SerialPort *, serial->max_ports);
    if (!make_queues(serial, error)) {
        serial_unrealize(vdev);
        return false;
    }
    static unsigned unnamed;
    g_autofree char *name = dev->id ? g_strdup_printf("%s.0", dev->id)
                                    : g_strdup_printf("virtio-serial-bus.%u", unnamed++);
    serial->bus = bus_new(BUS_VIRTIO_SERIAL, name, dev->machine, dev);
    serial->bus->plug = port_plug;
    serial->bus->owner = serial;
    serial->bus->hotplug = true;
    vdev->host_features |=
        (serial->max_ports > 1 ? VIRTIO_FEATURE(VIRTIO_CONSOLE_F_MULTIPORT) : 0) |
        (serial->emergency_write ? VIRTIO_FEATURE(VIRTIO_CONSOLE_F_EMERG_WRITE) : 0);
    store_le32(vdev->config + CONFIG_MAX_PORTS, serial->max_ports);
    return true;
}

static const VirtioDeviceClass virtio_serial = {
    .name = "virtio-serial",
    .id = VIRTIO_ID_CONSOLE,
    .legacy_pci_id = 0x1003,
    .pci_class = 0x078000,
    .config_len = CONFIG_LEN,
    .default_vectors = 2,
    .realize = serial_realize,
    .unrealize = serial_unrealize,
    .reset = serial_reset,
    .config_written = serial_config_written,
    .config_write_start = CONFIG_EMERGENCY,
    .config_write_len = 4,
};

static const StateField virtio_serial_fields[] = {
    STATE_STRUCT(VirtioSerial, vdev, &virtio_device_state),
    STATE_END,
};

static const StateSection virtio_serial_state = { .name = "virtio-serial",
                                                  .version = 1,
                                                  .fields = virtio_serial_fields };

VIRTIO_PCI_CLASSES(virtio_serial, "virtio-serial", VirtioSerial, &virtio_serial,
                   virtio_serial_props, &virtio_serial_state,
                   .desc = "Paravirtual serial ports and consoles (virtio 1.2)",
                   .category = DEVICE_CATEGORY_INPUT, .has_child_bus = true,
                   .child_bus = BUS_VIRTIO_SERIAL);
VIRTIO_MMIO_CLASS(virtio_serial, "virtio-serial", VirtioSerial, &virtio_serial, virtio_serial_props,
                  &virtio_serial_state,
                  .desc = "Paravirtual serial ports and consoles (virtio 1.2)",
                  .category = DEVICE_CATEGORY_INPUT, .has_child_bus = true,
                  .child_bus = BUS_VIRTIO_SERIAL);
