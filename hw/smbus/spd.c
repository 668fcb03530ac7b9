/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Serial presence detect of DDR2 modules (JEDEC 21-C, annex J, revision 1.2). The machine's memory
 * is told as modules of powers of two; what is less than the smallest is not.
 */
#include <string.h>
#include "hw/smbus/smbus.h"
#include "vmm/util/bytes.h"

#define RANK_MIN   (128 * MIB)
#define RANK_MAX   (16 * GIB)
#define RANKS_MAX  8
#define COLUMNS    10
#define BANK_BITS  3
#define WIDTH_BITS 3 /* bytes of a rank's word */

/* Byte 31: 1 GB to 16 GB in bits 0 to 4, 128 MB to 512 MB in bits 5 to 7. */
static uint8_t rank_density(uint64_t rank)
{
    unsigned bit = (unsigned)(g_bit_storage(rank / RANK_MIN) - 1);
    return (uint8_t)(1U << (bit + 5) % 8);
}

static void describe_module(uint64_t size, uint8_t *spd)
{
    static const char part[] = "VIREO DDR2";
    uint64_t rank = MIN(size, RANK_MAX);
    uint8_t sum = 0;
    spd[0] = 128;                                                                   /* bytes used */
    spd[1] = 8;                                                                     /* of 1 << 8 */
    spd[2] = 8;                                                                     /* DDR2 */
    spd[3] = (uint8_t)(g_bit_storage(rank) - 1 - COLUMNS - BANK_BITS - WIDTH_BITS); /* rows */
    spd[4] = COLUMNS;
    spd[5] = (uint8_t)(size / rank - 1); /* ranks */
    spd[6] = 64;                         /* bits */
    spd[8] = 5;                          /* SSTL 1.8 V */
    spd[9] = 0x25;                       /* cycle of 2.5 ns: DDR2-800 */
    spd[10] = 0x40;
    spd[12] = 0x82; /* refresh 7.8 us, by itself */
    spd[13] = 8;    /* bits of a chip */
    spd[16] = 0x0c; /* bursts of 4 and 8 */
    spd[17] = 1 << BANK_BITS;
    spd[18] = 0x70; /* CAS latencies 4, 5, 6 */
    spd[20] = 2;    /* unbuffered DIMM */
    spd[22] = 3;
    spd[23] = 0x30; /* cycle and access at CAS latency 5, then 4 */
    spd[24] = 0x45;
    spd[25] = 0x3d;
    spd[26] = 0x50;
    spd[27] = 50; /* row precharge 12.5 ns */
    spd[28] = 30;
    spd[29] = 50; /* row to column 12.5 ns */
    spd[30] = 45; /* active to precharge */
    spd[31] = rank_density(rank);
    spd[32] = 0x17; /* set-up and hold times */
    spd[33] = 0x25;
    spd[34] = 0x05;
    spd[35] = 0x12;
    spd[36] = 60; /* write recovery */
    spd[37] = 30;
    spd[38] = 30;
    spd[41] = 57; /* active to active */
    spd[42] = 127;
    spd[43] = 0x80;
    spd[44] = 0x14;
    spd[45] = 0x1e;
    spd[62] = 0x12; /* revision 1.2 */
    for (unsigned i = 0; i < 63; i++) {
        sum = (uint8_t)(sum + spd[i]);
    }
    spd[63] = sum;
    memset(spd + 73, ' ', 18);
    memcpy(spd + 73, part, sizeof(part) - 1);
}

void spd_describe(uint64_t ram_size, uint8_t spd[SPD_MODULES][SPD_SIZE])
{
    memset(spd, 0, SPD_MODULES * SPD_SIZE);
    for (unsigned i = 0; i < SPD_MODULES && ram_size >= RANK_MIN; i++) {
        uint64_t size = 1ULL << (g_bit_storage(ram_size) - 1);
        size = MIN(size, RANK_MAX * RANKS_MAX);
        describe_module(size, spd[i]);
        ram_size -= size;
    }
}
