/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed clusters: a descriptor says where between 1 byte and a cluster of deflated (or zstd)
 * data lies, at any byte of the file. Workers do the computing. What comes out is bounded by the
 * cluster, and no more is unpacked than is wanted.
 */
#include <zlib.h>
#include "block/qcow2/qcow2.h"
#include "config.h"
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#define WINDOW_LOG_MAX 23    /* zstd: the image does not say how much memory unpacking takes */
#define WINDOW_BITS    (-12) /* raw deflate with a window of 4 KiB, as the format has it */

/* ---- Unpacking ---- */

static int inflate_bytes(const uint8_t *from, size_t length, uint8_t *to, size_t wanted)
{
    z_stream z = { .next_in = (uint8_t *)from,
                   .avail_in = (unsigned)length,
                   .next_out = to,
                   .avail_out = (unsigned)wanted };
    if (inflateInit2(&z, WINDOW_BITS) != Z_OK) {
        return -ENOMEM;
    }
    inflate(&z, Z_FINISH);
    inflateEnd(&z);
    return z.avail_out ? -EIO : 0;
}

#ifdef HAVE_ZSTD
static int zstd_unpack(const uint8_t *from, size_t length, uint8_t *to, size_t wanted)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ZSTD_inBuffer in = { from, length, 0 };
    ZSTD_outBuffer out = { to, wanted, 0 };
    if (!context) {
        return -ENOMEM;
    }
    ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    while (out.pos < out.size) {
        size_t before = out.pos + in.pos;
        size_t ret = ZSTD_decompressStream(context, &out, &in);
        if (ZSTD_isError(ret) || (out.pos < out.size && out.pos + in.pos == before)) {
            break;
        }
    }
    ZSTD_freeDCtx(context);
    return out.pos < out.size ? -EIO : 0;
}
#endif

static int unpack(const Qcow2 *s, const uint8_t *from, size_t length, uint8_t *to, size_t wanted)
{
#ifdef HAVE_ZSTD
    if (s->h.compression == QCOW2_COMPRESSION_ZSTD) {
        return zstd_unpack(from, length, to, wanted);
    }
#endif
    return inflate_bytes(from, length, to, wanted);
}

/* ---- Reading ---- */

static int read_call(AioRequest *aio)
{
    Qcow2Piece *piece = aio->opaque;
    uint64_t wanted = piece->skip + piece->bytes;
    g_autofree uint8_t *cluster = g_malloc(wanted);
    int ret = unpack(piece->op->s, piece->buffer, piece->length, cluster, wanted);
    if (ret == 0) {
        iov_copy(piece->iov, piece->iov_count, 0, cluster + piece->skip, piece->bytes, true);
    }
    return ret;
}

static void unpacked(AioRequest *aio, ssize_t res)
{
    qcow2_piece_done(aio->opaque, (int)res);
}

static void packed_read(BlockRequest *io, int ret)
{
    Qcow2Piece *piece = io->opaque;
    block_request_release(io);
    if (ret < 0) {
        qcow2_piece_done(piece, ret);
        return;
    }
    io->aio.call = read_call;
    io->aio.done = unpacked;
    io->aio.opaque = piece;
    aio_run_worker(piece->op->loop, &io->aio);
}

void qcow2_read_compressed(Qcow2Piece *piece, uint64_t entry, uint64_t skip)
{
    Qcow2 *s = piece->op->s;
    piece->skip = skip;
    piece->length = qcow2_compressed_bytes(&s->h, entry);
    piece->buffer = g_malloc(piece->length);
    piece->write_iov = g_new(struct iovec, 1);
    piece->write_iov[0] = (struct iovec){ piece->buffer, piece->length };
    block_request_init(&piece->io, piece->op->loop, BLOCK_READ,
                       qcow2_compressed_offset(&s->h, entry), piece->length, piece->write_iov, 1, 0,
                       packed_read, piece);
    block_node_submit(s->node->file, &piece->io);
}

/* ---- Packing ---- */

/* Bytes of the packed cluster, or 0: it does not get smaller. */
static size_t deflate_bytes(const uint8_t *from, size_t length, uint8_t *to, size_t room)
{
    z_stream z = { .next_in = (uint8_t *)from,
                   .avail_in = (unsigned)length,
                   .next_out = to,
                   .avail_out = (unsigned)room };
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS, 9, Z_DEFAULT_STRATEGY) !=
        Z_OK) {
        return 0;
    }
    int ret = deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return ret == Z_STREAM_END ? room - z.avail_out : 0;
}

static size_t pack(const Qcow2 *s, const uint8_t *from, size_t length, uint8_t *to, size_t room)
{
    if (!qcow2_is_packable(from, length)) {
        return 0;
    }
#ifdef HAVE_ZSTD
    if (s->h.compression == QCOW2_COMPRESSION_ZSTD) {
        size_t n = ZSTD_compress(to, room, from, length, 3);
        return ZSTD_isError(n) ? 0 : n;
    }
#endif
    return deflate_bytes(from, length, to, room);
}

