/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The encrypted sectors of an image: sectors of 512 bytes, each with an initialisation vector made
 * of its number, and the requests that go through them. Data is enciphered and deciphered in
 * buffers of the layer's own, of bounded size, never in a guest's memory; what is large by worker
 * threads, several requests at once.
 */
#ifndef BLOCK_CRYPTO_SECTORS_H
#define BLOCK_CRYPTO_SECTORS_H

#include "block/internal.h"
#include "vmm/crypto/cipher.h"

#define SECTOR_BYTES 512

/* In the order of sector_iv_names, which are QEMU's. */
typedef enum SectorIv { SECTOR_IV_PLAIN, SECTOR_IV_PLAIN64, SECTOR_IV_ESSIV } SectorIv;
extern const char *const sector_iv_names[];

typedef struct SectorSpec {
    CryptoAlg alg;
    CryptoMode mode;
    SectorIv iv;
    CryptoHash iv_hash; /* ESSIV */
} SectorSpec;

/* Whether the parts fit together and are there. Any thread, as all but sectors_submit. */
bool sectors_check(const SectorSpec *spec, GError **error);

typedef struct Sectors Sectors;
/* The key is copied. */
Sectors *sectors_new(const SectorSpec *spec, const uint8_t *key, size_t key_bytes, GError **error);
void sectors_free(Sectors *sectors); /* NULL: nothing; no request is in flight */
/* In place; bytes is a multiple of a sector. 0 or -errno. */
int sectors_run(Sectors *sectors, bool encrypt, uint64_t first, void *data, uint64_t bytes);

/* A read, a write, or a write of zeroes: its data is in `below` from byte `host` on, and the byte
 * `number` of the image decides the sectors' numbers; both lie at the same place of a sector. The
 * request ends by its `complete`, never inside this call. On the request's loop. */
void sectors_submit(Sectors *sectors, BlockNode *below, BlockRequest *request, uint64_t host,
                    uint64_t number);

#endif
