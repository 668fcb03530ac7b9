/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPU threads: KVM_RUN and what follows an exit, parking, kicks.
 *
 * A thread that wants a vCPU out of the guest sets a request bit, then looks at `in_guest`; the
 * vCPU sets `in_guest`, then looks at its requests. Both are sequentially consistent, so one sees
 * the other. The kick itself sets immediate_exit and sends a signal whose handler does nothing: the
 * signal ends a running KVM_RUN, immediate_exit one that is about to start.
 */
#include "vmm/kvm/kvm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <urcu.h>
#include "vmm/machine/cpus.h"
#include "vmm/trace/trace-kvm.h"

#define VCPU_STACK_SIZE (256 * 1024)

#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif

/* ---- Kicks and requests ---- */

static void kick_handler(int signal_number)
{
}

static void kick_install(void)
{
    struct sigaction action = { .sa_handler = kick_handler, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigaction(KVM_KICK_SIGNAL, &action, NULL);
}

static void vcpu_kick(KvmVcpu *vcpu)
{
    bool itself = vcpu->thread_started && pthread_equal(vcpu->thread, pthread_self());
    if (vcpu->thread_started && !itself && __atomic_load_n(&vcpu->in_guest, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        pthread_kill(vcpu->thread, KVM_KICK_SIGNAL);
    }
}

void kvm_vcpu_request(KvmVcpu *vcpu, unsigned request)
{
    __atomic_fetch_or(&vcpu->requests, request, __ATOMIC_SEQ_CST);
    vcpu_kick(vcpu);
}

static void vcpu_unrequest(KvmVcpu *vcpu, unsigned request)
{
    __atomic_fetch_and(&vcpu->requests, ~request, __ATOMIC_SEQ_CST);
}

static bool vcpu_requested(KvmVcpu *vcpu, unsigned request)
{
    return (__atomic_load_n(&vcpu->requests, __ATOMIC_SEQ_CST) & request) != 0;
}

/* ---- System management interrupts ---- */

static _Thread_local KvmVcpu *this_vcpu; /* of a vCPU's thread */

static void vcpu_inject_smi(KvmVcpu *vcpu)
{
    if (kvm_ioctl(vcpu->fd, KVM_SMI, NULL) < 0) {
        report_warning("CPU %u: KVM did not take a system management interrupt", vcpu->index);
    }
}

/* Out of the guest: by its own thread, or while it is parked. */
static void vcpu_take_smi(KvmVcpu *vcpu)
{
    if (vcpu_requested(vcpu, VCPU_REQUEST_SMI)) {
        vcpu_unrequest(vcpu, VCPU_REQUEST_SMI);
        vcpu_inject_smi(vcpu);
    }
}

/* The vCPU that asks gets its own before its next instruction. */
void kvm_smi(Machine *machine, bool all)
{
    KvmState *kvm = machine->accel_data;
    KvmVcpu *itself = this_vcpu;
    if (itself) {
        vcpu_inject_smi(itself);
    }
    for (unsigned i = 0; i < kvm->vcpu_count && (all || !itself); i++) {
        KvmVcpu *vcpu = &kvm->vcpus[i];
        if (vcpu != itself && machine_cpu_present(machine, i)) {
            kvm_vcpu_request(vcpu, VCPU_REQUEST_SMI);
        }
        if (!all) {
            break;
        }
    }
}

void kvm_vcpu_internal_error(KvmVcpu *vcpu, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    trace_kvm_vcpu_error(vcpu->index, text);
    report_error("CPU %u: %s", vcpu->index, text);
    kvm_vcpu_request(vcpu, VCPU_REQUEST_PARK);
    machine_internal_error(vcpu->kvm->machine, vcpu->index);
}

/* The vCPU waits for the machine to act on what it was told. */
static void vcpu_stop_and(KvmVcpu *vcpu, void (*request)(Machine *machine, ShutdownCause cause),
                          ShutdownCause cause)
{
    kvm_vcpu_request(vcpu, VCPU_REQUEST_PARK);
    request(vcpu->kvm->machine, cause);
}

/* ---- Exits ---- */

static void vcpu_handle_io(KvmVcpu *vcpu, struct kvm_run *run)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    unsigned size = run->io.size;
    uint32_t count = run->io.count;
    uint16_t port = run->io.port;
    trace_kvm_io(vcpu->index, port, size, count, run->io.direction == KVM_EXIT_IO_OUT);
    int64_t begun = exit_begin();
    if (run->io.direction == KVM_EXIT_IO_OUT) {
        do {
            uint32_t value = 0;
            memcpy(&value, data, size);
            address_space_store(vcpu->io, &vcpu->io_cache, port, value, size);
            data += size;
        } while (--count);
    } else {
        do {
            uint32_t value = (uint32_t)address_space_load(vcpu->io, &vcpu->io_cache, port, size);
            memcpy(data, &value, size);
            data += size;
        } while (--count);
    }
    exit_end(vcpu->io_cache.window, run->io.direction == KVM_EXIT_IO_OUT, begun);
}

static void vcpu_handle_mmio(KvmVcpu *vcpu, struct kvm_run *run)
{
    uint64_t addr = run->mmio.phys_addr;
    unsigned len = run->mmio.len;
    uint64_t value = 0;
    AddressSpace *memory = vcpu->memory;
    DispatchCache *cache = &vcpu->memory_cache;
    trace_kvm_mmio(vcpu->index, addr, len, run->mmio.is_write);
    if (G_UNLIKELY(run->flags & KVM_RUN_X86_SMM) && vcpu->smm_memory) {
        memory = vcpu->smm_memory;
        cache = &vcpu->smm_cache;
    }
    ExitWindow *window = &cache->windows->others;
    int64_t begun = exit_begin();
    if (len != 1 && len != 2 && len != 4 && len != 8) {
        /* A part of an access that crosses a page. */
        if (run->mmio.is_write) {
            address_space_write(memory, addr, run->mmio.data, len);
        } else {
            address_space_read(memory, addr, run->mmio.data, len);
        }
    } else if (run->mmio.is_write) {
        memcpy(&value, run->mmio.data, len);
        address_space_store(memory, cache, addr, value, len);
        window = cache->window;
    } else {
        value = address_space_load(memory, cache, addr, len);
        memcpy(run->mmio.data, &value, len);
        window = cache->window;
    }
    exit_end(window, run->mmio.is_write, begun);
}

static void vcpu_handle_system_event(KvmVcpu *vcpu, struct kvm_run *run)
{
    switch (run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        vcpu_stop_and(vcpu, machine_request_shutdown, SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
        break;
    case KVM_SYSTEM_EVENT_RESET:
        vcpu_stop_and(vcpu, machine_request_reset, SHUTDOWN_CAUSE_GUEST_RESET);
        break;
    case KVM_SYSTEM_EVENT_CRASH:
        machine_guest_panicked(vcpu->kvm->machine, false);
        break;
    default:
        kvm_vcpu_internal_error(vcpu, "KVM reported an unknown system event %u",
                                run->system_event.type);
    }
}

static const char *internal_error_name(unsigned suberror)
{
    switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
        return "an instruction could not be emulated";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
        return "simultaneous exceptions";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
        return "an exit while an event was delivered";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
        return "an unexpected exit reason";
    default:
        return "unknown";
    }
}

static void vcpu_handle_internal_error(KvmVcpu *vcpu, struct kvm_run *run)
{
    if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION &&
        kvm_arch_failed_at_breakpoint(vcpu)) {
        return;
    }
    g_autoptr(GString) data = g_string_new(NULL);
    unsigned count = MIN(run->internal.ndata, G_N_ELEMENTS(run->internal.data));
    for (unsigned i = 0; i < count; i++) {
        g_string_append_printf(data, "%s0x%llx", i ? " " : "; data: ", run->internal.data[i]);
    }
    kvm_vcpu_internal_error(vcpu, "KVM gave up: internal error %u (%s)%s", run->internal.suberror,
                            internal_error_name(run->internal.suberror), data->str);
}

