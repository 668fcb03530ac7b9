/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-scsi (VIRTIO 1.2, 5.6): properties, configuration, life. */
#include "hw/virtio/scsi.h"

#include "hw/devices.h"
#include "hw/virtio/mmio.h"
#include "hw/virtio/pci.h"
#include "vmm/util/bytes.h"

#define NUM_QUEUES_AUTO UINT32_MAX
#define MAX_QUEUES      (VIRTQ_MAX_QUEUES - SCSI_VQ_REQUEST)

static const Property virtio_scsi_props[] = {
    VIRTIO_LOOPS_PROPS(VirtioScsi, loops),
    PROP_RANGE_U32("num_queues", VirtioScsi, num_queues, NUM_QUEUES_AUTO, 1, UINT32_MAX,
                   "Request queues; 4294967295: one for each vCPU"),
    PROP_RANGE_U32("virtqueue_size", VirtioScsi, queue_size, 256, 4, VIRTQ_MAX_SIZE,
                   "Entries of a queue, a power of two"),
    PROP_BOOL("seg_max_adjust", VirtioScsi, seg_max_adjust, true,
              "Segments of a request follow virtqueue_size (off: 126)"),
    PROP_U32("max_sectors", VirtioScsi, max_sectors, 0xffff,
             "512-byte sectors of a request at most"),
    PROP_U32("cmd_per_lun", VirtioScsi, cmd_per_lun, 128, "Commands to a unit at a time at most"),
    PROP_BOOL("hotplug", VirtioScsi, hotplug, true, "Tell the driver of units that come and go"),
    PROP_BOOL("param_change", VirtioScsi, param_change, true,
              "Tell the driver of units that change"),
    PROP_END,
};

/* ---- Configuration ---- */

static void put32(VirtioScsi *scsi, unsigned offset, uint32_t value)
{
    store_le32(scsi->vdev.config + offset, value);
}

static void fill_config(VirtioScsi *scsi)
{
    put32(scsi, SCSI_CONFIG_NUM_QUEUES, scsi->num_queues);
    put32(scsi, SCSI_CONFIG_SEG_MAX, scsi->seg_max_adjust ? scsi->queue_size - 2 : 126);
    put32(scsi, SCSI_CONFIG_MAX_SECTORS, scsi->max_sectors);
    put32(scsi, SCSI_CONFIG_CMD_PER_LUN, scsi->cmd_per_lun);
    put32(scsi, SCSI_CONFIG_EVENT_SIZE, VIRTIO_SCSI_EVENT_SIZE);
    put32(scsi, SCSI_CONFIG_SENSE_SIZE, VIRTIO_SCSI_DEFAULT_SENSE);
    put32(scsi, SCSI_CONFIG_CDB_SIZE, VIRTIO_SCSI_DEFAULT_CDB);
    store_le16(scsi->vdev.config + SCSI_CONFIG_MAX_TARGET, VIRTIO_SCSI_MAX_TARGET);
    put32(scsi, SCSI_CONFIG_MAX_LUN, SCSI_LUN_MAX);
}

static void scsi_config_written(VirtioDevice *vdev, uint32_t offset, uint32_t len)
{
    uint8_t sizes[8];
    virtio_config_get(vdev, SCSI_CONFIG_SENSE_SIZE, sizes, sizeof(sizes));
    if (load_le32(sizes) > VIRTIO_SCSI_MAX_SENSE || load_le32(sizes + 4) > VIRTIO_SCSI_MAX_CDB) {
        virtio_device_broken(vdev, "sense_size=%u and cdb_size=%u: at most %u and %u",
                             load_le32(sizes), load_le32(sizes + 4), VIRTIO_SCSI_MAX_SENSE,
                             VIRTIO_SCSI_MAX_CDB);
    }
}

