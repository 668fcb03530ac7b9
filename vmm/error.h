/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors: the one GError domain, and messages to the user on standard error. Any thread. */
#ifndef VMM_ERROR_H
#define VMM_ERROR_H

#include <glib.h>
#include <stdbool.h>

#define VIREO_ERROR (vireo_error_quark())

/* The codes are the QMP error classes (QEMU's QAPI ErrorClass). */
typedef enum VireoErrorCode {
    VIREO_ERROR_GENERIC,
    VIREO_ERROR_COMMAND_NOT_FOUND,
    VIREO_ERROR_DEVICE_NOT_ACTIVE,
    VIREO_ERROR_DEVICE_NOT_FOUND,
    VIREO_ERROR_KVM_MISSING_CAP,
} VireoErrorCode;

GQuark vireo_error_quark(void);

/* Sets *error (domain VIREO_ERROR, code GENERIC) and returns false, so that a failing function
 * can end with `return error_set(error, "...")`. */
bool error_set(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The same with a code of VireoErrorCode. */
bool error_set_code(GError **error, VireoErrorCode code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* The same with ": strerror(errnum)" behind the message; errnum is positive. */
bool error_set_errno(GError **error, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* One line on standard error, "vireo: MESSAGE\n", written with one write(2). With `-msg
 * timestamp=on` a time stands before it. */
void report_error(const char *format, ...) G_GNUC_PRINTF(1, 2);
void report_warning(const char *format, ...) G_GNUC_PRINTF(1, 2); /* "vireo: warning: ..." */
void report_info(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* The name that begins messages, "vireo" unless another program says its own; a constant. Main
 * thread, before others start. */
void report_set_program(const char *name);

/* Whether messages carry a time stamp. Main thread, before others start. */
void report_set_timestamp(bool on);

#endif
