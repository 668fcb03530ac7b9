/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtio devices: features, status, configuration space, starting and stopping of queues. */
#include "hw/virtio/virtio.h"

#include <string.h>
#include "vmm/trace/trace-virtio.h"
#include "vmm/util/bytes.h"

/* How long a vCPU that resets a device waits for its requests before it goes on; the status tells
 * the driver then when they are back. */
#define RESET_WAIT_US 1000000

const Property virtio_device_props[] = {
    PROP_BOOL("packed", VirtioDevice, props.packed, false, "Offer packed virtqueues"),
    PROP_BOOL("event_idx", VirtioDevice, props.event_idx, true, "Offer the event index"),
    PROP_BOOL("indirect_desc", VirtioDevice, props.indirect_desc, true,
              "Offer indirect descriptors"),
    PROP_BOOL("any_layout", VirtioDevice, props.any_layout, true,
              "Take any framing of requests from legacy drivers"),
    PROP_BOOL("in_order", VirtioDevice, props.in_order, false, "Offer in-order completion"),
    PROP_BOOL("iommu_platform", VirtioDevice, props.iommu_platform, false,
              "Translate addresses by an IOMMU (none is emulated: must be off)"),
    PROP_END,
};

/* ---- Life ---- */

static uint64_t common_features(const VirtioProps *props)
{
    uint64_t features = VIRTIO_FEATURE(VIRTIO_F_VERSION_1);
    features |= props->packed ? VIRTIO_FEATURE(VIRTIO_F_RING_PACKED) : 0;
    features |= props->event_idx ? VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX) : 0;
    features |= props->indirect_desc ? VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) : 0;
    features |= props->any_layout ? VIRTIO_FEATURE(VIRTIO_F_ANY_LAYOUT) : 0;
    features |= props->in_order ? VIRTIO_FEATURE(VIRTIO_F_IN_ORDER) : 0;
    return features;
}

bool virtio_device_realize(VirtioDevice *vdev, const VirtioDeviceClass *vclass, Device *dev,
                           const VirtioTransport *transport, GError **error)
{
    if (vdev->props.iommu_platform) {
        return error_set(error,
                         "%s: iommu_platform=on needs an IOMMU, which this machine does not "
                         "have; leave it off",
                         vclass->name);
    }
    vdev->vclass = vclass;
    vdev->dev = dev;
    vdev->transport = transport;
    vdev->memory = dev->machine->memory;
    vdev->host_features = common_features(&vdev->props);
    g_mutex_init(&vdev->config_lock);
    g_mutex_init(&vdev->drain_lock);
    g_cond_init(&vdev->drain_cond);
    if (vclass->realize(vdev, error)) {
        return true;
    }
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        virtq_cleanup(&vdev->queues[i]);
    }
    g_clear_pointer(&vdev->queues, g_free);
    vdev->queue_count = 0;
    return false;
}

void virtio_queues_new(VirtioDevice *vdev, unsigned count)
{
    g_assert(count <= VIRTQ_MAX_QUEUES);
    vdev->queues = g_new0(VirtQueue, count);
    vdev->queue_count = count;
    for (unsigned i = 0; i < count; i++) {
        vdev->queues[i].kick.fd = -1;
    }
}

bool virtio_queue_init(VirtioDevice *vdev, unsigned index, uint16_t max_size, size_t request_size,
                       EventLoop *loop, VirtqHandler *handler, GError **error)
{
    VirtQueue *vq = &vdev->queues[index];
    if (!virtq_init(vq, vdev, index, max_size, request_size, handler, error)) {
        return false;
    }
    vq->loop = loop;
    virtq_reset(vq);
    return true;
}

/* ---- Queues on and off ---- */

static void queues_start(VirtioDevice *vdev)
{
    if (vdev->queues_running || vdev->quiesced || vdev->resetting) {
        return;
    }
    vdev->queues_running = true;
    if (vdev->vclass->start) {
        vdev->vclass->start(vdev);
    }
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        virtq_start(&vdev->queues[i]);
    }
}

