/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtio devices (VIRTIO 1.2) apart from how the guest reaches them.
 *
 * A virtio device is a VirtioDeviceClass and a struct that begins with a VirtioDevice; a transport
 * (hw/virtio/pci.h, hw/virtio/mmio.h) holds it, turns register accesses into the calls below and
 * delivers its interrupts. Register accesses hold the outer Device's lock; a queue's handler runs
 * on the queue's loop and never takes that lock. Where both meet, fields are atomic or under the
 * leaf lock `config_lock`.
 *
 * While queues start, stop or reset the calling thread (a vCPU or main) waits for the queue's loop,
 * which waits for nobody; so a virtio queue never lives on the main loop.
 */
#ifndef HW_VIRTIO_VIRTIO_H
#define HW_VIRTIO_VIRTIO_H

#include "hw/virtio/virtqueue.h"
#include "vmm/device/device.h"
#include "vmm/machine/machine.h"

#define VIRTIO_CONFIG_MAX 256

/* Device types (VIRTIO 1.2, 5). */
enum {
    VIRTIO_ID_NET = 1,
    VIRTIO_ID_BLOCK = 2,
    VIRTIO_ID_CONSOLE = 3,
    VIRTIO_ID_RNG = 4,
    VIRTIO_ID_BALLOON = 5,
    VIRTIO_ID_SCSI = 8,
};

typedef struct VirtioDeviceClass {
    const char *name; /* "virtio-blk" */
    uint16_t id;      /* VIRTIO_ID_... */
    uint16_t legacy_pci_id;
    uint32_t pci_class;
    const char *romfile;       /* expansion ROM on PCI, or NULL */
    const char *firmware_unit; /* what follows the transport in the boot order, or NULL */
    uint32_t config_len;
    unsigned default_vectors; /* MSI-X; 0: one for each queue and one more */
    /* Makes the queues (virtio_queues_new), fills config and host_features (device bits). Main
     * thread. */
    bool (*realize)(VirtioDevice *vdev, GError **error);
    void (*unrealize)(VirtioDevice *vdev);
    /* The driver's features were accepted: may refuse them. Device lock. May be NULL. */
    bool (*features_ok)(VirtioDevice *vdev, uint64_t features);
    /* Before the queues start, and after they stopped. Device lock, vCPU or main. May be NULL. */
    void (*start)(VirtioDevice *vdev);
    void (*stop)(VirtioDevice *vdev);
    /* Everything of the driver's is forgotten; queues are stopped. May be NULL. */
    void (*reset)(VirtioDevice *vdev);
    /* Queues are stopped: whether a request is in others' hands still. Any thread. NULL: never. */
    bool (*in_flight)(VirtioDevice *vdev);
    /* Queues are stopped: waits until none is but those that an error policy keeps; `cancel` ends
     * these too. Main thread. NULL: nothing to wait for. */
    void (*drain)(VirtioDevice *vdev, bool cancel);
    /* The driver wrote config[offset, offset + len): the bytes are there already. config_lock is
     * not held. NULL: nothing is writable. */
    void (*config_written)(VirtioDevice *vdev, uint32_t offset, uint32_t len);
    /* Which configuration bytes the driver can write: [start, start + len). */
    uint32_t config_write_start, config_write_len;
} VirtioDeviceClass;

typedef struct VirtioTransport {
    void (*notify_queue)(VirtioDevice *vdev, VirtQueue *vq); /* any thread */
    void (*notify_config)(VirtioDevice *vdev);               /* any thread */
    void (*reset)(VirtioDevice *vdev);                       /* device lock */
    bool queue_per_cpu; /* a device that can has as many queues as there are vCPUs */
} VirtioTransport;

/* The properties that every virtio device has. */
typedef struct VirtioProps {
    bool packed, event_idx, indirect_desc, any_layout, iommu_platform, in_order;
} VirtioProps;

