/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Address spaces: placing regions, publishing flat maps, telling the listener what changed. */
#include "vmm/memory/address_space.h"

#include <string.h>
#include "vmm/memory/flatmap.h"
#include "vmm/memory/rcu.h"
#include "vmm/trace/trace-memory.h"
#include "vmm/util/bytes.h"

static bool (*topology_held)(void);

/* Maps that readers may still see, until the main loop has waited for them. */
static GMutex retired_lock;
static FlatMap *retired;
static bool retire_scheduled;

void address_space_set_lock_check(bool (*held)(void))
{
    topology_held = held;
}

static void assert_topology(void)
{
    g_assert(!topology_held || topology_held());
}

static uint64_t next_region_id(void)
{
    static uint64_t last;
    return __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

void mem_region_init_io(MemRegion *region, const char *name, uint64_t size, const MemOps *ops,
                        void *opaque, GMutex *lock)
{
    *region = (MemRegion){ .name = name,
                           .id = next_region_id(),
                           .kind = REGION_IO,
                           .size = size,
                           .ops = ops,
                           .opaque = opaque,
                           .lock = lock };
}

void mem_region_init_ram(MemRegion *region, const char *name, RamBlock *ram, uint64_t ram_offset,
                         uint64_t size, bool readonly)
{
    g_assert(range_inside(ram_offset, size, ram->size));
    *region = (MemRegion){ .name = name,
                           .id = next_region_id(),
                           .kind = readonly ? REGION_ROM : REGION_RAM,
                           .size = size,
                           .ram = ram,
                           .ram_offset = ram_offset };
}

void mem_region_init_rom_ops(MemRegion *region, const char *name, RamBlock *ram,
                             uint64_t ram_offset, uint64_t size, const MemOps *ops, void *opaque,
                             GMutex *lock)
{
    mem_region_init_ram(region, name, ram, ram_offset, size, true);
    region->ops = ops;
    region->opaque = opaque;
    region->lock = lock;
}

void mem_region_cleanup(MemRegion *region)
{
    g_assert(region->space == NULL);
    g_clear_pointer(&region->ioeventfds, g_array_unref);
}

AddressSpace *address_space_new(const char *name, uint64_t limit)
{
    AddressSpace *space = g_new0(AddressSpace, 1);
    space->name = g_strdup(name);
    space->limit = limit;
    space->regions = g_ptr_array_new();
    space->map = flat_map_build(space);
    return space;
}

AddressSpace *address_space_new_view(const char *name, AddressSpace *base)
{
    assert_topology();
    g_assert(base->view == NULL && base->base == NULL);
    AddressSpace *space = g_new0(AddressSpace, 1);
    space->name = g_strdup(name);
    space->limit = base->limit;
    space->regions = g_ptr_array_new();
    space->base = base;
    space->map = flat_map_build(space);
    base->view = space;
    return space;
}

static void retired_free(void)
{
    g_mutex_lock(&retired_lock);
    FlatMap *list = g_steal_pointer(&retired);
    retire_scheduled = false;
    g_mutex_unlock(&retired_lock);
    if (!list) {
        return;
    }
    rcu_wait();
    while (list) {
        FlatMap *next = list->next_retired;
        flat_map_free(list);
        list = next;
    }
}

static gboolean retired_idle(gpointer opaque)
{
    retired_free();
    return G_SOURCE_REMOVE;
}

static void retire(FlatMap *map)
{
    g_mutex_lock(&retired_lock);
    map->next_retired = retired;
    retired = map;
    bool schedule = !retire_scheduled;
    retire_scheduled = true;
    g_mutex_unlock(&retired_lock);
    if (schedule) {
        g_idle_add(retired_idle, NULL);
    }
}

void address_space_synchronize(void)
{
    rcu_wait();
}

void address_space_free(AddressSpace *space)
{
    if (!space) {
        return;
    }
    g_assert(space->view == NULL);
    if (space->base) {
        space->base->view = NULL;
    }
    for (guint i = 0; i < space->regions->len; i++) {
        ((MemRegion *)g_ptr_array_index(space->regions, i))->space = NULL;
    }
    rcu_wait();
    retired_free();
    flat_map_free(space->map);
    g_ptr_array_unref(space->regions);
    g_free(space->name);
    g_free(space);
}

/* ---- What the listener is told ---- */

static bool is_memory(const MapRange *range)
{
    return range->kind != REGION_IO;
}

static bool same_memory(const MapRange *a, const MapRange *b)
{
    return a->flat.start == b->flat.start && a->flat.last == b->flat.last && a->host == b->host &&
           a->kind == b->kind && a->flat.region == b->flat.region;
}

/* Calls fn for each memory range of `map` that `other` has not exactly so. */
static void diff_memory(const FlatMap *map, const FlatMap *other,
                        void (*fn)(void *opaque, const FlatRange *range), void *opaque)
{
    uint32_t j = 0;
    for (uint32_t i = 0; fn && i < map->range_count; i++) {
        const MapRange *range = &map->ranges[i];
        if (!is_memory(range)) {
            continue;
        }
        while (j < other->range_count && other->ranges[j].flat.start < range->flat.start) {
            j++;
        }
        if (j == other->range_count || !is_memory(&other->ranges[j]) ||
            !same_memory(range, &other->ranges[j])) {
            fn(opaque, &range->flat);
        }
    }
}

static void diff_eventfds(const FlatMap *map, const FlatMap *other,
                          void (*fn)(void *opaque, const IoEventFd *eventfd), void *opaque)
{
    uint32_t j = 0;
    for (uint32_t i = 0; fn && i < map->eventfd_count; i++) {
        const IoEventFd *item = &map->eventfds[i];
        while (j < other->eventfd_count && io_eventfd_compare(&other->eventfds[j], item) < 0) {
            j++;
        }
        if (j == other->eventfd_count || io_eventfd_compare(&other->eventfds[j], item) != 0) {
            fn(opaque, item);
        }
    }
}

static void tell_listener(const MemListener *listener, const FlatMap *old, const FlatMap *now)
{
    diff_eventfds(old, now, listener->ioeventfd_del, listener->opaque);
    diff_memory(old, now, listener->ram_del, listener->opaque);
    diff_memory(now, old, listener->ram_add, listener->opaque);
    diff_eventfds(now, old, listener->ioeventfd_add, listener->opaque);
    if (listener->commit) {
        listener->commit(listener->opaque);
    }
}

void address_space_set_listener(AddressSpace *space, const MemListener *listener)
{
    static const FlatMap nothing;
    assert_topology();
    space->listener = listener;
    if (listener) {
        tell_listener(listener, &nothing, space->map);
    }
}

/* ---- Changes ---- */

void address_space_begin(AddressSpace *space)
{
    assert_topology();
    space->depth++;
}

static void publish_one(AddressSpace *space)
{
    FlatMap *old = space->map;
    FlatMap *now = flat_map_build(space);
    trace_memory_map_commit(space->name, now->range_count);
    space->changed = false;
    /* Doorbells and RAM disappear from the accelerator before dispatch forgets them, and dispatch
     * knows new ones before the accelerator stops exiting for them: either way they are served. */
    __atomic_store_n(&space->map, now, __ATOMIC_RELEASE);
    if (space->listener) {
        tell_listener(space->listener, old, now);
    }
    retire(old);
}

/* Publishes what changed, the space below before its view, unless a commit is still to come. */
static void publish(AddressSpace *space)
{
    AddressSpace *base = space->base ? space->base : space;
    AddressSpace *view = base->view;
    if (base->depth) {
        return;
    }
    if (base->changed) {
        publish_one(base);
        if (view) {
            view->changed = true;
        }
    }
    if (view && view->changed && view->depth == 0) {
        publish_one(view);
    }
}

void address_space_commit(AddressSpace *space)
{
    assert_topology();
    g_assert(space->depth > 0);
    if (--space->depth == 0) {
        publish(space);
    }
}

static void changed(AddressSpace *space)
{
    space->changed = true;
    publish(space);
}

void address_space_map(AddressSpace *space, MemRegion *region, uint64_t addr, int priority)
{
    assert_topology();
    g_assert(region->space == NULL);
    region->space = space;
    region->addr = addr;
    region->priority = priority;
    g_ptr_array_add(space->regions, region);
    changed(space);
}

void address_space_unmap(MemRegion *region)
{
    AddressSpace *space = region->space;
    if (!space) {
        return;
    }
    assert_topology();
    g_ptr_array_remove(space->regions, region);
    region->space = NULL;
    changed(space);
}

void mem_region_add_ioeventfd(MemRegion *region, uint64_t offset, unsigned size, bool match,
                              uint64_t value, int fd)
{
    assert_topology();
    RegionEventfd item = {
        .offset = offset, .size = size, .match = match, .value = value, .fd = fd
    };
    if (!region->ioeventfds) {
        region->ioeventfds = g_array_new(FALSE, FALSE, sizeof(RegionEventfd));
    }
    g_array_append_val(region->ioeventfds, item);
    if (region->space) {
        changed(region->space);
    }
}

void mem_region_del_ioeventfd(MemRegion *region, uint64_t offset, unsigned size, bool match,
                              uint64_t value, int fd)
{
    assert_topology();
    for (guint i = 0; region->ioeventfds && i < region->ioeventfds->len; i++) {
        const RegionEventfd *item = &g_array_index(region->ioeventfds, RegionEventfd, i);
        if (item->offset == offset && item->size == size && item->match == match &&
            (!match || item->value == value) && item->fd == fd) {
            g_array_remove_index(region->ioeventfds, i);
            if (region->space) {
                changed(region->space);
            }
            return;
        }
    }
}

void address_space_foreach(AddressSpace *space, void (*fn)(const FlatRange *range, void *opaque),
                           void *opaque)
{
    rcu_section_enter();
    const FlatMap *map = address_space_map_get(space);
    for (uint32_t i = 0; i < map->range_count; i++) {
        fn(&map->ranges[i].flat, opaque);
    }
    rcu_section_leave();
}

void address_space_foreach_placed(AddressSpace *space,
                                  void (*fn)(const MemRegion *region, void *opaque), void *opaque)
{
    assert_topology();
    for (guint i = 0; i < space->regions->len; i++) {
        fn(g_ptr_array_index(space->regions, i), opaque);
    }
}