/* Exits that are rare; true when the vCPU may enter the guest again (requests permitting). */
static void vcpu_handle_rare_exit(KvmVcpu *vcpu, struct kvm_run *run)
{
    switch (run->exit_reason) {
    case KVM_EXIT_INTR:
    case KVM_EXIT_DIRTY_RING_FULL:
        break;
    case KVM_EXIT_SHUTDOWN:
        vcpu_stop_and(vcpu, machine_request_reset, SHUTDOWN_CAUSE_GUEST_RESET);
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        vcpu_handle_system_event(vcpu, run);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        kvm_vcpu_internal_error(
            vcpu,
            "KVM could not enter the guest: hardware entry failure reason 0x%llx on host "
            "CPU %u",
            run->fail_entry.hardware_entry_failure_reason, run->fail_entry.cpu);
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        vcpu_handle_internal_error(vcpu, run);
        break;
    case KVM_EXIT_UNKNOWN:
        kvm_vcpu_internal_error(vcpu, "KVM: unknown hardware exit reason 0x%llx",
                                run->hw.hardware_exit_reason);
        break;
    case KVM_EXIT_MEMORY_FAULT:
        kvm_vcpu_internal_error(vcpu, "KVM: guest memory fault");
        break;
    default:
        if (!kvm_arch_handle_exit(vcpu)) {
            kvm_vcpu_internal_error(vcpu, "KVM: unexpected exit reason %u", run->exit_reason);
        }
    }
}

