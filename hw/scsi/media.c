/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Readiness, motors, trays and door locks: what units with removable media have (SPC-4, MMC-5). */
#include "hw/scsi/internal.h"

enum { EVENT_NONE = 0, EVENT_EJECT_REQUEST = 1, EVENT_NEW_MEDIA = 2, EVENT_MEDIA_REMOVAL = 3 };

static void set_event(ScsiLun *lun, uint8_t event)
{
    g_mutex_lock(&lun->lock);
    lun->mode.event = event;
    g_mutex_unlock(&lun->lock);
}

/* ---- What the user does; main thread ---- */

static void on_resized(void *opaque)
{
    ScsiLun *lun = opaque;
    scsi_lun_attention(lun, SCSI_UA_CAPACITY);
    scsi_bus_changed(lun, SENSE_CAPACITY_CHANGED);
}

static void on_media_changed(void *opaque, bool loaded)
{
    ScsiLun *lun = opaque;
    set_event(lun, loaded ? EVENT_NEW_MEDIA : EVENT_MEDIA_REMOVAL);
    if (loaded) {
        scsi_lun_attention(lun, SCSI_UA_MEDIUM);
    }
    scsi_bus_changed(lun, loaded ? SENSE_MEDIUM_CHANGED : SENSE_NO_MEDIUM);
}

static void on_eject_request(void *opaque, bool force)
{
    ScsiLun *lun = opaque;
    set_event(lun, EVENT_EJECT_REQUEST);
    if (force) {
        g_mutex_lock(&lun->lock);
        lun->mode.prevented = false;
        g_mutex_unlock(&lun->lock);
        block_backend_set_locked(lun->disk->backend, false);
    }
}

static const BlockBackendEvents fixed_events = { .resized = on_resized };
static const BlockBackendEvents removable_events = {
    .resized = on_resized,
    .media_changed = on_media_changed,
    .eject_request = on_eject_request,
};

void scsi_media_events_init(ScsiLun *lun)
{
    bool removable = lun->has_tray || lun->identity->removable;
    block_backend_set_events(lun->disk->backend, removable ? &removable_events : &fixed_events,
                             lun);
}

/* ---- Commands ---- */

void scsi_run_test_ready(ScsiRequest *request)
{
    /* The medium is there: the core looked. */
    if (request->lun->mode.stopped && !request->lun->has_tray) {
        scsi_fail(request, SENSE(SCSI_NOT_READY, 0x04, 2)); /* initializing command required */
        return;
    }
    scsi_good(request);
}

static bool eject(ScsiRequest *request)
{
    ScsiLun *lun = request->lun;
    if (lun->mode.prevented) {
        scsi_fail(request, scsi_medium_loaded(lun) ? SENSE_REMOVAL_PREVENTED
                                                   : SENSE(SCSI_NOT_READY, 0x53, 2));
        return false;
    }
    block_backend_set_tray(lun->disk->backend, true);
    return true;
}

void scsi_run_start_stop(ScsiRequest *request)
{
    ScsiLun *lun = request->lun;
    bool start = request->cdb[4] & 1, load_eject = request->cdb[4] & 2;
    if (request->cdb[4] >> 4) { /* power conditions: taken, and nothing to do */
        scsi_good(request);
        return;
    }
    if (load_eject && lun->has_tray) {
        bool was_open = block_backend_tray_open(lun->disk->backend);
        if (!start && !was_open && !eject(request)) {
            return;
        }
        if (start && was_open) {
            block_backend_set_tray(lun->disk->backend, false);
            if (block_backend_inserted(lun->disk->backend)) {
                scsi_lun_attention(lun, SCSI_UA_MEDIUM);
                set_event(lun, EVENT_NEW_MEDIA);
            }
        }
    }
    g_mutex_lock(&lun->lock);
    lun->mode.stopped = !start;
    g_mutex_unlock(&lun->lock);
    scsi_good(request);
}

void scsi_run_prevent_allow(ScsiRequest *request)
{
    ScsiLun *lun = request->lun;
    bool prevent = request->cdb[4] & 1;
    g_mutex_lock(&lun->lock);
    lun->mode.prevented = prevent;
    g_mutex_unlock(&lun->lock);
    block_backend_set_locked(lun->disk->backend, prevent);
    scsi_good(request);
}

/* GET EVENT STATUS NOTIFICATION (MMC-5, 6.6): polled, events of the medium only. */
void scsi_run_get_event_status(ScsiRequest *request)
{
    enum { CLASS_MEDIA = 4 };
    ScsiLun *lun = request->lun;
    if (!(request->cdb[1] & 1)) { /* asynchronous */
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    uint8_t *reply = scsi_reply_new(request, 8);
    reply[3] = 1 << CLASS_MEDIA;
    if (!(request->cdb[4] & 1 << CLASS_MEDIA)) {
        reply[1] = 2;
        reply[2] = 0x80; /* no event of the classes asked for */
        scsi_reply(request, 4);
        return;
    }
    g_mutex_lock(&lun->lock);
    uint8_t event = lun->mode.event;
    lun->mode.event = EVENT_NONE;
    g_mutex_unlock(&lun->lock);
    reply[1] = 6;
    reply[2] = CLASS_MEDIA;
    reply[4] = event;
    reply[5] = block_backend_tray_open(lun->disk->backend)  ? 1
               : block_backend_inserted(lun->disk->backend) ? 2
                                                            : 0;
    scsi_reply(request, 8);
}
