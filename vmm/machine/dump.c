/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine/dump.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vmm/error.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/cpus.h"
#include "vmm/machine/dump_notes.h"
#include "vmm/memory/dma.h"
#include "vmm/memory/rcu.h"

#define CHUNK   (256u << 10)
#define POLL_MS 100

typedef struct Piece {
    uint64_t start, length;
} Piece;

struct Dump {
    Machine *machine;
    int fd;
    uint64_t begin, last; /* what is asked for, inclusive */
    GArray *pieces;       /* Piece, in order, apart from each other */
    GByteArray *notes;
    uint64_t total;
    uint64_t written; /* atomic */
    bool is_file;
    bool cancelled; /* atomic */
    GMutex lock;
    GCond cond;
    bool ended; /* under lock */
};

/* ---- What there is ---- */

static void add_piece(const FlatRange *range, void *opaque)
{
    Dump *dump = opaque;
    uint64_t start = MAX(range->start, dump->begin), last = MIN(range->last, dump->last);
    if (range->region->kind == REGION_IO || start > last) {
        return;
    }
    Piece *before = dump->pieces->len ? &g_array_index(dump->pieces, Piece, dump->pieces->len - 1)
                                      : NULL;
    if (before && before->start + before->length == start) {
        before->length += last - start + 1;
    } else {
        Piece piece = { start, last - start + 1 };
        g_array_append_val(dump->pieces, piece);
    }
    dump->total += last - start + 1;
}

static void add_cpus(Dump *dump)
{
    const AccelDebugOps *ops = dump->machine->accel->debug;
    for (unsigned i = 0; ops && i < dump->machine->config->smp.maxcpus; i++) {
        DebugRegs regs = { 0 };
        if (machine_cpu_present(dump->machine, i) &&
            ops->regs_get(dump->machine, i, &regs, DEBUG_REGS_ALL)) {
            dump_add_cpu_notes(dump->notes, i, &regs);
        }
    }
}

Dump *dump_new(Machine *machine, int fd, uint64_t begin, uint64_t length, GError **error)
{
    Dump *dump = g_new0(Dump, 1);
    dump->machine = machine;
    dump->fd = fd;
    dump->begin = begin;
    dump->last = length && length - 1 <= UINT64_MAX - begin ? begin + length - 1 : UINT64_MAX;
    dump->pieces = g_array_new(FALSE, FALSE, sizeof(Piece));
    dump->notes = g_byte_array_new();
    struct stat st;
    dump->is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    g_mutex_init(&dump->lock);
    g_cond_init(&dump->cond);
    address_space_foreach(machine->memory, add_piece, dump);
    if (dump->pieces->len == 0) {
        error_set(error,
                  "there is no memory in [0x%" G_GINT64_MODIFIER "x, 0x%" G_GINT64_MODIFIER "x]",
                  dump->begin, dump->last);
        dump_free(dump);
        return NULL;
    }
    add_cpus(dump);
    return dump;
}

/* ---- Writing ---- */

/* Into a pipe only so much as does not wait for a reader that never comes: it can be cancelled. */
static ssize_t write_some(Dump *dump, const void *data, size_t len)
{
    struct pollfd room = { .fd = dump->fd, .events = POLLOUT };
    if (dump->is_file) {
        return write(dump->fd, data, len);
    }
    return poll(&room, 1, POLL_MS) > 0 ? write(dump->fd, data, MIN(len, PIPE_BUF)) : 0;
}

static bool write_all(Dump *dump, const void *data, size_t len, GError **error)
{
    for (size_t done = 0; done < len;) {
        if (__atomic_load_n(&dump->cancelled, __ATOMIC_RELAXED)) {
            return error_set(error, "the machine ended meanwhile");
        }
        ssize_t n = write_some(dump, (const char *)data + done, len - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno != EINTR && errno != EAGAIN) {
            return error_set(error, "writing the dump: %s", g_strerror(errno));
        }
    }
    return true;
}

