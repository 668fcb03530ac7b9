/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-scsi: task management, events, units that come and go (VIRTIO 1.2, 5.6.6.2 and 5.6.6.3).
 *
 * A task management function looks for its requests on the loop of each request queue and ends
 * when the last of those that it cancelled has ended. Every loop that has to do with it, and every
 * request that it waits for, holds one count of it.
 */
#include <string.h>
#include "hw/virtio/scsi.h"
#include "hw/virtio/virtqueue-internal.h"
#include "vmm/util/bytes.h"

enum { CONTROL_TMF = 0, CONTROL_AN_QUERY = 1, CONTROL_AN_SUBSCRIBE = 2 };

enum {
    TMF_ABORT_TASK = 0,
    TMF_ABORT_TASK_SET = 1,
    TMF_CLEAR_ACA = 2,
    TMF_CLEAR_TASK_SET = 3,
    TMF_NEXUS_RESET = 4,
    TMF_UNIT_RESET = 5,
    TMF_QUERY_TASK = 6,
    TMF_QUERY_TASK_SET = 7,
};

enum { EVENT_NONE = 0, EVENT_TRANSPORT_RESET = 1, EVENT_PARAM_CHANGE = 3 };
enum { RESET_RESCAN = 1, RESET_REMOVED = 2 };
#define EVENTS_MISSED 0x80000000U

typedef struct ControlRequest {
    VirtqRequest vr;
    uint32_t subtype;
    uint64_t tag;
    uint8_t lun[8];
    ScsiAddress address;
    unsigned pending; /* atomic */
    bool found;       /* atomic: a request that matches was there */
    LoopTask end_task;
    struct QueueTask *queue_tasks;
} ControlRequest;

typedef struct QueueTask {
    LoopTask task;
    ControlRequest *control;
    unsigned queue;
} QueueTask;

size_t virtio_scsi_control_size(void)
{
    return sizeof(ControlRequest);
}

/* ---- Task management ---- */

static void answer(ControlRequest *control, uint8_t response)
{
    virtq_push(&control->vr, virtq_write(&control->vr, 0, &response, 1));
}

static void reset_units(VirtioScsi *scsi, const ControlRequest *control)
{
    uint32_t luns[256];
    ScsiAddress address = control->address;
    unsigned count = 1;
    luns[0] = address.lun;
    if (control->subtype == TMF_NEXUS_RESET) {
        count = scsi_bus_luns(scsi->bus, address, luns, G_N_ELEMENTS(luns));
    }
    for (unsigned i = 0; i < count; i++) {
        address.lun = luns[i];
        ScsiLun *lun = scsi_bus_find(scsi->bus, address);
        if (lun && lun->disk) { /* not the target itself */
            scsi_lun_reset(lun, false);
        }
    }
}

/* Control loop: all its requests have ended. */
static void end_control(void *opaque)
{
    ControlRequest *control = opaque;
    bool query = control->subtype == TMF_QUERY_TASK || control->subtype == TMF_QUERY_TASK_SET;
    if (control->subtype == TMF_UNIT_RESET || control->subtype == TMF_NEXUS_RESET) {
        reset_units((VirtioScsi *)control->vr.vq->vdev, control);
    }
    g_clear_pointer(&control->queue_tasks, g_free);
    bool found = __atomic_load_n(&control->found, __ATOMIC_ACQUIRE);
    answer(control, query && found ? VIRTIO_SCSI_S_SUCCEEDED : VIRTIO_SCSI_S_OK);
}

static void put_control(ControlRequest *control)
{
    if (__atomic_sub_fetch(&control->pending, 1, __ATOMIC_ACQ_REL) == 0) {
        event_loop_post(control->vr.vq->loop, &control->end_task);
    }
}

void virtio_scsi_command_ended(ScsiCommandRequest *command)
{
    GSList *waiters = g_steal_pointer(&command->waiters);
    for (GSList *item = waiters; item; item = item->next) {
        put_control(item->data);
    }
    g_slist_free(waiters);
}

static bool matches(const ControlRequest *control, const ScsiCommandRequest *command)
{
    const ScsiAddress *a = &control->address, *b = &command->scsi.address;
    if (a->target != b->target) {
        return false;
    }
    switch (control->subtype) {
    case TMF_NEXUS_RESET:
        return true;
    case TMF_ABORT_TASK:
    case TMF_QUERY_TASK:
        return a->lun == b->lun && control->tag == command->tag;
    default:
        return a->lun == b->lun;
    }
}

/* On the loop of a request queue. */
static void visit_queue(void *opaque)
{
    QueueTask *visit = opaque;
    ControlRequest *control = visit->control;
    VirtioScsi *scsi = (VirtioScsi *)control->vr.vq->vdev;
    bool query = control->subtype == TMF_QUERY_TASK || control->subtype == TMF_QUERY_TASK_SET;
    bool reset = control->subtype == TMF_UNIT_RESET || control->subtype == TMF_NEXUS_RESET;
    for (ScsiCommandRequest *command = scsi->inflight[visit->queue]; command;
         command = command->next) {
        if (!matches(control, command)) {
            continue;
        }
        __atomic_store_n(&control->found, true, __ATOMIC_RELEASE);
        if (!query) {
            command->by_reset |= reset;
            command->waiters = g_slist_prepend(command->waiters, control);
            __atomic_add_fetch(&control->pending, 1, __ATOMIC_ACQ_REL);
            scsi_request_cancel(&command->scsi);
        }
    }
    put_control(control);
}