static void queues_stop(VirtioDevice *vdev)
{
    if (!vdev->queues_running) {
        return;
    }
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        virtq_stop(&vdev->queues[i]);
    }
    if (vdev->vclass->stop) {
        vdev->vclass->stop(vdev);
    }
    vdev->queues_running = false;
}

static bool is_in_flight(VirtioDevice *vdev)
{
    return vdev->vclass->in_flight && vdev->vclass->in_flight(vdev);
}

static void finish_queues(VirtioDevice *vdev)
{
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        virtq_finish(&vdev->queues[i]);
    }
}

/* Waits a while for what others hold; a vCPU. False: some of it is out still. */
static bool wait_drained(VirtioDevice *vdev, gint64 wait_us)
{
    gint64 end = g_get_monotonic_time() + wait_us;
    bool drained, waiting = true;
    g_mutex_lock(&vdev->drain_lock);
    while (!(drained = !is_in_flight(vdev)) && waiting) {
        waiting = g_cond_wait_until(&vdev->drain_cond, &vdev->drain_lock, end);
    }
    g_mutex_unlock(&vdev->drain_lock);
    if (drained) {
        finish_queues(vdev);
    }
    return drained;
}

static void drain(VirtioDevice *vdev, bool cancel)
{
    if (vdev->vclass->drain) {
        vdev->vclass->drain(vdev, cancel);
    }
    finish_queues(vdev);
}

void virtio_device_drained(VirtioDevice *vdev)
{
    g_mutex_lock(&vdev->drain_lock);
    g_cond_broadcast(&vdev->drain_cond);
    g_mutex_unlock(&vdev->drain_lock);
}

void virtio_device_quiesce(VirtioDevice *vdev)
{
    g_mutex_lock(&vdev->dev->lock);
    queues_stop(vdev);
    vdev->quiesced = true;
    drain(vdev, false);
    g_mutex_unlock(&vdev->dev->lock);
}

void virtio_device_unrealize(VirtioDevice *vdev)
{
    virtio_device_quiesce(vdev);
    drain(vdev, true);
    if (vdev->vclass->unrealize) {
        vdev->vclass->unrealize(vdev);
    }
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        virtq_cleanup(&vdev->queues[i]);
    }
    g_clear_pointer(&vdev->queues, g_free);
    vdev->queue_count = 0;
    g_mutex_clear(&vdev->config_lock);
    g_mutex_clear(&vdev->drain_lock);
    g_cond_clear(&vdev->drain_cond);
}

/* ---- Reset and status ---- */

static void reset_finish(VirtioDevice *vdev)
{
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        virtq_reset(&vdev->queues[i]);
    }
    vdev->resetting = false;
    vdev->guest_features = 0;
    __atomic_store_n(&vdev->broken, false, __ATOMIC_RELEASE);
    __atomic_store_n(&vdev->status, 0, __ATOMIC_RELEASE);
    if (vdev->vclass->reset) {
        vdev->vclass->reset(vdev);
    }
    vdev->transport->reset(vdev);
}

void virtio_device_reset(VirtioDevice *vdev)
{
    g_mutex_lock(&vdev->dev->lock);
    queues_stop(vdev);
    drain(vdev, true);
    reset_finish(vdev);
    g_mutex_unlock(&vdev->dev->lock);
}

/* The driver's reset: requests in flight come back first, as they write to its memory. */
static void reset_by_driver(VirtioDevice *vdev)
{
    queues_stop(vdev);
    vdev->resetting = true;
    if (wait_drained(vdev, RESET_WAIT_US)) {
        reset_finish(vdev);
    }
}

/* Goes on with a reset that took longer. */
static bool still_resetting(VirtioDevice *vdev)
{
    if (vdev->resetting && wait_drained(vdev, 0)) {
        reset_finish(vdev);
    }
    return vdev->resetting;
}

void virtio_device_resume(VirtioDevice *vdev)
{
    g_mutex_lock(&vdev->dev->lock);
    vdev->quiesced = false;
    if (!still_resetting(vdev) && vdev->status & VIRTIO_STATUS_DRIVER_OK && !vdev->broken) {
        queues_start(vdev);
    }
    g_mutex_unlock(&vdev->dev->lock);
}