static bool write_headers(Dump *dump, GError **error)
{
    unsigned count = 1 + dump->pieces->len;
    Elf64_Ehdr head = {
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_CORE,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof(head),
        .e_ehsize = sizeof(head),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (Elf64_Half)count,
    };
    uint64_t offset = sizeof(head) + count * sizeof(Elf64_Phdr);
    g_autofree Elf64_Phdr *segments = g_new0(Elf64_Phdr, count);
    segments[0] = (Elf64_Phdr){
        .p_type = PT_NOTE, .p_offset = offset, .p_filesz = dump->notes->len, .p_align = 4
    };
    offset += dump->notes->len;
    for (guint i = 0; i < dump->pieces->len; i++) {
        const Piece *piece = &g_array_index(dump->pieces, Piece, i);
        segments[1 + i] = (Elf64_Phdr){ .p_type = PT_LOAD,
                                        .p_flags = PF_R | PF_W | PF_X,
                                        .p_offset = offset,
                                        .p_vaddr = piece->start,
                                        .p_paddr = piece->start,
                                        .p_filesz = piece->length,
                                        .p_memsz = piece->length };
        offset += piece->length;
    }
    return write_all(dump, &head, sizeof(head), error) &&
           write_all(dump, segments, count * sizeof(*segments), error) &&
           write_all(dump, dump->notes->data, dump->notes->len, error);
}

/* By copies: so no memory can be pulled away under the write. */
static bool write_piece(Dump *dump, const Piece *piece, uint8_t *buffer, GError **error)
{
    for (uint64_t done = 0; done < piece->length;) {
        uint64_t part = MIN(CHUNK, piece->length - done);
        if (!dma_read(dump->machine->memory, piece->start + done, buffer, part)) {
            return error_set(error, "memory at 0x%" G_GINT64_MODIFIER "x was taken out meanwhile",
                             piece->start + done);
        }
        if (!write_all(dump, buffer, part, error)) {
            return false;
        }
        done += part;
        __atomic_fetch_add(&dump->written, part, __ATOMIC_RELAXED);
    }
    return true;
}

static bool write_pieces(Dump *dump, GError **error)
{
    g_autofree uint8_t *buffer = g_malloc(CHUNK);
    rcu_thread_register();
    bool ok = write_headers(dump, error);
    for (guint i = 0; ok && i < dump->pieces->len; i++) {
        ok = write_piece(dump, &g_array_index(dump->pieces, Piece, i), buffer, error);
    }
    rcu_thread_unregister();
    int failed = close(dump->fd) < 0 ? errno : 0;
    dump->fd = -1;
    return ok && (!failed || error_set(error, "writing the dump: %s", g_strerror(failed)));
}

bool dump_write(Dump *dump, GError **error)
{
    bool ok = write_pieces(dump, error);
    g_mutex_lock(&dump->lock);
    dump->ended = true;
    g_cond_signal(&dump->cond);
    g_mutex_unlock(&dump->lock);
    return ok;
}

void dump_cancel(Dump *dump)
{
    __atomic_store_n(&dump->cancelled, true, __ATOMIC_RELAXED);
    g_mutex_lock(&dump->lock);
    while (!dump->ended) {
        g_cond_wait(&dump->cond, &dump->lock);
    }
    g_mutex_unlock(&dump->lock);
}

void dump_free(Dump *dump)
{
    g_mutex_clear(&dump->lock);
    g_cond_clear(&dump->cond);
    if (dump->fd >= 0) {
        close(dump->fd);
    }
    g_array_unref(dump->pieces);
    g_byte_array_unref(dump->notes);
    g_free(dump);
}

uint64_t dump_total(const Dump *dump)
{
    return dump->total;
}

uint64_t dump_written(const Dump *dump)
{
    return __atomic_load_n(&dump->written, __ATOMIC_RELAXED);
}
