/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object rng-builtin, rng-random: where virtio-rng takes its entropy from. */
#ifndef VMM_OBJECT_RNG_H
#define VMM_OBJECT_RNG_H

#include <sys/types.h>
#include "vmm/object/object.h"

extern const ObjectClass rng_builtin_class;
extern const ObjectClass rng_random_class;

/* Up to len random bytes without blocking: how many, 0 when there are none now, -errno. obj NULL:
 * the kernel's generator. Any thread. */
ssize_t rng_read(Object *obj, void *data, size_t len);

#endif
