/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The KVM accelerator: /dev/kvm, the VM and its life. */
#include "vmm/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define KVM_DEVICE "/dev/kvm"

typedef struct NeededCap {
    int cap;
    const char *name, *purpose;
} NeededCap;

/* Capabilities of all architectures; KVM on any Linux since 4.13 has them. */
static const NeededCap needed_caps[] = {
    { KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "guest RAM" },
    { KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "KVM_CAP_DESTROY_MEMORY_REGION_WORKS",
      "memory map changes" },
    { KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, "KVM_CAP_JOIN_MEMORY_REGIONS_WORKS",
      "memory map changes" },
    { KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM", "firmware ROMs" },
    { KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "pausing vCPUs" },
    { KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD", "virtqueue doorbells" },
    { KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH", "virtqueue doorbells" },
    { KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", "interrupt controllers" },
    { KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING", "interrupt routing" },
    { KVM_CAP_IRQFD, "KVM_CAP_IRQFD", "interrupts of virtqueues" },
    { KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI", "message-signalled interrupts" },
    { KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "resetting and saving vCPUs" },
    { KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "starting vCPUs" },
};

int kvm_ioctl(int fd, unsigned long request, const void *arg)
{
    int result;
    do {
        result = ioctl(fd, request, arg);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

int kvm_check_cap(const KvmState *kvm, int cap)
{
    int fd = kvm->vm_fd >= 0 ? kvm->vm_fd : kvm->dev_fd;
    int result = ioctl(fd, KVM_CHECK_EXTENSION, (long)cap);
    return result < 0 ? 0 : result;
}

bool kvm_require_cap(const KvmState *kvm, int cap, const char *name, const char *purpose,
                     GError **error)
{
    if (kvm_check_cap(kvm, cap) > 0) {
        return true;
    }
    return error_set_code(error, VIREO_ERROR_KVM_MISSING_CAP,
                          "this host's KVM lacks %s, which is needed for %s; a newer Linux kernel "
                          "has it",
                          name, purpose);
}

void kvm_fail(KvmState *kvm, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    if (kvm->vcpus == NULL) {
        /* Still being made: create_vcpus() returns it as its error. */
        if (!kvm->failure) {
            kvm->failure = g_steal_pointer(&text);
        }
        return;
    }
    report_error("%s", text);
    machine_request_shutdown(kvm->machine, SHUTDOWN_CAUSE_HOST_ERROR);
}

static bool kvm_open_error(GError **error, int errnum)
{
    switch (errnum) {
    case ENOENT:
        return error_set(error, "could not open " KVM_DEVICE ": it does not exist; the host has no "
                                "hardware virtualization, it is disabled in its firmware, or the "
                                "kvm module is not loaded (modprobe kvm-intel or kvm-amd)");
    case EACCES:
    case EPERM:
        return error_set(error,
                         "could not open " KVM_DEVICE ": permission denied; become a member "
                         "of the group that owns it (usually: adduser $USER kvm, then log in "
                         "again)");
    case ENODEV:
    case ENXIO:
        return error_set(error, "could not open " KVM_DEVICE ": no KVM behind it; the host's CPU "
                                "or its firmware settings do not offer virtualization");
    default:
        return error_set_errno(error, errnum, "could not open " KVM_DEVICE);
    }
}

static bool kvm_open(KvmState *kvm, GError **error)
{
    kvm->dev_fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
    if (kvm->dev_fd < 0) {
        return kvm_open_error(error, errno);
    }
    int version = ioctl(kvm->dev_fd, KVM_GET_API_VERSION, 0);
    if (version < 0) {
        return error_set(error, KVM_DEVICE " is not KVM: it does not answer KVM_GET_API_VERSION");
    }
    if (version != KVM_API_VERSION) {
        return error_set(error, KVM_DEVICE " speaks KVM API version %d; version %d is needed",
                         version, KVM_API_VERSION);
    }
    int size = ioctl(kvm->dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < (int)sizeof(struct kvm_run)) {
        return error_set(error, KVM_DEVICE ": KVM_GET_VCPU_MMAP_SIZE gave %d", size);
    }
    kvm->run_size = (size_t)size;
    return true;
}

static bool kvm_create_vm(KvmState *kvm, GError **error)
{
    int fd = kvm_ioctl(kvm->dev_fd, KVM_CREATE_VM, NULL);
    if (fd < 0) {
        if (fd == -EBUSY) {
            return error_set(error, "KVM could not create a VM: another hypervisor (VirtualBox, "
                                    "VMware) holds the CPU's virtualization; stop it first");
        }
        return error_set_errno(error, -fd, "KVM could not create a VM (KVM_CREATE_VM)");
    }
    kvm->vm_fd = fd;
    kvm->vm_stats_fd = kvm_stats_open(kvm, fd);
    return true;
}

static bool kvm_check_needed(KvmState *kvm, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(needed_caps); i++) {
        if (!kvm_require_cap(kvm, needed_caps[i].cap, needed_caps[i].name, needed_caps[i].purpose,
                             error)) {
            return false;
        }
    }
    unsigned cpus = kvm->machine->config->smp.maxcpus;
    int max = kvm_check_cap(kvm, KVM_CAP_MAX_VCPUS);
    if (max <= 0) {
        max = 4; /* what the API documents for kernels that do not say */
    }
    if (cpus > (unsigned)max) {
        return error_set(error, "-smp %u: this host's KVM runs at most %d vCPUs in a VM", cpus,
                         max);
    }
    return true;
}

static void kvm_free(KvmState *kvm)
{
    if (kvm->arch) {
        kvm_arch_cleanup(kvm);
    }
    kvm_routing_cleanup(kvm);
    if (kvm->vm_stats_fd >= 0) {
        close(kvm->vm_stats_fd);
    }
    if (kvm->vm_fd >= 0) {
        close(kvm->vm_fd);
    }
    if (kvm->dev_fd >= 0) {
        close(kvm->dev_fd);
    }
    g_mutex_clear(&kvm->lock);
    g_cond_clear(&kvm->parked_cond);
    g_cond_clear(&kvm->resume_cond);
    g_free(kvm->failure);
    g_free(kvm);
}

static bool kvm_init(Machine *machine, GError **error)
{
    KvmState *kvm = g_new0(KvmState, 1);
    kvm->machine = machine;
    kvm->dev_fd = kvm->vm_fd = kvm->vm_stats_fd = -1;
    kvm->paused = true;
    kvm->fresh = true;
    g_mutex_init(&kvm->lock);
    g_cond_init(&kvm->parked_cond);
    g_cond_init(&kvm->resume_cond);
    kvm_routing_init(kvm);
    if (machine->config->irqchip_off) {
        error_set(error, "-machine kernel-irqchip=off: with KVM the local APIC is always the "
                         "kernel's; use kernel-irqchip=split or on");
    } else if (kvm_open(kvm, error) && kvm_create_vm(kvm, error) && kvm_check_needed(kvm, error) &&
               kvm_arch_init(kvm, error)) {
        kvm_memory_init(kvm);
        machine->irqchip = machine->config->irqchip_split ? IRQCHIP_SPLIT : IRQCHIP_KERNEL;
        machine->accel_data = kvm;
        return true;
    }
    kvm_free(kvm);
    return false;
}

/*
 * The order counts. A memory slot that is added after the in-kernel interrupt controllers or after
 * doorbells waits for their bus registrations to pass through SRCU, which was measured at 4 to 8 ms
 * of start time: memory, then chips and vCPUs, then doorbells.
 */
static bool kvm_create_vcpus(Machine *machine, GError **error)
{
    KvmState *kvm = machine->accel_data;
    machine_topology_lock(machine);
    kvm_memory_attach(kvm);
    bool done = kvm->failure ? error_set(error, "%s", kvm->failure)
                             : kvm_arch_create_irqchip(kvm, error) &&
                                   kvm_routing_start(kvm, error) && kvm_vcpus_create(kvm, error);
    if (done) {
        kvm_memory_start(kvm);
    }
    machine_topology_unlock(machine);
    return done;
}

static void kvm_destroy(Machine *machine)
{
    KvmState *kvm = machine->accel_data;
    if (!kvm) {
        return;
    }
    kvm_vcpus_destroy(kvm);
    kvm_memory_cleanup(kvm);
    kvm_free(kvm);
    machine->accel_data = NULL;
}

static void kvm_vcpus_reset(Machine *machine)
{
    KvmState *kvm = machine->accel_data;
    if (!kvm->fresh) {
        kvm_arch_vcpus_reset(kvm);
        kvm->fresh = true;
    }
}

static void kvm_vcpu_set_boot(Machine *machine, const BootCpu *boot)
{
    KvmState *kvm = machine->accel_data;
    if (boot->mode != BOOT_CPU_FIRMWARE) {
        kvm_arch_vcpu_set_boot(&kvm->vcpus[0], boot);
        kvm->fresh = false;
    }
}

static void kvm_nmi(Machine *machine)
{
    KvmState *kvm = machine->accel_data;
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        if (kvm->vcpus[i].plugged) {
            kvm_vcpu_request(&kvm->vcpus[i], VCPU_REQUEST_NMI);
        }
    }
}

static bool kvm_smm_enable(Machine *machine, GError **error)
{
    KvmState *kvm = machine->accel_data;
    return kvm_require_cap(kvm, KVM_CAP_X86_SMM, "KVM_CAP_X86_SMM", "system management mode",
                           error) &&
           (kvm_check_cap(kvm, KVM_CAP_MULTI_ADDRESS_SPACE) >= KVM_SPACE_COUNT ||
            error_set_code(error, VIREO_ERROR_KVM_MISSING_CAP,
                           "this host's KVM has no second address space "
                           "(KVM_CAP_MULTI_ADDRESS_SPACE) for system management mode; a newer "
                           "Linux kernel has it"));
}

static void kvm_vcpu_dump(Machine *machine, unsigned index, GString *out)
{
    KvmState *kvm = machine->accel_data;
    if (index < kvm->vcpu_count && kvm->vcpus[index].plugged) {
        kvm_arch_vcpu_dump(&kvm->vcpus[index], out);
    }
}

static void kvm_save(Machine *machine, GByteArray *out)
{
    kvm_arch_save(machine->accel_data, out);
}

static bool kvm_load(Machine *machine, const uint8_t **cursor, const uint8_t *end, GError **error)
{
    KvmState *kvm = machine->accel_data;
    kvm->fresh = false;
    return kvm_arch_load(kvm, cursor, end, error);
}

static int kvm_vcpu_thread_id(Machine *machine, unsigned index)
{
    KvmState *kvm = machine->accel_data;
    if (index >= kvm->vcpu_count) {
        return 0;
    }
    const KvmVcpu *vcpu = &kvm->vcpus[index];
    int tid;
    while ((tid = __atomic_load_n(&vcpu->thread_id, __ATOMIC_ACQUIRE)) == 0 &&
           vcpu->thread_started) {
        sched_yield(); /* it says its id before all else */
    }
    return tid;
}

const AccelOps kvm_accel = {
    .name = "kvm",
    .init = kvm_init,
    .create_vcpus = kvm_create_vcpus,
    .destroy = kvm_destroy,
    .vcpus_resume = kvm_vcpus_resume,
    .vcpus_pause = kvm_vcpus_pause,
    .vcpus_reset = kvm_vcpus_reset,
    .vcpu_add = kvm_vcpu_add,
    .vcpu_remove = kvm_vcpu_remove,
    .vcpu_set_boot = kvm_vcpu_set_boot,
    .gsi_set = kvm_gsi_set,
    .msi_send = kvm_msi_send,
    .gsi_attach_irqfd = kvm_gsi_attach_irqfd,
    .gsi_detach_irqfd = kvm_gsi_detach_irqfd,
    .msi_route_bind = kvm_msi_route_bind,
    .msi_route_update = kvm_msi_route_update,
    .msi_route_unbind = kvm_msi_route_unbind,
    .user_irqchip_set = kvm_arch_user_irqchip_set,
    .extint_set = kvm_arch_extint_set,
    .timer_silence = kvm_arch_timer_silence,
    .ioapic_pin_set = kvm_arch_ioapic_pin_set,
    .nmi = kvm_nmi,
    .smm_enable = kvm_smm_enable,
    .smi = kvm_smi,
    .processor_id = kvm_arch_processor_id,
    .vcpu_dump = kvm_vcpu_dump,
    .save = kvm_save,
    .load = kvm_load,
    .dirty_log_start = kvm_dirty_log_start,
    .dirty_log_stop = kvm_dirty_log_stop,
    .dirty_log_sync = kvm_dirty_log_sync,
    .vcpu_thread_id = kvm_vcpu_thread_id,
    .debug = &kvm_arch_debug,
    .exits = &kvm_exit_ops,
    .stats = kvm_stats,
};
