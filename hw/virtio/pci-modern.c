/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Modern virtio PCI registers (VIRTIO 1.2, 4.1.4): one memory BAR with the common configuration,
 * ISR, device configuration and doorbells, described by vendor capabilities; and the window onto
 * them in configuration space.
 */
#include <linux/pci_regs.h>
#include <string.h>
#include "hw/pci/pci_internal.h"
#include "hw/virtio/pci.h"
#include "vmm/util/bytes.h"

#define MODERN_BAR    4
#define COMMON_OFFSET 0x0000
#define ISR_OFFSET    0x1000
#define DEVICE_OFFSET 0x2000
#define NOTIFY_OFFSET 0x3000
#define SECTION_SIZE  0x1000

/* struct virtio_pci_cap */
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4, CAP_WINDOW = 5 };
enum { CAP_LEN = 2, CAP_TYPE = 3, CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_DATA = 16 };
#define CAP_SIZE 16

/* struct virtio_pci_common_cfg */
enum {
    COMMON_DEVICE_FEATURE_SELECT = 0x00,
    COMMON_DEVICE_FEATURE = 0x04,
    COMMON_DRIVER_FEATURE_SELECT = 0x08,
    COMMON_DRIVER_FEATURE = 0x0c,
    COMMON_CONFIG_VECTOR = 0x10,
    COMMON_NUM_QUEUES = 0x12,
    COMMON_STATUS = 0x14,
    COMMON_GENERATION = 0x15,
    COMMON_QUEUE_SELECT = 0x16,
    COMMON_QUEUE_SIZE = 0x18,
    COMMON_QUEUE_VECTOR = 0x1a,
    COMMON_QUEUE_ENABLE = 0x1c,
    COMMON_QUEUE_NOTIFY_OFF = 0x1e,
    COMMON_QUEUE_DESC = 0x20,
    COMMON_QUEUE_DRIVER = 0x28,
    COMMON_QUEUE_DEVICE = 0x30,
};

static uint32_t feature_word(uint64_t features, uint32_t select)
{
    return select < 2 ? features >> (32 * select) : 0;
}

/* ---- Common configuration ---- */

static uint32_t queue_read(const VirtQueue *vq, uint32_t offset)
{
    switch (offset) {
    case COMMON_QUEUE_SIZE:
        return vq->size;
    case COMMON_QUEUE_VECTOR:
        return vq->vector;
    case COMMON_QUEUE_ENABLE:
        return vq->enabled;
    case COMMON_QUEUE_NOTIFY_OFF:
        return vq->index;
    case COMMON_QUEUE_DESC:
        return vq->desc_addr;
    case COMMON_QUEUE_DESC + 4:
        return vq->desc_addr >> 32;
    case COMMON_QUEUE_DRIVER:
        return vq->avail_addr;
    case COMMON_QUEUE_DRIVER + 4:
        return vq->avail_addr >> 32;
    case COMMON_QUEUE_DEVICE:
        return vq->used_addr;
    case COMMON_QUEUE_DEVICE + 4:
        return vq->used_addr >> 32;
    default:
        return 0;
    }
}

static uint32_t common_read(VirtioPci *proxy, uint32_t offset)
{
    VirtioDevice *vdev = proxy->vdev;
    switch (offset) {
    case COMMON_DEVICE_FEATURE_SELECT:
        return proxy->device_feature_select;
    case COMMON_DEVICE_FEATURE:
        return feature_word(vdev->host_features, proxy->device_feature_select);
    case COMMON_DRIVER_FEATURE_SELECT:
        return proxy->driver_feature_select;
    case COMMON_DRIVER_FEATURE:
        return feature_word(proxy->driver_features, proxy->driver_feature_select);
    case COMMON_CONFIG_VECTOR:
        return proxy->config_vector;
    case COMMON_NUM_QUEUES:
        return vdev->queue_count;
    case COMMON_STATUS:
        return virtio_get_status(vdev);
    case COMMON_GENERATION:
        return __atomic_load_n(&vdev->generation, __ATOMIC_ACQUIRE) & 0xff;
    case COMMON_QUEUE_SELECT:
        return proxy->queue_select;
    default:
        return proxy->queue_select < vdev->queue_count
                   ? queue_read(&vdev->queues[proxy->queue_select], offset)
                   : 0;
    }
}

static void set_low(uint64_t *value, uint32_t low)
{
    *value = (*value & ~0xffffffffULL) | low;
}

static void set_high(uint64_t *value, uint32_t high)
{
    *value = (uint32_t)*value | (uint64_t)high << 32;
}

