/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMART (ATA8-ACS, 7.52) and the logs that READ LOG EXT gives: a healthy disk's. */
#include "hw/ide/ata.h"
#include "vmm/util/bytes.h"

enum {
    SMART_READ_DATA = 0xd0,
    SMART_READ_THRESHOLDS = 0xd1,
    SMART_AUTOSAVE = 0xd2,
    SMART_SAVE = 0xd3,
    SMART_OFFLINE = 0xd4,
    SMART_READ_LOG = 0xd5,
    SMART_ENABLE = 0xd8,
    SMART_DISABLE = 0xd9,
    SMART_STATUS = 0xda,
    SMART_AUTO_OFFLINE = 0xdb,
};

enum { LOG_DIRECTORY = 0x00, LOG_ERRORS = 0x01, LOG_SELF_TESTS = 0x06, LOG_QUEUED_ERROR = 0x10 };

#define SMART_MID  0x4f
#define SMART_HIGH 0xc2

/* id, flags (2), normalised, worst, raw (6), reserved; the threshold. */
typedef struct SmartAttribute {
    uint8_t id;
    uint16_t flags;
    uint8_t value;
    uint32_t raw;
    uint8_t threshold;
} SmartAttribute;

static const SmartAttribute attributes[] = {
    { 1, 0x0003, 100, 0, 6 },            /* raw read error rate */
    { 3, 0x0003, 100, 16, 0 },           /* spin-up time */
    { 4, 0x0002, 100, 100, 20 },         /* start/stop count */
    { 5, 0x0003, 100, 0, 36 },           /* reallocated sectors */
    { 9, 0x0003, 100, 1, 0 },            /* power-on hours */
    { 12, 0x0003, 100, 0, 0 },           /* power cycles */
    { 190, 0x0003, 69, 0x1f1f001f, 50 }, /* temperature: now, least, most */
};

static void put_checksum(uint8_t *page)
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < 511; i++) {
        sum += page[i];
    }
    page[511] = (uint8_t)-sum;
}

static uint8_t *clear_page(IdeDrive *drive)
{
    memset(drive->buffer, 0, 512);
    return drive->buffer;
}

static void fill_data(IdeDrive *drive)
{
    uint8_t *page = clear_page(drive);
    page[0] = 1;
    for (unsigned i = 0; i < G_N_ELEMENTS(attributes); i++) {
        const SmartAttribute *a = &attributes[i];
        uint8_t *entry = page + 2 + 12 * i;
        entry[0] = a->id;
        store_le16(entry + 1, a->flags);
        entry[3] = entry[4] = a->value;
        store_le32(entry + 5, a->raw);
    }
    page[362] = 0x02 | (drive->smart_autosave ? 0x80 : 0); /* offline collection completed */
    page[363] = drive->self_test_status;
    page[364] = 0x20;                /* seconds that it takes */
    page[367] = 1 << 4 | 1 << 3 | 1; /* self-test, scan, immediate offline */
    page[368] = 3;
    page[370] = 1; /* error logging */
    page[372] = 2; /* minutes of a short test */
    page[373] = 54;
    put_checksum(page);
}

static void fill_thresholds(IdeDrive *drive)
{
    uint8_t *page = clear_page(drive);
    page[0] = 1;
    for (unsigned i = 0; i < G_N_ELEMENTS(attributes); i++) {
        page[2 + 12 * i] = attributes[i].id;
        page[3 + 12 * i] = attributes[i].threshold;
    }
    put_checksum(page);
}

/* ---- Logs ---- */

static void fill_directory(IdeDrive *drive, bool general)
{
    uint8_t *page = clear_page(drive);
    page[0] = 1;
    if (general) {
        page[2 * LOG_QUEUED_ERROR] = drive->port->sata;
        return;
    }
    page[2 * LOG_ERRORS] = 1;
    page[2 * LOG_SELF_TESTS] = 1;
}

static void fill_errors(IdeDrive *drive)
{
    uint8_t *page = clear_page(drive);
    page[0] = 1;
    put_checksum(page);
}

static void fill_self_tests(IdeDrive *drive)
{
    uint8_t *page = clear_page(drive);
    page[0] = 1;
    memcpy(page + 2, drive->self_tests, sizeof(drive->self_tests));
    page[508] = drive->self_test_count
                    ? (drive->self_test_next + ATA_SELF_TESTS - 1) % ATA_SELF_TESTS + 1
                    : 0;
    put_checksum(page);
}

