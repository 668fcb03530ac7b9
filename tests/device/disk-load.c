/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk-load.h. */
#include "tests/device/disk-load.h"

#include <string.h>

#define SECTOR      512
#define QUEUE_SIZE  256
#define MOST_BEHIND 60 /* requests behind one that has not ended: descriptors come round later */
#define MOST_ZEROES (256u << 10)

#define FEATURES (1ULL << 32 | 1ULL << 9 | 1ULL << 12 | 1ULL << 13 | 1ULL << 14)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_DISCARD = 11, T_ZEROES = 13 };

/* ---- Life ---- */

void disk_load_open(DiskLoad *d, QTest *qts, uint64_t size, uint64_t most, GRand *rand)
{
    *d = (DiskLoad){ .qts = qts, .rand = rand, .size = size, .most = most };
    d->model = g_malloc0(most);
    d->dev = qvirtio_new(qpci_find(qts, 0x1af4, 0x1001, 0));
    qvirtio_reset(d->dev);
    qvirtio_negotiate(d->dev, FEATURES);
    for (unsigned q = 0; q < LOAD_QUEUES; q++) {
        d->queues[q] = qvirtqueue_new(d->dev, q, QUEUE_SIZE, 0xffff);
        for (unsigned i = 0; i < LOAD_DEPTH; i++) {
            d->slots[q][i] = (LoadSlot){ .header = qtest_alloc(qts, 64, 64),
                                         .data = qtest_alloc(qts, LOAD_PART, 4096),
                                         .status = qtest_alloc(qts, 64, 64) };
        }
    }
    qvirtio_driver_ok(d->dev);
}

void disk_load_close(DiskLoad *d)
{
    for (unsigned q = 0; q < LOAD_QUEUES; q++) {
        qvirtqueue_free(d->queues[q]);
    }
    qvirtio_free(d->dev);
    g_free(d->model);
}

/* ---- Requests ---- */

static void submit(DiskLoad *d, unsigned q, LoadSlot *slot)
{
    bool ranged = slot->type == T_DISCARD || slot->type == T_ZEROES;
    uint64_t sector = ranged || slot->type == T_FLUSH ? 0 : slot->offset / SECTOR;
    uint64_t header[2] = { GUINT64_TO_LE(slot->type), GUINT64_TO_LE(sector) };
    QBuffer buffers[3] = { { slot->header, 16, false } };
    unsigned n = 1;
    qtest_memwrite(d->qts, slot->header, header, sizeof(header));
    qtest_write(d->qts, slot->status, 0xee, 1);
    if (slot->type != T_FLUSH) {
        buffers[n++] =
            (QBuffer){ slot->data, ranged ? 16 : (uint32_t)slot->bytes, slot->type == T_IN };
    }
    buffers[n++] = (QBuffer){ slot->status, 1, true };
    slot->busy = true;
    slot->number = d->numbers[q]++;
    slot->head = qvirtqueue_add(d->queues[q], buffers, n);
    qvirtqueue_kick(d->queues[q]);
}

static void check_read(DiskLoad *d, const LoadSlot *slot)
{
    g_autofree uint8_t *got = g_malloc(slot->bytes);
    uint8_t *model = d->model + slot->offset;
    qtest_memread(d->qts, slot->data, got, slot->bytes);
    for (uint64_t i = 0; i < slot->bytes; i++) {
        if (got[i] != model[i] && !(slot->learns && got[i] == 0)) {
            g_error("byte %" G_GUINT64_FORMAT " (of a read of %" G_GUINT64_FORMAT
                    " at %" G_GUINT64_FORMAT ") is %02x, not %02x",
                    slot->offset + i, slot->bytes, slot->offset, got[i], model[i]);
        }
        model[i] = got[i];
    }
}

static void ended(DiskLoad *d, unsigned q, LoadSlot *slot)
{
    g_assert_cmphex(qtest_read(d->qts, slot->status, 1), ==, 0);
    slot->busy = false;
    if (slot->type == T_IN) {
        check_read(d, slot);
    } else if (slot->type == T_DISCARD) { /* a hint: each byte is what it was, or 0 */
        slot->type = T_IN;
        slot->learns = true;
        submit(d, q, slot);
    }
}

static bool reap(DiskLoad *d, unsigned q)
{
    uint16_t head;
    uint32_t length;
    if (!qvirtqueue_used(d->queues[q], &head, &length)) {
        return false;
    }
    for (unsigned i = 0; i < LOAD_DEPTH; i++) {
        LoadSlot *slot = &d->slots[q][i];
        if (slot->busy && slot->head == head) {
            ended(d, q, slot);
            return true;
        }
    }
    g_error("queue %u: request %u was not under way", q, head);
}

static void rest(DiskLoad *d)
{
    if (d->idle) {
        d->idle(d, d->opaque);
    } else {
        g_usleep(100);
    }
}

