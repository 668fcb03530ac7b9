/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a machine: running, paused, reset, shut down; requests from any thread, carried out
 * by the main thread. */
#include "vmm/machine/life.h"

#include <stdlib.h>
#include "vmm/log.h"
#include "vmm/machine/accel.h"
#include "vmm/machine/cpus.h"
#include "vmm/monitor/monitor.h"
#include "vmm/trace/trace-machine.h"

typedef struct RunNotifier {
    MachineNotify *fn;
    void *opaque;
} RunNotifier;

typedef struct PlainNotifier {
    void (*fn)(void *opaque);
    void *opaque;
} PlainNotifier;

/* What is asked for and not yet done. */
typedef struct Requests {
    ShutdownCause reset;    /* NONE: no reset */
    ShutdownCause shutdown; /* NONE: no shutdown */
    bool powerdown;
    bool panicked;
    bool crashloaded;
    bool internal_error;
    unsigned error_vcpu;
    bool stop;
    RunState stop_state;
    bool suspend;
    unsigned wakers;
    WakeupReason wakeup;
    bool exit;
    int exit_status;
} Requests;

struct MachineLife {
    GMutex lock; /* protects requests; a leaf */
    Requests requests;
    LoopTask task;
    gint state;   /* RunState, atomic */
    gint running; /* atomic */
    GMainLoop *main;
    bool quit;
    int exit_status;
    GArray *run_notifiers;       /* RunNotifier */
    GArray *powerdown_notifiers; /* PlainNotifier */
    GArray *suspend_notifiers;   /* PlainNotifier */
    unsigned wakers;             /* of the present sleep */
    WakeupReason waking;
    LifeActions actions;
    bool held;
};

static const char *const run_state_names[RUN_STATE_COUNT] = {
    [RUN_STATE_PRELAUNCH] = "prelaunch",
    [RUN_STATE_RUNNING] = "running",
    [RUN_STATE_PAUSED] = "paused",
    [RUN_STATE_SHUTDOWN] = "shutdown",
    [RUN_STATE_INTERNAL_ERROR] = "internal-error",
    [RUN_STATE_IO_ERROR] = "io-error",
    [RUN_STATE_GUEST_PANICKED] = "guest-panicked",
    [RUN_STATE_WATCHDOG] = "watchdog",
    [RUN_STATE_SAVE_VM] = "save-vm",
    [RUN_STATE_RESTORE_VM] = "restore-vm",
    [RUN_STATE_DEBUG] = "debug",
    [RUN_STATE_SUSPENDED] = "suspended",
};

static const char *const shutdown_cause_names[SHUTDOWN_CAUSE_COUNT] = {
    [SHUTDOWN_CAUSE_NONE] = "none",
    [SHUTDOWN_CAUSE_HOST_ERROR] = "host-error",
    [SHUTDOWN_CAUSE_HOST_QMP_QUIT] = "host-qmp-quit",
    [SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET] = "host-qmp-system-reset",
    [SHUTDOWN_CAUSE_HOST_SIGNAL] = "host-signal",
    [SHUTDOWN_CAUSE_HOST_UI] = "host-ui",
    [SHUTDOWN_CAUSE_GUEST_SHUTDOWN] = "guest-shutdown",
    [SHUTDOWN_CAUSE_GUEST_RESET] = "guest-reset",
    [SHUTDOWN_CAUSE_GUEST_PANIC] = "guest-panic",
};

const char *run_state_name(RunState state)
{
    return run_state_names[state];
}

const char *shutdown_cause_name(ShutdownCause cause)
{
    return shutdown_cause_names[cause];
}

static bool cause_is_guest(ShutdownCause cause)
{
    return cause >= SHUTDOWN_CAUSE_GUEST_SHUTDOWN;
}

RunState machine_run_state(const Machine *machine)
{
    return (RunState)g_atomic_int_get(&machine->life->state);
}

bool machine_is_running(const Machine *machine)
{
    return g_atomic_int_get(&machine->life->running);
}

/* ---- Running and pausing ---- */

