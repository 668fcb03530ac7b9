/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The MMIO transport: registers of version 2 and, with force-legacy, of version 1 (4.2.2, 4.2.4).
 */
#include "hw/virtio/mmio.h"

#include "vmm/util/bytes.h"

#define MAGIC     0x74726976 /* "virt" */
#define VENDOR_ID 0x554d4551 /* QEMU's, as guests know it */

enum {
    MMIO_MAGIC = 0x000,
    MMIO_VERSION = 0x004,
    MMIO_DEVICE_ID = 0x008,
    MMIO_VENDOR_ID = 0x00c,
    MMIO_DEVICE_FEATURES = 0x010,
    MMIO_DEVICE_FEATURES_SEL = 0x014,
    MMIO_DRIVER_FEATURES = 0x020,
    MMIO_DRIVER_FEATURES_SEL = 0x024,
    MMIO_LEGACY_PAGE_SIZE = 0x028,
    MMIO_QUEUE_SEL = 0x030,
    MMIO_QUEUE_NUM_MAX = 0x034,
    MMIO_QUEUE_NUM = 0x038,
    MMIO_LEGACY_ALIGN = 0x03c,
    MMIO_LEGACY_PFN = 0x040,
    MMIO_QUEUE_READY = 0x044,
    MMIO_QUEUE_NOTIFY = 0x050,
    MMIO_INTERRUPT_STATUS = 0x060,
    MMIO_INTERRUPT_ACK = 0x064,
    MMIO_STATUS = 0x070,
    MMIO_QUEUE_DESC_LOW = 0x080,
    MMIO_QUEUE_DESC_HIGH = 0x084,
    MMIO_QUEUE_DRIVER_LOW = 0x090,
    MMIO_QUEUE_DRIVER_HIGH = 0x094,
    MMIO_QUEUE_DEVICE_LOW = 0x0a0,
    MMIO_QUEUE_DEVICE_HIGH = 0x0a4,
    MMIO_SHM_LEN_LOW = 0x0b0,
    MMIO_SHM_BASE_HIGH = 0x0bc,
    MMIO_CONFIG_GENERATION = 0x0fc,
    MMIO_CONFIG = 0x100,
};

enum { MMIO_INT_QUEUE = 1, MMIO_INT_CONFIG = 2 };

static const Property mmio_props[] = {
    PROP_BOOL("force-legacy", VirtioMmioSlot, force_legacy, false,
              "Show the legacy (version 1) registers"),
    PROP_END,
};

/* ---- Interrupts ---- */

static void raise_irq(VirtioMmioSlot *slot, uint32_t bits)
{
    g_mutex_lock(&slot->irq_lock);
    slot->isr |= bits;
    irq_set(slot->irq, 1);
    g_mutex_unlock(&slot->irq_lock);
}

static void ack_irq(VirtioMmioSlot *slot, uint32_t bits)
{
    g_mutex_lock(&slot->irq_lock);
    slot->isr &= ~bits;
    irq_set(slot->irq, slot->isr != 0);
    g_mutex_unlock(&slot->irq_lock);
}

static VirtioMmioSlot *slot_of(VirtioDevice *vdev)
{
    return ((VirtioMmioDevice *)vdev->dev)->slot;
}

static void notify_queue(VirtioDevice *vdev, VirtQueue *vq)
{
    raise_irq(slot_of(vdev), MMIO_INT_QUEUE);
}

static void notify_config(VirtioDevice *vdev)
{
    raise_irq(slot_of(vdev), MMIO_INT_CONFIG);
}

static void transport_reset(VirtioDevice *vdev)
{
    VirtioMmioSlot *slot = slot_of(vdev);
    slot->device_feature_select = slot->driver_feature_select = 0;
    slot->driver_features = 0;
    slot->queue_select = 0;
    slot->guest_page_size = 0;
    slot->legacy_align = 4096;
    ack_irq(slot, UINT32_MAX);
}

static const VirtioTransport mmio_transport = {
    .notify_queue = notify_queue,
    .notify_config = notify_config,
    .reset = transport_reset,
};

/* ---- Registers ---- */

static VirtQueue *selected(VirtioMmioSlot *slot)
{
    return slot->queue_select < slot->vdev->queue_count ? &slot->vdev->queues[slot->queue_select]
                                                        : NULL;
}

static uint32_t device_features(const VirtioMmioSlot *slot)
{
    uint64_t features = slot->vdev->host_features;
    if (slot->force_legacy) {
        features &= UINT32_MAX;
    }
    return slot->device_feature_select < 2 ? features >> (32 * slot->device_feature_select) : 0;
}

