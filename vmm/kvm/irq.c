/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts into KVM: GSI lines, messages, the GSI routing table and irqfds. Until the in-kernel
 * irqchip exists (it is made after memory, see kvm.c) lines are low and irqfds wait in a list.
 */
#include "vmm/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include "vmm/trace/trace-kvm.h"

#define ROUTES_STEP 64

void kvm_routing_init(KvmState *kvm)
{
    KvmRouting *routing = &kvm->routing;
    g_mutex_init(&routing->lock);
    routing->allocated = ROUTES_STEP;
    routing->table = g_malloc0(sizeof(struct kvm_irq_routing) +
                               ROUTES_STEP * sizeof(struct kvm_irq_routing_entry));
    routing->pending_irqfds = g_array_new(FALSE, TRUE, sizeof(struct kvm_irqfd));
}

void kvm_routing_cleanup(KvmState *kvm)
{
    KvmRouting *routing = &kvm->routing;
    g_free(routing->table);
    g_free(routing->used_gsi);
    g_array_unref(routing->pending_irqfds);
    g_mutex_clear(&routing->lock);
}

static bool routing_gsi_used(const KvmRouting *routing, unsigned gsi)
{
    return routing->used_gsi[gsi / 64] >> (gsi % 64) & 1;
}

static void routing_mark_gsi(KvmRouting *routing, unsigned gsi, bool used)
{
    uint64_t bit = 1ULL << (gsi % 64);
    if (used) {
        routing->used_gsi[gsi / 64] |= bit;
    } else {
        routing->used_gsi[gsi / 64] &= ~bit;
    }
}

static void routing_size_locked(KvmState *kvm)
{
    KvmRouting *routing = &kvm->routing;
    if (routing->used_gsi) {
        return;
    }
    int routes = kvm_check_cap(kvm, KVM_CAP_IRQ_ROUTING);
    routing->max_routes = routes > 0 ? (unsigned)routes : 1024;
    routing->max_gsi = routing->max_routes;
    routing->used_gsi = g_new0(uint64_t, (routing->max_gsi + 63) / 64);
}

static void routing_append_locked(KvmState *kvm, const struct kvm_irq_routing_entry *entry)
{
    KvmRouting *routing = &kvm->routing;
    routing_size_locked(kvm);
    if (routing->table->nr == routing->allocated) {
        routing->allocated += ROUTES_STEP;
        routing->table = g_realloc(routing->table, sizeof(struct kvm_irq_routing) +
                                                       routing->allocated * sizeof(*entry));
    }
    routing->table->entries[routing->table->nr++] = *entry;
    routing_mark_gsi(routing, entry->gsi, true);
    routing->dirty = true;
}

static bool routing_remove_locked(KvmRouting *routing, unsigned gsi)
{
    struct kvm_irq_routing *table = routing->table;
    unsigned kept = 0;
    for (unsigned i = 0; i < table->nr; i++) {
        if (table->entries[i].gsi != gsi) {
            table->entries[kept++] = table->entries[i];
        }
    }
    bool removed = kept != table->nr;
    table->nr = kept;
    routing->dirty |= removed;
    return removed;
}

static bool routing_commit_locked(KvmState *kvm, GError **error)
{
    KvmRouting *routing = &kvm->routing;
    if (!routing->dirty) {
        return true;
    }
    int result = kvm_ioctl(kvm->vm_fd, KVM_SET_GSI_ROUTING, routing->table);
    trace_kvm_routing_commit(routing->table->nr, result);
    if (result < 0) {
        return error_set_errno(error, -result,
                               "KVM refused an interrupt routing table of %u "
                               "entries (KVM_SET_GSI_ROUTING)",
                               routing->table->nr);
    }
    routing->dirty = false;
    return true;
}

static struct kvm_irq_routing_entry routing_msi_entry(KvmState *kvm, unsigned gsi,
                                                      const MsiMessage *message)
{
    MsiMessage fixed = kvm_arch_fix_msi(kvm, *message);
    return (struct kvm_irq_routing_entry){
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_MSI,
        .u.msi = { .address_lo = (uint32_t)fixed.address,
                   .address_hi = (uint32_t)(fixed.address >> 32),
                   .data = fixed.data },
    };
}

