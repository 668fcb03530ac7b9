/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Resource assignment, as firmware does it: bus numbers depth first, then BARs and bridge windows,
 * the largest alignment first, so that the result depends on nothing but the devices.
 */
#include "hw/pci/pci_internal.h"

typedef enum Window { WINDOW_IO, WINDOW_MEM, WINDOW_PREF, WINDOW_COUNT } Window;

#define IO_GRANULE      (4 * KIB)
#define MEMORY_GRANULE  MIB
#define HOTPLUG_RESERVE (2 * MIB)

typedef struct Request {
    PciDevice *pci;
    int bar; /* -1: the bridge's window */
    uint64_t size, align;
} Request;

static Window bar_window(const PciDevice *pci, const PciBar *bar)
{
    if (bar->kind == PCI_BAR_IO) {
        return WINDOW_IO;
    }
    /* The memory window of a bridge ends below 4 GiB; a root bus has no such limit. */
    if (bar->kind == PCI_BAR_MEM64_PREFETCH || (bar->kind == PCI_BAR_MEM64 && !pci->bus->bridge)) {
        return WINDOW_PREF;
    }
    return WINDOW_MEM;
}

static int compare_requests(const void *a, const void *b)
{
    const Request *x = a, *y = b;

    if (x->align != y->align) {
        return x->align > y->align ? -1 : 1;
    }
    if (x->pci->devfn != y->pci->devfn) {
        return x->pci->devfn - y->pci->devfn;
    }
    return x->bar - y->bar;
}

static uint64_t bus_measure(PciBus *bus, Window window, uint64_t *align);

/* Room in a port for a device that may come later; none for I/O ports, of which there are few. */
static uint64_t hotplug_reserve(const PciDevice *port, Window window)
{
    bool hotplug = port->express_cap &&
                   load_le32(port->config + port->express_cap + PCI_EXP_SLTCAP) &
                       PCI_EXP_SLTCAP_HPC;

    return hotplug && window != WINDOW_IO ? HOTPLUG_RESERVE : 0;
}

static GArray *bus_requests(PciBus *bus, Window window)
{
    GArray *requests = g_array_new(FALSE, FALSE, sizeof(Request));

    for (unsigned devfn = 0; devfn < 256; devfn++) {
        PciDevice *pci = bus->functions[devfn];
        if (!pci) {
            continue;
        }
        for (int i = 0; i < PCI_REGION_COUNT; i++) {
            PciBar *bar = &pci->bars[i];
            Request request = { pci, i, bar->size, bar->size };
            if (bar->region && bar_window(pci, bar) == window) {
                g_array_append_val(requests, request);
            }
        }
        if (pci->secondary) {
            Request request = { .pci = pci, .bar = -1 };
            request.size = MAX(bus_measure(pci->secondary, window, &request.align),
                               hotplug_reserve(pci, window));
            if (request.size) {
                g_array_append_val(requests, request);
            }
        }
    }
    g_array_sort(requests, compare_requests);
    return requests;
}

/* What a window onto the bus must hold, rounded to the granule of bridges. */
static uint64_t bus_measure(PciBus *bus, Window window, uint64_t *align)
{
    uint64_t granule = window == WINDOW_IO ? IO_GRANULE : MEMORY_GRANULE;
    g_autoptr(GArray) requests = bus_requests(bus, window);
    uint64_t end = 0;

    *align = granule;
    for (unsigned i = 0; i < requests->len; i++) {
        const Request *request = &g_array_index(requests, Request, i);
        *align = MAX(*align, request->align);
        end = ALIGN_UP(end, request->align) + request->size;
    }
    return ALIGN_UP(end, granule);
}

static void bridge_set_window(PciDevice *bridge, Window window, uint64_t base, uint64_t last)
{
    uint8_t *config = bridge->config;

    switch (window) {
    case WINDOW_IO:
        config[PCI_IO_BASE] = (base >> 8) & 0xf0;
        config[PCI_IO_LIMIT] = (last >> 8) & 0xf0;
        break;
    case WINDOW_MEM:
        store_le16(config + PCI_MEMORY_BASE, (base >> 16) & 0xfff0);
        store_le16(config + PCI_MEMORY_LIMIT, (last >> 16) & 0xfff0);
        break;
    case WINDOW_PREF:
    default:
        store_le16(config + PCI_PREF_MEMORY_BASE, ((base >> 16) & 0xfff0) | PCI_PREF_RANGE_TYPE_64);
        store_le16(config + PCI_PREF_MEMORY_LIMIT,
                   ((last >> 16) & 0xfff0) | PCI_PREF_RANGE_TYPE_64);
        store_le32(config + PCI_PREF_BASE_UPPER32, base >> 32);
        store_le32(config + PCI_PREF_LIMIT_UPPER32, last >> 32);
        break;
    }
}

