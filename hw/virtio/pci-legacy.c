/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Legacy virtio PCI registers (VIRTIO 1.2, 4.1.4.10): one I/O BAR. */
#include "hw/virtio/pci.h"
#include "vmm/util/bytes.h"

#define LEGACY_BAR   0
#define LEGACY_ALIGN 4096
#define LEGACY_SHIFT 12

enum {
    LEGACY_DEVICE_FEATURES = 0x00,
    LEGACY_DRIVER_FEATURES = 0x04,
    LEGACY_QUEUE_PFN = 0x08,
    LEGACY_QUEUE_SIZE = 0x0c,
    LEGACY_QUEUE_SELECT = 0x0e,
    LEGACY_QUEUE_NOTIFY = 0x10,
    LEGACY_STATUS = 0x12,
    LEGACY_ISR = 0x13,
    LEGACY_CONFIG_VECTOR = 0x14, /* these two with MSI-X enabled only */
    LEGACY_QUEUE_VECTOR = 0x16,
};

/* Where the device's configuration begins. */
static uint32_t config_offset(const VirtioPci *proxy)
{
    return msix_enabled(&proxy->pci) ? 0x18 : 0x14;
}

static VirtQueue *selected(VirtioPci *proxy)
{
    return proxy->queue_select < proxy->vdev->queue_count
               ? &proxy->vdev->queues[proxy->queue_select]
               : NULL;
}

static uint64_t legacy_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioPci *proxy = opaque;
    VirtioDevice *vdev = proxy->vdev;
    const VirtQueue *vq = selected(proxy);
    if (offset >= config_offset(proxy)) {
        return virtio_config_load(vdev, offset - config_offset(proxy), size);
    }
    switch (offset) {
    case LEGACY_DEVICE_FEATURES:
        return (uint32_t)vdev->host_features;
    case LEGACY_DRIVER_FEATURES:
        return (uint32_t)vdev->guest_features;
    case LEGACY_QUEUE_PFN:
        return vq && vq->enabled ? vq->desc_addr >> LEGACY_SHIFT : 0;
    case LEGACY_QUEUE_SIZE:
        return vq ? vq->max_size : 0;
    case LEGACY_QUEUE_SELECT:
        return proxy->queue_select;
    case LEGACY_STATUS:
        return virtio_get_status(vdev);
    case LEGACY_ISR:
        return virtio_pci_read_isr(proxy);
    case LEGACY_CONFIG_VECTOR:
        return proxy->config_vector;
    case LEGACY_QUEUE_VECTOR:
        return vq ? vq->vector : VIRTQ_NO_VECTOR;
    default:
        return 0;
    }
}

static void pfn_write(VirtioPci *proxy, uint32_t pfn)
{
    VirtioDevice *vdev = proxy->vdev;
    if (pfn == 0) {
        /* Drivers of old end their use of the device so. */
        virtio_set_status(vdev, 0);
        return;
    }
    VirtQueue *vq = virtio_queue_configurable(vdev, proxy->queue_select);
    if (vq) {
        virtio_queue_set_legacy(vq, (uint64_t)pfn << LEGACY_SHIFT, LEGACY_ALIGN);
    }
}

static void status_write(VirtioPci *proxy, uint8_t status)
{
    /* Some legacy drivers never enable bus mastering: DRIVER_OK is their word for it. */
    if (status & VIRTIO_STATUS_DRIVER_OK) {
        virtio_set_dma_enabled(proxy->vdev, true);
    }
    virtio_set_status(proxy->vdev, status);
}

static void vector_write(VirtioPci *proxy, uint16_t *vector, uint16_t value)
{
    __atomic_store_n(vector, virtio_pci_use_vector(proxy, value), __ATOMIC_RELAXED);
}

static void legacy_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioPci *proxy = opaque;
    VirtioDevice *vdev = proxy->vdev;
    VirtQueue *vq = selected(proxy);
    if (offset >= config_offset(proxy)) {
        virtio_config_store(vdev, offset - config_offset(proxy), value, size);
        return;
    }
    switch (offset) {
    case LEGACY_DRIVER_FEATURES:
        virtio_set_features(vdev, value, true);
        break;
    case LEGACY_QUEUE_PFN:
        pfn_write(proxy, value);
        break;
    case LEGACY_QUEUE_SELECT:
        proxy->queue_select = value;
        break;
    case LEGACY_QUEUE_NOTIFY:
        if (value < vdev->queue_count) {
            virtq_schedule(&vdev->queues[value]);
        }
        break;
    case LEGACY_STATUS:
        status_write(proxy, value);
        break;
    case LEGACY_CONFIG_VECTOR:
        vector_write(proxy, &proxy->config_vector, value);
        break;
    case LEGACY_QUEUE_VECTOR:
        if (vq) {
            vector_write(proxy, &vq->vector, value);
        }
        break;
    default:
        break;
    }
}

static const MemOps legacy_ops = {
    .read = legacy_read,
    .write = legacy_write,
    .min_size = 1,
    .max_size = 4,
};

void virtio_pci_legacy_init(VirtioPci *proxy)
{
    uint64_t size = 32;
    while (size < 0x18 + proxy->vdev->vclass->config_len) {
        size *= 2;
    }
    mem_region_init_io(&proxy->legacy_region, "virtio-pci-legacy", size, &legacy_ops, proxy,
                       &proxy->pci.dev.lock);
    pci_register_bar(&proxy->pci, LEGACY_BAR, PCI_BAR_IO, &proxy->legacy_region);
    machine_topology_lock(proxy->pci.dev.machine);
    for (unsigned i = 0; proxy->ioeventfd && i < proxy->vdev->queue_count; i++) {
        mem_region_add_ioeventfd(&proxy->legacy_region, LEGACY_QUEUE_NOTIFY, 2, true, i,
                                 proxy->vdev->queues[i].kick.fd);
    }
    machine_topology_unlock(proxy->pci.dev.machine);
}
