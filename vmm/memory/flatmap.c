/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From placed regions to the flat map: the higher priority wins, then the later placed. */
#include "vmm/memory/flatmap.h"

#include "vmm/util/bytes.h"

typedef struct Painter {
    const AddressSpace *space;
    GArray *ranges; /* FlatRange, sorted, disjoint */
} Painter;

/* Adds the part of the region that no earlier (stronger) range covers. */
static void paint(Painter *painter, MemRegion *region)
{
    uint64_t limit = painter->space->limit;
    if (region->size == 0 || region->addr > limit) {
        return;
    }
    uint64_t room = limit - region->addr; /* inclusive: room + 1 bytes */
    uint64_t last = region->addr + MIN(region->size - 1, room);
    uint64_t at = region->addr;
    GArray *ranges = painter->ranges;
    guint i = 0;
    while (i < ranges->len && g_array_index(ranges, FlatRange, i).last < at) {
        i++;
    }
    for (;;) {
        bool covered = i < ranges->len && g_array_index(ranges, FlatRange, i).start <= last;
        FlatRange next = covered ? g_array_index(ranges, FlatRange, i) : (FlatRange){ 0 };
        if (!covered || next.start > at) {
            FlatRange piece = { .start = at,
                                .last = covered ? next.start - 1 : last,
                                .region = region,
                                .offset = at - region->addr };
            g_array_insert_val(ranges, i, piece);
            i++;
        }
        if (!covered || next.last >= last) {
            return;
        }
        at = next.last + 1;
        i++;
    }
}

typedef struct PaintOrder {
    MemRegion *region;
    guint index;
} PaintOrder;

static int paint_order_compare(gconstpointer a, gconstpointer b)
{
    const PaintOrder *first = a;
    const PaintOrder *second = b;
    if (first->region->priority != second->region->priority) {
        return first->region->priority > second->region->priority ? -1 : 1;
    }
    return first->index > second->index ? -1 : 1;
}

static void paint_regions(Painter *painter, const GPtrArray *regions)
{
    g_autoptr(GArray) order = g_array_sized_new(FALSE, FALSE, sizeof(PaintOrder), regions->len);
    for (guint i = 0; i < regions->len; i++) {
        PaintOrder item = { .region = g_ptr_array_index(regions, i), .index = i };
        g_array_append_val(order, item);
    }
    g_array_sort(order, paint_order_compare);
    for (guint i = 0; i < order->len; i++) {
        paint(painter, g_array_index(order, PaintOrder, i).region);
    }
}

/* A view's own regions, then those of the space below. */
static GArray *paint_all(const AddressSpace *space)
{
    Painter painter = { .space = space,
                        .ranges = g_array_sized_new(FALSE, FALSE, sizeof(FlatRange),
                                                    space->regions->len * 2) };
    for (const AddressSpace *layer = space; layer; layer = layer->base) {
        paint_regions(&painter, layer->regions);
    }
    return painter.ranges;
}

int io_eventfd_compare(const void *a, const void *b)
{
    const IoEventFd *x = a;
    const IoEventFd *y = b;
    if (x->addr != y->addr) {
        return x->addr < y->addr ? -1 : 1;
    }
    if (x->size != y->size) {
        return x->size < y->size ? -1 : 1;
    }
    if (x->match != y->match) {
        return x->match ? 1 : -1;
    }
    if (x->match && x->value != y->value) {
        return x->value < y->value ? -1 : 1;
    }
    return x->fd - y->fd;
}

/* The doorbells of the region that this range shows. */
static void collect_eventfds(const FlatRange *flat, GArray *eventfds)
{
    const GArray *own = flat->region->ioeventfds;
    uint64_t length = flat->last - flat->start;
    guint first = eventfds->len;
    for (guint i = 0; own && i < own->len; i++) {
        const RegionEventfd *bell = &g_array_index(own, RegionEventfd, i);
        uint64_t tail = bell->size ? bell->size - 1 : 0;
        if (bell->offset < flat->offset || bell->offset - flat->offset > length ||
            length - (bell->offset - flat->offset) < tail) {
            continue;
        }
        IoEventFd item = { .addr = flat->start + (bell->offset - flat->offset),
                           .size = bell->size,
                           .match = bell->match,
                           .value = bell->value,
                           .fd = bell->fd };
        g_array_append_val(eventfds, item);
    }
    if (eventfds->len > first + 1) {
        qsort(&g_array_index(eventfds, IoEventFd, first), eventfds->len - first, sizeof(IoEventFd),
              io_eventfd_compare);
    }
}

static void add_ram(GArray *list, const FlatRange *flat)
{
    const MemRegion *region = flat->region;
    bool readonly = region->kind == REGION_ROM || region->ram->readonly;
    uint64_t offset = region->ram_offset + flat->offset;
    if (list->len) {
        RamRange *previous = &g_array_index(list, RamRange, list->len - 1);
        if (previous->last + 1 == flat->start && previous->block == region->ram &&
            previous->readonly == readonly &&
            previous->offset + (flat->start - previous->start) == offset) {
            previous->last = flat->last;
            return;
        }
    }
    RamRange item = { .start = flat->start,
                      .last = flat->last,
                      .block = region->ram,
                      .offset = offset,
                      .readonly = readonly };
    g_array_append_val(list, item);
}

static MapRange make_range(const FlatRange *flat)
{
    MemRegion *region = flat->region;
    MapRange range = { .flat = *flat,
                       .ops = region->ops,
                       .opaque = region->opaque,
                       .lock = region->lock,
                       .region_size = region->size,
                       .kind = region->kind };
    if (region->ops) {
        range.min_size = region->ops->min_size ? region->ops->min_size : 1;
        range.max_size = region->ops->max_size ? region->ops->max_size : 4;
    }
    if (region->kind != REGION_IO) {
        range.host = region->ram->host + region->ram_offset + flat->offset;
    }
    return range;
}

FlatMap *flat_map_build(const AddressSpace *space)
{
    static uint64_t generations;
    g_autoptr(GArray) flat = paint_all(space);
    g_autoptr(GArray) ram = g_array_new(FALSE, FALSE, sizeof(RamRange));
    g_autoptr(GArray) eventfds = g_array_new(FALSE, FALSE, sizeof(IoEventFd));
    FlatMap *map = g_new0(FlatMap, 1);
    map->generation = __atomic_add_fetch(&generations, 1, __ATOMIC_RELAXED);
    map->ranges = g_new0(MapRange, flat->len);
    map->range_count = flat->len;
    for (guint i = 0; i < flat->len; i++) {
        const FlatRange *item = &g_array_index(flat, FlatRange, i);
        map->ranges[i] = make_range(item);
        map->ranges[i].eventfd_first = eventfds->len;
        if (item->region->kind == REGION_IO) {
            collect_eventfds(item, eventfds);
        } else {
            add_ram(ram, item);
        }
        map->ranges[i].eventfd_count = eventfds->len - map->ranges[i].eventfd_first;
    }
    map->ram_count = ram->len;
    map->ram = g_memdup2(ram->data, ram->len * sizeof(RamRange));
    map->eventfd_count = eventfds->len;
    map->eventfds = g_memdup2(eventfds->data, eventfds->len * sizeof(IoEventFd));
    return map;
}

void flat_map_free(FlatMap *map)
{
    if (map) {
        g_free(map->ranges);
        g_free(map->ram);
        g_free(map->eventfds);
        g_free(map);
    }
}
