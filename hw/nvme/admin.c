/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe admin commands (NVMe 1.4, 5): queues, abort, shadow doorbells; and which file has which. */
#include "hw/nvme/nvme.h"
#include "vmm/util/bytes.h"

#define QUEUE_CONTIGUOUS (1u << 0)
#define CQ_INTERRUPTS    (1u << 1)
#define SQ_ENTRY_SHIFT   6
#define CQ_ENTRY_SHIFT   4

static NvmeCtrl *ctrl_of(const NvmeRequest *request)
{
    return request->sq->ctrl;
}

/* ---- Queues (5.3 to 5.6) ---- */

static bool queue_size_ok(const NvmeCtrl *ctrl, uint32_t zero_based)
{
    return zero_based >= 1 && zero_based < NVME_MAX_QUEUE_SIZE;
}

static bool queue_address_ok(const NvmeCtrl *ctrl, const NvmeCommand *cmd)
{
    return (le64toh(cmd->prp1) & (ctrl->page_size - 1)) == 0;
}

static uint16_t create_cq(NvmeRequest *request)
{
    NvmeCtrl *ctrl = ctrl_of(request);
    const NvmeCommand *cmd = &request->cmd;
    uint32_t cdw10 = le32toh(cmd->cdw10), cdw11 = le32toh(cmd->cdw11);
    uint32_t id = cdw10 & 0xffff, size = cdw10 >> 16, vector = cdw11 >> 16;
    if (id == 0 || id >= ctrl->queue_count || ctrl->cqs[id]) {
        return NVME_INVALID_QID | NVME_DNR;
    }
    if (!queue_size_ok(ctrl, size)) {
        return NVME_INVALID_QUEUE_SIZE | NVME_DNR;
    }
    if (!queue_address_ok(ctrl, cmd)) {
        return NVME_INVALID_PRP | NVME_DNR;
    }
    if (vector >= ctrl->msix_qsize || (!msix_enabled(&ctrl->pci) && vector)) {
        return NVME_INVALID_VECTOR | NVME_DNR;
    }
    if (!(cdw11 & QUEUE_CONTIGUOUS) || NVME_CC_IOCQES(ctrl->cc_active) != CQ_ENTRY_SHIFT) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    return nvme_cq_new(ctrl, id, le64toh(cmd->prp1), size + 1, vector, cdw11 & CQ_INTERRUPTS)
               ? NVME_SUCCESS
               : NVME_DATA_TRANSFER | NVME_DNR;
}

static uint16_t create_sq(NvmeRequest *request)
{
    NvmeCtrl *ctrl = ctrl_of(request);
    const NvmeCommand *cmd = &request->cmd;
    uint32_t cdw10 = le32toh(cmd->cdw10), cdw11 = le32toh(cmd->cdw11);
    uint32_t id = cdw10 & 0xffff, size = cdw10 >> 16, cq_id = cdw11 >> 16;
    if (cq_id == 0 || cq_id >= ctrl->queue_count || !ctrl->cqs[cq_id]) {
        return NVME_INVALID_CQ | NVME_DNR;
    }
    if (id == 0 || id >= ctrl->queue_count || ctrl->sqs[id]) {
        return NVME_INVALID_QID | NVME_DNR;
    }
    if (!queue_size_ok(ctrl, size)) {
        return NVME_INVALID_QUEUE_SIZE | NVME_DNR;
    }
    if (!queue_address_ok(ctrl, cmd)) {
        return NVME_INVALID_PRP | NVME_DNR;
    }
    if (!(cdw11 & QUEUE_CONTIGUOUS) || NVME_CC_IOSQES(ctrl->cc_active) != SQ_ENTRY_SHIFT) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    if (!nvme_sq_new(ctrl, id, ctrl->cqs[cq_id], le64toh(cmd->prp1), size + 1)) {
        return NVME_DATA_TRANSFER | NVME_DNR;
    }
    if (ctrl->shadow) {
        event_loop_post(event_loop_main(), &ctrl->bind_task);
    }
    return NVME_SUCCESS;
}

