/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a drive tells of the disc: contents, tracks, structures, features (MMC-5). A disc is one
 * closed session with one data track. */
#include "hw/scsi/internal.h"

#define SECTOR        2048
#define LEAD_OUT      0xaa
#define DATA_TRACK    0x14
#define CD_SECTORS    (80 * 60 * 75) /* more than that is a DVD */
#define DVD_SECTORS   2295104        /* of one layer of a side */
#define PROFILE_CD    0x0008
#define PROFILE_DVD   0x0010
#define DVD_FIRST_LBA 0x30000

static uint32_t sectors_of(const ScsiLun *lun)
{
    return MIN(scsi_block_count(lun), UINT32_MAX);
}

static unsigned profile_of(const ScsiLun *lun)
{
    if (!scsi_medium_loaded(lun)) {
        return 0;
    }
    return sectors_of(lun) > CD_SECTORS ? PROFILE_DVD : PROFILE_CD;
}

/* ---- READ TOC/PMA/ATIP ---- */

static void put_address(uint8_t *to, bool msf, uint32_t lba)
{
    if (!msf) {
        store_be32(to, lba);
        return;
    }
    uint32_t frame = lba + 150;
    to[0] = 0;
    to[1] = MIN(frame / (60 * 75), 255);
    to[2] = frame / 75 % 60;
    to[3] = frame % 75;
}

static unsigned put_track(uint8_t *to, uint8_t track, bool msf, uint32_t lba)
{
    to[1] = DATA_TRACK;
    to[2] = track;
    put_address(to + 4, msf, lba);
    return 8;
}

static unsigned formatted_toc(const ScsiLun *lun, uint8_t *reply, bool msf, unsigned start)
{
    unsigned len = 4;
    if (start > 1 && start != LEAD_OUT) {
        return 0;
    }
    reply[2] = reply[3] = 1;
    if (start <= 1) {
        len += put_track(reply + len, 1, msf, 0);
    }
    len += put_track(reply + len, LEAD_OUT, msf, sectors_of(lun));
    return len;
}

static unsigned session_info(uint8_t *reply)
{
    reply[2] = reply[3] = 1;
    put_track(reply + 4, 1, false, 0);
    return 12;
}

/* A raw entry of the lead-in's Q sub-channel: session, control, -, point, -, -, -, -, P-MSF. */
static unsigned put_point(uint8_t *to, uint8_t point, uint8_t m, uint8_t s, uint8_t f)
{
    to[0] = 1;
    to[1] = DATA_TRACK;
    to[3] = point;
    to[8] = m;
    to[9] = s;
    to[10] = f;
    return 11;
}

static unsigned raw_toc(const ScsiLun *lun, uint8_t *reply)
{
    uint8_t end[4];
    unsigned len = 4;
    put_address(end, true, sectors_of(lun));
    reply[2] = reply[3] = 1;
    len += put_point(reply + len, 0xa0, 1, 0, 0); /* first track */
    len += put_point(reply + len, 0xa1, 1, 0, 0); /* last track */
    len += put_point(reply + len, 0xa2, end[1], end[2], end[3]);
    len += put_point(reply + len, 1, 0, 2, 0);
    return len;
}

