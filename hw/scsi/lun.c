/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logical units: making, attentions, sense, state, and the commands that all kinds have (SPC-4). */
#include "hw/scsi/internal.h"

#define OPCODES 256

/* ---- Sense and attentions ---- */

void scsi_build_sense(uint8_t *data, ScsiSense sense)
{
    memset(data, 0, SCSI_SENSE_SIZE);
    data[0] = 0x70;
    data[2] = sense.key;
    data[7] = SCSI_SENSE_SIZE - 8;
    data[12] = sense.asc;
    data[13] = sense.ascq;
}

void scsi_lun_attention(ScsiLun *lun, uint32_t ua)
{
    __atomic_fetch_or(&lun->ua, ua, __ATOMIC_ACQ_REL);
}

ScsiSense scsi_take_attention(ScsiLun *lun)
{
    static const ScsiSense attentions[] = { SENSE_POWER_ON,       SENSE_DEVICE_RESET,
                                            SENSE_MEDIUM_CHANGED, SENSE_CAPACITY_CHANGED,
                                            SENSE_MODE_CHANGED,   SENSE_LUNS_CHANGED };
    uint32_t pending = __atomic_load_n(&lun->ua, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; i < G_N_ELEMENTS(attentions); i++) {
        uint32_t bit = 1U << i;
        if (pending & bit && __atomic_fetch_and(&lun->ua, ~bit, __ATOMIC_ACQ_REL) & bit) {
            return attentions[i];
        }
    }
    return SENSE_NONE;
}

/* ---- The medium ---- */

bool scsi_medium_loaded(const ScsiLun *lun)
{
    return lun->has_tray ? block_backend_loaded(lun->disk->backend)
                         : block_backend_inserted(lun->disk->backend) || !lun->identity->removable;
}

uint64_t scsi_block_count(const ScsiLun *lun)
{
    return block_backend_length(lun->disk->backend) / lun->block_size;
}

bool scsi_write_protected(const ScsiLun *lun)
{
    return block_backend_readonly(lun->disk->backend);
}

ScsiSense scsi_no_medium_sense(const ScsiLun *lun)
{
    if (!lun->has_tray) {
        return SENSE_NO_MEDIUM;
    }
    return SENSE(SCSI_NOT_READY, 0x3a, block_backend_tray_open(lun->disk->backend) ? 2 : 1);
}

bool scsi_range_ok(const ScsiLun *lun, ScsiRange range)
{
    return range_inside(range.lba, range.blocks, scsi_block_count(lun));
}

/* ---- Life ---- */

static void reset_mode(ScsiLun *lun)
{
    memset(&lun->mode, 0, sizeof(lun->mode));
    lun->mode.write_cache = lun->disk->initial_write_cache;
    if (lun->disk->backend) {
        block_backend_set_write_cache(lun->disk->backend, lun->mode.write_cache);
        block_backend_set_locked(lun->disk->backend, false);
    }
}

bool scsi_lun_init(ScsiLun *lun, const ScsiLunClass *cls, Device *dev, DiskConf *disk,
                   const ScsiIdentity *identity, GError **error)
{
    g_assert(!lun->cls);
    lun->dev = dev;
    lun->disk = disk;
    lun->identity = identity;
    lun->cls = cls;
    g_mutex_init(&lun->lock);
    lun->block_size = disk->logical_block;
    if (cls->init && !cls->init(lun, error)) {
        g_mutex_clear(&lun->lock);
        lun->cls = NULL;
        return false;
    }
    reset_mode(lun);
    lun->ua = lun->atapi ? 0 : SCSI_UA_POWER_ON;
    return true;
}

void scsi_lun_cleanup(ScsiLun *lun)
{
    if (!lun->cls) {
        return;
    }
    if (lun->cls->cleanup) {
        lun->cls->cleanup(lun);
    }
    g_mutex_clear(&lun->lock);
    lun->cls = NULL;
}

void scsi_lun_reset(ScsiLun *lun, bool power_on)
{
    g_mutex_lock(&lun->lock);
    reset_mode(lun);
    g_mutex_unlock(&lun->lock);
    if (lun->cls->reset) {
        lun->cls->reset(lun);
    }
    if (!lun->atapi) {
        uint32_t keep = SCSI_UA_MEDIUM | SCSI_UA_CAPACITY;
        __atomic_fetch_and(&lun->ua, power_on ? 0 : keep, __ATOMIC_ACQ_REL);
        scsi_lun_attention(lun, power_on ? SCSI_UA_POWER_ON : SCSI_UA_RESET);
    }
}

void scsi_lun_drain(ScsiLun *lun, bool cancel)
{
    if (cancel) {
        block_backend_cancel_kept(lun->disk->backend);
    } else {
        block_backend_drain(lun->disk->backend);
    }
    if (lun->cls->drain) {
        lun->cls->drain(lun);
    }
}

/* ---- Commands ---- */

void scsi_run_nothing(ScsiRequest *request)
{
    scsi_good(request);
}

/* The stored sense, or else an attention, reported as data (SPC-4, 6.39). */
static ScsiSense sense_to_report(ScsiLun *lun)
{
    ScsiSense sense = SENSE_NONE;
    g_mutex_lock(&lun->lock);
    if (lun->mode.sense_len) {
        sense = SENSE(lun->mode.sense[2] & 0xf, lun->mode.sense[12], lun->mode.sense[13]);
        lun->mode.sense_len = 0;
    }
    g_mutex_unlock(&lun->lock);
    return sense.key ? sense : scsi_take_attention(lun);
}

