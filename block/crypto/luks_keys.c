/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Key slots of LUKS version 1: the master key, split over many stripes so that a few lost sectors
 * lose it, enciphered with a key that PBKDF2 makes of a password. Sections "AF splitter" and
 * "Operations" of the specification.
 */
#include <errno.h>
#include "block/crypto/luks.h"
#include "vmm/util/bytes.h"

/* ---- Anti-forensic splitting ---- */

/* Each digest-sized part of the block becomes the digest of its number and itself. */
static bool diffuse(CryptoHash hash, uint8_t *block, size_t bytes, GError **error)
{
    size_t unit = crypto_hash_bytes(hash);
    uint8_t in[4 + CRYPTO_MAX_DIGEST], out[CRYPTO_MAX_DIGEST];
    bool ok = true;
    for (uint32_t i = 0; ok && i * unit < bytes; i++) {
        size_t n = MIN(unit, bytes - i * unit);
        store_be32(in, i);
        memcpy(in + 4, block + i * unit, n);
        ok = crypto_digest(hash, in, 4 + n, out, error);
        memcpy(block + i * unit, out, ok ? n : 0);
    }
    explicit_bzero(in, sizeof(in));
    explicit_bzero(out, sizeof(out));
    return ok;
}

static void xor_into(uint8_t *to, const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        to[i] ^= from[i];
    }
}

static bool af_split(CryptoHash hash, const uint8_t *key, size_t bytes, uint32_t stripes,
                     uint8_t *out, GError **error)
{
    uint8_t block[CRYPTO_MAX_KEY] = { 0 };
    bool ok = crypto_random(out, (stripes - 1) * bytes, error);
    for (uint32_t i = 0; ok && i < stripes - 1; i++) {
        xor_into(block, out + i * bytes, bytes);
        ok = diffuse(hash, block, bytes, error);
    }
    if (ok) {
        memcpy(out + (stripes - 1) * bytes, key, bytes);
        xor_into(out + (stripes - 1) * bytes, block, bytes);
    }
    explicit_bzero(block, sizeof(block));
    return ok;
}

static bool af_merge(CryptoHash hash, const uint8_t *in, size_t bytes, uint32_t stripes,
                     uint8_t *key, GError **error)
{
    bool ok = true;
    memset(key, 0, bytes);
    for (uint32_t i = 0; ok && i < stripes - 1; i++) {
        xor_into(key, in + i * bytes, bytes);
        ok = diffuse(hash, key, bytes, error);
    }
    xor_into(key, in + (stripes - 1) * bytes, bytes);
    return ok;
}

/* ---- Slots ---- */

static uint64_t material_bytes(const LuksHeader *h, const LuksSlot *slot)
{
    return ALIGN_UP((uint64_t)slot->stripes * h->key_bytes, SECTOR_BYTES);
}

static uint64_t material_offset(const LuksSlot *slot, uint64_t base)
{
    return base + (uint64_t)slot->sector * SECTOR_BYTES;
}

/* The cipher of a slot's key material. */
static Sectors *slot_sectors(const LuksHeader *h, const LuksSlot *slot, const void *password,
                             size_t bytes, GError **error)
{
    uint8_t *key = crypto_key_alloc(h->key_bytes);
    Sectors *sectors = NULL;
    if (crypto_pbkdf2(h->hash, password, bytes, slot->salt, LUKS_SALT_BYTES, slot->iterations, key,
                      h->key_bytes, error)) {
        sectors = sectors_new(&h->spec, key, h->key_bytes, error);
    }
    crypto_key_free(key, h->key_bytes);
    return sectors;
}

static bool make_digest(const LuksHeader *h, const uint8_t *key, uint8_t *digest, GError **error)
{
    return crypto_pbkdf2(h->hash, key, h->key_bytes, h->digest_salt, LUKS_SALT_BYTES,
                         h->digest_iterations, digest, LUKS_DIGEST_BYTES, error);
}

uint8_t *luks_read_material(const LuksHeader *h, unsigned slot, BlockNode *node, uint64_t base,
                            GError **error)
{
    uint64_t length = material_bytes(h, &h->slots[slot]);
    uint8_t *material = crypto_key_alloc(length);
    int ret = node_pread(node, material_offset(&h->slots[slot], base), material, length);
    if (ret) {
        error_set_errno(error, -ret, "key slot %u: cannot read key material", slot);
        luks_free_material(h, slot, material);
        return NULL;
    }
    return material;
}

void luks_free_material(const LuksHeader *h, unsigned slot, uint8_t *material)
{
    crypto_key_free(material, material_bytes(h, &h->slots[slot]));
}

int luks_open_slot(const LuksHeader *h, unsigned slot, uint8_t *material, const void *password,
                   size_t bytes, uint8_t *key, GError **error)
{
    const LuksSlot *s = &h->slots[slot];
    uint8_t digest[LUKS_DIGEST_BYTES];
    Sectors *sectors = slot_sectors(h, s, password, bytes, error);
    int ret = sectors ? sectors_run(sectors, false, 0, material, material_bytes(h, s)) : 0;
    bool ok = sectors && (ret == 0 || error_set_errno(error, -ret, "cannot decipher it")) &&
              af_merge(h->hash, material, h->key_bytes, s->stripes, key, error) &&
              make_digest(h, key, digest, error);
    sectors_free(sectors);
    if (!ok) {
        g_prefix_error(error, "key slot %u: ", slot);
        return -1;
    }
    return memcmp(digest, h->digest, sizeof(digest)) == 0;
}

