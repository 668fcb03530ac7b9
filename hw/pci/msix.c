/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X (PCI 3.0, 6.8.2): the vector table and the pending bits in a BAR.
 *
 * A vector in use has a MsiRoute: an eventfd whose signal is the whole delivery. While the vector
 * is masked the route is disabled and its eventfd collects, which is the pending bit: no lock and
 * no look at the mask on the way of an interrupt. The pending array is brought up to date when the
 * guest reads it.
 */
#include "hw/pci/pci_internal.h"

#include "vmm/trace/trace-pci.h"

#define MSIX_VECTORS_MAX 2048
#define MSIX_BAR_MIN     4096

static uint32_t pba_offset(const PciDevice *pci)
{
    if (pci->msix_shared) {
        return pci->msix_pba_at;
    }
    return MAX(MSIX_BAR_MIN / 2, ALIGN_UP(pci->msix_count * PCI_MSIX_ENTRY_SIZE, 8));
}

static uint32_t pba_size(const PciDevice *pci)
{
    return ALIGN_UP((uint32_t)pci->msix_count, 64) / 8;
}

static uint8_t *vector_entry(const PciDevice *pci, unsigned vector)
{
    return pci->msix_table + vector * PCI_MSIX_ENTRY_SIZE;
}

bool msix_enabled(const PciDevice *pci)
{
    return pci->msix_cap &&
           (__atomic_load_n(&pci->config[pci->msix_cap + PCI_MSIX_FLAGS + 1], __ATOMIC_ACQUIRE) &
            (PCI_MSIX_FLAGS_ENABLE >> 8));
}

static bool vector_masked(const PciDevice *pci, unsigned vector)
{
    uint16_t flags = load_le16(pci->config + pci->msix_cap + PCI_MSIX_FLAGS);

    return !(flags & PCI_MSIX_FLAGS_ENABLE) || (flags & PCI_MSIX_FLAGS_MASKALL) ||
           (vector_entry(pci, vector)[PCI_MSIX_ENTRY_VECTOR_CTRL] & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

static void vector_go_live(PciDevice *pci, unsigned vector)
{
    const uint8_t *entry = vector_entry(pci, vector);
    MsiRoute *route = pci->msix_vectors[vector].route;
    uint8_t *pending = &pci->msix_pba[vector / 8];
    uint8_t bit = 1U << (vector % 8);

    msi_route_set(route, (MsiMessage){
                             .address = load_le64(entry),
                             .data = load_le32(entry + PCI_MSIX_ENTRY_DATA),
                         });
    if (*pending & bit) {
        *pending &= ~bit;
        msi_route_signal(route);
    }
}

/* Brings the route of a vector to what table and control register say. Device lock held. */
static void vector_update(PciDevice *pci, unsigned vector, bool message_changed)
{
    MsixVector *v = &pci->msix_vectors[vector];
    bool masked = vector_masked(pci, vector);
    bool changed = masked != v->masked;

    if (!changed && !message_changed) {
        return;
    }
    v->masked = masked;
    if (v->used && masked && changed) {
        msi_route_disable(v->route);
    }
    if (v->used && !masked) {
        vector_go_live(pci, vector);
    }
    if (changed && pci->msix_mask_changed) {
        pci->msix_mask_changed(pci, vector, masked);
    }
}

static void vectors_update(PciDevice *pci)
{
    for (unsigned i = 0; i < pci->msix_count; i++) {
        vector_update(pci, i, false);
    }
}

/* Moves what the eventfds of masked vectors have collected into the pending array. */
static void pba_refresh(PciDevice *pci)
{
    for (unsigned i = 0; i < pci->msix_count; i++) {
        MsixVector *v = &pci->msix_vectors[i];
        if (v->used && v->masked && event_notifier_test_and_clear(&v->route->notifier)) {
            pci->msix_pba[i / 8] |= 1U << (i % 8);
        }
    }
}

/* ---- The BAR ---- */

uint64_t msix_window_read(PciDevice *pci, uint64_t offset, unsigned size)
{
    uint32_t table = pci->msix_count * PCI_MSIX_ENTRY_SIZE, pba = pba_offset(pci);

    if (offset >= pci->msix_table_at && range_inside(offset - pci->msix_table_at, size, table)) {
        return load_le(pci->msix_table + (offset - pci->msix_table_at), size);
    }
    if (offset >= pba && range_inside(offset - pba, size, pba_size(pci))) {
        pba_refresh(pci);
        return load_le(pci->msix_pba + (offset - pba), size);
    }
    return 0;
}

void msix_window_write(PciDevice *pci, uint64_t offset, uint64_t value, unsigned size)
{
    if (offset < pci->msix_table_at ||
        !range_inside(offset - pci->msix_table_at, size, pci->msix_count * PCI_MSIX_ENTRY_SIZE)) {
        return;
    }
    offset -= pci->msix_table_at;
    store_le(pci->msix_table + offset, value, size);
    vector_update(pci, offset / PCI_MSIX_ENTRY_SIZE, true);
}

static uint64_t msix_mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    return msix_window_read(opaque, offset, size);
}

static void msix_mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    msix_window_write(opaque, offset, value, size);
}

