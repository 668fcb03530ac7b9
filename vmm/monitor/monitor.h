/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP towards the rest: events out, commands in from the command line and the human monitor. */
#ifndef VMM_MONITOR_MONITOR_H
#define VMM_MONITOR_MONITOR_H

#include <json-c/json.h>
#include "vmm/chardev/chardev.h"
#include "vmm/error.h"

/* Sends an event to every QMP client in command mode, with a time stamp; takes the reference of
 * data (may be NULL). Rate limits as QEMU's for the events that have one. Any thread. */
void monitor_emit(const char *event, json_object *data);

/* A QMP server on the chardev. Main thread. */
bool monitor_add_qmp(Chardev *chardev, bool pretty, GError **error);
/* A human monitor. Main thread. */
bool monitor_add_hmp(Chardev *chardev, GError **error);

/* Runs one QMP command by name with checked arguments (may be NULL; not consumed): the result (new
 * reference) or NULL and error. Main thread. */
json_object *qmp_execute(const char *command, json_object *arguments, GError **error);
void monitors_close(void);

#endif