static uint32_t queue_read(VirtioMmioSlot *slot, uint64_t offset)
{
    const VirtQueue *vq = selected(slot);
    if (!vq) {
        return 0;
    }
    switch (offset) {
    case MMIO_QUEUE_NUM_MAX:
        return vq->max_size;
    case MMIO_LEGACY_PFN:
        return slot->force_legacy && vq->enabled && slot->guest_page_size
                   ? vq->desc_addr / slot->guest_page_size
                   : 0;
    case MMIO_QUEUE_READY:
        return !slot->force_legacy && vq->enabled;
    default:
        return 0;
    }
}

static uint64_t register_load(VirtioMmioSlot *slot, uint64_t offset)
{
    VirtioDevice *vdev = slot->vdev;
    switch (offset) {
    case MMIO_DEVICE_FEATURES:
        return device_features(slot);
    case MMIO_INTERRUPT_STATUS:
        return __atomic_load_n(&slot->isr, __ATOMIC_ACQUIRE);
    case MMIO_STATUS:
        return virtio_get_status(vdev);
    case MMIO_CONFIG_GENERATION:
        return __atomic_load_n(&vdev->generation, __ATOMIC_ACQUIRE);
    default:
        /* No shared memory region has any number: all ones (4.2.2). */
        return offset >= MMIO_SHM_LEN_LOW && offset <= MMIO_SHM_BASE_HIGH
                   ? UINT32_MAX
                   : queue_read(slot, offset);
    }
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioMmioSlot *slot = opaque;
    VirtioDevice *vdev = slot->vdev;
    switch (offset) {
    case MMIO_MAGIC:
        return MAGIC;
    case MMIO_VERSION:
        return slot->force_legacy ? 1 : 2;
    case MMIO_DEVICE_ID:
        return vdev ? vdev->vclass->id : 0;
    case MMIO_VENDOR_ID:
        return VENDOR_ID;
    default:
        break;
    }
    if (!vdev) {
        return 0;
    }
    g_mutex_lock(&vdev->dev->lock);
    uint64_t value = 0;
    if (offset >= MMIO_CONFIG) {
        value = virtio_config_load(vdev, offset - MMIO_CONFIG, size);
    } else if (size == 4) {
        value = register_load(slot, offset);
    }
    g_mutex_unlock(&vdev->dev->lock);
    return value;
}

static void set_low(uint64_t *value, uint32_t low)
{
    *value = (*value & ~0xffffffffULL) | low;
}

static void set_high(uint64_t *value, uint32_t high)
{
    *value = (uint32_t)*value | (uint64_t)high << 32;
}

static void legacy_pfn_write(VirtioMmioSlot *slot, VirtQueue *vq, uint32_t pfn)
{
    if (slot->force_legacy && slot->guest_page_size && slot->legacy_align) {
        virtio_queue_set_legacy(vq, (uint64_t)pfn * slot->guest_page_size, slot->legacy_align);
    }
}

static void queue_write(VirtioMmioSlot *slot, VirtQueue *vq, uint64_t offset, uint32_t value)
{
    switch (offset) {
    case MMIO_QUEUE_NUM:
        if (value >= 1 && value <= vq->max_size) {
            vq->size = value;
        }
        break;
    case MMIO_LEGACY_PFN:
        legacy_pfn_write(slot, vq, value);
        break;
    case MMIO_QUEUE_READY:
        if (value == 1 && !slot->force_legacy) {
            virtio_queue_enable(vq);
        }
        break;
    case MMIO_QUEUE_DESC_LOW:
        set_low(&vq->desc_addr, value);
        break;
    case MMIO_QUEUE_DESC_HIGH:
        set_high(&vq->desc_addr, value);
        break;
    case MMIO_QUEUE_DRIVER_LOW:
        set_low(&vq->avail_addr, value);
        break;
    case MMIO_QUEUE_DRIVER_HIGH:
        set_high(&vq->avail_addr, value);
        break;
    case MMIO_QUEUE_DEVICE_LOW:
        set_low(&vq->used_addr, value);
        break;
    case MMIO_QUEUE_DEVICE_HIGH:
        set_high(&vq->used_addr, value);
        break;
    default:
        break;
    }
}

/* Enabled, but the driver may still take it back: before DRIVER_OK. */
static void queue_disable(VirtioMmioSlot *slot)
{
    VirtQueue *vq = selected(slot);
    if (vq && !(virtio_get_status(slot->vdev) & VIRTIO_STATUS_DRIVER_OK) &&
        !slot->vdev->resetting) {
        vq->enabled = false;
    }
}