static const MemOps msix_ops = {
    .read = msix_mmio_read,
    .write = msix_mmio_write,
    .min_size = 4,
    .max_size = 8,
};

static void table_reset(PciDevice *pci)
{
    memset(pci->msix_table, 0, pci->msix_count * PCI_MSIX_ENTRY_SIZE);
    memset(pci->msix_pba, 0, pba_size(pci));
    for (unsigned i = 0; i < pci->msix_count; i++) {
        vector_entry(pci, i)[PCI_MSIX_ENTRY_VECTOR_CTRL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
        pci->msix_vectors[i].masked = true;
    }
}

static bool msix_make(PciDevice *pci, uint16_t count, unsigned bar, GError **error)
{
    if (count < 1 || count > MSIX_VECTORS_MAX) {
        return error_set(error, "%s: %u MSI-X vectors; 1 to %u are possible", pci->dev.cls->name,
                         count, MSIX_VECTORS_MAX);
    }
    pci->msix_cap = pci_add_capability(pci, PCI_CAP_ID_MSIX, 0, PCI_CAP_MSIX_SIZEOF, error);
    if (!pci->msix_cap) {
        return false;
    }
    pci->msix_count = count;
    pci->msix_table = g_malloc0(count * PCI_MSIX_ENTRY_SIZE);
    pci->msix_pba = g_malloc0(pba_size(pci));
    pci->msix_vectors = g_new0(MsixVector, count);
    table_reset(pci);

    uint8_t *cap = pci->config + pci->msix_cap;
    store_le16(cap + PCI_MSIX_FLAGS, count - 1);
    store_le32(cap + PCI_MSIX_TABLE, pci->msix_table_at | bar);
    store_le32(cap + PCI_MSIX_PBA, pba_offset(pci) | bar);
    store_le16(pci->wmask + pci->msix_cap + PCI_MSIX_FLAGS,
               PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    return true;
}

bool msix_init(PciDevice *pci, uint16_t count, unsigned bar, GError **error)
{
    uint64_t size = MSIX_BAR_MIN;

    if (!msix_make(pci, count, bar, error)) {
        return false;
    }
    while (size < pba_offset(pci) + pba_size(pci)) {
        size *= 2;
    }
    mem_region_init_io(&pci->msix_region, "msix", size, &msix_ops, pci, &pci->dev.lock);
    pci_register_bar(pci, bar, PCI_BAR_MEM32, &pci->msix_region);
    return true;
}

bool msix_init_shared(PciDevice *pci, uint16_t count, unsigned bar, uint32_t table, uint32_t pba,
                      GError **error)
{
    pci->msix_shared = true;
    pci->msix_table_at = table;
    pci->msix_pba_at = pba;
    return msix_make(pci, count, bar, error);
}

void msix_uninit(PciDevice *pci)
{
    if (!pci->msix_cap) {
        return;
    }
    if (!pci->msix_shared) {
        machine_topology_lock(pci->bus->machine);
        address_space_unmap(&pci->msix_region);
        machine_topology_unlock(pci->bus->machine);
    }
    for (unsigned i = 0; i < PCI_BAR_COUNT && !pci->msix_shared; i++) {
        if (pci->bars[i].region == &pci->msix_region) {
            pci->bars[i] = (PciBar){ .mapped_at = UINT64_MAX };
        }
    }
    /* A dispatcher that is still on its way finds an empty table. */
    g_mutex_lock(&pci->dev.lock);
    for (unsigned i = 0; i < pci->msix_count; i++) {
        if (pci->msix_vectors[i].route) {
            msi_route_free(pci->msix_vectors[i].route);
        }
    }
    g_clear_pointer(&pci->msix_vectors, g_free);
    g_clear_pointer(&pci->msix_table, g_free);
    g_clear_pointer(&pci->msix_pba, g_free);
    pci->msix_cap = 0;
    pci->msix_count = 0;
    g_mutex_unlock(&pci->dev.lock);
    if (!pci->msix_shared) {
        mem_region_cleanup(&pci->msix_region);
    }
}

void msix_config_written(PciDevice *pci, uint32_t offset, unsigned size)
{
    if (pci->msix_cap && ranges_touch(offset, size, pci->msix_cap, 4)) {
        vectors_update(pci);
    }
}

void msix_reset(PciDevice *pci)
{
    if (!pci->msix_cap) {
        return;
    }
    g_mutex_lock(&pci->dev.lock);
    vectors_update(pci);
    pba_refresh(pci);
    table_reset(pci);
    g_mutex_unlock(&pci->dev.lock);
}

/* ---- Signalling ---- */

void msix_notify(PciDevice *pci, unsigned vector)
{
    MsiRoute *route;

    if (vector >= pci->msix_count) {
        return;
    }
    route = __atomic_load_n(&pci->msix_vectors[vector].route, __ATOMIC_ACQUIRE);
    trace_msix_notify(pci->dev.cls->name, pci->dev.id, vector);
    if (route) {
        msi_route_signal(route);
    }
}

MsiRoute *msix_vector_use(PciDevice *pci, unsigned vector)
{
    MsixVector *v;

    if (vector >= pci->msix_count) {
        return NULL;
    }
    v = &pci->msix_vectors[vector];
    if (!v->route) {
        g_autoptr(GError) error = NULL;
        MsiRoute *route = msi_route_new(pci->bus->machine, &error);
        if (!route) {
            device_guest_error(&pci->dev, "MSI-X vector %u is lost: %s", vector, error->message);
            return NULL;
        }
        __atomic_store_n(&v->route, route, __ATOMIC_RELEASE);
    }
    if (!v->used) {
        v->used = true;
        if (!v->masked) {
            vector_go_live(pci, vector);
        }
    }
    return v->route;
}

void msix_vector_unuse(PciDevice *pci, unsigned vector)
{
    MsixVector *v;

    if (vector >= pci->msix_count || !pci->msix_vectors[vector].used) {
        return;
    }
    v = &pci->msix_vectors[vector];
    if (!v->masked) {
        msi_route_disable(v->route);
    }
    event_notifier_test_and_clear(&v->route->notifier);
    v->used = false;
}

/* ---- State: the table, then the pending array, in one buffer ---- */

void msix_save(PciDevice *pci)
{
    uint32_t table = pci->msix_count * PCI_MSIX_ENTRY_SIZE;

    g_clear_pointer(&pci->saved_msix, g_free);
    pci->saved_msix_len = pci->msix_cap ? table + pba_size(pci) : 0;
    if (!pci->msix_cap) {
        return;
    }
    pba_refresh(pci);
    pci->saved_msix = g_malloc(pci->saved_msix_len);
    memcpy(pci->saved_msix, pci->msix_table, table);
    memcpy(pci->saved_msix + table, pci->msix_pba, pba_size(pci));
}

bool msix_load(PciDevice *pci, GError **error)
{
    uint32_t table = pci->msix_count * PCI_MSIX_ENTRY_SIZE;
    uint32_t expected = pci->msix_cap ? table + pba_size(pci) : 0;
    g_autofree uint8_t *saved = g_steal_pointer(&pci->saved_msix);

    if (pci->saved_msix_len != expected || (expected && !saved)) {
        return error_set(error, "%s: MSI-X state of %u bytes, expected %u", pci->dev.cls->name,
                         pci->saved_msix_len, expected);
    }
    if (!expected) {
        return true;
    }
    g_mutex_lock(&pci->dev.lock);
    memcpy(pci->msix_table, saved, table);
    memcpy(pci->msix_pba, saved + table, pba_size(pci));
    for (unsigned i = 0; i < pci->msix_count; i++) {
        vector_update(pci, i, true);
    }
    g_mutex_unlock(&pci->dev.lock);
    return true;
}
