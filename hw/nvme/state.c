/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State of an NVMe controller: its registers, queues by guest address, and the commands that it
 * took and has not completed: those are carried out once more, from the beginning. Main thread but
 * where said.
 */
#include <string.h>
#include "hw/nvme/nvme.h"
#include "vmm/util/bytes.h"

/* A queue: kind and flags, id, size, head, tail, vector or completion queue, address, doorbell. */
#define QUEUE_RECORD 32
#define QUEUE_IS_CQ  (1u << 0)
#define QUEUE_PHASE  (1u << 1)
#define QUEUE_IEN    (1u << 2)

/* A request: the command; queue, status, dword 0, what became of it. */
#define REQUEST_RECORD 80
enum { REQUEST_AGAIN = 0, REQUEST_DONE = 1, REQUEST_EVENT = 2 };

#define QUEUES_MAX   (2 * 65536 * QUEUE_RECORD)
#define REQUESTS_MAX (64 * 1024 * 1024)

/* ---- Saving ---- */

static void save_sq(const NvmeSq *sq, GByteArray *out)
{
    uint8_t record[QUEUE_RECORD] = { 0 };
    store_le16(record + 2, sq->id);
    store_le16(record + 4, sq->size);
    store_le16(record + 6, sq->head);
    store_le16(record + 10, sq->cq->id);
    store_le64(record + 16, sq->address);
    store_le32(record + 24, __atomic_load_n(&sq->doorbell->value, __ATOMIC_ACQUIRE));
    g_byte_array_append(out, record, sizeof(record));
}

static void save_cq(const NvmeCq *cq, GByteArray *out)
{
    uint8_t record[QUEUE_RECORD] = { 0 };
    store_le16(record,
               QUEUE_IS_CQ | (cq->phase ? QUEUE_PHASE : 0) | (cq->interrupts ? QUEUE_IEN : 0));
    store_le16(record + 2, cq->id);
    store_le16(record + 4, cq->size);
    store_le16(record + 6, cq->head);
    store_le16(record + 8, cq->tail);
    store_le16(record + 10, cq->vector);
    store_le64(record + 16, cq->address);
    store_le32(record + 24, __atomic_load_n(&cq->doorbell->value, __ATOMIC_ACQUIRE));
    g_byte_array_append(out, record, sizeof(record));
}

static void save_request(const NvmeRequest *request, uint16_t kind, GByteArray *out)
{
    uint8_t record[REQUEST_RECORD] = { 0 };
    memcpy(record, &request->cmd, sizeof(request->cmd));
    store_le16(record + 64, request->sq->id);
    store_le16(record + 66, kind);
    store_le16(record + 68, request->status);
    store_le32(record + 72, request->result);
    g_byte_array_append(out, record, sizeof(record));
}

static bool listed(const NvmeRequest *list, const NvmeRequest *request)
{
    while (list && list != request) {
        list = list->next;
    }
    return list != NULL;
}

static void save_in_flight(const NvmeCtrl *ctrl, GByteArray *out)
{
    for (unsigned i = 0; i < ctrl->queue_count; i++) {
        const NvmeSq *sq = ctrl->sqs[i];
        for (unsigned slot = 0; sq && sq->inflight && slot < sq->pool_size; slot++) {
            const NvmeRequest *request = &sq->requests[slot];
            if (request->busy && !listed(sq->cq->waiting, request) &&
                !listed(ctrl->listeners, request)) {
                save_request(request, REQUEST_AGAIN, out);
            }
        }
    }
}

static void pre_save(void *base)
{
    NvmeCtrl *ctrl = base;
    if (ctrl->restore) {
        return; /* never ran since it was loaded: what was saved stays */
    }
    g_autoptr(GByteArray) queues = g_byte_array_new();
    g_autoptr(GByteArray) requests = g_byte_array_new();
    for (unsigned i = 0; i < ctrl->queue_count; i++) {
        if (ctrl->cqs[i]) {
            save_cq(ctrl->cqs[i], queues);
            for (NvmeRequest *r = ctrl->cqs[i]->waiting; r; r = r->next) {
                save_request(r, REQUEST_DONE, requests);
            }
        }
    }
    for (unsigned i = 0; i < ctrl->queue_count; i++) {
        if (ctrl->sqs[i]) {
            save_sq(ctrl->sqs[i], queues);
        }
    }
    for (NvmeRequest *r = ctrl->listeners; r; r = r->next) {
        save_request(r, REQUEST_EVENT, requests);
    }
    save_in_flight(ctrl, requests);
    g_free(ctrl->saved_queues);
    g_free(ctrl->saved_requests);
    ctrl->saved_queues_len = queues->len;
    ctrl->saved_queues = g_byte_array_steal(queues, NULL);
    ctrl->saved_requests_len = requests->len;
    ctrl->saved_requests = g_byte_array_steal(requests, NULL);
}