static int pack_call(AioRequest *aio)
{
    Qcow2Piece *piece = aio->opaque;
    Qcow2 *s = piece->op->s;
    g_autofree uint8_t *cluster = g_malloc0(s->cluster_size);
    iov_copy(piece->iov, piece->iov_count, 0, cluster, piece->bytes, false);
    piece->buffer = g_malloc(s->cluster_size);
    piece->length = pack(s, cluster, s->cluster_size, piece->buffer, s->cluster_size - 1);
    return 0;
}

static void plainly_written(BlockRequest *io, int ret)
{
    block_request_release(io);
    qcow2_piece_done(io->opaque, ret);
}

static void write_plainly(Qcow2Piece *piece)
{
    block_request_init(&piece->io, piece->op->loop, BLOCK_WRITE, piece->offset, piece->bytes,
                       piece->iov, piece->iov_count, 0, plainly_written, piece);
    block_node_submit(piece->op->s->node, &piece->io);
}

static void packed_written(BlockRequest *io, int ret)
{
    Qcow2Piece *piece = io->opaque;
    Qcow2 *s = piece->op->s;
    block_request_release(io);
    g_mutex_lock(&s->lock);
    piece->slice->pins--;
    if (ret == 0) {
        qcow2_entry_set(s, piece->slice, qcow2_entry_index(s, piece->alloc.first), piece->entry, 0);
    } else {
        qcow2_entry_free(s, piece->entry, false);
    }
    qcow2_alloc_end(s, &piece->alloc);
    g_mutex_unlock(&s->lock);
    qcow2_piece_done(piece, ret);
}

/* Nothing may be there yet: what is replaced would have to be kept until a commit. Lock held. */
static Qcow2Need place(Qcow2Piece *piece, bool *plainly, int *error)
{
    Qcow2 *s = piece->op->s;
    uint64_t cluster = piece->offset >> s->cluster_bits;
    Qcow2Alloc *other = qcow2_alloc_find(s, cluster, 1);
    Qcow2Extent e;
    if (other) {
        qcow2_wait(&other->waiters, &piece->waiter);
        return QCOW2_PARKED;
    }
    Qcow2Need need = qcow2_table_need(s, cluster, &piece->waiter, error);
    if (need == QCOW2_READY) {
        need = qcow2_slice_need(s, cluster, &piece->slice, &piece->waiter, error);
    }
    if (need != QCOW2_READY) {
        return need;
    }
    qcow2_map(s, piece->offset, 1, &e, error);
    if (*error) {
        return QCOW2_FAILED;
    }
    *plainly = e.kind != QCOW2_KIND_UNALLOCATED && e.kind != QCOW2_KIND_ZERO;
    if (*plainly) {
        return QCOW2_READY;
    }
    need = qcow2_alloc_bytes(s, piece->length, &piece->host, &piece->waiter, error);
    if (need == QCOW2_READY) {
        piece->entry = qcow2_compressed_entry(&s->h, piece->host, piece->length);
        piece->slice->pins++;
        qcow2_alloc_begin(s, &piece->alloc, cluster, 1);
    }
    return need;
}

static void find_place(void *opaque)
{
    Qcow2Piece *piece = opaque;
    Qcow2 *s = piece->op->s;
    bool plainly = false;
    int error = piece->waiter.error;
    Qcow2Need need = QCOW2_FAILED;
    if (!error) {
        g_mutex_lock(&s->lock);
        need = place(piece, &plainly, &error);
        g_mutex_unlock(&s->lock);
    }
    if (need == QCOW2_FAILED) {
        qcow2_piece_done(piece, error ? error : -EIO);
    } else if (need == QCOW2_READY && plainly) {
        write_plainly(piece);
    } else if (need == QCOW2_READY) {
        piece->write_iov = g_new(struct iovec, 1);
        piece->write_iov[0] = (struct iovec){ piece->buffer, piece->length };
        block_request_init(&piece->io, piece->op->loop, BLOCK_WRITE, piece->host, piece->length,
                           piece->write_iov, 1, 0, packed_written, piece);
        block_node_submit(s->node->file, &piece->io);
    }
}

static void packed(AioRequest *aio, ssize_t res)
{
    Qcow2Piece *piece = aio->opaque;
    if (!piece->length) {
        write_plainly(piece);
        return;
    }
    qcow2_waiter_init(&piece->waiter, piece->op->loop, find_place, piece);
    find_place(piece);
}

bool qcow2_compressed_step(Qcow2Op *op)
{
    Qcow2 *s = op->s;
    uint64_t bytes = MIN(s->cluster_size, op->end - op->cursor);
    bool whole = !(op->cursor & (s->cluster_size - 1)) &&
                 (bytes == s->cluster_size || op->end == block_node_length(s->node));
    if (!whole || s->data != s->node->file || s->encryption) {
        op->ret = s->encryption ? -ENOTSUP : -EINVAL;
        return true;
    }
    Qcow2Piece *piece = qcow2_piece_new(op, bytes);
    piece->io.aio.call = pack_call;
    piece->io.aio.done = packed;
    piece->io.aio.opaque = piece;
    aio_run_worker(op->loop, &piece->io.aio);
    return true;
}
