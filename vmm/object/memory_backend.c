/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object memory-backend-ram, -memfd, -file. */
#include "vmm/object/memory_backend.h"

typedef struct MemoryBackend {
    Object obj;
    uint64_t size;
    bool share, prealloc, merge, dump, reserve;
    uint32_t prealloc_threads;
    /* memfd */
    bool hugetlb;
    uint64_t hugetlb_size;
    /* file */
    char *mem_path;
    bool readonly;
    RamBlock *block;
} MemoryBackend;

#define COMMON_PROPS(share_default)                                                                \
    PROP_SIZE("size", MemoryBackend, size, 0, "bytes of memory"),                                  \
        PROP_BOOL("share", MemoryBackend, share, share_default,                                    \
                  "other processes can map the same memory"),                                      \
        PROP_BOOL("prealloc", MemoryBackend, prealloc, false, "touch all pages at the start"),     \
        PROP_U32("prealloc-threads", MemoryBackend, prealloc_threads, 1,                           \
                 "threads that touch the pages"),                                                  \
        PROP_BOOL("merge", MemoryBackend, merge, true, "let the host merge equal pages (KSM)"),    \
        PROP_BOOL("dump", MemoryBackend, dump, true, "part of core dumps"),                        \
        PROP_BOOL("reserve", MemoryBackend, reserve, true,                                         \
                  "reserve swap space or huge pages at the start")

static const Property ram_props[] = {
    COMMON_PROPS(false),
    PROP_END,
};

static const Property memfd_props[] = {
    COMMON_PROPS(true),
    PROP_BOOL("hugetlb", MemoryBackend, hugetlb, false, "use the host's huge pages"),
    PROP_SIZE("hugetlbsize", MemoryBackend, hugetlb_size, 0,
              "size of a huge page; 0: the host's default"),
    PROP_END,
};

static const Property file_props[] = {
    COMMON_PROPS(false),
    PROP_STRING("mem-path", MemoryBackend, mem_path, NULL,
                "a file, or a directory (hugetlbfs) in which an unnamed file is made"),
    PROP_BOOL("readonly", MemoryBackend, readonly, false, "map the file read-only"),
    PROP_END,
};

#define DEFAULT_HUGE_PAGE (2ULL << 20)

static bool memory_backend_complete(Object *obj, GError **error)
{
    MemoryBackend *backend = (MemoryBackend *)obj;
    if (backend->size == 0) {
        return error_set(error, "can't create backend with size 0 (size=SIZE says how much)");
    }
    if (backend->prealloc_threads == 0) {
        return error_set(error, "prealloc-threads must be at least 1");
    }
    if (obj->cls == &memory_backend_file_class && !backend->mem_path) {
        return error_set(error, "mem-path property not set");
    }
    bool huge = backend->hugetlb || backend->hugetlb_size;
    RamOptions options = {
        .size = backend->size,
        .share = backend->share,
        .memfd = obj->cls == &memory_backend_memfd_class,
        .mem_path = backend->mem_path,
        .page_size = huge ? (backend->hugetlb_size ? backend->hugetlb_size : DEFAULT_HUGE_PAGE) : 0,
        .prealloc = backend->prealloc,
        .prealloc_threads = backend->prealloc_threads,
        .merge = backend->merge,
        .dump = backend->dump,
        .reserve = backend->reserve,
        .readonly = backend->readonly,
    };
    backend->block = ram_block_new(obj->id, &options, error);
    return backend->block != NULL;
}

static void memory_backend_finalize(Object *obj)
{
    ram_block_free(((MemoryBackend *)obj)->block);
}

const ObjectClass memory_backend_ram_class = {
    .name = "memory-backend-ram",
    .desc = "Anonymous guest memory",
    .size = sizeof(MemoryBackend),
    .props = ram_props,
    .complete = memory_backend_complete,
    .finalize = memory_backend_finalize,
};

const ObjectClass memory_backend_memfd_class = {
    .name = "memory-backend-memfd",
    .desc = "Guest memory in a memfd, shareable, with huge pages",
    .size = sizeof(MemoryBackend),
    .props = memfd_props,
    .complete = memory_backend_complete,
    .finalize = memory_backend_finalize,
};

const ObjectClass memory_backend_file_class = {
    .name = "memory-backend-file",
    .desc = "Guest memory in a file or in hugetlbfs",
    .size = sizeof(MemoryBackend),
    .props = file_props,
    .complete = memory_backend_complete,
    .finalize = memory_backend_finalize,
};

RamBlock *memory_backend_claim(const char *id, uint64_t size, GError **error)
{
    MemoryBackend *backend = (MemoryBackend *)object_find_type(id, "memory-backend-", error);
    if (!backend) {
        return NULL;
    }
    if (backend->obj.users > 0) {
        error_set(error, "memory backend '%s' is used already", id);
        return NULL;
    }
    if (backend->size != size) {
        error_set(error,
                  "machine memory size (%" G_GUINT64_FORMAT
                  " bytes, -m) does not match the size of "
                  "memory backend '%s' (%" G_GUINT64_FORMAT " bytes)",
                  size, id, backend->size);
        return NULL;
    }
    backend->obj.users++;
    return backend->block;
}

const RamBlock *memory_backend_block(const Object *obj)
{
    return ((const MemoryBackend *)obj)->block;
}