static void driver_features_write(VirtioMmioSlot *slot, uint32_t value)
{
    if (slot->driver_feature_select == 0) {
        set_low(&slot->driver_features, value);
    } else if (slot->driver_feature_select == 1) {
        set_high(&slot->driver_features, value);
    }
    virtio_set_features(slot->vdev, slot->driver_features, slot->force_legacy);
}

static void register_store(VirtioMmioSlot *slot, uint64_t offset, uint32_t value)
{
    VirtioDevice *vdev = slot->vdev;
    VirtQueue *vq;
    switch (offset) {
    case MMIO_DEVICE_FEATURES_SEL:
        slot->device_feature_select = value;
        break;
    case MMIO_DRIVER_FEATURES:
        driver_features_write(slot, value);
        break;
    case MMIO_DRIVER_FEATURES_SEL:
        slot->driver_feature_select = value;
        break;
    case MMIO_LEGACY_PAGE_SIZE:
        slot->guest_page_size = value && !(value & (value - 1)) ? value : 0;
        break;
    case MMIO_LEGACY_ALIGN:
        slot->legacy_align = value && !(value & (value - 1)) ? value : 0;
        break;
    case MMIO_QUEUE_SEL:
        slot->queue_select = value;
        break;
    case MMIO_QUEUE_NOTIFY:
        if (value < vdev->queue_count) {
            virtq_schedule(&vdev->queues[value]);
        }
        break;
    case MMIO_INTERRUPT_ACK:
        ack_irq(slot, value);
        break;
    case MMIO_STATUS:
        virtio_set_status(vdev, value);
        break;
    default:
        if (value == 0 && (offset == MMIO_QUEUE_READY || offset == MMIO_LEGACY_PFN)) {
            queue_disable(slot);
        } else if ((vq = virtio_queue_configurable(vdev, slot->queue_select))) {
            queue_write(slot, vq, offset, value);
        }
        break;
    }
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioMmioSlot *slot = opaque;
    VirtioDevice *vdev = slot->vdev;
    if (!vdev) {
        return;
    }
    g_mutex_lock(&vdev->dev->lock);
    if (offset >= MMIO_CONFIG) {
        virtio_config_store(vdev, offset - MMIO_CONFIG, value, size);
    } else if (size == 4) {
        register_store(slot, offset, value);
    }
    g_mutex_unlock(&vdev->dev->lock);
}

static const MemOps mmio_ops = {
    .read = mmio_read,
    .write = mmio_write,
    .min_size = 1,
    .max_size = 4,
};

/* ---- Slots ---- */

static bool slot_plug(Bus *bus, Device *child, GError **error)
{
    if (bus->children->len > 0) {
        return error_set(error, "bus '%s' has its device already", bus->name);
    }
    return true;
}

static bool slot_realize(Device *dev, GError **error)
{
    VirtioMmioSlot *slot = (VirtioMmioSlot *)dev;
    g_autofree char *name = g_strdup_printf("virtio-mmio-bus.%u", slot->index);
    g_mutex_init(&slot->irq_lock);
    slot->legacy_align = 4096;
    slot->child_bus = bus_new(BUS_VIRTIO_MMIO, name, dev->machine, dev);
    slot->child_bus->plug = slot_plug;
    slot->child_bus->owner = slot;
    slot->child_bus->max_children = 1;
    mem_region_init_io(&slot->region, "virtio-mmio", VIRTIO_MMIO_SIZE, &mmio_ops, slot, NULL);
    machine_topology_lock(dev->machine);
    address_space_map(dev->machine->memory, &slot->region, slot->addr, 0);
    machine_topology_unlock(dev->machine);
    return true;
}

static void slot_unrealize(Device *dev)
{
    VirtioMmioSlot *slot = (VirtioMmioSlot *)dev;
    g_clear_pointer(&slot->child_bus, bus_free);
    machine_topology_lock(dev->machine);
    address_space_unmap(&slot->region);
    machine_topology_unlock(dev->machine);
    mem_region_cleanup(&slot->region);
    g_mutex_clear(&slot->irq_lock);
}

