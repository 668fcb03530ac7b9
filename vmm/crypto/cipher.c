/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ciphers, hashes and key derivation by libgcrypt: the one file that touches the library. */
#include "vmm/crypto/cipher.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include "config.h"
#include "vmm/error.h"
#include "vmm/util/bytes.h"
#ifdef HAVE_GCRYPT
#include <gcrypt.h>
#endif

const char *const crypto_alg_names[] = {
    "aes-128",     "aes-192",     "aes-256",     "cast5-128",   "serpent-128", "serpent-192",
    "serpent-256", "twofish-128", "twofish-192", "twofish-256", NULL,
};
const char *const crypto_mode_names[] = { "ecb", "cbc", "xts", "ctr", NULL };
const char *const crypto_hash_names[] = {
    "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ripemd160", NULL,
};

size_t crypto_block_bytes(CryptoAlg alg)
{
    return alg == CRYPTO_CAST5_128 ? 8 : 16;
}

size_t crypto_key_bytes(CryptoAlg alg, CryptoMode mode)
{
    static const uint8_t bytes[CRYPTO_ALG_COUNT] = { 16, 24, 32, 16, 16, 24, 32, 16, 24, 32 };
    return mode == CRYPTO_XTS ? 2u * bytes[alg] : bytes[alg];
}

size_t crypto_hash_bytes(CryptoHash hash)
{
    static const uint8_t bytes[] = { 16, 20, 28, 32, 48, 64, 20 };
    return bytes[hash];
}

/* ---- Memory for keys ---- */

void *crypto_key_alloc(size_t bytes)
{
    size_t size = ALIGN_UP(MAX(bytes, 1), 4096);
    void *key = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (key == MAP_FAILED) {
        g_error("no memory for a key of %zu bytes", bytes);
    }
    mlock(key, size); /* where RLIMIT_MEMLOCK lets it */
    madvise(key, size, MADV_DONTDUMP);
    return key;
}

void crypto_key_free(void *key, size_t bytes)
{
    size_t size = ALIGN_UP(MAX(bytes, 1), 4096);
    if (key) {
        explicit_bzero(key, size);
        munmap(key, size);
    }
}

bool crypto_random(void *data, size_t bytes, GError **error)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = getrandom((char *)data + done, bytes - done, 0);
        if (n < 0 && errno != EINTR) {
            return error_set_errno(error, errno, "cannot get random bytes");
        }
        done += (size_t)MAX(n, 0);
    }
    return true;
}

#ifdef HAVE_GCRYPT

/* ---- The library ---- */

/* Bytes of locked memory for key schedules; what does not fit lies elsewhere. */
#define SECURE_POOL 262144

static void *init_library(void *unused)
{
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P)) {
        return (void *)1; /* another library of this process did it */
    }
    if (!gcry_check_version("1.10.0")) {
        return NULL;
    }
    gcry_control(GCRYCTL_DISABLE_SECMEM_WARN);
    gcry_control(GCRYCTL_INIT_SECMEM, SECURE_POOL, 0);
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    /* The pool is one mapping, which begins with the page of its first block. */
    char *first = gcry_malloc_secure(16);
    if (first && gcry_is_secure(first)) {
        madvise(first - (uintptr_t)first % 4096, SECURE_POOL, MADV_DONTDUMP);
    }
    gcry_free(first);
    return (void *)1;
}

bool crypto_check(GError **error)
{
    static GOnce once = G_ONCE_INIT;
    return g_once(&once, init_library, NULL) ||
           error_set(error, "encryption needs libgcrypt 1.10, and an older one is installed");
}

static int alg_id(CryptoAlg alg)
{
    static const int ids[CRYPTO_ALG_COUNT] = {
        GCRY_CIPHER_AES128,     GCRY_CIPHER_AES192,     GCRY_CIPHER_AES256,
        GCRY_CIPHER_CAST5,      GCRY_CIPHER_SERPENT128, GCRY_CIPHER_SERPENT192,
        GCRY_CIPHER_SERPENT256, GCRY_CIPHER_TWOFISH128, 0 /* libgcrypt has no such */,
        GCRY_CIPHER_TWOFISH,
    };
    return ids[alg];
}

static int mode_id(CryptoMode mode)
{
    static const int ids[] = { GCRY_CIPHER_MODE_ECB, GCRY_CIPHER_MODE_CBC, GCRY_CIPHER_MODE_XTS,
                               GCRY_CIPHER_MODE_CTR };
    return ids[mode];
}