static void routing_set_msi_locked(KvmState *kvm, unsigned gsi, const MsiMessage *message)
{
    KvmRouting *routing = &kvm->routing;
    struct kvm_irq_routing_entry entry = routing_msi_entry(kvm, gsi, message);
    trace_kvm_msi_route(gsi, message->address, message->data);
    for (unsigned i = 0; i < routing->table->nr; i++) {
        struct kvm_irq_routing_entry *present = &routing->table->entries[i];
        if (present->gsi == gsi && present->type == KVM_IRQ_ROUTING_MSI) {
            if (memcmp(&present->u.msi, &entry.u.msi, sizeof(entry.u.msi)) != 0) {
                *present = entry;
                routing->dirty = true;
            }
            return;
        }
    }
    routing_append_locked(kvm, &entry);
}

void kvm_routing_add_irqchip(KvmState *kvm, unsigned gsi, unsigned chip, unsigned pin)
{
    struct kvm_irq_routing_entry entry = {
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_IRQCHIP,
        .u.irqchip = { .irqchip = chip, .pin = pin },
    };
    g_mutex_lock(&kvm->routing.lock);
    routing_append_locked(kvm, &entry);
    g_mutex_unlock(&kvm->routing.lock);
}

void kvm_routing_set_msi(KvmState *kvm, unsigned gsi, const MsiMessage *message)
{
    g_mutex_lock(&kvm->routing.lock);
    routing_set_msi_locked(kvm, gsi, message);
    g_mutex_unlock(&kvm->routing.lock);
}

bool kvm_routing_remove(KvmState *kvm, unsigned gsi)
{
    g_mutex_lock(&kvm->routing.lock);
    bool removed = routing_remove_locked(&kvm->routing, gsi);
    g_mutex_unlock(&kvm->routing.lock);
    return removed;
}

bool kvm_routing_commit(KvmState *kvm, GError **error)
{
    g_mutex_lock(&kvm->routing.lock);
    bool done = routing_commit_locked(kvm, error);
    g_mutex_unlock(&kvm->routing.lock);
    return done;
}

static bool irqfd_attach(KvmState *kvm, const struct kvm_irqfd *irqfd, GError **error)
{
    int result = kvm_ioctl(kvm->vm_fd, KVM_IRQFD, irqfd);
    trace_kvm_irqfd_attach(irqfd->gsi, (int)irqfd->fd, result);
    if (result < 0) {
        return error_set_errno(error, -result,
                               "KVM could not attach an eventfd to interrupt %u "
                               "(KVM_IRQFD)",
                               irqfd->gsi);
    }
    return true;
}

bool kvm_routing_start(KvmState *kvm, GError **error)
{
    KvmRouting *routing = &kvm->routing;
    g_mutex_lock(&routing->lock);
    routing_size_locked(kvm);
    bool done = routing_commit_locked(kvm, error);
    for (guint i = 0; done && i < routing->pending_irqfds->len; i++) {
        done =
            irqfd_attach(kvm, &g_array_index(routing->pending_irqfds, struct kvm_irqfd, i), error);
    }
    g_array_set_size(routing->pending_irqfds, 0);
    __atomic_store_n(&routing->ready, done, __ATOMIC_RELEASE);
    g_mutex_unlock(&routing->lock);
    return done;
}

void kvm_gsi_set(Machine *machine, unsigned gsi, int level)
{
    KvmState *kvm = machine->accel_data;
    if (!__atomic_load_n(&kvm->routing.ready, __ATOMIC_ACQUIRE)) {
        return;
    }
    struct kvm_irq_level request = { .irq = gsi, .level = level != 0 };
    int result = kvm_ioctl(kvm->vm_fd, KVM_IRQ_LINE, &request);
    trace_kvm_set_irq(gsi, level, result);
}

void kvm_msi_send(Machine *machine, MsiMessage message)
{
    KvmState *kvm = machine->accel_data;
    MsiMessage fixed = kvm_arch_fix_msi(kvm, message);
    struct kvm_msi msi = {
        .address_lo = (uint32_t)fixed.address,
        .address_hi = (uint32_t)(fixed.address >> 32),
        .data = fixed.data,
    };
    trace_kvm_msi_send(fixed.address, fixed.data);
    /* A message to nobody is the guest's affair; the bus drops it. */
    kvm_ioctl(kvm->vm_fd, KVM_SIGNAL_MSI, &msi);
}

bool kvm_gsi_attach_irqfd(Machine *machine, unsigned gsi, int fd, int resample_fd, GError **error)
{
    KvmState *kvm = machine->accel_data;
    struct kvm_irqfd irqfd = { .fd = fd, .gsi = gsi };
    if (resample_fd >= 0) {
        if (machine->irqchip != IRQCHIP_KERNEL) {
            return error_set(error, "a level-triggered eventfd needs kernel-irqchip=on");
        }
        if (!kvm_require_cap(kvm, KVM_CAP_IRQFD_RESAMPLE, "KVM_CAP_IRQFD_RESAMPLE",
                             "level-triggered interrupts from eventfds", error)) {
            return false;
        }
        irqfd.flags |= KVM_IRQFD_FLAG_RESAMPLE;
        irqfd.resamplefd = resample_fd;
    }
    g_mutex_lock(&kvm->routing.lock);
    bool done = true;
    if (!kvm->routing.ready) {
        g_array_append_val(kvm->routing.pending_irqfds, irqfd);
    } else {
        done = irqfd_attach(kvm, &irqfd, error);
    }
    g_mutex_unlock(&kvm->routing.lock);
    return done;
}