uint8_t virtio_get_status(VirtioDevice *vdev)
{
    still_resetting(vdev);
    return __atomic_load_n(&vdev->status, __ATOMIC_ACQUIRE);
}

static bool features_acceptable(VirtioDevice *vdev)
{
    uint64_t features = vdev->guest_features;
    return !(features & ~vdev->host_features) && virtio_has_feature(vdev, VIRTIO_F_VERSION_1) &&
           (!vdev->vclass->features_ok || vdev->vclass->features_ok(vdev, features));
}

void virtio_set_features(VirtioDevice *vdev, uint64_t features, bool legacy)
{
    if (still_resetting(vdev) ||
        vdev->status & (VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK)) {
        return;
    }
    trace_virtio_set_features(vdev->dev->cls->name, vdev->dev->id, features);
    vdev->guest_features = legacy ? (uint32_t)features & vdev->host_features : features;
}

void virtio_set_status(VirtioDevice *vdev, uint8_t status)
{
    trace_virtio_set_status(vdev->dev->cls->name, vdev->dev->id, status);
    if (status == 0) {
        reset_by_driver(vdev);
        return;
    }
    if (still_resetting(vdev)) {
        return;
    }
    uint8_t old = __atomic_load_n(&vdev->status, __ATOMIC_ACQUIRE);
    bool modern = virtio_has_feature(vdev, VIRTIO_F_VERSION_1);
    /* Bits are set one after the other and cleared by a reset only (2.1.1). */
    uint8_t set = (status & ~VIRTIO_STATUS_NEEDS_RESET) | (old & ~VIRTIO_STATUS_FAILED);
    if (set & ~old & VIRTIO_STATUS_FEATURES_OK && !features_acceptable(vdev)) {
        set &= ~VIRTIO_STATUS_FEATURES_OK;
    }
    if (modern && !(set & VIRTIO_STATUS_FEATURES_OK)) {
        set &= ~VIRTIO_STATUS_DRIVER_OK;
    }
    if (!modern && set & ~old & VIRTIO_STATUS_DRIVER_OK) {
        /* A driver of before 1.0 does not negotiate: it has what there is of what it wrote. */
        vdev->guest_features &= vdev->host_features;
        if (vdev->vclass->features_ok) {
            vdev->vclass->features_ok(vdev, vdev->guest_features);
        }
    }
    __atomic_fetch_or(&vdev->status, set, __ATOMIC_ACQ_REL);
    if (set & ~old & VIRTIO_STATUS_DRIVER_OK) {
        queues_start(vdev);
    }
}

void virtio_device_broken(VirtioDevice *vdev, const char *format, ...)
{
    if (__atomic_exchange_n(&vdev->broken, true, __ATOMIC_ACQ_REL)) {
        return;
    }
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    trace_virtio_device_broken(vdev->dev->cls->name, vdev->dev->id, text);
    device_guest_error(vdev->dev, "%s; the device stops until the guest resets it", text);
    if (virtio_has_feature(vdev, VIRTIO_F_VERSION_1)) {
        __atomic_fetch_or(&vdev->status, VIRTIO_STATUS_NEEDS_RESET, __ATOMIC_ACQ_REL);
        virtio_notify_config(vdev);
    }
}

void virtio_set_dma_enabled(VirtioDevice *vdev, bool enabled)
{
    bool was = __atomic_exchange_n(&vdev->dma_enabled, enabled, __ATOMIC_ACQ_REL);
    if (enabled && !was) {
        for (unsigned i = 0; i < vdev->queue_count; i++) {
            virtq_schedule(&vdev->queues[i]);
        }
    }
}

/* ---- Queue configuration ---- */

VirtQueue *virtio_queue_configurable(VirtioDevice *vdev, unsigned index)
{
    if (still_resetting(vdev) || index >= vdev->queue_count ||
        vdev->status & VIRTIO_STATUS_DRIVER_OK || vdev->queues[index].enabled) {
        return NULL;
    }
    return &vdev->queues[index];
}

void virtio_queue_enable(VirtQueue *vq)
{
    vq->enabled = true;
}