static int hash_id(CryptoHash hash)
{
    static const int ids[] = { GCRY_MD_MD5,    GCRY_MD_SHA1,   GCRY_MD_SHA224, GCRY_MD_SHA256,
                               GCRY_MD_SHA384, GCRY_MD_SHA512, GCRY_MD_RMD160 };
    return ids[hash];
}

bool crypto_cipher_check(CryptoAlg alg, CryptoMode mode, GError **error)
{
    if (!crypto_check(error)) {
        return false;
    }
    if (mode == CRYPTO_XTS && crypto_block_bytes(alg) != 16) {
        return error_set(error, "cipher %s has blocks of %zu bytes: mode xts needs 16",
                         crypto_alg_names[alg], crypto_block_bytes(alg));
    }
    return (alg_id(alg) &&
            gcry_cipher_algo_info(alg_id(alg), GCRYCTL_TEST_ALGO, NULL, NULL) == 0) ||
           error_set(error, "cipher %s is not one that libgcrypt has here", crypto_alg_names[alg]);
}

bool crypto_hash_check(CryptoHash hash, GError **error)
{
    return crypto_check(error) && (gcry_md_test_algo(hash_id(hash)) == 0 ||
                                   error_set(error, "hash %s is not one that libgcrypt has here",
                                             crypto_hash_names[hash]));
}

/* ---- Ciphers ---- */

#define KEPT_SESSIONS 16

struct CryptoCipher {
    CryptoAlg alg;
    CryptoMode mode;
    uint8_t *key;
    size_t key_bytes;
    GMutex lock; /* leaf; guards: */
    CryptoSession *kept[KEPT_SESSIONS];
    unsigned count;
};

/* A gcry_cipher_hd_t, with the block's size. */
struct CryptoSession {
    gcry_cipher_hd_t handle;
    size_t block;
    CryptoMode mode;
};

static void session_free(CryptoSession *session)
{
    gcry_cipher_close(session->handle); /* wipes the key schedule */
    g_free(session);
}

static CryptoSession *session_new(CryptoCipher *c)
{
    gcry_cipher_hd_t handle;
    int alg = alg_id(c->alg), mode = mode_id(c->mode);
    if (gcry_cipher_open(&handle, alg, mode, GCRY_CIPHER_SECURE) != 0 &&
        gcry_cipher_open(&handle, alg, mode, 0) != 0) {
        return NULL;
    }
    gcry_error_t ret = gcry_cipher_setkey(handle, c->key, c->key_bytes);
    if (ret != 0 && gcry_err_code(ret) != GPG_ERR_WEAK_KEY) {
        gcry_cipher_close(handle);
        return NULL;
    }
    CryptoSession *session = g_new(CryptoSession, 1);
    *session = (CryptoSession){ handle, crypto_block_bytes(c->alg), c->mode };
    return session;
}

CryptoSession *crypto_session_begin(CryptoCipher *c)
{
    g_mutex_lock(&c->lock);
    CryptoSession *session = c->count ? c->kept[--c->count] : NULL;
    g_mutex_unlock(&c->lock);
    return session ? session : session_new(c);
}

void crypto_session_end(CryptoCipher *c, CryptoSession *session)
{
    g_mutex_lock(&c->lock);
    bool keep = c->count < KEPT_SESSIONS;
    if (keep) {
        c->kept[c->count++] = session;
    }
    g_mutex_unlock(&c->lock);
    if (!keep) {
        session_free(session);
    }
}

int crypto_session_run(CryptoSession *s, bool encrypt, const void *iv, void *data, size_t bytes)
{
    gcry_error_t ret = 0;
    if (s->mode == CRYPTO_CTR) {
        ret = gcry_cipher_setctr(s->handle, iv, s->block);
    } else if (s->mode != CRYPTO_ECB) {
        ret = gcry_cipher_setiv(s->handle, iv, s->block);
    }
    if (ret == 0) {
        ret = encrypt ? gcry_cipher_encrypt(s->handle, data, bytes, NULL, 0)
                      : gcry_cipher_decrypt(s->handle, data, bytes, NULL, 0);
    }
    return ret ? -EIO : 0;
}

