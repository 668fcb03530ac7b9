/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nvme: an NVM Express 1.4 controller on PCI Express. Properties, making, reset. Main thread. */
#include "hw/nvme/nvme.h"

#include <string.h>
#include "hw/devices.h"
#include "hw/pci/pci_internal.h"
#include "vmm/object/iothread.h"
#include "vmm/util/bytes.h"

#define NVME_BAR     0
#define PM_CAP       0x60
#define PM_CAP_SIZE  8
#define SERIAL_MAX   20
#define MDTS_MAX     9 /* 2 MiB: what one request of the host takes */
#define INTEL_VENDOR 0x8086
#define INTEL_DEVICE 0x5845
#define BAR_ALIGN    4096

static const Property nvme_props[] = {
    DISK_CONF_PROPS(NvmeCtrl, drive.disk),
    PROP_REF("iothread", NvmeCtrl, iothread, "iothread", "The I/O thread of all queues"),
    PROP_RANGE_U32("max_ioqpairs", NvmeCtrl, max_ioqpairs, 64, 1, 65535, "I/O queue pairs"),
    PROP_RANGE_U32("num_queues", NvmeCtrl, num_queues, 0, 0, 65536,
                   "Queue pairs with the admin queues; 0: as max_ioqpairs says"),
    PROP_RANGE_U16("msix_qsize", NvmeCtrl, msix_qsize, 65, 1, NVME_MAX_VECTORS, "MSI-X vectors"),
    PROP_FIELD("mdts", PROP_TYPE_U8, NvmeCtrl, mdts,
               "Power of two of the 4 KiB pages of a transfer at most; 0: as much as there can be",
               .def = 7, .min = 0, .max = MDTS_MAX),
    PROP_U8("vsl", NvmeCtrl, vsl, 7, "Power of two of the 4 KiB pages of a Verify at most"),
    PROP_U8("aerl", NvmeCtrl, aerl, 3, "Asynchronous event requests at once, less one"),
    PROP_RANGE_U32("aer_max_queued", NvmeCtrl, aer_max_queued, 64, 0, NVME_MAX_EVENTS,
                   "Asynchronous events that are kept"),
    PROP_BOOL("use-intel-id", NvmeCtrl, use_intel_id, false,
              "Intel's PCI identity, which old drivers know"),
    PROP_BOOL("ioeventfd", NvmeCtrl, ioeventfd, true,
              "Ring shadow doorbells without leaving the kernel"),
    PROP_END,
};

static const PropertyGroup nvme_groups[] = {
    { pci_device_props, offsetof(NvmeCtrl, pci) },
    { NULL },
};

/* ---- Making ---- */

static bool check_properties(NvmeCtrl *ctrl, GError **error)
{
    const char *serial = ctrl->drive.disk.serial;
    if (!serial || !*serial || strlen(serial) > SERIAL_MAX) {
        return error_set(error, "nvme needs serial=TEXT of 1 to %d characters", SERIAL_MAX);
    }
    if (device_prop_is_set(&ctrl->pci.dev, "num_queues") && ctrl->num_queues) {
        if (ctrl->num_queues < 2) {
            return error_set(error, "num_queues=%u: the admin queues and one pair at least",
                             ctrl->num_queues);
        }
        ctrl->max_ioqpairs = ctrl->num_queues - 1;
    }
    ctrl->mdts = ctrl->mdts ? ctrl->mdts : MDTS_MAX;
    ctrl->vsl = MIN(ctrl->vsl, 16);
    ctrl->queue_count = ctrl->max_ioqpairs + 1;
    return true;
}

static bool choose_loop(NvmeCtrl *ctrl, GError **error)
{
    ctrl->loop = ctrl->iothread ? iothread_claim(ctrl->iothread, error)
                                : machine_io_loop(ctrl->pci.dev.machine, error);
    ctrl->has_iothread = ctrl->loop && ctrl->iothread;
    return ctrl->loop != NULL;
}

static void make_queue_tables(NvmeCtrl *ctrl)
{
    ctrl->doorbells = g_new0(NvmeDoorbell, 2 * (size_t)ctrl->queue_count);
    ctrl->sqs = g_new0(NvmeSq *, ctrl->queue_count);
    ctrl->cqs = g_new0(NvmeCq *, ctrl->queue_count);
    ctrl->active = g_new0(NvmeSq *, ctrl->queue_count);
    for (unsigned i = 0; i < 2 * ctrl->queue_count; i++) {
        NvmeDoorbell *doorbell = &ctrl->doorbells[i];
        doorbell->task = (LoopTask)LOOP_TASK_INIT(nvme_doorbell_rung, doorbell);
        doorbell->ctrl = ctrl;
        doorbell->index = i;
        doorbell->kick.fd = -1;
    }
    ctrl->listeners_tail = &ctrl->listeners;
    ctrl->flush_task = (LoopTask)LOOP_TASK_INIT(nvme_flush, ctrl);
    ctrl->bind_task = (LoopTask)LOOP_TASK_INIT(nvme_bind_doorbells, ctrl);
    g_mutex_init(&ctrl->intx_lock);
}