static const StateField slot_fields[] = {
    STATE_INT(VirtioMmioSlot, device_feature_select),
    STATE_INT(VirtioMmioSlot, driver_feature_select),
    STATE_INT(VirtioMmioSlot, driver_features),
    STATE_INT(VirtioMmioSlot, queue_select),
    STATE_INT(VirtioMmioSlot, guest_page_size),
    STATE_INT(VirtioMmioSlot, legacy_align),
    STATE_INT(VirtioMmioSlot, isr),
    STATE_END,
};

static bool slot_post_load(void *base, uint16_t version, GError **error)
{
    VirtioMmioSlot *slot = base;
    irq_set(slot->irq, slot->isr != 0);
    return true;
}

static const StateSection slot_state = {
    .name = "virtio-mmio",
    .version = 1,
    .fields = slot_fields,
    .post_load = slot_post_load,
};

static char *slot_firmware_name(const Device *dev)
{
    return g_strdup_printf("virtio-mmio@%016" PRIx64, ((const VirtioMmioSlot *)dev)->addr);
}

const DeviceClass virtio_mmio_class = {
    .name = "virtio-mmio",
    .desc = "A slot for a virtio device in memory space",
    .bus = BUS_SYSTEM,
    .category = DEVICE_CATEGORY_BRIDGE,
    .size = sizeof(VirtioMmioSlot),
    .props = mmio_props,
    .state = &slot_state,
    .internal = true,
    .child_bus = BUS_VIRTIO_MMIO,
    .has_child_bus = true,
    .realize = slot_realize,
    .unrealize = slot_unrealize,
    .firmware_name = slot_firmware_name,
};

Device *virtio_mmio_slot_new(Machine *machine, uint64_t addr, IrqLine *irq, unsigned index,
                             GError **error)
{
    Device *dev = device_new(&virtio_mmio_class, NULL);
    VirtioMmioSlot *slot = (VirtioMmioSlot *)dev;
    slot->addr = addr;
    slot->irq = irq;
    slot->index = index;
    if (!device_realize(dev, machine, NULL, error)) {
        device_free(dev);
        return NULL;
    }
    return dev;
}

bool virtio_mmio_slot_used(Device *slot)
{
    return ((VirtioMmioSlot *)slot)->vdev != NULL;
}

/* ---- Devices in them ---- */

static void set_ioeventfds(VirtioMmioSlot *slot, VirtioDevice *vdev, bool on)
{
    machine_topology_lock(slot->dev.machine);
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        if (on) {
            mem_region_add_ioeventfd(&slot->region, MMIO_QUEUE_NOTIFY, 4, true, i,
                                     vdev->queues[i].kick.fd);
        } else {
            mem_region_del_ioeventfd(&slot->region, MMIO_QUEUE_NOTIFY, 4, true, i,
                                     vdev->queues[i].kick.fd);
        }
    }
    machine_topology_unlock(slot->dev.machine);
}

bool virtio_mmio_device_realize(Device *dev, GError **error)
{
    VirtioMmioDevice *proxy = (VirtioMmioDevice *)dev;
    const VirtioMmioClass *cls = dev->cls->ops;
    proxy->slot = dev->bus->owner;
    proxy->vdev = (VirtioDevice *)((uint8_t *)dev + cls->vdev_offset);
    if (!virtio_device_realize(proxy->vdev, cls->virtio, dev, &mmio_transport, error)) {
        return false;
    }
    if (proxy->slot->force_legacy) {
        proxy->vdev->host_features &= UINT32_MAX;
    }
    virtio_set_dma_enabled(proxy->vdev, true);
    set_ioeventfds(proxy->slot, proxy->vdev, true);
    proxy->slot->vdev = proxy->vdev;
    return true;
}

void virtio_mmio_device_unrealize(Device *dev)
{
    VirtioMmioDevice *proxy = (VirtioMmioDevice *)dev;
    virtio_device_quiesce(proxy->vdev);
    set_ioeventfds(proxy->slot, proxy->vdev, false);
    proxy->slot->vdev = NULL;
    address_space_synchronize();
    virtio_device_unrealize(proxy->vdev);
}

void virtio_mmio_device_reset(Device *dev)
{
    virtio_device_reset(((VirtioMmioDevice *)dev)->vdev);
}

void virtio_mmio_device_quiesce(Device *dev)
{
    virtio_device_quiesce(((VirtioMmioDevice *)dev)->vdev);
}

void virtio_mmio_device_resume(Device *dev)
{
    virtio_device_resume(((VirtioMmioDevice *)dev)->vdev);
}

char *virtio_mmio_device_firmware_name(const Device *dev)
{
    const VirtioMmioClass *cls = dev->cls->ops;
    return g_strdup(cls->virtio->firmware_unit);
}
