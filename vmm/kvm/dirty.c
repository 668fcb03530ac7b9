/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty logs: which pages vCPUs wrote, from KVM (KVM_MEM_LOG_DIRTY_PAGES, KVM_GET_DIRTY_LOG) into
 * the logs of the RAM blocks. A slot logs while a block in it does.
 */
#include "vmm/kvm/kvm.h"

#include "vmm/util/bytes.h"

#define PAGE 4096ULL

/* The part of the slot's host range [*first, *end) that lies in the block; false: none. */
static bool common_part(const KvmSlot *slot, const RamBlock *block, uint64_t *first, uint64_t *end)
{
    uint64_t base = (uintptr_t)block->host;
    *first = MAX(slot->host, base);
    *end = MIN(slot->host + slot->size, base + block->size);
    return *first < *end;
}

bool kvm_dirty_wanted(const KvmMemory *mem, const KvmSlot *slot)
{
    uint64_t first, end;
    for (guint i = 0; !slot->readonly && i < mem->logged->len; i++) {
        if (common_part(slot, g_ptr_array_index(mem->logged, i), &first, &end)) {
            return true;
        }
    }
    return false;
}

/* Host addresses [first, end) were written. */
static void mark(const KvmMemory *mem, const KvmSlot *slot, uint64_t first, uint64_t end)
{
    KvmSlot part = *slot;
    part.host = first;
    part.size = end - first;
    for (guint i = 0; i < mem->logged->len; i++) {
        RamBlock *block = g_ptr_array_index(mem->logged, i);
        uint64_t from, to;
        if (common_part(&part, block, &from, &to)) {
            ram_block_mark_dirty(block, from - (uintptr_t)block->host, to - from);
        }
    }
}

static void mark_bits(const KvmMemory *mem, const KvmSlot *slot, const uint64_t *bits,
                      uint64_t words)
{
    for (uint64_t word = 0; word < words; word++) {
        for (uint64_t rest = bits[word]; rest; rest &= rest - 1) {
            uint64_t page = word * 64 + (unsigned)__builtin_ctzll(rest);
            uint64_t host = slot->host + page * PAGE;
            mark(mem, slot, host, host + PAGE);
        }
    }
}

void kvm_dirty_collect(KvmState *kvm, const KvmSlot *slot)
{
    uint64_t words = (slot->size / PAGE + 63) / 64;
    g_autofree uint64_t *bits = g_try_new0(uint64_t, words);
    struct kvm_dirty_log log = { .slot = slot->id, .dirty_bitmap = bits };
    if (bits && kvm_ioctl(kvm->vm_fd, KVM_GET_DIRTY_LOG, &log) >= 0) {
        mark_bits(&kvm->mem, slot, bits, words);
    } else {
        /* Too much is safe; too little would lose the guest's data. */
        mark(&kvm->mem, slot, slot->host, slot->host + slot->size);
    }
}

/* Turns logging of each slot on or off, as is wanted now. */
static int update_space(KvmState *kvm, KvmSlots *space)
{
    int result = 0;
    for (guint i = 0; i < space->slots->len; i++) {
        KvmSlot *slot = &g_array_index(space->slots, KvmSlot, i);
        bool wanted = kvm_dirty_wanted(&kvm->mem, slot);
        if (wanted == slot->logging) {
            continue;
        }
        slot->logging = wanted;
        int slot_result = kvm_memory_set_slot(kvm, slot, slot->size);
        if (slot_result < 0) {
            slot->logging = !wanted;
            result = slot_result;
        }
    }
    return result;
}

static int update_slots(KvmState *kvm)
{
    int result = 0;
    for (unsigned i = 0; i < KVM_SPACE_COUNT; i++) {
        int space_result = update_space(kvm, &kvm->mem.spaces[i]);
        result = space_result < 0 ? space_result : result;
    }
    return result;
}

bool kvm_dirty_log_start(Machine *machine, RamBlock *block, GError **error)
{
    KvmState *kvm = machine->accel_data;
    machine_topology_lock(machine);
    g_ptr_array_add(kvm->mem.logged, block);
    int result = update_slots(kvm);
    machine_topology_unlock(machine);
    return result >= 0 || error_set_errno(error, -result,
                                          "KVM could not log the guest's writes to '%s' "
                                          "(KVM_MEM_LOG_DIRTY_PAGES)",
                                          block->id);
}

void kvm_dirty_log_stop(Machine *machine, RamBlock *block)
{
    KvmState *kvm = machine->accel_data;
    machine_topology_lock(machine);
    g_ptr_array_remove(kvm->mem.logged, block);
    update_slots(kvm);
    machine_topology_unlock(machine);
}

static void sync_space(KvmState *kvm, const KvmSlots *space, const RamBlock *block)
{
    for (guint i = 0; i < space->slots->len; i++) {
        const KvmSlot *slot = &g_array_index(space->slots, KvmSlot, i);
        uint64_t first, end;
        if (slot->logging && common_part(slot, block, &first, &end)) {
            kvm_dirty_collect(kvm, slot);
        }
    }
}

void kvm_dirty_log_sync(Machine *machine, RamBlock *block)
{
    KvmState *kvm = machine->accel_data;
    machine_topology_lock(machine);
    for (unsigned i = 0; i < KVM_SPACE_COUNT; i++) {
        sync_space(kvm, &kvm->mem.spaces[i], block);
    }
    machine_topology_unlock(machine);
}
