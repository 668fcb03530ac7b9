/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP without a wire: requests to responses. Main thread. */
#ifndef VMM_MONITOR_QMP_H
#define VMM_MONITOR_QMP_H

#include <json-c/json.h>
#include <stdbool.h>

/* What a session has agreed on. */
typedef struct QmpMode {
    bool negotiated;
    bool oob;
} QmpMode;

/* The greeting of a new session. */
json_object *qmp_greeting(void);
/* Whether the request asks to be executed out of band, and may. */
bool qmp_request_is_oob(const QmpMode *mode, json_object *request);
/* Executes a request and gives the response, a new reference. */
json_object *qmp_dispatch(QmpMode *mode, json_object *request);
/* {"error": {"class", "desc"}}; consumes nothing. */
json_object *qmp_error_response(int code, const char *message);

/* The version that the interface is of, for the greeting and query-version. */
json_object *qmp_version(void);

#endif