static void set_state(Machine *machine, RunState state, bool running)
{
    MachineLife *life = machine->life;
    g_atomic_int_set(&life->state, state);
    g_atomic_int_set(&life->running, running);
    trace_runstate_set(run_state_name(state), running);
    for (guint i = 0; i < life->run_notifiers->len; i++) {
        RunNotifier *notifier = &g_array_index(life->run_notifiers, RunNotifier, i);
        notifier->fn(notifier->opaque, state, running);
    }
}

/* vCPUs first, then what devices have in flight: afterwards nothing of the machine moves. */
static void halt(Machine *machine)
{
    trace_machine_halt();
    machine->accel->vcpus_pause(machine);
    clock_virtual_run(false);
    devices_quiesce(machine);
    trace_machine_halted();
}

static void unhalt(Machine *machine)
{
    trace_machine_unhalt();
    devices_resume(machine);
    clock_virtual_run(true);
    machine->accel->vcpus_resume(machine);
}

void machine_halt(Machine *machine)
{
    if (machine_is_running(machine)) {
        halt(machine);
    }
}

void machine_unhalt(Machine *machine)
{
    if (machine_is_running(machine)) {
        unhalt(machine);
    }
}

void machine_stop(Machine *machine, RunState state)
{
    if (machine_run_state(machine) == RUN_STATE_SUSPENDED) {
        return; /* it stays asleep */
    }
    if (!machine_is_running(machine)) {
        g_atomic_int_set(&machine->life->state, state);
        return;
    }
    halt(machine);
    set_state(machine, state, false);
    monitor_emit("STOP", NULL);
}

bool machine_cont(Machine *machine, GError **error)
{
    RunState state = machine_run_state(machine);
    if (machine_is_running(machine) || state == RUN_STATE_SUSPENDED) {
        return true;
    }
    if (state == RUN_STATE_INTERNAL_ERROR || state == RUN_STATE_SHUTDOWN) {
        return error_set(error, "the machine has ended: reset it first (system_reset)");
    }
    if (machine->life->held) {
        return error_set(error, "its memory is being dumped: it can go on when that has ended");
    }
    set_state(machine, RUN_STATE_RUNNING, true);
    unhalt(machine);
    monitor_emit("RESUME", NULL);
    return true;
}

void machine_hold(Machine *machine)
{
    machine->life->held = true;
    if (machine_is_running(machine)) {
        machine_stop(machine, RUN_STATE_SAVE_VM);
    }
}

void machine_release(Machine *machine)
{
    machine->life->held = false;
    if (machine_run_state(machine) == RUN_STATE_SAVE_VM) {
        machine_cont(machine, NULL);
    }
}

/* ---- Reset and shutdown ---- */

static void reset_devices(Machine *machine)
{
    for (guint i = 0; i < machine->devices->len; i++) {
        device_reset(g_ptr_array_index(machine->devices, i));
    }
    for (guint i = 0; i < machine->buses->len; i++) {
        Bus *bus = g_ptr_array_index(machine->buses, i);
        for (guint j = 0; !bus->parent && j < bus->children->len; j++) {
            device_reset(g_ptr_array_index(bus->children, j));
        }
    }
}

/* -d cpu_reset */
static void log_vcpus(Machine *machine)
{
    if (!log_wants(LOG_CPU_RESET)) {
        return;
    }
    g_autoptr(GString) text = g_string_new("before a reset:\n");
    for (unsigned i = 0; i < machine->config->smp.maxcpus; i++) {
        if (machine_cpu_present(machine, i)) {
            machine->accel->vcpu_dump(machine, i, text);
        }
    }
    log_text(text->str);
}

/* One change of the map for all: what a reset closes and the board opens again stays in the
 * accelerator as it is. Deleting a memory slot takes KVM milliseconds. */
void machine_reset_now(Machine *machine)
{
    machine_halt(machine);
    machine_topology_lock(machine);
    address_space_begin(machine->io);
    address_space_begin(machine->memory);
    log_vcpus(machine);
    reset_devices(machine);
    machine->accel->vcpus_reset(machine);
    bool ok = !machine->cls->reset || machine->cls->reset(machine);
    address_space_commit(machine->memory); /* slots, then doorbells */
    address_space_commit(machine->io);
    if (ok && machine->cls->boot) {
        machine->cls->boot(machine);
    }
    machine_topology_unlock(machine);
    machine_unhalt(machine);
    trace_machine_reset_done();
}