void virtio_queue_set_legacy(VirtQueue *vq, uint64_t addr, uint32_t align)
{
    uint64_t avail = addr + 16ULL * vq->size;
    uint64_t used = avail + 6 + 2ULL * vq->size;
    vq->desc_addr = addr;
    vq->avail_addr = avail;
    vq->used_addr = ALIGN_UP(used, align);
    vq->enabled = addr != 0;
}

/* ---- Configuration space ---- */

uint32_t virtio_config_load(VirtioDevice *vdev, uint32_t offset, unsigned size)
{
    uint32_t value = 0;
    if (range_inside(offset, size, vdev->vclass->config_len)) {
        g_mutex_lock(&vdev->config_lock);
        value = load_le(vdev->config + offset, size);
        g_mutex_unlock(&vdev->config_lock);
    }
    return value;
}

void virtio_config_store(VirtioDevice *vdev, uint32_t offset, uint32_t value, unsigned size)
{
    const VirtioDeviceClass *vclass = vdev->vclass;
    if (!vclass->config_written || offset < vclass->config_write_start ||
        !range_inside(offset - vclass->config_write_start, size, vclass->config_write_len)) {
        return;
    }
    g_mutex_lock(&vdev->config_lock);
    store_le(vdev->config + offset, value, size);
    g_mutex_unlock(&vdev->config_lock);
    vclass->config_written(vdev, offset, size);
}

void virtio_config_set(VirtioDevice *vdev, uint32_t offset, const void *data, uint32_t len,
                       bool notify)
{
    g_assert(range_inside(offset, len, VIRTIO_CONFIG_MAX));
    g_mutex_lock(&vdev->config_lock);
    bool changed = memcmp(vdev->config + offset, data, len) != 0;
    if (changed) {
        memcpy(vdev->config + offset, data, len);
        __atomic_fetch_add(&vdev->generation, 1, __ATOMIC_RELEASE);
    }
    g_mutex_unlock(&vdev->config_lock);
    if (changed && notify) {
        virtio_notify_config(vdev);
    }
}

void virtio_config_get(VirtioDevice *vdev, uint32_t offset, void *data, uint32_t len)
{
    g_assert(range_inside(offset, len, VIRTIO_CONFIG_MAX));
    g_mutex_lock(&vdev->config_lock);
    memcpy(data, vdev->config + offset, len);
    g_mutex_unlock(&vdev->config_lock);
}

/* ---- Interrupts ---- */

void virtio_notify_queue(VirtioDevice *vdev, VirtQueue *vq)
{
    trace_virtio_notify(vdev->dev->cls->name, vdev->dev->id, vq->index);
    vdev->transport->notify_queue(vdev, vq);
}

void virtio_notify_config(VirtioDevice *vdev)
{
    if (__atomic_load_n(&vdev->status, __ATOMIC_ACQUIRE) & VIRTIO_STATUS_DRIVER_OK) {
        trace_virtio_notify_config(vdev->dev->cls->name, vdev->dev->id);
        vdev->transport->notify_config(vdev);
    }
}

/* ---- State ---- */

static bool virtio_post_load(void *base, uint16_t version, GError **error)
{
    VirtioDevice *vdev = base;
    /* Before the device agreed the guest can have written anything. */
    bool agreed = vdev->status & (VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
    if (agreed && vdev->guest_features & ~vdev->host_features) {
        return error_set(
            error, "%s: the saved driver uses features 0x%" PRIx64 ", this device has 0x%" PRIx64,
            vdev->vclass->name, vdev->guest_features, vdev->host_features);
    }
    return true;
}

static const StateField virtio_fields[] = {
    STATE_INT(VirtioDevice, status),
    STATE_INT(VirtioDevice, guest_features),
    STATE_BOOL(VirtioDevice, broken),
    STATE_BOOL(VirtioDevice, resetting),
    STATE_BOOL(VirtioDevice, dma_enabled),
    STATE_INT(VirtioDevice, generation),
    STATE_BUFFER(VirtioDevice, config),
    STATE_STRUCT_PTR(VirtioDevice, queues, queue_count, &virtq_state),
    STATE_END,
};

const StateSection virtio_device_state = {
    .name = "virtio",
    .version = 1,
    .fields = virtio_fields,
    .post_load = virtio_post_load,
};
