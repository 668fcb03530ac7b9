/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine: what the command line asked for, its memory, buses and devices, and its life (create,
 * run, pause, reset, shut down). The board (hw/board) builds the hardware. Requests may come from
 * any thread; the main thread carries them out.
 */
#ifndef VMM_MACHINE_MACHINE_H
#define VMM_MACHINE_MACHINE_H

#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include "vmm/device/device.h"
#include "vmm/event/loop.h"
#include "vmm/memory/address_space.h"

typedef struct AccelOps AccelOps;
typedef struct MachineClass MachineClass;
typedef struct MachineLife MachineLife;
typedef struct NumaConfig NumaConfig;

/* QEMU's RunState names: "running", "paused", "prelaunch", "shutdown", "internal-error",
 * "io-error", "guest-panicked" ... */
typedef enum RunState {
    RUN_STATE_PRELAUNCH,
    RUN_STATE_RUNNING,
    RUN_STATE_PAUSED,
    RUN_STATE_SHUTDOWN,
    RUN_STATE_INTERNAL_ERROR,
    RUN_STATE_IO_ERROR,
    RUN_STATE_GUEST_PANICKED,
    RUN_STATE_WATCHDOG,
    RUN_STATE_SAVE_VM,
    RUN_STATE_RESTORE_VM,
    RUN_STATE_DEBUG,     /* at a break- or watchpoint, or after a step, of gdb */
    RUN_STATE_SUSPENDED, /* the guest sleeps in S3: vCPUs are parked, clocks and devices go on */
    RUN_STATE_COUNT,
} RunState;

/* QEMU's ShutdownCause, also the `reason` of RESET and SHUTDOWN events. */
typedef enum ShutdownCause {
    SHUTDOWN_CAUSE_NONE,
    SHUTDOWN_CAUSE_HOST_ERROR,
    SHUTDOWN_CAUSE_HOST_QMP_QUIT,
    SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET,
    SHUTDOWN_CAUSE_HOST_SIGNAL,
    SHUTDOWN_CAUSE_HOST_UI,
    SHUTDOWN_CAUSE_GUEST_SHUTDOWN,
    SHUTDOWN_CAUSE_GUEST_RESET,
    SHUTDOWN_CAUSE_GUEST_PANIC,
    SHUTDOWN_CAUSE_COUNT,
} ShutdownCause;

/* What ends a guest's sleep. */
typedef enum WakeupReason {
    WAKEUP_NONE,
    WAKEUP_OTHER, /* a user */
    WAKEUP_RTC,
    WAKEUP_PM_TIMER,
} WakeupReason;

typedef struct SmpConfig {
    unsigned cpus, maxcpus, sockets, dies, cores, threads;
} SmpConfig;

/* -boot. */
typedef struct BootConfig {
    char *order, *once; /* letters a to p, or NULL: the board's own, no other the first time */
    char *splash;       /* a picture's file, or NULL */
    int splash_time;    /* ms, -1: not said */
    int reboot_timeout; /* ms after which a boot that failed is tried again, -1: never */
    bool menu, strict;
    bool any_floppy; /* -no-fd-bootchk: a floppy's boot sector needs no signature */
} BootConfig;

/* What the machine does when its guest restarts, ends or fails: -action, QMP set-action. */
typedef struct LifeActions {
    bool reboot_exits;    /* -no-reboot: reboot=shutdown */
    bool shutdown_pauses; /* -no-shutdown: shutdown=pause */
    enum { PANIC_SHUTDOWN, PANIC_PAUSE, PANIC_NONE, PANIC_EXIT_FAILURE } panic;
} LifeActions;

