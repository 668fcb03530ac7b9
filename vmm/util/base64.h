/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VMM_UTIL_BASE64_H
#define VMM_UTIL_BASE64_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes size bytes (and a NUL behind them) in place, *size is then how many they are; the rest is
 * wiped. False: there is something else than base64 (RFC 4648, section 4) and line ends. Any
 * thread. */
bool base64_decode(uint8_t *data, size_t *size, GError **error);

#endif
