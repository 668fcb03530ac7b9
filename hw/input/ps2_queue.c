/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a PS/2 device has to say: answers to commands, then events. */
#include "hw/input/ps2.h"

bool ps2_queue_put(Ps2Queue *queue, const uint8_t *bytes, unsigned count)
{
    if (queue->count + count > PS2_QUEUE) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        queue->data[(queue->head + queue->count) % PS2_QUEUE] = bytes[i];
        queue->count++;
    }
    return true;
}

void ps2_queue_reply(Ps2Queue *queue, uint8_t byte)
{
    if (queue->reply_count < PS2_REPLIES) {
        queue->reply[(queue->reply_head + queue->reply_count) % PS2_REPLIES] = byte;
        queue->reply_count++;
    }
}

bool ps2_queue_get(Ps2Queue *queue, uint8_t *byte)
{
    if (queue->reply_count) {
        *byte = queue->reply[queue->reply_head];
        queue->reply_head = (queue->reply_head + 1) % PS2_REPLIES;
        queue->reply_count--;
        return true;
    }
    if (queue->count) {
        *byte = queue->data[queue->head];
        queue->head = (queue->head + 1) % PS2_QUEUE;
        queue->count--;
        return true;
    }
    return false;
}

bool ps2_queue_has(const Ps2Queue *queue)
{
    return queue->count || queue->reply_count;
}

void ps2_queue_clear(Ps2Queue *queue)
{
    queue->head = queue->count = 0;
}

bool ps2_queue_sane(const Ps2Queue *queue)
{
    return queue->head < PS2_QUEUE && queue->count <= PS2_QUEUE &&
           queue->reply_head < PS2_REPLIES && queue->reply_count <= PS2_REPLIES;
}

static const StateField queue_fields[] = {
    STATE_BUFFER(Ps2Queue, data),
    STATE_BUFFER(Ps2Queue, reply),
    STATE_INT(Ps2Queue, head),
    STATE_INT(Ps2Queue, count),
    STATE_INT(Ps2Queue, reply_head),
    STATE_INT(Ps2Queue, reply_count),
    STATE_END,
};

const StateSection ps2_queue_state = {
    .name = "ps2-queue",
    .version = 1,
    .fields = queue_fields,
};
