/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe registers and doorbells (NVMe 1.4, 3.1): on vCPU threads. */
#include <linux/pci_regs.h>
#include "hw/nvme/nvme.h"
#include "hw/pci/pci_internal.h"
#include "vmm/util/bytes.h"

/* 2048 entries, contiguous queues, 7.5 s; NVM, several and no I/O command sets; pages of 4 to
 * 64 KiB. */
#define CAP_VALUE (0x7ffULL | 1ULL << 16 | 15ULL << 24 | 0xc1ULL << 37 | 4ULL << 52)
#define VS_VALUE  0x00010400

/* ---- Reading ---- */

static uint64_t register_value(NvmeCtrl *ctrl, unsigned word)
{
    switch (word) {
    case NVME_REG_CAP:
        return CAP_VALUE;
    case NVME_REG_VS:
        return VS_VALUE | (uint64_t)__atomic_load_n(&ctrl->intms, __ATOMIC_RELAXED) << 32;
    case NVME_REG_INTMC:
        return __atomic_load_n(&ctrl->intms, __ATOMIC_RELAXED) | (uint64_t)ctrl->cc << 32;
    case NVME_REG_CSTS & ~7:
        return (uint64_t)__atomic_load_n(&ctrl->csts, __ATOMIC_ACQUIRE) << 32;
    case NVME_REG_AQA & ~7:
        return (uint64_t)ctrl->aqa << 32;
    case NVME_REG_ASQ:
        return ctrl->asq;
    case NVME_REG_ACQ:
        return ctrl->acq;
    default:
        return 0;
    }
}

static bool in_msix(const NvmeCtrl *ctrl, uint64_t offset)
{
    return offset >= ctrl->msix_table;
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    NvmeCtrl *ctrl = opaque;
    uint64_t value = 0;
    g_mutex_lock(&ctrl->pci.dev.lock);
    if (in_msix(ctrl, offset)) {
        value = msix_window_read(&ctrl->pci, offset, size);
    } else if (offset < NVME_REG_DOORBELLS) {
        value = register_value(ctrl, offset & ~7ULL) >> (8 * (offset & 7));
    }
    g_mutex_unlock(&ctrl->pci.dev.lock);
    return size == 4 ? (uint32_t)value : value;
}

/* ---- Doorbells ---- */