/* Commands that are out come back first, then the queue goes. */
static uint16_t delete_sq(NvmeRequest *request)
{
    NvmeCtrl *ctrl = ctrl_of(request);
    uint32_t id = le32toh(request->cmd.cdw10) & 0xffff;
    NvmeSq *sq = id && id < ctrl->queue_count ? ctrl->sqs[id] : NULL;
    if (!sq || sq->deletion) {
        return NVME_INVALID_QID | NVME_DNR;
    }
    if (sq->inflight) {
        sq->deletion = request;
        return NVME_PENDING;
    }
    nvme_sq_free(sq);
    return NVME_SUCCESS;
}

static uint16_t delete_cq(NvmeRequest *request)
{
    NvmeCtrl *ctrl = ctrl_of(request);
    uint32_t id = le32toh(request->cmd.cdw10) & 0xffff;
    NvmeCq *cq = id && id < ctrl->queue_count ? ctrl->cqs[id] : NULL;
    if (!cq) {
        return NVME_INVALID_QID | NVME_DNR;
    }
    if (cq->submitters) {
        return NVME_INVALID_DELETION;
    }
    nvme_cq_free(cq);
    return NVME_SUCCESS;
}

/* ---- The rest ---- */

/* The limit of what a controller must do (5.1): nothing is aborted, and that is said. */
static uint16_t do_abort(NvmeRequest *request)
{
    NvmeCtrl *ctrl = ctrl_of(request);
    uint32_t sqid = le32toh(request->cmd.cdw10) & 0xffff;
    request->result = 1;
    return sqid < ctrl->queue_count && ctrl->sqs[sqid] ? NVME_SUCCESS
                                                       : NVME_INVALID_FIELD | NVME_DNR;
}

static uint16_t doorbell_buffer(NvmeRequest *request)
{
    NvmeCtrl *ctrl = ctrl_of(request);
    AddressSpace *memory = ctrl->pci.dev.machine->memory;
    uint64_t shadow = le64toh(request->cmd.prp1), event = le64toh(request->cmd.prp2);
    if (shadow % NVME_PAGE || event % NVME_PAGE ||
        !dma_translate(memory, shadow, NVME_PAGE, true) ||
        !dma_translate(memory, event, NVME_PAGE, true)) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    ctrl->shadow_address = shadow;
    ctrl->event_address = event;
    __atomic_store_n(&ctrl->shadow, true, __ATOMIC_RELEASE);
    nvme_shadow_attach(ctrl, true);
    event_loop_post(event_loop_main(), &ctrl->bind_task);
    return NVME_SUCCESS;
}

uint16_t nvme_admin(NvmeRequest *request)
{
    if (NVME_FLAG_FUSE(request->cmd.flags)) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    switch (request->cmd.opcode) {
    case NVME_ADMIN_DELETE_SQ:
        return delete_sq(request);
    case NVME_ADMIN_CREATE_SQ:
        return create_sq(request);
    case NVME_ADMIN_GET_LOG:
        return nvme_get_log(request);
    case NVME_ADMIN_DELETE_CQ:
        return delete_cq(request);
    case NVME_ADMIN_CREATE_CQ:
        return create_cq(request);
    case NVME_ADMIN_IDENTIFY:
        return nvme_identify(request);
    case NVME_ADMIN_ABORT:
        return do_abort(request);
    case NVME_ADMIN_SET_FEATURES:
        return nvme_set_features(request);
    case NVME_ADMIN_GET_FEATURES:
        return nvme_get_features(request);
    case NVME_ADMIN_ASYNC_EVENT:
        return nvme_async_event(request);
    case NVME_ADMIN_DOORBELL_BUFFER:
        return doorbell_buffer(request);
    case NVME_ADMIN_FORMAT:
        return nvme_format(request);
    default:
        return NVME_INVALID_OPCODE | NVME_DNR;
    }
}
