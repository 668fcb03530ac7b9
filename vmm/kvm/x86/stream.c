/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The accelerator's part of a saved state: records of a tag, a length and the kernel's structure,
 * little-endian. A stream is hostile: lengths are checked before anything is copied, and KVM
 * checks what it is given.
 */
#include "vmm/kvm/x86/x86.h"

#include <string.h>
#include "vmm/machine/cpus.h"
#include "vmm/util/bytes.h"

#define STREAM_MAGIC   0x564b3878u /* "x8KV" */
#define STREAM_VERSION 1u

typedef enum RecordTag {
    RECORD_HEADER = 1,
    RECORD_REGS,
    RECORD_SREGS,
    RECORD_DEBUGREGS,
    RECORD_XCRS,
    RECORD_LAPIC,
    RECORD_EVENTS,
    RECORD_MP_STATE,
    RECORD_XSAVE,
    RECORD_MSRS,
    RECORD_IRQCHIP,
    RECORD_PIT,
    RECORD_CLOCK,
} RecordTag;

typedef struct StreamHeader {
    uint32_t magic, version, vcpus, irqchip, pit;
} StreamHeader;

static void record_append(GByteArray *out, RecordTag tag, const void *data, size_t len)
{
    uint8_t header[8];
    store_le32(header, tag);
    store_le32(header + 4, (uint32_t)len);
    g_byte_array_append(out, header, sizeof(header));
    g_byte_array_append(out, data, (guint)len);
}

/* The next record, which must be `tag`; *data points into the stream. */
static bool record_next(const uint8_t **cursor, const uint8_t *end, RecordTag tag,
                        const uint8_t **data, size_t *len, GError **error)
{
    if (end - *cursor < 8) {
        return error_set(error, "the saved state of the vCPUs is cut short");
    }
    uint32_t found = load_le32(*cursor);
    uint32_t size = load_le32(*cursor + 4);
    if (found != tag) {
        return error_set(error, "the saved state of the vCPUs has record %u where %u belongs",
                         found, (unsigned)tag);
    }
    if (size > (size_t)(end - *cursor) - 8) {
        return error_set(error, "the saved state of the vCPUs is cut short in record %u", found);
    }
    *data = *cursor + 8;
    *len = size;
    *cursor += 8 + (size_t)size;
    return true;
}

static bool record_read(const uint8_t **cursor, const uint8_t *end, RecordTag tag, void *out,
                        size_t size, GError **error)
{
    const uint8_t *data = NULL;
    size_t len = 0;
    if (!record_next(cursor, end, tag, &data, &len, error)) {
        return false;
    }
    if (len != size) {
        return error_set(error,
                         "the saved state of the vCPUs has %zu bytes in record %u where "
                         "this host's KVM has %zu",
                         len, (unsigned)tag, size);
    }
    memcpy(out, data, size);
    return true;
}

static void save_vcpu(KvmVcpu *vcpu, X86VcpuState *state, GByteArray *out)
{
    g_autoptr(GError) error = NULL;
    if (!x86_state_get(vcpu, state, &error)) {
        kvm_fail(vcpu->kvm, "saving: %s", error->message);
    }
    record_append(out, RECORD_REGS, &state->regs, sizeof(state->regs));
    record_append(out, RECORD_SREGS, &state->sregs, sizeof(state->sregs));
    record_append(out, RECORD_DEBUGREGS, &state->debugregs, sizeof(state->debugregs));
    record_append(out, RECORD_XCRS, &state->xcrs, sizeof(state->xcrs));
    record_append(out, RECORD_LAPIC, &state->lapic, sizeof(state->lapic));
    record_append(out, RECORD_EVENTS, &state->events, sizeof(state->events));
    record_append(out, RECORD_MP_STATE, &state->mp_state, sizeof(state->mp_state));
    record_append(out, RECORD_XSAVE, state->xsave, vcpu->kvm->arch->xsave_size);
    record_append(out, RECORD_MSRS, state->msrs->entries,
                  state->msrs->nmsrs * sizeof(struct kvm_msr_entry));
}

static bool load_msrs(KvmVcpu *vcpu, X86VcpuState *state, const uint8_t **cursor,
                      const uint8_t *end, GError **error)
{
    const uint8_t *data = NULL;
    size_t len = 0;
    if (!record_next(cursor, end, RECORD_MSRS, &data, &len, error)) {
        return false;
    }
    /* Another host may list other MSRs; what the state has room for bounds the count. */
    if (len % sizeof(struct kvm_msr_entry) != 0 || len / sizeof(struct kvm_msr_entry) > 4096) {
        return error_set(error, "the saved state of vCPU %u has a broken MSR list", vcpu->index);
    }
    g_free(state->msrs);
    state->msrs = g_malloc0(sizeof(struct kvm_msrs) + len);
    state->msrs->nmsrs = (uint32_t)(len / sizeof(struct kvm_msr_entry));
    memcpy(state->msrs->entries, data, len);
    return true;
}