/* What the command line says of the machine; filled by vmm/cli, constant afterwards. */
typedef struct MachineConfig {
    const MachineClass *cls;
    json_object *machine_props; /* -machine key=value, without type and the generic ones below */
    const char *accel;          /* "kvm" or "qtest" */
    bool irqchip_split, irqchip_off, pit_off;
    uint64_t ram_size, ram_max;
    unsigned ram_slots;
    const char *memory_backend; /* -machine memory-backend=ID, or NULL */
    bool mem_prealloc, mem_share, mem_merge, mem_dump;
    bool mem_lock; /* -overcommit: the process's memory stays in RAM */
    bool cpu_pm;   /* -overcommit: vCPUs idle without an exit */
    const char *mem_path;
    SmpConfig smp;
    GPtrArray *vcpu_pins;  /* VcpuPin * (cpus.h), or NULL */
    NumaConfig *numa;      /* NULL: no -numa */
    bool hmat;             /* -machine hmat=on: ACPI tells latencies and bandwidths */
    const char *cpu_model; /* "host,+x2apic,-avx2": whole text of -cpu, or NULL */
    const char *kernel, *initrd, *append, *bios;
    const char *name;
    uint8_t uuid[16];
    bool has_uuid;
    BootConfig boot;
    GPtrArray *smbios;      /* Opts * of each -smbios */
    GPtrArray *fw_cfg;      /* Opts * of each -fw_cfg: name, file or string */
    GPtrArray *option_roms; /* OptionRom * (boot_order.h), or NULL */
    bool nographic;
    bool no_acpi, no_hpet;
    LifeActions actions;
    int64_t rtc_offset_ns; /* of the guest's clock from the base clock */
    bool rtc_localtime;
    VmClock rtc_clock;
    int64_t rtc_base;  /* seconds since 1970 to start from, or -1: now */
    bool start_paused; /* -S */
    bool nodefaults;
    const char *parallel[3]; /* chardev ids for LPT1 to LPT3, NULL: no port */
    const char *serial[4];   /* chardev ids for COM1 to COM4, NULL: no port */
    const char *debugcon;    /* chardev id, or NULL */
} MachineConfig;

/* A device of the board with a name of its own in the tree of objects: /machine/NAME. */
typedef struct BoardDevice {
    const char *name; /* NULL ends the table */
    const char *driver;
} BoardDevice;

/* Boards: a constant table each, listed in hw/devices.c (hw/board). */
struct MachineClass {
    const char *name;  /* "pc-q35-7.2" ... */
    const char *alias; /* "q35" */
    const char *desc;
    bool is_default;
    bool bare; /* has neither memory nor vCPUs */
    /* What this version has otherwise than the newest (vmm/device/device.h); NULL: nothing. */
    const CompatProp *const *compat;
    bool prefer_sockets; /* vCPUs that -smp does not place are sockets, not cores */
    unsigned max_cpus;
    bool cpu_hotplug; /* its guests are told of vCPUs that come and go */
    size_t size;      /* of the board's struct at machine->board */
    const Property *props;
    const BoardDevice *named; /* NULL: none */
    /* Builds the board: RAM placed, buses and built-in devices realized. -device comes later. */
    bool (*build)(Machine *machine, GError **error);
    /* All devices are there: load the kernel or firmware, make tables (ACPI, SMBIOS). Called once.
     */
    bool (*finish)(Machine *machine, GError **error);
    /* After devices were reset, before the memory map is published: what firmware finds, or without
     * one what it would leave. Topology lock. False: it was said, and the machine ends. NULL:
     * nothing. */
    bool (*reset)(Machine *machine);
    /* The map is there: boot data and the first vCPU's registers. Topology lock. NULL: nothing. */
    void (*boot)(Machine *machine);
    /* Which drives (letters) are tried from the next reset on. Main thread. False: one of them
     * cannot be. NULL: the board keeps no such order. */
    bool (*set_boot_order)(Machine *machine, const char *order, GError **error);
    void (*destroy)(Machine *machine);
    const char *default_nic;   /* the model of `-nic model=` when none is named */
    const char *default_disk;  /* if= of -drive when none is named: "virtio" ... */
    const char *virtio_suffix; /* "-pci" or "-device" */
    unsigned ide_units; /* drives of one IDE bus "ide.N": 2 channels' or 1 SATA port's; 0: no IDE */
    bool has_flash;     /* takes -drive if=pflash */
    const char *default_firmware; /* the image when no kernel and no -bios is given, or NULL */
    bool firmware_in_ram;         /* the image can be written: there is no shadow RAM */
};

typedef void MachineNotify(void *opaque, RunState state, bool running);

struct Machine {
    const MachineConfig *config;
    const MachineClass *cls;
    void *board;
    const AccelOps *accel;
    void *accel_data;
    int irqchip; /* IrqchipMode */
    AddressSpace *memory;
    AddressSpace *io;
    AddressSpace *smm_memory; /* what vCPUs in system management mode see: a view of memory; NULL:
                                 the machine has no such mode */
    RamBlock *ram;            /* the main memory */
    uint64_t ram_below_4g;    /* bytes at address 0; the rest is at 4 GiB */
    uint64_t ram_above_4g;
    uint64_t device_memory_base, device_memory_size; /* where pc-dimms go; 0: nowhere */
    uint64_t plugged_memory;                         /* bytes of them that are there */
    GPtrArray *buses;                                /* all Bus *, in order of creation */
    GPtrArray *devices; /* the machine's devices on no bus or on its own buses, in order */
    EventLoop *io_loop; /* the I/O thread shared by devices whose user named none; machine_io_loop()
                           makes it */
    bool can_sleep;     /* the guest is told of S3 */
    IrqLine *gsi;       /* gsi_count input lines of the interrupt controllers, GSI n at [n] */
    unsigned gsi_count;
    bool finished;           /* machine_finish() was: what comes now is hotplugged */
    bool cpus_fixed;         /* atomic: the firmware manages the vCPUs that there are, no others */
    struct MachineCpu *cpus; /* by index, maxcpus of them; vmm/machine/cpus.h */
    /* private to vmm/machine */
    GRecMutex topology;
    MachineLife *life;
};