static void irqfd_detach_locked(KvmState *kvm, unsigned gsi, int fd)
{
    GArray *pending = kvm->routing.pending_irqfds;
    for (guint i = 0; i < pending->len; i++) {
        const struct kvm_irqfd *irqfd = &g_array_index(pending, struct kvm_irqfd, i);
        if ((int)irqfd->fd == fd && irqfd->gsi == gsi) {
            g_array_remove_index(pending, i);
            return;
        }
    }
    struct kvm_irqfd irqfd = { .fd = fd, .gsi = gsi, .flags = KVM_IRQFD_FLAG_DEASSIGN };
    kvm_ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd);
}

void kvm_gsi_detach_irqfd(Machine *machine, unsigned gsi, int fd)
{
    KvmState *kvm = machine->accel_data;
    g_mutex_lock(&kvm->routing.lock);
    irqfd_detach_locked(kvm, gsi, fd);
    g_mutex_unlock(&kvm->routing.lock);
}

/* A GSI above the interrupt controllers' pins that no route uses, or -1. */
static int routing_free_gsi_locked(KvmState *kvm)
{
    KvmRouting *routing = &kvm->routing;
    routing_size_locked(kvm);
    if (routing->table->nr >= routing->max_routes) {
        return -1;
    }
    for (unsigned gsi = kvm->machine->gsi_count; gsi < routing->max_gsi; gsi++) {
        if (!routing_gsi_used(routing, gsi)) {
            return (int)gsi;
        }
    }
    return -1;
}

static bool msi_route_bind_locked(KvmState *kvm, MsiRoute *route, GError **error)
{
    int gsi = routing_free_gsi_locked(kvm);
    if (gsi < 0) {
        return error_set(error, "all %u interrupt routes of this host's KVM are in use",
                         kvm->routing.max_routes);
    }
    routing_set_msi_locked(kvm, (unsigned)gsi, &route->message);
    struct kvm_irqfd irqfd = { .fd = route->notifier.fd, .gsi = (uint32_t)gsi };
    if (!kvm->routing.ready) {
        g_array_append_val(kvm->routing.pending_irqfds, irqfd);
    } else if (!routing_commit_locked(kvm, error) || !irqfd_attach(kvm, &irqfd, error)) {
        routing_remove_locked(&kvm->routing, (unsigned)gsi);
        routing_mark_gsi(&kvm->routing, (unsigned)gsi, false);
        return false;
    }
    route->gsi = gsi;
    return true;
}

bool kvm_msi_route_bind(Machine *machine, MsiRoute *route, GError **error)
{
    KvmState *kvm = machine->accel_data;
    g_mutex_lock(&kvm->routing.lock);
    bool done = msi_route_bind_locked(kvm, route, error);
    g_mutex_unlock(&kvm->routing.lock);
    return done;
}

void kvm_msi_route_update(Machine *machine, MsiRoute *route)
{
    KvmState *kvm = machine->accel_data;
    g_autoptr(GError) error = NULL;
    g_mutex_lock(&kvm->routing.lock);
    routing_set_msi_locked(kvm, (unsigned)route->gsi, &route->message);
    bool done = !kvm->routing.ready || routing_commit_locked(kvm, &error);
    g_mutex_unlock(&kvm->routing.lock);
    if (!done) {
        static int reported;
        if (__atomic_exchange_n(&reported, 1, __ATOMIC_RELAXED) == 0) {
            report_warning("%s", error->message);
        }
    }
}

/* The entry leaves the table now and KVM with the next commit: an unused route harms nobody. */
void kvm_msi_route_unbind(Machine *machine, MsiRoute *route)
{
    KvmState *kvm = machine->accel_data;
    g_mutex_lock(&kvm->routing.lock);
    irqfd_detach_locked(kvm, (unsigned)route->gsi, route->notifier.fd);
    routing_remove_locked(&kvm->routing, (unsigned)route->gsi);
    routing_mark_gsi(&kvm->routing, (unsigned)route->gsi, false);
    g_mutex_unlock(&kvm->routing.lock);
}
