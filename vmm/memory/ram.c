/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest RAM: host mappings of the guest's memory, and their dirty logs. */
#include "vmm/memory/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "vmm/error.h"
#include "vmm/memory/ram-private.h"
#include "vmm/util/bytes.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define HUGETLBFS_MAGIC_NUMBER 0x958458f6
#define THP_SIZE               (2 * MIB)
#define THP_DELAY_MS           500
#define PREALLOC_MAX_THREADS   64

unsigned ram_dirty_logs;

static bool open_memfd(RamBlock *block, const RamOptions *options, GError **error)
{
    unsigned flags = MFD_CLOEXEC;
    if (options->page_size) {
        flags |= MFD_HUGETLB | ((unsigned)__builtin_ctzll(options->page_size) << MFD_HUGE_SHIFT);
        block->page_size = options->page_size;
    }
    block->fd = memfd_create(block->id, flags);
    if (block->fd < 0) {
        return error_set_errno(error, errno, "cannot create a memory file for '%s'%s", block->id,
                               options->page_size ? " with huge pages of that size" : "");
    }
    return true;
}

/* mem-path: a directory gets an unnamed file; a file is used as it is, grown to the size. */
static bool open_path(RamBlock *block, const RamOptions *options, GError **error)
{
    struct stat st;
    int access = options->readonly ? O_RDONLY : O_RDWR;
    if (stat(options->mem_path, &st) == 0 && S_ISDIR(st.st_mode)) {
        g_autofree char *name = g_strdup_printf("%s/vireo-ram.XXXXXX", options->mem_path);
        block->fd = mkostemp(name, O_CLOEXEC);
        if (block->fd >= 0) {
            unlink(name);
        }
    } else {
        block->fd =
            open(options->mem_path, access | O_CLOEXEC | (options->readonly ? 0 : O_CREAT), 0600);
    }
    if (block->fd < 0) {
        return error_set_errno(error, errno, "cannot open '%s' as guest memory", options->mem_path);
    }
    struct statfs fs;
    if (fstatfs(block->fd, &fs) == 0 && (uint32_t)fs.f_type == HUGETLBFS_MAGIC_NUMBER) {
        block->page_size = (uint64_t)fs.f_bsize;
    }
    return true;
}

static bool size_file(RamBlock *block, const RamOptions *options, GError **error)
{
    struct stat st;
    if (fstat(block->fd, &st) != 0) {
        return error_set_errno(error, errno, "cannot look at the memory file of '%s'", block->id);
    }
    if (S_ISREG(st.st_mode) && (uint64_t)st.st_size < block->size) {
        if (options->readonly) {
            return error_set(error,
                             "the memory file of '%s' has %" G_GUINT64_FORMAT
                             " bytes, fewer than the %" G_GUINT64_FORMAT " wanted",
                             block->id, (uint64_t)st.st_size, block->size);
        }
        if (ftruncate(block->fd, (off_t)block->size) != 0) {
            return error_set_errno(error, errno, "cannot grow the memory file of '%s'", block->id);
        }
    }
    return true;
}

/* Anonymous memory is placed on a huge-page border so that guest and host huge pages agree. */
static void *map_aligned(uint64_t size, int prot, int flags)
{
    if (size < THP_SIZE) {
        return mmap(NULL, size, prot, flags, -1, 0);
    }
    uint8_t *area =
        mmap(NULL, size + THP_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) {
        return MAP_FAILED;
    }
    uint8_t *host = (uint8_t *)ALIGN_UP((uintptr_t)area, THP_SIZE);
    void *mapped = mmap(host, size, prot, flags | MAP_FIXED, -1, 0);
    if (mapped == MAP_FAILED) {
        int errnum = errno;
        munmap(area, size + THP_SIZE);
        errno = errnum;
        return MAP_FAILED;
    }
    if (host > area) {
        munmap(area, (size_t)(host - area));
    }
    uint8_t *end = area + size + THP_SIZE;
    if (end > host + size) {
        munmap(host + size, (size_t)(end - (host + size)));
    }
    return host;
}

