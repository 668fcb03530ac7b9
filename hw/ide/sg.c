/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scattered guest memory as descriptor tables say it: bus-master IDE's PRDs, AHCI's PRDT. */
#include <errno.h>
#include "hw/ide/ata.h"
#include "vmm/memory/dma.h"
#include "vmm/util/bytes.h"

#define BATCH         64 /* descriptors read at once */
#define PIECES_MARGIN 16 /* of RAM that one descriptor may fall into */
#define BMDMA_BYTES   8
#define BMDMA_LAST    0x80000000U
#define AHCI_BYTES    16
#define AHCI_DBC_MASK 0x3fffffU

typedef struct Piece {
    uint64_t addr;
    uint32_t len;
    bool last;
} Piece;

typedef struct Fetched {
    uint8_t raw[BATCH * AHCI_BYTES];
    uint32_t first, count;
} Fetched;

void ide_sg_init(IdeSg *sg, IdeSgKind kind, AddressSpace *space, uint64_t table, uint32_t count)
{
    *sg = (IdeSg){ .kind = kind, .space = space, .table = table, .count = count };
}

bool ide_sg_ended(const IdeSg *sg)
{
    return sg->index >= sg->count;
}

static Piece decode(const IdeSg *sg, const uint8_t *raw)
{
    if (sg->kind == IDE_SG_AHCI) {
        return (Piece){ .addr = load_le64(raw) & ~1ULL,
                        .len = ((load_le32(raw + 12) & AHCI_DBC_MASK) | 1) + 1 };
    }
    uint32_t control = load_le32(raw + 4);
    uint32_t len = control & 0xfffe;
    return (Piece){ .addr = load_le32(raw) & ~1U,
                    .len = len ? len : 65536,
                    .last = control & BMDMA_LAST };
}

/* The descriptor at the cursor. */
static bool fetch(const IdeSg *sg, Fetched *fetched, Piece *piece)
{
    unsigned size = sg->kind == IDE_SG_AHCI ? AHCI_BYTES : BMDMA_BYTES;
    if (sg->index - fetched->first >= fetched->count) {
        uint32_t count = MIN(BATCH, sg->count - sg->index);
        fetched->first = sg->index;
        fetched->count = count;
        if (!dma_read(sg->space, sg->table + (uint64_t)sg->index * size, fetched->raw,
                      count * size)) {
            /* The table may end with RAM; one by one finds out. */
            fetched->count = 1;
            if (!dma_read(sg->space, sg->table + (uint64_t)sg->index * size, fetched->raw, size)) {
                fetched->count = 0;
                return false;
            }
        }
    }
    *piece = decode(sg, fetched->raw + (size_t)(sg->index - fetched->first) * size);
    return true;
}

static void advance(IdeSg *sg, const Piece *piece, uint32_t bytes)
{
    sg->offset += bytes;
    if (sg->offset >= piece->len) {
        sg->offset = 0;
        sg->index++;
        if (piece->last) {
            sg->count = sg->index;
        }
    }
}

/* Gives the last `bytes` back. */
static bool step_back(IdeSg *sg, uint64_t bytes, struct iovec *iov, unsigned *count)
{
    Fetched fetched = { .count = 0 };
    Piece piece;
    for (uint64_t rest = bytes; rest;) {
        struct iovec *last = &iov[*count - 1];
        uint64_t n = MIN(rest, last->iov_len);
        last->iov_len -= n;
        rest -= n;
        *count -= last->iov_len == 0;
    }
    while (bytes > sg->offset) {
        bytes -= sg->offset;
        sg->index--;
        fetched.count = 0;
        if (!fetch(sg, &fetched, &piece)) {
            return false;
        }
        sg->offset = piece.len;
    }
    sg->offset -= bytes;
    return true;
}

int64_t ide_sg_map(IdeSg *sg, uint64_t want, uint32_t unit, bool write, struct iovec *iov,
                   unsigned max, unsigned *count)
{
    Fetched fetched = { .count = 0 };
    uint64_t bytes = 0;
    *count = 0;
    while (bytes < want && !ide_sg_ended(sg) && *count + PIECES_MARGIN <= max) {
        Piece piece;
        if (!fetch(sg, &fetched, &piece)) {
            return -EFAULT;
        }
        uint32_t take = MIN(piece.len - sg->offset, want - bytes);
        if (!dma_map(sg->space, piece.addr + sg->offset, take, write, iov, max, count)) {
            return -EFAULT;
        }
        bytes += take;
        advance(sg, &piece, take);
    }
    uint64_t tail = bytes % unit;
    bool ended = ide_sg_ended(sg);
    if (tail && bytes < want && !step_back(sg, tail, iov, count)) {
        return -EFAULT;
    }
    bytes -= bytes < want ? tail : 0;
    return bytes || ended || !want ? (int64_t)bytes : -EFAULT;
}

int64_t ide_sg_copy(IdeSg *sg, void *data, uint64_t bytes, bool to_guest)
{
    Fetched fetched = { .count = 0 };
    uint64_t done = 0;
    while (done < bytes && !ide_sg_ended(sg)) {
        Piece piece;
        if (!fetch(sg, &fetched, &piece)) {
            return -EFAULT;
        }
        uint32_t take = MIN(piece.len - sg->offset, bytes - done);
        uint64_t addr = piece.addr + sg->offset;
        uint8_t *at = (uint8_t *)data + done;
        if (!(to_guest ? dma_write(sg->space, addr, at, take)
                       : dma_read(sg->space, addr, at, take))) {
            return -EFAULT;
        }
        done += take;
        advance(sg, &piece, take);
    }
    return (int64_t)done;
}
