/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory slots and ioeventfds: KVM's view of the address spaces, kept by their listeners. Ranges
 * that continue each other in the guest and in the host become one slot. KVM cannot change a
 * slot's place or size: the slot is deleted and made again, while all vCPUs are kept out of the
 * guest, so that none sees the hole.
 */
#include "vmm/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include "vmm/trace/trace-kvm.h"
#include "vmm/util/bytes.h"

#define PAGE 4096ULL
/* KVM takes up to 2^31 - 1 pages a slot (KVM_MEM_MAX_NR_PAGES). */
#define SLOT_MAX_SIZE    (4ULL << 40)
#define SLOT_SPACE_SHIFT 16 /* of the address space in a slot's number */

static bool slot_equal(const KvmSlot *a, const KvmSlot *b)
{
    return a->start == b->start && a->size == b->size && a->host == b->host &&
           a->readonly == b->readonly;
}

static gint slot_compare(gconstpointer a, gconstpointer b)
{
    const KvmSlot *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

static bool slot_from_range(const FlatRange *range, KvmSlot *slot)
{
    const MemRegion *region = range->region;
    uint64_t skip = ALIGN_UP(range->start, PAGE) - range->start;
    uint64_t size = range->last - range->start + 1;
    if (size <= skip) {
        return false;
    }
    *slot = (KvmSlot){
        .start = range->start + skip,
        .size = ALIGN_DOWN(size - skip, PAGE),
        .host = (uintptr_t)region->ram->host + region->ram_offset + range->offset + skip,
        .readonly = region->kind == REGION_ROM || region->ram->readonly,
    };
    /* RAM that is not page aligned in its block cannot be mapped; the dispatcher serves it. */
    return slot->size > 0 && slot->host % PAGE == 0;
}

static void memory_ram_add(void *opaque, const FlatRange *range)
{
    KvmSlots *space = opaque;
    KvmSlot slot;
    if (slot_from_range(range, &slot)) {
        g_array_append_val(space->ranges, slot);
        space->changed = true;
    }
}

static void memory_ram_del(void *opaque, const FlatRange *range)
{
    KvmSlots *space = opaque;
    KvmSlot slot;
    if (!slot_from_range(range, &slot)) {
        return;
    }
    for (guint i = 0; i < space->ranges->len; i++) {
        if (slot_equal(&g_array_index(space->ranges, KvmSlot, i), &slot)) {
            g_array_remove_index_fast(space->ranges, i);
            space->changed = true;
            return;
        }
    }
}

/* The ranges, sorted, with neighbours joined. */
static GArray *memory_wanted_slots(const KvmSlots *space)
{
    GArray *wanted = g_array_new(FALSE, FALSE, sizeof(KvmSlot));
    g_array_sort(space->ranges, slot_compare);
    for (guint i = 0; i < space->ranges->len; i++) {
        const KvmSlot *range = &g_array_index(space->ranges, KvmSlot, i);
        KvmSlot *last = wanted->len ? &g_array_index(wanted, KvmSlot, wanted->len - 1) : NULL;
        if (last && last->start + last->size == range->start &&
            last->host + last->size == range->host && last->readonly == range->readonly &&
            last->size + range->size <= SLOT_MAX_SIZE) {
            last->size += range->size;
        } else {
            g_array_append_val(wanted, *range);
        }
    }
    return wanted;
}

int kvm_memory_set_slot(KvmState *kvm, const KvmSlot *slot, uint64_t size)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot->id,
        .flags = (slot->readonly ? KVM_MEM_READONLY : 0u) |
                 (slot->logging ? KVM_MEM_LOG_DIRTY_PAGES : 0u),
        .guest_phys_addr = slot->start,
        .memory_size = size,
        .userspace_addr = slot->host,
    };
    int result = kvm_ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
    trace_kvm_set_user_memory(slot->id, region.flags, slot->start, size, result);
    return result;
}

static bool memory_take_id(KvmSlots *space, uint32_t *id)
{
    for (unsigned i = 0; i < space->kvm->mem.max_slots; i++) {
        if (!(space->used[i / 64] >> (i % 64) & 1)) {
            space->used[i / 64] |= 1ULL << (i % 64);
            *id = space->space << SLOT_SPACE_SHIFT | i;
            return true;
        }
    }
    return false;
}

static void memory_delete_slot(KvmSlots *space, const KvmSlot *slot)
{
    KvmState *kvm = space->kvm;
    unsigned index = slot->id & ((1U << SLOT_SPACE_SHIFT) - 1);
    if (slot->logging) {
        kvm_dirty_collect(kvm, slot);
    }
    int result = kvm_memory_set_slot(kvm, slot, 0);
    if (result < 0) {
        kvm_fail(kvm, "KVM could not remove the memory slot at 0x%" PRIx64 ": %s", slot->start,
                 g_strerror(-result));
    }
    space->used[index / 64] &= ~(1ULL << (index % 64));
}

