/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IDENTIFY DEVICE, IDENTIFY PACKET DEVICE (ACS-2, 7.12 and 7.13), SET FEATURES (7.45). */
#include "hw/ide/ata.h"
#include "vmm/util/bytes.h"

#define LBA28_MAX  0xfffffffULL
#define CYLS_MAX   16383
#define CACHE_SIZE 512 /* KiB / 512 */

static void put(IdeDrive *drive, unsigned word, uint64_t value, unsigned words)
{
    for (unsigned i = 0; i < words; i++) {
        store_le16(drive->buffer + 2 * (word + i), (uint16_t)(value >> (16 * i)));
    }
}

static void put1(IdeDrive *drive, unsigned word, uint16_t value)
{
    put(drive, word, value, 1);
}

/* Text is padded with blanks, two characters in a word, the first in the high byte. */
static void put_text(IdeDrive *drive, unsigned word, const char *text, unsigned words)
{
    size_t len = strlen(text);
    for (unsigned i = 0; i < 2 * words; i++) {
        drive->buffer[2 * word + (i ^ 1)] = i < len ? (uint8_t)text[i] : ' ';
    }
}

static void put_names(IdeDrive *drive)
{
    put_text(drive, 10, drive->serial, 10);
    put_text(drive, 23, drive->version, 4);
    put_text(drive, 27, drive->model, 20);
}

static void put_geometry(IdeDrive *drive)
{
    uint64_t sectors = ata_sectors(drive);
    uint32_t track = drive->current_heads * drive->current_secs;
    uint64_t current = MIN(MIN(sectors, LBA28_MAX) / track, CYLS_MAX);
    put1(drive, 1, (uint16_t)drive->cyls);
    put1(drive, 3, (uint16_t)drive->heads);
    put1(drive, 4, (uint16_t)(512 * drive->secs));
    put1(drive, 5, 512);
    put1(drive, 6, (uint16_t)drive->secs);
    put1(drive, 54, (uint16_t)current);
    put1(drive, 55, (uint16_t)drive->current_heads);
    put1(drive, 56, (uint16_t)drive->current_secs);
    put(drive, 57, current * track, 2);
    put(drive, 60, MIN(sectors, LBA28_MAX), 2);
    put(drive, 100, sectors, 4);
}

static void put_sector_size(IdeDrive *drive)
{
    uint32_t logical = drive->disk.logical_block, physical = drive->disk.physical_block;
    uint16_t word = 0x4000;
    if (physical > logical) {
        word |= 0x2000 | (uint16_t)__builtin_ctz(physical / logical);
    }
    if (logical > 512) {
        word |= 0x1000;
        put(drive, 117, logical / 2, 2);
    }
    if (word != 0x4000) {
        put1(drive, 106, word);
    }
}

static void put_modes(IdeDrive *drive)
{
    put1(drive, 49, 1 << 11 | 1 << 9 | 1 << 8); /* IORDY, LBA, DMA */
    put1(drive, 51, 0x200);
    put1(drive, 52, 0x200);
    put1(drive, 53, 1 | 2 | 4); /* words 54-58, 64-70 and 88 mean something */
    put1(drive, 62, 0x07 | drive->swdma << 8);
    put1(drive, 63, 0x07 | drive->mwdma << 8);
    put1(drive, 64, 3); /* PIO 3 and 4 */
    for (unsigned word = 65; word <= 68; word++) {
        put1(drive, word, 120);
    }
    put1(drive, 88, 0x3f | drive->udma << 8);
    put1(drive, 93, 1 | 1 << 14 | 0x2000); /* 80 wires, device 0 passed */
}

/* Command sets: supported, then enabled (words 82 to 87). */
static void put_features(IdeDrive *drive)
{
    bool cached = block_backend_write_cache(drive->disk.backend);
    uint16_t set84 = 1 << 14 | (drive->wwn ? 1 << 8 : 0) | 1 << 5 | 1 << 1 |
                     1;                             /* GPL, SMART logs */
    uint16_t set83 = 1 << 13 | 1 << 12 | 1 << 10;   /* FLUSH EXT, FLUSH, 48-bit */
    put1(drive, 82, 1 << 14 | 1 << 6 | 1 << 5 | 1); /* NOP, look-ahead, write cache, SMART */
    put1(drive, 83, 1 << 14 | set83);
    put1(drive, 84, set84);
    put1(drive, 85,
         1 << 14 | (drive->look_ahead ? 1 << 6 : 0) | (cached ? 1 << 5 : 0) | drive->smart_enabled);
    put1(drive, 86, set83);
    put1(drive, 87, set84);
}

