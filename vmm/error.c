/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors and messages to the user. */
#include "vmm/error.h"

#include <string.h>
#include <unistd.h>

static bool report_timestamp;
static const char *report_program = "vireo";

/* G_DEFINE_QUARK's first use is a race between threads. */
GQuark vireo_error_quark(void)
{
    static gsize quark;
    if (g_once_init_enter(&quark)) {
        g_once_init_leave(&quark, g_quark_from_static_string("vireo-error-quark"));
    }
    return (GQuark)quark;
}

G_GNUC_PRINTF(4, 0)
static void error_set_valist(GError **error, int code, int errnum, const char *format, va_list args)
{
    if (!error) {
        return;
    }
    g_assert(*error == NULL);
    g_autofree char *text = g_strdup_vprintf(format, args);
    if (errnum) {
        g_set_error(error, VIREO_ERROR, code, "%s: %s", text, g_strerror(errnum));
    } else {
        g_set_error_literal(error, VIREO_ERROR, code, text);
    }
}

bool error_set(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_set_valist(error, VIREO_ERROR_GENERIC, 0, format, args);
    va_end(args);
    return false;
}

bool error_set_code(GError **error, VireoErrorCode code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_set_valist(error, code, 0, format, args);
    va_end(args);
    return false;
}

bool error_set_errno(GError **error, int errnum, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_set_valist(error, VIREO_ERROR_GENERIC, errnum, format, args);
    va_end(args);
    return false;
}

G_GNUC_PRINTF(2, 0)
static void report(const char *kind, const char *format, va_list args)
{
    g_autoptr(GString) line = g_string_new(NULL);
    if (report_timestamp) {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *stamp = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S.%fZ ");
        g_string_append(line, stamp);
    }
    g_string_append_printf(line, "%s: %s", report_program, kind);
    g_string_append_vprintf(line, format, args);
    g_string_append_c(line, '\n');
    /* A message that cannot be written has no other place to go. */
    ssize_t written = write(STDERR_FILENO, line->str, line->len);
    (void)written;
}

void report_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report("", format, args);
    va_end(args);
}

void report_warning(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report("warning: ", format, args);
    va_end(args);
}

void report_info(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report("", format, args);
    va_end(args);
}

void report_set_program(const char *name)
{
    report_program = name;
}

void report_set_timestamp(bool on)
{
    report_timestamp = on;
}