static void memory_add_slot(KvmSlots *space, KvmSlot *slot)
{
    KvmState *kvm = space->kvm;
    if (!memory_take_id(space, &slot->id)) {
        kvm_fail(kvm,
                 "the guest's memory map needs more than the %u memory slots that this host's "
                 "KVM has",
                 kvm->mem.max_slots);
        return;
    }
    slot->logging = kvm_dirty_wanted(&kvm->mem, slot);
    int result = kvm_memory_set_slot(kvm, slot, slot->size);
    if (result < 0) {
        kvm_fail(kvm, "KVM could not map %" PRIu64 " bytes of guest memory at 0x%" PRIx64 ": %s",
                 slot->size, slot->start, g_strerror(-result));
    }
}

static bool slots_contain(const GArray *slots, const KvmSlot *slot, KvmSlot *found)
{
    for (guint i = 0; i < slots->len; i++) {
        const KvmSlot *candidate = &g_array_index(slots, KvmSlot, i);
        if (slot_equal(candidate, slot)) {
            if (found) {
                *found = *candidate;
            }
            return true;
        }
    }
    return false;
}

static void memory_update_slots(KvmSlots *space)
{
    KvmState *kvm = space->kvm;
    space->changed = false;
    GArray *wanted = memory_wanted_slots(space);
    bool inhibited = false;
    for (guint i = 0; i < space->slots->len; i++) {
        const KvmSlot *slot = &g_array_index(space->slots, KvmSlot, i);
        if (!slots_contain(wanted, slot, NULL)) {
            if (!inhibited) {
                kvm_vcpus_inhibit(kvm);
                inhibited = true;
            }
            memory_delete_slot(space, slot);
        }
    }
    for (guint i = 0; i < wanted->len; i++) {
        KvmSlot *slot = &g_array_index(wanted, KvmSlot, i);
        KvmSlot present;
        if (slots_contain(space->slots, slot, &present)) {
            *slot = present;
        } else {
            memory_add_slot(space, slot);
        }
    }
    if (inhibited) {
        kvm_vcpus_uninhibit(kvm);
    }
    g_array_unref(space->slots);
    space->slots = wanted;
}

static void ioeventfd_set(KvmState *kvm, const IoEventFd *eventfd, uint32_t flags)
{
    struct kvm_ioeventfd request = {
        .addr = eventfd->addr,
        .len = eventfd->size,
        .fd = eventfd->fd,
        .flags = flags,
        .datamatch = eventfd->value,
    };
    if (eventfd->match) {
        request.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
    }
    int result = kvm_ioctl(kvm->vm_fd, KVM_IOEVENTFD, &request);
    if (result < 0 && !(flags & KVM_IOEVENTFD_FLAG_DEASSIGN)) {
        /* The window's handler serves the doorbell then: slower, nothing lost. */
        report_warning("KVM could not watch the doorbell at 0x%" PRIx64 ": %s", eventfd->addr,
                       g_strerror(-result));
    }
}

/* A bus registration that is still on its way through SRCU makes the next memory slot wait for it,
 * measured at 5 ms: doorbells come after slots. */
static void doorbell_queue(KvmState *kvm, const IoEventFd *eventfd, uint32_t flags)
{
    KvmDoorbell doorbell = { *eventfd, flags };
    g_array_append_val(kvm->mem.doorbells, doorbell);
}

static void doorbells_flush(KvmState *kvm)
{
    GArray *doorbells = kvm->mem.doorbells;
    for (guint i = 0; kvm->mem.started && i < doorbells->len; i++) {
        const KvmDoorbell *doorbell = &g_array_index(doorbells, KvmDoorbell, i);
        ioeventfd_set(kvm, &doorbell->eventfd, doorbell->flags);
    }
    if (kvm->mem.started) {
        g_array_set_size(doorbells, 0);
    }
}

static bool doorbell_equal(const KvmDoorbell *doorbell, const IoEventFd *eventfd, uint32_t flags)
{
    return doorbell->flags == flags && doorbell->eventfd.addr == eventfd->addr &&
           doorbell->eventfd.size == eventfd->size && doorbell->eventfd.match == eventfd->match &&
           doorbell->eventfd.value == eventfd->value && doorbell->eventfd.fd == eventfd->fd;
}

