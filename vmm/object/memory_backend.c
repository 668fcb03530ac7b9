/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object memory-backend-ram, -memfd, -file. */
#include "vmm/object/memory_backend.h"

#include "vmm/cli/opts.h"

/* The numbers are the kernel's MPOL_* (linux/mempolicy.h). */
enum { MEMORY_POLICY_DEFAULT };
static const char *const policies[] = { "default", "preferred", "bind", "interleave", NULL };

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
    json_object *host_nodes; /* a list, or the text of -object: "0-1" */
    int policy;
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
        PROP_FIELD("host-nodes", PROP_TYPE_JSON, MemoryBackend, host_nodes,                        \
                   "nodes of the host that the memory comes from: N, N-M, or a list",              \
                   .type_name = "list"),                                                           \
        PROP_ENUM("policy", MemoryBackend, policy, MEMORY_POLICY_DEFAULT, policies,                \
                  "how the host takes it from them"),                                              \
        PROP_BOOL("reserve", MemoryBackend, reserve, true,                                         \
                  "take swap space or huge pages at once")

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

static bool node_add(json_object *value, uint64_t *nodes, GError **error)
{
    const char *text = json_object_get_string(value);
    g_auto(GStrv) ends = g_strsplit(text ? text : "", "-", 2);
    uint64_t first = 0, last = 0;
    if (!ends[0] || !parse_uint(ends[0], RAM_HOST_NODES - 1, &first) ||
        !parse_uint(ends[1] ? ends[1] : ends[0], RAM_HOST_NODES - 1, &last) || last < first) {
        return error_set(error, "host-nodes=%s: expected N or N-M, at most %u", text ? text : "",
                         RAM_HOST_NODES - 1);
    }
    for (uint64_t i = first; i <= last; i++) {
        nodes[i / 64] |= 1ULL << i % 64;
    }
    return true;
}

/* "0-1", [0, 1], or what the options "host-nodes.0=0,host-nodes.1=1" become. */
static bool host_nodes_read(const MemoryBackend *backend, uint64_t *nodes, bool *any,
                            GError **error)
{
    json_object *value = backend->host_nodes;
    bool ok = true;
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; ok && i < json_object_array_length(value); i++) {
            ok = node_add(json_object_array_get_idx(value, i), nodes, error);
            *any = true;
        }
    } else if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, key, item)
        {
            ok = ok && key[0] && node_add(item, nodes, error);
            *any = true;
        }
    } else if (value) {
        ok = node_add(value, nodes, error);
        *any = true;
    }
    if (!ok) {
        return false;
    }
    if (*any && backend->policy == MEMORY_POLICY_DEFAULT) {
        return error_set(error, "policy=default takes memory from anywhere: leave out host-nodes, "
                                "or choose another policy");
    }
    if (!*any && backend->policy != MEMORY_POLICY_DEFAULT) {
        return error_set(error, "policy=%s needs host-nodes: the nodes that memory is taken from",
                         policies[backend->policy]);
    }
    return true;
}

static bool memory_backend_complete(Object *obj, GError **error)
{
    MemoryBackend *backend = (MemoryBackend *)obj;
    if (backend->size == 0) {
        return error_set(error, "'size' is missing: how much memory is it?");
    }
    if (backend->prealloc_threads == 0) {
        return error_set(error, "prealloc-threads must be at least 1");
    }
    if (obj->cls == &memory_backend_file_class && !backend->mem_path) {
        return error_set(
            error, "'mem-path' is missing: the file, or a folder for one, that has the memory");
    }
    uint64_t nodes[RAM_HOST_NODES / 64] = { 0 };
    bool any = false;
    if (!host_nodes_read(backend, nodes, &any, error)) {
        return false;
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
        .policy = backend->policy,
        .host_nodes = any ? nodes : NULL,
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
    .base = "memory-backend",
    .desc = "Anonymous guest memory",
    .size = sizeof(MemoryBackend),
    .props = ram_props,
    .complete = memory_backend_complete,
    .finalize = memory_backend_finalize,
};

const ObjectClass memory_backend_memfd_class = {
    .name = "memory-backend-memfd",
    .base = "memory-backend",
    .desc = "Guest memory in a memfd, shareable, with huge pages",
    .size = sizeof(MemoryBackend),
    .props = memfd_props,
    .complete = memory_backend_complete,
    .finalize = memory_backend_finalize,
};

const ObjectClass memory_backend_file_class = {
    .name = "memory-backend-file",
    .base = "memory-backend",
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

bool memory_backend_size(const char *id, uint64_t *size, GError **error)
{
    const Object *obj = object_find_type(id, "memory-backend-", error);
    if (obj) {
        *size = ((const MemoryBackend *)obj)->size;
    }
    return obj != NULL;
}

void memory_backend_release(const char *id)
{
    Object *obj = object_find(id);
    if (obj && obj->users > 0) {
        obj->users--;
    }
}

json_object *memory_backend_host_nodes(const Object *obj)
{
    uint64_t nodes[RAM_HOST_NODES / 64] = { 0 };
    bool any = false;
    json_object *list = json_object_new_array();
    if (host_nodes_read((const MemoryBackend *)obj, nodes, &any, NULL)) {
        for (unsigned i = 0; i < RAM_HOST_NODES; i++) {
            if (nodes[i / 64] >> i % 64 & 1) {
                json_object_array_add(list, json_object_new_int((int)i));
            }
        }
    }
    return list;
}

const RamBlock *memory_backend_block(const Object *obj)
{
    return ((const MemoryBackend *)obj)->block;
}
