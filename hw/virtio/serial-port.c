/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-serial: its ports, "virtconsole" and "virtserialport". */
#include <string.h>
#include "hw/devices.h"
#include "hw/virtio/serial.h"
#include "vmm/monitor/monitor.h"

static const Property port_props[] = {
    PROP_U32("nr", SerialPort, nr, SERIAL_NR_ANY, "Port number; 4294967295: the first free one"),
    PROP_REF("chardev", SerialPort, chardev, "chardev", "The character device behind the port"),
    PROP_STRING("name", SerialPort, name, NULL, "Name by which the guest finds the port"),
    PROP_END,
};

/* ---- Guest to host; the loop ---- */

static size_t backlog_drain_locked(SerialPort *port)
{
    GByteArray *backlog = port->backlog;
    if (backlog->len) {
        size_t n = char_write(port->frontend, backlog->data, backlog->len);
        g_byte_array_remove_range(backlog, 0, n);
    }
    return backlog->len;
}

/* A console's driver may spin until its output is taken, so that it never waits here: what the
 * character device has no room for is kept up to a bound, then dropped. */
static size_t console_write(SerialPort *port, const uint8_t *data, size_t len)
{
    g_mutex_lock(&port->lock);
    size_t done = backlog_drain_locked(port) ? 0 : char_write(port->frontend, data, len);
    size_t rest = MIN(len - done, SERIAL_BACKLOG - port->backlog->len);
    g_byte_array_append(port->backlog, data + done, rest);
    g_mutex_unlock(&port->lock);
    return len;
}

static size_t port_write(SerialPort *port, const uint8_t *data, size_t len)
{
    if (!port->frontend) {
        return len;
    }
    return port->is_console ? console_write(port, data, len)
                            : char_write(port->frontend, data, len);
}

/* Writes what is left of the request; false: the character device is full. */
static bool write_out(SerialPort *port, VirtqRequest *request)
{
    uint32_t skip = port->sent;
    for (unsigned i = 0; i < request->out_count; i++) {
        const struct iovec *iov = &request->out[i];
        if (skip >= iov->iov_len) {
            skip -= iov->iov_len;
            continue;
        }
        size_t len = iov->iov_len - skip;
        size_t done = port_write(port, (const uint8_t *)iov->iov_base + skip, len);
        port->sent += done;
        skip = 0;
        if (done < len) {
            return false;
        }
    }
    return true;
}

void serial_port_handle_out(SerialPort *port, VirtQueue *vq)
{
    VirtqRequest *request;
    while ((request = port->sending ? port->sending : virtq_pop(vq))) {
        if (!write_out(port, request)) {
            port->sending = request;
            virtq_block(vq);
            return;
        }
        port->sending = NULL;
        port->sent = 0;
        virtq_push(request, 0);
    }
}

static void output_task(void *opaque)
{
    virtq_unblock(virtio_serial_out_queue(opaque));
}

void serial_port_emergency(SerialPort *port, uint8_t byte)
{
    if (port->frontend) {
        port_write(port, &byte, 1);
    }
}

/* ---- Host to guest; the loop ---- */

static bool guest_listens(const SerialPort *port)
{
    return port->is_console || __atomic_load_n(&port->guest_connected, __ATOMIC_RELAXED) ||
           !virtio_has_feature(&port->serial->vdev, VIRTIO_CONSOLE_F_MULTIPORT);
}

/* Moves bytes of the FIFO into one buffer of the driver. */
static void fill_buffer(SerialPort *port, VirtqRequest *request)
{
    g_mutex_lock(&port->lock);
    uint32_t n = virtq_write(request, 0, port->fifo, port->fifo_len);
    memmove(port->fifo, port->fifo + n, port->fifo_len - n);
    port->fifo_len -= n;
    g_mutex_unlock(&port->lock);
    virtq_push(request, n);
}

static bool fifo_is_empty(SerialPort *port)
{
    g_mutex_lock(&port->lock);
    bool empty = port->fifo_len == 0;
    g_mutex_unlock(&port->lock);
    return empty;
}