static void vcpu_handle_run_error(KvmVcpu *vcpu, int errnum)
{
    trace_kvm_run_error(vcpu->index, errnum);
    switch (errnum) {
    case EINTR:
        exit_count(&vcpu->exits->reasons[KVM_EXIT_INTR], 1);
        /* A late kick may have set it after its request was served. Cleared before the requests
         * are looked at again, so that none is missed. */
        __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        return;
    case EAGAIN:
        return;
    default:
        kvm_vcpu_internal_error(vcpu, "KVM_RUN failed: %s%s", g_strerror(errnum),
                                errnum == EFAULT ? " (guest memory that the host cannot provide)"
                                                 : "");
    }
}

static inline void vcpu_handle_exit(KvmVcpu *vcpu, struct kvm_run *run)
{
    exit_count(&vcpu->exits->reasons[MIN(run->exit_reason, EXIT_REASONS - 1)], 1);
    trace_kvm_run_exit(vcpu->index, run->exit_reason, kvm_exit_name(run->exit_reason));
    if (G_LIKELY(run->exit_reason == KVM_EXIT_IO)) {
        vcpu_handle_io(vcpu, run);
    } else if (G_LIKELY(run->exit_reason == KVM_EXIT_MMIO)) {
        vcpu_handle_mmio(vcpu, run);
    } else {
        vcpu_handle_rare_exit(vcpu, run);
    }
}

/* ---- The thread ---- */

static void vcpu_wait_uninhibited(KvmVcpu *vcpu)
{
    KvmState *kvm = vcpu->kvm;
    g_mutex_lock(&kvm->lock);
    g_cond_broadcast(&kvm->parked_cond);
    while (vcpu_requested(vcpu, VCPU_REQUEST_INHIBIT)) {
        g_cond_wait(&kvm->resume_cond, &kvm->lock);
    }
    g_mutex_unlock(&kvm->lock);
}

/* Somebody waits in kvm_vcpus_inhibit() for this vCPU to be out. */
static void vcpu_announce_out(KvmVcpu *vcpu)
{
    g_mutex_lock(&vcpu->kvm->lock);
    g_cond_broadcast(&vcpu->kvm->parked_cond);
    g_mutex_unlock(&vcpu->kvm->lock);
}

/* KVM_RUN that finishes the last exit's instruction and does not enter the guest. */
static int vcpu_run_immediate(KvmVcpu *vcpu)
{
    __atomic_store_n(&vcpu->in_guest, 1, __ATOMIC_SEQ_CST);
    while (vcpu_requested(vcpu, VCPU_REQUEST_INHIBIT)) {
        __atomic_store_n(&vcpu->in_guest, 0, __ATOMIC_SEQ_CST);
        vcpu_wait_uninhibited(vcpu);
        __atomic_store_n(&vcpu->in_guest, 1, __ATOMIC_SEQ_CST);
    }
    __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    int result = ioctl(vcpu->fd, KVM_RUN, 0);
    __atomic_store_n(&vcpu->in_guest, 0, __ATOMIC_SEQ_CST);
    vcpu_announce_out(vcpu);
    return result;
}

