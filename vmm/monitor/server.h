/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitors that exist, towards the event queue. Main thread. */
#ifndef VMM_MONITOR_SERVER_H
#define VMM_MONITOR_SERVER_H

#include <json-c/json.h>
#include <stdbool.h>

/* Sends a complete event to every QMP client in command mode. */
void qmp_sessions_send_event(json_object *event);
void qmp_sessions_close(void);
void hmp_sessions_close(void);
/* The other side of a monitor came or went: descriptors that nobody uses stay while one is there.
 */
void monitor_connected(bool connected);
void events_flush(void);
void events_close(void);

#endif
