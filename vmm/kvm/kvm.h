/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to vmm/kvm: the VM, its vCPUs, and what the architecture's part (x86/) offers to the
 * common part. Public is only `kvm_accel` (vmm/machine/accel.h).
 */
#ifndef VMM_KVM_KVM_H
#define VMM_KVM_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include "vmm/error.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/machine.h"
#include "vmm/memory/address_space.h"

/* Asks a vCPU thread to come out of KVM_RUN. Only vCPU threads have a use for it. */
#define KVM_KICK_SIGNAL SIGRTMIN

/* What a vCPU thread does before it enters the guest again: bits of KvmVcpu.requests. */
enum {
    VCPU_REQUEST_PARK = 1 << 0,    /* stay out until vcpus_resume() */
    VCPU_REQUEST_INHIBIT = 1 << 1, /* stay out while memory slots change */
    VCPU_REQUEST_EXIT = 1 << 2,    /* end the thread */
    VCPU_REQUEST_NMI = 1 << 3,     /* inject an NMI */
    VCPU_REQUEST_EXTINT = 1 << 4,  /* split irqchip: the user PIC's output rose */
    VCPU_REQUEST_SMI = 1 << 5,     /* inject a system management interrupt */
};

typedef struct KvmState KvmState;
typedef struct KvmArch KvmArch; /* the architecture's own */

typedef struct KvmVcpu {
    /* What the run loop touches at every exit stands together. */
    int fd;
    unsigned requests; /* atomic */
    unsigned in_guest; /* atomic: set around KVM_RUN */
    bool extint;       /* this vCPU takes the user PIC's interrupts */
    struct kvm_run *run;
    AddressSpace *io;
    AddressSpace *memory;
    DispatchCache io_cache;
    DispatchCache memory_cache;
    AddressSpace *smm_memory; /* in system management mode; NULL: there is none */
    DispatchCache smm_cache;
    KvmState *kvm;
    VcpuExits *exits; /* its thread's; from the first vcpu_prepare() on */

    unsigned index;
    int stats_fd;     /* -1: none */
    uint32_t arch_id; /* x86: the APIC id, which is KVM's vCPU id too */
    size_t run_size;
    pthread_t thread;
    int thread_id;
    bool thread_started;
    bool parked;          /* under KvmState.lock */
    bool plugged;         /* under KvmState.lock: it exists for the guest; fd stays open after */
    DebugRun debug_run;   /* changed while it is parked */
    DebugStop debug_stop; /* its own thread, or anybody while it is parked */
} KvmVcpu;

typedef struct KvmSlot {
    uint32_t id; /* with the address space in bits 31:16 */
    uint64_t start, size;
    uint64_t host;
    bool readonly;
    bool logging; /* KVM_MEM_LOG_DIRTY_PAGES is set */
} KvmSlot;

typedef struct KvmDoorbell {
    IoEventFd eventfd;
    uint32_t flags;
} KvmDoorbell;

/* KVM's address spaces. */
enum {
    KVM_SPACE_ORDINARY,
    KVM_SPACE_SMM,
    KVM_SPACE_COUNT,
};

/* Memory slots of one of them: what the address space's listener said, and what KVM has. Topology
 * lock. */
typedef struct KvmSlots {
    KvmState *kvm;
    unsigned space; /* KVM_SPACE_... */
    GArray *ranges; /* KvmSlot without ids: as the listener's calls left them */
    GArray *slots;  /* KvmSlot, sorted by start: as KVM has them */
    uint64_t *used; /* bitmap of slot ids */
    bool changed;
    MemListener listener;
} KvmSlots;

typedef struct KvmMemory {
    KvmSlots spaces[KVM_SPACE_COUNT];
    GPtrArray *logged; /* RamBlock whose dirty logs are on */
    unsigned max_slots;
    GArray *doorbells; /* KvmDoorbell to be added after the slots */
    bool started;      /* the machine is made: doorbells are added at each commit */
    MemListener io_listener;
} KvmMemory;