static void queue_write(VirtQueue *vq, uint32_t offset, uint32_t value)
{
    switch (offset) {
    case COMMON_QUEUE_SIZE:
        if (value >= 1 && value <= vq->max_size) {
            vq->size = value;
        }
        break;
    case COMMON_QUEUE_ENABLE:
        if (value == 1) {
            virtio_queue_enable(vq);
        }
        break;
    case COMMON_QUEUE_DESC:
        set_low(&vq->desc_addr, value);
        break;
    case COMMON_QUEUE_DESC + 4:
        set_high(&vq->desc_addr, value);
        break;
    case COMMON_QUEUE_DRIVER:
        set_low(&vq->avail_addr, value);
        break;
    case COMMON_QUEUE_DRIVER + 4:
        set_high(&vq->avail_addr, value);
        break;
    case COMMON_QUEUE_DEVICE:
        set_low(&vq->used_addr, value);
        break;
    case COMMON_QUEUE_DEVICE + 4:
        set_high(&vq->used_addr, value);
        break;
    default:
        break;
    }
}

static void driver_feature_write(VirtioPci *proxy, uint32_t value)
{
    if (proxy->driver_feature_select == 0) {
        set_low(&proxy->driver_features, value);
    } else if (proxy->driver_feature_select == 1) {
        set_high(&proxy->driver_features, value);
    }
    virtio_set_features(proxy->vdev, proxy->driver_features, false);
}

static void common_write(VirtioPci *proxy, uint32_t offset, uint32_t value)
{
    VirtioDevice *vdev = proxy->vdev;
    unsigned select = proxy->queue_select;
    switch (offset) {
    case COMMON_DEVICE_FEATURE_SELECT:
        proxy->device_feature_select = value;
        break;
    case COMMON_DRIVER_FEATURE_SELECT:
        proxy->driver_feature_select = value;
        break;
    case COMMON_DRIVER_FEATURE:
        driver_feature_write(proxy, value);
        break;
    case COMMON_CONFIG_VECTOR:
        __atomic_store_n(&proxy->config_vector, virtio_pci_use_vector(proxy, value),
                         __ATOMIC_RELAXED);
        break;
    case COMMON_STATUS:
        virtio_set_status(vdev, value);
        break;
    case COMMON_QUEUE_SELECT:
        proxy->queue_select = value;
        break;
    case COMMON_QUEUE_VECTOR:
        if (select < vdev->queue_count) {
            __atomic_store_n(&vdev->queues[select].vector, virtio_pci_use_vector(proxy, value),
                             __ATOMIC_RELAXED);
        }
        break;
    default: {
        VirtQueue *vq = virtio_queue_configurable(vdev, select);
        if (vq) {
            queue_write(vq, offset, value);
        }
        break;
    }
    }
}

/* ---- The BAR ---- */

static uint64_t modern_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioPci *proxy = opaque;
    switch (offset & ~(uint64_t)(SECTION_SIZE - 1)) {
    case COMMON_OFFSET:
        return common_read(proxy, offset);
    case ISR_OFFSET:
        return offset == ISR_OFFSET ? virtio_pci_read_isr(proxy) : 0;
    case DEVICE_OFFSET:
        return virtio_config_load(proxy->vdev, offset - DEVICE_OFFSET, size);
    default:
        return 0;
    }
}

static void modern_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioPci *proxy = opaque;
    switch (offset & ~(uint64_t)(SECTION_SIZE - 1)) {
    case COMMON_OFFSET:
        common_write(proxy, offset, value);
        return;
    case ISR_OFFSET:
        return;
    case DEVICE_OFFSET:
        virtio_config_store(proxy->vdev, offset - DEVICE_OFFSET, value, size);
        return;
    default: {
        uint64_t queue = (offset - NOTIFY_OFFSET) / proxy->notify_multiplier;
        if (queue < proxy->vdev->queue_count) {
            virtq_schedule(&proxy->vdev->queues[queue]);
        }
        return;
    }
    }
}

static const MemOps modern_ops = {
    .read = modern_read,
    .write = modern_write,
    .min_size = 1,
    .max_size = 4,
};

/* ---- The window in configuration space (4.1.4.9) ---- */

/* What the window's registers select; false: nothing that exists. */
static bool window_target(VirtioPci *proxy, uint32_t *offset, uint32_t *len)
{
    const uint8_t *cap = proxy->pci.config + proxy->window_cap;
    *offset = load_le32(cap + CAP_OFFSET);
    *len = load_le32(cap + CAP_LENGTH);
    return cap[CAP_BAR] == MODERN_BAR && (*len == 1 || *len == 2 || *len == 4) &&
           *offset % *len == 0 && range_inside(*offset, *len, proxy->modern_region.size);
}

