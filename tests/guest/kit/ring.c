/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest kit's virtqueues: building chains, doorbells with and without the event index, used
 * entries; split and packed (Virtio 1.2, 2.7 and 2.8). */
#include "virtio.h"

#define PATIENCE 20000000u

static uint16_t packed_flags(VirtQueue *q)
{
    return q->wrap ? PACKED_AVAIL : PACKED_USED;
}

static uint16_t part_flags(const Part *part, bool last)
{
    return (uint16_t)((part->write ? DESC_WRITE : 0) | (last ? 0 : DESC_NEXT));
}

static void fill_table(VringDesc *table, const Part *parts, uint32_t count, bool packed)
{
    for (uint32_t i = 0; i < count; i++) {
        uint16_t flags = part_flags(&parts[i], i + 1 == count);

        table[i] = (VringDesc){ (uint64_t)parts[i].data, parts[i].len, flags, (uint16_t)(i + 1) };
        if (packed) {
            table[i].flags = 0;
            table[i].next = flags & DESC_WRITE;
        }
    }
}

static void packed_advance(VirtQueue *q)
{
    if (++q->avail_idx == q->size) {
        q->avail_idx = 0;
        q->wrap = !q->wrap;
    }
}

static void packed_add(VirtQueue *q, uint16_t id, const Part *parts, uint32_t count,
                       VringDesc *table)
{
    uint16_t first = q->avail_idx, first_flags = 0;
    Part indirect = { table, count * (uint32_t)sizeof(VringDesc), false };

    if (table != NULL) {
        fill_table(table, parts, count, true);
        parts = &indirect;
        count = 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        VringDesc *d = &q->desc[q->avail_idx];
        uint16_t flags = part_flags(&parts[i], i + 1 == count) | packed_flags(q);

        flags |= table != NULL ? DESC_INDIRECT : 0;
        d->addr = (uint64_t)parts[i].data;
        d->len = parts[i].len;
        d->flags = id;
        if (i == 0) {
            first_flags = flags;
        } else {
            d->next = flags;
        }
        packed_advance(q);
    }
    barrier();
    *(volatile uint16_t *)&q->desc[first].next = first_flags;
}

void queue_add(VirtQueue *q, uint16_t head, const Part *parts, uint32_t count, VringDesc *table)
{
    if (q->packed) {
        packed_add(q, head, parts, count, table);
        return;
    }
    if (table != NULL) {
        fill_table(table, parts, count, false);
        q->desc[head] =
            (VringDesc){ (uint64_t)table, count * (uint32_t)sizeof(VringDesc), DESC_INDIRECT, 0 };
    } else {
        for (uint32_t i = 0; i < count; i++) {
            q->desc[head + i] = (VringDesc){ (uint64_t)parts[i].data, parts[i].len,
                                             part_flags(&parts[i], i + 1 == count),
                                             (uint16_t)(head + i + 1) };
        }
    }
    q->avail[2 + q->avail_idx % q->size] = head;
    q->avail_idx++;
    barrier();
    q->avail[1] = q->avail_idx;
}

void queue_kick(VirtQueue *q, uint16_t added)
{
    full_barrier();
    if (q->packed) {
        /* Device event suppression: 1 is "no doorbells"; a precise event is rung for always. */
        if (q->used[1] != 1) {
            virtio_notify(q);
        }
    } else if (q->dev->features & F_EVENT_IDX) {
        uint16_t event = *queue_avail_event(q);

        if ((uint16_t)(q->avail_idx - event - 1) < added) {
            virtio_notify(q);
        }
    } else if ((q->used[0] & 1) == 0) {
        virtio_notify(q);
    }
}

static bool packed_used(VirtQueue *q, uint32_t *id, uint32_t *len)
{
    volatile VringDesc *d = &q->desc[q->used_idx];
    uint16_t flags = d->next;
    bool avail = flags & PACKED_AVAIL, used = flags & PACKED_USED;
    uint32_t skip;

    if (avail != used || used != q->used_wrap) {
        return false;
    }
    *id = d->flags;
    *len = d->len;
    /* The driver's chains here are as long as the distance to the next head: ids carry it in the
     * high byte when a chain is longer than one descriptor. */
    skip = (*id >> 8) != 0 ? *id >> 8 : 1;
    q->used_idx = (uint16_t)(q->used_idx + skip);
    if (q->used_idx >= q->size) {
        q->used_idx = (uint16_t)(q->used_idx - q->size);
        q->used_wrap = !q->used_wrap;
    }
    return true;
}

bool queue_used(VirtQueue *q, uint32_t *id, uint32_t *len)
{
    volatile uint32_t *entry;

    if (q->packed) {
        return packed_used(q, id, len);
    }
    if (q->used[1] == q->used_idx) {
        return false;
    }
    barrier();
    entry = (volatile uint32_t *)&q->used[2 + (q->used_idx % q->size) * 4];
    *id = entry[0];
    *len = entry[1];
    q->used_idx++;
    return true;
}

bool queue_wait(VirtQueue *q, uint32_t *id, uint32_t *len)
{
    for (uint32_t i = 0; i < PATIENCE; i++) {
        if (queue_used(q, id, len)) {
            return true;
        }
        __asm__ volatile("pause");
    }
    return false;
}

uint8_t blk_request(VirtQueue *q, uint32_t type, uint64_t sector, void *data, uint32_t len)
{
    static BlkHeader header;
    static volatile uint8_t status;
    uint32_t id, used_len, count = 0;
    bool to_guest = type == BLK_IN || type == BLK_GET_ID;
    Part parts[3];

    header = (BlkHeader){ type, 0, sector };
    status = 0xff;
    parts[count++] = (Part){ &header, sizeof(header), false };
    if (len > 0) {
        parts[count++] = (Part){ data, len, to_guest };
    }
    parts[count++] = (Part){ (void *)&status, 1, true };
    queue_add(q, q->packed ? (uint16_t)(count << 8) : 0, parts, count, NULL);
    queue_kick(q, 1);
    if (!queue_wait(q, &id, &used_len)) {
        return 0xff;
    }
    return status;
}
