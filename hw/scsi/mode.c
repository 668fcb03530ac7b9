/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MODE SENSE and MODE SELECT (SPC-4, 6.11 to 6.14 and 7.5). */
#include <errno.h>
#include "hw/scsi/internal.h"

#define ALL_PAGES  0x3f
#define REPLY_SIZE 512
#define PAGE_MAX   64

typedef struct Shape {
    bool long_form; /* the 10-byte commands */
    unsigned header;
} Shape;

static Shape shape_of(const ScsiRequest *request)
{
    bool long_form = request->cdb[0] == OP_MODE_SENSE_10 || request->cdb[0] == OP_MODE_SELECT_10;
    return (Shape){ .long_form = long_form, .header = long_form ? 8 : 4 };
}

static unsigned put_descriptor(const ScsiLun *lun, uint8_t *to)
{
    uint64_t blocks = scsi_block_count(lun);
    store_be32(to, blocks > 0xffffff ? 0 : blocks);
    store_be32(to + 4, lun->block_size);
    return 8;
}

static unsigned put_page(ScsiLun *lun, unsigned page, bool changeable, uint8_t *to)
{
    unsigned len = lun->cls->mode_page(lun, page, changeable, to + 2);
    if (!len) {
        return 0;
    }
    to[0] = page;
    to[1] = len;
    return 2 + len;
}

static unsigned put_pages(ScsiLun *lun, unsigned page, bool changeable, uint8_t *to)
{
    unsigned len = 0;
    if (page != ALL_PAGES) {
        return put_page(lun, page, changeable, to);
    }
    for (unsigned i = 0; i < sizeof(lun->cls->mode_pages) && lun->cls->mode_pages[i]; i++) {
        len += put_page(lun, lun->cls->mode_pages[i], changeable, to + len);
    }
    return len;
}

void scsi_run_mode_sense(ScsiRequest *request)
{
    enum { CHANGEABLE = 1, SAVED = 3 };
    ScsiLun *lun = request->lun;
    Shape shape = shape_of(request);
    unsigned control = request->cdb[2] >> 6, page = request->cdb[2] & 0x3f;
    bool disk = lun->cls->type == TYPE_DISK;
    bool descriptor = disk && !(request->cdb[1] & 8) && scsi_block_count(lun);
    if (control == SAVED) {
        scsi_fail(request, SENSE_SAVING_PARAM);
        return;
    }
    if (request->cdb[3] && request->cdb[3] != 0xff) { /* subpages: there are none */
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    uint8_t *reply = scsi_reply_new(request, REPLY_SIZE);
    unsigned len = shape.header;
    uint8_t specific = 0;
    if (disk) {
        specific = (scsi_write_protected(lun) ? 0x80 : 0) | (lun->identity->dpofua ? 0x10 : 0);
    }
    len += descriptor ? put_descriptor(lun, reply + len) : 0;
    unsigned pages = put_pages(lun, page, control == CHANGEABLE, reply + len);
    if (!pages) {
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    len += pages;
    if (shape.long_form) {
        store_be16(reply, len - 2);
        reply[3] = specific;
        reply[7] = descriptor ? 8 : 0;
    } else {
        reply[0] = len - 1;
        reply[2] = specific;
        reply[3] = descriptor ? 8 : 0;
    }
    scsi_reply(request, len);
}

/* ---- MODE SELECT ---- */

void scsi_run_mode_select(ScsiRequest *request)
{
    if ((request->cdb[1] & 0x11) != 0x10) { /* PF set; SP: there is nowhere to save to */
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    scsi_collect(request);
}

/* Nothing is changed but what can be. */
static bool page_acceptable(ScsiLun *lun, unsigned page, const uint8_t *data, unsigned len)
{
    uint8_t now[PAGE_MAX] = { 0 }, mask[PAGE_MAX] = { 0 };
    unsigned have = lun->cls->mode_page(lun, page, false, now);
    lun->cls->mode_page(lun, page, true, mask);
    if (!have || have != len) {
        return false;
    }
    for (unsigned i = 0; i < len; i++) {
        if ((data[i] ^ now[i]) & ~mask[i]) {
            return false;
        }
    }
    return true;
}

static void page_apply(ScsiLun *lun, unsigned page, const uint8_t *data)
{
    enum { PAGE_CACHING = 0x08, WCE = 0x04 };
    if (page == PAGE_CACHING) {
        bool on = data[0] & WCE;
        g_mutex_lock(&lun->lock);
        lun->mode.write_cache = on;
        g_mutex_unlock(&lun->lock);
        block_backend_set_write_cache(lun->disk->backend, on);
    }
}

/* All pages of the list: checked, or applied; NONE: well. */
static ScsiSense walk_pages(ScsiLun *lun, const uint8_t *data, unsigned len, bool apply)
{
    while (len) {
        if (len < 2 || data[0] & 0x40 || len - 2 < data[1]) { /* 0x40: a subpage */
            return len >= 2 && data[0] & 0x40 ? SENSE_INVALID_PARAM : SENSE_PARAM_LENGTH;
        }
        unsigned page = data[0] & 0x3f, size = data[1];
        if (apply) {
            page_apply(lun, page, data + 2);
        } else if (!page_acceptable(lun, page, data + 2, size)) {
            return SENSE_INVALID_PARAM;
        }
        data += 2 + size;
        len -= 2 + size;
    }
    return SENSE_NONE;
}

static void flushed(BlockRequest *block, int ret)
{
    ScsiRequest *request = block->opaque;
    if (scsi_work_done(request, ret)) {
        scsi_good(request);
    }
    scsi_request_step(request);
}

/* Checks the header and the block descriptor; the pages begin at the result, or 0. */
static unsigned pages_begin(const ScsiRequest *request, unsigned len, ScsiSense *sense)
{
    Shape shape = shape_of(request);
    const uint8_t *list = request->reply;
    *sense = SENSE_PARAM_LENGTH;
    if (len < shape.header) {
        return 0;
    }
    unsigned descriptor = shape.long_form ? load_be16(list + 6) : list[3];
    if (descriptor > len - shape.header) {
        return 0;
    }
    *sense = SENSE_INVALID_PARAM;
    if (descriptor != 0 && descriptor != 8) {
        return 0;
    }
    uint32_t size = descriptor ? load_be32(list + shape.header + 4) & 0xffffff : 0;
    if (size && size != request->lun->block_size) {
        return 0;
    }
    return shape.header + descriptor;
}

void scsi_mode_selected(ScsiRequest *request)
{
    ScsiLun *lun = request->lun;
    unsigned len = MIN(request->moved, request->reply_len);
    if (!request->length) {
        scsi_good(request);
        return;
    }
    ScsiSense sense;
    unsigned at = pages_begin(request, len, &sense);
    if (at) {
        sense = walk_pages(lun, request->reply + at, len - at, false);
    }
    if (sense.key) {
        scsi_fail(request, sense);
        return;
    }
    walk_pages(lun, request->reply + at, len - at, true);
    if (!block_backend_write_cache(lun->disk->backend) && scsi_medium_loaded(lun)) {
        scsi_work(request, BLOCK_FLUSH, 0, 0, 0, flushed);
    } else {
        scsi_good(request);
    }
}
