/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an expired watchdog does. */
#include "vmm/machine/watchdog.h"
#include "vmm/machine/accel.h"
#include "vmm/monitor/monitor.h"

enum {
    ACTION_RESET,
    ACTION_SHUTDOWN,
    ACTION_POWEROFF,
    ACTION_PAUSE,
    ACTION_DEBUG,
    ACTION_NONE,
    ACTION_INJECT_NMI,
};

const char *const watchdog_action_names[] = { "reset", "shutdown", "poweroff",   "pause",
                                              "debug", "none",     "inject-nmi", NULL };

static int action = ACTION_RESET; /* atomic */

void watchdog_set_action(int value)
{
    __atomic_store_n(&action, value, __ATOMIC_RELAXED);
}

int watchdog_find_action(const char *name)
{
    for (int i = 0; watchdog_action_names[i]; i++) {
        if (g_str_equal(watchdog_action_names[i], name)) {
            return i;
        }
    }
    return -1;
}

void watchdog_expired(Machine *machine)
{
    int now = __atomic_load_n(&action, __ATOMIC_RELAXED);
    json_object *data = json_object_new_object();
    json_object_object_add(data, "action", json_object_new_string(watchdog_action_names[now]));
    monitor_emit("WATCHDOG", data);
    switch (now) {
    case ACTION_RESET:
        machine_request_reset(machine, SHUTDOWN_CAUSE_GUEST_RESET);
        break;
    case ACTION_SHUTDOWN:
        machine_request_powerdown(machine);
        break;
    case ACTION_POWEROFF:
        machine_request_exit(machine, 0);
        break;
    case ACTION_PAUSE:
        machine_request_stop(machine, RUN_STATE_WATCHDOG);
        break;
    case ACTION_DEBUG:
        report_error("the watchdog expired");
        break;
    case ACTION_INJECT_NMI:
        if (machine->accel->nmi) {
            machine->accel->nmi(machine);
        }
        break;
    default:
        break;
    }
}