/* What the driver set counts from here on. */
static void scsi_start(VirtioDevice *vdev)
{
    VirtioScsi *scsi = (VirtioScsi *)vdev;
    uint8_t sizes[8];
    virtio_config_get(vdev, SCSI_CONFIG_SENSE_SIZE, sizes, sizeof(sizes));
    scsi->sense_size = MIN(load_le32(sizes), VIRTIO_SCSI_MAX_SENSE);
    scsi->cdb_size = MIN(load_le32(sizes + 4), VIRTIO_SCSI_MAX_CDB);
}

static void reset_unit(ScsiLun *lun, void *opaque)
{
    scsi_lun_reset(lun, true);
}

static void scsi_reset(VirtioDevice *vdev)
{
    VirtioScsi *scsi = (VirtioScsi *)vdev;
    uint8_t sizes[8];
    store_le32(sizes, VIRTIO_SCSI_DEFAULT_SENSE);
    store_le32(sizes + 4, VIRTIO_SCSI_DEFAULT_CDB);
    virtio_config_set(vdev, SCSI_CONFIG_SENSE_SIZE, sizes, sizeof(sizes), false);
    g_mutex_lock(&scsi->event_lock);
    scsi->event_count = 0;
    scsi->events_missed = false;
    g_mutex_unlock(&scsi->event_lock);
    scsi_bus_foreach(scsi->bus, reset_unit, NULL);
}

/* ---- Requests in flight ---- */

static bool scsi_in_flight(VirtioDevice *vdev)
{
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        if (virtq_inflight(&vdev->queues[i])) {
            return true;
        }
    }
    return false;
}

typedef struct Drain {
    bool cancel;
} Drain;

static void drain_unit(ScsiLun *lun, void *opaque)
{
    scsi_lun_drain(lun, ((Drain *)opaque)->cancel);
}

static void scsi_drain(VirtioDevice *vdev, bool cancel)
{
    VirtioScsi *scsi = (VirtioScsi *)vdev;
    Drain how = { .cancel = cancel };
    /* Task management goes from the control loop to the queues' and back, and requests may end at
     * the end of a round. */
    virtio_scsi_barrier(scsi);
    virtio_scsi_barrier(scsi);
    scsi_bus_foreach(scsi->bus, drain_unit, &how);
    for (unsigned i = 0; i < 3; i++) {
        virtio_scsi_barrier(scsi);
    }
}

/* ---- Realize ---- */

static void scsi_unrealize(VirtioDevice *vdev)
{
    VirtioScsi *scsi = (VirtioScsi *)vdev;
    g_clear_pointer(&scsi->bus, scsi_bus_free);
    g_clear_pointer(&scsi->queue_loops, g_free);
    g_clear_pointer(&scsi->inflight, g_free);
    g_mutex_clear(&scsi->event_lock);
    virtio_loops_release(&scsi->loops);
}

static bool make_queues(VirtioScsi *scsi, GError **error)
{
    VirtioDevice *vdev = &scsi->vdev;
    scsi->queue_loops = g_new0(EventLoop *, scsi->num_queues);
    scsi->inflight = g_new0(ScsiCommandRequest *, scsi->num_queues);
    if (!virtio_loops_choose(&scsi->loops, vdev->dev->machine, scsi->num_queues, scsi->queue_loops,
                             error)) {
        return false;
    }
    virtio_queues_new(vdev, SCSI_VQ_REQUEST + scsi->num_queues);
    if (!virtio_queue_init(vdev, SCSI_VQ_CONTROL, scsi->queue_size, virtio_scsi_control_size(),
                           scsi->queue_loops[0], virtio_scsi_handle_control, error) ||
        !virtio_queue_init(vdev, SCSI_VQ_EVENT, scsi->queue_size, sizeof(VirtqRequest),
                           scsi->queue_loops[0], virtio_scsi_handle_event, error)) {
        return false;
    }
    vdev->queues[SCSI_VQ_EVENT].manual = true;
    for (unsigned i = 0; i < scsi->num_queues; i++) {
        if (!virtio_queue_init(vdev, SCSI_VQ_REQUEST + i, scsi->queue_size,
                               sizeof(ScsiCommandRequest), scsi->queue_loops[i],
                               virtio_scsi_handle_request, error)) {
            return false;
        }
    }
    return true;
}

