/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encrypted qcow2 images: LUKS, whose header lies in clusters that an extension of the image's
 * header names, and the legacy AES-128-CBC without a header, whose key is the password itself.
 */
#ifndef BLOCK_QCOW2_ENCRYPT_H
#define BLOCK_QCOW2_ENCRYPT_H

#include "block/crypto/luks.h"
#include "block/qcow2/qcow2.h"

/* Of an open image. */
struct Qcow2Encryption {
    Sectors *sectors; /* NULL: opened without a key, for what needs none */
    bool by_guest;    /* sectors count from the disk's start, not the file's: AES */
    LuksHeader luks;
    char *key_secret;
};

/* What the create options say. */
typedef struct Qcow2EncryptOptions {
    uint32_t method; /* QCOW2_CRYPT_* */
    LuksOptions luks;
    char *key_secret; /* g_free() */
    LuksPassword password;
} Qcow2EncryptOptions;

/* Makes s->encryption, where the header says that the image is encrypted. Main thread, as all. */
bool qcow2_encrypt_open(Qcow2 *s, Opts *options, GError **error);
void qcow2_encrypt_close(Qcow2 *s);
void qcow2_encrypt_describe(const Qcow2 *s, json_object *data);
/* "encrypt.state" and its like, where one is given. */
bool qcow2_encrypt_amend(Qcow2 *s, Opts *options, GError **error);

/* What the caller frees in the end: key_secret, password. */
void qcow2_encrypt_forget(Qcow2EncryptOptions *e);
bool qcow2_encrypt_take(Qcow2EncryptOptions *e, Opts *options, GError **error);
/* The image as `h` says it can be encrypted, and the secret is there: it is copied. Main thread. */
bool qcow2_encrypt_check(Qcow2EncryptOptions *e, const Qcow2Header *h, bool preallocated,
                         GError **error);
/* Writes the LUKS header to where h has its place. Any thread that no loop runs on. */
bool qcow2_encrypt_create(const Qcow2EncryptOptions *e, const Qcow2Header *h, BlockNode *file,
                          GError **error);

#endif
