/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A SCSI unit without an adapter: a drive, a loop, and a request whose windows the test chooses. */
#ifndef TESTS_UNIT_SCSI_UNIT_H
#define TESTS_UNIT_SCSI_UNIT_H

#include "hw/scsi/internal.h"

#define UNIT_WINDOW 8192

typedef struct Unit {
    EventLoop *loop;
    Drive *drive;
    Device dev;
    DiskConf disk;
    ScsiIdentity identity;
    ScsiLun lun;
    ScsiRequest request;
    uint8_t memory[UNIT_WINDOW];
    struct iovec iov[3];
    const uint16_t *sizes; /* of windows, ended by 0: again from the first */
    unsigned size_at;
    unsigned windows_left; /* then the request is left waiting */
    GByteArray *data;      /* what came, or what is to go */
    uint64_t counted;      /* bytes of finished windows */
    GMutex lock;
    GCond cond;
    bool stopped, done; /* waiting; ended */
    unsigned done_count;
} Unit;

static void unit_collect(Unit *unit)
{
    uint64_t bytes = unit->request.moved - unit->counted;
    g_assert_cmpuint(bytes, <=, UNIT_WINDOW);
    if (unit->request.direction == SCSI_DATA_IN) {
        g_byte_array_append(unit->data, unit->memory, (guint)bytes);
    }
    unit->counted = unit->request.moved;
}

/* The next window: in up to three pieces. */
static void unit_window(Unit *unit)
{
    uint16_t size = unit->sizes[unit->size_at++];
    if (!unit->sizes[unit->size_at]) {
        unit->size_at = 0;
    }
    size = MIN(size, UNIT_WINDOW);
    uint16_t first = size / 3, second = size / 5;
    ScsiWindow window = { unit->iov, 3, size };
    unit->iov[0] = (struct iovec){ unit->memory, first };
    unit->iov[1] = (struct iovec){ unit->memory + first, second };
    unit->iov[2] = (struct iovec){ unit->memory + first + second, size - first - second };
    if (unit->request.direction == SCSI_DATA_OUT) {
        uint64_t left = unit->data->len - MIN(unit->request.moved, unit->data->len);
        memset(unit->memory, 0, size);
        if (left) {
            memcpy(unit->memory, unit->data->data + unit->request.moved, MIN(size, left));
        }
        unit->request.out = window;
    } else {
        unit->request.in = window;
    }
}

static void unit_signal(Unit *unit, bool *what)
{
    g_mutex_lock(&unit->lock);
    *what = true;
    g_cond_signal(&unit->cond);
    g_mutex_unlock(&unit->lock);
}

static void unit_next(ScsiRequest *request)
{
    Unit *unit = request->opaque;
    unit_collect(unit);
    if (unit->windows_left-- == 0) {
        unit_signal(unit, &unit->stopped);
        return;
    }
    unit_window(unit);
    scsi_request_continue(request);
}

static void unit_done(ScsiRequest *request)
{
    Unit *unit = request->opaque;
    unit_collect(unit);
    unit->done_count++;
    unit_signal(unit, &unit->done);
}

static void unit_prepare(Unit *unit)
{
    scsi_request_init(&unit->request, &unit->lun);
    unit->request.next = unit_next;
    unit->request.done = unit_done;
    unit->request.opaque = unit;
    unit->size_at = 0;
    unit->counted = 0;
}

static void unit_submit_on_loop(void *opaque)
{
    Unit *unit = opaque;
    scsi_request_prepare(&unit->request);
    scsi_request_submit(&unit->request);
    g_assert_false(unit->done || unit->stopped); /* never inside submit */
}

static inline void unit_resume_on_loop(void *opaque)
{
    Unit *unit = opaque;
    scsi_request_resume(&unit->request);
}

static inline void unit_cancel_on_loop(void *opaque)
{
    Unit *unit = opaque;
    scsi_request_cancel(&unit->request);
    g_assert_false(unit->done);
}

static void unit_nothing(void *opaque)
{
}

/* Runs something on the loop and waits until the request waits or has ended. */
static void unit_wait(Unit *unit, void (*start)(void *opaque))
{
    unit->stopped = unit->done = false;
    event_loop_call(unit->loop, start, unit);
    g_mutex_lock(&unit->lock);
    while (!unit->done && !unit->stopped) {
        g_cond_wait(&unit->cond, &unit->lock);
    }
    g_mutex_unlock(&unit->lock);
    event_loop_call(unit->loop, unit_nothing, NULL); /* the callback has returned */
}

/* A command whose data moves in windows of these sizes, to its end or to the n-th window's end. */
static inline void unit_run(Unit *unit, const uint8_t *cdb, const uint16_t *sizes, unsigned windows)
{
    unit_prepare(unit);
    memcpy(unit->request.cdb, cdb, 16);
    unit->sizes = sizes;
    unit->windows_left = windows;
    unit_wait(unit, unit_submit_on_loop);
}

/* `options` of -drive, without id. */
static void unit_open(Unit *unit, const ScsiLunClass *cls, const char *options)
{
    static const DeviceClass dev_class = { .name = "unit" };
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strconcat("if=none,id=d0,", options, NULL);
    bool cd = cls == &scsi_cd_lun;
    memset(unit, 0, sizeof(*unit));
    g_autoptr(Opts) opts = opts_parse(text, NULL, &error);
    unit->dev.cls = &dev_class;
    unit->drive = drive_add(opts, NULL, &error);
    g_assert_no_error(error);
    unit->disk.backend = cd ? block_backend_attach_removable("d0", "u", true, true, &error)
                            : block_backend_attach("d0", "u", false, false, &error);
    g_assert_no_error(error);
    unit->disk.logical_block = unit->disk.physical_block = cd ? 2048 : 512;
    unit->disk.discard_granularity = 512;
    unit->disk.initial_write_cache = true;
    unit->identity.max_io_size = INT32_MAX;
    unit->identity.scsi_version = 5;
    unit->loop = event_loop_new("unit", LOOP_ENGINE_AUTO, &error);
    g_assert_no_error(error);
    g_assert_true(event_loop_start(unit->loop, &error));
    g_assert_true(block_backend_add_loop(unit->disk.backend, unit->loop, &error));
    g_assert_true(scsi_lun_init(&unit->lun, cls, &unit->dev, &unit->disk, &unit->identity, &error));
    unit->lun.ua = 0;
    unit->data = g_byte_array_new();
    g_mutex_init(&unit->lock);
    g_cond_init(&unit->cond);
}

static inline void unit_close(Unit *unit)
{
    scsi_request_cleanup(&unit->request);
    scsi_lun_drain(&unit->lun, true);
    scsi_lun_cleanup(&unit->lun);
    block_backend_detach(unit->disk.backend);
    event_loop_free(unit->loop);
    drive_remove("d0", NULL);
    g_byte_array_unref(unit->data);
    g_mutex_clear(&unit->lock);
    g_cond_clear(&unit->cond);
}

#endif
