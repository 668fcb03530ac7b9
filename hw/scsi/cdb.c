/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command descriptor blocks: where each format has its numbers (SPC-4, 4.2; SBC-3; MMC-5). */
#include "hw/scsi/internal.h"

#define CD_RAW_BYTES  2352
#define CD_DATA_BYTES 2048

typedef struct Field {
    uint8_t at, bytes; /* bytes 0: none */
} Field;

static const struct {
    uint8_t cdb;
    Field lba, count;
} formats[FORMAT_COUNT] = {
    [FORMAT_NONE] = { 0 },
    [FORMAT_ALLOC_6] = { 6, .count = { 4, 1 } },
    [FORMAT_INQUIRY] = { 6, .count = { 3, 2 } },
    [FORMAT_ALLOC_10] = { 10, .count = { 7, 2 } },
    [FORMAT_ALLOC_12] = { 12, .count = { 6, 4 } },
    [FORMAT_ALLOC_12S] = { 12, .count = { 8, 2 } },
    [FORMAT_ALLOC_16] = { 16, .count = { 10, 4 } },
    [FORMAT_CAPACITY] = { 10 },
    [FORMAT_BLOCKS_6] = { 6, { 1, 3 }, { 4, 1 } },
    [FORMAT_BLOCKS_10] = { 10, { 2, 4 }, { 7, 2 } },
    [FORMAT_BLOCKS_12] = { 12, { 2, 4 }, { 6, 4 } },
    [FORMAT_BLOCKS_16] = { 16, { 2, 8 }, { 10, 4 } },
    [FORMAT_RANGE_10] = { 10, { 2, 4 }, { 7, 2 } },
    [FORMAT_RANGE_12] = { 12, { 2, 4 }, { 6, 4 } },
    [FORMAT_RANGE_16] = { 16, { 2, 8 }, { 10, 4 } },
    [FORMAT_SAME_10] = { 10, { 2, 4 }, { 7, 2 } },
    [FORMAT_SAME_16] = { 16, { 2, 8 }, { 10, 4 } },
    [FORMAT_CD] = { 12, { 2, 4 }, { 6, 3 } },
    [FORMAT_CD_MSF] = { 12, { 3, 3 }, { 6, 3 } },
};

static uint64_t field_get(Field field, const uint8_t *cdb)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < field.bytes; i++) {
        value = value << 8 | cdb[field.at + i];
    }
    return value;
}

unsigned scsi_cdb_length(uint8_t opcode)
{
    static const uint8_t lengths[8] = { 6, 10, 10, 0, 16, 12, 0, 0 };
    return lengths[opcode >> 5];
}

unsigned scsi_format_cdb_length(ScsiFormat format)
{
    return formats[format].cdb;
}

/* A minute, second, frame address as a block address (MMC-5, 4.2.3.8). */
static uint64_t msf_to_lba(uint64_t msf)
{
    uint64_t frames = ((msf >> 16 & 0xff) * 60 + (msf >> 8 & 0xff)) * 75 + (msf & 0xff);
    return frames >= 150 ? frames - 150 : UINT32_MAX;
}

ScsiRange scsi_format_range(ScsiFormat format, const uint8_t *cdb)
{
    ScsiRange range = { field_get(formats[format].lba, cdb),
                        field_get(formats[format].count, cdb) };
    if (format == FORMAT_BLOCKS_6) {
        range.lba &= 0x1fffff;
        range.blocks = range.blocks ? range.blocks : 256;
    } else if (format == FORMAT_CD_MSF) {
        uint64_t end = msf_to_lba(range.blocks);
        range.lba = msf_to_lba(range.lba);
        range.blocks = end > range.lba ? end - range.lba : 0;
    }
    return range;
}

/* Bytes of a sector that READ CD asks for; 0: none, or a kind that there is not. */
static uint32_t cd_sector_bytes(const uint8_t *cdb)
{
    switch (cdb[9] & 0xf8) {
    case 0x10:
        return CD_DATA_BYTES;
    case 0xf8:
        return CD_RAW_BYTES;
    default:
        return 0;
    }
}

uint64_t scsi_format_length(ScsiFormat format, const uint8_t *cdb, uint32_t block_size)
{
    ScsiRange range = scsi_format_range(format, cdb);
    switch (format) {
    case FORMAT_ALLOC_6:
    case FORMAT_INQUIRY:
    case FORMAT_ALLOC_10:
    case FORMAT_ALLOC_12:
    case FORMAT_ALLOC_12S:
    case FORMAT_ALLOC_16:
        return range.blocks;
    case FORMAT_CAPACITY:
        return 8;
    case FORMAT_BLOCKS_6:
    case FORMAT_BLOCKS_10:
    case FORMAT_BLOCKS_12:
    case FORMAT_BLOCKS_16:
        return range.blocks * block_size;
    case FORMAT_SAME_10:
        return block_size;
    case FORMAT_SAME_16: /* NDOB: no block comes */
        return cdb[1] & 1 ? 0 : block_size;
    case FORMAT_CD:
    case FORMAT_CD_MSF:
        return range.blocks * cd_sector_bytes(cdb);
    default:
        return 0;
    }
}

void scsi_command_usage(const ScsiCommand *command, uint8_t opcode, uint8_t *usage)
{
    Field lba = formats[command->format].lba, count = formats[command->format].count;
    memset(usage, 0, 16);
    usage[0] = opcode;
    usage[2] = command->byte2;
    for (unsigned i = 0; i < lba.bytes; i++) {
        usage[lba.at + i] = 0xff;
    }
    for (unsigned i = 0; i < count.bytes; i++) {
        usage[count.at + i] = 0xff;
    }
    usage[1] = command->format == FORMAT_BLOCKS_6 ? 0x1f : command->byte1;
    if (command->has_action) {
        usage[1] = (usage[1] & ~0x1f) | command->action;
    }
}