static void bar_set(PciDevice *pci, int index, uint64_t addr)
{
    uint8_t *reg = pci->config + pci_bar_offset(index);
    PciBarKind kind = pci->bars[index].kind;

    if (index == PCI_ROM_REGION) { /* placed, not decoding: as firmware leaves it */
        store_le32(reg, addr);
        return;
    }
    store_le32(reg, (addr & (kind == PCI_BAR_IO ? ~3U : ~15U)) |
                        (reg[0] & (kind == PCI_BAR_IO ? 3 : 15)));
    if (kind == PCI_BAR_MEM64 || kind == PCI_BAR_MEM64_PREFETCH) {
        store_le32(reg + 4, addr >> 32);
    }
}

/* Places from *next on; false when the requests do not fit below last. */
static bool bus_place(PciBus *bus, Window window, uint64_t *next, uint64_t last)
{
    g_autoptr(GArray) requests = bus_requests(bus, window);

    for (unsigned i = 0; i < requests->len; i++) {
        const Request *request = &g_array_index(requests, Request, i);
        uint64_t start = ALIGN_UP(*next, request->align);
        if (start < *next || start > last || request->size - 1 > last - start) {
            return false;
        }
        *next = start + request->size;
        if (request->bar >= 0) {
            bar_set(request->pci, request->bar, start);
            continue;
        }
        bridge_set_window(request->pci, window, start, *next - 1);
        uint64_t inner = start;
        bus_place(request->pci->secondary, window, &inner, *next - 1);
    }
    return true;
}

static unsigned bus_number(PciBus *bus, unsigned number)
{
    unsigned last = number;

    for (unsigned devfn = 0; devfn < 256; devfn++) {
        PciDevice *pci = bus->functions[devfn];
        if (!pci || !pci->secondary || last >= 255) {
            continue;
        }
        for (Window window = 0; window < WINDOW_COUNT; window++) {
            bridge_set_window(pci, window, UINT32_MAX, 0);
        }
        store_le32(pci->config + PCI_PREF_BASE_UPPER32, 0);
        pci->config[PCI_PRIMARY_BUS] = number;
        pci->config[PCI_SECONDARY_BUS] = last + 1;
        pci->config[PCI_SUBORDINATE_BUS] = 255;
        last = bus_number(pci->secondary, last + 1);
        pci->config[PCI_SUBORDINATE_BUS] = last;
    }
    return last;
}

static void function_enable(PciDevice *pci, const PciApertures *apertures)
{
    unsigned slot = PCI_SLOT(pci->devfn), pin = pci->config[PCI_INTERRUPT_PIN];
    uint16_t command = PCI_COMMAND_IO | PCI_COMMAND_MEMORY;

    if (pci_class(pci)->is_bridge) {
        command |= PCI_COMMAND_MASTER;
    }
    store_le16(pci->config + PCI_COMMAND, load_le16(pci->config + PCI_COMMAND) | command);
    if (!pin || !apertures->irq_line) {
        return;
    }
    pin--;
    for (PciBus *bus = pci->bus; bus->bridge; bus = bus->bridge->bus) {
        pin = (pin + slot) & 3;
        slot = PCI_SLOT(bus->bridge->devfn);
    }
    pci->config[PCI_INTERRUPT_LINE] = apertures->irq_line(apertures->opaque, slot, pin);
}

static void bus_enable(PciBus *bus, const PciApertures *apertures)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        PciDevice *pci = bus->functions[devfn];
        if (!pci) {
            continue;
        }
        function_enable(pci, apertures);
        if (pci->secondary) {
            bus_enable(pci->secondary, apertures);
        }
    }
}

/* Prefetchable memory goes below 4 GiB when everything fits there, else above. */
static bool place_memory(PciBus *root, const PciApertures *apertures, GError **error)
{
    uint64_t next = apertures->mem32_start, next64 = apertures->mem64_start;

    if (!bus_place(root, WINDOW_MEM, &next, apertures->mem32_last)) {
        return error_set(error, "the memory BARs of the PCI devices do not fit below 4 GiB");
    }
    if (bus_place(root, WINDOW_PREF, &next, apertures->mem32_last)) {
        return true;
    }
    if (apertures->mem64_last > apertures->mem64_start &&
        bus_place(root, WINDOW_PREF, &next64, apertures->mem64_last)) {
        return true;
    }
    return error_set(error, "the 64-bit memory BARs of the PCI devices do not fit");
}

bool pci_assign_resources(PciBus *root, const PciApertures *apertures, GError **error)
{
    uint64_t io = apertures->io_start;
    bool ok;

    machine_topology_lock(root->machine);
    address_space_begin(root->memory);
    address_space_begin(root->io);
    bus_number(root, 0);
    ok = place_memory(root, apertures, error);
    if (ok && apertures->io_last > apertures->io_start &&
        !bus_place(root, WINDOW_IO, &io, apertures->io_last)) {
        ok = error_set(error, "the I/O BARs of the PCI devices do not fit");
    }
    if (ok) {
        bus_enable(root, apertures);
        for (unsigned devfn = 0; devfn < 256; devfn++) {
            if (root->functions[devfn]) {
                pci_update_mappings(root->functions[devfn]);
            }
        }
    }
    address_space_commit(root->io);
    address_space_commit(root->memory);
    machine_topology_unlock(root->machine);
    return ok;
}