static bool load_vcpu(KvmVcpu *vcpu, X86VcpuState *state, const uint8_t **cursor,
                      const uint8_t *end, GError **error)
{
    return record_read(cursor, end, RECORD_REGS, &state->regs, sizeof(state->regs), error) &&
           record_read(cursor, end, RECORD_SREGS, &state->sregs, sizeof(state->sregs), error) &&
           record_read(cursor, end, RECORD_DEBUGREGS, &state->debugregs, sizeof(state->debugregs),
                       error) &&
           record_read(cursor, end, RECORD_XCRS, &state->xcrs, sizeof(state->xcrs), error) &&
           record_read(cursor, end, RECORD_LAPIC, &state->lapic, sizeof(state->lapic), error) &&
           record_read(cursor, end, RECORD_EVENTS, &state->events, sizeof(state->events), error) &&
           record_read(cursor, end, RECORD_MP_STATE, &state->mp_state, sizeof(state->mp_state),
                       error) &&
           record_read(cursor, end, RECORD_XSAVE, state->xsave, vcpu->kvm->arch->xsave_size,
                       error) &&
           load_msrs(vcpu, state, cursor, end, error) && x86_state_put(vcpu, state, error);
}

static bool has_kernel_pit(const KvmState *kvm)
{
    return kvm->machine->irqchip == IRQCHIP_KERNEL && !kvm->machine->config->pit_off;
}

static StreamHeader stream_header(const KvmState *kvm)
{
    return (StreamHeader){
        .magic = STREAM_MAGIC,
        .version = STREAM_VERSION,
        .vcpus = machine_cpu_count(kvm->machine),
        .irqchip = (uint32_t)kvm->machine->irqchip,
        .pit = has_kernel_pit(kvm),
    };
}

static const uint32_t irqchips[] = { KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE,
                                     KVM_IRQCHIP_IOAPIC };

static void save_chips(KvmState *kvm, GByteArray *out)
{
    for (size_t i = 0; kvm->machine->irqchip == IRQCHIP_KERNEL && i < G_N_ELEMENTS(irqchips); i++) {
        struct kvm_irqchip chip = { .chip_id = irqchips[i] };
        kvm_ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, &chip);
        record_append(out, RECORD_IRQCHIP, &chip, sizeof(chip));
    }
    if (has_kernel_pit(kvm)) {
        struct kvm_pit_state2 pit = { 0 };
        kvm_ioctl(kvm->vm_fd, KVM_GET_PIT2, &pit);
        record_append(out, RECORD_PIT, &pit, sizeof(pit));
    }
}

static bool load_chips(KvmState *kvm, const uint8_t **cursor, const uint8_t *end, GError **error)
{
    for (size_t i = 0; kvm->machine->irqchip == IRQCHIP_KERNEL && i < G_N_ELEMENTS(irqchips); i++) {
        struct kvm_irqchip chip;
        if (!record_read(cursor, end, RECORD_IRQCHIP, &chip, sizeof(chip), error)) {
            return false;
        }
        chip.chip_id = irqchips[i];
        if (kvm_ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, &chip) < 0) {
            return error_set(error, "KVM refused the saved state of interrupt controller %zu", i);
        }
    }
    if (has_kernel_pit(kvm)) {
        struct kvm_pit_state2 pit;
        if (!record_read(cursor, end, RECORD_PIT, &pit, sizeof(pit), error)) {
            return false;
        }
        if (kvm_ioctl(kvm->vm_fd, KVM_SET_PIT2, &pit) < 0) {
            return error_set(error, "KVM refused the saved state of the timer");
        }
    }
    return true;
}

void kvm_arch_save(KvmState *kvm, GByteArray *out)
{
    StreamHeader header = stream_header(kvm);
    record_append(out, RECORD_HEADER, &header, sizeof(header));
    /* The clock stood still at the pause. */
    record_append(out, RECORD_CLOCK, &kvm->arch->clock.clock, sizeof(uint64_t));
    save_chips(kvm, out);
    X86VcpuState *state = x86_state_new(kvm);
    for (unsigned i = 0; i < kvm->vcpu_count; i++) {
        if (kvm->vcpus[i].plugged) {
            save_vcpu(&kvm->vcpus[i], state, out);
        }
    }
    x86_state_free(state);
}

bool kvm_arch_load(KvmState *kvm, const uint8_t **cursor, const uint8_t *end, GError **error)
{
    StreamHeader header, own = stream_header(kvm);
    uint64_t clock;
    if (!record_read(cursor, end, RECORD_HEADER, &header, sizeof(header), error)) {
        return false;
    }
    if (memcmp(&header, &own, sizeof(header)) != 0) {
        return error_set(error,
                         "the saved state is of a machine with %u vCPUs and another "
                         "interrupt controller arrangement or version; this one has %u",
                         header.vcpus, own.vcpus);
    }
    if (!record_read(cursor, end, RECORD_CLOCK, &clock, sizeof(clock), error) ||
        !load_chips(kvm, cursor, end, error)) {
        return false;
    }
    X86VcpuState *state = x86_state_new(kvm);
    bool done = true;
    for (unsigned i = 0; done && i < kvm->vcpu_count; i++) {
        done = !kvm->vcpus[i].plugged || load_vcpu(&kvm->vcpus[i], state, cursor, end, error);
    }
    x86_state_free(state);
    kvm->arch->clock = (struct kvm_clock_data){ .clock = clock };
    kvm->arch->clock_valid = true;
    return done;
}