static void choose_queue_count(VirtioScsi *scsi)
{
    if (scsi->num_queues == NUM_QUEUES_AUTO) {
        unsigned cpus = scsi->vdev.dev->machine->config->smp.cpus;
        scsi->num_queues = scsi->vdev.transport->queue_per_cpu ? CLAMP(cpus, 1, 256) : 1;
    }
    scsi->num_queues = MIN(scsi->num_queues, MAX_QUEUES);
}

static bool scsi_realize(VirtioDevice *vdev, GError **error)
{
    VirtioScsi *scsi = (VirtioScsi *)vdev;
    g_mutex_init(&scsi->event_lock);
    choose_queue_count(scsi);
    if (!disk_conf_size_ok("virtqueue_size", scsi->queue_size, 4, error) ||
        !make_queues(scsi, error)) {
        scsi_unrealize(vdev);
        return false;
    }
    scsi->bus = scsi_bus_new(&virtio_scsi_hba, scsi, vdev->dev);
    vdev->host_features |= (scsi->hotplug ? VIRTIO_FEATURE(VIRTIO_SCSI_F_HOTPLUG) : 0) |
                           (scsi->param_change ? VIRTIO_FEATURE(VIRTIO_SCSI_F_CHANGE) : 0);
    fill_config(scsi);
    return true;
}

static const VirtioDeviceClass virtio_scsi = {
    .name = "virtio-scsi",
    .id = VIRTIO_ID_SCSI,
    .legacy_pci_id = 0x1004,
    .pci_class = 0x010000,
    .config_len = SCSI_CONFIG_LEN,
    .realize = scsi_realize,
    .unrealize = scsi_unrealize,
    .start = scsi_start,
    .reset = scsi_reset,
    .in_flight = scsi_in_flight,
    .drain = scsi_drain,
    .config_written = scsi_config_written,
    .config_write_start = SCSI_CONFIG_SENSE_SIZE,
    .config_write_len = 8,
};

/* ---- State ---- */

/* Events that wait are told as "some were missed": the driver then looks at everything. */
static void scsi_pre_save(void *base)
{
    VirtioScsi *scsi = base;
    scsi->events_missed |= scsi->event_count != 0;
}

static bool scsi_post_load(void *base, uint16_t version, GError **error)
{
    VirtioScsi *scsi = base;
    uint32_t queues = load_le32(scsi->vdev.config + SCSI_CONFIG_NUM_QUEUES);
    scsi->event_count = 0;
    if (queues != scsi->num_queues) {
        return error_set(error, "virtio-scsi: the saved adapter has %u queues, this one %u", queues,
                         scsi->num_queues);
    }
    return true;
}

static const StateField virtio_scsi_fields[] = {
    STATE_STRUCT(VirtioScsi, vdev, &virtio_device_state),
    STATE_BOOL(VirtioScsi, events_missed),
    STATE_END,
};

static const StateSection virtio_scsi_state = {
    .name = "virtio-scsi",
    .version = 1,
    .fields = virtio_scsi_fields,
    .pre_save = scsi_pre_save,
    .post_load = scsi_post_load,
};

VIRTIO_PCI_CLASSES(virtio_scsi, "virtio-scsi", VirtioScsi, &virtio_scsi, virtio_scsi_props,
                   &virtio_scsi_state, .desc = "Paravirtual SCSI adapter (virtio 1.2)",
                   .category = DEVICE_CATEGORY_STORAGE, .has_child_bus = true,
                   .child_bus = BUS_SCSI);
VIRTIO_MMIO_CLASS(virtio_scsi, "virtio-scsi", VirtioScsi, &virtio_scsi, virtio_scsi_props,
                  &virtio_scsi_state, .desc = "Paravirtual SCSI adapter (virtio 1.2)",
                  .category = DEVICE_CATEGORY_STORAGE, .has_child_bus = true,
                  .child_bus = BUS_SCSI);
