/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The accelerator: what runs vCPUs and delivers interrupts. Two exist: "kvm" (vmm/kvm) and "qtest"
 * (vmm/machine/qtest.c: no vCPUs, the test drives the machine). The machine holds one Accel;
 * boards, PCI and virtio call these functions only.
 */
#ifndef VMM_MACHINE_ACCEL_H
#define VMM_MACHINE_ACCEL_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "vmm/device/irq.h"
#include "vmm/machine/debug.h"
#include "vmm/machine/machine.h"
#include "vmm/trace/exits.h"

typedef enum IrqchipMode {
    IRQCHIP_KERNEL, /* PIC, IOAPIC, LAPIC (and PIT) in KVM */
    IRQCHIP_SPLIT,  /* LAPIC in KVM, the rest in hw/ */
    IRQCHIP_OFF,    /* qtest: PIC and IOAPIC in hw/, nothing behind them */
} IrqchipMode;

/* A message route with an eventfd: whoever signals `fd` delivers the message, in the kernel where
 * the accelerator can. */
typedef struct MsiRoute {
    EventNotifier notifier; /* signal it from any thread */
    MsiMessage message;
    int gsi; /* private */
    bool bound;
    FdWatch watch; /* private: accelerators without irqfd */
    Machine *machine;
} MsiRoute;

/* How the first vCPU starts a kernel that is loaded directly. */
typedef struct BootCpu {
    enum {
        BOOT_CPU_FIRMWARE,
        BOOT_CPU_PROTECTED,
        BOOT_CPU_LONG
    } mode; /* reset vector; flat 32 bit; 64 bit */
    uint64_t rip, rsp, rax, rbx, rsi, rdi;
    uint64_t cr3;      /* 64 bit: page tables in guest RAM */
    uint64_t gdt_base; /* a GDT in guest RAM: null, null, code (0x10), data (0x18), as Linux's boot
                          protocol wants */
    uint16_t gdt_limit;
} BootCpu;

/* A PIC and an IOAPIC outside the accelerator (hw/misc/irqchip.c), as the vCPUs of a split
 * irqchip see them. Called on vCPU threads. */
typedef struct UserIrqchip {
    int (*pic_acknowledge)(void *opaque); /* the vector of the pending interrupt, or -1 */
    void (*ioapic_eoi)(void *opaque, uint8_t vector);
    void *opaque;
} UserIrqchip;

/* Counters of exits. Any thread, while the machine is there. */
typedef struct AccelExitOps {
    const VcpuExits *(*vcpu)(Machine *machine, unsigned index); /* NULL: never made */
    const char *(*reason_name)(unsigned reason);
} AccelExitOps;

/* A number that the kernel keeps, or a histogram of several. */
typedef enum StatKind {
    STAT_CUMULATIVE,
    STAT_INSTANT,
    STAT_PEAK,
    STAT_LINEAR_HISTOGRAM,
    STAT_LOG2_HISTOGRAM,
    STAT_KIND_COUNT,
} StatKind;

typedef enum StatUnit {
    STAT_UNIT_NONE,
    STAT_UNIT_BYTES,
    STAT_UNIT_SECONDS,
    STAT_UNIT_CYCLES,
    STAT_UNIT_BOOLEAN,
} StatUnit;

typedef struct AccelStat {
    char *name;
    StatKind kind;
    StatUnit unit;
    int base, exponent; /* the unit times base to the power of exponent */
    uint32_t bucket_size;
    unsigned count;
    uint64_t *values;
} AccelStat;