void serial_port_handle_in(SerialPort *port, VirtQueue *vq)
{
    bool moved = false;
    if (!vq->started || !virtio_device_may_run(vq->vdev)) {
        return;
    }
    virtq_set_notification(vq, false);
    while (guest_listens(port) && !fifo_is_empty(port)) {
        vq->budget = 1;
        VirtqRequest *request = virtq_pop(vq);
        if (!request) {
            if (virtq_set_notification(vq, true)) {
                continue;
            }
            break;
        }
        fill_buffer(port, request);
        moved = true;
    }
    if (moved && port->frontend) {
        char_accept_input(port->frontend);
    }
}

static void input_task(void *opaque)
{
    SerialPort *port = opaque;
    serial_port_handle_in(port, virtio_serial_in_queue(port));
}

/* ---- Control; the loop ---- */

static bool host_connected(SerialPort *port)
{
    g_mutex_lock(&port->lock);
    bool connected = port->host_connected;
    g_mutex_unlock(&port->lock);
    return connected;
}

void serial_port_ready(SerialPort *port)
{
    VirtioSerial *serial = port->serial;
    if (port->is_console) {
        virtio_serial_send(serial, port->nr, SERIAL_CONSOLE_PORT, 1, NULL);
    }
    if (port->name) {
        virtio_serial_send(serial, port->nr, SERIAL_PORT_NAME, 1, port->name);
    }
    if (host_connected(port)) {
        virtio_serial_send(serial, port->nr, SERIAL_PORT_OPEN, 1, NULL);
    }
}

void serial_port_guest_open(SerialPort *port, bool open)
{
    if (port->guest_connected == open) {
        return;
    }
    __atomic_store_n(&port->guest_connected, open, __ATOMIC_RELAXED);
    if (port->dev.id && !port->is_console) {
        json_object *data = json_object_new_object();
        json_object_object_add(data, "id", json_object_new_string(port->dev.id));
        json_object_object_add(data, "open", json_object_new_boolean(open));
        monitor_emit("VSERPORT_CHANGE", data);
    }
    if (open) {
        input_task(port);
        if (port->frontend) {
            char_accept_input(port->frontend);
        }
    }
}

static void connect_task(void *opaque)
{
    SerialPort *port = opaque;
    virtio_serial_send(port->serial, port->nr, SERIAL_PORT_OPEN, host_connected(port), NULL);
}

void serial_port_reset(SerialPort *port)
{
    __atomic_store_n(&port->guest_connected, false, __ATOMIC_RELAXED);
    port->sending = NULL;
    port->sent = 0;
    g_mutex_lock(&port->lock);
    port->fifo_len = 0;
    g_mutex_unlock(&port->lock);
}

/* ---- The character device; main thread ---- */

static size_t frontend_can_read(void *opaque)
{
    SerialPort *port = opaque;
    g_mutex_lock(&port->lock);
    size_t room = guest_listens(port) ? SERIAL_FIFO - port->fifo_len : 0;
    g_mutex_unlock(&port->lock);
    return room;
}

static void frontend_read(void *opaque, const uint8_t *data, size_t len)
{
    SerialPort *port = opaque;
    g_mutex_lock(&port->lock);
    size_t n = MIN(len, SERIAL_FIFO - port->fifo_len);
    memcpy(port->fifo + port->fifo_len, data, n);
    port->fifo_len += n;
    g_mutex_unlock(&port->lock);
    event_loop_post(port->serial->loop, &port->input_task);
}

static void frontend_writable(void *opaque)
{
    SerialPort *port = opaque;
    g_mutex_lock(&port->lock);
    backlog_drain_locked(port);
    g_mutex_unlock(&port->lock);
    event_loop_post(port->serial->loop, &port->output_task);
}

static void frontend_event(void *opaque, CharEvent event)
{
    SerialPort *port = opaque;
    if (port->is_console || (event != CHAR_EVENT_OPENED && event != CHAR_EVENT_CLOSED)) {
        return;
    }
    g_mutex_lock(&port->lock);
    bool connected = event == CHAR_EVENT_OPENED;
    bool changed = port->host_connected != connected;
    port->host_connected = connected;
    g_mutex_unlock(&port->lock);
    if (changed) {
        event_loop_post(port->serial->loop, &port->connect_task);
    }
}

static const CharFrontendOps frontend_ops = {
    .can_read = frontend_can_read,
    .read = frontend_read,
    .event = frontend_event,
    .writable = frontend_writable,
    .changeable = true,
};