static void visit_queues(ControlRequest *control)
{
    VirtioScsi *scsi = (VirtioScsi *)control->vr.vq->vdev;
    control->end_task = (LoopTask)LOOP_TASK_INIT(end_control, control);
    control->found = false;
    control->pending = scsi->num_queues + 1;
    control->queue_tasks = g_new0(QueueTask, scsi->num_queues);
    for (unsigned i = 0; i < scsi->num_queues; i++) {
        QueueTask *visit = &control->queue_tasks[i];
        visit->control = control;
        visit->queue = i;
        visit->task = (LoopTask)LOOP_TASK_INIT(visit_queue, visit);
        event_loop_post(scsi->queue_loops[i], &visit->task);
    }
    put_control(control);
}

static void task_management(ControlRequest *control, const uint8_t *bytes)
{
    VirtioScsi *scsi = (VirtioScsi *)control->vr.vq->vdev;
    control->subtype = load_le32(bytes + 4);
    control->tag = load_le64(bytes + 16);
    ScsiLun *lun = virtio_scsi_find(scsi, bytes + 8, &control->address);
    if (!lun) {
        answer(control, VIRTIO_SCSI_S_BAD_TARGET);
    } else if (!lun->disk && control->subtype != TMF_NEXUS_RESET) {
        answer(control, VIRTIO_SCSI_S_INCORRECT_LUN);
    } else if (control->subtype > TMF_QUERY_TASK_SET || control->subtype == TMF_CLEAR_ACA) {
        answer(control, VIRTIO_SCSI_S_REJECTED);
    } else {
        visit_queues(control);
    }
}

/* ---- The control queue ---- */

/* Asynchronous notifications: none is supported. */
static void notifications(ControlRequest *control)
{
    uint8_t response[5] = { 0 }; /* no event is there to be had; OK */
    virtq_push(&control->vr, virtq_write(&control->vr, 0, response, sizeof(response)));
}

static bool handle_control(VirtQueue *vq, ControlRequest *control)
{
    uint8_t bytes[24] = { 0 };
    uint32_t len = MIN(control->vr.out_bytes, sizeof(bytes)), room = control->vr.in_bytes;
    bool ok = len >= 4 && virtq_read(&control->vr, bytes, len);
    uint32_t type = load_le32(bytes);
    if (ok && type == CONTROL_TMF && len == 24 && room >= 1) {
        task_management(control, bytes);
    } else if (ok && (type == CONTROL_AN_QUERY || type == CONTROL_AN_SUBSCRIBE) && len >= 16 &&
               room >= 5) {
        notifications(control);
    } else {
        virtq_fault(vq, "a control request of type %u, %u bytes, with %u for its response", type,
                    len, room);
        return false;
    }
    return true;
}

void virtio_scsi_handle_control(VirtQueue *vq)
{
    VirtqRequest *vr;
    while ((vr = virtq_pop(vq))) {
        if (!handle_control(vq, container_of(vr, ControlRequest, vr))) {
            virtq_request_free(vr);
            return;
        }
    }
}

/* ---- Events ---- */

void virtio_scsi_send_event(VirtioScsi *scsi, uint32_t event, uint32_t reason, ScsiAddress address)
{
    unsigned bit = event == EVENT_PARAM_CHANGE ? VIRTIO_SCSI_F_CHANGE : VIRTIO_SCSI_F_HOTPLUG;
    if (!virtio_has_feature(&scsi->vdev, bit)) {
        return;
    }
    g_mutex_lock(&scsi->event_lock);
    if (scsi->event_count < VIRTIO_SCSI_EVENTS) {
        scsi->events[scsi->event_count++] =
            (ScsiEvent){ .event = event, .reason = reason, .address = address };
    } else {
        scsi->events_missed = true;
    }
    g_mutex_unlock(&scsi->event_lock);
    virtq_schedule(&scsi->vdev.queues[SCSI_VQ_EVENT]);
}

static bool has_event(VirtioScsi *scsi)
{
    g_mutex_lock(&scsi->event_lock);
    bool has = scsi->event_count || scsi->events_missed;
    g_mutex_unlock(&scsi->event_lock);
    return has;
}