/* The GSI routing table; lock is a leaf. */
typedef struct KvmRouting {
    GMutex lock;
    struct kvm_irq_routing *table;
    unsigned allocated, max_routes;
    uint64_t *used_gsi; /* bitmap */
    unsigned max_gsi;
    GArray *pending_irqfds; /* struct kvm_irqfd, until the irqchip is there */
    bool ready;             /* the irqchip exists; set once, before vCPUs run */
    bool dirty;
} KvmRouting;

struct KvmState {
    Machine *machine;
    int dev_fd, vm_fd;
    int vm_stats_fd; /* -1: none */
    size_t run_size;
    KvmVcpu *vcpus;
    unsigned vcpu_count; /* places, -smp's maxcpus; not all are plugged */
    GMutex lock;         /* parking and inhibiting; leaf */
    GCond parked_cond, resume_cond;
    unsigned inhibit_depth; /* under lock */
    bool paused;            /* main thread */
    bool fresh;             /* no vCPU has run since it was created */
    char *failure;          /* a listener's error while the machine was made */
    KvmMemory mem;
    KvmRouting routing;
    KvmArch *arch;
};

/* ---- kvm.c ---- */
int kvm_ioctl(int fd, unsigned long request, const void *arg); /* 0 or more, or -errno */
int kvm_check_cap(const KvmState *kvm, int cap);               /* 0: absent */
/* False with an error that names the capability and what it is for. */
bool kvm_require_cap(const KvmState *kvm, int cap, const char *name, const char *purpose,
                     GError **error);