void scsi_run_read_toc(ScsiRequest *request)
{
    bool msf = request->cdb[1] & 2;
    unsigned format = request->cdb[2] & 0xf, len = 0;
    uint8_t *reply = scsi_reply_new(request, 64);
    if (!format) { /* an old place of it */
        format = request->cdb[9] >> 6;
    }
    if (format == 0) {
        len = formatted_toc(request->lun, reply, msf, request->cdb[6]);
    } else if (format == 1) {
        len = session_info(reply);
    } else if (format == 2) {
        len = raw_toc(request->lun, reply);
    }
    if (!len) {
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    store_be16(reply, len - 2);
    scsi_reply(request, len);
}

/* ---- READ DISC INFORMATION, READ TRACK INFORMATION ---- */

void scsi_run_read_disc_info(ScsiRequest *request)
{
    if (request->cdb[1] & 7) { /* other than the standard information */
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    uint8_t *reply = scsi_reply_new(request, 34);
    store_be16(reply, 32);
    reply[2] = 0x0e; /* complete, the last session too */
    reply[3] = reply[4] = reply[5] = reply[6] = 1;
    reply[7] = 0x20; /* unrestricted use */
    scsi_reply(request, 34);
}

void scsi_run_read_track_info(ScsiRequest *request)
{
    uint32_t number = load_be32(request->cdb + 2), sectors = sectors_of(request->lun);
    unsigned kind = request->cdb[1] & 3;
    bool ok = kind == 0 ? number < sectors : kind != 3 && number == 1;
    if (!ok) {
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    uint8_t *reply = scsi_reply_new(request, 36);
    store_be16(reply, 34);
    reply[2] = reply[3] = 1; /* track, session */
    reply[5] = 0x04;         /* data */
    reply[6] = 0x01;         /* mode 1 */
    store_be32(reply + 24, sectors);
    scsi_reply(request, 36);
}

/* ---- READ DVD STRUCTURE ---- */

static unsigned dvd_physical(const ScsiLun *lun, uint8_t *data)
{
    uint32_t sectors = sectors_of(lun);
    bool two_layers = sectors > DVD_SECTORS;
    data[0] = 0x01; /* DVD-ROM, part version 1 */
    data[1] = 0x0f; /* 120 mm, speed not said */
    data[2] = 0x01 | (two_layers ? 0x20 : 0);
    store_be32(data + 4, DVD_FIRST_LBA);
    store_be32(data + 8, MIN((uint64_t)DVD_FIRST_LBA + sectors - 1, 0xffffff));
    store_be32(data + 12,
               two_layers ? MIN((uint64_t)DVD_FIRST_LBA + sectors / 2 - 1, 0xffffff) : 0);
    return 2048;
}

static unsigned dvd_list(uint8_t *data)
{
    static const struct {
        uint8_t format;
        uint16_t len;
    } formats[] = { { 0x00, 2052 }, { 0x01, 8 }, { 0x04, 2052 }, { 0xff, 20 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
        data[4 * i] = formats[i].format;
        data[4 * i + 1] = 0x40; /* can be read */
        store_be16(data + 4 * i + 2, formats[i].len);
    }
    return 4 * G_N_ELEMENTS(formats);
}

void scsi_run_read_dvd_structure(ScsiRequest *request)
{
    ScsiLun *lun = request->lun;
    uint8_t format = request->cdb[7];
    uint8_t *reply = scsi_reply_new(request, 4 + 2048);
    unsigned len;
    bool other_media = request->cdb[1] & 0xf, other_layer = request->cdb[6];
    if (format != 0xff && !scsi_medium_loaded(lun)) {
        scsi_fail(request, scsi_no_medium_sense(lun));
        return;
    }
    if (format != 0xff && profile_of(lun) != PROFILE_DVD) {
        scsi_fail(request, SENSE_INCOMPATIBLE);
        return;
    }
    switch (format) {
    case 0x00:
        len = dvd_physical(lun, reply + 4);
        break;
    case 0x01: /* copyright: no protection, every region */
        len = 4;
        break;
    case 0x04: /* manufacturing: nothing */
        len = 2048;
        break;
    case 0xff:
        len = dvd_list(reply + 4);
        break;
    default:
        len = 0;
        break;
    }
    if (!len || other_media || other_layer) {
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    store_be16(reply, len + 2);
    scsi_reply(request, 4 + len);
}

/* ---- GET CONFIGURATION ---- */

static unsigned feature_profiles(unsigned profile, uint8_t *data)
{
    store_be16(data, PROFILE_DVD);
    data[2] = profile == PROFILE_DVD;
    store_be16(data + 4, PROFILE_CD);
    data[6] = profile == PROFILE_CD;
    return 8;
}

static unsigned feature_core(unsigned profile, uint8_t *data)
{
    store_be32(data, 1); /* SCSI */
    data[4] = 1;         /* device busy events */
    return 8;
}

static unsigned feature_removable(unsigned profile, uint8_t *data)
{
    data[0] = 0x29; /* tray, eject, lock */
    return 4;
}

static unsigned feature_random_read(unsigned profile, uint8_t *data)
{
    store_be32(data, SECTOR);
    store_be16(data + 4, 16);
    return 8;
}

static unsigned feature_cd_read(unsigned profile, uint8_t *data)
{
    return 4;
}

static unsigned feature_dvd_read(unsigned profile, uint8_t *data)
{
    return 4;
}

static const struct {
    uint16_t code;
    uint8_t version_persistent;
    uint16_t profile; /* of media that make it current; 0: persistent, 0xffff: any */
    unsigned (*fill)(unsigned profile, uint8_t *data);
} features[] = {
    { 0x0000, 0x03, 0, feature_profiles },         { 0x0001, 0x0b, 0, feature_core },
    { 0x0003, 0x03, 0, feature_removable },        { 0x0010, 0x00, 0xffff, feature_random_read },
    { 0x001e, 0x08, PROFILE_CD, feature_cd_read }, { 0x001f, 0x00, PROFILE_DVD, feature_dvd_read },
};

void scsi_run_get_configuration(ScsiRequest *request)
{
    unsigned profile = profile_of(request->lun), which = request->cdb[1] & 3;
    unsigned start = load_be16(request->cdb + 2), len = 8;
    if (which == 3) {
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    uint8_t *reply = scsi_reply_new(request, 128);
    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
        uint16_t of = features[i].profile;
        bool current = of == 0 || (of == 0xffff ? profile != 0 : profile == of);
        bool wanted = which == 2 ? features[i].code == start
                                 : features[i].code >= start && (which == 0 || current);
        if (wanted) {
            uint8_t *at = reply + len;
            store_be16(at, features[i].code);
            at[2] = features[i].version_persistent | (current ? 1 : 0);
            at[3] = features[i].fill(profile, at + 4);
            len += 4 + at[3];
        }
    }
    store_be32(reply, len - 4);
    store_be16(reply + 6, profile);
    scsi_reply(request, len);
}