void scsi_run_request_sense(ScsiRequest *request)
{
    ScsiSense sense = sense_to_report(request->lun);
    uint8_t *reply = scsi_reply_new(request, SCSI_SENSE_SIZE);
    if (request->cdb[1] & 1) { /* DESC */
        reply[0] = 0x72;
        reply[1] = sense.key;
        reply[2] = sense.asc;
        reply[3] = sense.ascq;
        scsi_reply(request, 8);
        return;
    }
    scsi_build_sense(reply, sense);
    scsi_reply(request, SCSI_SENSE_SIZE);
}

/* One unit number as REPORT LUNS has it (SAM-5, 4.7.7). */
static void put_lun(uint8_t *to, uint32_t lun)
{
    store_be16(to, lun < 256 ? lun : 0x4000 | lun);
}

void scsi_run_report_luns(ScsiRequest *request)
{
    uint8_t select = request->cdb[2];
    uint32_t luns[256] = { 0 };
    unsigned count = 1;
    if (request->length < 16 || select > 2) {
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    if (select == 1) { /* well known units: there are none */
        count = 0;
    } else if (request->lun->bus) {
        count = scsi_bus_luns(request->lun->bus, request->address, luns, G_N_ELEMENTS(luns));
    }
    uint8_t *reply = scsi_reply_new(request, 8 + 8 * count);
    store_be32(reply, 8 * count);
    for (unsigned i = 0; i < count; i++) {
        put_lun(reply + 8 + 8 * i, luns[i]);
    }
    scsi_reply(request, 8 + 8 * count);
}

/* ---- REPORT SUPPORTED OPERATION CODES (SPC-4, 6.34) ---- */

static unsigned cdb_bytes(uint8_t opcode)
{
    return scsi_cdb_length(opcode);
}

static unsigned put_timeouts(uint8_t *to)
{
    store_be16(to, 10);
    return 12;
}

static void report_all(ScsiRequest *request, bool timeouts)
{
    const ScsiCommand *commands = request->lun->cls->commands;
    uint8_t *reply = scsi_reply_new(request, 4 + OPCODES * 20);
    uint32_t len = 4;
    for (unsigned op = 0; op < OPCODES; op++) {
        if (!commands[op].run) {
            continue;
        }
        uint8_t *at = reply + len;
        at[0] = op;
        store_be16(at + 2, commands[op].action);
        at[5] = (timeouts ? 2 : 0) | (commands[op].has_action ? 1 : 0);
        store_be16(at + 6, cdb_bytes(op));
        len += 8;
        len += timeouts ? put_timeouts(reply + len) : 0;
    }
    store_be32(reply, len - 4);
    scsi_reply(request, len);
}

static void report_one(ScsiRequest *request, bool supported, bool timeouts)
{
    uint8_t opcode = request->cdb[3];
    uint8_t *reply = scsi_reply_new(request, 4 + 16 + 12);
    uint32_t len = 4;
    reply[1] = supported ? 3 : 1;
    if (supported) {
        store_be16(reply + 2, cdb_bytes(opcode));
        scsi_command_usage(&request->lun->cls->commands[opcode], opcode, reply + 4);
        len += cdb_bytes(opcode);
        if (timeouts) {
            reply[1] |= 0x80;
            len += put_timeouts(reply + len);
        }
    }
    scsi_reply(request, len);
}

void scsi_run_report_opcodes(ScsiRequest *request)
{
    const ScsiCommand *command = &request->lun->cls->commands[request->cdb[3]];
    bool timeouts = request->cdb[2] & 0x80, known = command->run != NULL;
    bool action_ok = load_be16(request->cdb + 4) == command->action;
    switch (request->cdb[2] & 7) {
    case 0:
        report_all(request, timeouts);
        break;
    case 1: /* by operation code only */
        if (known && command->has_action) {
            scsi_fail(request, SENSE_INVALID_FIELD);
        } else {
            report_one(request, known, timeouts);
        }
        break;
    case 2: /* with a service action */
        if (known && !command->has_action) {
            scsi_fail(request, SENSE_INVALID_FIELD);
        } else {
            report_one(request, known && action_ok, timeouts);
        }
        break;
    case 3:
        report_one(request, known && action_ok, timeouts);
        break;
    default:
        scsi_fail(request, SENSE_INVALID_FIELD);
        break;
    }
}

/* ---- State ---- */

static void lun_pre_save(void *base)
{
    ScsiLun *lun = base;
    lun->mode.tray_open = lun->has_tray && block_backend_tray_open(lun->disk->backend);
}

static bool lun_post_load(void *base, uint16_t version, GError **error)
{
    ScsiLun *lun = base;
    if (lun->mode.sense_len > SCSI_SENSE_SIZE) {
        return error_set(error, "a SCSI unit's sense data has %u bytes", lun->mode.sense_len);
    }
    block_backend_set_write_cache(lun->disk->backend, lun->mode.write_cache);
    block_backend_set_locked(lun->disk->backend, lun->mode.prevented);
    if (lun->has_tray) {
        block_backend_set_tray(lun->disk->backend, lun->mode.tray_open);
    }
    return true;
}

static const StateField lun_fields[] = {
    STATE_INT(ScsiLun, ua),
    STATE_BUFFER(ScsiLun, mode.sense),
    STATE_INT(ScsiLun, mode.sense_len),
    STATE_BOOL(ScsiLun, mode.prevented),
    STATE_BOOL(ScsiLun, mode.stopped),
    STATE_BOOL(ScsiLun, mode.write_cache),
    STATE_BOOL(ScsiLun, mode.tray_open),
    STATE_INT(ScsiLun, mode.event),
    STATE_END,
};

const StateSection scsi_lun_state = {
    .name = "scsi-lun",
    .version = 1,
    .fields = lun_fields,
    .pre_save = lun_pre_save,
    .post_load = lun_post_load,
};
