/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The MMIO transport (VIRTIO 1.2, 4.2): a board makes slots, "virtio-mmio", each a bus that takes
 * one virtio-*-device.
 */
#ifndef HW_VIRTIO_MMIO_H
#define HW_VIRTIO_MMIO_H

#include "hw/virtio/virtio.h"
#include "vmm/device/irq.h"

#define VIRTIO_MMIO_SIZE 0x200

typedef struct VirtioMmioSlot {
    Device dev;
    bool force_legacy; /* property */
    uint64_t addr;
    IrqLine *irq;
    unsigned index;
    Bus *child_bus;
    VirtioDevice *vdev; /* NULL: empty */
    MemRegion region;
    /* registers */
    uint32_t device_feature_select, driver_feature_select;
    uint64_t driver_features;
    uint32_t queue_select;
    uint32_t guest_page_size, legacy_align; /* legacy */
    GMutex irq_lock;                        /* leaf: isr and the line together */
    uint32_t isr;
} VirtioMmioSlot;

/* A virtio-*-device: its struct begins with this. */
typedef struct VirtioMmioDevice {
    Device dev;
    VirtioMmioSlot *slot;
    VirtioDevice *vdev;
} VirtioMmioDevice;

typedef struct VirtioMmioClass {
    const VirtioDeviceClass *virtio;
    size_t vdev_offset;
} VirtioMmioClass;

extern const DeviceClass virtio_mmio_class;

/* A slot at a physical address, with its interrupt; the bus is "virtio-mmio-bus.INDEX". Main
 * thread. */
Device *virtio_mmio_slot_new(Machine *machine, uint64_t addr, IrqLine *irq, unsigned index,
                             GError **error);
/* Whether a device sits in the slot (the kernel is told of those only). */
bool virtio_mmio_slot_used(Device *slot);

bool virtio_mmio_device_realize(Device *dev, GError **error);
void virtio_mmio_device_unrealize(Device *dev);
void virtio_mmio_device_reset(Device *dev);
void virtio_mmio_device_quiesce(Device *dev);
void virtio_mmio_device_resume(Device *dev);
char *virtio_mmio_device_firmware_name(const Device *dev);

/* STEM-device as the variable VAR_device_class. */
#define VIRTIO_MMIO_CLASS(var, stem, Type, _virtio, _props, _state, ...)                           \
    typedef struct Type##Mmio {                                                                    \
        VirtioMmioDevice proxy;                                                                    \
        Type device;                                                                               \
    } Type##Mmio;                                                                                  \
    static const VirtioMmioClass var##_mmio_ops = { .virtio = (_virtio),                           \
                                                    .vdev_offset = offsetof(Type##Mmio, device) }; \
    static const PropertyGroup var##_mmio_groups[] = {                                             \
        { _props, offsetof(Type##Mmio, device) },                                                  \
        { virtio_device_props, offsetof(Type##Mmio, device) },                                     \
        { NULL },                                                                                  \
    };                                                                                             \
    static const StateField var##_mmio_fields[] = {                                                \
        STATE_STRUCT(Type##Mmio, device, _state),                                                  \
        STATE_END,                                                                                 \
    };                                                                                             \
    static const StateSection var##_mmio_state = { .name = stem "-device",                         \
                                                   .version = 1,                                   \
                                                   .fields = var##_mmio_fields };                  \
    const DeviceClass var##_device_class = { .name = stem "-device",                               \
                                             .bus = BUS_VIRTIO_MMIO,                               \
                                             .size = sizeof(Type##Mmio),                           \
                                             .groups = var##_mmio_groups,                          \
                                             .state = &var##_mmio_state,                           \
                                             .realize = virtio_mmio_device_realize,                \
                                             .unrealize = virtio_mmio_device_unrealize,            \
                                             .reset = virtio_mmio_device_reset,                    \
                                             .quiesce = virtio_mmio_device_quiesce,                \
                                             .resume = virtio_mmio_device_resume,                  \
                                             .firmware_name = virtio_mmio_device_firmware_name,    \
                                             .ops = &var##_mmio_ops,                               \
                                             __VA_ARGS__ }

#endif
