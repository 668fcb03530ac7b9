/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The human monitor's looks at virtio devices: what driver and device have agreed on. */
#include <string.h>
#include "hw/virtio/mmio.h"
#include "hw/virtio/pci.h"
#include "hw/virtio/qmp.h"
#include "vmm/device/parse.h"
#include "vmm/qom/types.h"

#define HEX64 "0x%016" G_GINT64_MODIFIER "x"

/* The virtio device behind a device, whatever carries it; NULL: it is none. */
static VirtioDevice *virtio_of(Device *dev)
{
    if (dev->cls->bus == BUS_VIRTIO_MMIO) {
        return ((VirtioMmioDevice *)dev)->vdev;
    }
    return qom_virtio_device(dev->cls) ? ((VirtioPci *)dev)->vdev : NULL;
}

static void list_line(Device *dev, void *opaque)
{
    VirtioDevice *vdev = virtio_of(dev);
    if (vdev) {
        g_autofree char *path = device_path(dev);
        g_string_append_printf(opaque, "%s%s [%s]\n", path,
                               dev->cls->bus == BUS_PCI ? "/virtio-backend" : "",
                               vdev->vclass->name);
    }
}

static void hmp_info_virtio(GString *out, char **args)
{
    gsize before = out->len;
    device_foreach(machine_get(), list_line, out);
    if (out->len == before) {
        g_string_append(out, "No VirtIO devices\n");
    }
}

static VirtioDevice *find(GString *out, const char *path)
{
    Device *dev = device_find(machine_get(), path);
    VirtioDevice *vdev = dev ? virtio_of(dev) : NULL;
    if (!vdev) {
        g_string_append_printf(
            out, "Error: there is no virtio device '%s': info virtio lists them\n", path);
    }
    return vdev;
}

static void put_status(GString *out, unsigned status)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = { { 0x01, "ACKNOWLEDGE" }, { 0x02, "DRIVER" },      { 0x04, "DRIVER_OK" },
                  { 0x08, "FEATURES_OK" }, { 0x40, "NEEDS_RESET" }, { 0x80, "FAILED" } };
    g_string_append_printf(out, "  status:          0x%02x", status);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (status & names[i].bit) {
            g_string_append_printf(out, " %s", names[i].name);
        }
    }
    g_string_append_c(out, '\n');
}

static void hmp_info_status(GString *out, char **args)
{
    VirtioDevice *vdev = find(out, args[0]);
    if (!vdev) {
        return;
    }
    g_mutex_lock(&vdev->dev->lock);
    g_string_append_printf(out, "%s:\n  device_name:     %s\n  device_id:       %u\n", args[0],
                           vdev->vclass->name, vdev->vclass->id);
    g_string_append_printf(out,
                           "  broken:          %s\n  started:         %s\n  num_vqs:         %u\n",
                           virtio_device_is_broken(vdev) ? "true" : "false",
                           vdev->queues_running ? "true" : "false", vdev->queue_count);
    put_status(out, virtio_get_status(vdev));
    g_string_append_printf(out, "  host features:   " HEX64 "\n  guest features:  " HEX64 "\n",
                           vdev->host_features, vdev->guest_features);
    g_mutex_unlock(&vdev->dev->lock);
}

static void hmp_info_queue(GString *out, char **args)
{
    uint64_t index;
    VirtioDevice *vdev = find(out, args[0]);
    if (!vdev) {
        return;
    }
    if (!value_parse_uint(args[1], &index) || index >= vdev->queue_count) {
        g_string_append_printf(out, "Error: '%s' is not the number of one of its %u queues\n",
                               args[1], vdev->queue_count);
        return;
    }
    VirtQueue *vq = &vdev->queues[index];
    g_mutex_lock(&vdev->dev->lock);
    g_string_append_printf(out, "%s:\n  queue_index:     %u\n  enabled:         %s\n", args[0],
                           (unsigned)index, vq->enabled ? "true" : "false");
    g_string_append_printf(out, "  size:            %u of %u\n  vector:          %d\n", vq->size,
                           vq->max_size, vq->vector == VIRTQ_NO_VECTOR ? -1 : vq->vector);
    g_string_append_printf(out,
                           "  desc:            " HEX64 "\n  avail:           " HEX64
                           "\n  used:            " HEX64 "\n  in flight:       %u\n",
                           vq->desc_addr, vq->avail_addr, vq->used_addr, virtq_inflight(vq));
    g_mutex_unlock(&vdev->dev->lock);
}

static const HmpCommand hmp[] = {
    { "info virtio", NULL, "the virtio devices", hmp_info_virtio },
    { "info virtio-status", "PATH", "what driver and device have agreed on", hmp_info_status, 1,
      1 },
    { "info virtio-queue-status", "PATH QUEUE", "how the driver has set a queue up", hmp_info_queue,
      2, 2 },
    { NULL },
};

const MonitorCommands virtio_commands = { .hmp = hmp };