struct VirtioDevice {
    const VirtioDeviceClass *vclass;
    Device *dev; /* the outer device */
    const VirtioTransport *transport;
    AddressSpace *memory;
    VirtioProps props;
    VirtQueue *queues;
    uint32_t queue_count;
    uint64_t host_features;
    uint64_t guest_features;
    uint8_t status;      /* atomic: the loops set NEEDS_RESET */
    bool broken;         /* atomic */
    bool dma_enabled;    /* atomic: the transport lets the device reach memory */
    bool queues_running; /* device lock: DRIVER_OK and not quiesced */
    bool resetting;      /* device lock: the driver's reset waits for requests */
    bool quiesced;       /* device lock */
    uint32_t generation; /* of config; atomic */
    GMutex config_lock;  /* leaf: config */
    uint8_t config[VIRTIO_CONFIG_MAX];
    GMutex drain_lock; /* leaf */
    GCond drain_cond;
};

extern const Property virtio_device_props[]; /* of VirtioDevice */
extern const StateSection virtio_device_state;

/* ---- Life: main thread ---- */
bool virtio_device_realize(VirtioDevice *vdev, const VirtioDeviceClass *vclass, Device *dev,
                           const VirtioTransport *transport, GError **error);
void virtio_device_unrealize(VirtioDevice *vdev);
void virtio_device_reset(VirtioDevice *vdev); /* quiesced */
void virtio_device_quiesce(VirtioDevice *vdev);
void virtio_device_resume(VirtioDevice *vdev);

/* For the class's realize: all queues, then each with its handler; owned by `loop`. */
void virtio_queues_new(VirtioDevice *vdev, unsigned count);
bool virtio_queue_init(VirtioDevice *vdev, unsigned index, uint16_t max_size, size_t request_size,
                       EventLoop *loop, VirtqHandler *handler, GError **error);

/* ---- What the driver does: the transport calls, device lock held ---- */
uint8_t virtio_get_status(VirtioDevice *vdev);
void virtio_set_status(VirtioDevice *vdev, uint8_t status);
/* Stored as they come; accepted or not when the driver sets FEATURES_OK (legacy: at once, cut). */
void virtio_set_features(VirtioDevice *vdev, uint64_t features, bool legacy);
/* A queue whose configuration the driver may write now, or NULL: index out of range, enabled
 * already, or DRIVER_OK set (HARDENING 1). */
VirtQueue *virtio_queue_configurable(VirtioDevice *vdev, unsigned index);
void virtio_queue_enable(VirtQueue *vq);
/* Legacy: rings laid out from addr on with this alignment (2.7.2); addr 0 resets the queue. */
void virtio_queue_set_legacy(VirtQueue *vq, uint64_t addr, uint32_t align);
/* Little-endian loads and stores of 1, 2, 4 bytes; outside: zero, dropped. */
uint32_t virtio_config_load(VirtioDevice *vdev, uint32_t offset, unsigned size);
void virtio_config_store(VirtioDevice *vdev, uint32_t offset, uint32_t value, unsigned size);
void virtio_set_dma_enabled(VirtioDevice *vdev, bool enabled);

/* ---- For devices: any thread ---- */
static inline bool virtio_has_feature(const VirtioDevice *vdev, unsigned bit)
{
    return vdev->guest_features >> bit & 1;
}

static inline bool virtio_device_is_broken(const VirtioDevice *vdev)
{
    return __atomic_load_n(&vdev->broken, __ATOMIC_RELAXED);
}

static inline bool virtio_device_may_run(const VirtioDevice *vdev)
{
    return __atomic_load_n(&vdev->dma_enabled, __ATOMIC_RELAXED) && !virtio_device_is_broken(vdev);
}

/* Changes config[offset, offset + len); tells the driver when it changed and `notify`. */
void virtio_config_set(VirtioDevice *vdev, uint32_t offset, const void *data, uint32_t len,
                       bool notify);
void virtio_config_get(VirtioDevice *vdev, uint32_t offset, void *data, uint32_t len);
/* The guest broke the rules: one line in the log, NEEDS_RESET, and silence until the reset. */
void virtio_device_broken(VirtioDevice *vdev, const char *format, ...) G_GNUC_PRINTF(2, 3);
void virtio_device_drained(VirtioDevice *vdev); /* the last request in flight came back */
void virtio_notify_queue(VirtioDevice *vdev, VirtQueue *vq);
void virtio_notify_config(VirtioDevice *vdev);

#endif
