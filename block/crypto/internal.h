/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What sectors.c and requests.c share. */
#ifndef BLOCK_CRYPTO_INTERNAL_H
#define BLOCK_CRYPTO_INTERNAL_H

#include "block/crypto/sectors.h"
#include "vmm/util/bytes.h"

typedef struct SectorRequest SectorRequest;

struct Sectors {
    SectorSpec spec;
    CryptoCipher *cipher, *iv_cipher; /* iv_cipher: ESSIV */
    uint64_t inline_bytes;            /* up to here the loop does it itself */
    GMutex lock;                      /* leaf but for loops' queues; guards: */
    uint64_t buffered;                /* bytes of buffers in use */
    SectorRequest *active;            /* under way */
    unsigned partial;                 /* of them, those that write parts of sectors */
    SectorRequest *waiting, **waiting_tail;
};

#endif
