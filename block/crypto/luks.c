/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header of LUKS version 1: parsing and storing. */
#include "block/crypto/luks.h"

#include <errno.h>
#include "vmm/util/bytes.h"

/* Offsets of the specification's table "PHDR layout", and of a key slot's. */
enum {
    H_VERSION = 6,
    H_CIPHER_NAME = 8,
    H_CIPHER_MODE = 40,
    H_HASH = 72,
    H_PAYLOAD = 104,
    H_KEY_BYTES = 108,
    H_DIGEST = 112,
    H_DIGEST_SALT = 132,
    H_DIGEST_ITERATIONS = 164,
    H_UUID = 168,
    H_SLOTS = 208,
    H_TEXT_BYTES = 32,
    H_UUID_BYTES = 40,
    SLOT_ACTIVE = 0,
    SLOT_ITERATIONS = 4,
    SLOT_SALT = 8,
    SLOT_SECTOR = 40,
    SLOT_STRIPES = 44,
    SLOT_BYTES = 48,
};

#define SLOT_ENABLED  0x00ac71f3u
#define SLOT_DISABLED 0x0000deadu

static const uint8_t magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };
/* Key material may begin behind the header's last sector. */
#define FIRST_SECTOR ((LUKS_HEADER_BYTES + SECTOR_BYTES - 1) / SECTOR_BYTES)

/* ---- Parsing ---- */

static bool take_text(const uint8_t *data, const char *what, char *text, GError **error)
{
    if (!memchr(data, 0, H_TEXT_BYTES)) {
        return error_set(error, "%s does not end", what);
    }
    strcpy(text, (const char *)data);
    for (const char *p = text; *p; p++) {
        if (!g_ascii_isgraph(*p)) {
            return error_set(error, "%s is no text", what);
        }
    }
    return true;
}

static bool find_name(const char *const *names, const char *name, int *value)
{
    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], name)) {
            *value = i;
            return true;
        }
    }
    return false;
}

static bool take_hash(const char *name, CryptoHash *hash, GError **error)
{
    int value = 0;
    if (!find_name(crypto_hash_names, name, &value)) {
        return error_set(error, "hash '%s' is not known", name);
    }
    *hash = (CryptoHash)value;
    return true;
}

/* "xts-plain64", "cbc-essiv:sha256", "ecb". */
static bool take_mode(LuksHeader *h, const char *text, GError **error)
{
    g_auto(GStrv) parts = g_strsplit_set(text, "-:", 3);
    int mode = 0, iv = SECTOR_IV_PLAIN;
    if (!parts[0] || !find_name(crypto_mode_names, parts[0], &mode)) {
        return error_set(error, "cipher mode '%s' is not known", text);
    }
    if (parts[1] ? !find_name(sector_iv_names, parts[1], &iv) : mode != CRYPTO_ECB) {
        return error_set(error, "IV generator of cipher mode '%s' is not known", text);
    }
    h->spec.mode = (CryptoMode)mode;
    h->spec.iv = (SectorIv)iv;
    if (iv == SECTOR_IV_ESSIV && (!parts[1] || !parts[2])) {
        return error_set(error, "cipher mode '%s' names no hash for essiv", text);
    }
    return !parts[1] || !parts[2] || take_hash(parts[2], &h->spec.iv_hash, error);
}

static bool take_cipher(LuksHeader *h, const char *name, GError **error)
{
    for (int i = 0; i < CRYPTO_ALG_COUNT; i++) {
        const char *dash = strchr(crypto_alg_names[i], '-');
        size_t n = (size_t)(dash - crypto_alg_names[i]);
        if (strlen(name) == n && !strncmp(name, crypto_alg_names[i], n) &&
            crypto_key_bytes((CryptoAlg)i, h->spec.mode) == h->key_bytes) {
            h->spec.alg = (CryptoAlg)i;
            return true;
        }
    }
    return error_set(error, "cipher '%s' in mode %s with a key of %u bytes is not known", name,
                     crypto_mode_names[h->spec.mode], h->key_bytes);
}

static bool take_fields(LuksHeader *h, const uint8_t *data, GError **error)
{
    char cipher[H_TEXT_BYTES], mode[H_TEXT_BYTES], hash[H_TEXT_BYTES];
    h->payload_sector = load_be32(data + H_PAYLOAD);
    h->key_bytes = load_be32(data + H_KEY_BYTES);
    h->digest_iterations = load_be32(data + H_DIGEST_ITERATIONS);
    memcpy(h->digest, data + H_DIGEST, LUKS_DIGEST_BYTES);
    memcpy(h->digest_salt, data + H_DIGEST_SALT, LUKS_SALT_BYTES);
    memcpy(h->uuid, data + H_UUID, H_UUID_BYTES - 1);
    for (char *p = h->uuid; *p; p++) {
        *p = g_ascii_isgraph(*p) ? *p : '?';
    }
    return take_text(data + H_CIPHER_NAME, "cipher name", cipher, error) &&
           take_text(data + H_CIPHER_MODE, "cipher mode", mode, error) &&
           take_text(data + H_HASH, "hash name", hash, error) && take_mode(h, mode, error) &&
           take_cipher(h, cipher, error) && take_hash(hash, &h->hash, error);
}

