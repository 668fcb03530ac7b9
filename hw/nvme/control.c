/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of an NVMe controller (NVMe 1.4, 7.3, 7.6): enabled, reset, shut down, paused. */
#include <string.h>
#include "hw/nvme/nvme.h"

#define PAGE_SHIFT_MAX 4 /* CAP.MPSMAX */

static void csts_change(NvmeCtrl *ctrl, uint32_t clear, uint32_t set)
{
    uint32_t value = __atomic_load_n(&ctrl->csts, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&ctrl->csts, &value, (value & ~clear) | set, false,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
    }
}

/* ---- Enable ---- */

static bool make_admin_queues(NvmeCtrl *ctrl)
{
    uint32_t sq_size = (ctrl->aqa & 0xfff) + 1, cq_size = (ctrl->aqa >> 16) + 1;
    if (sq_size < 2 || cq_size < 2 || (ctrl->asq | ctrl->acq) & (ctrl->page_size - 1)) {
        return false;
    }
    NvmeCq *cq = nvme_cq_new(ctrl, 0, ctrl->acq, cq_size, 0, true);
    return cq && nvme_sq_new(ctrl, 0, cq, ctrl->asq, sq_size);
}

static bool settings_ok(uint32_t cc)
{
    unsigned sets = NVME_CC_CSS(cc);
    return NVME_CC_MPS(cc) <= PAGE_SHIFT_MAX && NVME_CC_AMS(cc) == 0 &&
           (sets == NVME_CSS_NVM || sets == NVME_CSS_ALL || sets == NVME_CSS_ADMIN_ONLY);
}

/* The registers are the caller's, who waits and holds the device lock. */
void nvme_enable(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    if (ctrl->running || ctrl->stopping) {
        return; /* the host did not wait for CSTS.RDY to go */
    }
    ctrl->cc_active = ctrl->cc;
    ctrl->page_size = NVME_PAGE << MIN(NVME_CC_MPS(ctrl->cc), PAGE_SHIFT_MAX);
    if (!settings_ok(ctrl->cc) || !make_admin_queues(ctrl)) {
        nvme_queues_free(ctrl);
        device_guest_error(&ctrl->pci.dev,
                           "enabled with CC=0x%x AQA=0x%x ASQ=0x%" PRIx64 " ACQ=0x%" PRIx64
                           ": the controller fails until it is reset",
                           ctrl->cc, ctrl->aqa, ctrl->asq, ctrl->acq);
        csts_change(ctrl, 0, NVME_CSTS_CFS);
        return;
    }
    ctrl->running = true;
    csts_change(ctrl, NVME_CSTS_SHST_MASK | NVME_CSTS_CFS, NVME_CSTS_RDY);
    if (!ctrl->quiesced) {
        nvme_poller_add(ctrl);
    }
}

/* ---- Reset ---- */

void nvme_clear(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    ctrl->running = ctrl->stopping = false;
    nvme_poller_remove(ctrl);
    event_loop_cancel_task(ctrl->loop, &ctrl->flush_task);
    nvme_queues_free(ctrl);
    ctrl->unposted = 0;
    ctrl->listeners = NULL;
    ctrl->listeners_tail = &ctrl->listeners;
    ctrl->listener_count = ctrl->event_count = 0;
    ctrl->events_masked = 0;
    ctrl->async_config = 0;
    __atomic_store_n(&ctrl->shadow, false, __ATOMIC_RELEASE);
    nvme_update_intx(ctrl);
}

void nvme_stop_finish(NvmeCtrl *ctrl)
{
    nvme_clear(ctrl);
    csts_change(ctrl, NVME_CSTS_RDY | NVME_CSTS_CFS, 0);
}

/* Requests that are out write to the host's memory: RDY goes when they are back. */
void nvme_disable(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    if (ctrl->stopping) {
        return;
    }
    nvme_poller_remove(ctrl);
    ctrl->running = false;
    for (unsigned i = 0; i < ctrl->active_count; i++) {
        /* A deletion waits for others, nobody waits for it. */
        if (ctrl->active[i]->deletion) {
            nvme_request_park(ctrl->active[i]->deletion);
            ctrl->active[i]->deletion = NULL;
        }
    }
    ctrl->stopping = ctrl->inflight != 0;
    if (!ctrl->stopping) {
        nvme_stop_finish(ctrl);
    }
}

/* ---- Shutdown ---- */

static void shutdown_done(BlockRequest *block, int ret)
{
    NvmeNamespace *ns = block->opaque;
    NvmeCtrl *ctrl = ns->ctrl;
    ns->flushing = false;
    if (--ctrl->flushes == 0) {
        csts_change(ctrl, NVME_CSTS_SHST_MASK, NVME_CSTS_SHST_DONE);
    }
}

void nvme_shutdown(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    if (ctrl->flushes) {
        return;
    }
    csts_change(ctrl, NVME_CSTS_SHST_MASK, NVME_CSTS_SHST_BUSY);
    for (unsigned i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        NvmeNamespace *ns = ctrl->namespaces[i];
        if (ns && !ns->flushing) {
            ns->flushing = true;
            ctrl->flushes++;
            ns->flush = (BlockRequest){ .op = BLOCK_FLUSH, .done = shutdown_done, .opaque = ns };
            block_submit(ns->disk.backend, &ns->flush);
        }
    }
    if (!ctrl->flushes) {
        csts_change(ctrl, NVME_CSTS_SHST_MASK, NVME_CSTS_SHST_DONE);
    }
}

/* ---- Pause ---- */

static void quiesce_in_loop(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    ctrl->quiesced = true;
    nvme_poller_remove(ctrl);
}

static void drained_in_loop(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    nvme_flush(ctrl);
    event_loop_cancel_task(ctrl->loop, &ctrl->flush_task);
}

void nvme_quiesce(Device *dev)
{
    NvmeCtrl *ctrl = (NvmeCtrl *)dev;
    event_loop_call(ctrl->loop, quiesce_in_loop, ctrl);
    for (unsigned i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        if (ctrl->namespaces[i]) {
            block_backend_drain(ctrl->namespaces[i]->disk.backend);
        }
    }
    event_loop_call(ctrl->loop, drained_in_loop, ctrl);
}

static void resume_in_loop(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    ctrl->quiesced = false;
    if (ctrl->restore) {
        nvme_restore(ctrl);
    }
    nvme_flush(ctrl);
    if (ctrl->running) {
        nvme_poller_add(ctrl);
        nvme_run_all(ctrl);
    }
}

void nvme_resume(Device *dev)
{
    NvmeCtrl *ctrl = (NvmeCtrl *)dev;
    event_loop_call(ctrl->loop, resume_in_loop, ctrl);
    nvme_bind_doorbells(ctrl);
}

void nvme_cancel_all(NvmeCtrl *ctrl)
{
    for (unsigned i = 1; i <= NVME_MAX_NAMESPACES; i++) {
        if (ctrl->namespaces[i]) {
            block_backend_cancel_kept(ctrl->namespaces[i]->disk.backend);
        }
    }
}