/* ---- Life; main thread ---- */

static void add_in_loop(void *opaque)
{
    SerialPort *port = opaque;
    port->serial->ports[port->nr] = port;
    if (port->dev.hotplugged) {
        virtio_serial_send(port->serial, port->nr, SERIAL_PORT_ADD, 1, NULL);
    }
}

static void remove_in_loop(void *opaque)
{
    SerialPort *port = opaque;
    VirtqRequest *sending = port->sending;
    port->serial->ports[port->nr] = NULL;
    port->sending = NULL;
    if (sending) {
        virtq_push(sending, 0);
        virtq_unblock(virtio_serial_out_queue(port));
    }
    virtio_serial_send(port->serial, port->nr, SERIAL_PORT_REMOVE, 1, NULL);
    event_loop_cancel_task(port->serial->loop, &port->input_task);
    event_loop_cancel_task(port->serial->loop, &port->output_task);
    event_loop_cancel_task(port->serial->loop, &port->connect_task);
}

static bool attach(SerialPort *port, GError **error)
{
    if (!port->chardev) {
        return true;
    }
    Chardev *chardev = chardev_find(port->chardev);
    if (!chardev) {
        return error_set(error, "there is no chardev '%s'; make it with -chardev BACKEND,id=%s",
                         port->chardev, port->chardev);
    }
    port->frontend = char_frontend_attach(chardev, &frontend_ops, port, error);
    return port->frontend != NULL;
}

static bool port_realize(Device *dev, GError **error)
{
    SerialPort *port = (SerialPort *)dev;
    port->serial = dev->bus->owner;
    port->is_console = dev->cls == &virtconsole_class;
    port->host_connected = port->is_console;
    port->input_task = (LoopTask)LOOP_TASK_INIT(input_task, port);
    port->output_task = (LoopTask)LOOP_TASK_INIT(output_task, port);
    port->connect_task = (LoopTask)LOOP_TASK_INIT(connect_task, port);
    port->backlog = g_byte_array_new();
    g_mutex_init(&port->lock);
    if (!attach(port, error)) {
        g_byte_array_unref(port->backlog);
        g_mutex_clear(&port->lock);
        return false;
    }
    event_loop_call(port->serial->loop, add_in_loop, port);
    return true;
}

static void port_unrealize(Device *dev)
{
    SerialPort *port = (SerialPort *)dev;
    if (port->frontend) {
        char_frontend_detach(port->frontend);
    }
    event_loop_call(port->serial->loop, remove_in_loop, port);
    g_byte_array_unref(port->backlog);
    g_mutex_clear(&port->lock);
}

static bool port_post_load(void *base, uint16_t version, GError **error)
{
    SerialPort *port = base;
    if (port->fifo_len > SERIAL_FIFO) {
        return error_set(error, "port %u: %u bytes saved in a FIFO of %u", port->nr, port->fifo_len,
                         SERIAL_FIFO);
    }
    if (port->frontend) {
        char_accept_input(port->frontend);
    }
    return true;
}

static const StateField port_fields[] = {
    STATE_BOOL(SerialPort, guest_connected),
    STATE_INT(SerialPort, sent),
    STATE_INT(SerialPort, fifo_len),
    STATE_BUFFER(SerialPort, fifo),
    STATE_END,
};

static const StateSection port_state = {
    .name = "virtserialport",
    .version = 1,
    .fields = port_fields,
    .post_load = port_post_load,
};

const DeviceClass virtserialport_class = {
    .name = "virtserialport",
    .desc = "A port of a virtio-serial device",
    .bus = BUS_VIRTIO_SERIAL,
    .category = DEVICE_CATEGORY_INPUT,
    .size = sizeof(SerialPort),
    .props = port_props,
    .state = &port_state,
    .hotpluggable = true,
    .realize = port_realize,
    .unrealize = port_unrealize,
};

const DeviceClass virtconsole_class = {
    .name = "virtconsole",
    .desc = "A console of a virtio-serial device",
    .bus = BUS_VIRTIO_SERIAL,
    .category = DEVICE_CATEGORY_INPUT,
    .size = sizeof(SerialPort),
    .props = port_props,
    .state = &port_state,
    .hotpluggable = true,
    .realize = port_realize,
    .unrealize = port_unrealize,
};