/* The instruction that exited last completes at the next KVM_RUN: done before the registers may be
 * read. It can exit again (an access in several parts). */
static void vcpu_complete_exit(KvmVcpu *vcpu)
{
    for (;;) {
        if (vcpu_run_immediate(vcpu) < 0) {
            return;
        }
        uint32_t reason = vcpu->run->exit_reason;
        if (reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO || reason == KVM_EXIT_DEBUG) {
            vcpu_handle_exit(vcpu, vcpu->run);
        }
        if (reason != KVM_EXIT_IO && reason != KVM_EXIT_MMIO) {
            return;
        }
    }
}

static void vcpu_park(KvmVcpu *vcpu)
{
    KvmState *kvm = vcpu->kvm;
    vcpu_complete_exit(vcpu);
    trace_kvm_vcpu_park(vcpu->index);
    g_mutex_lock(&kvm->lock);
    vcpu->parked = true;
    g_cond_broadcast(&kvm->parked_cond);
    while (vcpu_requested(vcpu, VCPU_REQUEST_PARK) && !vcpu_requested(vcpu, VCPU_REQUEST_EXIT)) {
        g_cond_wait(&kvm->resume_cond, &kvm->lock);
    }
    vcpu->parked = false;
    g_mutex_unlock(&kvm->lock);
    trace_kvm_vcpu_unpark(vcpu->index);
}

/* False: the thread ends. */
static bool vcpu_service_requests(KvmVcpu *vcpu)
{
    __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    if (vcpu_requested(vcpu, VCPU_REQUEST_EXIT)) {
        return false;
    }
    if (vcpu_requested(vcpu, VCPU_REQUEST_INHIBIT)) {
        vcpu_wait_uninhibited(vcpu);
    }
    vcpu_take_smi(vcpu);
    if (vcpu_requested(vcpu, VCPU_REQUEST_PARK)) {
        vcpu_park(vcpu);
        __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    }
    if (vcpu_requested(vcpu, VCPU_REQUEST_NMI)) {
        vcpu_unrequest(vcpu, VCPU_REQUEST_NMI);
        kvm_arch_vcpu_nmi(vcpu);
    }
    if (vcpu_requested(vcpu, VCPU_REQUEST_EXTINT)) {
        vcpu_unrequest(vcpu, VCPU_REQUEST_EXTINT);
    }
    return true;
}

static void vcpu_loop(KvmVcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    for (;;) {
        __atomic_store_n(&vcpu->in_guest, 1, __ATOMIC_SEQ_CST);
        if (G_UNLIKELY(__atomic_load_n(&vcpu->requests, __ATOMIC_SEQ_CST))) {
            __atomic_store_n(&vcpu->in_guest, 0, __ATOMIC_SEQ_CST);
            if (!vcpu_service_requests(vcpu)) {
                return;
            }
            continue;
        }
        if (G_UNLIKELY(vcpu->extint)) {
            kvm_arch_before_run(vcpu);
        }
        int result = ioctl(vcpu->fd, KVM_RUN, 0);
        __atomic_store_n(&vcpu->in_guest, 0, __ATOMIC_SEQ_CST);
        if (G_UNLIKELY(__atomic_load_n(&vcpu->requests, __ATOMIC_SEQ_CST))) {
            vcpu_announce_out(vcpu);
        }
        if (G_UNLIKELY(result < 0)) {
            vcpu_handle_run_error(vcpu, errno);
        } else {
            vcpu_handle_exit(vcpu, run);
        }
    }
}

static void *vcpu_thread(void *opaque)
{
    KvmVcpu *vcpu = opaque;
    g_autofree char *name = g_strdup_printf("CPU %u/KVM", vcpu->index);
    pthread_setname_np(pthread_self(), name);
    __atomic_store_n(&vcpu->thread_id, (int)syscall(SYS_gettid), __ATOMIC_RELEASE);
    rcu_register_thread();
    this_vcpu = vcpu;
    vcpu_loop(vcpu);
    /* Who kicks holds the lock and has seen this thread: it must not be gone before the signal. */
    g_mutex_lock(&vcpu->kvm->lock);
    g_mutex_unlock(&vcpu->kvm->lock);
    rcu_unregister_thread();
    return NULL;
}