static uint64_t slot_sectors(const LuksHeader *h, const LuksSlot *slot)
{
    return ((uint64_t)slot->stripes * h->key_bytes + SECTOR_BYTES - 1) / SECTOR_BYTES;
}

static bool check_iterations(const char *what, uint32_t iterations, GError **error)
{
    return (iterations && iterations <= LUKS_MAX_ITERATIONS) ||
           error_set(error, "%s of %u iterations: 1 to %u", what, iterations, LUKS_MAX_ITERATIONS);
}

static bool take_slot(LuksHeader *h, unsigned index, const uint8_t *data, GError **error)
{
    LuksSlot *slot = &h->slots[index];
    uint32_t state = load_be32(data + SLOT_ACTIVE);
    slot->active = state == SLOT_ENABLED;
    slot->iterations = load_be32(data + SLOT_ITERATIONS);
    slot->sector = load_be32(data + SLOT_SECTOR);
    slot->stripes = load_be32(data + SLOT_STRIPES);
    memcpy(slot->salt, data + SLOT_SALT, LUKS_SALT_BYTES);
    if (state != SLOT_ENABLED && state != SLOT_DISABLED) {
        return error_set(error, "key slot %u is neither active nor inactive (0x%08x)", index,
                         state);
    }
    if (!slot->stripes || slot->stripes > LUKS_MAX_STRIPES) {
        return error_set(error, "key slot %u has %u stripes: 1 to %u", index, slot->stripes,
                         LUKS_MAX_STRIPES);
    }
    g_autofree char *what = g_strdup_printf("key slot %u", index);
    if (slot->active && !check_iterations(what, slot->iterations, error)) {
        return false;
    }
    if (slot->sector < FIRST_SECTOR) {
        return error_set(error, "key slot %u at sector %u is inside the header", index,
                         slot->sector);
    }
    return slot->sector + slot_sectors(h, slot) <= h->payload_sector ||
           error_set(error,
                     "key slot %u (%" G_GUINT64_FORMAT
                     " sectors at %u) reaches into the data at sector %u",
                     index, slot_sectors(h, slot), slot->sector, h->payload_sector);
}

static bool check_overlaps(const LuksHeader *h, GError **error)
{
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        for (unsigned j = i + 1; j < LUKS_SLOTS; j++) {
            const LuksSlot *a = &h->slots[i], *b = &h->slots[j];
            if (a->sector < b->sector + slot_sectors(h, b) &&
                b->sector < a->sector + slot_sectors(h, a)) {
                return error_set(error, "key slots %u and %u overlap", i, j);
            }
        }
    }
    return true;
}

bool luks_parse(LuksHeader *h, const uint8_t *data, uint64_t room, GError **error)
{
    memset(h, 0, sizeof(*h));
    if (memcmp(data, magic, sizeof(magic)) != 0) {
        return error_set(error, "there is no LUKS header");
    }
    unsigned version = load_be16(data + H_VERSION);
    if (version != 1) {
        return error_set(error,
                         "LUKS version %u: only version 1 can be opened ('cryptsetup convert "
                         "--type luks1' makes it of some)",
                         version);
    }
    if (!take_fields(h, data, error) ||
        !check_iterations("master key", h->digest_iterations, error)) {
        return false;
    }
    if ((uint64_t)h->payload_sector * SECTOR_BYTES > room) {
        return error_set(error,
                         "data offset %u (sectors) is behind the end of %" G_GUINT64_FORMAT
                         " bytes: the image is truncated or corrupt",
                         h->payload_sector, room);
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (!take_slot(h, i, data + H_SLOTS + i * SLOT_BYTES, error)) {
            return false;
        }
    }
    return check_overlaps(h, error);
}

/* ---- Storing ---- */

static void put_text(uint8_t *data, const char *text)
{
    size_t n = MIN(strlen(text), H_TEXT_BYTES - 1);
    memcpy(data, text, n);
}

static char *mode_text(const LuksHeader *h)
{
    bool essiv = h->spec.iv == SECTOR_IV_ESSIV;
    return g_strdup_printf("%s-%s%s%s", crypto_mode_names[h->spec.mode],
                           sector_iv_names[h->spec.iv], essiv ? ":" : "",
                           essiv ? crypto_hash_names[h->spec.iv_hash] : "");
}