CryptoCipher *crypto_cipher_new(CryptoAlg alg, CryptoMode mode, const void *key, size_t bytes,
                                GError **error)
{
    if (!crypto_cipher_check(alg, mode, error)) {
        return NULL;
    }
    if (bytes != crypto_key_bytes(alg, mode)) {
        error_set(error, "a key of %zu bytes does not fit %s in mode %s, which takes %zu", bytes,
                  crypto_alg_names[alg], crypto_mode_names[mode], crypto_key_bytes(alg, mode));
        return NULL;
    }
    CryptoCipher *c = g_new0(CryptoCipher, 1);
    *c = (CryptoCipher){ .alg = alg, .mode = mode, .key_bytes = bytes };
    c->key = crypto_key_alloc(bytes);
    memcpy(c->key, key, bytes);
    g_mutex_init(&c->lock);
    CryptoSession *session = crypto_session_begin(c);
    if (!session) {
        error_set(error, "libgcrypt refuses the key, or has no memory");
        crypto_cipher_free(c);
        return NULL;
    }
    crypto_session_end(c, session);
    return c;
}

void crypto_cipher_free(CryptoCipher *c)
{
    if (!c) {
        return;
    }
    while (c->count) {
        session_free(c->kept[--c->count]);
    }
    crypto_key_free(c->key, c->key_bytes);
    g_mutex_clear(&c->lock);
    g_free(c);
}

/* ---- Hashes and keys ---- */

bool crypto_digest(CryptoHash hash, const void *data, size_t bytes, void *digest, GError **error)
{
    if (!crypto_hash_check(hash, error)) {
        return false;
    }
    gcry_md_hash_buffer(hash_id(hash), digest, data, bytes);
    return true;
}

bool crypto_pbkdf2(CryptoHash hash, const void *password, size_t password_bytes, const void *salt,
                   size_t salt_bytes, uint32_t iterations, void *key, size_t key_bytes,
                   GError **error)
{
    if (!crypto_hash_check(hash, error)) {
        return false;
    }
    gcry_error_t ret = gcry_kdf_derive(password, password_bytes, GCRY_KDF_PBKDF2, hash_id(hash),
                                       salt, salt_bytes, iterations, key_bytes, key);
    return ret == 0 || error_set(error, "PBKDF2: %s", gcry_strerror(ret));
}

#else

static bool not_built_in(GError **error)
{
    return error_set(error, "encryption is not built in: this program was built without libgcrypt");
}

bool crypto_check(GError **error)
{
    return not_built_in(error);
}

bool crypto_cipher_check(CryptoAlg alg, CryptoMode mode, GError **error)
{
    return not_built_in(error);
}

bool crypto_hash_check(CryptoHash hash, GError **error)
{
    return not_built_in(error);
}

CryptoCipher *crypto_cipher_new(CryptoAlg alg, CryptoMode mode, const void *key, size_t bytes,
                                GError **error)
{
    not_built_in(error);
    return NULL;
}

void crypto_cipher_free(CryptoCipher *cipher)
{
}

CryptoSession *crypto_session_begin(CryptoCipher *cipher)
{
    return NULL;
}

void crypto_session_end(CryptoCipher *cipher, CryptoSession *session)
{
}

int crypto_session_run(CryptoSession *session, bool encrypt, const void *iv, void *data,
                       size_t bytes)
{
    return -ENOTSUP;
}

bool crypto_digest(CryptoHash hash, const void *data, size_t bytes, void *digest, GError **error)
{
    return not_built_in(error);
}

bool crypto_pbkdf2(CryptoHash hash, const void *password, size_t password_bytes, const void *salt,
                   size_t salt_bytes, uint32_t iterations, void *key, size_t key_bytes,
                   GError **error)
{
    return not_built_in(error);
}

#endif

static uint64_t thread_time_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

bool crypto_pbkdf2_measure(CryptoHash hash, size_t key_bytes, uint64_t milliseconds, uint32_t least,
                           uint32_t *iterations, GError **error)
{
    uint8_t key[CRYPTO_MAX_KEY], salt[32] = { 0 };
    uint64_t ns = 0, count = 1 << 12, want = MIN(milliseconds, 3600000) * 1000000;
    /* An eighth of the wanted time, at least a millisecond, says enough. */
    uint64_t enough = CLAMP(want / 8, 1000000, 250000000);
    for (; ns < enough && count < 1u << 28; count *= 2) {
        uint64_t start = thread_time_ns();
        if (!crypto_pbkdf2(hash, "password", 8, salt, sizeof(salt), (uint32_t)count, key,
                           MIN(key_bytes, sizeof(key)), error)) {
            return false;
        }
        ns = MAX(thread_time_ns() - start, 1);
    }
    double measured = (double)(count / 2) * (double)want / (double)MAX(ns, 1);
    *iterations = (uint32_t)CLAMP(measured, (double)least, (double)(1u << 31));
    return true;
}
