/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PCI transport (VIRTIO 1.2, 4.1): modern, and legacy by an I/O BAR ("transitional").
 * VIRTIO_PCI_CLASSES makes the three PCI device classes of a virtio device type.
 */
#ifndef HW_VIRTIO_PCI_H
#define HW_VIRTIO_PCI_H

#include "hw/pci/pci.h"
#include "hw/virtio/virtio.h"

typedef enum VirtioPciKind {
    VIRTIO_PCI_GENERIC, /* modern, and legacy where an I/O BAR makes sense */
    VIRTIO_PCI_TRANSITIONAL,
    VIRTIO_PCI_NON_TRANSITIONAL,
} VirtioPciKind;

/* DeviceClass.ops: begins with what the PCI bus wants. */
typedef struct VirtioPciClass {
    PciDeviceClass pci;
    const VirtioDeviceClass *virtio;
    size_t vdev_offset;
    VirtioPciKind kind;
} VirtioPciClass;

typedef struct VirtioPci {
    PciDevice pci;
    VirtioDevice *vdev;
    /* properties */
    int disable_legacy; /* OnOffAuto */
    bool disable_modern, page_per_vq, ioeventfd;
    uint32_t vectors; /* UINT32_MAX: as many as queues and one */
    /* as realized */
    bool legacy, modern;
    uint32_t notify_multiplier;
    uint8_t window_cap; /* the configuration access capability */
    MemRegion modern_region, legacy_region;
    /* registers */
    uint32_t device_feature_select, driver_feature_select;
    uint64_t driver_features;
    uint16_t queue_select;
    uint16_t config_vector; /* atomic */
    GMutex intx_lock;       /* leaf: isr and the line together */
    uint8_t isr;
} VirtioPci;

extern const Property virtio_pci_props[];
extern const Property virtio_pci_mode_props[];
extern const StateSection virtio_pci_state;

bool virtio_pci_realize(Device *dev, GError **error);
void virtio_pci_unrealize(Device *dev);
void virtio_pci_reset(Device *dev);
void virtio_pci_quiesce(Device *dev);
void virtio_pci_resume(Device *dev);
char *virtio_pci_firmware_name(const Device *dev);
void virtio_pci_config_written(PciDevice *pci, uint32_t offset, unsigned size);
void virtio_pci_config_reading(PciDevice *pci, uint32_t offset, unsigned size);

/* Between the transport's files; device lock held. */
bool virtio_pci_modern_init(VirtioPci *proxy, GError **error);
void virtio_pci_legacy_init(VirtioPci *proxy);
uint8_t virtio_pci_read_isr(VirtioPci *proxy);
/* The vector as stored: VIRTQ_NO_VECTOR when it cannot be used. */
uint16_t virtio_pci_use_vector(VirtioPci *proxy, uint16_t vector);

/* For the class tables. */
#define VIRTIO_PCI_STRUCT(Type)                                                                    \
    typedef struct Type##Pci {                                                                     \
        VirtioPci proxy;                                                                           \
        Type device;                                                                               \
    } Type##Pci

#define VIRTIO_PCI_OPS(var, Type, _virtio, _kind)                                                  \
    static const VirtioPciClass var = {                                                            \
        .pci = { .vendor_id = 0x1af4,                                                              \
                 .subsystem_vendor_id = 0x1af4,                                                    \
                 .subsystem_id = 0x1100,                                                           \
                 .interrupt_pin = 1,                                                               \
                 .config_written = virtio_pci_config_written,                                      \
                 .config_reading = virtio_pci_config_reading },                                    \
        .virtio = (_virtio),                                                                       \
        .vdev_offset = offsetof(Type##Pci, device),                                                \
        .kind = (_kind),                                                                           \
    }

#define VIRTIO_PCI_DEVICE(_name, Type, _props, _groups, _state, _ops, ...)                         \
    {                                                                                              \
        .name = (_name), .bus = BUS_PCI, .size = sizeof(Type##Pci), .groups = (_groups),           \
        .state = (_state), .hotpluggable = true, .realize = virtio_pci_realize,                    \
        .unrealize = virtio_pci_unrealize, .reset = virtio_pci_reset,                              \
        .quiesce = virtio_pci_quiesce, .resume = virtio_pci_resume,                                \
        .firmware_name = virtio_pci_firmware_name, .ops = &(_ops), __VA_ARGS__                     \
    }

/* STEM-pci, STEM-pci-transitional, STEM-pci-non-transitional as variables STEM_VAR_pci_class,
 * ..._transitional_class, ..._non_transitional_class. The rest: desc, category, and what else the
 * classes have in common. */
#define VIRTIO_PCI_CLASSES(var, stem, Type, _virtio, _props, _state, ...)                          \
    VIRTIO_PCI_STRUCT(Type);                                                                       \
    VIRTIO_PCI_OPS(var##_pci_ops, Type, _virtio, VIRTIO_PCI_GENERIC);                              \
    VIRTIO_PCI_OPS(var##_pci_t_ops, Type, _virtio, VIRTIO_PCI_TRANSITIONAL);                       \
    VIRTIO_PCI_OPS(var##_pci_nt_ops, Type, _virtio, VIRTIO_PCI_NON_TRANSITIONAL);                  \
    static const PropertyGroup var##_pci_groups[] = {                                              \
        { _props, offsetof(Type##Pci, device) },                                                   \
        { virtio_device_props, offsetof(Type##Pci, device) },                                      \
        { virtio_pci_props, 0 },                                                                   \
        { pci_device_props, 0 },                                                                   \
        { virtio_pci_mode_props, 0 },                                                              \
        { NULL },                                                                                  \
    };                                                                                             \
    static const PropertyGroup var##_pci_fixed_groups[] = {                                        \
        { _props, offsetof(Type##Pci, device) },                                                   \
        { virtio_device_props, offsetof(Type##Pci, device) },                                      \
        { virtio_pci_props, 0 },                                                                   \
        { pci_device_props, 0 },                                                                   \
        { NULL },                                                                                  \
    };                                                                                             \
    static const StateField var##_pci_fields[] = {                                                 \
        STATE_STRUCT(Type##Pci, proxy, &virtio_pci_state),                                         \
        STATE_STRUCT(Type##Pci, device, _state),                                                   \
        STATE_END,                                                                                 \
    };                                                                                             \
    static const StateSection var##_pci_state = { .name = stem "-pci",                             \
                                                  .version = 1,                                    \
                                                  .fields = var##_pci_fields };                    \
    const DeviceClass var##_pci_class =                                                            \
        VIRTIO_PCI_DEVICE(stem "-pci", Type, _props, var##_pci_groups, &var##_pci_state,           \
                          var##_pci_ops, .alias = stem, __VA_ARGS__);                              \
    const DeviceClass var##_pci_transitional_class =                                               \
        VIRTIO_PCI_DEVICE(stem "-pci-transitional", Type, _props, var##_pci_fixed_groups,          \
                          &var##_pci_state, var##_pci_t_ops, __VA_ARGS__);                         \
    const DeviceClass var##_pci_non_transitional_class =                                           \
        VIRTIO_PCI_DEVICE(stem "-pci-non-transitional", Type, _props, var##_pci_fixed_groups,      \
                          &var##_pci_state, var##_pci_nt_ops, __VA_ARGS__)

#endif