/* The first event in the driver's form; one that only says that some were missed, when none is. */
static void take_event(VirtioScsi *scsi, uint8_t *data)
{
    ScsiEvent event = { .event = EVENT_NONE };
    memset(data, 0, VIRTIO_SCSI_EVENT_SIZE);
    g_mutex_lock(&scsi->event_lock);
    if (scsi->event_count) {
        event = scsi->events[0];
        scsi->event_count--;
        memmove(scsi->events, scsi->events + 1, scsi->event_count * sizeof(event));
    }
    uint32_t missed = scsi->events_missed ? EVENTS_MISSED : 0;
    scsi->events_missed = false;
    g_mutex_unlock(&scsi->event_lock);
    store_le32(data, event.event | missed);
    if (event.event != EVENT_NONE) {
        data[4] = 1;
        data[5] = event.address.target;
        store_be16(data + 6,
                   event.address.lun < 256 ? event.address.lun : event.address.lun | 0x4000);
    }
    store_le32(data + 12, event.reason);
}

void virtio_scsi_handle_event(VirtQueue *vq)
{
    VirtioScsi *scsi = (VirtioScsi *)vq->vdev;
    if (!vq->started || !virtio_device_may_run(&scsi->vdev)) {
        return;
    }
    while (has_event(scsi)) {
        vq->budget = 1;
        VirtqRequest *request = virtq_pop(vq);
        if (!request) {
            if (virtq_set_notification(vq, true)) {
                continue;
            }
            return;
        }
        uint8_t data[VIRTIO_SCSI_EVENT_SIZE];
        if (request->in_bytes < sizeof(data)) {
            virtq_fault(vq, "an event buffer of %u bytes", request->in_bytes);
            virtq_request_free(request);
            return;
        }
        take_event(scsi, data);
        virtq_push(request, virtq_write(request, 0, data, sizeof(data)));
    }
    virtq_set_notification(vq, false);
}

/* ---- Units; main thread ---- */

static bool hba_attach(void *opaque, ScsiLun *lun, GError **error)
{
    VirtioScsi *scsi = opaque;
    for (unsigned i = 0; i < scsi->num_queues; i++) {
        if (!block_backend_add_loop(lun->disk->backend, scsi->queue_loops[i], error)) {
            return false;
        }
    }
    return true;
}

static void tell_others(ScsiLun *lun, void *opaque)
{
    if (lun != opaque) {
        scsi_lun_attention(lun, SCSI_UA_LUNS);
    }
}

static void hba_plugged(void *opaque, ScsiLun *lun)
{
    VirtioScsi *scsi = opaque;
    if (lun->dev->hotplugged) {
        scsi_bus_foreach(scsi->bus, tell_others, lun);
        virtio_scsi_send_event(scsi, EVENT_TRANSPORT_RESET, RESET_RESCAN, lun->address);
    }
}

typedef struct CancelAll {
    VirtioScsi *scsi;
    const ScsiLun *lun;
    unsigned queue;
} CancelAll;

static void cancel_all(void *opaque)
{
    CancelAll *all = opaque;
    for (ScsiCommandRequest *command = all->scsi->inflight[all->queue]; command;
         command = command->next) {
        if (command->scsi.lun == all->lun) {
            command->by_reset = true;
            scsi_request_cancel(&command->scsi);
        }
    }
}

static void nothing(void *opaque)
{
}

void virtio_scsi_barrier(VirtioScsi *scsi)
{
    event_loop_call(scsi->vdev.queues[SCSI_VQ_CONTROL].loop, nothing, NULL);
    for (unsigned i = 0; i < scsi->num_queues; i++) {
        if (i == 0 || scsi->queue_loops[i] != scsi->queue_loops[i - 1]) {
            event_loop_call(scsi->queue_loops[i], nothing, NULL);
        }
    }
}

/* A vCPU that resets the device walks over the units with the device's lock held. */
static void hba_barrier(void *opaque)
{
    VirtioScsi *scsi = opaque;
    virtio_scsi_barrier(scsi);
    g_mutex_lock(&scsi->vdev.dev->lock);
    g_mutex_unlock(&scsi->vdev.dev->lock);
}

static void hba_detach(void *opaque, ScsiLun *lun)
{
    VirtioScsi *scsi = opaque;
    for (unsigned i = 0; i < scsi->num_queues; i++) {
        CancelAll all = { scsi, lun, i };
        event_loop_call(scsi->queue_loops[i], cancel_all, &all);
    }
    scsi_lun_drain(lun, true);
    virtio_scsi_barrier(scsi); /* ends that were put off to the end of a round */
    virtio_scsi_barrier(scsi);
    scsi_bus_foreach(scsi->bus, tell_others, NULL);
    virtio_scsi_send_event(scsi, EVENT_TRANSPORT_RESET, RESET_REMOVED, lun->address);
}

static void hba_changed(void *opaque, ScsiLun *lun, ScsiSense sense)
{
    virtio_scsi_send_event(opaque, EVENT_PARAM_CHANGE, sense.asc | (uint32_t)sense.ascq << 8,
                           lun->address);
}

const ScsiHba virtio_scsi_hba = {
    .max_target = VIRTIO_SCSI_MAX_TARGET,
    .max_lun = SCSI_LUN_MAX,
    .autosense = true,
    .attach = hba_attach,
    .plugged = hba_plugged,
    .detach = hba_detach,
    .barrier = hba_barrier,
    .changed = hba_changed,
};
