/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of -d: what is not worth a warning, for those who ask for it. -D says where it goes. */
#ifndef VMM_LOG_H
#define VMM_LOG_H

#include <glib.h>
#include <stdbool.h>

typedef enum LogItem {
    LOG_GUEST_ERRORS = 1 << 0, /* what a guest does wrong, every time */
    LOG_CPU_RESET = 1 << 1,    /* the vCPUs' registers before a reset */
} LogItem;

extern unsigned log_items; /* of LogItem; set before other threads start */

static inline bool log_wants(LogItem item)
{
    return G_UNLIKELY(log_items & item);
}

/* Items with commas between; false and an error for those that QEMU has and Vireo has not, with the
 * reason, and for unknown ones. Main thread, before others start. */
bool log_add_items(const char *list, GError **error);
void log_help(GString *out); /* the items, for people */
/* From now on lines go to this file, which begins anew; "%d" in the name is the process id. Without
 * it they go to standard error. Main thread, before others start. */
bool log_open(const char *path, GError **error);
void log_close(void);
int log_fd(void); /* of the file; -1: there is none */
/* One or more whole lines, written with one write(2). Any thread. */
void log_text(const char *text);
void log_line(const char *format, ...) G_GNUC_PRINTF(1, 2);

#endif
