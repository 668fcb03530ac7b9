/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Encrypted qcow2 images: opening, creating, and the way of their data. */
#include "block/qcow2/encrypt.h"

#include "vmm/object/secret.h"

static const char *const format_names[] = { "none", "aes", "luks", NULL };

/* Of a virtual machine, AES is refused: tools alone may rescue what is there. */
static bool legacy_allowed;

void block_allow_legacy_encryption(bool on)
{
    legacy_allowed = on;
}

/* ---- Opening ---- */

#define AES_KEY_BYTES 16

/* The password's first bytes are the key. */
static Sectors *open_aes(const char *key_secret, GError **error)
{
    SectorSpec spec = { .alg = CRYPTO_AES_128, .mode = CRYPTO_CBC, .iv = SECTOR_IV_PLAIN64 };
    const uint8_t *password;
    size_t bytes;
    if (!key_secret) {
        error_set(
            error,
            "'encrypt.key-secret' is missing: it names the -object secret that has the password");
        return NULL;
    }
    if (!secret_find_text(key_secret, &password, &bytes, error)) {
        return NULL;
    }
    uint8_t *key = crypto_key_alloc(AES_KEY_BYTES);
    memcpy(key, password, MIN(bytes, AES_KEY_BYTES));
    Sectors *sectors = sectors_new(&spec, key, AES_KEY_BYTES, error);
    crypto_key_free(key, AES_KEY_BYTES);
    return sectors;
}

static bool check_method(const Qcow2 *s, const char *format, const char *key_secret, GError **error)
{
    const Qcow2Header *h = &s->h;
    if (!h->crypt_method) {
        const char *what = format ? format : "luks";
        return (!format && !key_secret) ||
               error_set(error, "the image is not encrypted, and the options say encrypt.format=%s",
                         what);
    }
    if (format && strcmp(format, format_names[h->crypt_method]) != 0) {
        return error_set(error,
                         "the image's header says %s encryption, the options say encrypt.format=%s",
                         format_names[h->crypt_method], format);
    }
    if (h->crypt_method == QCOW2_CRYPT_AES && !legacy_allowed) {
        return error_set(
            error,
            "the machine runs no disk of qcow2's old AES encryption, which is weak: 'vireo-img "
            "convert' makes an image without encryption or with encrypt.format=luks of it");
    }
    return h->crypt_method != QCOW2_CRYPT_LUKS || h->crypto_offset ||
           error_set(error, "its header says that it is encrypted with LUKS, but not where the "
                            "LUKS header is");
}

static bool open_luks(Qcow2 *s, bool keyless, GError **error)
{
    Qcow2Encryption *e = s->encryption;
    const Qcow2Header *h = &s->h;
    if (keyless) {
        return luks_read(&e->luks, s->node->file, h->crypto_offset, h->crypto_length, error);
    }
    e->sectors = luks_open(&e->luks, s->node->file, h->crypto_offset, h->crypto_length,
                           "encrypt.key-secret", e->key_secret, error);
    return e->sectors != NULL;
}

bool qcow2_encrypt_open(Qcow2 *s, Opts *options, GError **error)
{
    const char *format = opts_get(options, "encrypt.format");
    const char *key_secret = opts_get(options, "encrypt.key-secret");
    if (!check_method(s, format, key_secret, error)) {
        return false;
    }
    if (!s->h.crypt_method) {
        return true;
    }
    bool keyless = !key_secret && (s->node->no_io || s->node->for_check), ok = true;
    s->encryption = g_new0(Qcow2Encryption, 1);
    s->encryption->key_secret = g_strdup(key_secret);
    if (s->h.crypt_method == QCOW2_CRYPT_LUKS) {
        ok = open_luks(s, keyless, error);
    } else {
        s->encryption->by_guest = true;
        if (!keyless) {
            s->encryption->sectors = open_aes(key_secret, error);
            ok = s->encryption->sectors != NULL;
        }
    }
    if (!ok) {
        qcow2_encrypt_close(s);
    }
    return ok;
}

