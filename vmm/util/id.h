/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names that users give to what they make. Any thread. */
#ifndef VMM_UTIL_ID_H
#define VMM_UTIL_ID_H

#include <glib.h>
#include <stdbool.h>

/* QEMU's rule: a letter, then letters, digits, '-', '.', '_'; ASCII. */
bool id_is_wellformed(const char *id);
/* The same of a parameter 'id', with an error that says so. */
bool id_check(const char *id, GError **error) G_GNUC_WARN_UNUSED_RESULT;

#endif