static json_object *cause_data(ShutdownCause cause)
{
    json_object *data = json_object_new_object();
    json_object_object_add(data, "guest", json_object_new_boolean(cause_is_guest(cause)));
    json_object_object_add(data, "reason", json_object_new_string(shutdown_cause_name(cause)));
    return data;
}

static void quit(Machine *machine, int status)
{
    MachineLife *life = machine->life;
    if (!life->quit) {
        life->quit = true;
        life->exit_status = status;
    }
    if (life->main) {
        g_main_loop_quit(life->main);
    }
}

/* ---- Sleep ---- */

static void notify(GArray *notifiers)
{
    for (guint i = 0; i < notifiers->len; i++) {
        PlainNotifier *notifier = &g_array_index(notifiers, PlainNotifier, i);
        notifier->fn(notifier->opaque);
    }
}

/* Only the vCPUs rest: what wakes the guest goes on. */
static void do_suspend(Machine *machine, unsigned wakers)
{
    if (!machine_is_running(machine)) {
        return;
    }
    machine->accel->vcpus_pause(machine);
    trace_machine_suspend(wakers);
    machine->life->wakers = wakers | 1U << WAKEUP_OTHER;
    notify(machine->life->suspend_notifiers);
    set_state(machine, RUN_STATE_SUSPENDED, false);
    monitor_emit("SUSPEND", NULL);
}

/* Through a reset that leaves RAM alone: the firmware finds the way back into the system. */
static void leave_sleep(Machine *machine, WakeupReason reason)
{
    MachineLife *life = machine->life;
    halt(machine);
    life->waking = reason;
    machine_reset_now(machine);
    life->waking = WAKEUP_NONE;
    set_state(machine, RUN_STATE_RUNNING, true);
    unhalt(machine);
}

static void do_wakeup(Machine *machine, WakeupReason reason)
{
    if (machine_run_state(machine) == RUN_STATE_SUSPENDED && machine->life->wakers & 1U << reason) {
        trace_machine_wakeup(reason);
        leave_sleep(machine, reason);
        monitor_emit("WAKEUP", NULL);
    }
}

WakeupReason machine_waking(const Machine *machine)
{
    return machine->life->waking;
}

/* ---- Reset, shutdown, panic ---- */

LifeActions machine_actions(const Machine *machine)
{
    return machine->life->actions;
}

void machine_set_actions(Machine *machine, LifeActions actions)
{
    machine->life->actions = actions;
}

static void do_reset(Machine *machine, ShutdownCause cause)
{
    trace_machine_reset(shutdown_cause_name(cause));
    if (machine_run_state(machine) == RUN_STATE_SUSPENDED) {
        leave_sleep(machine, WAKEUP_NONE);
        monitor_emit("RESET", cause_data(cause));
        return;
    }
    machine_reset_now(machine);
    monitor_emit("RESET", cause_data(cause));
    RunState state = machine_run_state(machine);
    if (state == RUN_STATE_INTERNAL_ERROR || state == RUN_STATE_SHUTDOWN ||
        state == RUN_STATE_GUEST_PANICKED) {
        g_atomic_int_set(&machine->life->state, RUN_STATE_PAUSED);
    }
}

static void do_shutdown(Machine *machine, ShutdownCause cause, int status)
{
    bool by_guest = cause_is_guest(cause) || cause == SHUTDOWN_CAUSE_HOST_ERROR;
    trace_machine_shutdown(shutdown_cause_name(cause), status);
    monitor_emit("SHUTDOWN", cause_data(cause));
    if (machine->life->actions.shutdown_pauses && by_guest) {
        machine_stop(machine, RUN_STATE_SHUTDOWN);
    } else {
        quit(machine, status);
    }
}

static void do_panic(Machine *machine, bool crashloaded)
{
    const LifeActions *actions = &machine->life->actions;
    bool pause = actions->panic == PANIC_PAUSE ||
                 (actions->panic == PANIC_SHUTDOWN && actions->shutdown_pauses);
    bool run = actions->panic == PANIC_NONE || crashloaded;
    json_object *data = json_object_new_object();
    json_object_object_add(data, "action",
                           json_object_new_string(run     ? "run"
                                                  : pause ? "pause"
                                                          : "poweroff"));
    monitor_emit(crashloaded ? "GUEST_CRASHLOADED" : "GUEST_PANICKED", data);
    if (run) {
        return;
    }
    machine_stop(machine, RUN_STATE_GUEST_PANICKED);
    if (!pause) {
        int status = actions->panic == PANIC_EXIT_FAILURE ? EXIT_FAILURE : EXIT_SUCCESS;
        do_shutdown(machine, SHUTDOWN_CAUSE_GUEST_PANIC, status);
    }
}