static bool window_touched(VirtioPci *proxy, uint32_t offset, unsigned size)
{
    return proxy->window_cap && ranges_touch(offset, size, proxy->window_cap + CAP_DATA, 4);
}

void virtio_pci_config_reading(PciDevice *pci, uint32_t offset, unsigned size)
{
    VirtioPci *proxy = (VirtioPci *)pci;
    uint32_t at, len;
    if (window_touched(proxy, offset, size) && window_target(proxy, &at, &len)) {
        store_le32(pci->config + proxy->window_cap + CAP_DATA, modern_read(proxy, at, len));
    }
}

void virtio_pci_config_written(PciDevice *pci, uint32_t offset, unsigned size)
{
    VirtioPci *proxy = (VirtioPci *)pci;
    uint32_t at, len;
    if (ranges_touch(offset, size, PCI_COMMAND, 2)) {
        virtio_set_dma_enabled(proxy->vdev, pci_bus_master(pci));
    }
    if (window_touched(proxy, offset, size) && window_target(proxy, &at, &len)) {
        modern_write(proxy, at, load_le(pci->config + proxy->window_cap + CAP_DATA, len), len);
    }
}

/* ---- Making ---- */

static uint8_t add_capability(VirtioPci *proxy, uint8_t type, uint32_t offset, uint32_t length,
                              uint8_t extra, GError **error)
{
    uint8_t at = pci_add_capability(&proxy->pci, PCI_CAP_ID_VNDR, 0, CAP_SIZE + extra, error);
    if (at) {
        uint8_t *cap = proxy->pci.config + at;
        cap[CAP_LEN] = CAP_SIZE + extra;
        cap[CAP_TYPE] = type;
        cap[CAP_BAR] = type == CAP_WINDOW ? 0 : MODERN_BAR;
        store_le32(cap + CAP_OFFSET, offset);
        store_le32(cap + CAP_LENGTH, length);
    }
    return at;
}

static bool add_capabilities(VirtioPci *proxy, uint32_t notify_size, GError **error)
{
    if (!add_capability(proxy, CAP_COMMON, COMMON_OFFSET, SECTION_SIZE, 0, error) ||
        !add_capability(proxy, CAP_ISR, ISR_OFFSET, SECTION_SIZE, 0, error) ||
        !add_capability(proxy, CAP_DEVICE, DEVICE_OFFSET, SECTION_SIZE, 0, error)) {
        return false;
    }
    uint8_t notify = add_capability(proxy, CAP_NOTIFY, NOTIFY_OFFSET, notify_size, 4, error);
    if (!notify) {
        return false;
    }
    store_le32(proxy->pci.config + notify + CAP_DATA, proxy->notify_multiplier);
    proxy->window_cap = add_capability(proxy, CAP_WINDOW, 0, 0, 4, error);
    if (!proxy->window_cap) {
        return false;
    }
    uint8_t *wmask = proxy->pci.wmask + proxy->window_cap;
    wmask[CAP_BAR] = 0xff;
    memset(wmask + CAP_OFFSET, 0xff, 12); /* offset, length, data */
    return true;
}

bool virtio_pci_modern_init(VirtioPci *proxy, GError **error)
{
    proxy->notify_multiplier = proxy->page_per_vq ? 4096 : 4;
    uint32_t notify_size = proxy->notify_multiplier * VIRTQ_MAX_QUEUES;
    uint64_t size = proxy->page_per_vq ? 8 * MIB : 16 * KIB;
    if (!add_capabilities(proxy, notify_size, error)) {
        return false;
    }
    mem_region_init_io(&proxy->modern_region, "virtio-pci", size, &modern_ops, proxy,
                       &proxy->pci.dev.lock);
    pci_register_bar(&proxy->pci, MODERN_BAR, PCI_BAR_MEM64_PREFETCH, &proxy->modern_region);
    machine_topology_lock(proxy->pci.dev.machine);
    for (unsigned i = 0; proxy->ioeventfd && i < proxy->vdev->queue_count; i++) {
        mem_region_add_ioeventfd(&proxy->modern_region,
                                 NOTIFY_OFFSET + i * proxy->notify_multiplier, 0, false, 0,
                                 proxy->vdev->queues[i].kick.fd);
    }
    machine_topology_unlock(proxy->pci.dev.machine);
    return true;
}