void luks_store(const LuksHeader *h, uint8_t *data)
{
    const char *name = crypto_alg_names[h->spec.alg];
    g_autofree char *cipher = g_strndup(name, strcspn(name, "-"));
    g_autofree char *mode = mode_text(h);
    memset(data, 0, LUKS_HEADER_BYTES);
    memcpy(data, magic, sizeof(magic));
    store_be16(data + H_VERSION, 1);
    put_text(data + H_CIPHER_NAME, cipher);
    put_text(data + H_CIPHER_MODE, mode);
    put_text(data + H_HASH, crypto_hash_names[h->hash]);
    store_be32(data + H_PAYLOAD, h->payload_sector);
    store_be32(data + H_KEY_BYTES, h->key_bytes);
    memcpy(data + H_DIGEST, h->digest, LUKS_DIGEST_BYTES);
    memcpy(data + H_DIGEST_SALT, h->digest_salt, LUKS_SALT_BYTES);
    store_be32(data + H_DIGEST_ITERATIONS, h->digest_iterations);
    memcpy(data + H_UUID, h->uuid, strlen(h->uuid));
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        const LuksSlot *slot = &h->slots[i];
        uint8_t *p = data + H_SLOTS + i * SLOT_BYTES;
        store_be32(p + SLOT_ACTIVE, slot->active ? SLOT_ENABLED : SLOT_DISABLED);
        store_be32(p + SLOT_ITERATIONS, slot->iterations);
        memcpy(p + SLOT_SALT, slot->salt, LUKS_SALT_BYTES);
        store_be32(p + SLOT_SECTOR, slot->sector);
        store_be32(p + SLOT_STRIPES, slot->stripes);
    }
}

bool luks_read(LuksHeader *h, BlockNode *node, uint64_t base, uint64_t room, GError **error)
{
    uint8_t data[LUKS_HEADER_BYTES];
    if (room < sizeof(data)) {
        return error_set(error, "%" G_GUINT64_FORMAT " bytes are too few for a LUKS header", room);
    }
    int ret = node_pread(node, base, data, sizeof(data));
    if (ret < 0) {
        return error_set_errno(error, -ret, "cannot read the LUKS header");
    }
    if (!luks_parse(h, data, room, error)) {
        g_prefix_error(error, "LUKS header: ");
        return false;
    }
    return true;
}

bool luks_write(const LuksHeader *h, BlockNode *node, uint64_t base, GError **error)
{
    uint8_t data[LUKS_HEADER_BYTES];
    luks_store(h, data);
    int ret = node_pwrite(node, base, data, sizeof(data));
    ret = ret ? ret : node_flush(node);
    return ret == 0 || error_set_errno(error, -ret, "cannot write the LUKS header");
}

/* ---- Describing ---- */

static void add_text(json_object *o, const char *key, const char *text)
{
    json_object_object_add(o, key, json_object_new_string(text));
}

static json_object *describe_slot(const LuksSlot *slot)
{
    json_object *o = json_object_new_object();
    json_object_object_add(o, "active", json_object_new_boolean(slot->active));
    if (slot->active) {
        json_object_object_add(o, "iters", json_object_new_int64(slot->iterations));
    }
    json_object_object_add(o, "key-offset",
                           json_object_new_uint64((uint64_t)slot->sector * SECTOR_BYTES));
    if (slot->active) {
        json_object_object_add(o, "stripes", json_object_new_int64(slot->stripes));
    }
    return o;
}

void luks_describe(const LuksHeader *h, const char *format, json_object *data)
{
    json_object *slots = json_object_new_array();
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        json_object_array_add(slots, describe_slot(&h->slots[i]));
    }
    add_text(data, "ivgen-alg", sector_iv_names[h->spec.iv]);
    add_text(data, "hash-alg", crypto_hash_names[h->hash]);
    add_text(data, "cipher-alg", crypto_alg_names[h->spec.alg]);
    add_text(data, "uuid", h->uuid);
    if (h->spec.iv == SECTOR_IV_ESSIV) {
        add_text(data, "ivgen-hash-alg", crypto_hash_names[h->spec.iv_hash]);
    }
    if (format) {
        add_text(data, "format", format);
    }
    add_text(data, "cipher-mode", crypto_mode_names[h->spec.mode]);
    json_object_object_add(data, "slots", slots);
    json_object_object_add(data, "payload-offset",
                           json_object_new_uint64((uint64_t)h->payload_sector * SECTOR_BYTES));
    json_object_object_add(data, "master-key-iters", json_object_new_int64(h->digest_iterations));
}