/* A vCPU that KVM cannot run on. The machine stays, stopped, for a look at it, as QEMU's does;
 * `-action panic=exit-failure` ends it. */
static void do_internal_error(Machine *machine, unsigned vcpu)
{
    machine_stop(machine, RUN_STATE_INTERNAL_ERROR);
    g_autoptr(GString) dump = g_string_new(NULL);
    machine->accel->vcpu_dump(machine, vcpu, dump);
    report_error("CPU %u stopped with these registers:\n%s", vcpu, dump->str);
    if (machine->life->actions.panic == PANIC_EXIT_FAILURE) {
        do_shutdown(machine, SHUTDOWN_CAUSE_HOST_ERROR, EXIT_FAILURE);
    }
}

static void do_powerdown(Machine *machine)
{
    trace_machine_powerdown();
    monitor_emit("POWERDOWN", NULL);
    notify(machine->life->powerdown_notifiers);
}

static void carry_out(void *opaque)
{
    Machine *machine = opaque;
    MachineLife *life = machine->life;
    g_mutex_lock(&life->lock);
    Requests todo = life->requests;
    life->requests = (Requests){ 0 };
    g_mutex_unlock(&life->lock);

    if (todo.exit) {
        quit(machine, todo.exit_status);
        return;
    }
    if (todo.internal_error) {
        do_internal_error(machine, todo.error_vcpu);
    }
    if (todo.panicked) {
        do_panic(machine, todo.crashloaded);
    }
    if (todo.reset && life->actions.reboot_exits && cause_is_guest(todo.reset)) {
        todo.shutdown = todo.shutdown ? todo.shutdown : todo.reset;
        todo.reset = SHUTDOWN_CAUSE_NONE;
    }
    if (todo.shutdown) {
        do_shutdown(machine, todo.shutdown, EXIT_SUCCESS);
        return;
    }
    if (todo.reset) {
        do_reset(machine, todo.reset);
    }
    if (todo.powerdown) {
        do_powerdown(machine);
    }
    if (todo.suspend) {
        do_suspend(machine, todo.wakers);
    }
    if (todo.wakeup) {
        do_wakeup(machine, todo.wakeup);
    }
    if (todo.stop && machine_is_running(machine)) {
        machine_stop(machine, todo.stop_state);
    }
}

/* ---- Requests ---- */

/* Takes the lock; the caller changes requests and calls requests_post(). */
static Requests *requests_begin(Machine *machine)
{
    g_mutex_lock(&machine->life->lock);
    return &machine->life->requests;
}

static void requests_post(Machine *machine)
{
    g_mutex_unlock(&machine->life->lock);
    event_loop_post(event_loop_main(), &machine->life->task);
}

void machine_request_reset(Machine *machine, ShutdownCause cause)
{
    trace_machine_request_reset(shutdown_cause_name(cause));
    requests_begin(machine)->reset = cause;
    requests_post(machine);
}

void machine_request_shutdown(Machine *machine, ShutdownCause cause)
{
    trace_machine_request_shutdown(shutdown_cause_name(cause));
    requests_begin(machine)->shutdown = cause;
    requests_post(machine);
}

void machine_request_exit(Machine *machine, int status)
{
    Requests *requests = requests_begin(machine);
    requests->exit = true;
    requests->exit_status = status;
    requests_post(machine);
}

void machine_request_powerdown(Machine *machine)
{
    requests_begin(machine)->powerdown = true;
    requests_post(machine);
}

void machine_request_stop(Machine *machine, RunState state)
{
    trace_machine_request_stop(run_state_name(state));
    Requests *requests = requests_begin(machine);
    requests->stop = true;
    requests->stop_state = state;
    requests_post(machine);
}

void machine_request_suspend(Machine *machine, unsigned wakers)
{
    Requests *requests = requests_begin(machine);
    requests->suspend = true;
    requests->wakers = wakers;
    requests_post(machine);
}

