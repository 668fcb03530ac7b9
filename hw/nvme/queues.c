/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NVMe queues (NVMe 1.4, 4.1): fetching, completing, interrupts, shadow doorbells. On the loop. */
#include <string.h>
#include <sys/mman.h>
#include "hw/nvme/nvme.h"
#include "vmm/trace/trace-device.h"
#include "vmm/util/bytes.h"

#define SHADOW_SLOT   4 /* bytes: CAP.DSTRD is 0 */
#define SHADOW_QUEUES (NVME_PAGE / SHADOW_SLOT / 2)

#define COMMANDS_FIRST 8 /* of a batch: the disk begins with them */

/* ---- Shared words ---- */

static inline uint32_t load_word(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store_event_index(NvmeCtrl *ctrl, uint32_t *where, unsigned slot, uint32_t value)
{
    __atomic_store_n(where, value, __ATOMIC_RELEASE);
    dma_dirty(ctrl->pci.dev.machine->memory, ctrl->event_address + slot * SHADOW_SLOT, SHADOW_SLOT);
}

/* ---- Making ---- */

static void *map_untouched(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static size_t long_iovs_bytes(const NvmeSq *sq)
{
    return (size_t)sq->pool_size * NVME_MAX_IOV * sizeof(struct iovec);
}

/* The pool is mapped and stays untouched beyond the depth that the guest really uses. */
static bool pool_make(NvmeSq *sq)
{
    /* Event requests stay with the controller: the admin queue has that many more. */
    sq->pool_size = sq->size + (sq->id == 0 ? sq->ctrl->aerl + 2u : 0);
    sq->requests = map_untouched(sq->pool_size * sizeof(NvmeRequest));
    sq->long_iovs = map_untouched(long_iovs_bytes(sq));
    return sq->requests && sq->long_iovs;
}

static void run_task(void *opaque)
{
    nvme_sq_run(opaque);
}

static void doorbell_live(NvmeDoorbell *doorbell, bool live)
{
    doorbell->waiting = false;
    __atomic_store_n(&doorbell->value, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&doorbell->live, live, __ATOMIC_RELEASE);
}

static void shadow_sq(NvmeSq *sq)
{
    NvmeCtrl *ctrl = sq->ctrl;
    AddressSpace *memory = ctrl->pci.dev.machine->memory;
    if (!ctrl->shadow || sq->id == 0 || sq->id >= SHADOW_QUEUES) {
        return;
    }
    unsigned at = 2 * sq->id * SHADOW_SLOT;
    sq->shadow_tail = dma_translate(memory, ctrl->shadow_address + at, SHADOW_SLOT, true);
    sq->event_index = dma_translate(memory, ctrl->event_address + at, SHADOW_SLOT, true);
}

static void shadow_cq(NvmeCq *cq)
{
    NvmeCtrl *ctrl = cq->ctrl;
    AddressSpace *memory = ctrl->pci.dev.machine->memory;
    if (!ctrl->shadow || cq->id == 0 || cq->id >= SHADOW_QUEUES) {
        return;
    }
    unsigned at = (2 * cq->id + 1) * SHADOW_SLOT;
    cq->shadow_head = dma_translate(memory, ctrl->shadow_address + at, SHADOW_SLOT, true);
    cq->event_index = dma_translate(memory, ctrl->event_address + at, SHADOW_SLOT, true);
}

NvmeSq *nvme_sq_new(NvmeCtrl *ctrl, uint16_t id, NvmeCq *cq, uint64_t address, uint32_t size)
{
    NvmeSq *sq = g_new0(NvmeSq, 1);
    *sq = (NvmeSq){ .ctrl = ctrl,
                    .cq = cq,
                    .id = id,
                    .size = size,
                    .address = address,
                    .doorbell = &ctrl->doorbells[2 * id],
                    .run_task = LOOP_TASK_INIT(run_task, sq) };
    sq->ring = dma_translate(ctrl->pci.dev.machine->memory, address,
                             (uint64_t)size * sizeof(NvmeCommand), false);
    if (!sq->ring || !pool_make(sq)) {
        sq->cq = NULL;
        nvme_sq_free(sq);
        return NULL;
    }
    for (unsigned i = 0; i < sq->pool_size; i++) {
        NvmeRequest *request = &sq->requests[sq->pool_size - 1 - i];
        request->next = sq->free;
        sq->free = request;
    }
    cq->submitters++;
    ctrl->sqs[id] = sq;
    ctrl->active[ctrl->active_count++] = sq;
    doorbell_live(sq->doorbell, true);
    shadow_sq(sq);
    return sq;
}

NvmeCq *nvme_cq_new(NvmeCtrl *ctrl, uint16_t id, uint64_t address, uint32_t size, uint16_t vector,
                    bool interrupts)
{
    uint8_t *ring = dma_translate(ctrl->pci.dev.machine->memory, address,
                                  (uint64_t)size * sizeof(NvmeCompletion), true);
    if (!ring) {
        return NULL;
    }
    NvmeCq *cq = g_new0(NvmeCq, 1);
    *cq = (NvmeCq){ .ctrl = ctrl,
                    .id = id,
                    .vector = vector,
                    .interrupts = interrupts,
                    .phase = true,
                    .size = size,
                    .address = address,
                    .ring = ring,
                    .doorbell = &ctrl->doorbells[2 * id + 1],
                    .waiting_tail = &cq->waiting };
    ctrl->cqs[id] = cq;
    doorbell_live(cq->doorbell, true);
    shadow_cq(cq);
    return cq;
}

/* What waits for room in a completion queue that this queue's commands go to is lost with it. */
static void drop_waiting(NvmeSq *sq)
{
    NvmeCq *cq = sq->cq;
    NvmeRequest **link = &cq->waiting;
    while (*link) {
        if ((*link)->sq == sq) {
            *link = (*link)->next;
        } else {
            link = &(*link)->next;
        }
    }
    cq->waiting_tail = link;
}

void nvme_sq_free(NvmeSq *sq)
{
    NvmeCtrl *ctrl = sq->ctrl;
    if (sq->cq) {
        drop_waiting(sq);
        sq->cq->submitters--;
        doorbell_live(sq->doorbell, false);
        ctrl->sqs[sq->id] = NULL;
        for (unsigned i = 0; i < ctrl->active_count; i++) {
            if (ctrl->active[i] == sq) {
                ctrl->active[i] = ctrl->active[--ctrl->active_count];
                break;
            }
        }
        event_loop_cancel_task(ctrl->loop, &sq->run_task);
    }
    if (sq->requests) {
        for (unsigned i = 0; i < sq->pool_size; i++) {
            if (sq->requests[i].buffer) {
                g_free(sq->requests[i].buffer);
            }
        }
        munmap(sq->requests, sq->pool_size * sizeof(NvmeRequest));
    }
    if (sq->long_iovs) {
        munmap(sq->long_iovs, long_iovs_bytes(sq));
    }
    g_free(sq);
}

void nvme_cq_free(NvmeCq *cq)
{
    NvmeCtrl *ctrl = cq->ctrl;
    doorbell_live(cq->doorbell, false);
    ctrl->cqs[cq->id] = NULL;
    ctrl->unposted -= cq->posted;
    g_free(cq);
    nvme_update_intx(ctrl);
}

void nvme_queues_free(NvmeCtrl *ctrl)
{
    while (ctrl->active_count) {
        nvme_sq_free(ctrl->active[0]);
    }
    for (unsigned i = 0; i < ctrl->queue_count; i++) {
        if (ctrl->cqs[i]) {
            nvme_cq_free(ctrl->cqs[i]);
        }
    }
}

/* ---- Requests ---- */

NvmeRequest *nvme_request_get(NvmeSq *sq)
{
    NvmeRequest *request = sq->free;
    if (!request) {
        sq->starved = true;
        return NULL;
    }
    sq->free = request->next;
    request->sq = sq;
    request->ns = NULL;
    request->next = NULL;
    request->result = 0;
    request->busy = true;
    request->iov = request->inline_iov;
    request->iov_count = 0;
    sq->inflight++;
    sq->ctrl->inflight++;
    return request;
}

void nvme_request_park(NvmeRequest *request)
{
    request->sq->inflight--;
    request->sq->ctrl->inflight--;
}

void nvme_request_unpark(NvmeRequest *request)
{
    request->sq->inflight++;
    request->sq->ctrl->inflight++;
}

/* Back into the pool; it is not in flight any more. */
void nvme_request_put(NvmeRequest *request)
{
    NvmeSq *sq = request->sq;
    if (G_UNLIKELY(request->buffer)) {
        g_clear_pointer(&request->buffer, g_free);
    }
    request->busy = false;
    request->next = sq->free;
    sq->free = request;
    if (G_UNLIKELY(sq->starved)) {
        sq->starved = false;
        event_loop_post(sq->ctrl->loop, &sq->run_task);
    }
}

/* ---- Completion queues ---- */

static void bad_doorbell(NvmeCtrl *ctrl, bool *reported, uint8_t info)
{
    if (!*reported) {
        *reported = true;
        nvme_event(ctrl, NVME_EVENT_ERROR, info, NVME_LOG_ERROR);
    }
}

/* Takes over the head that the driver wrote. */
static void cq_reload_head(NvmeCq *cq)
{
    uint32_t head = load_word(cq->shadow_head ? cq->shadow_head : &cq->doorbell->value);
    if (G_UNLIKELY(head >= cq->size)) {
        bad_doorbell(cq->ctrl, &cq->bad_head, NVME_ERROR_DOORBELL_VALUE);
        return;
    }
    cq->bad_head = false;
    cq->head = head;
}

static inline bool cq_full(const NvmeCq *cq)
{
    return (cq->tail + 1 == cq->size ? 0 : cq->tail + 1) == cq->head;
}

/* Whether there is room; if not, the driver's next move of the head wakes us. */
static bool cq_has_room(NvmeCq *cq)
{
    if (G_LIKELY(!cq_full(cq))) {
        return true;
    }
    cq_reload_head(cq);
    if (!cq_full(cq)) {
        return true;
    }
    __atomic_store_n(&cq->doorbell->waiting, true, __ATOMIC_RELAXED);
    if (cq->event_index) {
        store_event_index(cq->ctrl, cq->event_index, 2 * cq->id + 1, cq->head);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    cq_reload_head(cq);
    if (!cq_full(cq)) {
        __atomic_store_n(&cq->doorbell->waiting, false, __ATOMIC_RELAXED);
        return true;
    }
    return false;
}

static void post_entry(NvmeCq *cq, const NvmeRequest *request)
{
    NvmeCtrl *ctrl = cq->ctrl;
    NvmeCompletion *entry = (NvmeCompletion *)(cq->ring + cq->tail * sizeof(NvmeCompletion));
    entry->dw0 = request->result;
    entry->dw1 = 0;
    entry->sq_head = request->sq->head;
    entry->sq_id = request->sq->id;
    entry->cid = request->cmd.cid;
    uint16_t status = request->status << 1 | cq->phase;
    __atomic_store_n(&entry->status, status, __ATOMIC_RELEASE);
    if (G_UNLIKELY(dma_logging())) {
        dma_dirty(ctrl->pci.dev.machine->memory, cq->address + cq->tail * sizeof(*entry),
                  sizeof(*entry));
    }
    if (++cq->tail == cq->size) {
        cq->tail = 0;
        cq->phase = !cq->phase;
    }
    if (cq->interrupts && !cq->posted) {
        cq->posted = true;
        if (ctrl->unposted++ == 0) {
            event_loop_defer(ctrl->loop, &ctrl->flush_task);
        }
    }
}

void nvme_cq_drain_waiting(NvmeCq *cq)
{
    __atomic_store_n(&cq->doorbell->waiting, false, __ATOMIC_RELAXED);
    while (cq->waiting && cq_has_room(cq)) {
        NvmeRequest *request = cq->waiting;
        cq->waiting = request->next;
        if (!cq->waiting) {
            cq->waiting_tail = &cq->waiting;
        }
        post_entry(cq, request);
        nvme_request_put(request);
    }
}

static void deletion_finish(NvmeSq *sq)
{
    NvmeRequest *deletion = sq->deletion;
    nvme_sq_free(sq);
    nvme_complete(deletion, NVME_SUCCESS);
}

void nvme_complete(NvmeRequest *request, uint16_t status)
{
    NvmeSq *sq = request->sq;
    NvmeCtrl *ctrl = sq->ctrl;
    NvmeCq *cq = sq->cq;
    trace_nvme_complete(sq->id, le16toh(request->cmd.cid), status);
    request->status = status;
    nvme_request_park(request);
    if (G_UNLIKELY(status)) {
        nvme_error_record(ctrl, sq->id, request->cmd.cid, status);
    }
    if (G_UNLIKELY(ctrl->stopping)) {
        nvme_request_put(request);
        if (ctrl->inflight == 0) {
            nvme_stop_finish(ctrl);
        }
        return;
    }
    if (G_LIKELY(!cq->waiting && cq_has_room(cq))) {
        post_entry(cq, request);
        nvme_request_put(request);
    } else {
        request->next = NULL;
        *cq->waiting_tail = request;
        cq->waiting_tail = &request->next;
    }
    if (G_UNLIKELY(sq->deletion && sq->inflight == 0)) {
        deletion_finish(sq);
    }
}

/* ---- Interrupts ---- */

void nvme_update_intx(NvmeCtrl *ctrl)
{
    uint32_t status = 0;
    for (unsigned i = 0; !msix_enabled(&ctrl->pci) && i < ctrl->queue_count; i++) {
        NvmeCq *cq = ctrl->cqs[i];
        if (cq && cq->interrupts) {
            cq_reload_head(cq);
            if (cq->event_index) {
                store_event_index(ctrl, cq->event_index, 2 * cq->id + 1, cq->head);
                __atomic_thread_fence(__ATOMIC_SEQ_CST);
                cq_reload_head(cq);
            }
            status |= cq->head != cq->tail ? 1u << (cq->vector & 31) : 0;
        }
    }
    g_mutex_lock(&ctrl->intx_lock);
    ctrl->irq_status = status;
    pci_set_irq(&ctrl->pci, (status & ~ctrl->intms) != 0);
    g_mutex_unlock(&ctrl->intx_lock);
}

void nvme_flush(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    bool messages = msix_enabled(&ctrl->pci);
    if (!ctrl->unposted) {
        return;
    }
    for (unsigned i = 0; ctrl->unposted && i < ctrl->queue_count; i++) {
        NvmeCq *cq = ctrl->cqs[i];
        if (!cq || !cq->posted) {
            continue;
        }
        cq->posted = false;
        ctrl->unposted--;
        if (messages) {
            msix_notify(&ctrl->pci, cq->vector);
        }
    }
    if (!messages) {
        nvme_update_intx(ctrl);
    }
}

/* ---- Submission queues ---- */

static uint32_t sq_tail(NvmeSq *sq)
{
    uint32_t tail = load_word(sq->shadow_tail ? sq->shadow_tail : &sq->doorbell->value);
    if (G_UNLIKELY(tail >= sq->size)) {
        bad_doorbell(sq->ctrl, &sq->bad_tail, NVME_ERROR_DOORBELL_VALUE);
        return sq->head;
    }
    sq->bad_tail = false;
    return tail;
}

/* Asks a driver with shadow doorbells to ring from here on; true: something came meanwhile. */
static bool sq_listen(NvmeSq *sq)
{
    if (!sq->event_index || sq->ctrl->polling) {
        return false;
    }
    store_event_index(sq->ctrl, sq->event_index, 2 * sq->id, sq->head);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return sq_tail(sq) != sq->head;
}

static void sq_take_one(NvmeSq *sq, NvmeRequest *request)
{
    memcpy(&request->cmd, sq->ring + (size_t)sq->head * sizeof(NvmeCommand), sizeof(NvmeCommand));
    trace_nvme_command(sq->id, le16toh(request->cmd.cid), request->cmd.opcode);
    sq->head = sq->head + 1 == sq->size ? 0 : sq->head + 1;
    uint16_t status = sq->id ? nvme_io(request) : nvme_admin(request);
    if (status != NVME_PENDING) {
        nvme_complete(request, status);
    }
}

/* Takes what is there, a queue's length at most: then the loop's others have their turn. */
void nvme_sq_run(NvmeSq *sq)
{
    NvmeCtrl *ctrl = sq->ctrl;
    unsigned budget = sq->size, taken = 0;
    do {
        uint32_t tail = sq_tail(sq);
        while (sq->head != tail) {
            if (!nvme_may_run(ctrl) || sq->deletion) {
                return;
            }
            if (budget-- == 0) {
                event_loop_post(ctrl->loop, &sq->run_task);
                return;
            }
            NvmeRequest *request = nvme_request_get(sq);
            if (!request) {
                return;
            }
            sq_take_one(sq, request);
            if (++taken == COMMANDS_FIRST) {
                event_loop_hand_over(ctrl->loop);
            }
        }
    } while (sq_listen(sq));
}

void nvme_run_all(NvmeCtrl *ctrl)
{
    /* A run may end queues (a deletion): the last of the list then takes the place. */
    for (unsigned i = ctrl->active_count; i-- > 0;) {
        if (i < ctrl->active_count) {
            nvme_sq_run(ctrl->active[i]);
        }
    }
}

void nvme_doorbell_rung(void *opaque)
{
    NvmeDoorbell *doorbell = opaque;
    NvmeCtrl *ctrl = doorbell->ctrl;
    unsigned id = doorbell->index / 2;
    if (!ctrl->running) {
        return;
    }
    if (doorbell->index & 1 ? !ctrl->cqs[id] : !ctrl->sqs[id]) {
        nvme_event(ctrl, NVME_EVENT_ERROR, NVME_ERROR_DOORBELL_REGISTER, NVME_LOG_ERROR);
    } else if (doorbell->index & 1) {
        NvmeCq *cq = ctrl->cqs[id];
        cq_reload_head(cq);
        nvme_cq_drain_waiting(cq);
        if (!msix_enabled(&ctrl->pci)) {
            nvme_update_intx(ctrl);
        }
    } else {
        nvme_sq_run(ctrl->sqs[id]);
    }
}

/* ---- Shadow doorbells (NVMe 1.4, 5.7 and 7.13) ---- */

void nvme_shadow_attach(NvmeCtrl *ctrl, bool fresh)
{
    for (unsigned i = 1; i < ctrl->queue_count && i < SHADOW_QUEUES; i++) {
        NvmeSq *sq = ctrl->sqs[i];
        NvmeCq *cq = ctrl->cqs[i];
        if (sq) {
            shadow_sq(sq);
        }
        if (sq && fresh && sq->shadow_tail) {
            __atomic_store_n(sq->shadow_tail, load_word(&sq->doorbell->value), __ATOMIC_RELEASE);
            store_event_index(ctrl, sq->event_index, 2 * i, sq->head);
        }
        if (cq) {
            shadow_cq(cq);
        }
        if (cq && fresh && cq->shadow_head) {
            __atomic_store_n(cq->shadow_head, load_word(&cq->doorbell->value), __ATOMIC_RELEASE);
            store_event_index(ctrl, cq->event_index, 2 * i + 1, cq->head);
        }
    }
}

/* ---- Busy polling ---- */

static bool poller_poll(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    bool found = false;
    if (!nvme_may_run(ctrl)) {
        return false;
    }
    for (unsigned i = 0; i < ctrl->active_count; i++) {
        NvmeSq *sq = ctrl->active[i];
        if (!sq->starved && !sq->deletion && sq_tail(sq) != sq->head) {
            nvme_sq_run(sq);
            found = true;
        }
    }
    return found;
}

static void poller_begin(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    __atomic_store_n(&ctrl->polling, true, __ATOMIC_RELAXED);
}

static bool poller_end(void *opaque)
{
    NvmeCtrl *ctrl = opaque;
    bool found = false;
    __atomic_store_n(&ctrl->polling, false, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < ctrl->active_count; i++) {
        NvmeSq *sq = ctrl->active[i];
        found |= !sq->starved && !sq->deletion && (sq_listen(sq) || sq_tail(sq) != sq->head);
    }
    return found && nvme_may_run(ctrl);
}

void nvme_poller_add(NvmeCtrl *ctrl)
{
    if (!ctrl->poller_added) {
        ctrl->poller = (LoopPoller){
            .poll = poller_poll, .begin = poller_begin, .end = poller_end, .opaque = ctrl
        };
        loop_poller_add(&ctrl->poller, ctrl->loop);
        ctrl->poller_added = true;
    }
}

void nvme_poller_remove(NvmeCtrl *ctrl)
{
    if (ctrl->poller_added) {
        loop_poller_remove(&ctrl->poller);
        ctrl->poller_added = false;
        __atomic_store_n(&ctrl->polling, false, __ATOMIC_RELEASE);
    }
}