int luks_slot_matches(const LuksHeader *h, unsigned slot, BlockNode *node, uint64_t base,
                      const void *password, size_t bytes, GError **error)
{
    uint8_t *material = luks_read_material(h, slot, node, base, error);
    if (!material) {
        return -1;
    }
    uint8_t *key = crypto_key_alloc(h->key_bytes);
    int ret = luks_open_slot(h, slot, material, password, bytes, key, error);
    crypto_key_free(key, h->key_bytes);
    luks_free_material(h, slot, material);
    return ret;
}

bool luks_set_slot(LuksHeader *h, unsigned index, BlockNode *node, uint64_t base,
                   const uint8_t *key, const void *password, size_t bytes, uint64_t iter_time,
                   GError **error)
{
    LuksSlot *slot = &h->slots[index], old = *slot;
    slot->stripes = LUKS_STRIPES;
    if (material_bytes(h, slot) > material_bytes(h, &old)) {
        slot->stripes = old.stripes; /* of another program, with less room */
    }
    uint64_t length = material_bytes(h, slot);
    Sectors *sectors = NULL;
    if (crypto_pbkdf2_measure(h->hash, h->key_bytes, iter_time, 1000, &slot->iterations, error) &&
        crypto_random(slot->salt, LUKS_SALT_BYTES, error)) {
        slot->iterations = MIN(slot->iterations, LUKS_MAX_ITERATIONS);
        sectors = slot_sectors(h, slot, password, bytes, error);
    }
    uint8_t *material = crypto_key_alloc(length);
    bool ok = sectors && af_split(h->hash, key, h->key_bytes, slot->stripes, material, error);
    if (ok) {
        int ret = sectors_run(sectors, true, 0, material, length);
        ret = ret ? ret : node_pwrite(node, material_offset(slot, base), material, length);
        ret = ret ? ret : node_flush(node);
        ok = ret == 0 || error_set_errno(error, -ret, "cannot write key slot %u", index);
    }
    crypto_key_free(material, length);
    sectors_free(sectors);
    slot->active = ok;
    if (ok && luks_write(h, node, base, error)) {
        return true;
    }
    *slot = old;
    return false;
}

#define ERASE_ROUNDS 8 /* so that magnetic disks and journals forget too */

bool luks_erase_slot(LuksHeader *h, unsigned index, BlockNode *node, uint64_t base, GError **error)
{
    LuksSlot *slot = &h->slots[index];
    uint64_t length = material_bytes(h, slot);
    slot->active = false;
    slot->iterations = 0;
    memset(slot->salt, 0, LUKS_SALT_BYTES);
    bool ok = luks_write(h, node, base, error);
    g_autofree uint8_t *garbage = g_malloc(length);
    for (int i = 0; ok && i < ERASE_ROUNDS; i++) {
        ok = crypto_random(garbage, length, error);
        int ret = ok ? node_pwrite(node, material_offset(slot, base), garbage, length) : 0;
        ret = ret ? ret : node_flush(node);
        ok = ok &&
             (ret == 0 || error_set_errno(error, -ret, "cannot overwrite key slot %u", index));
    }
    return ok;
}

/* ---- A new header ---- */

/* QEMU and cryptsetup begin slots at multiples of 4 KiB. */
#define SLOT_ALIGN 8 /* sectors */

static uint64_t slot_room(const LuksOptions *o)
{
    uint64_t bytes = crypto_key_bytes(o->spec.alg, o->spec.mode) * (uint64_t)LUKS_STRIPES;
    return ALIGN_UP((bytes + SECTOR_BYTES - 1) / SECTOR_BYTES, SLOT_ALIGN);
}

uint64_t luks_header_bytes(const LuksOptions *o)
{
    return (SLOT_ALIGN + LUKS_SLOTS * slot_room(o)) * SECTOR_BYTES;
}

uint8_t *luks_new(LuksHeader *h, const LuksOptions *o, GError **error)
{
    memset(h, 0, sizeof(*h));
    h->spec = o->spec;
    h->hash = o->hash;
    h->key_bytes = (uint32_t)crypto_key_bytes(o->spec.alg, o->spec.mode);
    h->payload_sector = (uint32_t)(luks_header_bytes(o) / SECTOR_BYTES);
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        h->slots[i].sector = (uint32_t)(SLOT_ALIGN + i * slot_room(o));
        h->slots[i].stripes = LUKS_STRIPES;
    }
    g_autofree char *uuid = g_uuid_string_random();
    g_strlcpy(h->uuid, uuid, sizeof(h->uuid));
    uint8_t *key = crypto_key_alloc(h->key_bytes);
    if (crypto_hash_check(o->hash, error) && sectors_check(&o->spec, error) &&
        crypto_random(key, h->key_bytes, error) &&
        crypto_random(h->digest_salt, LUKS_SALT_BYTES, error) &&
        crypto_pbkdf2_measure(o->hash, LUKS_DIGEST_BYTES, o->iter_time / 8, 1000,
                              &h->digest_iterations, error)) {
        h->digest_iterations = MIN(h->digest_iterations, LUKS_MAX_ITERATIONS);
        if (make_digest(h, key, h->digest, error)) {
            return key;
        }
    }
    crypto_key_free(key, h->key_bytes);
    return NULL;
}
