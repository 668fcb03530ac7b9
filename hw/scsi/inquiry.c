/* SPDX-License-Identifier: GPL-2.0-or-later */
/* INQUIRY and its vital product data pages (SPC-4, 6.6 and 7.8; SBC-3, 6.6). */
#include "hw/scsi/internal.h"

#define VENDOR      "QEMU"
#define REVISION    "2.5+"
#define DESIGNATION 247 /* bytes of a text designator at most */

enum {
    PAGE_SUPPORTED = 0x00,
    PAGE_SERIAL = 0x80,
    PAGE_DESIGNATION = 0x83,
    PAGE_BLOCK_LIMITS = 0xb0,
    PAGE_CHARACTERISTICS = 0xb1,
    PAGE_PROVISIONING = 0xb2,
};

static void put_text(uint8_t *to, const char *text, unsigned size)
{
    memset(to, ' ', size);
    memcpy(to, text, MIN(strlen(text), size));
}

static void standard(ScsiRequest *request)
{
    const ScsiLun *lun = request->lun;
    const ScsiIdentity *id = lun->identity;
    uint8_t *reply = scsi_reply_new(request, 36);
    reply[0] = lun->cls->type;
    reply[1] = id->removable || lun->has_tray ? 0x80 : 0;
    reply[2] = id->scsi_version;
    reply[3] = 0x12; /* HiSup, response data format 2 */
    reply[4] = 36 - 5;
    reply[7] = 0x10 | (lun->autosense ? 0x02 : 0); /* command queuing */
    put_text(reply + 8, id->vendor ? id->vendor : VENDOR, 8);
    put_text(reply + 16, id->product ? id->product : lun->cls->product, 16);
    put_text(reply + 32, id->version ? id->version : REVISION, 4);
    scsi_reply(request, 36);
}

/* ---- Vital product data: each fills a page from byte 4 on and returns how much ---- */

static unsigned page_serial(const ScsiLun *lun, uint8_t *data)
{
    const char *serial = disk_conf_serial(lun->disk);
    unsigned len = MIN(strlen(serial), 36);
    memcpy(data, serial, len);
    return len;
}

/* The name of the unit: what the user gave, the serial number, or the drive's id. */
static const char *designation(const ScsiLun *lun)
{
    const char *serial = disk_conf_serial(lun->disk);
    const Drive *drive = block_backend_drive(lun->disk->backend);
    if (lun->identity->device_id) {
        return lun->identity->device_id;
    }
    return *serial ? serial : drive ? drive->id : "";
}

static unsigned put_designator(uint8_t *data, uint8_t code_set, uint8_t type, const void *value,
                               uint8_t len)
{
    data[0] = code_set;
    data[1] = type;
    data[3] = len;
    memcpy(data + 4, value, len);
    return 4 + len;
}

static unsigned page_designation(const ScsiLun *lun, uint8_t *data)
{
    const ScsiIdentity *id = lun->identity;
    const char *text = designation(lun);
    unsigned len = 0;
    uint8_t number[8];
    if (*text) {
        size_t most = id->device_id ? DESIGNATION : 20;
        len += put_designator(data, 0x02, 0x00, text, MIN(strlen(text), most));
    }
    if (id->wwn) { /* of the unit: NAA, binary */
        store_be64(number, id->wwn);
        len += put_designator(data + len, 0x01, 0x03, number, 8);
    }
    if (id->port_wwn) { /* of the target port, SAS */
        store_be64(number, id->port_wwn);
        len += put_designator(data + len, 0x61, 0x93, number, 8);
    }
    if (id->port_index) { /* relative port */
        store_be32(number, id->port_index);
        len += put_designator(data + len, 0x61, 0x94, number, 4);
    }
    return len;
}

static uint32_t in_blocks(const ScsiLun *lun, uint64_t bytes)
{
    return MIN(bytes / lun->block_size, UINT32_MAX);
}

static unsigned page_block_limits(const ScsiLun *lun, uint8_t *data)
{
    uint32_t transfer = in_blocks(lun, lun->identity->max_io_size);
    data[0] = 1; /* WRITE SAME of no block is refused */
    store_be16(data + 2, lun->disk->min_io / lun->block_size);
    store_be32(data + 4, transfer);
    store_be32(data + 8, lun->disk->opt_io / lun->block_size);
    if (lun->disk->discard_granularity) {
        store_be32(data + 16, in_blocks(lun, lun->identity->max_unmap_size));
        store_be32(data + 20, 255);
        store_be32(data + 24, lun->disk->discard_granularity / lun->block_size);
    }
    store_be64(data + 32, transfer);
    return 0x3c;
}

static unsigned page_characteristics(const ScsiLun *lun, uint8_t *data)
{
    store_be16(data, lun->identity->rotation_rate);
    return 0x3c;
}

static unsigned page_provisioning(const ScsiLun *lun, uint8_t *data)
{
    data[1] = 0xe0; /* UNMAP, WRITE SAME 16 and 10 unmap */
    data[2] = lun->disk->discard_granularity ? 2 : 1;
    return 4;
}

static const struct {
    uint8_t page;
    bool disks_only;
    unsigned (*fill)(const ScsiLun *lun, uint8_t *data);
} pages[] = {
    { PAGE_SERIAL, false, page_serial },
    { PAGE_DESIGNATION, false, page_designation },
    { PAGE_BLOCK_LIMITS, true, page_block_limits },
    { PAGE_CHARACTERISTICS, true, page_characteristics },
    { PAGE_PROVISIONING, true, page_provisioning },
};

static bool has_page(const ScsiLun *lun, unsigned i)
{
    if (pages[i].page == PAGE_SERIAL) {
        return *disk_conf_serial(lun->disk) != '\0';
    }
    return !pages[i].disks_only || lun->cls->type == TYPE_DISK;
}

static unsigned fill_page(const ScsiLun *lun, unsigned page, uint8_t *data, bool *known)
{
    unsigned len = 0;
    *known = page == PAGE_SUPPORTED;
    data[len++] = PAGE_SUPPORTED;
    for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++) {
        if (!has_page(lun, i)) {
            continue;
        }
        if (pages[i].page == page) {
            *known = true;
            data[0] = 0;
            return pages[i].fill(lun, data);
        }
        if (page == PAGE_SUPPORTED) {
            data[len++] = pages[i].page;
        }
    }
    return len;
}

void scsi_run_inquiry(ScsiRequest *request)
{
    unsigned page = request->cdb[2];
    if (!(request->cdb[1] & 1)) { /* EVPD */
        if (page) {
            scsi_fail(request, SENSE_INVALID_FIELD);
        } else {
            standard(request);
        }
        return;
    }
    bool known;
    uint8_t *reply = scsi_reply_new(request, 512);
    unsigned len = fill_page(request->lun, page, reply + 4, &known);
    if (!known) {
        scsi_fail(request, SENSE_INVALID_FIELD);
        return;
    }
    reply[0] = request->lun->cls->type;
    reply[1] = page;
    store_be16(reply + 2, len);
    scsi_reply(request, 4 + len);
}
