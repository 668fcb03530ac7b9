/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The PCI transport: identity, interrupts, life. */
#include "hw/virtio/pci.h"

#include <linux/pci_regs.h>
#include "hw/pci/pci_internal.h"
#include "vmm/util/bytes.h"

#define MSIX_BAR            1
#define MODERN_ID_BASE      0x1040
#define ISR_QUEUE           1
#define ISR_CONFIG          2
#define VECTORS_UNSPECIFIED UINT32_MAX

const Property virtio_pci_props[] = {
    PROP_U32("vectors", VirtioPci, vectors, VECTORS_UNSPECIFIED,
             "MSI-X vectors; 0: none, 4294967295: one for each queue and one more"),
    PROP_BOOL("page-per-vq", VirtioPci, page_per_vq, false,
              "Give each queue's doorbell a page of its own"),
    PROP_BOOL("ioeventfd", VirtioPci, ioeventfd, true, "Ring doorbells without leaving the kernel"),
    PROP_END,
};

const Property virtio_pci_mode_props[] = {
    PROP_ONOFFAUTO("disable-legacy", VirtioPci, disable_legacy, ON_OFF_AUTO_AUTO,
                   "Leave the legacy I/O BAR out (auto: behind PCI Express ports)"),
    PROP_BOOL("disable-modern", VirtioPci, disable_modern, false,
              "Leave the virtio 1.0 interface out"),
    PROP_END,
};

static inline VirtioPci *proxy_of(VirtioDevice *vdev)
{
    return (VirtioPci *)vdev->dev;
}

static inline const VirtioPciClass *class_of(const VirtioPci *proxy)
{
    return proxy->pci.dev.cls->ops;
}

/* ---- Interrupts ---- */

static void raise_intx(VirtioPci *proxy, uint8_t bits)
{
    g_mutex_lock(&proxy->intx_lock);
    proxy->isr |= bits;
    pci_set_irq(&proxy->pci, 1);
    g_mutex_unlock(&proxy->intx_lock);
}

static void deliver(VirtioPci *proxy, uint16_t vector, uint8_t isr_bits)
{
    if (!msix_enabled(&proxy->pci)) {
        raise_intx(proxy, isr_bits);
    } else if (vector != VIRTQ_NO_VECTOR) {
        msix_notify(&proxy->pci, vector);
    }
}

static void notify_queue(VirtioDevice *vdev, VirtQueue *vq)
{
    deliver(proxy_of(vdev), __atomic_load_n(&vq->vector, __ATOMIC_RELAXED), ISR_QUEUE);
}

static void notify_config(VirtioDevice *vdev)
{
    VirtioPci *proxy = proxy_of(vdev);
    deliver(proxy, __atomic_load_n(&proxy->config_vector, __ATOMIC_RELAXED),
            ISR_CONFIG | ISR_QUEUE);
}

uint8_t virtio_pci_read_isr(VirtioPci *proxy)
{
    g_mutex_lock(&proxy->intx_lock);
    uint8_t isr = proxy->isr;
    proxy->isr = 0;
    pci_set_irq(&proxy->pci, 0);
    g_mutex_unlock(&proxy->intx_lock);
    return isr;
}

uint16_t virtio_pci_use_vector(VirtioPci *proxy, uint16_t vector)
{
    return msix_vector_use(&proxy->pci, vector) ? vector : VIRTQ_NO_VECTOR;
}

static void transport_reset(VirtioDevice *vdev)
{
    VirtioPci *proxy = proxy_of(vdev);
    proxy->device_feature_select = proxy->driver_feature_select = 0;
    proxy->driver_features = 0;
    proxy->queue_select = 0;
    proxy->config_vector = VIRTQ_NO_VECTOR;
    virtio_pci_read_isr(proxy);
    for (unsigned i = 0; i < proxy->pci.msix_count; i++) {
        msix_vector_unuse(&proxy->pci, i);
    }
}

static const VirtioTransport pci_transport = {
    .notify_queue = notify_queue,
    .notify_config = notify_config,
    .reset = transport_reset,
    .queue_per_cpu = true,
};

/* ---- Life ---- */

/* QEMU's rules: transitional on a root bus, modern only behind a PCI Express port. */
static bool choose_modes(VirtioPci *proxy, GError **error)
{
    bool behind_port = proxy->pci.bus->express && proxy->pci.bus->bridge;
    switch (class_of(proxy)->kind) {
    case VIRTIO_PCI_GENERIC:
        proxy->modern = !proxy->disable_modern;
        proxy->legacy = proxy->disable_legacy == ON_OFF_AUTO_AUTO
                            ? !behind_port
                            : proxy->disable_legacy == ON_OFF_AUTO_OFF;
        break;
    case VIRTIO_PCI_TRANSITIONAL:
        proxy->modern = proxy->legacy = true;
        break;
    case VIRTIO_PCI_NON_TRANSITIONAL:
        proxy->modern = true;
        proxy->legacy = false;
        break;
    }
    if (!proxy->modern && !proxy->legacy) {
        return error_set(error,
                         "%s: disable-modern=on and disable-legacy=on leave no interface; "
                         "turn one of them off",
                         proxy->pci.dev.cls->name);
    }
    return true;
}

