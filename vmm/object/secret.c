/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -object secret: bytes from the command line or a file, plain or base64; with keyid= they were
 * enciphered (AES-256-CBC with PKCS #7 padding, base64) with another secret as key. They are kept
 * in locked memory that no core dump has; what the options held is wiped.
 */
#include "vmm/object/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "vmm/crypto/cipher.h"
#include "vmm/util/base64.h"

typedef enum SecretFormat { SECRET_RAW, SECRET_BASE64 } SecretFormat;
static const char *const format_names[] = { "raw", "base64", NULL };

typedef struct Secret {
    Object obj;
    char *data_text, *file, *keyid, *iv;
    int format;
    uint8_t *data; /* of SECRET_MAX_BYTES */
    size_t bytes;
} Secret;

static const Property secret_props[] = {
    PROP_STRING("data", Secret, data_text, NULL, "the secret itself; others see the command line"),
    PROP_STRING("file", Secret, file, NULL, "a file that has it"),
    PROP_ENUM("format", Secret, format, SECRET_RAW, format_names,
              "how it is written: raw or base64"),
    PROP_STRING("keyid", Secret, keyid, NULL,
                "the secret (32 bytes, base64) that it is enciphered with: AES-256-CBC"),
    PROP_STRING("iv", Secret, iv, NULL, "initialisation vector for keyid (16 bytes, base64)"),
    PROP_END,
};

/* ---- Where it comes from ---- */

static bool too_long(GError **error)
{
    return error_set(error, "it is longer than %d bytes", SECRET_MAX_BYTES);
}

static bool read_file(Secret *s, GError **error)
{
    int fd = open(s->file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return error_set_errno(error, errno, "file=%s", s->file);
    }
    ssize_t n = 1;
    s->bytes = 0;
    while (n > 0 && s->bytes < SECRET_MAX_BYTES) {
        n = read(fd, s->data + s->bytes, SECRET_MAX_BYTES - s->bytes);
        s->bytes += (size_t)MAX(n, 0);
    }
    int failed = n < 0 ? errno : 0;
    close(fd);
    if (failed) {
        return error_set_errno(error, failed, "file=%s", s->file);
    }
    return s->bytes < SECRET_MAX_BYTES || too_long(error);
}

static bool take_text(Secret *s, GError **error)
{
    s->bytes = strlen(s->data_text);
    if (s->bytes >= SECRET_MAX_BYTES) {
        return too_long(error);
    }
    memcpy(s->data, s->data_text, s->bytes);
    return true;
}

/* ---- keyid ---- */

static bool take_iv(const Secret *s, uint8_t *iv, GError **error)
{
    gsize bytes = 0;
    if (!s->iv) {
        return error_set(error, "iv= is needed with keyid=");
    }
    g_autofree guchar *raw = g_base64_decode(s->iv, &bytes);
    if (bytes != CRYPTO_MAX_BLOCK) {
        return error_set(error, "iv= has %zu bytes: %d are needed", (size_t)bytes,
                         CRYPTO_MAX_BLOCK);
    }
    memcpy(iv, raw, CRYPTO_MAX_BLOCK);
    return true;
}

static bool strip_padding(Secret *s, GError **error)
{
    unsigned padding = s->data[s->bytes - 1];
    bool ok = padding && padding <= CRYPTO_MAX_BLOCK && padding <= s->bytes;
    for (unsigned i = 1; ok && i <= padding; i++) {
        ok = s->data[s->bytes - i] == padding;
    }
    s->bytes -= ok ? padding : 0;
    return ok || error_set(error, "its padding is wrong: it was not enciphered with secret '%s'",
                           s->keyid);
}

static bool decipher(Secret *s, GError **error)
{
    const uint8_t *key;
    size_t key_bytes;
    uint8_t iv[CRYPTO_MAX_BLOCK];
    if (!secret_find(s->keyid, &key, &key_bytes, error) || !take_iv(s, iv, error)) {
        return false;
    }
    if (!s->bytes || s->bytes % CRYPTO_MAX_BLOCK) {
        return error_set(error, "%zu enciphered bytes are not a multiple of %d", s->bytes,
                         CRYPTO_MAX_BLOCK);
    }
    CryptoCipher *cipher = crypto_cipher_new(CRYPTO_AES_256, CRYPTO_CBC, key, key_bytes, error);
    CryptoSession *session = cipher ? crypto_session_begin(cipher) : NULL;
    bool ok = session && crypto_session_run(session, false, iv, s->data, s->bytes) == 0;
    if (session) {
        crypto_session_end(cipher, session);
    }
    if (cipher && !ok) {
        error_set(error, "it cannot be deciphered");
    }
    crypto_cipher_free(cipher);
    return ok && strip_padding(s, error);
}

/* ---- The object ---- */

static void wipe_text(char *text)
{
    if (text) {
        explicit_bzero(text, strlen(text));
    }
}

static void secret_finalize(Object *obj)
{
    Secret *s = (Secret *)obj;
    crypto_key_free(s->data, SECRET_MAX_BYTES + 1);
    s->data = NULL;
}

static bool secret_load(Secret *s, GError **error)
{
    if (!s->data_text == !s->file) {
        return error_set(error, s->file ? "give 'file' or 'data': a secret has one source"
                                        : "'data' or 'file' is missing: what is the secret?");
    }
    if (s->iv && !s->keyid) {
        return error_set(error, "iv= is of use with keyid= only");
    }
    if (!(s->file ? read_file(s, error) : take_text(s, error))) {
        return false;
    }
    /* Enciphered bytes are written in base64, whatever the format. */
    if ((s->keyid || s->format == SECRET_BASE64) && !base64_decode(s->data, &s->bytes, error)) {
        return false;
    }
    return !s->keyid || decipher(s, error);
}

static bool secret_complete(Object *obj, GError **error)
{
    Secret *s = (Secret *)obj;
    s->data = crypto_key_alloc(SECRET_MAX_BYTES + 1); /* a zero stands behind */
    bool ok = secret_load(s, error);
    wipe_text(s->data_text);
    if (!ok) {
        secret_finalize(obj);
    }
    return ok;
}

const ObjectClass secret_class = {
    .name = "secret",
    .base = "secret_common",
    .desc = "A password or key, for encrypted images",
    .size = sizeof(Secret),
    .props = secret_props,
    .complete = secret_complete,
    .finalize = secret_finalize,
};

bool secret_find(const char *id, const uint8_t **data, size_t *bytes, GError **error)
{
    Object *obj = object_find(id);
    if (!obj) {
        return error_set(error, "No secret with id '%s'", id);
    }
    if (obj->cls != &secret_class) {
        return error_set(error, "object '%s' is of another type than secret", id);
    }
    *data = ((Secret *)obj)->data;
    *bytes = ((Secret *)obj)->bytes;
    return true;
}

bool secret_find_text(const char *id, const uint8_t **data, size_t *bytes, GError **error)
{
    return secret_find(id, data, bytes, error) &&
           (g_utf8_validate((const char *)*data, (gssize)*bytes, NULL) ||
            error_set(error, "secret %s: its bytes are no text (UTF-8)", id));
}