static void doorbell_remove(KvmState *kvm, const IoEventFd *eventfd, uint32_t flags)
{
    GArray *doorbells = kvm->mem.doorbells;
    for (guint i = 0; i < doorbells->len; i++) {
        if (doorbell_equal(&g_array_index(doorbells, KvmDoorbell, i), eventfd, flags)) {
            g_array_remove_index(doorbells, i);
            return;
        }
    }
    ioeventfd_set(kvm, eventfd, flags | KVM_IOEVENTFD_FLAG_DEASSIGN);
}

static void memory_ioeventfd_add(void *opaque, const IoEventFd *eventfd)
{
    doorbell_queue(((KvmSlots *)opaque)->kvm, eventfd, 0);
}

static void memory_ioeventfd_del(void *opaque, const IoEventFd *eventfd)
{
    doorbell_remove(((KvmSlots *)opaque)->kvm, eventfd, 0);
}

static void io_ioeventfd_add(void *opaque, const IoEventFd *eventfd)
{
    doorbell_queue(opaque, eventfd, KVM_IOEVENTFD_FLAG_PIO);
}

static void io_ioeventfd_del(void *opaque, const IoEventFd *eventfd)
{
    doorbell_remove(opaque, eventfd, KVM_IOEVENTFD_FLAG_PIO);
}

static void memory_commit(void *opaque)
{
    KvmSlots *space = opaque;
    if (space->changed) {
        memory_update_slots(space);
    }
    doorbells_flush(space->kvm);
}

/* KVM's doorbells are those of all its address spaces. */
static void view_ioeventfd_ignore(void *opaque, const IoEventFd *eventfd)
{
}

static void io_ram_ignore(void *opaque, const FlatRange *range)
{
}

static void io_commit(void *opaque)
{
    doorbells_flush(opaque);
}

static void slots_init(KvmState *kvm, unsigned number)
{
    KvmSlots *space = &kvm->mem.spaces[number];
    *space = (KvmSlots){
        .kvm = kvm,
        .space = number,
        .ranges = g_array_new(FALSE, FALSE, sizeof(KvmSlot)),
        .slots = g_array_new(FALSE, FALSE, sizeof(KvmSlot)),
        .used = g_new0(uint64_t, (kvm->mem.max_slots + 63) / 64),
        .listener = {
            .ram_add = memory_ram_add,
            .ram_del = memory_ram_del,
            .ioeventfd_add = number ? view_ioeventfd_ignore : memory_ioeventfd_add,
            .ioeventfd_del = number ? view_ioeventfd_ignore : memory_ioeventfd_del,
            .commit = memory_commit,
            .opaque = space,
        },
    };
}

static void slots_cleanup(KvmSlots *space)
{
    g_clear_pointer(&space->ranges, g_array_unref);
    g_clear_pointer(&space->slots, g_array_unref);
    g_clear_pointer(&space->used, g_free);
}

void kvm_memory_init(KvmState *kvm)
{
    KvmMemory *mem = &kvm->mem;
    int slots = kvm_check_cap(kvm, KVM_CAP_NR_MEMSLOTS);
    mem->max_slots = slots > 0 ? (unsigned)slots : 32;
    mem->logged = g_ptr_array_new();
    mem->doorbells = g_array_new(FALSE, FALSE, sizeof(KvmDoorbell));
    for (unsigned i = 0; i < KVM_SPACE_COUNT; i++) {
        slots_init(kvm, i);
    }
    mem->io_listener = (MemListener){
        .ram_add = io_ram_ignore,
        .ram_del = io_ram_ignore,
        .ioeventfd_add = io_ioeventfd_add,
        .ioeventfd_del = io_ioeventfd_del,
        .commit = io_commit,
        .opaque = kvm,
    };
}

void kvm_memory_attach(KvmState *kvm)
{
    Machine *machine = kvm->machine;
    address_space_set_listener(machine->memory, &kvm->mem.spaces[KVM_SPACE_ORDINARY].listener);
    if (machine->smm_memory) {
        address_space_set_listener(machine->smm_memory, &kvm->mem.spaces[KVM_SPACE_SMM].listener);
    }
    address_space_set_listener(machine->io, &kvm->mem.io_listener);
}

void kvm_memory_start(KvmState *kvm)
{
    kvm->mem.started = true;
    doorbells_flush(kvm);
}

void kvm_memory_cleanup(KvmState *kvm)
{
    for (unsigned i = 0; i < KVM_SPACE_COUNT; i++) {
        slots_cleanup(&kvm->mem.spaces[i]);
    }
    g_clear_pointer(&kvm->mem.doorbells, g_array_unref);
    g_clear_pointer(&kvm->mem.logged, g_ptr_array_unref);
}