void qcow2_encrypt_close(Qcow2 *s)
{
    if (s->encryption) {
        sectors_free(s->encryption->sectors);
        g_free(s->encryption->key_secret);
        g_clear_pointer(&s->encryption, g_free);
    }
}

/* ---- Data ---- */

void qcow2_encrypted_submit(Qcow2 *s, BlockRequest *request, uint64_t guest)
{
    Qcow2Encryption *e = s->encryption;
    if (!e->sectors) {
        block_request_complete_later(request, -EACCES);
        return;
    }
    sectors_submit(e->sectors, s->data, request, request->position,
                   e->by_guest ? guest : request->position);
}

/* ---- Describing and changing ---- */

void qcow2_encrypt_describe(const Qcow2 *s, json_object *data)
{
    json_object *encrypt = json_object_new_object();
    if (s->h.crypt_method == QCOW2_CRYPT_LUKS) {
        luks_describe(&s->encryption->luks, "luks", encrypt);
    } else {
        json_object_object_add(encrypt, "format", json_object_new_string("aes"));
    }
    json_object_object_add(data, "encrypt", encrypt);
}

bool qcow2_encrypt_amend(Qcow2 *s, Opts *options, GError **error)
{
    static const char *const keys[] = { "encrypt.state", "encrypt.keyslot", "encrypt.new-secret",
                                        "encrypt.old-secret", "encrypt.iter-time" };
    bool given = false;
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        given |= opts_has(options, keys[i]);
    }
    if (!given) {
        return true;
    }
    if (s->h.crypt_method != QCOW2_CRYPT_LUKS) {
        return error_set(error,
                         "'%s': its encryption is not LUKS: no password can be added or erased",
                         s->node->filename);
    }
    return luks_amend(&s->encryption->luks, s->node->file, s->h.crypto_offset,
                      s->encryption->key_secret, options, "encrypt.", error);
}

/* ---- Creating ---- */

bool qcow2_encrypt_take(Qcow2EncryptOptions *e, Opts *options, GError **error)
{
    bool legacy = false;
    int format = -1; /* of aes, luks */
    memset(e, 0, sizeof(*e));
    if (!opts_get_bool(options, "encryption", &legacy, error)) {
        return false;
    }
    if (opts_has(options, "encryption") && opts_has(options, "encrypt.format")) {
        return error_set(error,
                         "encryption=on is an old name of encrypt.format=aes: give one of them");
    }
    if (!opts_get_enum(options, "encrypt.format", format_names + 1, &format, error)) {
        return false;
    }
    e->method = legacy ? QCOW2_CRYPT_AES : (uint32_t)(format + 1);
    e->key_secret = g_strdup(opts_get(options, "encrypt.key-secret"));
    if (!e->method) {
        return !e->key_secret || error_set(error, "encrypt.key-secret is of use with "
                                                  "encrypt.format=luks or aes only");
    }
    if (e->method == QCOW2_CRYPT_LUKS) {
        return luks_take_options(&e->luks, options, "encrypt.", error);
    }
    return crypto_check(error);
}

void qcow2_encrypt_forget(Qcow2EncryptOptions *e)
{
    luks_forget_password(&e->password);
    g_clear_pointer(&e->key_secret, g_free);
}

bool qcow2_encrypt_check(Qcow2EncryptOptions *e, const Qcow2Header *h, bool preallocated,
                         GError **error)
{
    if (!e->method) {
        return true;
    }
    if (!e->key_secret) {
        return error_set(
            error,
            "'encrypt.key-secret' is missing: it names the -object secret that has the password");
    }
    if (preallocated && h->version < 3) {
        return error_set(error, "an encrypted image of version 2 cannot be preallocated: leave "
                                "out compat=0.10 or preallocation");
    }
    return luks_take_password(&e->password, e->key_secret, error);
}

bool qcow2_encrypt_create(const Qcow2EncryptOptions *e, const Qcow2Header *h, BlockNode *file,
                          GError **error)
{
    if (e->method != QCOW2_CRYPT_LUKS) {
        return true;
    }
    return luks_create(file, h->crypto_offset, &e->luks, &e->password, error);
}