static bool vcpu_start_thread(KvmVcpu *vcpu, GError **error)
{
    sigset_t all, before;
    pthread_attr_t attr;
    sigfillset(&all);
    sigdelset(&all, KVM_KICK_SIGNAL);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, VCPU_STACK_SIZE);
    /* The thread inherits the mask: the process's signals belong to the main thread. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&vcpu->thread, &attr, vcpu_thread, vcpu);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (result) {
        return error_set_errno(error, result, "could not start the thread of vCPU %u", vcpu->index);
    }
    vcpu->thread_started = true;
    return true;
}

static void vcpu_end_thread(KvmVcpu *vcpu)
{
    KvmState *kvm = vcpu->kvm;
    g_mutex_lock(&kvm->lock);
    kvm_vcpu_request(vcpu, VCPU_REQUEST_EXIT);
    g_cond_broadcast(&kvm->resume_cond);
    g_mutex_unlock(&kvm->lock);
    if (vcpu->thread_started) {
        pthread_join(vcpu->thread, NULL);
    }
    g_mutex_lock(&kvm->lock);
    vcpu->thread_started = false;
    vcpu->plugged = vcpu->parked = false;
    vcpu->thread_id = 0;
    g_mutex_unlock(&kvm->lock);
}

/* As -vcpu says. */
static bool vcpu_pin(const KvmVcpu *vcpu, GError **error)
{
    const HostCpus *cpus = machine_cpu_affinity(vcpu->kvm->machine->config, vcpu->index);
    if (cpus && !host_cpus_pin(cpus, vcpu->thread, error)) {
        g_prefix_error(error, "-vcpu vcpunum=%u: ", vcpu->index);
        return false;
    }
    return true;
}

/* ---- Creation ---- */

static bool vcpu_create(KvmState *kvm, KvmVcpu *vcpu, GError **error)
{
    vcpu->arch_id = kvm_arch_vcpu_id(kvm, vcpu->index);
    int fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, (long)vcpu->arch_id);
    if (fd < 0) {
        return error_set_errno(error, errno, "KVM could not create vCPU %u (id %u)", vcpu->index,
                               vcpu->arch_id);
    }
    vcpu->fd = fd;
    vcpu->stats_fd = kvm_stats_open(kvm, fd);
    vcpu->run_size = kvm->run_size;
    void *run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (run == MAP_FAILED) {
        return error_set_errno(error, errno, "could not map the state of vCPU %u", vcpu->index);
    }
    vcpu->run = run;
    return kvm_arch_init_vcpu(vcpu, error);
}

/* KVM gives no vCPU back: one that was unplugged is used again. */
static bool vcpu_prepare(KvmState *kvm, KvmVcpu *vcpu, GError **error)
{
    vcpu->parked = false;
    vcpu->requests = kvm->paused ? VCPU_REQUEST_PARK : 0;
    if (!vcpu->exits) {
        vcpu->exits = vcpu_exits_new();
        vcpu->io_cache.windows = &vcpu->exits->io;
        vcpu->memory_cache.windows = vcpu->smm_cache.windows = &vcpu->exits->memory;
    }
    return vcpu->run || vcpu_create(kvm, vcpu, error);
}

static bool vcpu_launch(KvmState *kvm, KvmVcpu *vcpu, GError **error)
{
    if (!vcpu_start_thread(vcpu, error)) {
        return false;
    }
    if (!vcpu_pin(vcpu, error)) {
        vcpu_end_thread(vcpu);
        return false;
    }
    g_mutex_lock(&kvm->lock);
    vcpu->plugged = true;
    g_mutex_unlock(&kvm->lock);
    return true;
}

bool kvm_vcpus_create(KvmState *kvm, GError **error)
{
    Machine *machine = kvm->machine;
    kick_install();
    kvm->vcpu_count = machine->config->smp.maxcpus;
    kvm->vcpus = g_new0(KvmVcpu, kvm->vcpu_count);
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        kvm->vcpus[i] = (KvmVcpu){ .fd = -1,
                                   .stats_fd = -1,
                                   .index = i,
                                   .kvm = kvm,
                                   .io = machine->io,
                                   .memory = machine->memory,
                                   .smm_memory = machine->smm_memory };
    }
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        if (machine_cpu_present(machine, i) && !vcpu_prepare(kvm, &kvm->vcpus[i], error)) {
            return false;
        }
    }
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        if (machine_cpu_present(machine, i) && !vcpu_launch(kvm, &kvm->vcpus[i], error)) {
            return false;
        }
    }
    return true;
}