static bool map_block(RamBlock *block, const RamOptions *options, GError **error)
{
    int prot = PROT_READ | (options->readonly ? 0 : PROT_WRITE);
    int flags = block->shared ? MAP_SHARED : MAP_PRIVATE;
    if (!options->reserve) {
        flags |= MAP_NORESERVE;
    }
    void *host;
    if (block->fd >= 0) {
        host = mmap(NULL, block->size, prot, flags, block->fd, (off_t)block->fd_offset);
    } else {
        host = map_aligned(block->size, prot, flags | MAP_ANONYMOUS);
    }
    if (host == MAP_FAILED) {
        return error_set_errno(error, errno,
                               "cannot map %" G_GUINT64_FORMAT
                               " MiB of guest memory '%s'; give the guest less (-m), or let the "
                               "host overcommit memory",
                               (uint64_t)(block->size / MIB), block->id);
    }
    block->host = host;
    return true;
}

typedef struct PreallocJob {
    uint8_t *start;
    uint64_t length;
    uint64_t page_size;
    int errnum;
} PreallocJob;

static void *prealloc_run(void *opaque)
{
    PreallocJob *job = opaque;
    if (job->length == 0 || madvise(job->start, job->length, MADV_POPULATE_WRITE) == 0) {
        return NULL;
    }
    job->errnum = errno;
    if (errno == EINVAL) { /* Linux before 5.14 */
        for (uint64_t at = 0; at < job->length; at += job->page_size) {
            __atomic_fetch_or(job->start + at, 0, __ATOMIC_RELAXED);
        }
        job->errnum = 0;
    }
    return NULL;
}

static bool prealloc(RamBlock *block, unsigned threads, GError **error)
{
    threads = CLAMP(threads, 1, PREALLOC_MAX_THREADS);
    if (block->fd >= 0 && block->shared &&
        fallocate(block->fd, 0, (off_t)block->fd_offset, (off_t)block->size) != 0 &&
        errno != EOPNOTSUPP) {
        return error_set_errno(error, errno, "cannot allocate guest memory '%s' in advance",
                               block->id);
    }
    PreallocJob jobs[PREALLOC_MAX_THREADS];
    GThread *workers[PREALLOC_MAX_THREADS];
    uint64_t pages = block->size / block->page_size;
    uint64_t done = 0;
    for (unsigned i = 0; i < threads; i++) {
        uint64_t share = pages / threads + (i < pages % threads);
        jobs[i] = (PreallocJob){ .start = block->host + done * block->page_size,
                                 .length = share * block->page_size,
                                 .page_size = block->page_size };
        done += share;
        workers[i] = i ? g_thread_new("prealloc", prealloc_run, &jobs[i]) : NULL;
    }
    prealloc_run(&jobs[0]);
    int errnum = jobs[0].errnum;
    for (unsigned i = 1; i < threads; i++) {
        g_thread_join(workers[i]);
        errnum = errnum ? errnum : jobs[i].errnum;
    }
    return !errnum || error_set_errno(error, errnum, "cannot allocate guest memory '%s' in advance",
                                      block->id);
}

/* A machine's first touches are few and scattered: with huge pages each would clear 2 MiB, which
 * costs 0.2 to 10 ms and that much memory. They are asked for when the machine has started; the
 * kernel then also collapses what small pages there are. */
static gboolean ask_for_huge_pages(gpointer opaque)
{
    RamBlock *block = opaque;
    block->huge_source = 0;
    madvise(block->host, block->size, MADV_HUGEPAGE);
    return G_SOURCE_REMOVE;
}

/* Pages come from the nodes, and those that are there already move. */
static bool bind_nodes(RamBlock *block, const RamOptions *options, GError **error)
{
    if (!options->host_nodes) {
        return true;
    }
    if (syscall(SYS_mbind, block->host, block->size, options->policy, options->host_nodes,
                RAM_HOST_NODES + 1UL, MPOL_MF_STRICT | MPOL_MF_MOVE) != 0) {
        return error_set_errno(
            error, errno, "cannot bind guest memory '%s' to the host nodes asked for", block->id);
    }
    return true;
}

