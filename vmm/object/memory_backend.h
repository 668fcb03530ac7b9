/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object memory-backend-ram, -memfd, -file: guest memory with a name. */
#ifndef VMM_OBJECT_MEMORY_BACKEND_H
#define VMM_OBJECT_MEMORY_BACKEND_H

#include "vmm/memory/ram.h"
#include "vmm/object/object.h"

extern const ObjectClass memory_backend_ram_class;
extern const ObjectClass memory_backend_memfd_class;
extern const ObjectClass memory_backend_file_class;

/* The RAM of the back end `id`, which must have `size` bytes and no other user. It stays the
 * object's. Main thread. */
RamBlock *memory_backend_claim(const char *id, uint64_t size, GError **error);

bool memory_backend_size(const char *id, uint64_t *size, GError **error);
void memory_backend_release(const char *id); /* undoes claim */
/* The nodes of the host that the back end is bound to, as a JSON list. */
json_object *memory_backend_host_nodes(const Object *obj);

/* For query-memdev: the block of an object of one of these classes. Main thread. */
const RamBlock *memory_backend_block(const Object *obj);

#endif