/* Page 10h (SATA 3.0, 13.7): the queued command that failed. */
static void fill_queued_error(IdeDrive *drive)
{
    AtaQueuedError *e = &drive->queued_error;
    uint8_t *page = clear_page(drive);
    page[0] = e->valid ? e->tag & 0x1f : 0x80; /* NQ: none was queued */
    page[2] = e->status;
    page[3] = e->error;
    for (unsigned i = 0; i < 3; i++) {
        page[4 + i] = (uint8_t)(e->lba >> (8 * i));
        page[8 + i] = (uint8_t)(e->lba >> (24 + 8 * i));
    }
    page[7] = ATA_DEVICE_LBA;
    page[12] = (uint8_t)e->count;
    page[13] = (uint8_t)(e->count >> 8);
    put_checksum(page);
    e->valid = false;
}

static bool refuse(IdeDrive *drive)
{
    ata_abort(drive, ATA_ERROR_ABRT);
    return false;
}

bool ata_read_log(IdeDrive *drive, AtaPlan *plan)
{
    const AtaRegs *r = &drive->regs;
    uint32_t pages = r->now[ATA_COUNT] | r->before[ATA_COUNT] << 8;
    if (pages != 1 || r->now[ATA_LBA_MID] || r->before[ATA_LBA_MID]) {
        return refuse(drive);
    }
    if (r->now[ATA_LBA_LOW] == LOG_DIRECTORY) {
        fill_directory(drive, true);
    } else if (r->now[ATA_LBA_LOW] == LOG_QUEUED_ERROR && drive->port->sata) {
        fill_queued_error(drive);
    } else {
        return refuse(drive);
    }
    return ata_plan_buffer(plan, 512);
}

static bool read_smart_log(IdeDrive *drive, AtaPlan *plan)
{
    if (drive->regs.now[ATA_COUNT] != 1) {
        return refuse(drive);
    }
    switch (drive->regs.now[ATA_LBA_LOW]) {
    case LOG_DIRECTORY:
        fill_directory(drive, false);
        break;
    case LOG_ERRORS:
        fill_errors(drive);
        break;
    case LOG_SELF_TESTS:
        fill_self_tests(drive);
        break;
    default:
        return refuse(drive);
    }
    return ata_plan_buffer(plan, 512);
}

/* ---- Self-tests: they pass at once ---- */

static bool run_offline(IdeDrive *drive)
{
    uint8_t kind = drive->regs.now[ATA_LBA_LOW];
    bool captive = kind & 0x80;
    if ((kind & 0x7f) == 0x7f || kind == 0) { /* abort; immediate offline collection */
        drive->self_test_status = kind ? 0x10 : drive->self_test_status;
        return true;
    }
    if ((kind & 0x7f) != 1 && (kind & 0x7f) != 2) { /* short, extended */
        return refuse(drive);
    }
    uint8_t *entry = drive->self_tests[drive->self_test_next];
    memset(entry, 0, ATA_SELF_TEST_LENGTH);
    entry[0] = kind;
    store_le16(entry + 2, 1); /* hours of life */
    drive->self_test_next = (drive->self_test_next + 1) % ATA_SELF_TESTS;
    drive->self_test_count = MIN(drive->self_test_count + 1, ATA_SELF_TESTS);
    drive->self_test_status = 0;
    if (captive) {
        drive->regs.now[ATA_LBA_MID] = SMART_MID;
        drive->regs.now[ATA_LBA_HIGH] = SMART_HIGH;
    }
    return true;
}

static bool set_switch(IdeDrive *drive, bool *which)
{
    uint8_t value = drive->regs.now[ATA_COUNT];
    if (value != 0 && value != 0xf1 && value != 0xf8) {
        return refuse(drive);
    }
    if (which) {
        *which = value != 0;
    }
    return true;
}

bool ata_smart(IdeDrive *drive, AtaPlan *plan)
{
    AtaRegs *r = &drive->regs;
    uint8_t feature = r->now[ATA_FEATURE];
    if (r->now[ATA_LBA_MID] != SMART_MID || r->now[ATA_LBA_HIGH] != SMART_HIGH ||
        (!drive->smart_enabled && feature != SMART_ENABLE)) {
        return refuse(drive);
    }
    switch (feature) {
    case SMART_ENABLE:
    case SMART_DISABLE:
        drive->smart_enabled = feature == SMART_ENABLE;
        return true;
    case SMART_READ_DATA:
        fill_data(drive);
        return ata_plan_buffer(plan, 512);
    case SMART_READ_THRESHOLDS:
        fill_thresholds(drive);
        return ata_plan_buffer(plan, 512);
    case SMART_READ_LOG:
        return read_smart_log(drive, plan);
    case SMART_AUTOSAVE:
        return set_switch(drive, &drive->smart_autosave);
    case SMART_AUTO_OFFLINE:
        return set_switch(drive, NULL);
    case SMART_SAVE:
    case SMART_STATUS: /* healthy: the cylinder registers stay */
        return true;
    case SMART_OFFLINE:
        return run_offline(drive);
    default:
        return refuse(drive);
    }
}