static void advise(RamBlock *block, const RamOptions *options)
{
    /* Hints: a kernel without them loses nothing but speed. */
    if (block->fd < 0 && block->size >= THP_SIZE) {
        if (options->prealloc) {
            madvise(block->host, block->size, MADV_HUGEPAGE);
        } else {
            block->huge_source = g_timeout_add(THP_DELAY_MS, ask_for_huge_pages, block);
        }
    }
    if (options->merge) {
        madvise(block->host, block->size, MADV_MERGEABLE);
    }
    if (!options->dump) {
        madvise(block->host, block->size, MADV_DONTDUMP);
    }
    madvise(block->host, block->size, MADV_DONTFORK);
}

RamBlock *ram_block_new(const char *id, const RamOptions *options, GError **error)
{
    if (options->size == 0) {
        error_set(error, "guest memory '%s' has no size", id);
        return NULL;
    }
    RamBlock *block = g_new0(RamBlock, 1);
    block->id = g_strdup(id);
    block->fd = -1;
    block->shared = options->share;
    block->readonly = options->readonly;
    block->page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    bool ok = true;
    if (options->mem_path) {
        ok = open_path(block, options, error);
    } else if (options->memfd || options->share || options->page_size) {
        ok = open_memfd(block, options, error);
    }
    if (ok && options->size > UINT64_MAX / 2) {
        ok = error_set(error, "guest memory '%s' is too large", id);
    }
    if (ok) {
        block->size = ALIGN_UP(options->size, block->page_size);
        ok = (block->fd < 0 || size_file(block, options, error)) &&
             map_block(block, options, error);
    }
    if (ok) {
        advise(block, options);
        ok = bind_nodes(block, options, error);
    }
    if (ok) {
        ok = !options->prealloc || prealloc(block, options->prealloc_threads, error);
    }
    if (!ok) {
        ram_block_free(block);
        return NULL;
    }
    return block;
}

void ram_block_free(RamBlock *block)
{
    if (!block) {
        return;
    }
    ram_block_dirty_stop(block);
    if (block->huge_source) {
        g_source_remove(block->huge_source);
    }
    if (block->host && !block->joined) {
        munmap(block->host, block->size);
    }
    if (block->fd >= 0) {
        close(block->fd);
    }
    g_free(block->id);
    g_free(block);
}

/* Each part's mapping moves into one reservation; its file, policy and advice go with it. */
RamBlock *ram_block_join(const char *id, RamBlock *const *parts, unsigned count, GError **error)
{
    uint64_t size = 0, align = THP_SIZE;
    for (unsigned i = 0; i < count; i++) {
        size += parts[i]->size;
        align = MAX(align, parts[i]->page_size);
    }
    uint8_t *area =
        mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) {
        error_set_errno(error, errno, "cannot reserve addresses for guest memory '%s'", id);
        return NULL;
    }
    RamBlock *block = g_new0(RamBlock, 1);
    uint8_t *host = (uint8_t *)ALIGN_UP((uintptr_t)area, align);
    *block = (RamBlock){ .id = g_strdup(id), .host = area, .size = size + align, .fd = -1 };
    block->page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    block->parts = count;
    block->shared = count > 0;
    uint64_t offset = 0;
    for (unsigned i = 0; i < count; i++) {
        if (mremap(parts[i]->host, parts[i]->size, parts[i]->size, MREMAP_MAYMOVE | MREMAP_FIXED,
                   host + offset) == MAP_FAILED) {
            error_set_errno(error, errno,
                            "cannot place guest memory '%s' behind that of other nodes",
                            parts[i]->id);
            ram_block_free(block);
            return NULL;
        }
        parts[i]->host = host + offset;
        parts[i]->joined = true;
        block->page_size = MAX(block->page_size, parts[i]->page_size);
        block->shared = block->shared && parts[i]->shared;
        block->readonly |= parts[i]->readonly;
        offset += parts[i]->size;
    }
    if (host > area) {
        munmap(area, (size_t)(host - area));
    }
    munmap(host + size, (size_t)(area + align - host));
    block->host = host;
    block->size = size;
    return block;
}