static void ring(NvmeCtrl *ctrl, unsigned index, uint32_t value)
{
    NvmeDoorbell *doorbell = &ctrl->doorbells[index];
    __atomic_store_n(&doorbell->value, value, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    bool live = __atomic_load_n(&doorbell->live, __ATOMIC_ACQUIRE);
    if (live && !(index & 1) && __atomic_load_n(&ctrl->polling, __ATOMIC_RELAXED)) {
        return; /* the loop looks by itself */
    }
    if (live && index & 1) {
        if (!msix_enabled(&ctrl->pci)) {
            /* The line must be down when the driver has seen everything. */
            event_loop_call(ctrl->loop, nvme_doorbell_rung, doorbell);
            return;
        }
        if (!__atomic_load_n(&doorbell->waiting, __ATOMIC_RELAXED)) {
            return;
        }
    }
    event_loop_post(ctrl->loop, &doorbell->task);
}

static void doorbell_write(NvmeCtrl *ctrl, uint64_t offset, uint64_t value, unsigned size)
{
    unsigned index = (offset - NVME_REG_DOORBELLS) / 4;
    for (unsigned i = 0; i < size / 4; i++) {
        if (index + i < 2 * ctrl->queue_count) {
            ring(ctrl, index + i, (uint32_t)(value >> (32 * i)));
        }
    }
}

/* ---- Shadow doorbells: eventfds in place of exits ---- */

static void watch_bound(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    for (unsigned i = 0; i < 2 * ctrl->queue_count; i += 2) {
        NvmeDoorbell *doorbell = &ctrl->doorbells[i];
        if (doorbell->bound != doorbell->watched) {
            if (doorbell->bound) {
                fd_watch_start(&doorbell->watch, ctrl->loop, doorbell->kick.fd,
                               POLLIN | FD_WATCH_EDGE, doorbell->watch.ready, doorbell);
                nvme_doorbell_rung(doorbell);
            } else {
                fd_watch_stop(&doorbell->watch);
            }
            doorbell->watched = doorbell->bound;
        }
    }
}

static void kicked(void *opaque, unsigned revents)
{
    nvme_doorbell_rung(opaque);
}

static bool bind(NvmeCtrl *ctrl, NvmeDoorbell *doorbell)
{
    g_autoptr(GError) error = NULL;
    if (doorbell->kick.fd < 0 && !event_notifier_init(&doorbell->kick, &error)) {
        return false; /* it stays an exit */
    }
    doorbell->watch.ready = kicked;
    mem_region_add_ioeventfd(&ctrl->region, NVME_REG_DOORBELLS + 4 * doorbell->index, 0, false, 0,
                             doorbell->kick.fd);
    doorbell->bound = true;
    return true;
}

void nvme_bind_doorbells(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    bool changed = false;
    machine_topology_lock(ctrl->pci.dev.machine);
    g_mutex_lock(&ctrl->pci.dev.lock);
    bool wanted = ctrl->ioeventfd && __atomic_load_n(&ctrl->shadow, __ATOMIC_ACQUIRE);
    /* The shadow page has room for 512 queues. */
    for (unsigned i = 2; wanted && i < 2 * MIN(ctrl->queue_count, NVME_PAGE / 8); i += 2) {
        NvmeDoorbell *doorbell = &ctrl->doorbells[i];
        if (!doorbell->bound && __atomic_load_n(&doorbell->live, __ATOMIC_ACQUIRE)) {
            changed |= bind(ctrl, doorbell);
        }
    }
    if (changed) {
        event_loop_call(ctrl->loop, watch_bound, ctrl);
    }
    g_mutex_unlock(&ctrl->pci.dev.lock);
    machine_topology_unlock(ctrl->pci.dev.machine);
}

void nvme_unbind_doorbells(NvmeCtrl *ctrl)
{
    bool changed = false;
    __atomic_store_n(&ctrl->shadow, false, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < 2 * ctrl->queue_count; i += 2) {
        NvmeDoorbell *doorbell = &ctrl->doorbells[i];
        if (doorbell->bound) {
            mem_region_del_ioeventfd(&ctrl->region, NVME_REG_DOORBELLS + 4 * i, 0, false, 0,
                                     doorbell->kick.fd);
            doorbell->bound = false;
            changed = true;
        }
    }
    if (changed) {
        event_loop_call(ctrl->loop, watch_bound, ctrl);
    }
}

/* ---- Writing ---- */

static void mask_write(NvmeCtrl *ctrl, uint32_t set, uint32_t clear)
{
    g_mutex_lock(&ctrl->intx_lock);
    /* "The host software shall not access these with MSI-X" (3.1.3). */
    if (!msix_enabled(&ctrl->pci)) {
        uint32_t mask = (ctrl->intms | set) & ~clear;
        __atomic_store_n(&ctrl->intms, mask, __ATOMIC_RELAXED);
        pci_set_irq(&ctrl->pci, (ctrl->irq_status & ~mask) != 0);
    }
    g_mutex_unlock(&ctrl->intx_lock);
}

void nvme_use_vectors(NvmeCtrl *ctrl)
{
    for (unsigned i = 0; i < ctrl->pci.msix_count; i++) {
        msix_vector_use(&ctrl->pci, i);
    }
}

static void cc_write(NvmeCtrl *ctrl, uint32_t value)
{
    uint32_t old = ctrl->cc;
    ctrl->cc = value & NVME_CC_WRITABLE;
    if ((old ^ value) & NVME_CC_EN) {
        if (value & NVME_CC_EN) {
            nvme_use_vectors(ctrl);
            event_loop_call(ctrl->loop, nvme_enable, ctrl);
        } else {
            nvme_unbind_doorbells(ctrl);
            event_loop_call(ctrl->loop, nvme_disable, ctrl);
        }
    }
    if (NVME_CC_SHN(value) && !NVME_CC_SHN(old)) {
        event_loop_call(ctrl->loop, nvme_shutdown, ctrl);
    } else if (!NVME_CC_SHN(value) && NVME_CC_SHN(old)) {
        __atomic_and_fetch(&ctrl->csts, ~NVME_CSTS_SHST_MASK, __ATOMIC_ACQ_REL);
    }
}

static void set_half(uint64_t *value, unsigned high, uint32_t half, uint32_t mask)
{
    *value = high ? (uint32_t)*value | (uint64_t)half << 32
                  : (*value & ~0xffffffffULL) | (half & mask);
}

static void register_write(NvmeCtrl *ctrl, unsigned offset, uint32_t value)
{
    switch (offset) {
    case NVME_REG_CC:
        cc_write(ctrl, value);
        break;
    case NVME_REG_AQA:
        ctrl->aqa = value & 0x0fff0fff;
        break;
    case NVME_REG_ASQ:
    case NVME_REG_ASQ + 4:
        set_half(&ctrl->asq, offset - NVME_REG_ASQ, value, ~(NVME_PAGE - 1u));
        break;
    case NVME_REG_ACQ:
    case NVME_REG_ACQ + 4:
        set_half(&ctrl->acq, offset - NVME_REG_ACQ, value, ~(NVME_PAGE - 1u));
        break;
    default:
        break;
    }
}

static void locked_write(NvmeCtrl *ctrl, uint64_t offset, uint64_t value, unsigned size)
{
    Machine *machine = ctrl->pci.dev.machine;
    machine_topology_lock(machine); /* a change of CC.EN changes the doorbells' eventfds */
    g_mutex_lock(&ctrl->pci.dev.lock);
    for (unsigned i = 0; i < size / 4; i++) {
        register_write(ctrl, offset + 4 * i, (uint32_t)(value >> (32 * i)));
    }
    g_mutex_unlock(&ctrl->pci.dev.lock);
    machine_topology_unlock(machine);
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    NvmeCtrl *ctrl = opaque;
    if (offset >= NVME_REG_DOORBELLS && offset < ctrl->doorbells_end) {
        doorbell_write(ctrl, offset, value, size);
    } else if (in_msix(ctrl, offset)) {
        g_mutex_lock(&ctrl->pci.dev.lock);
        msix_window_write(&ctrl->pci, offset, value, size);
        g_mutex_unlock(&ctrl->pci.dev.lock);
    } else if (offset == NVME_REG_INTMS) {
        mask_write(ctrl, (uint32_t)value, 0);
    } else if (offset == NVME_REG_INTMC) {
        mask_write(ctrl, 0, (uint32_t)value);
    } else {
        locked_write(ctrl, offset, value, size);
    }
}

const MemOps nvme_mmio_ops = {
    .read = mmio_read,
    .write = mmio_write,
    .min_size = 4,
    .max_size = 8,
};

static void run_in_loop(void *opaque)
{
    nvme_run_all(opaque);
}

void nvme_config_written(PciDevice *pci, uint32_t offset, unsigned size)
{
    NvmeCtrl *ctrl = (NvmeCtrl *)pci;
    if (ranges_touch(offset, size, PCI_COMMAND, 2)) {
        bool now = pci_bus_master(pci);
        if (__atomic_exchange_n(&ctrl->dma_enabled, now, __ATOMIC_ACQ_REL) != now && now) {
            event_loop_call(ctrl->loop, run_in_loop, ctrl);
        }
    }
}