typedef struct AccelOps {
    const char *name;
    /* Opens and creates the VM, before memory and devices; sets machine->accel_data and
     * machine->irqchip. */
    bool (*init)(Machine *machine, GError **error);
    /* After the board is built: listeners, irq routes committed, vCPU threads created (stopped). */
    bool (*create_vcpus)(Machine *machine, GError **error);
    void (*destroy)(Machine *machine); /* listeners are off, devices gone */
    void (*vcpus_resume)(Machine *machine);
    /* Returns when every vCPU is out of KVM_RUN and of all handlers. */
    void (*vcpus_pause)(Machine *machine);
    /* Registers of all vCPUs to power-on (the boot code then sets the first one's). vCPUs paused.
     */
    void (*vcpus_reset)(Machine *machine);

    /* A vCPU more, or one less, after create_vcpus; NULL in accelerators without vCPUs. add: under
     * the topology lock, remove: not under it while vCPUs run. Main thread. */
    bool (*vcpu_add)(Machine *machine, unsigned index, GError **error);
    void (*vcpu_remove)(Machine *machine, unsigned index);

    /* The first vCPU's registers for the boot; after vcpus_reset. */
    void (*vcpu_set_boot)(Machine *machine, const BootCpu *boot);

    void (*gsi_set)(Machine *machine, unsigned gsi, int level); /* any thread */
    /* The accelerator's own 8254 gives no interrupts, or again; NULL: it has none. Any thread. */
    void (*timer_silence)(Machine *machine, bool on);
    void (*msi_send)(Machine *machine, MsiMessage message); /* any thread */
    bool (*gsi_attach_irqfd)(Machine *machine, unsigned gsi, int fd, int resample_fd,
                             GError **error);
    void (*gsi_detach_irqfd)(Machine *machine, unsigned gsi, int fd);

    bool (*msi_route_bind)(Machine *machine, MsiRoute *route,
                           GError **error);                      /* message set, notifier open */
    void (*msi_route_update)(Machine *machine, MsiRoute *route); /* message changed; vCPU thread */
    void (*msi_route_unbind)(Machine *machine, MsiRoute *route);

    /* IRQCHIP_SPLIT only; NULL in accelerators without. The chip stays where it is; main thread. */
    void (*user_irqchip_set)(Machine *machine, const UserIrqchip *chip);
    void (*extint_set)(Machine *machine, int level); /* the PIC's output; any thread */
    /* What an unmasked IOAPIC pin sends, so that KVM knows whose end of interrupt to report. */
    void (*ioapic_pin_set)(Machine *machine, unsigned pin, MsiMessage message);

    void (*nmi)(Machine *machine);
    /* Whether there can be system management mode; after init, before the board has devices. */
    bool (*smm_enable)(Machine *machine, GError **error);
    /* A system management interrupt: to the vCPU whose access the calling thread handles, or else
     * the first one; with all, to every vCPU. Any thread, a device's lock may be held. */
    void (*smi)(Machine *machine, bool all);
    /* What SMBIOS calls a processor's ID: leaf 1 of CPUID, EAX and above it EDX. NULL: 0. */
    uint64_t (*processor_id)(const Machine *machine);
    /* What `info registers` and internal errors print, for vCPU index. vCPUs paused. */
    void (*vcpu_dump)(Machine *machine, unsigned index, GString *out);
    /* Saves and loads all vCPUs' and in-kernel chips' state. vCPUs paused. */
    void (*save)(Machine *machine, GByteArray *out);
    bool (*load)(Machine *machine, const uint8_t **cursor, const uint8_t *end, GError **error);
    /* What vCPUs write to a block is logged; sync marks it by ram_block_mark_dirty(). NULL in
     * accelerators whose vCPUs do not write. Main thread. */
    bool (*dirty_log_start)(Machine *machine, RamBlock *block, GError **error);
    void (*dirty_log_stop)(Machine *machine, RamBlock *block);
    void (*dirty_log_sync)(Machine *machine, RamBlock *block);
    int (*vcpu_thread_id)(Machine *machine, unsigned index);
    const AccelDebugOps *debug; /* NULL: there are no vCPUs to debug */
    const AccelExitOps *exits;  /* NULL: there are no vCPUs */
    /* AccelStat * of a vCPU that is there, or of the machine (-1): none where the kernel keeps
     * none. NULL and error. Main thread; NULL in accelerators without a kernel. */
    GPtrArray *(*stats)(Machine *machine, int vcpu, GError **error);
} AccelOps;

extern const AccelOps kvm_accel;
extern const AccelOps qtest_accel;

/* ---- Convenience over the ops, used by devices ---- */

/* A route with an open notifier, bound to nothing until the message is set. */
MsiRoute *msi_route_new(Machine *machine, GError **error);
/* Sets or changes the message and makes the route live. Topology lock, or the device's. */
void msi_route_set(MsiRoute *route, MsiMessage message);
/* While masked the notifier collects and is not delivered; unmask delivers what came (the caller
 * keeps the pending bit). */
void msi_route_disable(MsiRoute *route);
void msi_route_free(MsiRoute *route);
void msi_route_signal(MsiRoute *route); /* any thread */

#endif
