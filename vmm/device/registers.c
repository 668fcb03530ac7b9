/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Register files as tables. */
#include "vmm/device/registers.h"

#include <glib.h>
#include <stdbool.h>
#include "vmm/trace/trace-device.h"
#include "vmm/util/bytes.h"

static uint64_t stored_get(const RegisterDesc *reg, const void *dev)
{
    const uint8_t *at = (const uint8_t *)dev + reg->field;
    switch (reg->size) {
    case 1:
        return *at;
    case 2:
        return *(const uint16_t *)(const void *)at;
    case 4:
        return *(const uint32_t *)(const void *)at;
    default:
        return *(const uint64_t *)(const void *)at;
    }
}

static void stored_set(const RegisterDesc *reg, void *dev, uint64_t value)
{
    uint8_t *at = (uint8_t *)dev + reg->field;
    switch (reg->size) {
    case 1:
        *at = (uint8_t)value;
        break;
    case 2:
        *(uint16_t *)(void *)at = (uint16_t)value;
        break;
    case 4:
        *(uint32_t *)(void *)at = (uint32_t)value;
        break;
    default:
        *(uint64_t *)(void *)at = value;
        break;
    }
}

/* The first register that ends behind offset. */
static size_t first_register(const RegisterFile *file, uint64_t offset)
{
    size_t low = 0;
    size_t high = file->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((uint64_t)file->regs[middle].offset + file->regs[middle].size <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The bytes that an access [offset, offset + size) and a register share. */
typedef struct Overlap {
    unsigned in_access; /* byte positions */
    unsigned in_register;
    unsigned bytes;
} Overlap;

static bool overlap(const RegisterDesc *reg, uint64_t offset, unsigned size, Overlap *shared)
{
    uint64_t start = MAX(offset, reg->offset);
    uint64_t end = MIN(offset + size, (uint64_t)reg->offset + reg->size);
    if (start >= end) {
        return false;
    }
    *shared = (Overlap){ .in_access = (unsigned)(start - offset),
                         .in_register = (unsigned)(start - reg->offset),
                         .bytes = (unsigned)(end - start) };
    return true;
}

static uint64_t bytes_mask(unsigned bytes)
{
    return bytes >= 8 ? UINT64_MAX : (1ULL << (bytes * 8)) - 1;
}

uint64_t register_read(const RegisterFile *file, void *dev, uint64_t offset, unsigned size)
{
    uint64_t value = file->unassigned & bytes_mask(size);
    Overlap shared;
    for (size_t i = first_register(file, offset);
         i < file->count && overlap(&file->regs[i], offset, size, &shared); i++) {
        const RegisterDesc *reg = &file->regs[i];
        uint64_t now = stored_get(reg, dev);
        if (reg->read) {
            now = reg->read(dev, now);
        }
        trace_register_read(reg->name, now);
        uint64_t mask = bytes_mask(shared.bytes);
        uint64_t part = (now >> (shared.in_register * 8)) & mask;
        value &= ~(mask << (shared.in_access * 8));
        value |= part << (shared.in_access * 8);
    }
    return value;
}

void register_write(const RegisterFile *file, void *dev, uint64_t offset, uint64_t value,
                    unsigned size)
{
    Overlap shared;
    for (size_t i = first_register(file, offset);
         i < file->count && overlap(&file->regs[i], offset, size, &shared); i++) {
        const RegisterDesc *reg = &file->regs[i];
        uint64_t touched = bytes_mask(shared.bytes) << (shared.in_register * 8);
        uint64_t given = (value >> (shared.in_access * 8)) << (shared.in_register * 8);
        uint64_t old = stored_get(reg, dev);
        uint64_t writable = reg->writable & touched;
        uint64_t now = (old & ~writable) | (given & writable);
        now &= ~(given & reg->w1c & touched);
        stored_set(reg, dev, now);
        trace_register_write(reg->name, old, now);
        if (reg->written) {
            reg->written(dev, old, now);
        }
    }
}

void register_reset(const RegisterFile *file, void *dev)
{
    for (size_t i = 0; i < file->count; i++) {
        stored_set(&file->regs[i], dev, file->regs[i].reset);
    }
}