/* A change that KVM refused after the machine was made: said once, and the machine ends. */
void kvm_fail(KvmState *kvm, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* ---- memory.c: topology lock ---- */
void kvm_memory_init(KvmState *kvm);
void kvm_memory_attach(KvmState *kvm);  /* listeners on; KVM gets the present memory map */
void kvm_memory_start(KvmState *kvm);   /* ... and the doorbells */
void kvm_memory_cleanup(KvmState *kvm); /* no listener is left */

int kvm_memory_set_slot(KvmState *kvm, const KvmSlot *slot, uint64_t size); /* 0: delete */

/* ---- dirty.c ---- */
bool kvm_dirty_wanted(const KvmMemory *mem, const KvmSlot *slot); /* topology lock */
/* Marks what vCPUs wrote to the slot since the last time. Topology lock. */
void kvm_dirty_collect(KvmState *kvm, const KvmSlot *slot);
bool kvm_dirty_log_start(Machine *machine, RamBlock *block, GError **error);
void kvm_dirty_log_stop(Machine *machine, RamBlock *block);
void kvm_dirty_log_sync(Machine *machine, RamBlock *block);

/* ---- irq.c ---- */
void kvm_routing_init(KvmState *kvm);
void kvm_routing_cleanup(KvmState *kvm);
/* Adds an entry to the table, which kvm_routing_commit() gives to KVM. */
void kvm_routing_add_irqchip(KvmState *kvm, unsigned gsi, unsigned chip, unsigned pin);
void kvm_routing_set_msi(KvmState *kvm, unsigned gsi, const MsiMessage *message);
bool kvm_routing_remove(KvmState *kvm, unsigned gsi);
bool kvm_routing_commit(KvmState *kvm, GError **error);
/* The irqchip exists: pending irqfds are attached. Main thread. */
bool kvm_routing_start(KvmState *kvm, GError **error);
void kvm_gsi_set(Machine *machine, unsigned gsi, int level);
void kvm_msi_send(Machine *machine, MsiMessage message);
bool kvm_gsi_attach_irqfd(Machine *machine, unsigned gsi, int fd, int resample_fd, GError **error);
void kvm_gsi_detach_irqfd(Machine *machine, unsigned gsi, int fd);
bool kvm_msi_route_bind(Machine *machine, MsiRoute *route, GError **error);
void kvm_msi_route_update(Machine *machine, MsiRoute *route);
void kvm_msi_route_unbind(Machine *machine, MsiRoute *route);

/* ---- exits.c: any thread ---- */
const char *kvm_exit_name(unsigned reason); /* a constant */
extern const AccelExitOps kvm_exit_ops;

/* ---- stats.c ---- */
GPtrArray *kvm_stats(Machine *machine, int vcpu, GError **error); /* AccelOps */
/* The file of a VM's or vCPU's statistics, or -1. Not later, when vCPUs run: KVM does not answer
 * ioctls of a vCPU that is in the guest. */
int kvm_stats_open(const KvmState *kvm, int fd);

/* ---- vcpu.c ---- */
bool kvm_vcpus_create(KvmState *kvm, GError **error); /* parked threads; main thread */
void kvm_vcpus_destroy(KvmState *kvm);
bool kvm_vcpu_add(Machine *machine, unsigned index, GError **error);
void kvm_vcpu_remove(Machine *machine, unsigned index);
void kvm_vcpus_pause(Machine *machine);
void kvm_vcpus_resume(Machine *machine);
/* Keeps all vCPUs out of the guest between the two calls; nests; a vCPU thread in a handler may
 * call it. */
void kvm_vcpus_inhibit(KvmState *kvm);
void kvm_vcpus_uninhibit(KvmState *kvm);
void kvm_vcpu_request(KvmVcpu *vcpu, unsigned request); /* any thread */
void kvm_smi(Machine *machine, bool all);               /* AccelOps */
/* Reports why the vCPU cannot go on, parks it and tells the machine. Its own thread. */
void kvm_vcpu_internal_error(KvmVcpu *vcpu, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* ---- The architecture's part: main thread unless said otherwise ---- */
bool kvm_arch_init(KvmState *kvm, GError **error); /* VM exists, no memory yet */
void kvm_arch_cleanup(KvmState *kvm);
bool kvm_arch_create_irqchip(KvmState *kvm, GError **error); /* memory slots are there */
uint32_t kvm_arch_vcpu_id(KvmState *kvm, unsigned index);
bool kvm_arch_init_vcpu(KvmVcpu *vcpu, GError **error); /* fd and run are there */
/* A vCPU comes while others run, new or there before: in its power-on state. */
bool kvm_arch_vcpu_plugged(KvmVcpu *vcpu, GError **error);
void kvm_arch_vcpus_reset(KvmState *kvm);
void kvm_arch_vcpu_set_boot(KvmVcpu *vcpu, const BootCpu *boot);
void kvm_arch_paused(KvmState *kvm); /* all vCPUs are parked */
void kvm_arch_resuming(KvmState *kvm);
void kvm_arch_vcpu_dump(KvmVcpu *vcpu, GString *out);
void kvm_arch_save(KvmState *kvm, GByteArray *out);
bool kvm_arch_load(KvmState *kvm, const uint8_t **cursor, const uint8_t *end, GError **error);
/* The vCPU's thread: before KVM_RUN with a user PIC; requests of the architecture. */
void kvm_arch_before_run(KvmVcpu *vcpu);
void kvm_arch_vcpu_nmi(KvmVcpu *vcpu); /* the vCPU's thread */
/* The vCPU's thread. False: not an exit of this architecture. */
bool kvm_arch_handle_exit(KvmVcpu *vcpu);
/* The vCPU's thread: whether an instruction that KVM could not emulate is a breakpoint of gdb. */
bool kvm_arch_failed_at_breakpoint(KvmVcpu *vcpu);
extern const AccelDebugOps kvm_arch_debug;
uint64_t kvm_arch_processor_id(const Machine *machine); /* AccelOps */
/* AccelOps of a split irqchip. */
void kvm_arch_user_irqchip_set(Machine *machine, const UserIrqchip *chip);
void kvm_arch_extint_set(Machine *machine, int level);
void kvm_arch_timer_silence(Machine *machine, bool on); /* AccelOps; also of no split irqchip */
void kvm_arch_ioapic_pin_set(Machine *machine, unsigned pin, MsiMessage message);
/* Rewrites a guest's message for KVM (extended destination ids). Any thread. */
MsiMessage kvm_arch_fix_msi(KvmState *kvm, MsiMessage message);

#endif