static void set_identity(VirtioPci *proxy)
{
    const VirtioDeviceClass *virtio = class_of(proxy)->virtio;
    uint8_t *config = proxy->pci.config;
    config[PCI_CLASS_PROG] = virtio->pci_class;
    store_le16(config + PCI_CLASS_DEVICE, virtio->pci_class >> 8);
    if (proxy->legacy) {
        store_le16(config + PCI_DEVICE_ID, virtio->legacy_pci_id);
        store_le16(config + PCI_SUBSYSTEM_ID, virtio->id);
    } else {
        store_le16(config + PCI_DEVICE_ID, MODERN_ID_BASE + virtio->id);
        config[PCI_REVISION_ID] = 1;
    }
}

static bool make_interface(VirtioPci *proxy, GError **error)
{
    uint32_t vectors = proxy->vectors;
    if (vectors == VECTORS_UNSPECIFIED) {
        unsigned fixed = proxy->vdev->vclass->default_vectors;
        vectors = fixed ? fixed : proxy->vdev->queue_count + 1;
    }
    if (vectors > 2048) {
        return error_set(error, "%s: vectors=%u; 0 to 2048 are possible", proxy->pci.dev.cls->name,
                         vectors);
    }
    if (proxy->legacy) {
        virtio_pci_legacy_init(proxy);
    }
    if (vectors && !msix_init(&proxy->pci, vectors, MSIX_BAR, error)) {
        return false;
    }
    return !proxy->modern || virtio_pci_modern_init(proxy, error);
}

static void drop_interface(VirtioPci *proxy)
{
    msix_uninit(&proxy->pci);
    pci_device_unrealize(&proxy->pci);
    if (proxy->modern_region.size) {
        mem_region_cleanup(&proxy->modern_region);
    }
    if (proxy->legacy_region.size) {
        mem_region_cleanup(&proxy->legacy_region);
    }
}

bool virtio_pci_realize(Device *dev, GError **error)
{
    VirtioPci *proxy = (VirtioPci *)dev;
    const VirtioPciClass *cls = class_of(proxy);
    proxy->vdev = (VirtioDevice *)((uint8_t *)dev + cls->vdev_offset);
    g_mutex_init(&proxy->intx_lock);
    proxy->config_vector = VIRTQ_NO_VECTOR;
    proxy->pci.default_romfile = cls->virtio->romfile;
    if (!choose_modes(proxy, error) || !pci_device_realize(&proxy->pci, error)) {
        return false;
    }
    if (proxy->pci.bus->express && proxy->pci.bus->bridge &&
        !pcie_capability_init(&proxy->pci, error)) {
        pci_device_unrealize(&proxy->pci);
        return false;
    }
    if (!virtio_device_realize(proxy->vdev, cls->virtio, dev, &pci_transport, error)) {
        pci_device_unrealize(&proxy->pci);
        return false;
    }
    if (!proxy->modern) {
        proxy->vdev->host_features &= UINT32_MAX;
    }
    set_identity(proxy);
    pci_rom_adopt_ids(&proxy->pci);
    if (!make_interface(proxy, error)) {
        virtio_device_unrealize(proxy->vdev);
        drop_interface(proxy);
        return false;
    }
    return true;
}

void virtio_pci_unrealize(Device *dev)
{
    VirtioPci *proxy = (VirtioPci *)dev;
    virtio_device_quiesce(proxy->vdev);
    drop_interface(proxy);
    virtio_device_unrealize(proxy->vdev);
    g_mutex_clear(&proxy->intx_lock);
}

void virtio_pci_reset(Device *dev)
{
    VirtioPci *proxy = (VirtioPci *)dev;
    virtio_device_reset(proxy->vdev);
    virtio_set_dma_enabled(proxy->vdev, false);
    pci_device_reset(&proxy->pci);
}

void virtio_pci_quiesce(Device *dev)
{
    virtio_device_quiesce(((VirtioPci *)dev)->vdev);
}

void virtio_pci_resume(Device *dev)
{
    virtio_device_resume(((VirtioPci *)dev)->vdev);
}

char *virtio_pci_firmware_name(const Device *dev)
{
    const VirtioPci *proxy = (const VirtioPci *)dev;
    g_autofree char *function = pci_firmware_name(&proxy->pci);
    const char *unit = class_of(proxy)->virtio->firmware_unit;
    return g_strconcat(function, unit ? "/" : NULL, unit, NULL);
}

/* ---- State ---- */

/* Routes behind the vectors that were in use. */
static bool pci_post_load(void *base, uint16_t version, GError **error)
{
    VirtioPci *proxy = base;
    proxy->config_vector = virtio_pci_use_vector(proxy, proxy->config_vector);
    for (unsigned i = 0; i < proxy->vdev->queue_count; i++) {
        VirtQueue *vq = &proxy->vdev->queues[i];
        vq->vector = virtio_pci_use_vector(proxy, vq->vector);
    }
    return true;
}

static const StateField pci_fields[] = {
    STATE_STRUCT(VirtioPci, pci, &pci_device_state),
    STATE_INT(VirtioPci, device_feature_select),
    STATE_INT(VirtioPci, driver_feature_select),
    STATE_INT(VirtioPci, driver_features),
    STATE_INT(VirtioPci, queue_select),
    STATE_INT(VirtioPci, config_vector),
    STATE_INT(VirtioPci, isr),
    STATE_END,
};

const StateSection virtio_pci_state = {
    .name = "virtio-pci",
    .version = 1,
    .fields = pci_fields,
    .post_load = pci_post_load,
};
