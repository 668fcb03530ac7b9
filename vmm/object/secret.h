/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object secret: passwords and keys for encrypted images. Main thread. */
#ifndef VMM_OBJECT_SECRET_H
#define VMM_OBJECT_SECRET_H

#include "vmm/object/object.h"

#define SECRET_MAX_BYTES 65536

extern const ObjectClass secret_class;

/* The bytes of a secret, which stay the object's; false: there is none of this id. */
bool secret_find(const char *id, const uint8_t **data, size_t *bytes, GError **error);
/* As secret_find(), of a secret that must be UTF-8 text: a password. */
bool secret_find_text(const char *id, const uint8_t **data, size_t *bytes, GError **error);

#endif