/* ---- Making and running: main thread ---- */
void machine_classes_register(const MachineClass *const *classes); /* NULL-terminated */
const MachineClass *machine_class_find(const char *name_or_alias);
const MachineClass *machine_class_default(void);
char *machine_class_suggest(const char *name); /* the nearest name, or NULL */
void machine_class_foreach(void (*fn)(const MachineClass *cls, void *opaque), void *opaque);

Machine *machine_new(const MachineConfig *config, GError **error); /* accelerator up, board built */
/* The machine gets system management mode: a board's build, before its devices. */
bool machine_enable_smm(Machine *machine, GError **error);
bool machine_finish(Machine *machine,
                    GError **error); /* after -device: finish, vCPUs, first reset */
void machine_free(Machine *machine);
/* Runs the GLib main loop until quit; the process's exit status. */
int machine_run(Machine *machine);
Machine *machine_get(void); /* the one of this process, or NULL; any thread */

bool machine_cont(Machine *machine, GError **error); /* QMP cont */
LifeActions machine_actions(const Machine *machine);
void machine_set_actions(Machine *machine, LifeActions actions); /* QMP set-action */
void machine_stop(Machine *machine,
                  RunState state); /* pauses: vCPUs out, then I/O quiesced; returns when it is so */
/* Stands still, and goes on at the release if it ran and nobody has stopped it meanwhile. */
void machine_hold(Machine *machine);
void machine_release(Machine *machine);
RunState machine_run_state(const Machine *machine); /* any thread */
bool machine_is_running(const Machine *machine);    /* any thread */
const char *run_state_name(RunState state);
const char *shutdown_cause_name(ShutdownCause cause); /* "guest-reset" ... */

/* The I/O thread that devices share when the user named none; started at the first call. Main
 * thread. */
EventLoop *machine_io_loop(Machine *machine, GError **error);

/* ---- Requests: any thread; carried out by the main thread soon ---- */
void machine_request_reset(Machine *machine, ShutdownCause cause);
void machine_request_shutdown(Machine *machine, ShutdownCause cause);
void machine_request_exit(Machine *machine,
                          int status); /* isa-debug-exit: ends the process with this status */
void machine_request_powerdown(Machine *machine); /* the power button */
void machine_request_stop(Machine *machine, RunState state);
/* The guest goes to sleep (ACPI S3). `wakers`: a bit (1 << reason) for each reason besides a user's
 * that ends the sleep. */
void machine_request_suspend(Machine *machine, unsigned wakers);
void machine_request_wakeup(Machine *machine, WakeupReason reason); /* nothing when awake */
void machine_guest_panicked(Machine *machine,
                            bool crashloaded); /* pvpanic, KVM crash: event and -action panic */
void machine_internal_error(Machine *machine,
                            unsigned vcpu); /* the vCPU stopped: prints and follows -action */

/* ---- Notifiers: main thread ---- */
void machine_add_run_notifier(Machine *machine, MachineNotify *fn,
                              void *opaque); /* running changed */
void machine_remove_run_notifier(Machine *machine, MachineNotify *fn, void *opaque);
void machine_add_powerdown_notifier(Machine *machine, void (*fn)(void *opaque), void *opaque);
void machine_remove_powerdown_notifier(Machine *machine, void (*fn)(void *opaque), void *opaque);
/* The guest has gone to sleep; vCPUs are parked. */
void machine_add_suspend_notifier(Machine *machine, void (*fn)(void *opaque), void *opaque);
void machine_remove_suspend_notifier(Machine *machine, void (*fn)(void *opaque), void *opaque);
/* Why, in the reset that wakes a sleeping guest; WAKEUP_NONE in any other. Main thread. */
WakeupReason machine_waking(const Machine *machine);

/* ---- Topology: order: topology -> device -> back end; recursive ---- */
void machine_topology_lock(Machine *machine);
void machine_topology_unlock(Machine *machine);
bool machine_topology_held(const Machine *machine); /* for assertions */

#endif