/* ---- Loading: on the loop, when the machine goes on ---- */

static bool restore_queue(NvmeCtrl *ctrl, const uint8_t *record)
{
    uint16_t flags = load_le16(record), id = load_le16(record + 2);
    uint32_t size = load_le16(record + 4), head = load_le16(record + 6);
    uint32_t tail = load_le16(record + 8), other = load_le16(record + 10);
    uint64_t address = load_le64(record + 16);
    uint32_t most = id ? NVME_MAX_QUEUE_SIZE : 4096;
    if (id >= ctrl->queue_count || size < 2 || size > most || head >= size || tail >= size ||
        address % NVME_PAGE) {
        return false;
    }
    if (flags & QUEUE_IS_CQ) {
        NvmeCq *cq = ctrl->cqs[id] || other >= ctrl->msix_qsize
                         ? NULL
                         : nvme_cq_new(ctrl, id, address, size, other, flags & QUEUE_IEN);
        if (cq) {
            cq->phase = flags & QUEUE_PHASE;
            cq->head = head;
            cq->tail = tail;
            __atomic_store_n(&cq->doorbell->value, load_le32(record + 24), __ATOMIC_RELEASE);
        }
        return cq != NULL;
    }
    NvmeSq *sq = ctrl->sqs[id] || other >= ctrl->queue_count || !ctrl->cqs[other]
                     ? NULL
                     : nvme_sq_new(ctrl, id, ctrl->cqs[other], address, size);
    if (sq) {
        sq->head = head;
        __atomic_store_n(&sq->doorbell->value, load_le32(record + 24), __ATOMIC_RELEASE);
    }
    return sq != NULL;
}

/* Those that were done are queued as they were; the others run again. */
static bool restore_request(NvmeCtrl *ctrl, const uint8_t *record)
{
    uint16_t id = load_le16(record + 64), kind = load_le16(record + 66);
    NvmeSq *sq = id < ctrl->queue_count ? ctrl->sqs[id] : NULL;
    NvmeRequest *request = sq ? nvme_request_get(sq) : NULL;
    if (!request) {
        return false;
    }
    memcpy(&request->cmd, record, sizeof(request->cmd));
    request->result = load_le32(record + 72);
    if (kind == REQUEST_DONE) {
        nvme_complete(request, load_le16(record + 68) & 0x7fff);
        return true;
    }
    uint16_t status = sq->id == 0 ? nvme_admin(request) : nvme_io(request);
    if (status != NVME_PENDING) {
        nvme_complete(request, status);
    }
    return true;
}

static bool restore_all(NvmeCtrl *ctrl)
{
    for (uint32_t at = 0; at + QUEUE_RECORD <= ctrl->saved_queues_len; at += QUEUE_RECORD) {
        if (!restore_queue(ctrl, ctrl->saved_queues + at)) {
            return false;
        }
    }
    if (!ctrl->sqs[0] || !ctrl->cqs[0]) {
        return false;
    }
    for (uint32_t at = 0; at + REQUEST_RECORD <= ctrl->saved_requests_len; at += REQUEST_RECORD) {
        if (!restore_request(ctrl, ctrl->saved_requests + at)) {
            return false;
        }
    }
    return true;
}

void nvme_restore(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    ctrl->restore = false;
    ctrl->page_size = NVME_PAGE << MIN(NVME_CC_MPS(ctrl->cc_active), 4);
    ctrl->running = true;
    if (!restore_all(ctrl)) {
        device_guest_error(&ctrl->pci.dev, "the saved queues do not fit this machine");
        ctrl->running = false;
        __atomic_or_fetch(&ctrl->csts, NVME_CSTS_CFS, __ATOMIC_ACQ_REL);
    }
    g_clear_pointer(&ctrl->saved_queues, g_free);
    g_clear_pointer(&ctrl->saved_requests, g_free);
    ctrl->saved_queues_len = ctrl->saved_requests_len = 0;
}

