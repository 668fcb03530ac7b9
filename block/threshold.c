/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How far a node was written, and the event when that passes a threshold: for those who let the
 * space below an image grow as it is needed (block-set-write-threshold).
 */
#include "block/internal.h"

static void raise_to(_Atomic uint64_t *mark, uint64_t value)
{
    uint64_t old = atomic_load(mark);
    while (old < value && !atomic_compare_exchange_weak(mark, &old, value)) {
    }
}

/* Writes that are not looked at end neither above what was written nor above the threshold. Whoever
 * changed one of the two behind our back finds it changed in the next round, or stores after us. */
static void set_watermark(BlockNode *node)
{
    uint64_t threshold, written;
    do {
        threshold = atomic_load(&node->threshold);
        written = atomic_load(&node->written_to);
        atomic_store(&node->watermark, threshold ? MIN(threshold, written) : written);
    } while (atomic_load(&node->threshold) != threshold ||
             atomic_load(&node->written_to) != written);
}

static void emit(const BlockNode *node, uint64_t threshold, uint64_t exceeded)
{
    const BlockErrorHooks *hooks = block_error_hooks();
    if (!hooks || !hooks->emit) {
        return;
    }
    json_object *data = json_object_new_object();
    json_object_object_add(data, "node-name", json_object_new_string(node->name));
    json_object_object_add(data, "amount-exceeded", json_object_new_uint64(exceeded));
    json_object_object_add(data, "write-threshold", json_object_new_uint64(threshold));
    hooks->emit("BLOCK_WRITE_THRESHOLD", data);
}

void node_note_write(BlockNode *node, uint64_t end)
{
    uint64_t threshold = atomic_load(&node->threshold);
    raise_to(&node->written_to, end);
    if (threshold && end > threshold &&
        atomic_compare_exchange_strong(&node->threshold, &threshold, 0)) {
        emit(node, threshold, end - threshold);
    }
    set_watermark(node);
}

void node_set_threshold(BlockNode *node, uint64_t threshold)
{
    atomic_store(&node->threshold, threshold);
    set_watermark(node);
}