bool kvm_vcpu_add(Machine *machine, unsigned index, GError **error)
{
    KvmState *kvm = machine->accel_data;
    KvmVcpu *vcpu = &kvm->vcpus[index];
    return vcpu_prepare(kvm, vcpu, error) && kvm_arch_vcpu_plugged(vcpu, error) &&
           vcpu_launch(kvm, vcpu, error);
}

void kvm_vcpu_remove(Machine *machine, unsigned index)
{
    KvmState *kvm = machine->accel_data;
    if (kvm->vcpus && kvm->vcpus[index].plugged) {
        vcpu_end_thread(&kvm->vcpus[index]);
    }
}

void kvm_vcpus_destroy(KvmState *kvm)
{
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        KvmVcpu *vcpu = &kvm->vcpus[i];
        if (vcpu->thread_started) {
            vcpu_end_thread(vcpu);
        }
        if (vcpu->run) {
            munmap(vcpu->run, vcpu->run_size);
        }
        if (vcpu->fd >= 0) {
            close(vcpu->fd);
        }
        if (vcpu->stats_fd >= 0) {
            close(vcpu->stats_fd);
        }
        vcpu_exits_free(vcpu->exits);
    }
    g_clear_pointer(&kvm->vcpus, g_free);
    kvm->vcpu_count = 0;
}

/* ---- Pausing ---- */

void kvm_vcpus_pause(Machine *machine)
{
    KvmState *kvm = machine->accel_data;
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        kvm_vcpu_request(&kvm->vcpus[i], VCPU_REQUEST_PARK);
    }
    g_mutex_lock(&kvm->lock);
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        while (kvm->vcpus[i].plugged && !kvm->vcpus[i].parked) {
            g_cond_wait(&kvm->parked_cond, &kvm->lock);
        }
    }
    g_mutex_unlock(&kvm->lock);
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        if (kvm->vcpus[i].plugged) { /* of a vCPU that parked later: part of the state now */
            vcpu_take_smi(&kvm->vcpus[i]);
        }
    }
    if (!kvm->paused) {
        kvm->paused = true;
        kvm_arch_paused(kvm);
    }
}

void kvm_vcpus_resume(Machine *machine)
{
    KvmState *kvm = machine->accel_data;
    if (kvm->paused) {
        kvm_arch_resuming(kvm);
    }
    kvm->paused = false;
    kvm->fresh = false;
    g_mutex_lock(&kvm->lock);
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        if (kvm->vcpus[i].debug_run != DEBUG_RUN_HELD) {
            vcpu_unrequest(&kvm->vcpus[i], VCPU_REQUEST_PARK);
        }
    }
    g_cond_broadcast(&kvm->resume_cond);
    g_mutex_unlock(&kvm->lock);
}

void kvm_vcpus_inhibit(KvmState *kvm)
{
    if (kvm->vcpu_count == 0) {
        return;
    }
    g_mutex_lock(&kvm->lock);
    if (kvm->inhibit_depth++ == 0) {
        for (unsigned i = 0; i < kvm->vcpu_count; i++) {
            kvm_vcpu_request(&kvm->vcpus[i], VCPU_REQUEST_INHIBIT);
        }
    }
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        while (__atomic_load_n(&kvm->vcpus[i].in_guest, __ATOMIC_SEQ_CST)) {
            g_cond_wait(&kvm->parked_cond, &kvm->lock);
        }
    }
    g_mutex_unlock(&kvm->lock);
}

void kvm_vcpus_uninhibit(KvmState *kvm)
{
    if (kvm->vcpu_count == 0) {
        return;
    }
    g_mutex_lock(&kvm->lock);
    if (--kvm->inhibit_depth == 0) {
        for (unsigned i = 0; i < kvm->vcpu_count; i++) {
            vcpu_unrequest(&kvm->vcpus[i], VCPU_REQUEST_INHIBIT);
        }
        g_cond_broadcast(&kvm->resume_cond);
    }
    g_mutex_unlock(&kvm->lock);
}