void machine_request_wakeup(Machine *machine, WakeupReason reason)
{
    requests_begin(machine)->wakeup = reason;
    requests_post(machine);
}

void machine_guest_panicked(Machine *machine, bool crashloaded)
{
    trace_machine_panicked(crashloaded);
    Requests *requests = requests_begin(machine);
    requests->panicked = true;
    requests->crashloaded = crashloaded;
    requests_post(machine);
}

void machine_internal_error(Machine *machine, unsigned vcpu)
{
    Requests *requests = requests_begin(machine);
    requests->internal_error = true;
    requests->error_vcpu = vcpu;
    requests_post(machine);
}

/* ---- Notifiers ---- */

void machine_add_run_notifier(Machine *machine, MachineNotify *fn, void *opaque)
{
    RunNotifier notifier = { fn, opaque };
    g_array_append_val(machine->life->run_notifiers, notifier);
}

void machine_remove_run_notifier(Machine *machine, MachineNotify *fn, void *opaque)
{
    GArray *notifiers = machine->life->run_notifiers;
    for (guint i = notifiers->len; i-- > 0;) {
        RunNotifier *notifier = &g_array_index(notifiers, RunNotifier, i);
        if (notifier->fn == fn && notifier->opaque == opaque) {
            g_array_remove_index(notifiers, i);
        }
    }
}

static void add_plain(GArray *notifiers, void (*fn)(void *opaque), void *opaque)
{
    PlainNotifier notifier = { fn, opaque };
    g_array_append_val(notifiers, notifier);
}

static void remove_plain(GArray *notifiers, void (*fn)(void *opaque), void *opaque)
{
    for (guint i = notifiers->len; i-- > 0;) {
        PlainNotifier *notifier = &g_array_index(notifiers, PlainNotifier, i);
        if (notifier->fn == fn && notifier->opaque == opaque) {
            g_array_remove_index(notifiers, i);
        }
    }
}

void machine_add_powerdown_notifier(Machine *machine, void (*fn)(void *opaque), void *opaque)
{
    add_plain(machine->life->powerdown_notifiers, fn, opaque);
}

void machine_remove_powerdown_notifier(Machine *machine, void (*fn)(void *opaque), void *opaque)
{
    remove_plain(machine->life->powerdown_notifiers, fn, opaque);
}

void machine_add_suspend_notifier(Machine *machine, void (*fn)(void *opaque), void *opaque)
{
    add_plain(machine->life->suspend_notifiers, fn, opaque);
}

void machine_remove_suspend_notifier(Machine *machine, void (*fn)(void *opaque), void *opaque)
{
    remove_plain(machine->life->suspend_notifiers, fn, opaque);
}

/* ---- Main loop ---- */

int machine_run(Machine *machine)
{
    MachineLife *life = machine->life;
    life->main = g_main_loop_new(NULL, FALSE);
    if (!life->quit) {
        g_main_loop_run(life->main);
    }
    g_clear_pointer(&life->main, g_main_loop_unref);
    if (machine_is_running(machine) || machine_run_state(machine) == RUN_STATE_SUSPENDED) {
        halt(machine);
        set_state(machine, RUN_STATE_SHUTDOWN, false);
    }
    return life->exit_status;
}

void machine_life_init(Machine *machine)
{
    MachineLife *life = g_new0(MachineLife, 1);
    g_mutex_init(&life->lock);
    life->task = (LoopTask)LOOP_TASK_INIT(carry_out, machine);
    life->state = RUN_STATE_PRELAUNCH;
    life->actions = machine->config->actions;
    life->run_notifiers = g_array_new(FALSE, FALSE, sizeof(RunNotifier));
    life->powerdown_notifiers = g_array_new(FALSE, FALSE, sizeof(PlainNotifier));
    life->suspend_notifiers = g_array_new(FALSE, FALSE, sizeof(PlainNotifier));
    machine->life = life;
}

void machine_life_free(Machine *machine)
{
    MachineLife *life = machine->life;
    g_array_unref(life->run_notifiers);
    g_array_unref(life->powerdown_notifiers);
    g_array_unref(life->suspend_notifiers);
    g_mutex_clear(&life->lock);
    g_free(life);
    machine->life = NULL;
}
