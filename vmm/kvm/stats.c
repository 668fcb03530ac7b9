/* SPDX-License-Identifier: GPL-2.0-or-later */
/* KVM's own statistics (KVM_GET_STATS_FD; Linux Documentation/virt/kvm/api.rst, 4.133). */
#include "vmm/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* More than any kernel has: what is beyond is not believed. */
#define MAX_NAME_SIZE 256
#define MAX_STATS     4096
#define MAX_VALUES    1024

/* A kernel of 5.14 has no file of them. */
#ifndef KVM_STATS_UNIT_BOOLEAN
#define KVM_STATS_UNIT_BOOLEAN (0x4 << KVM_STATS_UNIT_SHIFT)
#endif

static void stat_free(gpointer data)
{
    AccelStat *stat = data;
    g_free(stat->name);
    g_free(stat->values);
    g_free(stat);
}

static bool read_all(int fd, void *data, size_t len, uint64_t offset, GError **error)
{
    ssize_t done = pread(fd, data, len, (off_t)offset);
    if (done != (ssize_t)len) {
        return error_set_errno(error, done < 0 ? errno : EIO, "cannot read KVM's statistics");
    }
    return true;
}

static StatUnit unit_of(uint32_t flags)
{
    switch (flags & KVM_STATS_UNIT_MASK) {
    case KVM_STATS_UNIT_BYTES:
        return STAT_UNIT_BYTES;
    case KVM_STATS_UNIT_SECONDS:
        return STAT_UNIT_SECONDS;
    case KVM_STATS_UNIT_CYCLES:
        return STAT_UNIT_CYCLES;
    case KVM_STATS_UNIT_BOOLEAN:
        return STAT_UNIT_BOOLEAN;
    default:
        return STAT_UNIT_NONE;
    }
}

static bool stat_read(int fd, const struct kvm_stats_header *header, unsigned index,
                      GPtrArray *list, GError **error)
{
    size_t size = sizeof(struct kvm_stats_desc) + header->name_size;
    g_autofree struct kvm_stats_desc *desc = g_malloc0(size + 1);
    if (!read_all(fd, desc, size, header->desc_offset + (uint64_t)index * size, error)) {
        return false;
    }
    uint32_t kind = (desc->flags & KVM_STATS_TYPE_MASK) >> KVM_STATS_TYPE_SHIFT;
    if (kind >= STAT_KIND_COUNT || desc->size == 0 || desc->size > MAX_VALUES) {
        return true; /* a newer kernel's, of which nothing is known */
    }
    AccelStat *stat = g_new0(AccelStat, 1);
    g_ptr_array_add(list, stat);
    stat->name = g_strndup((const char *)(desc + 1), header->name_size);
    stat->kind = (StatKind)kind;
    stat->unit = unit_of(desc->flags);
    stat->base = (desc->flags & KVM_STATS_BASE_MASK) == KVM_STATS_BASE_POW2 ? 2 : 10;
    stat->exponent = desc->exponent;
    stat->bucket_size = desc->bucket_size;
    stat->count = desc->size;
    stat->values = g_new0(uint64_t, desc->size);
    return read_all(fd, stat->values, desc->size * sizeof(uint64_t),
                    (uint64_t)header->data_offset + desc->offset, error);
}

static bool stats_read(int fd, GPtrArray *list, GError **error)
{
    struct kvm_stats_header header;
    if (!read_all(fd, &header, sizeof(header), 0, error)) {
        return false;
    }
    if (header.name_size > MAX_NAME_SIZE || header.num_desc > MAX_STATS) {
        return error_set(error, "KVM's statistics have a form that is not known");
    }
    for (unsigned i = 0; i < header.num_desc; i++) {
        if (!stat_read(fd, &header, i, list, error)) {
            return false;
        }
    }
    return true;
}

GPtrArray *kvm_stats(Machine *machine, int vcpu, GError **error)
{
    const KvmState *kvm = machine->accel_data;
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(stat_free);
    int fd = vcpu < 0 ? kvm->vm_stats_fd : kvm->vcpus[vcpu].stats_fd;
    return fd < 0 || stats_read(fd, list, error) ? g_steal_pointer(&list) : NULL;
}

int kvm_stats_open(const KvmState *kvm, int fd)
{
    return kvm_check_cap(kvm, KVM_CAP_BINARY_STATS_FD) ? ioctl(fd, KVM_GET_STATS_FD, NULL) : -1;
}
