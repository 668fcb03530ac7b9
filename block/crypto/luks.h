/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * LUKS version 1, as its on-disk format specification has it (cryptsetup project, version 1.2.3):
 * the header, its eight key slots, anti-forensic splitting. The header lies `base` bytes into a
 * node: 0 in a luks image, where the extension says in a qcow2 image. Blocking; any thread that no
 * event loop runs on.
 */
#ifndef BLOCK_CRYPTO_LUKS_H
#define BLOCK_CRYPTO_LUKS_H

#include <json-c/json.h>
#include "block/crypto/sectors.h"

#define LUKS_HEADER_BYTES 592
#define LUKS_SLOTS        8
#define LUKS_STRIPES      4000 /* of slots that are made here */
#define LUKS_MAX_STRIPES  16384
#define LUKS_MAX_ITERATIONS                                                                        \
    (1u << 28) /* some minutes; what asks for more is no image of anybody's */
#define LUKS_SALT_BYTES   32
#define LUKS_DIGEST_BYTES 20

typedef struct LuksSlot {
    bool active;
    uint32_t iterations;
    uint8_t salt[LUKS_SALT_BYTES];
    uint32_t sector; /* of its key material, from base */
    uint32_t stripes;
} LuksSlot;

typedef struct LuksHeader {
    SectorSpec spec;
    CryptoHash hash;
    uint32_t payload_sector; /* where data begins in a luks image: the header's size */
    uint32_t key_bytes;
    uint8_t digest[LUKS_DIGEST_BYTES], digest_salt[LUKS_SALT_BYTES];
    uint32_t digest_iterations;
    char uuid[40];
    LuksSlot slots[LUKS_SLOTS];
} LuksHeader;

/* What options say of a new image; luks_options.c. */
typedef struct LuksOptions {
    SectorSpec spec;
    CryptoHash hash;
    uint64_t iter_time; /* ms */
} LuksOptions;

/* Bounds every field; room: bytes that the header with its slots and what follows has. Errors name
 * the field. */
bool luks_parse(LuksHeader *h, const uint8_t *data, uint64_t room, GError **error);
void luks_store(const LuksHeader *h, uint8_t *data);
bool luks_read(LuksHeader *h, BlockNode *node, uint64_t base, uint64_t room, GError **error);
bool luks_write(const LuksHeader *h, BlockNode *node, uint64_t base, GError **error);

/* Bytes of a new header with its slots. */
uint64_t luks_header_bytes(const LuksOptions *options);
/* A new header in memory, without an active slot, and its master key (crypto_key_alloc() of
 * h->key_bytes, the caller frees); NULL: error. */
uint8_t *luks_new(LuksHeader *h, const LuksOptions *options, GError **error);

/* luks_unlock.c. The master key by a password; NULL: error. The key is derived in a thread: a
 * command that allows it is answered later (later.h), others wait here, until the process is told
 * to end. */
uint8_t *luks_unlock(const LuksHeader *h, BlockNode *node, uint64_t base, const void *password,
                     size_t bytes, GError **error);
/* What lies in a slot; luks_free_material() wipes it. NULL: error. */
uint8_t *luks_read_material(const LuksHeader *h, unsigned slot, BlockNode *node, uint64_t base,
                            GError **error);
void luks_free_material(const LuksHeader *h, unsigned slot, uint8_t *material);
/* 1: key (h->key_bytes) is the master key; 0: another password's; -1: error. Deciphers material in
 * place. Any thread; takes as long as the slot's iterations say. */
int luks_open_slot(const LuksHeader *h, unsigned slot, uint8_t *material, const void *password,
                   size_t bytes, uint8_t *key, GError **error);
/* Whether a slot opens with the password: 1, 0; -1: error. */
int luks_slot_matches(const LuksHeader *h, unsigned slot, BlockNode *node, uint64_t base,
                      const void *password, size_t bytes, GError **error);
/* Stores the key under a password in a slot that is not active, and writes the header. */
bool luks_set_slot(LuksHeader *h, unsigned slot, BlockNode *node, uint64_t base, const uint8_t *key,
                   const void *password, size_t bytes, uint64_t iter_time, GError **error);
/* The slot's key material is overwritten: nothing opens it any more. */
bool luks_erase_slot(LuksHeader *h, unsigned slot, BlockNode *node, uint64_t base, GError **error);

/* luks_options.c. Options "cipher-alg", "cipher-mode", "ivgen-alg", "ivgen-hash-alg", "hash-alg",
 * "iter-time" behind a prefix. */
bool luks_take_options(LuksOptions *luks, Opts *options, const char *prefix, GError **error);
/* A secret's text, copied from the object of that id. Main thread. */
typedef struct LuksPassword {
    uint8_t *data; /* of crypto_key_alloc() */
    size_t bytes;
} LuksPassword;
bool luks_take_password(LuksPassword *password, const char *key_secret, GError **error);
void luks_forget_password(LuksPassword *password);
/* Writes a whole new header with one slot; its size, room of node behind base, is
 * luks_header_bytes(). Takes its time; any thread that no loop runs on. */
bool luks_create(BlockNode *node, uint64_t base, const LuksOptions *options,
                 const LuksPassword *password, GError **error);
/* Reads and unlocks; the error names `option`, which says the secret's id (NULL: it was not given).
 */
Sectors *luks_open(LuksHeader *h, BlockNode *node, uint64_t base, uint64_t room, const char *option,
                   const char *key_secret, GError **error);
/* Adds or erases slots, as "state", "new-secret", "old-secret", "keyslot", "iter-time" behind the
 * prefix say; key_secret opened the image. */
bool luks_amend(LuksHeader *h, BlockNode *node, uint64_t base, const char *key_secret,
                Opts *options, const char *prefix, GError **error);
/* What `info` tells, in QEMU's order; format: of an image around it, or NULL. */
void luks_describe(const LuksHeader *h, const char *format, json_object *data);

#endif
