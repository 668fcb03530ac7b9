/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sectors and their initialisation vectors; requests.c moves the data. */
#include "block/crypto/sectors.h"

#include <errno.h>
#include "block/crypto/internal.h"

const char *const sector_iv_names[] = { "plain", "plain64", "essiv", NULL };

/* ESSIV: a cipher of the same family whose key is a digest. */
static bool essiv_alg(const SectorSpec *spec, CryptoAlg *alg, GError **error)
{
    static const uint8_t families[CRYPTO_ALG_COUNT] = { 0, 0, 0, 1, 2, 2, 2, 3, 3, 3 };
    for (int i = 0; i < CRYPTO_ALG_COUNT; i++) {
        if (families[i] == families[spec->alg] &&
            crypto_key_bytes((CryptoAlg)i, CRYPTO_ECB) == crypto_hash_bytes(spec->iv_hash)) {
            *alg = (CryptoAlg)i;
            return true;
        }
    }
    return error_set(error,
                     "IV generator essiv with hash %s makes a key of %zu bytes, which no cipher of "
                     "the kind of %s takes",
                     crypto_hash_names[spec->iv_hash], crypto_hash_bytes(spec->iv_hash),
                     crypto_alg_names[spec->alg]);
}

bool sectors_check(const SectorSpec *spec, GError **error)
{
    CryptoAlg alg;
    if (!crypto_cipher_check(spec->alg, spec->mode, error)) {
        return false;
    }
    if (spec->mode == CRYPTO_ECB || spec->iv != SECTOR_IV_ESSIV) {
        return true;
    }
    return crypto_hash_check(spec->iv_hash, error) && essiv_alg(spec, &alg, error) &&
           crypto_cipher_check(alg, CRYPTO_ECB, error);
}

static bool make_iv_cipher(Sectors *s, const uint8_t *key, size_t key_bytes, GError **error)
{
    CryptoAlg alg;
    uint8_t digest[CRYPTO_MAX_DIGEST];
    if (!essiv_alg(&s->spec, &alg, error) ||
        !crypto_digest(s->spec.iv_hash, key, key_bytes, digest, error)) {
        return false;
    }
    s->iv_cipher =
        crypto_cipher_new(alg, CRYPTO_ECB, digest, crypto_hash_bytes(s->spec.iv_hash), error);
    explicit_bzero(digest, sizeof(digest));
    return s->iv_cipher != NULL;
}

Sectors *sectors_new(const SectorSpec *spec, const uint8_t *key, size_t key_bytes, GError **error)
{
    if (!sectors_check(spec, error)) {
        return NULL;
    }
    Sectors *s = g_new0(Sectors, 1);
    s->spec = *spec;
    g_mutex_init(&s->lock);
    s->waiting_tail = &s->waiting;
    s->cipher = crypto_cipher_new(spec->alg, spec->mode, key, key_bytes, error);
    bool essiv = spec->mode != CRYPTO_ECB && spec->iv == SECTOR_IV_ESSIV;
    if (!s->cipher || (essiv && !make_iv_cipher(s, key, key_bytes, error))) {
        sectors_free(s);
        return NULL;
    }
    /* What AES does in the processor takes less time than waking a thread. */
    s->inline_bytes = spec->alg <= CRYPTO_AES_256 ? 32 * KIB : 4 * KIB;
    return s;
}

void sectors_free(Sectors *s)
{
    if (s) {
        crypto_cipher_free(s->cipher);
        crypto_cipher_free(s->iv_cipher);
        g_mutex_clear(&s->lock);
        g_free(s);
    }
}

static int make_iv(const Sectors *s, CryptoSession *essiv, uint64_t sector, uint8_t *iv)
{
    uint64_t number = GUINT64_TO_LE(s->spec.iv == SECTOR_IV_PLAIN ? (uint32_t)sector : sector);
    memset(iv, 0, CRYPTO_MAX_BLOCK);
    memcpy(iv, &number, sizeof(number));
    return essiv ? crypto_session_run(essiv, true, NULL, iv, crypto_block_bytes(s->spec.alg)) : 0;
}

int sectors_run(Sectors *s, bool encrypt, uint64_t first, void *data, uint64_t bytes)
{
    CryptoSession *session = crypto_session_begin(s->cipher);
    CryptoSession *essiv = s->iv_cipher ? crypto_session_begin(s->iv_cipher) : NULL;
    int ret = session && (essiv || !s->iv_cipher) ? 0 : -ENOMEM;
    for (uint64_t done = 0; ret == 0 && done < bytes; done += SECTOR_BYTES) {
        uint8_t iv[CRYPTO_MAX_BLOCK];
        ret = make_iv(s, essiv, first + done / SECTOR_BYTES, iv);
        ret = ret ? ret
                  : crypto_session_run(session, encrypt, s->spec.mode == CRYPTO_ECB ? NULL : iv,
                                       (uint8_t *)data + done, SECTOR_BYTES);
    }
    if (session) {
        crypto_session_end(s->cipher, session);
    }
    if (essiv) {
        crypto_session_end(s->iv_cipher, essiv);
    }
    return ret;
}
