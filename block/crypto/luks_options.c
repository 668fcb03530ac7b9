/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LUKS as options have it: making a header, opening one with a secret, changing its slots. */
#include <errno.h>
#include "block/crypto/luks.h"
#include "vmm/object/secret.h"
#include "vmm/util/bytes.h"

/* ---- Options ---- */

static bool take_enum(Opts *options, const char *prefix, const char *name, const char *const *names,
                      int *value, GError **error)
{
    g_autofree char *key = g_strconcat(prefix, name, NULL);
    return opts_get_enum(options, key, names, value, error);
}

static bool take_iter_time(Opts *options, const char *prefix, uint64_t *ms, GError **error)
{
    g_autofree char *key = g_strconcat(prefix, "iter-time", NULL);
    if (!opts_get_uint(options, key, UINT32_MAX, ms, error)) {
        return false;
    }
    return (*ms && *ms <= 3600000) ||
           error_set(error, "%s=%" G_GUINT64_FORMAT ": 1 to 3600000 milliseconds", key, *ms);
}

bool luks_take_options(LuksOptions *luks, Opts *options, const char *prefix, GError **error)
{
    int alg = CRYPTO_AES_256, mode = CRYPTO_XTS, iv = SECTOR_IV_PLAIN64;
    int iv_hash = CRYPTO_SHA256, hash = CRYPTO_SHA256;
    luks->iter_time = 2000;
    if (!take_enum(options, prefix, "cipher-alg", crypto_alg_names, &alg, error) ||
        !take_enum(options, prefix, "cipher-mode", crypto_mode_names, &mode, error) ||
        !take_enum(options, prefix, "ivgen-alg", sector_iv_names, &iv, error) ||
        !take_enum(options, prefix, "ivgen-hash-alg", crypto_hash_names, &iv_hash, error) ||
        !take_enum(options, prefix, "hash-alg", crypto_hash_names, &hash, error) ||
        !take_iter_time(options, prefix, &luks->iter_time, error)) {
        return false;
    }
    luks->spec = (SectorSpec){ .alg = (CryptoAlg)alg,
                               .mode = (CryptoMode)mode,
                               .iv = (SectorIv)iv,
                               .iv_hash = (CryptoHash)iv_hash };
    luks->hash = (CryptoHash)hash;
    return sectors_check(&luks->spec, error) && crypto_hash_check(luks->hash, error);
}

/* ---- Creating and opening ---- */

bool luks_take_password(LuksPassword *password, const char *key_secret, GError **error)
{
    const uint8_t *data;
    size_t bytes;
    if (!secret_find_text(key_secret, &data, &bytes, error)) {
        return false;
    }
    *password = (LuksPassword){ crypto_key_alloc(MAX(bytes, 1)), bytes };
    memcpy(password->data, data, bytes);
    return true;
}

void luks_forget_password(LuksPassword *password)
{
    if (password->data) {
        crypto_key_free(password->data, MAX(password->bytes, 1));
        password->data = NULL;
    }
}

bool luks_create(BlockNode *node, uint64_t base, const LuksOptions *options,
                 const LuksPassword *password, GError **error)
{
    LuksHeader h;
    uint8_t *key = luks_new(&h, options, error);
    if (!key) {
        return false;
    }
    bool ok = luks_set_slot(&h, 0, node, base, key, password->data, password->bytes,
                            options->iter_time, error);
    crypto_key_free(key, h.key_bytes);
    return ok;
}

Sectors *luks_open(LuksHeader *h, BlockNode *node, uint64_t base, uint64_t room, const char *option,
                   const char *key_secret, GError **error)
{
    const uint8_t *password;
    size_t bytes;
    if (!crypto_check(error) || !luks_read(h, node, base, room, error) ||
        !sectors_check(&h->spec, error) || !crypto_hash_check(h->hash, error)) {
        return NULL;
    }
    if (!key_secret) {
        error_set(error, "'%s' is missing: it names the -object secret that has the password",
                  option);
        return NULL;
    }
    if (!secret_find_text(key_secret, &password, &bytes, error)) {
        return NULL;
    }
    uint8_t *key = luks_unlock(h, node, base, password, bytes, error);
    if (!key) {
        return NULL;
    }
    Sectors *sectors = sectors_new(&h->spec, key, h->key_bytes, error);
    crypto_key_free(key, h->key_bytes);
    return sectors;
}

/* ---- Changing slots ---- */

typedef struct Amend {
    LuksHeader *h;
    BlockNode *node;
    uint64_t base;
    const char *key_secret, *new_secret, *old_secret;
    bool has_slot;
    uint64_t slot, iter_time;
} Amend;

static unsigned count_active(const LuksHeader *h)
{
    unsigned n = 0;
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        n += h->slots[i].active;
    }
    return n;
}

static bool choose_slot(Amend *a, GError **error)
{
    if (a->has_slot) {
        return !a->h->slots[a->slot].active ||
               error_set(error,
                         "key slot %" G_GUINT64_FORMAT
                         " is in use: make it inactive before a new password goes there",
                         a->slot);
    }
    for (a->slot = 0; a->slot < LUKS_SLOTS; a->slot++) {
        if (!a->h->slots[a->slot].active) {
            return true;
        }
    }
    return error_set(error, "no key slot is free: one of the eight has to become inactive first");
}