static bool post_load(void *base, uint16_t version, GError **error)
{
    NvmeCtrl *ctrl = base;
    if (ctrl->event_count > NVME_MAX_EVENTS) {
        return error_set(error, "nvme: %u events kept; %u are possible", ctrl->event_count,
                         NVME_MAX_EVENTS);
    }
    for (unsigned i = 0; i < ctrl->event_count; i++) {
        if (ctrl->events[i].type >= NVME_EVENT_TYPES) {
            return error_set(error, "nvme: an event of type %u", ctrl->events[i].type);
        }
    }
    if (ctrl->shadow && (ctrl->shadow_address % NVME_PAGE || ctrl->event_address % NVME_PAGE)) {
        return error_set(error, "nvme: shadow doorbells that are not at the start of a page");
    }
    ctrl->restore = ctrl->csts & NVME_CSTS_RDY;
    __atomic_store_n(&ctrl->dma_enabled, pci_bus_master(&ctrl->pci), __ATOMIC_RELEASE);
    g_mutex_lock(&ctrl->pci.dev.lock);
    if (ctrl->restore) {
        nvme_use_vectors(ctrl);
    }
    g_mutex_unlock(&ctrl->pci.dev.lock);
    return true;
}

static const StateField event_fields[] = {
    STATE_INT(NvmeEvent, type),
    STATE_INT(NvmeEvent, info),
    STATE_INT(NvmeEvent, log),
    STATE_END,
};
static const StateSection event_state = { .name = "nvme-event",
                                          .version = 1,
                                          .fields = event_fields };

static const StateField error_fields[] = {
    STATE_INT(NvmeErrorEntry, count),
    STATE_INT(NvmeErrorEntry, sqid),
    STATE_INT(NvmeErrorEntry, cid),
    STATE_INT(NvmeErrorEntry, status),
    STATE_END,
};
static const StateSection error_state = { .name = "nvme-error",
                                          .version = 1,
                                          .fields = error_fields };

static const StateField nvme_fields[] = {
    STATE_STRUCT(NvmeCtrl, pci, &pci_device_state),
    STATE_STRUCT(NvmeCtrl, drive, &nvme_namespace_state),
    STATE_INT(NvmeCtrl, cc),
    STATE_INT(NvmeCtrl, cc_active),
    STATE_INT(NvmeCtrl, csts),
    STATE_INT(NvmeCtrl, aqa),
    STATE_INT(NvmeCtrl, asq),
    STATE_INT(NvmeCtrl, acq),
    STATE_INT(NvmeCtrl, intms),
    STATE_INT(NvmeCtrl, irq_status),
    STATE_BOOL(NvmeCtrl, shadow),
    STATE_INT(NvmeCtrl, shadow_address),
    STATE_INT(NvmeCtrl, event_address),
    STATE_INT(NvmeCtrl, temperature_over),
    STATE_INT(NvmeCtrl, temperature_under),
    STATE_INT(NvmeCtrl, async_config),
    STATE_INT(NvmeCtrl, timestamp),
    STATE_INT(NvmeCtrl, timestamp_at),
    STATE_INT(NvmeCtrl, timestamp_origin),
    STATE_BUFFER(NvmeCtrl, host_behavior),
    STATE_STRUCT_ARRAY(NvmeCtrl, events, &event_state),
    STATE_INT(NvmeCtrl, event_count),
    STATE_INT(NvmeCtrl, events_masked),
    STATE_INT(NvmeCtrl, error_count),
    STATE_STRUCT_ARRAY(NvmeCtrl, errors, &error_state),
    STATE_BUFFER(NvmeCtrl, changed),
    STATE_VBUFFER(NvmeCtrl, saved_queues, saved_queues_len, QUEUES_MAX),
    STATE_VBUFFER(NvmeCtrl, saved_requests, saved_requests_len, REQUESTS_MAX),
    STATE_END,
};

const StateSection nvme_state = {
    .name = "nvme",
    .version = 1,
    .fields = nvme_fields,
    .pre_save = pre_save,
    .post_load = post_load,
};
