/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ciphers, hashes and key derivation: what encrypted images and secrets need of libgcrypt, whose
 * only user cipher.c is. Without that library every function fails and says so. Any thread.
 */
#ifndef VMM_CRYPTO_CIPHER_H
#define VMM_CRYPTO_CIPHER_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order of crypto_alg_names, which are QEMU's. */
typedef enum CryptoAlg {
    CRYPTO_AES_128,
    CRYPTO_AES_192,
    CRYPTO_AES_256,
    CRYPTO_CAST5_128,
    CRYPTO_SERPENT_128,
    CRYPTO_SERPENT_192,
    CRYPTO_SERPENT_256,
    CRYPTO_TWOFISH_128,
    CRYPTO_TWOFISH_192,
    CRYPTO_TWOFISH_256,
    CRYPTO_ALG_COUNT,
} CryptoAlg;

typedef enum CryptoMode { CRYPTO_ECB, CRYPTO_CBC, CRYPTO_XTS, CRYPTO_CTR } CryptoMode;

typedef enum CryptoHash {
    CRYPTO_MD5,
    CRYPTO_SHA1,
    CRYPTO_SHA224,
    CRYPTO_SHA256,
    CRYPTO_SHA384,
    CRYPTO_SHA512,
    CRYPTO_RIPEMD160,
} CryptoHash;

#define CRYPTO_MAX_DIGEST 64
#define CRYPTO_MAX_KEY    64 /* bytes: AES-256 in XTS mode takes two keys */
#define CRYPTO_MAX_BLOCK  16

extern const char *const crypto_alg_names[], *const crypto_mode_names[], *const crypto_hash_names[];

size_t crypto_block_bytes(CryptoAlg alg);
size_t crypto_key_bytes(CryptoAlg alg, CryptoMode mode); /* XTS: of both keys */
size_t crypto_hash_bytes(CryptoHash hash);
/* Whether the library is built in and has them. */
bool crypto_check(GError **error);
bool crypto_cipher_check(CryptoAlg alg, CryptoMode mode, GError **error);
bool crypto_hash_check(CryptoHash hash, GError **error);

/* ---- Memory for keys: locked where the host lets it, never in a core dump, wiped when freed ----
 */
void *crypto_key_alloc(size_t bytes);          /* zeroes */
void crypto_key_free(void *key, size_t bytes); /* NULL: nothing */

/* ---- Ciphers ---- */
typedef struct CryptoCipher CryptoCipher;
CryptoCipher *crypto_cipher_new(CryptoAlg alg, CryptoMode mode, const void *key, size_t bytes,
                                GError **error);
void crypto_cipher_free(CryptoCipher *cipher); /* NULL: nothing */

/* A cipher's key schedule for one thread at a time; NULL: no memory. */
typedef struct CryptoSession CryptoSession;
CryptoSession *crypto_session_begin(CryptoCipher *cipher);
void crypto_session_end(CryptoCipher *cipher, CryptoSession *session);
/* In place; bytes is a multiple of the block's. iv: a block's bytes, NULL with ECB. 0 or -errno. */
int crypto_session_run(CryptoSession *session, bool encrypt, const void *iv, void *data,
                       size_t bytes);

/* ---- Hashes and keys ---- */
bool crypto_digest(CryptoHash hash, const void *data, size_t bytes, void *digest, GError **error);
bool crypto_pbkdf2(CryptoHash hash, const void *password, size_t password_bytes, const void *salt,
                   size_t salt_bytes, uint32_t iterations, void *key, size_t key_bytes,
                   GError **error);
/* How many iterations take this long here, for key_bytes; at least `least`. */
bool crypto_pbkdf2_measure(CryptoHash hash, size_t key_bytes, uint64_t milliseconds, uint32_t least,
                           uint32_t *iterations, GError **error);
/* From the host's generator. */
bool crypto_random(void *data, size_t bytes, GError **error);

#endif