static bool add_slot(Amend *a, GError **error)
{
    const uint8_t *old, *new;
    size_t old_bytes, new_bytes;
    if (!a->new_secret) {
        return error_set(error,
                         "state=active adds a password: 'new-secret' must say which secret has it");
    }
    if (a->old_secret) {
        return error_set(
            error,
            "state=active takes no 'old-secret': the image was opened with a password already");
    }
    if (!choose_slot(a, error) || !secret_find_text(a->key_secret, &old, &old_bytes, error) ||
        !secret_find_text(a->new_secret, &new, &new_bytes, error)) {
        return false;
    }
    uint8_t *key = luks_unlock(a->h, a->node, a->base, old, old_bytes, error);
    bool ok = key && luks_set_slot(a->h, (unsigned)a->slot, a->node, a->base, key, new, new_bytes,
                                   a->iter_time, error);
    crypto_key_free(key, a->h->key_bytes);
    return ok;
}

static bool erase_numbered(Amend *a, GError **error)
{
    unsigned slot = (unsigned)a->slot;
    const uint8_t *old;
    size_t bytes;
    if (!a->h->slots[slot].active) {
        return error_set(error, "key slot %u is inactive already", slot);
    }
    if (a->old_secret) {
        int match = secret_find_text(a->old_secret, &old, &bytes, error)
                        ? luks_slot_matches(a->h, slot, a->node, a->base, old, bytes, error)
                        : -1;
        if (match <= 0) {
            return match == 0 &&
                   error_set(error, "key slot %u has another password than that of 'old-secret'",
                             slot);
        }
    }
    if (count_active(a->h) == 1) {
        return error_set(
            error,
            "key slot %u is the only one in use: without it nobody could ever read the image again",
            slot);
    }
    return luks_erase_slot(a->h, slot, a->node, a->base, error);
}

static bool erase_matching(Amend *a, GError **error)
{
    const uint8_t *old;
    size_t bytes;
    bool matches[LUKS_SLOTS] = { false };
    unsigned count = 0;
    if (!secret_find_text(a->old_secret, &old, &bytes, error)) {
        return false;
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        int match = a->h->slots[i].active
                        ? luks_slot_matches(a->h, i, a->node, a->base, old, bytes, error)
                        : 0;
        if (match < 0) {
            return false;
        }
        matches[i] = match;
        count += matches[i];
    }
    if (!count) {
        return error_set(error, "no active key slot has the password of 'old-secret'");
    }
    if (count == count_active(a->h)) {
        return error_set(error, "every active key slot has the password of 'old-secret': without "
                                "them nobody could ever read the image again");
    }
    for (unsigned i = 0; i < LUKS_SLOTS; i++) {
        if (matches[i] && !luks_erase_slot(a->h, i, a->node, a->base, error)) {
            return false;
        }
    }
    return true;
}

static bool erase_slots(Amend *a, GError **error)
{
    if (a->new_secret) {
        return error_set(error, "state=inactive takes no 'new-secret': slots are only erased");
    }
    if (!a->has_slot && !a->old_secret) {
        return error_set(error, "state=inactive needs 'keyslot' (which slot to erase) or "
                                "'old-secret' (whose slots to erase)");
    }
    return a->has_slot ? erase_numbered(a, error) : erase_matching(a, error);
}

static const char *take_text(Opts *options, const char *prefix, const char *name)
{
    g_autofree char *key = g_strconcat(prefix, name, NULL);
    return opts_get(options, key);
}

bool luks_amend(LuksHeader *h, BlockNode *node, uint64_t base, const char *key_secret,
                Opts *options, const char *prefix, GError **error)
{
    static const char *const states[] = { "active", "inactive", NULL };
    Amend a = { .h = h,
                .node = node,
                .base = base,
                .key_secret = key_secret,
                .new_secret = take_text(options, prefix, "new-secret"),
                .old_secret = take_text(options, prefix, "old-secret"),
                .iter_time = 2000 };
    int state = -1;
    g_autofree char *slot = g_strconcat(prefix, "keyslot", NULL);
    a.has_slot = opts_has(options, slot);
    if (!take_enum(options, prefix, "state", states, &state, error) ||
        !opts_get_uint(options, slot, UINT64_MAX, &a.slot, error) ||
        !take_iter_time(options, prefix, &a.iter_time, error)) {
        return false;
    }
    if (state < 0) {
        return error_set(error, "'%sstate' is missing: active adds a password, inactive erases one",
                         prefix);
    }
    if (a.has_slot && a.slot >= LUKS_SLOTS) {
        return error_set(
            error, "there is no key slot %" G_GUINT64_FORMAT ": they have the numbers 0 to %d",
            a.slot, LUKS_SLOTS - 1);
    }
    return state == 0 ? add_slot(&a, error) : erase_slots(&a, error);
}