int ram_block_discard(RamBlock *block, uint64_t offset, uint64_t length)
{
    if (!range_inside(offset, length, block->size)) {
        return -EINVAL;
    }
    uint64_t start = ALIGN_UP(offset, block->page_size);
    uint64_t end = ALIGN_DOWN(offset + length, block->page_size);
    if (end <= start) {
        return 0;
    }
    /* What a shared file holds must go from the file; a private mapping only drops its copies. */
    int advice = (block->fd >= 0 || block->parts) && block->shared ? MADV_REMOVE : MADV_DONTNEED;
    if (madvise(block->host + start, end - start, advice) != 0) {
        return -errno;
    }
    ram_block_mark_dirty(block, start, end - start);
    return 0;
}

static const RamDirtySource *dirty_source;
static void *dirty_source_opaque;

void ram_set_dirty_source(const RamDirtySource *source, void *opaque)
{
    dirty_source = source;
    dirty_source_opaque = opaque;
}

static uint64_t dirty_words(const RamBlock *block)
{
    return (block->size / RAM_DIRTY_PAGE + 63) / 64;
}

bool ram_block_dirty_start(RamBlock *block, GError **error)
{
    if (block->dirty) {
        return error_set(error, "dirty logging of '%s' is on already", block->id);
    }
    uint64_t *bitmap = g_try_new0(uint64_t, dirty_words(block));
    if (!bitmap) {
        return error_set(error, "no memory for the dirty log of '%s'", block->id);
    }
    __atomic_store_n(&block->dirty, bitmap, __ATOMIC_RELEASE);
    __atomic_fetch_add(&ram_dirty_logs, 1, __ATOMIC_RELEASE);
    if (dirty_source && !dirty_source->start(dirty_source_opaque, block, error)) {
        ram_block_dirty_stop(block);
        return false;
    }
    return true;
}

void ram_block_dirty_stop(RamBlock *block)
{
    if (block->dirty) {
        uint64_t *bitmap = block->dirty;
        if (dirty_source) {
            dirty_source->stop(dirty_source_opaque, block);
        }
        __atomic_fetch_sub(&ram_dirty_logs, 1, __ATOMIC_RELEASE);
        __atomic_store_n(&block->dirty, NULL, __ATOMIC_RELEASE);
        g_free(bitmap);
    }
}

void ram_block_dirty_fetch(RamBlock *block, uint64_t *bitmap)
{
    if (dirty_source) {
        dirty_source->sync(dirty_source_opaque, block);
    }
    for (uint64_t i = 0; i < dirty_words(block); i++) {
        bool any = __atomic_load_n(&block->dirty[i], __ATOMIC_RELAXED) != 0;
        bitmap[i] = any ? __atomic_exchange_n(&block->dirty[i], 0, __ATOMIC_ACQ_REL) : 0;
    }
}

void ram_block_mark_dirty(RamBlock *block, uint64_t offset, uint64_t length)
{
    uint64_t *bitmap = __atomic_load_n(&block->dirty, __ATOMIC_ACQUIRE);
    if (!bitmap || length == 0) {
        return;
    }
    uint64_t last = (offset + length - 1) / RAM_DIRTY_PAGE;
    for (uint64_t page = offset / RAM_DIRTY_PAGE; page <= last; page++) {
        uint64_t bit = 1ULL << (page % 64);
        if (!(__atomic_load_n(&bitmap[page / 64], __ATOMIC_RELAXED) & bit)) {
            __atomic_fetch_or(&bitmap[page / 64], bit, __ATOMIC_RELEASE);
        }
    }
}