static bool is_busy(const DiskLoad *d, unsigned q)
{
    bool busy = false;
    for (unsigned i = 0; i < LOAD_DEPTH; i++) {
        busy |= d->slots[q][i].busy;
    }
    return busy;
}

/* A slot of the queue, when one is free and the ring has room behind the oldest request. */
static LoadSlot *free_slot(DiskLoad *d, unsigned q)
{
    LoadSlot *found = NULL;
    for (unsigned i = 0; i < LOAD_DEPTH; i++) {
        LoadSlot *slot = &d->slots[q][i];
        if (!slot->busy) {
            found = slot;
        } else if (d->numbers[q] - slot->number > MOST_BEHIND) {
            return NULL;
        }
    }
    return found;
}

static bool overlaps(const DiskLoad *d, uint64_t offset, uint64_t bytes)
{
    for (unsigned q = 0; q < LOAD_QUEUES; q++) {
        for (unsigned i = 0; i < LOAD_DEPTH; i++) {
            const LoadSlot *slot = &d->slots[q][i];
            if (slot->busy && offset < slot->offset + slot->bytes &&
                slot->offset < offset + bytes) {
                return true;
            }
        }
    }
    return false;
}

/* ---- Work ---- */

static uint64_t draw(DiskLoad *d, uint64_t below)
{
    return (uint64_t)g_rand_int_range(d->rand, 0, (gint32)below);
}

static void put_range(DiskLoad *d, const LoadSlot *slot)
{
    uint32_t flags = slot->type == T_ZEROES ? (uint32_t)draw(d, 2) : 0;
    uint64_t range[2] = { GUINT64_TO_LE(slot->offset / SECTOR),
                          GUINT64_TO_LE(slot->bytes / SECTOR | (uint64_t)flags << 32) };
    qtest_memwrite(d->qts, slot->data, range, sizeof(range));
}

static void start_one(DiskLoad *d, unsigned q, LoadSlot *slot)
{
    static const uint32_t types[] = { T_IN,  T_IN,  T_IN,  T_OUT,    T_OUT,   T_OUT,
                                      T_OUT, T_OUT, T_OUT, T_ZEROES, T_FLUSH, T_DISCARD };
    uint32_t type = types[draw(d, G_N_ELEMENTS(types))];
    uint64_t most = type == T_ZEROES && draw(d, 2) ? MOST_ZEROES : draw(d, 4) ? 8192 : LOAD_PART;
    uint64_t bytes = (1 + draw(d, MIN(most, d->size) / SECTOR)) * SECTOR;
    uint64_t offset = draw(d, (d->size - bytes) / SECTOR + 1) * SECTOR;
    if (overlaps(d, offset, bytes)) {
        return;
    }
    slot->type = type;
    slot->offset = offset;
    slot->bytes = type == T_FLUSH ? 0 : bytes;
    slot->learns = false;
    if (type == T_OUT) {
        uint8_t value = (uint8_t)draw(d, 256);
        qtest_memset(d->qts, slot->data, value, bytes);
        memset(d->model + offset, value, bytes);
    } else if (type == T_ZEROES) {
        memset(d->model + offset, 0, bytes);
    }
    if (type == T_ZEROES || type == T_DISCARD) {
        put_range(d, slot);
    }
    submit(d, q, slot);
}

void disk_load_work(DiskLoad *d, unsigned count)
{
    gint64 end = g_get_monotonic_time() + QTEST_TIMEOUT_MS * 1000LL;
    for (unsigned i = 0; i < count;) {
        unsigned q = (unsigned)draw(d, LOAD_QUEUES);
        LoadSlot *slot = free_slot(d, q);
        if (slot) {
            start_one(d, q, slot);
            i++;
        } else if (reap(d, q)) {
            end = g_get_monotonic_time() + QTEST_TIMEOUT_MS * 1000LL;
        } else {
            rest(d);
        }
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

void disk_load_wait(DiskLoad *d)
{
    gint64 end = g_get_monotonic_time() + QTEST_TIMEOUT_MS * 1000LL;
    for (unsigned q = 0; q < LOAD_QUEUES; q++) {
        while (is_busy(d, q)) {
            if (!reap(d, q)) {
                rest(d);
            }
            g_assert_cmpint(g_get_monotonic_time(), <, end);
        }
    }
}

void disk_load_resized(DiskLoad *d, uint64_t size)
{
    memset(d->model + size, 0, d->most - size);
    d->size = size;
}

void disk_load_check(DiskLoad *d)
{
    LoadSlot *slot = &d->slots[0][0];
    disk_load_wait(d);
    slot->type = T_FLUSH;
    slot->bytes = 0;
    submit(d, 0, slot);
    disk_load_wait(d);
    for (uint64_t offset = 0; offset < d->size; offset += LOAD_PART) {
        slot->type = T_IN;
        slot->offset = offset;
        slot->bytes = MIN(d->size - offset, LOAD_PART);
        slot->learns = false;
        submit(d, 0, slot);
        disk_load_wait(d);
    }
}