static bool add_power_management(NvmeCtrl *ctrl, GError **error)
{
    PciDevice *pci = &ctrl->pci;
    if (!pci_add_capability(pci, PCI_CAP_ID_PM, PM_CAP, PM_CAP_SIZE, error)) {
        return false;
    }
    store_le16(pci->config + PM_CAP + PCI_PM_PMC, 3); /* version 1.2 */
    store_le16(pci->config + PM_CAP + PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET);
    store_le16(pci->wmask + PM_CAP + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
    return true;
}

/* One BAR: registers, doorbells, MSI-X table, pending bits. */
static bool make_bar(NvmeCtrl *ctrl, GError **error)
{
    uint64_t doorbells = 8 * (uint64_t)ctrl->queue_count;
    uint64_t table = ALIGN_UP(NVME_REG_DOORBELLS + doorbells, BAR_ALIGN);
    uint64_t pba = ALIGN_UP(table + ctrl->msix_qsize * PCI_MSIX_ENTRY_SIZE, BAR_ALIGN);
    uint64_t end = pba + ALIGN_UP(ctrl->msix_qsize, 64) / 8, size = BAR_ALIGN;
    while (size < end) {
        size *= 2;
    }
    ctrl->doorbells_end = NVME_REG_DOORBELLS + doorbells;
    ctrl->msix_table = table;
    ctrl->msix_pba = pba;
    if (!msix_init_shared(&ctrl->pci, ctrl->msix_qsize, NVME_BAR, table, pba, error)) {
        return false;
    }
    mem_region_init_io(&ctrl->region, "nvme", size, &nvme_mmio_ops, ctrl, NULL);
    pci_register_bar(&ctrl->pci, NVME_BAR, PCI_BAR_MEM64, &ctrl->region);
    return true;
}

static bool make_function(NvmeCtrl *ctrl, GError **error)
{
    PciDevice *pci = &ctrl->pci;
    if (!pci_device_realize(pci, error) || !add_power_management(ctrl, error) ||
        (pci->bus->express && !pcie_capability_init(pci, error)) || !make_bar(ctrl, error)) {
        return false;
    }
    if (ctrl->use_intel_id) {
        store_le16(pci->config + PCI_VENDOR_ID, INTEL_VENDOR);
        store_le16(pci->config + PCI_DEVICE_ID, INTEL_DEVICE);
    }
    return true;
}

static void make_bus(NvmeCtrl *ctrl)
{
    static unsigned unnamed;
    Device *dev = &ctrl->pci.dev;
    g_autofree char *name = dev->id ? g_strdup(dev->id) : g_strdup_printf("nvme-bus.%u", unnamed++);
    ctrl->bus = bus_new(BUS_NVME, name, dev->machine, dev);
    ctrl->bus->owner = ctrl;
}

static void nvme_unmake(NvmeCtrl *ctrl)
{
    if (ctrl->drive.disk.backend) {
        nvme_ns_detach(&ctrl->drive);
    }
    g_clear_pointer(&ctrl->bus, bus_free);
    msix_uninit(&ctrl->pci);
    pci_device_unrealize(&ctrl->pci);
    if (ctrl->region.size) {
        mem_region_cleanup(&ctrl->region);
    }
    for (unsigned i = 0; ctrl->doorbells && i < 2 * ctrl->queue_count; i++) {
        event_notifier_cleanup(&ctrl->doorbells[i].kick);
    }
    g_clear_pointer(&ctrl->sqs, g_free);
    g_clear_pointer(&ctrl->cqs, g_free);
    g_clear_pointer(&ctrl->active, g_free);
    g_clear_pointer(&ctrl->saved_queues, g_free);
    g_clear_pointer(&ctrl->saved_requests, g_free);
    if (ctrl->doorbells) {
        g_mutex_clear(&ctrl->intx_lock);
        g_clear_pointer(&ctrl->doorbells, g_free);
    }
    if (ctrl->has_iothread) {
        iothread_release(ctrl->iothread);
        ctrl->has_iothread = false;
    }
}

static bool nvme_realize(Device *dev, GError **error)
{
    NvmeCtrl *ctrl = (NvmeCtrl *)dev;
    if (!check_properties(ctrl, error) || !choose_loop(ctrl, error)) {
        return false;
    }
    make_queue_tables(ctrl);
    ctrl->quiesced = true; /* until the machine runs */
    ctrl->drive.nsid = 1;
    if (!make_function(ctrl, error) ||
        (ctrl->drive.disk.drive && !nvme_ns_attach(ctrl, &ctrl->drive, dev, error))) {
        nvme_unmake(ctrl);
        return false;
    }
    make_bus(ctrl);
    nvme_features_reset(ctrl);
    if (dev->hotplugged && machine_is_running(dev->machine)) {
        ctrl->quiesced = false;
    }
    return true;
}

/* Stops for good: no request, queue or doorbell is left. */
static void cease(NvmeCtrl *ctrl)
{
    Machine *machine = ctrl->pci.dev.machine;
    nvme_quiesce(&ctrl->pci.dev);
    nvme_cancel_all(ctrl);
    event_loop_call(ctrl->loop, nvme_clear, ctrl);
    machine_topology_lock(machine);
    g_mutex_lock(&ctrl->pci.dev.lock);
    nvme_unbind_doorbells(ctrl);
    g_mutex_unlock(&ctrl->pci.dev.lock);
    machine_topology_unlock(machine);
}

static void cancel_tasks(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    for (unsigned i = 0; i < 2 * ctrl->queue_count; i++) {
        event_loop_cancel_task(ctrl->loop, &ctrl->doorbells[i].task);
    }
}

static void nvme_unrealize(Device *dev)
{
    NvmeCtrl *ctrl = (NvmeCtrl *)dev;
    cease(ctrl);
    /* No vCPU rings any more once the BAR is gone and its dispatchers are out. */
    machine_topology_lock(dev->machine);
    address_space_unmap(&ctrl->region);
    machine_topology_unlock(dev->machine);
    event_loop_cancel_task(event_loop_main(), &ctrl->bind_task);
    event_loop_call(ctrl->loop, cancel_tasks, ctrl);
    nvme_unmake(ctrl);
}

static void nvme_device_reset(Device *dev)
{
    NvmeCtrl *ctrl = (NvmeCtrl *)dev;
    bool was_quiesced = ctrl->quiesced;
    cease(ctrl);
    ctrl->quiesced = was_quiesced;
    g_mutex_lock(&dev->lock);
    ctrl->cc = ctrl->aqa = 0;
    ctrl->asq = ctrl->acq = 0;
    __atomic_store_n(&ctrl->csts, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&ctrl->intms, 0, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < ctrl->pci.msix_count; i++) {
        msix_vector_unuse(&ctrl->pci, i);
    }
    g_mutex_unlock(&dev->lock);
    ctrl->restore = false;
    ctrl->error_count = 0;
    memset(ctrl->changed, 0, sizeof(ctrl->changed));
    memset(ctrl->errors, 0, sizeof(ctrl->errors));
    nvme_features_reset(ctrl);
    __atomic_store_n(&ctrl->dma_enabled, false, __ATOMIC_RELEASE);
    if (ctrl->drive.disk.backend) {
        nvme_ns_reset(&ctrl->drive);
    }
    pci_device_reset(&ctrl->pci);
}

static char *nvme_firmware_name(const Device *dev)
{
    const NvmeCtrl *ctrl = (const NvmeCtrl *)dev;
    g_autofree char *function = pci_firmware_name(&ctrl->pci);
    return g_strconcat(function, ctrl->drive.disk.drive ? "/namespace@1,0" : NULL, NULL);
}

static const PciDeviceClass nvme_pci = {
    .vendor_id = 0x1b36,
    .device_id = 0x0010,
    .subsystem_vendor_id = 0x1af4,
    .subsystem_id = 0x1100,
    .revision = 2,
    .class_code = 0x010802,
    .interrupt_pin = 1,
    .config_written = nvme_config_written,
};

const DeviceClass nvme_class = {
    .name = "nvme",
    .desc = "Non-volatile memory controller (NVM Express 1.4)",
    .bus = BUS_PCI,
    .category = DEVICE_CATEGORY_STORAGE,
    .size = sizeof(NvmeCtrl),
    .props = nvme_props,
    .groups = nvme_groups,
    .state = &nvme_state,
    .hotpluggable = true,
    .has_child_bus = true,
    .child_bus = BUS_NVME,
    .realize = nvme_realize,
    .unrealize = nvme_unrealize,
    .reset = nvme_device_reset,
    .quiesce = nvme_quiesce,
    .resume = nvme_resume,
    .firmware_name = nvme_firmware_name,
    .ops = &nvme_pci,
};