void ata_identify(IdeDrive *drive)
{
    memset(drive->buffer, 0, 512);
    put1(drive, 0, 0x0040); /* fixed disk */
    put_geometry(drive);
    put_names(drive);
    put1(drive, 20, 3); /* dual-ported, with look-ahead */
    put1(drive, 21, CACHE_SIZE);
    put1(drive, 22, 4);
    put1(drive, 47, 0x8000 | ATA_MULT_MAX);
    put1(drive, 48, 1);
    put_modes(drive);
    put1(drive, 59, drive->mult ? 0x100 | drive->mult : 0);
    if (drive->port->sata) {
        put1(drive, 75, ATA_NCQ_DEPTH - 1);
        put1(drive, 76, 1 << 8); /* NCQ */
    }
    put1(drive, 80, 0xf0); /* ATA/ATAPI-4 to -7 */
    put1(drive, 81, 0x16);
    put_features(drive);
    put_sector_size(drive);
    put(drive, 108,
        drive->wwn >> 48 | (drive->wwn >> 32 & 0xffff) << 16 | (drive->wwn >> 16 & 0xffff) << 32 |
            (drive->wwn & 0xffff) << 48,
        4);
    if (drive->disk.discard_granularity) {
        put1(drive, 105, ATA_TRIM_BLOCKS);
        put1(drive, 169, 1); /* TRIM */
    }
    put1(drive, 217, drive->rotation_rate);
}

void ata_identify_packet(IdeDrive *drive)
{
    memset(drive->buffer, 0, 512);
    put1(drive, 0, 2 << 14 | 5 << 8 | 1 << 7 | 2 << 5); /* CD-ROM, removable, 50 us, 12 bytes */
    put_names(drive);
    put1(drive, 48, 1);
    put1(drive, 49, 1 << 9 | 1 << 8); /* LBA, DMA */
    put1(drive, 53, 7);
    put1(drive, 62, 7 | drive->swdma << 8);
    put1(drive, 63, 7 | drive->mwdma << 8);
    put1(drive, 64, 3);
    put1(drive, 65, 0xb4);
    put1(drive, 66, 0xb4);
    put1(drive, 67, 0x12c);
    put1(drive, 68, 0xb4);
    put1(drive, 71, 30);
    put1(drive, 72, 30);
    put1(drive, 80, 0x1e); /* ATA to ATA/ATAPI-4 */
    put1(drive, 88, 0x3f | drive->udma << 8);
    if (drive->wwn) {
        put1(drive, 84, 1 << 14 | 1 << 8);
        put1(drive, 87, 1 << 14 | 1 << 8);
        put(drive, 108,
            drive->wwn >> 48 | (drive->wwn >> 32 & 0xffff) << 16 |
                (drive->wwn >> 16 & 0xffff) << 32 | (drive->wwn & 0xffff) << 48,
            4);
    }
}

/* ---- SET FEATURES ---- */

/* Transfer modes by the count register: class in the upper five bits. */
static bool set_transfer_mode(IdeDrive *drive)
{
    uint8_t value = drive->regs.now[ATA_COUNT], mode = value & 7;
    uint8_t *kinds[] = { [2] = &drive->swdma, [4] = &drive->mwdma, [8] = &drive->udma };
    uint8_t most[] = { [2] = 2, [4] = 2, [8] = 5 };
    unsigned class = value >> 3;
    if (class <= 1) { /* PIO, with or without IORDY */
        drive->swdma = drive->mwdma = drive->udma = 0;
        return true;
    }
    if (class >= G_N_ELEMENTS(kinds) || !kinds[class] || mode > most[class]) {
        return false;
    }
    drive->swdma = drive->mwdma = drive->udma = 0;
    *kinds[class] = (uint8_t)(1 << mode);
    return true;
}

enum {
    FEATURE_CACHE_ON = 0x02,
    FEATURE_TRANSFER = 0x03,
    FEATURE_APM_ON = 0x05,
    FEATURE_ACOUSTIC_ON = 0x42,
    FEATURE_LOOK_AHEAD_OFF = 0x55,
    FEATURE_KEEP = 0x66,
    FEATURE_CACHE_OFF = 0x82,
    FEATURE_APM_OFF = 0x85,
    FEATURE_LOOK_AHEAD_ON = 0xaa,
    FEATURE_ACOUSTIC_OFF = 0xc2,
    FEATURE_REVERT = 0xcc,
};

bool ata_set_features(IdeDrive *drive, AtaPlan *plan)
{
    bool disk = !drive->is_cd, ok = true;
    switch (drive->regs.now[ATA_FEATURE]) {
    case FEATURE_CACHE_ON:
        ok = disk;
        if (ok) {
            block_backend_set_write_cache(drive->disk.backend, true);
        }
        break;
    case FEATURE_CACHE_OFF:
        ok = disk;
        if (ok) {
            block_backend_set_write_cache(drive->disk.backend, false);
            plan->action = block_backend_readonly(drive->disk.backend) ? ATA_DONE : ATA_FLUSH;
        }
        break;
    case FEATURE_TRANSFER:
        ok = set_transfer_mode(drive);
        break;
    case FEATURE_LOOK_AHEAD_ON:
    case FEATURE_LOOK_AHEAD_OFF:
        drive->look_ahead = drive->regs.now[ATA_FEATURE] == FEATURE_LOOK_AHEAD_ON;
        break;
    case FEATURE_APM_ON:
    case FEATURE_APM_OFF:
    case FEATURE_ACOUSTIC_ON:
    case FEATURE_ACOUSTIC_OFF:
    case FEATURE_KEEP:
    case FEATURE_REVERT: /* nothing of these is kept */
        ok = disk;
        break;
    default:
        ok = false;
        break;
    }
    if (!ok) {
        ata_abort(drive, ATA_ERROR_ABRT);
    }
    return ok;
}
